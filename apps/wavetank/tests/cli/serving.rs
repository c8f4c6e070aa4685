//! `serve-memory` and `replay --peer`: what is refused in every build.

use crate::files::{GOOD, file};
use crate::program::{replay, wavetank};

#[test]
fn two_processes_share_no_simulated_network() {
    wavetank(["serve-memory", "--backend", "mock", "--device", "x"])
        .refused("--backend mock: two processes share no simulated network", &["verbs or ucx"]);
    let (_folder, path) = file("work.toml", GOOD);
    replay(&path, &["--peer", "127.0.0.1:1"])
        .refused("--peer is another process", &["--backend ucx --device tcp"]);
}

#[test]
fn a_backend_that_is_not_built_is_refused_with_its_feature() {
    #[cfg(not(feature = "ucx"))]
    wavetank(["serve-memory", "--backend", "ucx", "--device", "tcp"])
        .refused("the ucx backend is not in this build", &["cargo feature `ucx`"]);
    #[cfg(not(feature = "verbs"))]
    wavetank(["serve-memory", "--backend", "verbs", "--device", "rxe0"])
        .refused("the verbs backend is not in this build", &["cargo feature `verbs`"]);
}

#[test]
fn an_address_is_a_host_and_a_port() {
    for bad in ["storage-3", "storage-3:many", "::1:7471", ":7471", "storage-3:65536"] {
        wavetank(["replay", "a.toml", "--peer", bad]).misused(&[
            "--peer <HOST:PORT>",
            bad,
            "HOST:PORT is wanted",
        ]);
        let serve = ["serve-memory", "--backend", "ucx", "--device", "tcp", "--listen", bad];
        wavetank(serve).misused(&["--listen <HOST:PORT>", bad, "HOST:PORT is wanted"]);
    }
}

#[test]
fn limits_make_sense() {
    let serve = |more: &[&str]| {
        wavetank(["serve-memory", "--backend", "ucx", "--device", "tcp"].iter().chain(more).copied())
    };
    serve(&["--memory", "0"]).refused("--memory 0 leaves nothing to serve", &[]);
    serve(&["--memory", "1000000GiB"]).refused("--memory: needs ", &["are available here"]);
    serve(&["--memory", "lots"]).misused(&["lots", "--memory <SIZE>"]);
    serve(&["--limit", "0s"]).refused("--limit 0s leaves no time", &[]);
    serve(&["--clients-max", "0"]).misused(&["--clients-max <N>"]);
    serve(&["--canary", "bird"]).misused(&["bird", "byte", "tag", "digest"]);
    wavetank(["serve-memory", "--device", "tcp"]).misused(&["--backend <BACKEND>"]);
}

#[test]
fn what_cannot_be_had_of_another_process_is_refused_with_the_reason() {
    let (folder, path) = file("work.toml", GOOD);
    let other = folder.path().join("other").display().to_string();
    let cases: [(&[&str], &str); 4] = [
        (&["--record", &other], "a recording is of all nodes"),
        (&["--pcap", &other], "no packet of a device passes through here"),
        (&["--faults", &other], "connections with another process are made once"),
        (&["--check-determinism"], "nothing on a device happens twice"),
    ];
    for (more, why) in cases {
        let args = [&["--backend", "ucx", "--device", "tcp", "--peer", "127.0.0.1:1"], more].concat();
        replay(&path, &args)
            .refused(&format!("{} with --peer: ", more[0]), &[why, "leave one of the two out"]);
        assert!(!folder.path().join("other").exists(), "nothing was begun");
    }
    let volume = ["replay", "--volume", "1.dat", "--peer", "127.0.0.1:1"];
    wavetank(volume).refused("--volume with --peer: ", &["has no volume"]);
}
