//! The engine as a process: it reads needles for clients on the same machine.
//!
//! [`reads`] is the seam between those who ask and whatever finds the bytes; [`ipc`] is who asks over the Unix socket.
//! Everything runs on one thread, the one that turns the device.

#[cfg(feature = "mock")]
pub mod bench;
pub mod ipc;
pub mod reads;
