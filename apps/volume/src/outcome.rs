//! What is asked of a volume, and every answer there is.

use std::ops::Range;

use crate::{Cookie, Located, NeedleError, NeedleId};

/// A needle that somebody wants to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The needle.
    pub id: NeedleId,
    /// The cookie that came with its id; `None` = whoever asks may read everything.
    pub cookie: Option<Cookie>,
    /// Which bytes of its content, which is decompressed where it is stored compressed; `None` = all of it. Ends with
    /// the content.
    pub range: Option<Range<u64>>,
    /// Now, in Unix nanoseconds: what has expired is not there.
    pub now_unix_ns: u64,
    /// The longest content that a compressed needle may decompress to.
    pub inflated_len_max: u64,
}

impl Ask {
    /// Asks for all of a needle, up to 256 MiB if it is compressed.
    #[must_use]
    pub fn whole(id: NeedleId, cookie: Cookie, now_unix_ns: u64) -> Self {
        Self { id, cookie: Some(cookie), range: None, now_unix_ns, inflated_len_max: 256 << 20 }
    }
}

/// What became of it.
#[derive(Debug, Clone)]
pub enum Outcome<T> {
    /// It is there.
    Found(T),
    /// It is there and has no bytes.
    Empty(Located),
    /// The index never heard of it.
    Missing,
    /// It was deleted.
    Deleted,
    /// Its time to live is over since `at_unix_ns`.
    Expired {
        /// Unix nanoseconds.
        at_unix_ns: u64,
    },
    /// It is there, and the cookie is another one.
    WrongCookie,
    /// The range begins behind the content's end, or is none.
    NotInRange {
        /// Length of the content.
        whole_len_bytes: u64,
    },
    /// It decompresses to more than was allowed.
    TooLong {
        /// What was allowed.
        inflated_len_max: u64,
    },
    /// The record is not what the index says, although the files are as they were opened, or were opened again as often
    /// as is tried. Later may be better.
    Stale(NeedleError),
    /// The record is there and is not what was written.
    Damaged(Damage),
}

/// What is wrong with a needle, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Its checksum, or the lengths in its record.
    #[error(transparent)]
    Record(#[from] NeedleError),
    /// Its bytes are what was written, but that was no gzip, although it begins like one and its flag says so.
    #[error(
        "needle {id} at offset {offset_bytes} of the .dat: its data is as it was written, but cannot be decompressed; \
         write it again"
    )]
    Gzip {
        /// The needle.
        id: NeedleId,
        /// Where its record begins in the `.dat`.
        offset_bytes: u64,
    },
}

/// What [`crate::VolumeFiles::read_into`] has read.
#[derive(Debug, Clone)]
pub struct Content {
    /// The needle and its metadata.
    pub located: Located,
    /// Which bytes of the content were read.
    pub range: Range<u64>,
    /// Length of the whole content.
    pub whole_len_bytes: u64,
    /// Whether it was decompressed. What the flag says is not enough: data that is no gzip is served as it stands.
    pub is_inflated: bool,
    /// The shard of an erasure-coded volume that has rotted where this needle is: what was read comes from the others.
    pub rotted_shard: Option<u32>,
}

impl<T> Outcome<T> {
    /// Goes on with what was found; every other answer stays.
    ///
    /// # Errors
    ///
    /// Those of `then`.
    pub fn then<U, E>(self, then: impl FnOnce(T) -> Result<Outcome<U>, E>) -> Result<Outcome<U>, E> {
        Ok(match self {
            Self::Found(found) => return then(found),
            Self::Empty(located) => Outcome::Empty(located),
            Self::Missing => Outcome::Missing,
            Self::Deleted => Outcome::Deleted,
            Self::Expired { at_unix_ns } => Outcome::Expired { at_unix_ns },
            Self::WrongCookie => Outcome::WrongCookie,
            Self::NotInRange { whole_len_bytes } => Outcome::NotInRange { whole_len_bytes },
            Self::TooLong { inflated_len_max } => Outcome::TooLong { inflated_len_max },
            Self::Stale(fault) => Outcome::Stale(fault),
            Self::Damaged(damage) => Outcome::Damaged(damage),
        })
    }

    /// What was found, if it was.
    #[must_use]
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(found) => Some(found),
            _ => None,
        }
    }
}
