//! The messages, and bytes to and from them.

use thiserror::Error;

use super::frame::{Frame, put};
use crate::bytes::{Reader, put_text};
use crate::code::Code;
use crate::wanted::{Details, Found, ReadPath, SERVER_BYTES_MAX, TEXT_BYTES_MAX, Wanted};

/// Longest free text, in bytes.
const NOTE_BYTES_MAX: usize = 1024;

/// The first frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Oldest version that it speaks.
    pub version_min: u16,
    /// Newest version that it speaks.
    pub version_max: u16,
    /// Features that it knows.
    pub features: u64,
    /// Whatever it calls itself.
    pub name: String,
}

/// The engine's answer. The arena's descriptor comes with its first byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Welcome {
    /// The version that is spoken from here on.
    pub version: u16,
    /// Features that both sides know.
    pub features: u64,
    /// Whether the device is simulated.
    pub simulated: bool,
    /// Bytes of the arena.
    pub arena_bytes: u64,
    /// Longest range that one read may have, in bytes.
    pub transfer_bytes_max: u64,
    /// Loans that this client may have at a time.
    pub leases_max: u32,
    /// Requests that it may have under way.
    pub requests_max: u32,
    /// The device's name.
    pub device: String,
    /// The backend's name.
    pub backend: String,
    /// The engine's version.
    pub engine: String,
}

/// A ring. Its memory's descriptor and the one to wake each other by come with its first byte, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Submissions that fit.
    pub entries: u32,
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromClient {
    /// Who it is: kind 1.
    Hello(Hello),
    /// It wants a range: kind 2.
    Read(Wanted),
    /// It wants that request no more: kind 3. Answered by the request's own reply only.
    Cancel,
    /// It gives bytes back: kind 4. Never answered.
    Release {
        /// Where they lie.
        offset: u64,
        /// Which loan.
        generation: u64,
    },
    /// It wants a sign of life: kind 5.
    Ping(u64),
    /// It wants to know what the engine can do, now: kind 6.
    GetCapabilities,
    /// It wants a ring of about so many submissions: kind 7.
    GetRing(Ring),
    /// It gives a server a number, for use in a ring: kind 8.
    NameServer {
        /// From 1.
        index: u16,
        /// `HOST:PORT`.
        server: String,
    },
}

/// What the engine says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromEngine {
    /// It is there: kind 129.
    Welcome(Box<Welcome>),
    /// Bytes: kind 130.
    Found(Box<Found>),
    /// None, and why: kind 131. With id 0 it is about the connection, which ends.
    Refused {
        /// Which outcome.
        code: Code,
        /// A number to it.
        detail: u64,
        /// What was wrong and what would be right.
        text: String,
    },
    /// A sign of life: kind 132.
    Pong(u64),
    /// What it can do: kind 133, with the same body as 129, and no descriptor.
    Capabilities(Box<Welcome>),
    /// A ring: kind 134.
    Ring(Ring),
    /// The server has its number: kind 135.
    Named,
}

/// A frame that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a frame of kind {kind} with {len} bytes is no message of this protocol; see docs/ipc.md")]
pub struct Malformed {
    /// The frame's kind.
    pub kind: u16,
    /// Bytes of its body.
    pub len: usize,
}

impl FromClient {
    /// Reads a frame.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn decode(frame: &Frame) -> Result<FromClient, Malformed> {
        let malformed = Malformed { kind: frame.kind, len: frame.body.len() };
        decode_client(frame).ok_or(malformed)
    }

    /// Appends a frame.
    pub fn encode(&self, id: u64, to: &mut Vec<u8>) {
        match self {
            FromClient::Hello(hello) => put(to, 1, id, |to| {
                to.extend(hello.version_min.to_le_bytes());
                to.extend(hello.version_max.to_le_bytes());
                to.extend(hello.features.to_le_bytes());
                put_text(to, &hello.name, TEXT_BYTES_MAX);
            }),
            FromClient::Read(wanted) => put(to, 2, id, |to| {
                to.extend(wanted.volume.to_le_bytes());
                to.extend(wanted.cookie.to_le_bytes());
                for word in [wanted.needle, wanted.offset, wanted.len, wanted.timeout_ns] {
                    to.extend(word.to_le_bytes());
                }
                put_text(to, wanted.server.as_deref().unwrap_or(""), SERVER_BYTES_MAX);
            }),
            FromClient::Cancel => put(to, 3, id, |_| {}),
            FromClient::Release { offset, generation } => put(to, 4, id, |to| {
                to.extend(offset.to_le_bytes());
                to.extend(generation.to_le_bytes());
            }),
            FromClient::Ping(word) => put(to, 5, id, |to| to.extend(word.to_le_bytes())),
            FromClient::GetCapabilities => put(to, 6, id, |_| {}),
            FromClient::GetRing(ring) => put(to, 7, id, |to| to.extend(ring.entries.to_le_bytes())),
            FromClient::NameServer { index, server } => put(to, 8, id, |to| {
                to.extend(index.to_le_bytes());
                put_text(to, server, SERVER_BYTES_MAX);
            }),
        }
    }
}

