//! Memory that devices use: regions, registered and cut into leases.
//!
//! An [`Arena`] owns its region's space. A lease of any length gets a slot of its size class, a power of two times
//! the region's granule; it comes back when the lease and every hold on it are dropped, which needs no call and no
//! reference to the arena. The arena learns of it with the next lease it is asked for.
//!
//! Acquiring and dropping take constant time and allocate nothing: everything is reserved when the arena is made.
//! The same calls in the same order give the same places, on every machine.
//!
//! What a peer may reach is another matter: it is [`Exposed`], in extents that are registered for that peer's session alone,
//! so that closing the session kills their keys.
//!
//! * `arena`: bytes, leases, statistics.
//! * `pool`: granules in, granules out; returned slots are kept at hand before they are merged.
//! * `buddy`, `bits`: which granules are free.
//! * `extent`: memory for what peers may reach, and where it is while no session has it.
//! * `exposed`: what one session exposes of it.
//! * `cache`: registrations of users' own buffers, kept for the next time.
//! * `stats`: what an operator wants to know, and what the log says of pages.
//! * `error`: why there is no memory.

mod arena;
mod bits;
mod buddy;
mod cache;
mod error;
mod exposed;
mod extent;
mod pool;
mod stats;

pub use arena::{Arena, ArenaStats, ClassStats};
pub use cache::{CacheConfig, CacheError, CacheStats, Cached, RegistrationCache};
pub use error::MemoryError;
pub use exposed::{Exposed, ExtentId, Place};
pub use extent::{ExtentPool, ExtentPoolConfig, ExtentStats};
pub use stats::MemoryStats;
