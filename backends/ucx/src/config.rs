//! What a device is asked to be: over which transport, on which network devices, with which protocol.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// What carries the bytes. One device has one transport: UCX is told of no other, so it cannot quietly take another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP sockets. One-sided works are served by the target's CPU.
    Tcp,
    /// Memory shared by processes of one machine, one user and one PID namespace.
    Shm,
    /// Within one worker: for tests, and for a node that talks to itself.
    Loopback,
    /// Reliable-connected queue pairs of an RDMA device: InfiniBand, RoCE, soft-RoCE.
    Rc,
}

impl Transport {
    /// Every transport.
    pub const ALL: [Transport; 4] = [Transport::Tcp, Transport::Shm, Transport::Loopback, Transport::Rc];

    /// As devices are named: `tcp`, `shm`, `self`, `rc`.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Shm => "shm",
            Transport::Loopback => "self",
            Transport::Rc => "rc",
        }
    }

    /// What `UCX_TLS` says of it: the transport, and what it cannot be without.
    pub const fn tls(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Shm => "posix",
            Transport::Loopback => "self",
            Transport::Rc => "rc_v,self",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a message's bytes travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// UCX chooses by length.
    #[default]
    Auto,
    /// With the message itself: one way, and a copy at the receiver.
    Eager,
    /// The receiver is told first, and fetches them into the memory where they belong.
    Rendezvous,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Protocol; 3] = [Protocol::Auto, Protocol::Eager, Protocol::Rendezvous];

    /// As it is asked for: `auto`, `eager`, `rndv`.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Auto => "auto",
            Protocol::Eager => "eager",
            Protocol::Rendezvous => "rndv",
        }
    }
}

impl FromStr for Protocol {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Protocol, ConfigError> {
        let found = Protocol::ALL.into_iter().find(|protocol| protocol.name() == name);
        found.ok_or_else(|| ConfigError::UnknownProtocol(name.to_owned()))
    }
}

/// How endpoints find each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectBy {
    /// By worker address: an opaque blob that holds everything.
    #[default]
    WorkerAddress,
    /// By the socket address of a listener, here: port 0 is any that is free. TCP and RDMA devices only.
    Listener(SocketAddr),
}

/// Which device to open, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UcxConfig {
    /// What carries the bytes.
    pub transport: Transport,
    /// Network devices, as `ucx_info -d` lists them (`eth0`, `rxe0:1`). Empty: all that the transport can use.
    pub devices: Vec<String>,
    /// How messages travel.
    pub protocol: Protocol,
    /// How endpoints find each other.
    pub connect_by: ConnectBy,
    /// How long the progress thread goes on polling after the last sign of life before it sleeps, in nanoseconds.
    pub spin_ns: u64,
    /// How long connecting waits for the peer, in nanoseconds; then the endpoint is in ERR.
    pub connect_timeout_ns: u64,
    /// The library to load, if not the system's `libucp.so.0`.
    pub library: Option<PathBuf>,
}

impl UcxConfig {
    /// Everything a transport has, with the usual policy.
    pub fn new(transport: Transport) -> UcxConfig {
        UcxConfig {
            transport,
            devices: Vec::new(),
            protocol: Protocol::Auto,
            connect_by: ConnectBy::WorkerAddress,
            spin_ns: 50_000,
            connect_timeout_ns: 10_000_000_000,
            library: None,
        }
    }

    /// As it is asked for: `tcp/lo`, `tcp@127.0.0.1`, `shm`, `rc/rxe0:1`.
    pub fn name(&self) -> String {
        let mut name = match self.devices.as_slice() {
            [] => self.transport.name().to_owned(),
            devices => format!("{}/{}", self.transport, devices.join("+")),
        };
        if let ConnectBy::Listener(at) = self.connect_by {
            name += &match at.port() {
                0 => format!("@{}", at.ip()),
                _ => format!("@{at}"),
            };
        }
        name
    }
}

/// A device's name cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// No such transport.
    #[error(
        "there is no UCX transport {0:?}: it is one of tcp, shm, self, rc; a network device follows a slash, tcp/lo or rc/rxe0:1"
    )]
    UnknownTransport(String),
    /// No such protocol.
    #[error("there is no protocol {0:?}: it is one of auto, eager, rndv")]
    UnknownProtocol(String),
    /// A transport without network devices was given one.
    #[error("the transport {transport} has no network devices, and {device:?} was asked for: leave it away")]
    NoDevices {
        /// The transport.
        transport: Transport,
        /// What was asked for.
        device: String,
    },
    /// A transport that has no listeners was given one.
    #[error("the transport {0} has no listeners: leave away what follows the @")]
    NoListener(Transport),
    /// Something stands where an address should.
    #[error(
        "{0:?} is no address to listen on: an IP address follows the @, and perhaps a port, tcp@127.0.0.1:7000"
    )]
    BadListener(String),
    /// Something stands where a network device should.
    #[error("{0:?} is no network device: names are letters, digits and .:_- (`ucx_info -d` lists them)")]
    BadDevice(String),
}

impl FromStr for UcxConfig {
    type Err = ConfigError;

    /// `TRANSPORT[/DEVICE[+DEVICE...]][@IP[:PORT]]`. With an address, endpoints are reached through a listener there.
    fn from_str(name: &str) -> Result<UcxConfig, ConfigError> {
        let (rest, listener) = match name.split_once('@') {
            Some((rest, listener)) => (rest, Some(listener)),
            None => (name, None),
        };
        let (transport, devices) = match rest.split_once('/') {
            Some((transport, devices)) => (transport, Some(devices)),
            None => (rest, None),
        };
        let found = Transport::ALL.into_iter().find(|known| known.name() == transport);
        let transport = found.ok_or_else(|| ConfigError::UnknownTransport(name.to_owned()))?;
        let mut config = UcxConfig::new(transport);
        for device in devices.into_iter().flat_map(|devices| devices.split('+')) {
            if matches!(transport, Transport::Shm | Transport::Loopback) {
                return Err(ConfigError::NoDevices { transport, device: device.to_owned() });
            }
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '_' | '-');
            if device.is_empty() || !device.chars().all(legal) {
                return Err(ConfigError::BadDevice(device.to_owned()));
            }
            config.devices.push(device.to_owned());
        }
        if let Some(listener) = listener {
            if matches!(transport, Transport::Shm | Transport::Loopback) {
                return Err(ConfigError::NoListener(transport));
            }
            let ip = listener.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
            let at = ip.or_else(|_| listener.parse::<SocketAddr>());
            config.connect_by =
                ConnectBy::Listener(at.map_err(|_| ConfigError::BadListener(listener.to_owned()))?);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_and_written_back() {
        for name in
            ["tcp", "tcp/lo", "tcp/lo+eth0", "shm", "self", "rc/rxe0:1", "tcp@127.0.0.1", "tcp/lo@[::1]:7"]
        {
            assert_eq!(name.parse::<UcxConfig>().map(|config| config.name()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn what_is_wrong_with_a_name_is_said() {
        let error = |name: &str| name.parse::<UcxConfig>().expect_err("refused").to_string();
        assert!(error("udp").contains("tcp, shm, self, rc"));
        assert!(error("shm/eth0").contains("no network devices"));
        assert!(error("shm@127.0.0.1").contains("has no listeners"));
        assert!(error("tcp@localhost").contains("an IP address follows the @"));
        assert!(error("tcp/").contains("is no network device"));
        assert!(error("tcp/a,b").contains("is no network device"));
        assert!("best".parse::<Protocol>().expect_err("refused").to_string().contains("auto, eager, rndv"));
    }
}
