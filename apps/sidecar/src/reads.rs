//! A read, from what is wanted to bytes: through the engine, from another replica, by HTTP, or a reason why not.

mod by_engine;
mod by_http;
mod joined;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::time::Instant;

use crate::attempts::Attempts;
use crate::breaker::Breakers;
use crate::engine::{Details, EngineReads};
use crate::fetch::Fetcher;
use crate::file_id::FileId;
use crate::lookup::{Lookup, LookupError};
use crate::place::Place;

/// Bounds of a read.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Longest answer.
    pub bytes_max: u64,
    /// How long a whole read may take.
    pub total: Duration,
    /// How long one attempt through the engine may.
    pub engine: Duration,
    /// How long one attempt by HTTP may.
    pub http: Duration,
    /// How many replicas are tried by each way.
    pub replicas_max: usize,
}

/// By which way the bytes came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The engine had them in files of this machine: through the engine, but nothing went over RDMA.
    Local,
    /// The engine read them out of another's memory.
    Pull,
    /// Another engine wrote them into ours.
    Push,
    /// From a volume server by HTTP.
    Http,
}

impl Way {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Way::Local => "local",
            Way::Pull => "pull",
            Way::Push => "push",
            Way::Http => "http",
        }
    }
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Served {
    /// The bytes, in order.
    pub frames: Vec<Bytes>,
    /// How many they are.
    pub len: u64,
    /// The first one's place.
    pub offset: u64,
    /// Length of the whole content, if it is known.
    pub whole_len: Option<u64>,
    /// How they came; where several ways served parts, the slowest.
    pub way: Way,
    /// What is known of the needle.
    pub details: Details,
    /// Whether all of them passed a checksum of the needle or of the engine.
    pub checked: bool,
}

/// Why nothing was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// Not there: missing, deleted, expired or another cookie.
    #[error("{0}")]
    NotFound(&'static str),
    /// The range begins past the end.
    #[error("the range begins past the end{}", .whole_len.map_or_else(String::new, |len| format!(": the content has {len} bytes")))]
    PastEnd {
        /// Length of the content, if it is known.
        whole_len: Option<u64>,
    },
    /// More than one answer may have.
    #[error("more than the {max} bytes that one answer may have: ask for parts of it, by offset and size")]
    TooLong {
        /// What one may have.
        max: u64,
    },
    /// Too much to do.
    #[error("there is too much to do: {why}")]
    Busy {
        /// Where.
        why: String,
        /// When to ask again, in seconds.
        retry_after_s: u64,
    },
    /// No way served.
    #[error("{0}")]
    NoWay(String),
    /// All that was found is damaged.
    #[error("what is stored is damaged: {0}")]
    Damaged(String),
    /// A fault of our own programs.
    #[error("a fault of the engine or the sidecar: {0}")]
    Fault(String),
}

/// A range of a needle, and where to look for it.
#[derive(Clone, Debug)]
pub struct Range {
    /// The needle.
    pub file: FileId,
    /// First byte.
    pub offset: u64,
    /// Bytes; 0 is to the end.
    pub len: u64,
    /// The volume server that the client named.
    pub hint: Option<String>,
}

/// Reads needles.
#[derive(Clone)]
pub struct Reads {
    /// The engine; nothing reads by HTTP alone.
    pub engine: Option<Arc<dyn EngineReads>>,
    /// Where volumes are.
    pub lookup: Lookup,
    /// HTTP to volume servers; nothing where it is not wanted.
    pub fetcher: Option<Fetcher>,
    /// Who is left alone for a while.
    pub breakers: Breakers,
    /// Bounds.
    pub limits: ReadLimits,
}

impl std::fmt::Debug for Reads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reads").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What one way leaves to the next.
#[derive(Debug, Default)]
struct Left {
    /// Servers that said that they have no such needle.
    missing: bool,
    /// Servers whose bytes did not pass: of them only whole needles are taken, and checked.
    damaged: Vec<Place>,
    /// Whether some server could not be asked, so that "missing" is not the last word.
    failed: bool,
    /// Whether what failed was a checksum wherever the engine looked.
    damage: bool,
}

impl Reads {
    /// Reads a range of a needle; of the file that it lists the chunks of, if it does.
    ///
    /// # Errors
    /// [`ReadError`]. What was tried is told in either case.
    pub async fn read(&self, range: &Range, deadline: Instant) -> (Result<Served, ReadError>, Attempts) {
        let mut attempts = Attempts::default();
        let served = self.content(range, deadline, &mut attempts).await;
        (served, attempts)
    }

    async fn content(
        &self,
        range: &Range,
        deadline: Instant,
        attempts: &mut Attempts,
    ) -> Result<Served, ReadError> {
        let served = self.needle(range, deadline, attempts).await;
        let lists_chunks = match &served {
            Ok(served) => served.details.is_chunk_manifest(),
            // Past the end of a list of chunks is well within what they hold.
            Err(ReadError::PastEnd { .. }) if range.offset > 0 => {
                let head = Range { offset: 0, len: 1, ..range.clone() };
                let head = self.needle(&head, deadline, attempts).await;
                head.is_ok_and(|head| head.details.is_chunk_manifest())
            }
            Err(_) => false,
        };
        match lists_chunks {
            true => self.joined(range, deadline, attempts).await,
            false => served,
        }
    }

    /// One needle as it is, by whichever way.
    async fn needle(
        &self,
        range: &Range,
        deadline: Instant,
        attempts: &mut Attempts,
    ) -> Result<Served, ReadError> {
        let begun = Instant::now();
        let found = self.lookup.find(range.file.volume, range.hint.as_deref(), deadline).await;
        attempts.lookup += begun.elapsed();
        let places = found.as_ref().map(|found| found.places.as_slice()).unwrap_or_default();
        let mut left = Left::default();
        if let Some(engine) = &self.engine
            && let Some(served) =
                self.by_engine(engine.as_ref(), range, places, deadline, attempts, &mut left).await
        {
            return served;
        }
        if left.missing && !left.failed {
            return Err(ReadError::NotFound("there is no such needle"));
        }
        let refused = found.as_ref().is_ok_and(|found| found.hint_refused);
        match (&self.fetcher, found.as_ref().err()) {
            (_, Some(LookupError::NoVolume(_))) => {
                return Err(ReadError::NotFound("there is no such volume"));
            }
            (Some(_), Some(LookupError::Unavailable { why, retry_after_s })) => {
                return Err(ReadError::Busy { why: why.clone(), retry_after_s: *retry_after_s });
            }
            (Some(fetcher), _) if !places.is_empty() => {
                return self.by_http(fetcher, range, places, deadline, attempts, &mut left).await;
            }
            _ => {}
        }
        let why = match (&self.fetcher, refused) {
            (None, _) => "the engine does not serve it, and reading by HTTP is off",
            (_, true) => {
                "the engine does not serve it, and the volume_server of the request is neither listed by a master nor allowed \
                 (--master, --allow-volume-server)"
            }
            (_, false) => {
                "the engine does not serve it, and no volume server is known: give --master or --volume-server"
            }
        };
        match left.damage {
            true => Err(ReadError::Damaged(format!("{}; {why}", attempts.told()))),
            false => Err(ReadError::NoWay(format!("{why}; tried: {}", attempts.told()))),
        }
    }
}
