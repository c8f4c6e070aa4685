//! The engine: everything between a raw RDMA device and a storage service.
//!
//! * [`port`]: what every backend gets around it: credits, the ledger of outstanding works, signalling.
//! * [`context`]: [`RdmaContext`], one type over every backend that was built.
//! * [`memory`]: an arena of registered memory, cut into leases.
//! * [`session`]: what peers hold while they are there, and what comes back when they are not.
//! * [`transfer`], [`driver`]: operations of any length, cut into chunks, with windows and deadlines.
//! * [`local`]: futures over a driver.
//!
//! The engine is poll-mode: [`Driver::turn`] with the time as an argument is the truth, futures are a costume over it.
//! It knows no wall clock, no protocol and no file format.

pub mod bootstrap;
pub mod context;
pub mod deadline;
pub mod driver;
mod ledger;
pub mod local;
pub mod memory;
mod opening;
pub mod port;
pub mod session;
pub mod slab;
pub mod transfer;

pub use context::{BackendKind, BackendNotBuilt, RdmaContext, RdmaOps, UnknownBackend};
pub use driver::{Driver, DriverConfig, Leaks};
pub use ledger::Anomaly;
pub use local::{LocalEngine, Transferring};
pub use opening::OpenDeviceError;
pub use port::{Batch, NO_ENDPOINT, Order, Outcome, Port, PortConfig, Refused};
pub use transfer::{Finished, SubmitError, SubmitReason, TransferError, TransferId, TransferSpec};
