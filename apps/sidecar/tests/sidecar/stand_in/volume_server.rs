//! A volume server: it serves volume files by HTTP, with ranges, compressed where that is accepted, and wrong on command.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use wavetank_sidecar::FileId;
use wavetank_volume::ChunkManifest;

use super::shelf::{Shelf, Stored};
use super::{Answers, Head, Reply};

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Another status.
    Status(u16),
    /// It says nothing.
    Silent,
    /// It cuts the connection off.
    Cut,
    /// Fewer bytes than it says.
    TooLittle,
    /// More bytes than it says.
    TooMuch,
    /// It goes on and on.
    Endless,
    /// It ignores ranges.
    Whole,
    /// It gives another range than was asked for, and says so.
    OtherRange,
    /// A byte is not what its tag is of.
    Rotten,
    /// It sends on to another server.
    Elsewhere(String),
    /// It says that the bytes are compressed, and they are not.
    NoGzip,
}

/// The stand-in.
#[derive(Debug)]
pub(crate) struct StandInVolumeServer {
    shelf: Arc<Shelf>,
    fault: Mutex<Option<Fault>>,
    /// What has to be shown.
    pub(crate) word: Option<String>,
    pub(crate) asked: AtomicU64,
}

impl StandInVolumeServer {
    pub(crate) fn new(shelf: Arc<Shelf>, word: Option<&str>) -> StandInVolumeServer {
        let word = word.map(str::to_owned);
        StandInVolumeServer { shelf, fault: Mutex::new(None), word, asked: AtomicU64::new(0) }
    }

    /// From now on this goes wrong, or nothing.
    pub(crate) fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    /// The content, joined from chunks where it lists them.
    fn content(&self, stored: &Stored) -> Option<Vec<u8>> {
        if !stored.details.is_chunk_manifest() {
            return Some(stored.content.clone());
        }
        let manifest = ChunkManifest::parse(&stored.content).ok()?;
        let mut content = vec![0; manifest.len_bytes as usize];
        for chunk in manifest.chunks {
            let part = self.shelf.read(chunk.file_id.parse().ok()?).ok()?.content;
            let at = chunk.offset_bytes as usize;
            content[at..at + part.len()].copy_from_slice(&part);
        }
        Some(content)
    }
}

#[async_trait]
impl Answers for StandInVolumeServer {
    async fn answer(&self, head: &Head) -> Reply {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let fault = self.fault.lock().unwrap().clone();
        match &fault {
            Some(Fault::Status(status)) => return Reply::status(*status),
            Some(Fault::Silent) => return Reply { silent: true, ..Reply::default() },
            Some(Fault::Cut) => {
                return Reply { said_len: Some(Some(10)), closes: true, ..Reply::status(200) };
            }
            Some(Fault::Elsewhere(to)) => {
                return Reply::status(301).with("Location", format!("http://{to}{}", head.path));
            }
            _ => {}
        }
        if let Some(word) = &self.word
            && head.header("authorization") != Some(&format!("Bearer {word}"))
        {
            return Reply::status(401);
        }
        let Ok(file) = head.path.trim_start_matches('/').parse::<FileId>() else { return Reply::status(400) };
        let Ok(stored) = self.shelf.read(file) else { return Reply::status(404) };
        let Some(mut content) = self.content(&stored) else { return Reply::status(500) };
        let mut reply = Reply::status(200).with("Accept-Ranges", "bytes");
        reply = reply.with("ETag", format!("\"{:08x}\"", stored.details.etag.unwrap_or_default()));
        if stored.details.is_chunk_manifest() {
            reply = reply.with("X-File-Store", "chunked");
        }
        let gzip = head.header("accept-encoding").is_some_and(|accepted| accepted.contains("gzip"));
        if stored.is_gzip && gzip {
            content = stored.data;
            reply = reply.with("Content-Encoding", "gzip");
        } else if fault == Some(Fault::NoGzip) {
            reply = reply.with("Content-Encoding", "gzip");
        }
        let range = head.header("range").and_then(|range| range.strip_prefix("bytes="));
        if let Some((first, last)) =
            range.and_then(|range| range.split_once('-')).filter(|_| fault != Some(Fault::Whole))
        {
            let (len, mut first) = (content.len(), first.parse::<usize>().unwrap());
            if first >= len {
                return Reply::status(416).with("Content-Range", format!("bytes */{len}"));
            }
            let end = last.parse::<usize>().map_or(len, |last| len.min(last.saturating_add(1)));
            if fault == Some(Fault::OtherRange) {
                first = first.saturating_sub(1);
            }
            reply.status = 206;
            reply = reply.with("Content-Range", format!("bytes {first}-{}/{len}", end - 1));
            content = content[first..end].to_vec();
        }
        let len = content.len();
        match fault {
            Some(Fault::Rotten) if len > 0 => content[len / 2] ^= 0x20,
            Some(Fault::TooLittle) => {
                content.truncate(len / 2);
                reply = Reply { said_len: Some(Some(len)), closes: true, ..reply };
            }
            Some(Fault::TooMuch) => {
                content.extend(vec![b'x'; 1 << 20]);
                reply = Reply { said_len: Some(None), closes: true, ..reply };
            }
            Some(Fault::Endless) => reply.endless = true,
            _ => {}
        }
        reply.body(content)
    }
}
