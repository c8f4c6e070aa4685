//! Volumes exported by one engine and read by another.
//!
//! Beside a SeaweedFS volume server an engine *exports* the server's volumes; beside a client an engine *reads* them. A needle
//! comes in one of two ways, and every result says which and why:
//!
//! * *pushed*: the reader asks by SEND, the exporter WRITEs into the memory that was named, and answers by SEND;
//! * *pulled*: the reader READs the exporter's registered memory, where the record of a needle lies that is read again and again,
//!   and checks all of it by itself: cookie, id, size and checksum, and that it is still the newest. The exporter's processor
//!   has no part in it.
//!
//! * [`Exporter`]: the serving side, over a [`Shelf`] of volumes. Its [`Gate`] lets in who has the key.
//! * [`Reader`]: the reading side: finds who has a volume, connects, reads, verifies, and tries the next.
//! * [`Home`]: volumes that an engine has itself are read from the file.
//! * [`calls`]: what travels.
//!
//! Everything is on the messenger and its calls, takes the time as an argument and runs in the simulation.

mod admission;
pub mod calls;
mod exporter;
mod found;
mod front;
mod gzip;
mod home;
mod outcome;
mod reader;
mod segments;
mod shelf;
mod sums;

pub use admission::{
    BadKey, KEY_BYTES_MAX, KEY_BYTES_MIN, NONCE_BYTES, Nonce, Nonces, PROOF_BYTES, SharedKey,
};
pub use exporter::{Exporter, ExporterConfig, ExporterStats, Gate};
pub use found::{Found, Mode, NotRead, Part, Path, Wanted, Why};
pub use home::{Home, LocalHome};
pub use outcome::Absence;
pub use reader::{PORT, PeerConfig, Reader, ReaderConfig, ReaderStats};
#[doc(hidden)]
pub use segments::Lie;
pub use segments::{SegmentConfig, SegmentStats};
pub use shelf::{Shelf, Shelved, StoreShelf, StoreShelfConfig};
