//! Why a device cannot be opened. Each reason has its own words and what mends it.

use thiserror::Error;

use crate::config::Transport;

/// Why a device could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// UCX is not installed.
    #[error("{library} is absent ({why}): `apt install libucx0`")]
    LibraryAbsent {
        /// Its file name.
        library: String,
        /// What the loader said.
        why: String,
    },
    /// Older than what active messages and error handling need.
    #[error("UCX {found} is too old: 1.12 or newer is needed; `ucx_info -v` shows what is installed")]
    TooOld {
        /// What is installed.
        found: String,
    },
    /// UCX has no such transport here, or none that can be used.
    #[error("UCX cannot use the transport {transport}{on}: {why}; `ucx_info -d` lists what it can use")]
    TransportUnavailable {
        /// What was asked for.
        transport: Transport,
        /// On which network devices; empty, or ` on lo`.
        on: String,
        /// What UCX said.
        why: String,
    },
    /// An environment variable contradicts the configuration, or is known to bring UCX down.
    #[error("{name}={value} is set in the environment: {why}; unset it")]
    Variable {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// UCX refused an environment variable or one of our settings.
    #[error("UCX refuses its configuration ({why}): look at the UCX_* variables of the environment")]
    Configuration {
        /// What UCX said.
        why: String,
    },
    /// Shared memory has no room for a worker.
    #[error(
        "/dev/shm has {free_bytes} bytes free and a worker of this transport takes about {need_bytes}: make room, or \
         `mount -o remount,size=1G /dev/shm` (a container: --shm-size)"
    )]
    SharedMemoryFull {
        /// What is free.
        free_bytes: u64,
        /// What one worker takes.
        need_bytes: u64,
    },
    /// A call failed.
    #[error("{call} failed: {why}")]
    Ucx {
        /// The call.
        call: &'static str,
        /// What UCX said.
        why: String,
    },
    /// The system refused.
    #[error(transparent)]
    System(#[from] wavetank_contract::error::SystemError),
}
