//! What devices say unasked, when their network device is meddled with.

use std::process::Command;

use wavetank_contract::{AsyncEvent, Backend, Op, Status};
use wavetank_verbs::{DeviceError, VerbsConfig, VerbsDevice};

use crate::lab::{Pair, devices};

/// The network device behind a soft RDMA device.
fn netdev(device: &str) -> String {
    let places = ["parent", "ports/1/gid_attrs/ndevs/0"];
    let read = |place| std::fs::read_to_string(format!("/sys/class/infiniband/{device}/{place}")).ok();
    places.into_iter().find_map(read).expect("a soft device names its network device").trim().to_owned()
}

fn ip(args: &[&str]) {
    let done = Command::new("ip").args(args).status().expect("ip(8)");
    assert!(done.success(), "ip {args:?}");
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_link_that_goes_down_and_up_is_told_and_a_device_on_it_is_not_opened_meanwhile() {
    let Some((a, _)) = devices() else { return };
    let Some(mut p) = Pair::open() else { return };
    let link = Cut::new(netdev(&a));
    p.until("PORT_ERR", |a, _| a.events.contains(&AsyncEvent::PortErr));
    let closed = VerbsDevice::open(&VerbsConfig::new(&a)).expect_err("its port is down");
    assert!(matches!(&closed, DeviceError::PortDown { netdev: Some(n), .. } if *n == link.0), "{closed:?}");
    assert!(closed.to_string().contains(&format!("`ip link set {} up`", link.0)), "{closed}");
    let (piece, remote) = (p.a.piece(0, 64), p.remote(0));
    let id = p.a.post(Op::Write { remote, imm: None }, &[piece]);
    if p.a.dev.caps().qp_states {
        // rxe: a packet that cannot be sent ends the queue pair at once; adapters try for as long as they are told to.
        let ended = p.finish(id).status;
        assert!(matches!(ended, Status::WrFlushErr | Status::RetryExcErr), "{ended}");
    }
    drop(link);
    p.until("PORT_ACTIVE", |a, _| a.events.contains(&AsyncEvent::PortActive));
    if !p.a.dev.caps().qp_states {
        // iWARP: TCP goes on when the link does, and gives up when TCP does (tcp_retries2), whatever the endpoint asked for.
        assert_eq!(p.finish(id).status, Status::Success);
    }
}

/// A link that is down, until dropped.
struct Cut(String);

impl Cut {
    fn new(link: String) -> Cut {
        ip(&["link", "set", &link, "down"]);
        Cut(link)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        ip(&["link", "set", &self.0, "up"]);
        restore_routes();
    }
}

/// Routes and neighbours go with the link; whoever laid them out says how to put them back.
fn restore_routes() {
    if let Ok(script) = std::env::var("WAVETANK_RESTORE") {
        let done = Command::new("sh").args(["-c", &script]).status().expect("sh(1)");
        assert!(done.success());
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn every_gid_has_a_verdict_and_one_is_in_use() {
    let Some((a, _)) = devices() else { return };
    let dev = VerbsDevice::open(&VerbsConfig::new(&a)).unwrap_or_else(|e| panic!("{e}"));
    let verdicts = dev.gids();
    let chosen: Vec<_> = verdicts.iter().filter(|v| v.chosen).collect();
    let text: Vec<_> = verdicts.iter().map(ToString::to_string).collect();
    if dev.caps().qp_states {
        assert_eq!(chosen.len(), 1, "{text:?}");
        assert!(chosen[0].to_string().contains("RoCE v2 over IPv4"), "{text:?}");
    }
    let missing = VerbsConfig { gid: wavetank_verbs::GidChoice::Index(200), ..VerbsConfig::new(&a) };
    if dev.caps().qp_states {
        let refused = VerbsDevice::open(&missing).expect_err("no such GID").to_string();
        assert!(refused.contains("another index was asked for"), "{refused}");
    }
    let unknown = VerbsDevice::open(&VerbsConfig::new("nope0")).expect_err("no such device");
    assert!(unknown.to_string().contains(&a), "{unknown}");
    let port = VerbsDevice::open(&VerbsConfig { port: 9, ..VerbsConfig::new(&a) }).expect_err("no such port");
    assert!(matches!(port, DeviceError::UnknownPort { asked: 9, .. }));
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn the_doctor_finds_nothing_wrong_with_a_device_that_works() {
    let Some((a, b)) = devices() else { return };
    for device in [Some(a.as_str()), Some(b.as_str()), None] {
        let findings = wavetank_verbs::doctor::examine(device);
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        let failed = findings.iter().any(|f| f.verdict == wavetank_verbs::doctor::Verdict::Fail);
        assert!(!failed, "{lines:#?}");
        for check in ["node", "provider", "open"] {
            assert!(findings.iter().any(|f| f.check == check), "{check} is missing from {lines:#?}");
        }
        #[expect(clippy::print_stdout, reason = "shown with --nocapture, for whoever debugs a device")]
        {
            println!("{}", lines.join("\n"));
        }
    }
}
