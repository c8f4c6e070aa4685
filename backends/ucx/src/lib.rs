//! UCX: TCP, shared memory, and RDMA devices through the Unified Communication X library.

mod address;
mod config;
mod device;
pub mod doctor;
mod endpoint;
mod error;
mod explanation;
mod frame;
mod frames;
mod key;
mod lanes;
mod memory;
mod opening;
mod packed;
mod queue;
mod shared;
mod state;
mod status;
mod sys;
mod token;
mod watch;
mod wire;

pub use config::{ConfigError, ConnectBy, Protocol, Transport, UcxConfig};
pub use device::UcxDevice;
pub use error::DeviceError;
pub use explanation::{Choice, Explanation};
pub use lanes::{Lane, Step};
