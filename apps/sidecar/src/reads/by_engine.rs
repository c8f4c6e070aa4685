//! Reading through the engine, replica by replica.

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::{Left, Range, ReadError, Reads, Served, Way};
use crate::attempts::Attempts;
use crate::engine::{EngineBytes, EngineError, EnginePath, EngineReads, Wanted};
use crate::place::Place;

/// How often a needle that changes while it is read in pieces is begun again.
const CHANGES_MAX: usize = 3;

impl Reads {
    /// Reads from one replica after the other. `None` leaves it to HTTP, and `left` says why.
    pub(super) async fn by_engine(
        &self,
        engine: &dyn EngineReads,
        range: &Range,
        places: &[Place],
        deadline: Instant,
        attempts: &mut Attempts,
        left: &mut Left,
    ) -> Option<Result<Served, ReadError>> {
        let mut servers: Vec<Option<&Place>> =
            places.iter().take(self.limits.replicas_max).map(Some).collect();
        if servers.is_empty() {
            // The engine may know by itself where the volume is.
            servers.push(None);
        }
        let mut damaged = 0;
        for (number, server) in servers.iter().enumerate() {
            let path = server.map_or_else(|| "rdma".to_owned(), |server| format!("rdma {server}"));
            // What is left for HTTP is left: a replica is worth waiting for only while there is more than that.
            let now = Instant::now();
            let reserve = self.fetcher.as_ref().map_or_else(Default::default, |_| self.limits.http);
            if number > 0 && now + reserve >= deadline {
                break;
            }
            let Ok(admission) = self.breakers.admit(&path, now) else {
                attempts.add(&path, "paused", Default::default());
                left.failed = true;
                continue;
            };
            let wanted = Wanted {
                file: range.file,
                offset: range.offset,
                len: range.len,
                server: server.map(Place::to_string),
            };
            let until = deadline.min(now + self.limits.engine);
            let read = timeout_at(until, in_pieces(engine, &wanted, self.limits.bytes_max, until)).await;
            let read = read.unwrap_or(Err(EngineError::TimedOut));
            attempts.add(&path, read.as_ref().err().map_or("ok", EngineError::word), now.elapsed());
            match read {
                Ok(served) => {
                    admission.succeeded();
                    return Some(Ok(served));
                }
                Err(EngineError::Missing) => {
                    admission.succeeded();
                    left.missing = true;
                }
                Err(EngineError::NotExported) => {
                    admission.succeeded();
                    left.failed = true;
                }
                Err(EngineError::Damaged) => {
                    // It is about the needle. The other replica is asked first; this one only for all of it.
                    admission.succeeded();
                    damaged += 1;
                    left.damaged.extend(server.cloned());
                    left.failed = true;
                    if server.is_none() {
                        left.damaged.extend(places.iter().cloned());
                    }
                }
                Err(EngineError::PeerGone | EngineError::TimedOut) => {
                    admission.failed(Instant::now());
                    self.lookup.doubt(range.file.volume);
                    left.failed = true;
                }
                Err(EngineError::DeviceGone) => {
                    admission.failed(Instant::now());
                    left.failed = true;
                    break;
                }
                // It costs nothing to find out that nobody listens, and reads go on as soon as somebody does.
                Err(EngineError::EngineGone(_)) => {
                    left.failed = true;
                    break;
                }
                Err(why) => {
                    if !matches!(why, EngineError::Fault(_) | EngineError::Busy) {
                        admission.succeeded();
                    }
                    return Some(Err(refusal(why)));
                }
            }
        }
        left.damage = damaged > 0 && damaged == attempts_of(servers.len(), attempts);
        None
    }
}

fn attempts_of(servers: usize, attempts: &Attempts) -> usize {
    servers.min(attempts.count())
}

/// What the engine says that no other way would say otherwise.
fn refusal(why: EngineError) -> ReadError {
    match why {
        EngineError::Deleted => ReadError::NotFound("the needle was deleted"),
        EngineError::Expired => ReadError::NotFound("the needle has expired"),
        EngineError::WrongCookie => ReadError::NotFound("the needle has another cookie"),
        EngineError::PastEnd { whole_len } => ReadError::PastEnd { whole_len: Some(whole_len) },
        EngineError::TooLong { max } => ReadError::TooLong { max },
        EngineError::Busy => ReadError::Busy { why: why.to_string(), retry_after_s: 1 },
        other => ReadError::Fault(other.to_string()),
    }
}

