//! One line of an iolog as fields, checked one by one. What they mean together is the builder's.

use super::Version;
use crate::workload::error::quote;
use crate::workload::limits::{FILE_OFFSET_END, MAX_IOLOG_NAME_BYTES, MAX_OP_BYTES};
use crate::workload::recording::IoKind;
use crate::workload::units::Bytes;

/// A field, and what is wrong with it.
pub(super) type FieldError = (&'static str, String);

/// A line that makes sense by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'l> {
    /// Time as written; 0 in version 2.
    pub(super) time_us: u64,
    pub(super) file: &'l str,
    pub(super) action: Action,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Add,
    Open,
    Close,
    /// `end`, past the last byte, is below 2^63; `len` is 1 to [`MAX_OP_BYTES`].
    Io {
        kind: IoKind,
        offset: u64,
        len: u32,
        end: u64,
    },
    Wait {
        us: u64,
    },
    Sync,
    Datasync,
    Trim,
}

/// Reads the first line.
pub(super) fn version(header: &str) -> Result<Version, String> {
    let mut words = header.split_ascii_whitespace();
    let (fio, word, number, iolog) = (words.next(), words.next(), words.next(), words.next());
    match (fio, word, number, iolog, words.next()) {
        (Some("fio"), Some("version"), Some("2"), Some("iolog"), None) => Ok(Version::V2),
        (Some("fio"), Some("version"), Some("3"), Some("iolog"), None) => Ok(Version::V3),
        (Some("fio"), Some("version"), Some(other), Some("iolog"), None) => {
            Err(format!("unknown version {}; 2 and 3 are known", quote(other)))
        }
        _ => Err(format!("found {}; wanted \"fio version 3 iolog\" (or 2)", quote(header))),
    }
}

/// The name of the field a line was cut in.
pub(super) fn last_field(version: Version, text: &str) -> &'static str {
    let fields = text.split_ascii_whitespace().count() + usize::from(version == Version::V2);
    match fields {
        0 | 1 => "time",
        2 => "file",
        3 => "action",
        4 => "offset",
        _ => "length",
    }
}

/// Reads any other line.
pub(super) fn entry(version: Version, text: &str) -> Result<Entry<'_>, FieldError> {
    let mut fields = text.split_ascii_whitespace();
    let time_us = match version {
        Version::V2 => 0,
        Version::V3 => number("time", fields.next())?,
    };
    let file = fields.next().ok_or_else(|| missing("file"))?;
    if file.len() > MAX_IOLOG_NAME_BYTES {
        return Err(("file", format!("{} is longer than {MAX_IOLOG_NAME_BYTES} bytes", quote(file))));
    }
    let word = fields.next().ok_or_else(|| missing("action"))?;
    let (offset, length) = (fields.next(), fields.next());
    if let Some(extra) = fields.next() {
        return Err(("length", format!("{} follows it; a line ends with the length", quote(extra))));
    }
    let action = match word {
        "add" => file_action(Action::Add, offset)?,
        "open" => file_action(Action::Open, offset)?,
        "close" => file_action(Action::Close, offset)?,
        "read" => io(IoKind::Read, offset, length)?,
        "write" => io(IoKind::Write, offset, length)?,
        "sync" => ranged(Action::Sync, offset, length)?,
        "datasync" => ranged(Action::Datasync, offset, length)?,
        "trim" => ranged(Action::Trim, offset, length)?,
        "wait" if version == Version::V3 => {
            return Err(("action", "version 3 has no wait: its times pace it".to_owned()));
        }
        "wait" => {
            length.map(|length| number("length", Some(length))).transpose()?;
            Action::Wait { us: number("offset", offset)? }
        }
        other => {
            let known = "add, open, close, read, write, sync, datasync, trim, wait (version 2)";
            return Err(("action", format!("unknown action {}; known are {known}", quote(other))));
        }
    };
    Ok(Entry { time_us, file, action })
}

fn file_action(action: Action, extra: Option<&str>) -> Result<Action, FieldError> {
    match extra {
        None => Ok(action),
        Some(extra) => {
            Err(("action", format!("{} follows it; add, open and close end the line", quote(extra))))
        }
    }
}

/// sync, datasync and trim: fio logs them with a range that is ignored, but that must still be numbers.
fn ranged(action: Action, offset: Option<&str>, length: Option<&str>) -> Result<Action, FieldError> {
    offset.map(|offset| number("offset", Some(offset))).transpose()?;
    length.map(|length| number("length", Some(length))).transpose()?;
    Ok(action)
}

fn io(kind: IoKind, offset: Option<&str>, length: Option<&str>) -> Result<Action, FieldError> {
    let (offset, len) = (number("offset", offset)?, number("length", length)?);
    if !(1..=MAX_OP_BYTES).contains(&len) {
        let limit = Bytes(MAX_OP_BYTES);
        return Err(("length", format!("found {len}; wanted 1 to {MAX_OP_BYTES} bytes ({limit})")));
    }
    // Both are below 2^63: the sum fits in 64 bits.
    let end = offset + len;
    if end >= FILE_OFFSET_END {
        return Err(("length", format!("{len} bytes at {offset} end past 2^63 - 1, where every file ends")));
    }
    Ok(Action::Io { kind, offset, len: len as u32, end })
}

/// A decimal number below 2^63, which is what fio's fields hold.
fn number(field: &'static str, text: Option<&str>) -> Result<u64, FieldError> {
    let text = text.ok_or_else(|| missing(field))?;
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err((field, format!("{} is not a whole number", quote(text))));
    }
    match text.parse::<u64>() {
        Ok(number) if number < FILE_OFFSET_END => Ok(number),
        _ => Err((field, format!("{} is past 2^63 - 1", quote(text).replace('"', "")))),
    }
}

fn missing(field: &'static str) -> FieldError {
    let shape = "[time] file action, and for I/O an offset and a length";
    (field, format!("missing: the line ends before it; a line is {shape}"))
}
