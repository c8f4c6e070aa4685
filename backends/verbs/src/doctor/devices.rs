//! What a device needs: the kernel's side, its node, its provider, its port, its addresses.

use super::{Finding, install};
use crate::error::{ADD_RXE, DeviceError};
use crate::gid::{GidChoice, judge};
use crate::kernel::{Kernel, Node};
use crate::opening::{check_kernel, read_gids};
use crate::status;
use crate::sys::{self, Context, Verbs, device_names};

pub(super) fn examine(kernel: &Kernel, asked: Option<&str>, findings: &mut Vec<Finding>) {
    let present = kernel.devices();
    if present.is_empty() {
        findings.push(Finding::fail(
            "devices",
            "this machine has no RDMA device",
            format!("rdma link; {ADD_RXE}"),
        ));
        return;
    }
    let names: Vec<String> = match asked {
        Some(name) if !present.iter().any(|p| p == name) => {
            let says = format!("there is no {name}; there is {}", present.join(", "));
            findings.push(Finding::fail("devices", says, "rdma link"));
            return;
        }
        Some(name) => vec![name.to_owned()],
        None => present.clone(),
    };
    findings.push(Finding::ok("devices", present.join(", ")));
    for name in names {
        one(kernel, &name, findings);
    }
}

fn one(kernel: &Kernel, name: &str, findings: &mut Vec<Finding>) {
    match check_kernel(kernel, name) {
        Ok(()) => findings.push(Finding::ok("node", format!("{name} can be opened"))),
        Err(error) => {
            let mend = match &error {
                DeviceError::NoUverbs { .. } => "modprobe ib_uverbs",
                _ => "ls -l /dev/infiniband",
            };
            findings.push(Finding::fail("node", error.to_string(), mend));
            return;
        }
    }
    let Ok(verbs) = Verbs::get() else { return };
    match device_names(verbs) {
        Ok(known) if known.iter().any(|k| k == name) => {
            findings.push(Finding::ok("provider", format!("libibverbs knows {name}")));
        }
        _ => {
            let says = format!("libibverbs has no provider for {name}");
            let mend = format!("{}; IBV_SHOW_WARNINGS=1 says more", install("libibverbs.so.1"));
            findings.push(Finding::fail("provider", says, mend));
            return;
        }
    }
    let failed = |errno| std::io::Error::from_raw_os_error(errno).to_string();
    let context = match Context::open(verbs, name) {
        Ok(Some(context)) => context,
        Ok(None) => return,
        Err(errno) => {
            findings.push(Finding::fail("open", format!("{name}: {}", failed(errno)), "dmesg | tail"));
            return;
        }
    };
    match context.device_info() {
        Ok(info) => {
            let transport = if context.is_iwarp() { "iWARP" } else { "InfiniBand or RoCE" };
            let atomics = if info.atomics { "atomics" } else { "no atomics" };
            let says = format!(
                "{name}: {transport}, {atomics}, {} shared receive queues, {} READs at a time, {} pieces a work",
                info.max_srq, info.max_rd_atom, info.max_sge
            );
            findings.push(Finding::ok("open", says));
            for number in 1..=info.ports {
                port(kernel, &context, name, number, findings);
            }
        }
        Err(errno) => {
            findings.push(Finding::fail("open", format!("{name}: {}", failed(errno)), "dmesg | tail"))
        }
    }
    if context.is_iwarp() {
        connections(kernel, findings);
    }
}

fn port(kernel: &Kernel, context: &Context, name: &str, number: u8, findings: &mut Vec<Finding>) {
    let Ok(info) = context.port_info(number) else {
        let says = format!("port {number} of {name} does not answer");
        findings.push(Finding::fail("port", says, format!("rdma link show {name}")));
        return;
    };
    let netdev = kernel.netdevs(name, number).into_iter().next();
    let netdev_name = netdev.as_deref().unwrap_or("NETDEV");
    let (state, mtu) = (status::port_state_name(info.state), status::mtu(info.active_mtu));
    let says = format!("port {number} of {name} on {netdev_name} is {state}");
    findings.push(match (info.state, mtu) {
        (status::PORT_ACTIVE, Some(mtu))
            if mtu.bytes() < 4096 && info.link_layer == 2 && !context.is_iwarp() =>
        {
            let mend = format!("ip link set {netdev_name} mtu 4500, for a path MTU of 4096");
            Finding::warn("mtu", format!("{says} with a path MTU of {}", mtu.bytes()), mend)
        }
        (status::PORT_ACTIVE, _) => Finding::ok("port", says),
        _ => Finding::fail("port", says, format!("rdma link show {name}; ip link set {netdev_name} up")),
    });
    if context.is_iwarp() {
        let found = sys::interface_addresses(netdev_name);
        findings.push(match found.first() {
            Some(ip) => Finding::ok("address", format!("port {number} of {name} is reached at {ip}")),
            None => {
                let says = format!("{netdev_name} has no IP address, which iWARP needs");
                Finding::fail("address", says, format!("ip addr add ADDRESS/PREFIX dev {netdev_name}"))
            }
        });
        return;
    }
    let Ok(entries) = read_gids(kernel, context, name, number, &info) else {
        let says = format!("the GIDs of port {number} of {name} cannot be read");
        findings.push(Finding::fail("gid", says, format!("rdma link show {name}")));
        return;
    };
    let (chosen, verdicts) = judge(&entries, info.link_layer == 2, GidChoice::Best);
    let text: Vec<_> = verdicts.iter().map(ToString::to_string).collect();
    let says = format!("port {number} of {name}: {}", text.join("; "));
    findings.push(match chosen {
        Some(_) => Finding::ok("gid", says),
        None => Finding::fail("gid", says, format!("ip addr add ADDRESS/PREFIX dev {netdev_name}")),
    });
}

/// iWARP needs the connection manager.
fn connections(kernel: &Kernel, findings: &mut Vec<Finding>) {
    findings.push(match kernel.cm_node() {
        Node::Open(path) => Finding::ok("rdma_cm", format!("{} can be opened", path.display())),
        Node::NotPermitted(path) => Finding::fail(
            "rdma_cm",
            format!("no permission to open {}", path.display()),
            "ls -l /dev/infiniband",
        ),
        _ => Finding::fail(
            "rdma_cm",
            "/dev/infiniband/rdma_cm is not there, which iWARP needs",
            "modprobe rdma_ucm",
        ),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_machine_without_devices_is_told_how_to_make_one() {
        let root = tempfile::tempdir().expect("a folder");
        let mut findings = Vec::new();
        examine(&Kernel::at(root.path()), None, &mut findings);
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].check, findings[0].verdict), ("devices", Verdict::Fail));
        assert!(findings[0].mend.as_deref().is_some_and(|m| m.contains("rdma link add rxe0 type rxe")));
    }

    #[test]
    fn a_device_without_a_node_is_told_the_module() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(root.path().join("class/infiniband/rxe0")).expect("a folder");
        let mut findings = Vec::new();
        examine(&Kernel::at(root.path()), None, &mut findings);
        let last = findings.last().expect("some");
        assert_eq!((last.check, last.verdict), ("node", Verdict::Fail));
        assert_eq!(last.mend.as_deref(), Some("modprobe ib_uverbs"));
    }
}
