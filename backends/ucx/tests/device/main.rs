//! Devices over UCX of this machine: what the conformance kit, which knows no UCX, does not ask.

mod lab;
mod memory;
mod passive;
mod protocol;
mod wake;
