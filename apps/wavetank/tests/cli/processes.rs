//! Two real processes over UCX: one serves memory, the other replays a workload on it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use wavetank_engine::BackendKind;
use wavetank_engine::bootstrap::{Listener, ListenerConfig, VersionRange};
use wavetank_harness::peer::introduction;

use crate::files::file;
use crate::program::{Ended, command, replay};

const BOTH: [&str; 2] = ["tcp", "shm"];

/// READs, WRITEs and atomics of a client on a storage node.
fn mixed(load: &str) -> String {
    let op = |kind: &str, region: &str, size: &str| {
        format!("[[op]]\nkind = \"{kind}\"\nfrom = \"client\"\nregion = \"{region}\"\n{size}\n")
    };
    let region = |name: &str, size: &str| {
        format!("[[region]]\nname = \"{name}\"\nnode = \"storage\"\nsize = \"{size}\"\n")
    };
    "profile = \"ideal\"\nqueue_pairs = 2\nchunk = \"16KiB\"\n".to_owned()
        + "[[node]]\nname = \"storage\"\n[[node]]\nname = \"client\"\n"
        + &region("pages", "1MiB")
        + &region("log", "300KiB")
        + &region("cells", "1KiB")
        + &op("read", "pages", "size = { list = [[\"64\", 2], [\"8KiB\", 5], [\"100KiB\", 1]] }")
        + &op("write", "log", "size = { uniform = [1, \"40KiB\"] }")
        + &op("read", "log", "size = \"4KiB\"")
        + &op("fetch_add", "cells", "")
        + &op("compare_swap", "cells", "")
        + load
}

const FEW: &str = "[load]\nconcurrency = 8\ncount = 3000\n";
const ENDLESS: &str = "[load]\nconcurrency = 8\nduration = \"3600s\"\n";

/// A server under test. It is killed with its test.
struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: String,
}

impl Server {
    fn start(device: &str, more: &[&str]) -> Server {
        let mut command = command();
        command.args(["serve-memory", "--backend", "ucx", "--device", device, "--json"]).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut server = Server { child, stdout, address: String::new() };
        let listening = server.next();
        assert_eq!(listening["event"], "listening");
        server.address = listening["address"].as_str().expect("an address").to_owned();
        assert!(
            server.address.starts_with("127.0.0.1:"),
            "this machine alone reaches it: {}",
            server.address
        );
        server
    }

