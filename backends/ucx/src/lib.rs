//! UCX: TCP, shared memory, and RDMA devices through the Unified Communication X library.

mod address;
mod config;
mod device;
mod endpoint;
mod error;
mod frame;
mod frames;
mod key;
mod memory;
mod opening;
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