/// One read, or several of what one may have. Pieces are of one version of the needle, or it is begun again.
async fn in_pieces(
    engine: &dyn EngineReads,
    wanted: &Wanted,
    bytes_max: u64,
    until: Instant,
) -> Result<Served, EngineError> {
    if wanted.len > bytes_max {
        // The needle may well be shorter. What it has is looked at before anything is read.
        let head = checked(engine.read(&Wanted { len: 1, ..wanted.clone() }, until).await?)?;
        let len = head.whole_len.saturating_sub(wanted.offset);
        return match len <= bytes_max {
            true => Box::pin(in_pieces(engine, &Wanted { len, ..wanted.clone() }, bytes_max, until)).await,
            false => Err(EngineError::TooLong { max: bytes_max }),
        };
    }
    let max = match engine.read(wanted, until).await {
        Ok(read) => {
            let read = checked(read)?;
            if read.bytes.len() as u64 > bytes_max {
                return Err(EngineError::TooLong { max: bytes_max });
            }
            return complete(wanted, vec![read]);
        }
        Err(EngineError::TooLong { max }) if max > 0 => max,
        Err(why) => return Err(why),
    };
    for _ in 0..CHANGES_MAX {
        if let Some(pieces) = pieces(engine, wanted, max, bytes_max, until).await? {
            return complete(wanted, pieces);
        }
    }
    Err(EngineError::Fault(format!("needle {} changes faster than it can be read", wanted.file)))
}

/// The pieces in order, or nothing if the needle changed meanwhile.
async fn pieces(
    engine: &dyn EngineReads,
    wanted: &Wanted,
    max: u64,
    bytes_max: u64,
    until: Instant,
) -> Result<Option<Vec<EngineBytes>>, EngineError> {
    let mut pieces: Vec<EngineBytes> = Vec::new();
    let (mut offset, mut end) = (wanted.offset, u64::MAX);
    while offset < end {
        let len = max.min(end - offset);
        let piece = match engine.read(&Wanted { offset, len, ..wanted.clone() }, until).await {
            Err(EngineError::PastEnd { .. }) if !pieces.is_empty() => return Ok(None),
            other => checked(other?)?,
        };
        if pieces
            .first()
            .is_some_and(|first| (first.whole_len, &first.details) != (piece.whole_len, &piece.details))
        {
            return Ok(None);
        }
        end = match wanted.len {
            0 => piece.whole_len,
            len => wanted.offset.saturating_add(len).min(piece.whole_len),
        };
        if end.saturating_sub(wanted.offset) > bytes_max {
            return Err(EngineError::TooLong { max: bytes_max });
        }
        let read = piece.bytes.len() as u64;
        if read == 0 && offset < end || read > len {
            return Err(EngineError::Fault(format!("{read} bytes where {len} were asked for")));
        }
        offset += read;
        pieces.push(piece);
    }
    Ok(Some(pieces))
}

/// Bytes that are what the engine took the sum of: between it and us lies memory that others write.
fn checked(read: EngineBytes) -> Result<EngineBytes, EngineError> {
    match crc32c::crc32c(&read.bytes) == read.crc32c {
        true => Ok(read),
        false => Err(EngineError::Damaged),
    }
}

/// Holds what was read against what was wanted: the engine's arithmetic is not ours.
fn complete(wanted: &Wanted, pieces: Vec<EngineBytes>) -> Result<Served, EngineError> {
    let Some(first) = pieces.first() else {
        return Err(EngineError::Fault("a read without a piece".to_owned()));
    };
    let (whole_len, details) = (first.whole_len, first.details.clone());
    let rest = whole_len.saturating_sub(wanted.offset);
    let due = if wanted.len == 0 { rest } else { wanted.len.min(rest) };
    let way = pieces.iter().map(|piece| way(piece.path)).max().unwrap_or(Way::Local);
    let frames: Vec<Bytes> = pieces.into_iter().map(|piece| piece.bytes).collect();
    let len = frames.iter().map(|frame| frame.len() as u64).sum();
    if wanted.offset > 0 && wanted.offset >= whole_len {
        return Err(EngineError::PastEnd { whole_len });
    }
    if len != due {
        return Err(EngineError::Fault(format!("{len} bytes of needle {} where {due} are due", wanted.file)));
    }
    Ok(Served { frames, len, offset: wanted.offset, whole_len: Some(whole_len), way, details, checked: true })
}

fn way(path: EnginePath) -> Way {
    match path {
        EnginePath::Local => Way::Local,
        EnginePath::Pull => Way::Pull,
        EnginePath::Push => Way::Push,
    }
}
