//! Why a device cannot be opened. Each reason has its own words and the command that shows or mends it.

use std::path::PathBuf;

use thiserror::Error;
use wavetank_contract::error::SystemError;

use crate::gid::GidVerdict;

/// Why a device could not be opened.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// libibverbs or librdmacm is not installed.
    #[error("{library} is absent ({why}): `{}`", crate::doctor::install(library))]
    LibraryAbsent {
        /// Its file name.
        library: &'static str,
        /// What the loader said.
        why: String,
    },
    /// The kernel has no RDMA device.
    #[error("this machine has no RDMA device: `rdma link` lists them; for soft-RoCE, `{ADD_RXE}`")]
    NoDevice,
    /// No device has this name.
    #[error("there is no RDMA device {asked}; there is {}", present.join(", "))]
    UnknownDevice {
        /// The name asked for.
        asked: String,
        /// Those that exist.
        present: Vec<String>,
    },
    /// Programs cannot reach any device.
    #[error("the kernel offers {device} to no program: `modprobe ib_uverbs` (and rdma_ucm for iWARP)")]
    NoUverbs {
        /// The device.
        device: String,
    },
    /// The device's node has no file.
    #[error("{} is missing, though the kernel has {device}: `ls -l /dev/infiniband`; in a container, `--device={}`",
        node.display(), node.display())]
    NodeMissing {
        /// The device.
        device: String,
        /// The file.
        node: PathBuf,
    },
    /// This process may not open the device's node.
    #[error("no permission to open {}: `ls -l {}` shows who may; `chmod 0666` or group rdma (udev)",
        node.display(), node.display())]
    NotPermitted {
        /// The file.
        node: PathBuf,
    },
    /// The kernel has the device and libibverbs has no provider for it.
    #[error(
        "libibverbs has no provider for {device}: `apt install ibverbs-providers`; IBV_SHOW_WARNINGS=1 says more"
    )]
    NoProvider {
        /// The device.
        device: String,
    },
    /// The device has no such port.
    #[error("{device} has ports 1 to {ports}, not {asked}")]
    UnknownPort {
        /// The device.
        device: String,
        /// The port asked for.
        asked: u8,
        /// How many it has.
        ports: u8,
    },
    /// The port is not active.
    #[error("port {port} of {device} is {state}, not ACTIVE: `rdma link show {device}`; if its network device is down, \
             `ip link set {} up`", netdev.as_deref().unwrap_or("NETDEV"))]
    PortDown {
        /// The device.
        device: String,
        /// The port.
        port: u8,
        /// Its state, in the words of `enum ibv_port_state`.
        state: &'static str,
        /// The network device behind it.
        netdev: Option<String>,
    },
    /// The port has no GID to connect from.
    #[error(
        "port {port} of {device} has no usable GID: {}; an IP address on its network device makes one, \
             `ip addr add ADDRESS/PREFIX dev NETDEV`",
        reasons(verdicts)
    )]
    NoUsableGid {
        /// The device.
        device: String,
        /// The port.
        port: u8,
        /// What was found, and why each was refused.
        verdicts: Vec<GidVerdict>,
    },
    /// This process may lock too little memory for any work.
    #[error(
        "this process may lock {limit_bytes} bytes of memory and needs at least {need_bytes}: `ulimit -l` shows the \
             limit in KiB; raise it with `ulimit -l unlimited`, LimitMEMLOCK=infinity of a systemd unit, or limits.conf(5)"
    )]
    Memlock {
        /// `RLIMIT_MEMLOCK`.
        limit_bytes: u64,
        /// What queues and one small region need.
        need_bytes: u64,
    },
    /// An iWARP device without an address to listen on.
    #[error(
        "{device} speaks iWARP and its network device has no IP address: `ip addr add ADDRESS/PREFIX dev {netdev}`"
    )]
    NoIpAddress {
        /// The device.
        device: String,
        /// Its network device.
        netdev: String,
    },
    /// The system or the library refused.
    #[error("{device}: {error}")]
    System {
        /// The device.
        device: String,
        /// The call, and what it answered.
        error: SystemError,
    },
}

/// Makes a soft-RoCE device.
pub(crate) const ADD_RXE: &str = "modprobe rdma_rxe && rdma link add rxe0 type rxe netdev NETDEV";

fn reasons(verdicts: &[GidVerdict]) -> String {
    if verdicts.is_empty() {
        return "its table is empty".into();
    }
    verdicts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A failed call, as errors carry it.
pub(crate) const fn system(call: &'static str, errno: i32, advice: &'static str) -> SystemError {
    SystemError { call, errno, advice }
}