fn decode_client(frame: &Frame) -> Option<FromClient> {
    let mut from = Reader(&frame.body);
    let message = match frame.kind {
        1 => FromClient::Hello(Hello {
            version_min: from.u16()?,
            version_max: from.u16()?,
            features: from.u64()?,
            name: from.text(TEXT_BYTES_MAX)?.to_owned(),
        }),
        2 => FromClient::Read(Wanted {
            volume: from.u32()?,
            cookie: from.u32()?,
            needle: from.u64()?,
            offset: from.u64()?,
            len: from.u64()?,
            timeout_ns: from.u64()?,
            server: Some(from.text(SERVER_BYTES_MAX)?).filter(|text| !text.is_empty()).map(str::to_owned),
        }),
        3 => FromClient::Cancel,
        4 => FromClient::Release { offset: from.u64()?, generation: from.u64()? },
        5 => FromClient::Ping(from.u64()?),
        6 => FromClient::GetCapabilities,
        7 => FromClient::GetRing(Ring { entries: from.u32()? }),
        8 => FromClient::NameServer { index: from.u16()?, server: from.text(SERVER_BYTES_MAX)?.to_owned() },
        _ => return None,
    };
    // A later version may say more in a hello, which an earlier one passes over.
    if frame.kind != 1 {
        from.end()?;
    }
    Some(message)
}

impl FromEngine {
    /// Reads a frame.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn decode(frame: &Frame) -> Result<FromEngine, Malformed> {
        let malformed = Malformed { kind: frame.kind, len: frame.body.len() };
        decode_engine(frame).ok_or(malformed)
    }

    /// Appends a frame.
    pub fn encode(&self, id: u64, to: &mut Vec<u8>) {
        match self {
            FromEngine::Welcome(welcome) => put(to, 129, id, |to| put_welcome(to, welcome)),
            FromEngine::Found(found) => put(to, 130, id, |to| put_found(to, found)),
            FromEngine::Refused { code, detail, text } => put(to, 131, id, |to| {
                to.extend(code.number().to_le_bytes());
                to.extend(u16::from(code.is_recoverable()).to_le_bytes());
                to.extend(detail.to_le_bytes());
                put_text(to, text, NOTE_BYTES_MAX);
            }),
            FromEngine::Pong(word) => put(to, 132, id, |to| to.extend(word.to_le_bytes())),
            FromEngine::Capabilities(welcome) => put(to, 133, id, |to| put_welcome(to, welcome)),
            FromEngine::Ring(ring) => put(to, 134, id, |to| to.extend(ring.entries.to_le_bytes())),
            FromEngine::Named => put(to, 135, id, |_| {}),
        }
    }
}

fn put_welcome(to: &mut Vec<u8>, welcome: &Welcome) {
    to.extend(welcome.version.to_le_bytes());
    to.extend(u16::from(welcome.simulated).to_le_bytes());
    to.extend(welcome.leases_max.to_le_bytes());
    to.extend(welcome.requests_max.to_le_bytes());
    for word in [welcome.features, welcome.arena_bytes, welcome.transfer_bytes_max] {
        to.extend(word.to_le_bytes());
    }
    for text in [&welcome.device, &welcome.backend, &welcome.engine] {
        put_text(to, text, TEXT_BYTES_MAX);
    }
}

fn welcome(from: &mut Reader<'_>) -> Option<Box<Welcome>> {
    let text = |from: &mut Reader<'_>| from.text(TEXT_BYTES_MAX).map(str::to_owned);
    Some(Box::new(Welcome {
        version: from.u16()?,
        simulated: from.u16()? & 1 == 1,
        leases_max: from.u32()?,
        requests_max: from.u32()?,
        features: from.u64()?,
        arena_bytes: from.u64()?,
        transfer_bytes_max: from.u64()?,
        device: text(from)?,
        backend: text(from)?,
        engine: text(from)?,
    }))
}

fn put_found(to: &mut Vec<u8>, found: &Found) {
    for word in [found.offset, found.len, found.generation, found.whole_len] {
        to.extend(word.to_le_bytes());
    }
    let details = &found.details;
    to.extend(found.crc32c.to_le_bytes());
    to.push(found.path.number());
    to.push(details.flags);
    to.push(details.known());
    to.push(0);
    to.extend(details.last_modified_s.unwrap_or(0).to_le_bytes());
    to.extend(details.etag.unwrap_or(0).to_le_bytes());
    for text in [&details.mime, &details.name] {
        put_text(to, text.as_deref().unwrap_or(""), TEXT_BYTES_MAX);
    }
}

fn found(from: &mut Reader<'_>) -> Option<Box<Found>> {
    let (offset, len, generation, whole_len) = (from.u64()?, from.u64()?, from.u64()?, from.u64()?);
    let (crc32c, path, flags, known) = (from.u32()?, from.u8()?, from.u8()?, from.u8()?);
    from.u8()?;
    let (last_modified_s, etag) = (from.u64()?, from.u32()?);
    let (mime, name) = (from.text(TEXT_BYTES_MAX)?, from.text(TEXT_BYTES_MAX)?);
    let details = Details::from_known(known, flags, last_modified_s, etag, mime, name);
    let path = ReadPath::from_number(path)?;
    Some(Box::new(Found { offset, len, generation, whole_len, crc32c, path, details }))
}

fn decode_engine(frame: &Frame) -> Option<FromEngine> {
    let mut from = Reader(&frame.body);
    let message = match frame.kind {
        129 => FromEngine::Welcome(welcome(&mut from)?),
        130 => FromEngine::Found(found(&mut from)?),
        131 => {
            let (code, _recoverable, detail) = (from.u16()?, from.u16()?, from.u64()?);
            let text = from.text(NOTE_BYTES_MAX)?.to_owned();
            // A later engine may have outcomes that this side does not know.
            FromEngine::Refused { code: Code::from_number(code).unwrap_or(Code::Internal), detail, text }
        }
        132 => FromEngine::Pong(from.u64()?),
        133 => FromEngine::Capabilities(welcome(&mut from)?),
        134 => FromEngine::Ring(Ring { entries: from.u32()? }),
        135 => FromEngine::Named,
        _ => return None,
    };
    if frame.kind != 129 && frame.kind != 133 {
        from.end()?;
    }
    Some(message)
}
