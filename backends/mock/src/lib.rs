//! A simulated NIC that moves real bytes.
//!
//! Each node has a reliable-connected device with its own memory regions; the [`Fabric`] carries MTU packets with
//! sequence numbers between them in virtual nanoseconds. Nothing is ever fabricated: a READ returns what the owner
//! put there, and a refused or lost request changes nothing. Only causes can be set (a link is cut, a region is
//! deregistered, no receive is posted); outcomes follow.
//!
//! # Supported
//! * SEND, SEND with immediate, WRITE, WRITE with immediate, READ, compare-and-swap, fetch-and-add, receives;
//!   scatter/gather, inline, fence, signalled and unsignalled works, shared completion and receive queues.
//! * Queue pair states RESET, INIT, RTR, RTS, SQD, ERR; go-back-N with ACK timeouts, sequence NAKs, RNR NAKs and
//!   their retry budgets; repeated requests (WRITE and SEND acknowledged again, READ read again, atomics answered
//!   from the saved result).
//! * Responder checks in rxe's order; keys that roll and stay dead; completion queue overrun; the limits in
//!   [`caps`](fn@caps::caps).
//! * Memory windows, bound and revoked by the owner's control plane.
//! * Ports and links with bandwidth and queueing, and what can go wrong with them: packets lost singly and in bursts,
//!   duplicated, overtaken, delayed, corrupted, truncated; less bandwidth; one-way partitions.
//!
//! # Rejected
//! * Requests outside the caps, with the error a device gives.
//! * Unreliable services, path migration: not in the contract.
//!
//! Comments that begin with `rxe:` name the kernel file (`drivers/infiniband/sw/rxe`) a behaviour follows; where NICs
//! and rxe differ, the NIC's rule is the default.

mod buggify;
pub mod caps;
mod device;
mod digest;
mod endpoint;
mod fabric;
mod marks;
mod memory;
mod nic;
mod packet;
mod profile;
mod psn;
mod queue;
mod rc;
mod shared;
mod tap;

pub use device::MockNic;
pub use digest::digest;
pub use fabric::{Fabric, LinkFaults, NODES_MAX, Step, StepKind};
pub use marks::Mark;
pub use memory::SCRIBBLE;
pub use nic::queue_pair_number;
pub use packet::Opcode;
pub use profile::Profile;
pub use tap::{Fate, Happening, PacketView, Tap};
