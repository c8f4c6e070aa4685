//! The table of groups: what is run on real drivers, each group in a guest of its own.
//!
//! A new group is a new line. A group is as small as can be repeated alone, and as large as is worth the 5 s of a boot.

use super::net::Net;

/// The step whose groups run on soft-RoCE.
pub(crate) const RXE: &str = "rxe";

/// The step whose groups run on soft-iWARP.
pub(crate) const SIW: &str = "siw";

/// A crate of the workspace, and the features that make it speak to devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    /// As cargo knows it.
    pub(crate) name: &'static str,
    /// Of this crate. It is built alone, so that no feature of another leaks in.
    pub(crate) features: &'static str,
}

/// Where a binary comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Build {
    /// A program, in release: as users have it, for what they see and what is measured.
    Release(Package),
    /// An example of the package in this folder, as the step `native` built it: it is there already.
    Example(&'static str),
    /// A file in `tests` of the package in this folder, likewise.
    Tests(&'static str),
}

/// What a group runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// A script of `ci/guest/checks`.
    Check(&'static str),
    /// A script of `ci/guest/checks` that runs a binary: `$1` is the binary, `$2` the workspace's root.
    Session { build: Build, name: &'static str, script: &'static str },
    /// A program, in the workspace's root.
    Program { package: Package, name: &'static str, args: &'static [&'static str] },
    /// A test binary of the package in this folder, run there. `target` is the file in `tests`; `filter` is what follows
    /// `cargo test --`.
    Tests { folder: &'static str, target: &'static str, filter: &'static [&'static str] },
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// The step it belongs to.
    pub(crate) step: &'static str,
    /// `cargo ci STEP --only NAME`.
    pub(crate) name: &'static str,
    /// What passing it means.
    pub(crate) about: &'static str,
    /// The network it runs on.
    pub(crate) net: Net,
    /// What it runs.
    pub(crate) run: Run,
    /// Set for it.
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// How long it may take in a guest, without booting.
    pub(crate) seconds: u64,
}

/// The crate that speaks to libibverbs.
const VERBS: &str = "backends/verbs";

/// The harness, for its tests on a cable.
const HARNESS: &str = "sim-harness";

/// The messenger, for its processes.
const MESSENGER: &str = "engine/messenger";

/// The engine, for its example.
const ENGINE: &str = "engine";

/// The program, with every backend it can have: one build serves them all.
pub(crate) const WAVETANK: Package = Package { name: "wavetank", features: "verbs,ucx" };

/// The devices of [`Net::TwoRxe`] and the ends of their cable.
const TWO_RXE: &[(&str, &str)] = &[("WAVETANK_DEVICES", "rxe0,rxe1"), ("WAVETANK_WIRE", "va,vb")];

/// The device of [`Net::OneRxe`] by its name over UCX, and what UCX 1.13 needs to be told of it. With the IPv4 GID (index 1),
/// or when it may choose, no connection comes about. Soft-RoCE says more than once that a queue pair in error has used up its
/// last receive, and UCX asserts that this comes once (ib_device.c, `wait_ctx->cb_id == -1`): it is to hear no such events.
const UCX_RXE: &[(&str, &str)] = &[
    ("WAVETANK_DEVICES", "rc/rxe0:1"),
    ("UCX_TLS", "rc_v,self"),
    ("UCX_NET_DEVICES", "rxe0:1"),
    ("UCX_IB_GID_INDEX", "0"),
    ("UCX_IB_ASYNC_EVENTS", "n"),
];

/// Tests of `sim-harness/tests/wire/device.rs`. Those after which a device is not as it was have a guest of their own.
const fn wire(name: &'static str, about: &'static str, filter: &'static [&'static str]) -> Group {
    let run = Run::Tests { folder: HARNESS, target: "wire", filter };
    Group { step: RXE, name, about, net: Net::TwoRxe, run, env: TWO_RXE, seconds: 150 }
}

/// The devices of [`Net::TwoSiw`] and the ends of their cable.
const TWO_SIW: &[(&str, &str)] = &[("WAVETANK_DEVICES", "siw0,siw1"), ("WAVETANK_WIRE", "va,vb")];

/// The conformance kit, with a report of the differences to the simulated NIC.
const fn kit(
    step: &'static str,
    about: &'static str,
    net: Net,
    env: &'static [(&'static str, &'static str)],
) -> Group {
    let run = Run::Session { build: Build::Release(WAVETANK), name: "wavetank", script: "kit.sh" };
    Group { step, name: "kit", about, net, run, env, seconds: 300 }
}

/// The program, on the devices of a net.
const fn program(
    step: &'static str,
    name: &'static str,
    about: &'static str,
    net: Net,
    args: &'static [&'static str],
    seconds: u64,
) -> Group {
    let run = Run::Program { package: WAVETANK, name: "wavetank", args };
    Group { step, name, about, net, run, env: &[], seconds }
}

