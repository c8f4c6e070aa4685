//! Opening a device: each thing that can be wrong is looked for, and named.

use std::rc::Rc;

use wavetank_contract::memlock;

use crate::caps;
use crate::cm::Cm;
use crate::error::{DeviceError, system};
use crate::gid::{Gid, GidChoice, GidEntry, GidKind, GidVerdict, judge};
use crate::kernel::{Kernel, Node};
use crate::status;
use crate::sys::{self, Context, DeviceInfo, LoadError, PortInfo, RawGid, Rdmacm, Verbs};

/// Which device to open, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerbsConfig {
    /// Its name, as `rdma link` and `ibv_devices(1)` list it: `rxe0`, `mlx5_0`.
    pub device: String,
    /// Its port, from 1.
    pub port: u8,
    /// The GID connections go out from. Of no concern on iWARP.
    pub gid: GidChoice,
    /// The traffic class of routed packets (IPv4: DSCP and ECN); 0 is best effort.
    pub traffic_class: u8,
    /// The service level of packets; on Ethernet the priority.
    pub service_level: u8,
    /// The partition key's place in the port's table. 0 is the default partition.
    pub pkey_index: u16,
}

impl VerbsConfig {
    /// The first port of this device, with the best of its GIDs.
    pub fn new(device: impl Into<String>) -> VerbsConfig {
        VerbsConfig {
            device: device.into(),
            port: 1,
            gid: GidChoice::Best,
            traffic_class: 0,
            service_level: 0,
            pkey_index: 0,
        }
    }
}

/// Locked memory below which nothing works: queues of an adapter are locked as regions are.
pub(crate) const MEMLOCK_MIN_BYTES: u64 = 1 << 20;

/// Entries of a GID table that are looked at one by one, where the library has no call for all.
const GIDS_SCANNED_MAX: u32 = 256;

/// The port in use.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) number: u8,
    pub(crate) info: PortInfo,
    pub(crate) ethernet: bool,
    /// The GID connections go out from; on iWARP it means nothing.
    pub(crate) gid: GidEntry,
    pub(crate) verdicts: Vec<GidVerdict>,
}

/// An open device with what is known of it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) context: Rc<Context>,
    pub(crate) info: DeviceInfo,
    pub(crate) port: Port,
    pub(crate) trial: caps::Trial,
    pub(crate) memlock_bytes: Option<u64>,
    pub(crate) cm: Option<Cm>,
}

impl From<LoadError> for DeviceError {
    fn from(LoadError { library, why }: LoadError) -> DeviceError {
        DeviceError::LibraryAbsent { library, why }
    }
}

/// What is wrong with a device before any library was asked. `Ok`: nothing.
pub(crate) fn check_kernel(kernel: &Kernel, device: &str) -> Result<(), DeviceError> {
    let present = kernel.devices();
    if present.is_empty() {
        return Err(DeviceError::NoDevice);
    }
    let named = || device.to_owned();
    if !present.iter().any(|name| name == device) {
        return Err(DeviceError::UnknownDevice { asked: named(), present });
    }
    match kernel.node(device) {
        Node::Open(_) => Ok(()),
        Node::NoModule => Err(DeviceError::NoUverbs { device: named() }),
        Node::Missing(node) => Err(DeviceError::NodeMissing { device: named(), node }),
        Node::NotPermitted(node) => Err(DeviceError::NotPermitted { node }),
        Node::Broken(_, errno) => {
            let error = system("open(2) of its node", errno, "`dmesg` may say why");
            Err(DeviceError::System { device: named(), error })
        }
    }
}

/// Opens a device.
pub(crate) fn open(config: &VerbsConfig) -> Result<Opened, DeviceError> {
    let verbs = Verbs::get()?;
    let kernel = Kernel::here();
    check_kernel(&kernel, &config.device)?;
    let memlock_bytes = memlock::limit_bytes();
    if let Some(limit_bytes) = memlock_bytes
        && limit_bytes < MEMLOCK_MIN_BYTES
    {
        return Err(DeviceError::Memlock { limit_bytes, need_bytes: MEMLOCK_MIN_BYTES });
    }
    let device = &config.device;
    let refused = |call, advice| {
        move |errno| DeviceError::System { device: device.clone(), error: system(call, errno, advice) }
    };
    let context = Context::open(verbs, device)
        .map_err(refused("ibv_open_device(3)", "`dmesg` may say why"))?
        .ok_or_else(|| DeviceError::NoProvider { device: device.clone() })?;
    let info = context.device_info().map_err(refused("ibv_query_device(3)", ""))?;
    let port = open_port(&kernel, &context, &info, config)?;
    let trial = caps::try_queue_pair(&context, &info)
        .map_err(refused("ibv_create_qp(3)", "not even the smallest queue pair can be made"))?;
    let cm = match context.is_iwarp() {
        true => Some(open_cm(&kernel, device, port.number)?),
        false => None,
    };
    Ok(Opened { context, info, port, trial, memlock_bytes, cm })
}

