//! Ends, restarts, and wake-ups that are not lost.

use std::process::{Command, Stdio};

use wavetank_client::{Client, Code, ReadError, blocking, seaweed};
use wavetank_daemon::bench::{Engine, EngineConfig, byte};
use wavetank_daemon::ipc::ClientLimits;
use wavetank_ipc::seaweed::{Message, StartRead};

use super::{Place, client, eventually, options, wanted};

#[test]
fn a_willing_client_of_upstreams_protocol_finds_its_bytes_in_the_arena() {
    use std::os::unix::fs::FileExt as _;
    let place = Place::new();
    let _engine = place.engine(ClientLimits::default());
    let mut client = seaweed::Client::connect(&place.path).unwrap();
    let start =
        StartRead { volume_id: 3, needle_id: 9, cookie: 9, offset: 7, size: 5000, ..StartRead::default() };
    let Message::StartReadResponse(started) = client.start_read(start).unwrap() else { panic!() };
    let arena = std::fs::File::open(&started.shm_path).unwrap();
    let mut bytes = vec![0; 5000];
    arena.read_exact_at(&mut bytes, started.shm_offset).unwrap();
    assert!((7..).zip(&bytes).all(|(at, found)| *found == byte(9, at)));
    let writable = std::fs::File::options().write(true).open(&started.shm_path);
    assert!(writable.is_err() || writable.unwrap().write_at(b"x", 0).is_err(), "it is there to be read");
}

#[test]
fn after_a_restart_errors_are_clear_and_connecting_again_helps() {
    let place = Place::new();
    for ring in [None, Some(8)] {
        let engine = place.engine(ClientLimits::default());
        let mut client = client(&engine, ring);
        let kept = client.read(&wanted(3, 9, 0, 10)).unwrap();
        drop(engine);
        let error = client.read(&wanted(3, 9, 0, 10)).unwrap_err();
        assert!(error.is_connection_lost(), "{error}");
        assert_eq!(kept.as_ref()[3], byte(9, 3), "what was lent stays mapped");
        let _engine = place.engine(ClientLimits::default());
        let mut again = blocking::Client::connect(&place.path, &options(ring)).unwrap();
        again.read(&wanted(3, 9, 0, 10)).unwrap();
    }
    assert!(blocking::Client::connect(&place.path, &options(None)).is_err());
}

#[tokio::test]
async fn tasks_that_wait_are_told_when_the_engine_goes() {
    let place = Place::new();
    for ring in [None, Some(8)] {
        let engine = place.engine(ClientLimits::default());
        let client = Client::connect(&place.path, &options(ring)).await.unwrap();
        let waiting = {
            let client = client.clone();
            tokio::spawn(async move { client.read(wanted(9_999, 9, 0, 1)).await })
        };
        client.ping().await.unwrap();
        tokio::task::spawn_blocking(move || drop(engine)).await.unwrap();
        let error = waiting.await.unwrap().unwrap_err();
        assert!(error.is_connection_lost() && client.is_lost(), "{error}");
    }
}

#[test]
fn a_client_whose_engine_is_silent_gives_up_in_time() {
    let place = Place::new();
    let _silent = std::os::unix::net::UnixListener::bind(&place.path).unwrap();
    let mut options = options(None);
    options.answer = std::time::Duration::from_millis(30);
    let error = blocking::Client::connect(&place.path, &options).unwrap_err();
    assert!(error.to_string().contains("did not answer in time"), "{error}");
}

#[test]
fn a_client_that_is_killed_gives_everything_back() {
    let place = Place::new();
    let engine = place.engine(ClientLimits::default());
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "life::role_victim", "--ignored"])
        .env("WAVETANK_SOCKET", &place.path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it has its loans", || engine.with(|server, _| server.stats().leases_now.get()) == 3);
    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually("all is back", || {
        engine.with(|server, pattern| {
            let stats = server.stats();
            (stats.leases_now.get(), pattern.leases(), stats.rings_now.get(), stats.connections_now.get())
        }) == (0, 0, 0, 0)
    });
}

#[test]
#[ignore = "a process that another test kills"]
fn role_victim() {
    let Ok(path) = std::env::var("WAVETANK_SOCKET") else { return };
    let mut client = blocking::Client::connect(path, &options(Some(8))).unwrap();
    let _lent: Vec<_> = (2..5).map(|needle| client.read(&wanted(3, needle, 0, 10)).unwrap()).collect();
    let never = wavetank_client::Wanted { timeout_ns: 60_000_000_000, ..wanted(9_999, 2, 0, 1) };
    let _ = client.read(&never);
}

/// Each ping finds both sides asleep, or just falling asleep: one wake-up that is lost would be a ping that times out.
#[test]
fn no_wake_up_is_lost() {
    for (polls_rings, spin_ns) in [(true, 0), (true, 3_000), (false, 0)] {
        let place = Place::new();
        let mut config = EngineConfig::at(&place.path);
        (config.polls_rings, config.spin_ns) = (polls_rings, spin_ns);
        let engine = Engine::start(config).unwrap();
        for spin_us in [0, 2] {
            let mut options = options(Some(8));
            options.spin = std::time::Duration::from_micros(spin_us);
            let mut client = blocking::Client::connect(&place.path, &options).unwrap();
            for round in 0..3_000u64 {
                // From nothing to some microseconds between two, so that the engine is met at each step of falling asleep.
                for _ in 0..round % 97 * 20 {
                    std::hint::spin_loop();
                }
                client.ping_ring().unwrap();
            }
        }
        let wakes = engine.with(|server, _| server.stats().ring_wakes.get());
        assert!(wakes > 0, "nobody slept: it was not tested");
    }
}

#[test]
fn a_client_that_sleeps_for_what_never_comes_is_told_in_time() {
    let place = Place::new();
    let mut options = options(Some(8));
    options.spin = std::time::Duration::ZERO;
    let engine = place.engine(ClientLimits::default());
    let mut client = blocking::Client::connect(engine.path(), &options).unwrap();
    let never = wavetank_client::Wanted { timeout_ns: 20_000_000, ..wanted(9_999, 2, 0, 1) };
    assert_eq!(client.read(&never).unwrap_err().code(), Some(Code::TimedOut));
    assert!(!matches!(client.ping_ring(), Err(ReadError::TimedOut { .. })));
}
