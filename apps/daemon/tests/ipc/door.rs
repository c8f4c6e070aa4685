//! The socket's place: whose it is, who may open it, and what stays.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use wavetank_client::seaweed;
use wavetank_daemon::bench::{Engine, EngineConfig};
use wavetank_daemon::ipc::{ClientLimits, Door, DoorConfig, DoorError};

use super::Place;

fn config(place: &Place, mode: u32) -> DoorConfig {
    DoorConfig { path: place.path.clone(), mode, gid: None }
}

#[test]
fn it_has_its_mode_and_group_and_is_gone_with_its_engine() {
    let place = Place::new();
    for mode in [0o600, 0o660, 0o666] {
        let (door, _listener) = Door::open(&config(&place, mode)).unwrap();
        let there = place.path.metadata().unwrap();
        assert!(there.file_type().is_socket());
        assert_eq!(there.permissions().mode() & 0o777, mode);
        assert_eq!(place.names(), ["engine.sock"]);
        drop(door);
        assert!(place.names().is_empty());
    }
    let gid = place.folder.path().metadata().unwrap().gid();
    let (_door, _listener) = Door::open(&DoorConfig { gid: Some(gid), ..config(&place, 0o660) }).unwrap();
    assert_eq!(place.path.metadata().unwrap().gid(), gid);
}

#[test]
fn what_is_no_socket_stays() {
    let place = Place::new();
    std::fs::write(&place.path, "precious").unwrap();
    let error = Door::open(&config(&place, 0o600)).unwrap_err();
    assert!(matches!(error, DoorError::NotASocket { .. }) && error.to_string().contains("engine.sock"));
    assert_eq!(std::fs::read(&place.path).unwrap(), b"precious");
    std::fs::remove_file(&place.path).unwrap();
    let target = place.folder.path().join("elsewhere");
    symlink(&target, &place.path).unwrap();
    assert!(matches!(Door::open(&config(&place, 0o600)), Err(DoorError::NotASocket { .. })));
    assert!(!target.exists() && place.path.symlink_metadata().unwrap().is_symlink());
}

#[test]
fn a_live_engines_place_is_not_taken_and_a_dead_ones_is() {
    let place = Place::new();
    let engine = place.engine(ClientLimits::default());
    assert!(matches!(Door::open(&config(&place, 0o600)), Err(DoorError::Live { .. })));
    seaweed::Client::connect(&place.path).unwrap().ping().unwrap();
    drop(engine);
    // Dropped without being removed, as by SIGKILL.
    drop(UnixListener::bind(&place.path).unwrap());
    assert!(place.path.exists());
    let (door, _listener) = Door::open(&config(&place, 0o600)).unwrap();
    assert_eq!(place.names(), ["engine.sock"]);
    // Somebody else's socket in its place is not its to remove.
    std::fs::remove_file(&place.path).unwrap();
    let _other = UnixListener::bind(&place.path).unwrap();
    drop(door);
    assert!(place.path.exists());
}

#[test]
fn of_many_that_start_together_one_gets_the_place() {
    for round in 0..20 {
        let place = Place::new();
        if round % 2 == 0 {
            drop(UnixListener::bind(&place.path).unwrap());
        }
        let config = config(&place, 0o600);
        let opened: Vec<_> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| Door::open(&config))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(opened.iter().filter(|door| door.is_ok()).count(), 1, "{opened:?}");
        assert_eq!(place.names(), ["engine.sock"]);
    }
}

#[test]
fn who_is_not_on_the_list_is_refused() {
    let place = Place::new();
    let uid = place.folder.path().metadata().unwrap().uid();
    for (uids, admitted) in [(vec![uid + 1], false), (vec![uid + 1, uid], true)] {
        let mut config = EngineConfig::at(&place.path);
        config.server.admitted.uids = uids;
        let engine = Engine::start(config).unwrap();
        let pong = seaweed::Client::connect(&place.path).and_then(|mut client| client.ping());
        assert_eq!(pong.is_ok(), admitted);
        let refused = engine.with(|server, _| server.stats().refused_by_credentials.get());
        assert_eq!(refused, u64::from(!admitted));
    }
}