/// Listens on an address of the network device behind an iWARP port.
fn open_cm(kernel: &Kernel, device: &str, port: u8) -> Result<Cm, DeviceError> {
    let library = Rdmacm::get()?;
    let netdevs = kernel.netdevs(device, port);
    let ip = netdevs.iter().find_map(|netdev| sys::interface_addresses(netdev).into_iter().next());
    let Some(ip) = ip else {
        let netdev = netdevs.into_iter().next().unwrap_or_else(|| "NETDEV".into());
        return Err(DeviceError::NoIpAddress { device: device.to_owned(), netdev });
    };
    Cm::new(library, ip).map_err(|error| DeviceError::System { device: device.to_owned(), error })
}

fn open_port(
    kernel: &Kernel,
    context: &Context,
    device: &DeviceInfo,
    config: &VerbsConfig,
) -> Result<Port, DeviceError> {
    let (name, number) = (&config.device, config.port);
    if number == 0 || number > device.ports {
        return Err(DeviceError::UnknownPort { device: name.clone(), asked: number, ports: device.ports });
    }
    let refused =
        |call| move |errno| DeviceError::System { device: name.clone(), error: system(call, errno, "") };
    let info = context.port_info(number).map_err(refused("ibv_query_port(3)"))?;
    if info.state != status::PORT_ACTIVE {
        return Err(DeviceError::PortDown {
            device: name.clone(),
            port: number,
            state: status::port_state_name(info.state),
            netdev: kernel.netdevs(name, number).into_iter().next(),
        });
    }
    let ethernet = info.link_layer == 2; // IBV_LINK_LAYER_ETHERNET
    let entries = read_gids(kernel, context, name, number, &info).map_err(refused("ibv_query_gid(3)"))?;
    let (chosen, verdicts) = judge(&entries, ethernet, config.gid);
    let gid = match chosen {
        Some(gid) => gid,
        // Its connections are TCP connections.
        None if context.is_iwarp() => GidEntry { index: 0, gid: Gid([0; 16]), kind: GidKind::Unknown },
        None => {
            return Err(DeviceError::NoUsableGid { device: name.clone(), port: number, verdicts });
        }
    };
    Ok(Port { number, info, ethernet, gid, verdicts })
}

/// The GIDs of a port, with their kinds: the library's word where it has one, else sysfs's.
pub(crate) fn read_gids(
    kernel: &Kernel,
    context: &Context,
    device: &str,
    port: u8,
    info: &PortInfo,
) -> Result<Vec<GidEntry>, i32> {
    let entry = |raw: RawGid| {
        let kind = match raw.kind {
            Some(kind) => GidKind::from_number(kind),
            None => kernel
                .gid_type(device, port, raw.index)
                .map_or(GidKind::Unknown, |line| GidKind::from_sysfs(&line)),
        };
        GidEntry { index: raw.index, gid: Gid(raw.bytes), kind }
    };
    let found = context.gids(port, info.gid_table_len, GIDS_SCANNED_MAX)?;
    Ok(found.into_iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_thing_that_is_missing_has_its_own_error_and_the_command_that_mends_it() {
        let root = tempfile::tempdir().expect("a folder");
        let kernel = Kernel::at(root.path());
        let fault = |device| check_kernel(&kernel, device).expect_err("something is missing").to_string();
        assert!(fault("rxe0").contains("modprobe rdma_rxe && rdma link add rxe0 type rxe netdev"));

        fs::create_dir_all(root.path().join("class/infiniband/rxe0")).expect("a folder");
        assert_eq!(fault("mlx5_0"), "there is no RDMA device mlx5_0; there is rxe0");
        assert!(fault("rxe0").contains("modprobe ib_uverbs"));

        let node = root.path().join("class/infiniband_verbs/uverbs0");
        fs::create_dir_all(&node).expect("a folder");
        fs::write(node.join("ibdev"), "rxe0\n").expect("a file");
        assert!(fault("rxe0").contains("uverbs0 is missing"));

        fs::create_dir_all(root.path().join("infiniband")).expect("a folder");
        fs::write(root.path().join("infiniband/uverbs0"), "").expect("a file");
        assert_eq!(check_kernel(&kernel, "rxe0"), Ok(()));
    }

    #[test]
    fn an_absent_library_is_named_with_the_package_that_has_it() {
        let absent = LoadError { library: "libibverbs.so.1", why: "no such file".into() };
        let text = DeviceError::from(absent).to_string();
        assert!(text.contains("apt install libibverbs1 ibverbs-providers"), "{text}");
    }
}
