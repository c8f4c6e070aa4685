//! Why something cannot be written.

use crate::NeedleId;

/// Why a needle cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A part is longer than its length field can say.
    #[error("needle {id}: its {part} is over {limit_bytes} bytes; shorten it")]
    TooLong {
        /// The needle.
        id: NeedleId,
        /// Which part.
        part: &'static str,
        /// The most that fits.
        limit_bytes: u64,
    },
    /// The next record would begin where the index cannot point.
    #[error("needle {id}: offsets of this volume end at {limit_bytes} bytes; begin another volume")]
    VolumeFull {
        /// The needle.
        id: NeedleId,
        /// The first offset that does not fit.
        limit_bytes: u64,
    },
}
