//! What is wanted of a needle, what was found, and why nothing was.

use core::fmt;

use thiserror::Error;
use wavetank_contract::{Class, Instant, Lease};

use crate::calls::{About, Ungranted};
use crate::outcome::Absence;

/// How bytes are to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Pulled where that is granted and fresh, pushed otherwise.
    #[default]
    Auto,
    /// Pushed.
    Push,
    /// Pulled, or not at all.
    Pull,
}

/// A needle, or part of it, that somebody wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The volume.
    pub volume: u32,
    /// The needle.
    pub id: u64,
    /// Its cookie.
    pub cookie: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes, fewer where the needle ends before. `None`: to the end.
    pub len: Option<u64>,
    /// How they are to come.
    pub mode: Mode,
    /// The volume server that is said to have it, `HOST:PORT`: the engine beside it is asked first.
    pub server: Option<String>,
    /// When nobody wants it any more.
    pub deadline: Instant,
}

impl Wanted {
    /// All of a needle.
    pub fn whole(volume: u32, id: u64, cookie: u32, deadline: Instant) -> Wanted {
        Wanted { volume, id, cookie, offset: 0, len: None, mode: Mode::Auto, server: None, deadline }
    }
}

/// How bytes came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// Read from the file: this engine has it.
    Local,
    /// Written by the exporter into memory of this side.
    Pushed,
    /// READ from the exporter's memory, without a hand of its processor.
    Pulled,
}

/// Why they came that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The volume is exported by this very engine.
    Here,
    /// It was asked for that way.
    Asked,
    /// A grant was there, and fresh.
    Granted,
    /// There was no grant; this is what the exporter said to the last wish for one.
    NotGranted(Option<Ungranted>),
    /// The grant was over.
    GrantOver,
    /// The connection that it was of is over.
    ConnectionAnew,
    /// The needle had changed, or its place was given to another, since it was granted.
    SealBroken,
    /// The exporter gave no key, or one that cannot be used.
    NoKey,
    /// What was pulled was not the needle.
    Damaged,
    /// The READ failed.
    ReadFailed,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Here => "this engine exports the volume itself",
            Why::Asked => "it was asked for that way",
            Why::Granted => "a grant was there and fresh",
            Why::NotGranted(None) => "nobody has asked for a grant yet",
            Why::NotGranted(Some(why)) => match why {
                Ungranted::NotAsked => "no grant was asked for",
                Ungranted::Cold => "the needle is not asked for often enough to be granted",
                Ungranted::TooLong => "the needle is longer than the exporter's segments",
                Ungranted::Full => "the exporter's segments are full of what others were granted",
                Ungranted::Never => "the exporter grants nothing",
                Ungranted::Empty => "the needle is empty",
                Ungranted::Other => "the exporter granted nothing, for a reason of a later version",
            },
            Why::GrantOver => "the grant's time was over",
            Why::ConnectionAnew => "the connection was made anew since the grant",
            Why::SealBroken => "the needle changed, or its place was given to another, since the grant",
            Why::NoKey => "the exporter gave no key to the segment",
            Why::Damaged => "what was pulled was not the needle",
            Why::ReadFailed => "the READ failed",
        })
    }
}

/// Bytes in memory, verified.
#[derive(Debug)]
pub struct Part {
    /// The memory. In shared memory its region's [`origin`](wavetank_contract::Region::origin) says where others find it.
    pub lease: Lease,
    /// Where in it the bytes begin.
    pub at: u64,
    /// How many.
    pub len: u64,
    /// CRC32-C of them, summed in this memory after the last was written: nobody needs to sum them again.
    pub crc32c: u32,
}

/// Bytes of a needle. Nobody saw one of them before all were verified.
#[derive(Debug)]
pub struct Found {
    /// They, in order: one part, or several where there are more than one message carries.
    pub parts: Vec<Part>,
    /// What is known of the needle.
    pub about: About,
    /// How they came.
    pub path: Path,
    /// And why that way.
    pub why: Why,
    /// From whom.
    pub peer: Option<String>,
}

impl Found {
    /// Bytes.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, copied.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len() as usize];
        let mut rest = &mut bytes[..];
        for part in &self.parts {
            let (now, later) = rest.split_at_mut(part.len as usize);
            part.lease.read(part.at, now);
            rest = later;
        }
        bytes
    }
}

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotRead {
    /// The exporter says why.
    #[error("{0}")]
    Absent(Absence),
    /// No engine that is known exports the volume.
    #[error("no engine exports volume {volume}: {tried} were asked; check the peers of this engine")]
    NotExported {
        /// The volume.
        volume: u32,
        /// Engines that were asked.
        tried: usize,
    },
    /// The peer cannot be reached, or was lost.
    #[error("engine {peer} is gone: {text}")]
    PeerGone {
        /// Which.
        peer: String,
        /// What happened.
        text: String,
    },
    /// This side's device is gone.
    #[error("the device is gone: open it again")]
    DeviceGone,
    /// The deadline came first.
    #[error("it was not there by its deadline; last: {0}")]
    TimedOut(String),
    /// The peer does not let this engine in, or this engine does not trust it.
    #[error("engine {peer} and this one do not come together: {text}")]
    NotAdmitted {
        /// Which.
        peer: String,
        /// Why.
        text: &'static str,
    },
    /// No memory for it.
    #[error("no memory for it: {0}")]
    NoMemory(String),
    /// It was to be pulled, and cannot be.
    #[error("it cannot be pulled: {0}")]
    NotPulled(Why),
    /// It came damaged, again and again.
    #[error("what came from engine {0} was not what it sent")]
    Corrupt(String),
}

impl NotRead {
    /// What to make of it.
    pub const fn class(&self) -> Class {
        match self {
            NotRead::Absent(absence) if absence.is_transient() => Class::Retry,
            NotRead::Absent(_) | NotRead::NotExported { .. } | NotRead::NotAdmitted { .. } => {
                Class::PeerRefused
            }
            NotRead::PeerGone { .. } | NotRead::TimedOut(_) => Class::PeerGone,
            NotRead::DeviceGone => Class::DeviceGone,
            NotRead::NoMemory(_) | NotRead::NotPulled(_) | NotRead::Corrupt(_) => Class::Retry,
        }
    }

    /// What a volume server would answer over HTTP, or a gateway where it is not the volume server's matter.
    pub const fn http_status(&self) -> u16 {
        match self {
            NotRead::Absent(absence) => absence.http_status(),
            NotRead::NotExported { .. } => 404,
            NotRead::PeerGone { .. } | NotRead::NotAdmitted { .. } | NotRead::Corrupt(_) => 502,
            NotRead::DeviceGone | NotRead::NoMemory(_) | NotRead::NotPulled(_) => 503,
            NotRead::TimedOut(_) => 504,
        }
    }
}
