//! How an engine begins, hears signals, and ends.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::Output;

use rustix::process::Signal;
use wavetank_client::{Options, blocking};
use wavetank_volume::{Generator, Version};

use crate::daemon::{Daemon, engine};
use crate::library::Shelf;
use crate::mock::mock;
use crate::waiting::{PATIENCE, until};

fn shelf() -> Shelf {
    Shelf::new(3, Version::V3, Generator { seed: 13, needles: 40, len_max: 5000 })
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("volumes")).unwrap();
    shelf().write_to(&folder.path().join("volumes"));
    folder
}

fn reads(daemon: &Daemon) {
    let mut client = blocking::Client::connect(&daemon.socket, &Options::default()).unwrap();
    assert_eq!(client.read(&shelf().wanted(3)).unwrap().as_ref().len(), 2000);
}

/// An engine that ends by itself.
fn output(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = engine(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn refused(path: &Path) -> String {
    let args = ["--backend", "mock", "--metrics", "off", "--ipc-socket", path.to_str().unwrap()];
    let (code, stdout, stderr) = output(&args);
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

#[test]
fn a_second_engine_at_a_socket_is_refused_and_the_first_lives() {
    let folder = folder();
    let mut daemon = mock(folder.path(), &[]);
    reads(&daemon);
    for _ in 0..3 {
        let stderr = refused(&daemon.socket);
        assert!(stderr.contains("somebody listens at"), "{stderr}");
        reads(&daemon);
    }
    assert_eq!(daemon.stop(), Some(0));
    assert!(!daemon.socket.exists());
}

#[test]
fn the_socket_of_an_engine_that_was_killed_is_taken() {
    let folder = folder();
    let mut daemon = mock(folder.path(), &[]);
    daemon.process.kill();
    assert!(daemon.socket.exists(), "nobody was there to remove it");
    let mut next = mock(folder.path(), &[]);
    reads(&next);
    assert_eq!(next.stop(), Some(0));
}

#[test]
fn a_file_in_the_socket_s_place_is_never_removed() {
    let folder = folder();
    let file = folder.path().join("precious");
    std::fs::write(&file, "never lose this").unwrap();
    let stderr = refused(&file);
    assert!(stderr.contains("is no socket: it stays"), "{stderr}");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let stderr = refused(&link);
    assert!(stderr.contains("is no socket: it stays"), "{stderr}");
    let stderr = refused(&folder.path().join("volumes"));
    assert!(stderr.contains("is no socket: it stays"), "{stderr}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "never lose this");
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "nothing else is left: {left:?}");
}

#[test]
fn a_file_that_comes_in_the_place_of_the_socket_survives_the_engine() {
    let folder = folder();
    let mut daemon = mock(folder.path(), &[]);
    std::fs::remove_file(&daemon.socket).unwrap();
    std::fs::write(&daemon.socket, "not yours").unwrap();
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(std::fs::read_to_string(&daemon.socket).unwrap(), "not yours");
}

#[test]
fn a_config_is_checked_and_nothing_is_opened() {
    let folder = folder();
    let (config, socket) = (folder.path().join("engine.toml"), folder.path().join("it.sock"));
    std::fs::write(&config, format!("backend = \"mock\"\nipc-socket = {socket:?}\nmax-sessions = 7\n"))
        .unwrap();
    let config = config.to_str().unwrap();
    let (code, stdout, stderr) = output(&["--config", config, "--check-config", "--spin-us", "5"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for line in ["backend = \"mock\"", "max-sessions = 7", "spin-us = 5"] {
        assert!(stdout.lines().any(|said| said == line), "{line} is not in {stdout}");
    }
    assert!(!socket.exists());
    for (bad, part) in [
        ("max-sessions = 0\n", "max-sessions: 0 is not within 1 to 1048576"),
        ("backend = \"mock\"\npeers = [\"a:1\"]\n", "simulated NICs reach no other process"),
        ("colour = 1\n", "colour"),
    ] {
        std::fs::write(config, bad).unwrap();
        let (code, stdout, stderr) = output(&["--config", config, "--check-config", "--backend", "mock"]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains(part), "{stderr} should say {part}");
    }
}

#[test]
fn settings_are_read_again_with_sighup_and_say_what_needs_a_restart() {
    let folder = folder();
    let config = folder.path().join("engine.toml");
    std::fs::write(&config, "debug = false\n").unwrap();
    let mut daemon = mock(folder.path(), &["--config", config.to_str().unwrap()]);
    reads(&daemon);
    let tells = |daemon: &Daemon| daemon.log().contains("\"level\":\"DEBUG\"");
    assert!(!tells(&daemon), "{}", daemon.log());
    std::fs::write(&config, "debug = true\n").unwrap();
    daemon.process.signal(Signal::HUP);
    daemon.said("settings read again");
    reads(&daemon);
    until("reads are told", || tells(&daemon));
    let pushed = daemon.metrics().reads("push");
    std::fs::write(&config, "debug = true\nway = \"pull\"\n").unwrap();
    daemon.process.signal(Signal::HUP);
    // Without a grant nothing was pulled so far.
    until("reads go the way that was told", || {
        reads(&daemon);
        daemon.metrics().reads("pull") > 0
    });
    assert!(pushed > 0);
    std::fs::write(&config, "debug = true\nmax-sessions = 3\n").unwrap();
    daemon.process.signal(Signal::HUP);
    let warned = daemon.said("changed, and taken with the next start only");
    assert!(warned["settings"].as_str().unwrap().contains("max-sessions"), "{warned}");
    std::fs::write(&config, "debug = 7\n").unwrap();
    daemon.process.signal(Signal::HUP);
    daemon.said("settings stay as they are");
    reads(&daemon);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn sigterm_ends_it_while_clients_read_and_removes_its_socket() {
    let folder = folder();
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = mock(folder.path(), &[]);
        assert!(std::fs::metadata(&daemon.socket).unwrap().file_type().is_socket());
        let mut client = blocking::Client::connect(&daemon.socket, &Options::default()).unwrap();
        let status = std::thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let mut reads = 0;
                let until = tokio::time::Instant::now() + PATIENCE;
                // Until it is refused or the engine is gone.
                while client.read(&shelf().wanted(3)).is_ok() && tokio::time::Instant::now() < until {
                    reads += 1;
                }
                reads
            });
            until("it reads", || daemon.metrics().of("client_reads_native") > 20);
            daemon.process.signal(signal);
            let status = daemon.process.ended();
            assert!(reading.join().unwrap() > 20);
            status
        });
        assert_eq!(status.code(), Some(0), "{}", daemon.log());
        assert!(!daemon.socket.exists());
    }
}
