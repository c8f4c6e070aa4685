//! A ring of submissions and one of completions, in memory that an engine and one client share.
//!
//! As in `io_uring(7)`, each side writes one ring and reads the other, and nobody takes a lock. Unlike there, an entry carries its own
//! stamp, which is stored last: whoever polls for it finds the entry in the same cache line, one transfer between two cores
//! instead of two. Stamps count up from 1 and a place is used again only when the other side has said that it is done with it, so
//! that a stamp is never true by chance.
//!
//! **Neither side believes the other.** Each keeps its own count of what it has written and read; of what the other says only
//! differences are used, and those are checked against the size of the ring. Entries are copied before they are looked at. A
//! client that writes nonsense gets an end of its ring, and nobody else notices.
//!
//! **No wake-up is lost.** Who is about to sleep stores its flag, then looks once more; who has written stores the stamp, then looks
//! at the flag; between the two stands a sequentially consistent fence on both sides, so that at least one of them sees the
//! other's store.

mod client;
mod engine;
mod entry;
mod layout;

pub use client::{ClientRing, Full};
pub use engine::{Broken, EngineRing};
pub use entry::{Answer, Completion, Submission, Task};
pub use layout::{ENTRIES_MAX, ENTRIES_MIN, ring_bytes};
