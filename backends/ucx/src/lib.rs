//! UCX: TCP, shared memory, and RDMA devices through the Unified Communication X library.

mod config;
mod device;
mod error;
mod sys;

pub use config::{ConfigError, ConnectBy, Protocol, Transport, UcxConfig};
pub use device::UcxDevice;
pub use error::DeviceError;