    /// What happens next, within a minute.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        if self.stdout.buffer().is_empty() {
            let mut watched = [PollFd::new(self.stdout.get_ref(), PollFlags::IN)];
            let heard = poll(&mut watched, Some(&Timespec { tv_sec: 60, tv_nsec: 0 }));
            assert_eq!(heard, Ok(1), "the server is silent");
        }
        self.stdout.read_line(&mut line).expect("it speaks");
        if line.is_empty() {
            let mut stderr = String::new();
            let _ = self.child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut stderr));
            panic!("it has ended: {stderr}");
        }
        serde_json::from_str(&line).expect("a JSON document a line")
    }

    #[track_caller]
    fn expect(&mut self, event: &str) -> Value {
        let next = self.next();
        assert_eq!(next["event"], event, "{next}");
        next
    }

    fn signal(&self, name: &str) {
        signal(name, &self.child);
    }

    /// Its exit status, once it has said how it ended.
    fn ended(mut self) -> (Option<i32>, Value) {
        let ended = self.expect("ended");
        (self.child.wait().expect("it is ours").code(), ended)
    }

    fn replay(&self, device: &str, path: &Path, more: &[&str]) -> Ended {
        let args = ["--backend", "ucx", "--device", device, "--peer", &self.address, "--json"];
        replay(path, &[&args, more].concat())
    }

    /// A client that goes on until somebody ends it.
    fn endless(&mut self, device: &str, path: &Path) -> Child {
        let mut command = command();
        command.arg("replay").arg(path).args([
            "--backend",
            "ucx",
            "--device",
            device,
            "--peer",
            &self.address,
        ]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        self.expect("joined");
        child
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(name: &str, child: &Child) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().expect("there is kill");
    assert!(sent.success());
}

#[test]
fn a_workload_is_replayed_on_the_memory_of_another_process_and_swept_over_the_wire() {
    let (_folder, path) = file("work.toml", mixed(FEW));
    for device in BOTH {
        let mut server = Server::start(device, &["--once"]);
        let report = server.replay(device, &path, &[]).json();
        let read_back = serde_json::json!({ "bytes": 1_356_800, "regions": 3, "agreed": 3 });
        assert_eq!((&report["ops"], &report["read_back"]), (&3000.into(), &read_back), "{device}");
        assert_eq!((&report["bytes_swept"], &report["trace_hash"]), (&1_356_800.into(), &Value::Null));
        let said = report["device"].as_str().expect("a name");
        assert_eq!(said, format!("ucx/{device} with ucx/{device} at {}", server.address));
        let joined = server.expect("joined");
        assert_eq!((&joined["regions"], &joined["endpoints"]), (&3.into(), &2.into()), "{joined}");
        let left = server.expect("left");
        assert_eq!((&left["goodbye"], &left["used_bytes"]), (&true.into(), &0.into()), "{left}");
        let (code, ended) = server.ended();
        assert_eq!((code, &ended["ok"], &ended["goodbyes"]), (Some(0), &true.into(), &1.into()));
    }
}

#[test]
fn the_report_for_people_says_where_the_sweep_came_from() {
    let (_folder, path) = file("work.toml", mixed(FEW));
    let server = Server::start("tcp", &[]);
    let args = ["--backend", "ucx", "--device", "tcp", "--peer", &server.address];
    let report = replay(&path, &args).good();
    assert!(report.contains("every check held"), "{report}");
    let swept = "1,356,800 bytes of regions at the end, read over the wire; its owner holds the same in 3 of 3 regions";
    assert!(report.contains(swept), "{report}");
}

#[test]
fn a_server_that_lies_is_found_out() {
    let (_folder, path) = file("work.toml", mixed(FEW));
    let cases = [
        ("byte", "region pages"),
        ("tag", "byte 0 of it is wrong; found nobody's pattern"),
        ("digest", "region pages, at the end: what was read has the digest"),
    ];
    for device in BOTH {
        for (canary, part) in cases {
            let server = Server::start(device, &["--once", "--canary", canary]);
            let ended = server.replay(device, &path, &[]);
            let stderr = ended.stderr.clone();
            let (_, first) = ended.missed();
            assert!(first.starts_with("bytes check failed"), "{device} {canary}: {first}");
            assert!(stderr.contains(part), "{device} {canary}: {stderr}");
        }
    }
}

#[test]
fn a_client_that_is_killed_leaves_nothing_behind_and_the_next_is_served() {
    let (folder, few) = file("few.toml", mixed(FEW));
    let endless = folder.path().join("endless.toml");
    fs::write(&endless, mixed(ENDLESS)).expect("written");
    for device in BOTH {
        // Room for one.
        let mut server = Server::start(device, &["--memory", "1500KiB"]);
        for name in ["-KILL", "-TERM"] {
            let mut client = server.endless(device, &endless);
            signal(name, &client);
            client.wait().expect("it is ours");
            let left = server.expect("left");
            assert_eq!((&left["goodbye"], &left["used_bytes"]), (&false.into(), &0.into()), "{left}");
            assert!(left["why"].as_str().is_some_and(|why| why.contains("closed")), "{left}");
            server.replay(device, &few, &[]).json();
            server.expect("joined");
            server.expect("left");
        }
        server.signal("-TERM");
        let (code, ended) = server.ended();
        assert_eq!(
            (code, &ended["vanished"], &ended["goodbyes"]),
            (Some(0), &2.into(), &2.into()),
            "{ended}"
        );
    }
}

/// Signals a server in the midst of a client's run. A client that had joined and not begun yet says so, and another is tried.
fn ended_in_a_run(device: &str, path: &Path, name: &str) -> (Server, Ended) {
    let mut tried = Vec::new();
    while tried.len() < 10 {
        let mut server = Server::start(device, &[]);
        let client = server.endless(device, path);
        server.signal(name);
        let ended: Ended = client.wait_with_output().expect("it is ours").into();
        if !(ended.code == Some(2) && ended.stderr.contains("let us in, and then it closed")) {
            return (server, ended);
        }
        tried.push(ended);
    }
    panic!("{device} {name}: never in the midst of a run: {tried:?}");
}

#[test]
fn a_server_that_ends_or_dies_in_the_midst_of_a_run_fails_it() {
    let (_folder, path) = file("work.toml", mixed(ENDLESS));
    for device in BOTH {
        for name in ["-INT", "-KILL"] {
            let (server, ended) = ended_in_a_run(device, &path, name);
            assert_eq!(ended.code, Some(1), "{device} {name}: {ended:?}");
            assert!(ended.stderr.contains("peer check failed"), "{device} {name}: {ended:?}");
            assert!(!ended.stderr.contains("leak check"), "{device} {name}: {ended:?}");
            assert!(ended.stdout.contains("0 bytes of regions at the end"), "{device} {name}: {ended:?}");
            if name == "-INT" {
                let (code, ended) = server.ended();
                assert_eq!((code, &ended["cut_off"], &ended["ok"]), (Some(0), &1.into(), &true.into()));
            }
        }
    }
}

#[test]
fn with_once_a_client_without_goodbye_is_a_failure() {
    let (_folder, path) = file("work.toml", mixed(ENDLESS));
    let mut server = Server::start("tcp", &["--once"]);
    let mut client = server.endless("tcp", &path);
    signal("-KILL", &client);
    client.wait().expect("it is ours");
    server.expect("left");
    assert_eq!(server.ended().0, Some(1));
}

#[test]
fn several_clients_are_served_at_once() {
    let (_folder, path) = file("work.toml", mixed(FEW));
    let mut server = Server::start("tcp", &["--clients-max", "3"]);
    let mut command = command();
    command.arg("replay").arg(&path).args(["--backend", "ucx", "--device", "tcp", "--peer", &server.address]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let clients: Vec<Child> = (0..3).map(|_| command.spawn().expect("it starts")).collect();
    for client in clients {
        Ended::from(client.wait_with_output().expect("it is ours")).good();
    }
    let events: Vec<Value> = (0..6).map(|_| server.next()).collect();
    assert_eq!(events.iter().filter(|event| event["goodbye"] == true).count(), 3, "{events:?}");
}

#[test]
fn who_needs_too_much_hears_it_and_so_does_the_server() {
    let (_folder, path) = file("work.toml", mixed(FEW));
    let mut server = Server::start("tcp", &["--memory", "1MiB"]);
    let why = "1359872 bytes of memory are needed, and 1048576 of 1048576 are free: serve more with --memory";
    server.replay("tcp", &path, &[]).refused(&server.address.clone(), &[why]);
    let refused = server.expect("refused");
    assert!(refused["why"].as_str().is_some_and(|said| said.contains(why)), "{refused}");
    // Another transport does not reach it, though it is of the same backend.
    let ended = server.replay("shm", &path, &["--deadline", "2s"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
}

#[test]
fn where_nobody_serves_it_is_said_who_was_asked() {
    let (_folder, path) = file("work.toml", mixed(FEW));
    let ask = |address: &str, parts: &[&str]| {
        let args = ["--backend", "ucx", "--device", "tcp", "--peer", address, "--deadline", "300ms"];
        replay(&path, &args).refused(&format!("{address}: "), parts);
    };
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    // It takes the connection and says nothing.
    ask(&address, &["not over within 300 ms", "waiting for the peer's HELLO"]);
    drop(taken);
    ask(&address, &["waiting for the peer to take the connection", "refused"]);
    ask("no-such-host.invalid:1", &["no-such-host.invalid:1"]);
}

#[test]
fn a_peer_of_another_version_or_backend_is_told_from_a_server() {
    let (_folder, path) = file("work.toml", mixed(FEW));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let meet = |backend: BackendKind, versions: VersionRange| {
        let us = introduction(backend, "x/y").expect("entropy");
        let us = wavetank_engine::bootstrap::Introduction { versions, ..us };
        runtime.block_on(async {
            let local = ([127, 0, 0, 1], 0).into();
            let mut listener = Listener::bind(local, us, ListenerConfig::default()).expect("a port");
            let address = listener.address().expect("an address").to_string();
            let mut command = command();
            command.arg("replay").arg(&path);
            command.args(["--backend", "ucx", "--device", "tcp", "--peer", &address, "--deadline", "5s"]);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
            let heard = tokio::time::timeout(Duration::from_secs(60), listener.hear()).await;
            drop(heard.expect("somebody comes").expect("a descriptor"));
            let ended: Ended = child.wait_with_output().expect("it is ours").into();
            (address, ended)
        })
    };
    let (address, ended) = meet(BackendKind::Ucx, VersionRange { min: 2, max: 3 });
    ended.refused(&address, &["speaks version 1 of the exchange and the peer 2 to 3; update the older one"]);
    let (address, ended) = meet(BackendKind::Verbs, VersionRange::SPOKEN);
    ended.refused(&address, &["endpoints are of the ucx backend and the peer's of verbs"]);
}
