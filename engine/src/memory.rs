//! Memory that devices use: one region, registered once and cut into leases.
//!
//! An [`Arena`] owns its region's space. A lease of any length gets a slot of its size class, a power of two times
//! the region's granule; it comes back when the lease and every hold on it are dropped, which needs no call and no
//! reference to the arena. The arena learns of it with the next lease it is asked for.
//!
//! Acquiring and dropping take constant time and allocate nothing: everything is reserved when the arena is made.
//! The same calls in the same order give the same places, on every machine.
//!
//! * `arena`: bytes, leases, statistics, errors.
//! * `pool`: granules in, granules out; returned slots are kept at hand before they are merged.
//! * `buddy`, `bits`: which granules are free.

mod arena;
mod bits;
mod buddy;
mod pool;

pub use arena::{Arena, ArenaStats, ClassStats, MemoryError};
