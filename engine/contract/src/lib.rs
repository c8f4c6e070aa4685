//! What an RDMA device promises, and nothing else.
//!
//! This crate is the bottom of the workspace: values, statuses, memory, and the [`Backend`] trait that the
//! simulated NIC, verbs and UCX each keep. It knows no clock, no entropy, no thread, no runtime and no device.
//!
//! * [`time`], [`chance`]: time and chance are arguments.
//! * [`memlock`]: what this process may pin for devices, and what it has pinned.
//! * [`pages`]: which pages memory has, and why not better ones.
//! * [`region`]: pinned memory, and the leases that keep it in place while a device may touch it.
//! * [`endpoint`], [`key`], [`work`], [`completion`], [`event`]: what goes into a device and what comes out.
//! * [`status`], [`error`]: what can go wrong, in InfiniBand's words.
//! * [`finding`]: what is wrong on a machine, and what mends it.
//! * [`caps`]: promises; the conformance kit holds a backend to them.

mod backend;
pub mod caps;
pub mod chance;
pub mod completion;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod finding;
pub mod key;
pub mod memlock;
pub mod pages;
pub mod planted;
pub mod region;
pub mod shared;
pub mod status;
pub mod time;
pub mod work;

pub use backend::{Backend, Wake};
pub use caps::Caps;
pub use chance::{Buggify, Choices, Quiet, Seeded, Site};
pub use completion::{Completion, Completions};
pub use endpoint::{Access, CqId, EndpointSpec, EpId, Mtu, PdId, QpState, RnrTimer, SrqId};
pub use event::AsyncEvent;
pub use key::{EndpointAddress, RemoteAddr, RemoteKey, RemoteRegion, RkeyId};
pub use pages::{PageKind, Pages, PagesGot};
pub use region::{Hold, Lease, Region, RegionSpec, WeakRegion};
pub use shared::{Others, SharedError, SharedMemory};
pub use status::{Class, Status};
pub use time::Instant;
pub use work::{Data, MrId, Op, OpKind, Sge, WindowId, Work, WorkId};
