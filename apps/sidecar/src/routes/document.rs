//! Reads as documents: the keys are those of upstream's answer, with ours beside them.

use std::time::Duration;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::answer::{is_rdma, source};
use super::conditions::tag;
use crate::attempts::Attempts;
use crate::clock::{go_duration, timestamp};
use crate::file_id::FileId;
use crate::reads::Served;

/// Bytes that are shown of any answer.
const PREVIEW: usize = 32;

/// Longest answer that a document has all of.
const DATA_BYTES_MAX: u64 = 1 << 20;

/// A read that went well.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    success: bool,
    volume_id: u32,
    needle_id: u64,
    cookie: String,
    file_id: String,
    is_rdma: bool,
    source: &'static str,
    path: &'static str,
    session_id: String,
    duration: String,
    data_size: u64,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_size: Option<u64>,
    checked: bool,
    timestamp: String,
    use_temp_file: bool,
    temp_file: String,
    data_preview: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    attempts: String,
}

impl Document {
    pub(super) fn new(
        file: FileId,
        served: &Served,
        len: u64,
        temp_file: Option<String>,
        attempts: &Attempts,
        took: Duration,
        with_data: bool,
    ) -> Document {
        let bytes = || served.frames.iter().flatten().copied();
        let data = (with_data && served.len <= DATA_BYTES_MAX).then(|| served.frames.concat());
        Document {
            success: true,
            volume_id: file.volume,
            needle_id: file.needle,
            cookie: format!("{:#x}", file.cookie),
            file_id: file.to_string(),
            is_rdma: is_rdma(served.way),
            source: source(served.way),
            path: served.way.name(),
            session_id: uuid::Uuid::new_v4().to_string(),
            duration: go_duration(took),
            data_size: len,
            offset: served.offset,
            whole_size: served.whole_len,
            checked: served.checked,
            timestamp: timestamp(),
            use_temp_file: temp_file.is_some(),
            temp_file: temp_file.unwrap_or_default(),
            data_preview: bytes().take(PREVIEW).map(|byte| format!("{byte:02x}")).collect(),
            data_base64: data.map(|data| STANDARD.encode(data)),
            etag: tag(&served.details),
            mime: served.details.mime.clone(),
            name: served.details.name.clone(),
            reason: attempts.reason(),
            attempts: attempts.told(),
        }
    }
}

/// One that did not.
#[derive(Debug, Serialize)]
pub(super) struct Refused {
    success: bool,
    error: String,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_id: Option<String>,
    timestamp: String,
}

impl Refused {
    pub(super) fn new(file: Option<FileId>, status: StatusCode, why: &str) -> Refused {
        Refused {
            success: false,
            error: why.to_owned(),
            status: status.as_u16(),
            file_id: file.map(|file| file.to_string()),
            timestamp: timestamp(),
        }
    }
}
