//! Serving itself: who may, how many at once, and how it ends.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tokio::time::sleep;
use wavetank_client::seaweed::{self, Message, StartRead};
use wavetank_daemon::bench::{Engine, EngineConfig, WHOLE_LEN, byte};
use wavetank_sidecar::{BadSetting, FileId, Settings, SidecarConfig, begin, socket};

use crate::stand_in::engine::Wrong;
use crate::stand_in::mount::StandInMount;
use crate::world::{World, file, plain};

#[tokio::test]
async fn a_token_is_wanted_of_everybody_but_who_asks_for_health() {
    let mut token = tempfile::NamedTempFile::new().unwrap();
    token.write_all(b"0123456789abcdef\n").unwrap();
    std::fs::set_permissions(token.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    let settings = Settings { token_file: Some(token.path().to_owned()), ..Settings::default() };
    let world = World::of(&[plain(1, b"data")], settings).await;
    let path = format!("/read?file_id={}", file(1));
    for shown in [
        None,
        Some("Bearer 0123456789abcdee"),
        Some("Bearer "),
        Some("0123456789abcdef"),
        Some("Bearer 0123456789abcdef0"),
    ] {
        let headers: Vec<_> = shown.iter().map(|shown| ("authorization", *shown)).collect();
        for path in [path.as_str(), "/stats", "/ui", "/openapi.json"] {
            assert_eq!(world.ask("GET", path, &headers).await.status, 401, "{shown:?} {path}");
        }
        assert_eq!(world.ask("GET", "/health", &headers).await.status, 200);
    }
    let right = [("authorization", "Bearer 0123456789abcdef")];
    assert_eq!(world.ask("GET", &path, &right).await.status, 200);
}

#[tokio::test]
async fn who_comes_when_there_is_too_much_to_do_is_told_to_come_again() {
    let settings = Settings { requests: Some(2), queue_ms: Some(50), ..Settings::default() };
    let world = World::of(&[plain(1, b"data")], settings).await;
    world.engine.set(Some(Wrong::Hangs));
    let path = format!("/read?file_id={}", file(1));
    let asked = futures_util::future::join_all((0..6).map(|_| world.get(&path))).await;
    let busy = asked.iter().filter(|got| got.status == 503 && got.header("retry-after") == "1").count();
    assert!((1..=4).contains(&busy), "{busy} of 6 were sent away");
    world.engine.set(None);
    assert_eq!(world.get(&path).await.status, 200, "places come back");
}

#[tokio::test]
async fn what_is_under_way_ends_before_the_sidecar_does() {
    let mut world = World::of(&[plain(1, b"data")], Settings::default()).await;
    world.engine.set(Some(Wrong::Hangs));
    let mount = world.mount().await;
    let place = world.a_place();
    let slow = tokio::spawn(async move { mount.read(file(1), 0, 4, &place).await });
    sleep(Duration::from_millis(100)).await;
    world.begin_to_stop();
    // The engine hangs, the time for it runs out, HTTP serves: all of that after the word to stop.
    assert_eq!(slow.await.unwrap(), Ok((b"data".to_vec(), false)));
    world.stop().await;
    assert!(StandInMount::start(world.address).await.is_err(), "nobody listens any more");
}

#[test]
fn other_hosts_are_served_only_where_that_was_said() {
    let config = |settings: Settings| {
        SidecarConfig::new(&settings).map(|_| ()).map_err(|why: BadSetting| why.to_string())
    };
    let everywhere = Settings { listen: Some("0.0.0.0".parse().unwrap()), ..Settings::default() };
    assert!(config(everywhere.clone()).unwrap_err().contains("--token-file"));
    assert_eq!(config(Settings { allow_unauthenticated: Some(true), ..everywhere }), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_engine_s_socket_may_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.sock");
    let settings = Settings { port: Some(0), rdma_socket: Some(path.clone()), ..Settings::default() };
    let config = SidecarConfig::new(&settings).unwrap();
    let pool = socket::engine(config.engine.as_ref().unwrap());
    let running = begin(config, Some(std::sync::Arc::new(pool))).await.unwrap();
    let address = running.address();
    let serving = tokio::spawn(running.serve(std::future::pending()));
    let mount = StandInMount::start(address).await.unwrap();
    let read = async |needle: u64, offset: u64, size: u64| {
        let file = FileId { volume: 1, needle, cookie: needle as u32 };
        mount.read(file, offset, size, "nowhere:1").await
    };
    assert!(read(107, 0, 10).await.unwrap_err().starts_with("502"), "it serves before there is an engine");
    for life in 0..2 {
        let engine = tokio::task::spawn_blocking({
            let path = path.clone();
            move || Engine::start(EngineConfig::at(path)).unwrap()
        });
        let engine = engine.await.unwrap();
        sleep(Duration::from_millis(150)).await;
        let (bytes, marked) = read(107, 5, 100_000).await.unwrap_or_else(|why| panic!("life {life}: {why}"));
        assert!(marked && bytes.len() == 100_000);
        assert!((5..).zip(&bytes).all(|(at, got)| *got == byte(107, at)), "life {life}");
        let many = futures_util::future::join_all((0..64).map(|n| read(n + 100, n * 100, 4096))).await;
        for (n, got) in (0..).zip(many) {
            let (bytes, _) = got.unwrap();
            assert!((n * 100..).zip(&bytes).all(|(at, got)| *got == byte(n + 100, at)), "needle {n}");
        }
        assert!(read(107, WHOLE_LEN, 1).await.unwrap_err().starts_with("416"));
        let stats = mount.get("/stats").await.unwrap().json();
        assert_eq!((&stats["connected"], &stats["simulated"]), (&true.into(), &true.into()), "{stats}");
        // What the engine knows is told, and what it does not is no 0.
        let begin = {
            let path = path.clone();
            move || {
                let mut client = seaweed::Client::connect(&path).unwrap();
                let start =
                    StartRead { volume_id: 1, needle_id: 107, cookie: 107, size: 10, ..StartRead::default() };
                let begun = client.start_read(start).unwrap();
                assert!(matches!(begun, Message::StartReadResponse(_)), "{begun:?}");
            }
        };
        for active in 0..2 {
            let told = mount.get("/rdma/capabilities").await.unwrap().json();
            assert_eq!(told["active_sessions"], active, "{told}");
            assert!(told["max_sessions"].as_u64() > Some(0), "{told}");
            let unknown = ["vendor_id", "port_gid", "port_lid"].map(|key| &told[key]);
            assert_eq!(unknown, [&serde_json::Value::Null; 3], "{told}");
            let stats = mount.get("/stats").await.unwrap().json();
            assert_eq!(stats["sessions"]["active"], active, "{stats}");
            tokio::task::spawn_blocking(begin.clone()).await.unwrap();
        }
        tokio::task::spawn_blocking(move || drop(engine)).await.unwrap();
        assert!(read(107, 0, 10).await.is_err());
    }
    serving.abort();
}
