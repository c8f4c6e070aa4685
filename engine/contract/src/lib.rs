//! What an RDMA device promises, and nothing else.
//!
//! This crate is the bottom of the workspace: values, statuses, memory, and the [`Backend`] trait that the
//! simulated NIC, verbs and UCX each keep. It knows no clock, no entropy, no thread, no runtime and no device.
//!
//! * [`time`], [`chance`]: time and chance are arguments.
//! * [`region`]: pinned memory, and the leases that keep it in place while a device may touch it.
//! * [`work`], [`completion`], [`event`]: what goes into a device and what comes out.
//! * [`status`], [`error`]: what can go wrong, in InfiniBand's words.
//! * [`caps`]: promises; the conformance kit holds a backend to them.

pub mod chance;
pub mod time;
