//! Devices of the backends that are built: which names they have, and what is said of one that cannot be.

use std::path::PathBuf;

use crate::files::{GOOD, file};
use crate::program::{Ended, wavetank};

/// Every command that opens devices, with what follows `--backend`.
fn each(args: &[&str]) -> Vec<Ended> {
    let (_folder, path): (_, PathBuf) = file("work.toml", GOOD);
    let path = path.display().to_string();
    let commands: [&[&str]; 4] = [
        &["replay", &path, "--backend"],
        &["kit", "--backend"],
        &["bench", "device", "--backend"],
        &["judge", "--against"],
    ];
    commands.map(|command| wavetank(command.iter().chain(args))).into()
}

#[cfg(feature = "verbs")]
#[test]
fn verbs_wants_a_device_and_has_no_protocols() {
    for ended in each(&["verbs"]) {
        ended.refused("--", &["verbs needs to be told which device", "rxe0,rxe1", "`rdma link`"]);
    }
    for ended in each(&["verbs", "--device", "rxe0", "--protocol", "eager"]) {
        ended.refused("--protocol is of UCX", &["verbs; leave it out"]);
    }
}

#[cfg(feature = "ucx")]
#[test]
fn ucx_wants_a_device_and_lists_the_choices() {
    for ended in each(&["ucx"]) {
        ended.refused(
            "--",
            &["ucx needs to be told which device", "tcp, tcp/lo, shm, self or rc/rxe0:1", "tcp/lo,tcp/lo"],
        );
    }
}

#[cfg(feature = "ucx")]
#[test]
fn a_ucx_device_that_cannot_be_is_refused_before_anything_runs() {
    for (names, parts) in [
        ("udp", ["there is no UCX transport \"udp\"", "tcp, shm, self, rc"]),
        ("tcp/lo,rxe0", ["there is no UCX transport \"rxe0\"", "rc/rxe0:1"]),
        ("shm/eth0", ["no network devices", "\"eth0\""]),
        ("tcp/", ["is no network device", "`ucx_info -d`"]),
        ("tcp,shm", ["tcp,shm: devices of different transports", "name two of one"]),
    ] {
        for ended in each(&["ucx", "--device", names]) {
            ended.refused("--device ", &parts);
        }
    }
    for ended in each(&["ucx", "--device", "tcp", "--protocol", "best"]) {
        ended.misused(&["best", "auto, eager, rndv"]);
    }
}

#[cfg(feature = "ucx")]
#[test]
fn perftest_knows_no_ucx_devices() {
    wavetank(["bench", "device", "--backend", "ucx", "--device", "tcp", "--against-perftest"])
        .refused("--against-perftest runs ib_read_lat", &["no ucx devices"]);
}