/// Every group, in the order in which they run: what tells most about the others' failures comes first.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        step: RXE,
        name: "smoke",
        about: "The drivers' own tools see two devices and ping-pong across the cable, contents checked",
        net: Net::TwoRxe,
        run: Run::Check("rxe.sh"),
        env: &[],
        seconds: 60,
    },
    Group {
        step: RXE,
        name: "device",
        about: "The verbs backend keeps the contract, one promise at a time",
        net: Net::TwoRxe,
        run: Run::Tests { folder: VERBS, target: "device", filter: &["--ignored", "--test-threads=1"] },
        env: &[("WAVETANK_DEVICES", "rxe0,rxe1")],
        seconds: 120,
    },
    kit(RXE, "The conformance kit holds over soft-RoCE, but for its quirks", Net::TwoRxe, TWO_RXE),
    Group {
        step: RXE,
        name: "ucx",
        about: "UCX over soft-RoCE: its own tools work, and the conformance kit holds",
        net: Net::OneRxe,
        run: Run::Session { build: Build::Release(WAVETANK), name: "wavetank", script: "ucx.sh" },
        env: UCX_RXE,
        seconds: 450,
    },
    program(
        RXE,
        "judge",
        "2,000 programs have the same outcome on soft-RoCE and on the simulated NIC",
        Net::TwoRxe,
        &["judge", "--against", "verbs", "--device", "rxe0,rxe1", "--programs", "2100"],
        420,
    ),
    program(
        RXE,
        "workload",
        "A database's page reads and writes, every byte and latency checked",
        Net::OneRxe,
        &["replay", "workloads/guest/pgbench-8k.toml", "--backend", "verbs", "--device", "rxe0"],
        240,
    ),
    Group {
        step: RXE,
        name: "bootstrap",
        about: "Two processes find each other over TCP, connect, and one READs the other's memory",
        net: Net::TwoRxe,
        run: Run::Session { build: Build::Example(ENGINE), name: "two_processes", script: "bootstrap.sh" },
        env: &[],
        seconds: 60,
    },
    Group {
        step: RXE,
        name: "engine",
        about: "Two engines: one exports a SeaweedFS volume, the other reads all of it, pushed and pulled, and after a kill again",
        net: Net::TwoRxe,
        run: Run::Session { build: Build::Release(WAVETANK), name: "wavetank", script: "engine.sh" },
        env: &[],
        seconds: 180,
    },
    Group {
        step: RXE,
        name: "messenger",
        about: "Messengers in two processes: every byte there and back, killed, stopped and restarted peers",
        net: Net::TwoRxe,
        run: Run::Tests { folder: MESSENGER, target: "processes", filter: &["--test-threads=1"] },
        env: &[("WAVETANK_DEVICES", "rxe0,rxe1")],
        seconds: 240,
    },
    Group {
        step: RXE,
        name: "record",
        about: "A recorded run has the same statuses on the simulated NIC, which is calibrated from it",
        net: Net::TwoRxe,
        run: Run::Session { build: Build::Release(WAVETANK), name: "wavetank", script: "record.sh" },
        env: &[],
        seconds: 240,
    },
    Group {
        step: RXE,
        name: "faults",
        about: "The shipped schedules of faults disturb a run: what succeeds is right, what breaks is made anew",
        net: Net::TwoRxe,
        run: Run::Session { build: Build::Release(WAVETANK), name: "wavetank", script: "faults.sh" },
        env: TWO_RXE,
        seconds: 300,
    },
    program(
        RXE,
        "perftest",
        "READ and WRITE beside ib_read_lat, ib_write_lat, ib_read_bw and ib_write_bw",
        Net::TwoRxe,
        &[
            "bench",
            "device",
            "--backend",
            "verbs",
            "--device",
            "rxe0,rxe1",
            "--against-perftest",
            "--rounds",
            "1",
            "--ops",
            "200",
        ],
        400,
    ),
    wire(
        "packets",
        "Lost, corrupted, duplicated and reordered packets and a blackout of 200 ms are ridden out, with the right bytes",
        &[
            "--ignored",
            "--exact",
            "--test-threads=1",
            "device::an_undisturbed_stream_brings_every_byte",
            "device::lost_packets_are_recovered_from",
            "device::corrupted_packets_are_recovered_from",
            "device::duplicated_packets_are_recovered_from",
            "device::reordered_packets_are_recovered_from",
            "device::a_blackout_of_200_ms_is_ridden_out",
        ],
    ),
    wire(
        "blackhole",
        "A blackhole ends in RETRY_EXC_ERR before the deadline",
        &["--ignored", "--exact", "device::a_blackhole_ends_in_retries_exceeded"],
    ),
    wire(
        "link-down",
        "Our link that goes down ends the stream, with an event",
        &["--ignored", "--exact", "device::our_link_that_goes_down_ends_the_stream_and_says_so"],
    ),
    wire(
        "peer-link-down",
        "The peer's link that goes down ends the stream, with an event",
        &["--ignored", "--exact", "device::the_peers_link_that_goes_down_ends_the_stream_and_says_so"],
    ),
    wire(
        "keys",
        "A wrong key ends in REM_ACCESS_ERR, and so does a region deregistered under way",
        &[
            "--ignored",
            "--exact",
            "--test-threads=1",
            "device::a_wrong_key_ends_in_remote_access_refused",
            "device::a_region_deregistered_under_way_ends_in_remote_access_refused",
        ],
    ),
    wire(
        "peer-killed",
        "A peer killed by SIGKILL ends in RETRY_EXC_ERR before the deadline",
        &["--ignored", "--exact", "device::a_killed_peer_ends_in_retries_exceeded"],
    ),
    Group {
        step: SIW,
        name: "smoke",
        about: "The drivers' own tools connect by rdma_cm and READ and WRITE through one device, contents checked",
        net: Net::Siw,
        run: Run::Check("siw.sh"),
        env: &[],
        seconds: 60,
    },
    Group {
        step: SIW,
        name: "cable",
        about: "The same between two devices, across the cable",
        net: Net::TwoSiw,
        run: Run::Check("two-siw.sh"),
        env: &[],
        seconds: 60,
    },
    Group {
        step: SIW,
        name: "device",
        about: "The verbs backend keeps what it promises of iWARP, one promise at a time",
        net: Net::TwoSiw,
        run: Run::Tests { folder: VERBS, target: "device", filter: &["--ignored", "--test-threads=1"] },
        env: &[("WAVETANK_DEVICES", "siw0,siw1")],
        seconds: 180,
    },
    kit(SIW, "The conformance kit holds over soft-iWARP, but for its quirks", Net::TwoSiw, TWO_SIW),
];

/// The groups of a step.
pub(crate) fn of(step: &str) -> impl Iterator<Item = &'static Group> + '_ {
    GROUPS.iter().filter(move |g| g.step == step)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::step::STEPS;

    #[test]
    fn each_group_belongs_to_a_step_and_is_named_once_in_it() {
        for (i, group) in GROUPS.iter().enumerate() {
            assert!(STEPS.iter().any(|s| s.name == group.step && s.guest), "{} has no step", group.name);
            let same = |g: &&Group| g.step == group.step && g.name == group.name;
            assert!(!GROUPS[..i].iter().any(|g| same(&g)), "{} {} twice", group.step, group.name);
            assert!(
                !group.name.contains(',') && !group.name.contains(' '),
                "{:?} cannot be chosen",
                group.name
            );
        }
    }

    #[test]
    fn each_check_is_a_script_that_is_there() {
        for group in GROUPS {
            if let Run::Check(script) | Run::Session { script, .. } = group.run {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest/checks").join(script);
                assert!(path.is_file(), "{}", path.display());
            }
        }
    }
}
