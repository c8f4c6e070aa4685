//! Reading by HTTP what the engine cannot serve: when, when not, and from whom.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use wavetank_sidecar::{Fallback, Settings};
use wavetank_volume::NewNeedle;

use crate::stand_in::engine::Wrong;
use crate::stand_in::shelf::{Shelf, volume};
use crate::stand_in::volume_server::Fault;
use crate::world::{World, file, pattern, plain};

fn http_alone() -> Settings {
    Settings { enable_rdma: Some(false), ..Settings::default() }
}

#[tokio::test]
async fn what_the_engine_cannot_serve_comes_by_http_and_says_why() {
    let data = pattern(1, 10_000);
    for (wrong, reason) in [
        (Wrong::Gone, "engine-gone"),
        (Wrong::PeerGone, "peer-gone"),
        (Wrong::DeviceGone, "device-gone"),
        (Wrong::Hangs, "timed-out"),
        (Wrong::NotExported, "not-exported"),
    ] {
        let world = World::of(&[plain(1, &data)], Settings::default()).await;
        world.engine.set(Some(wrong));
        let got = world.get(&format!("/read?file_id={}&offset=5&size=100", file(1))).await;
        assert_eq!((got.status, &got.body[..]), (200, &data[5..105]), "{wrong:?}");
        assert_eq!((got.header("x-source"), got.header("x-rdma-used")), ("http", "false"), "{wrong:?}");
        assert_eq!((got.header("x-wavetank-path"), got.header("x-wavetank-reason")), ("http", reason));
        assert!(got.header("x-wavetank-attempts").ends_with("=ok"), "{got:?}");
        let stats = world.get("/stats").await.json();
        assert_eq!(stats["fallbacks"][reason], 1, "{stats}");
    }
}

#[tokio::test]
async fn where_http_is_off_it_is_not_asked() {
    let settings = Settings { fallback: Some(Fallback::Off), ..Settings::default() };
    let world = World::of(&[plain(1, b"data")], settings).await;
    world.engine.set(Some(Wrong::Gone));
    let got = world.read(1).await;
    assert!(got.status == 502 && got.text().contains("HTTP is off"), "{got:?}");
    assert_eq!(world.a.asked.load(Relaxed) + world.b.asked.load(Relaxed), 0);
    world.engine.set(None);
    assert_eq!(world.read(1).await.status, 200);
}

#[tokio::test]
async fn damage_goes_to_the_other_replica_first_and_http_has_to_prove_its_bytes() {
    let data = pattern(2, 10_000);
    let world = World::of(&[plain(1, &data)], Settings::default()).await;
    let (a, b) = (world.a_place(), world.b_place());
    for damaged in [Wrong::Damaged, Wrong::Torn] {
        world.engine.set(None);
        world.engine.set_for(&a, damaged);
        let got = world.read(1).await;
        assert_eq!((got.status, got.header("x-source"), &got.body[..]), (200, "rdma", &data[..]));
        assert_eq!(got.header("x-wavetank-attempts"), format!("2; rdma {a}=damaged, rdma {b}=ok"));
    }
    assert_eq!(world.a.asked.load(Relaxed) + world.b.asked.load(Relaxed), 0, "HTTP was not needed");

    // Both are damaged: of a part that a server gives without a checksum nobody knows whether it is right.
    world.engine.set(Some(Wrong::Torn));
    world.a.set(Some(Fault::Rotten));
    let part = format!("/read?file_id={}&offset=100&size=9000", file(1));
    let got = world.get(&part).await;
    assert_eq!(
        (got.status, got.header("x-source"), &got.body[..]),
        (200, "http", &data[100..9100]),
        "{got:?}"
    );
    assert_eq!(got.header("x-wavetank-checked"), "true");
    assert!(got.header("x-wavetank-attempts").contains(&format!("http {a}=damaged")), "{got:?}");
    world.b.set(Some(Fault::Rotten));
    let got = world.get(&part).await;
    assert!(got.status == 502 && got.text().contains("damaged"), "{got:?}");

    // The twin: without a word of damage the part is taken as it comes, which is why that rule is needed.
    world.engine.set(Some(Wrong::NotExported));
    let got = world.get(&part).await;
    assert_eq!((got.status, got.header("x-wavetank-checked")), (200, "false"));
    assert_ne!(&got.body[..], &data[100..9100]);
}

#[tokio::test]
async fn a_whole_needle_is_checked_and_the_next_replica_asked() {
    let text = b"text ".repeat(1000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &text).unwrap();
    let gzip = encoder.finish().unwrap();
    let needles = [plain(1, &text), NewNeedle { compressed: true, ..plain(2, &gzip) }];
    let world = World::of(&needles, http_alone()).await;
    for needle in [1, 2] {
        world.a.set(None);
        let got = world.read(needle).await;
        assert_eq!((got.header("x-wavetank-checked"), &got.body[..]), ("true", &text[..]), "needle {needle}");
        world.a.set(Some(Fault::Rotten));
        let got = world.read(needle).await;
        assert_eq!((got.status, &got.body[..]), (200, &text[..]), "needle {needle}");
        assert!(got.header("x-wavetank-attempts").contains("=damaged, http"), "{got:?}");
    }
}

#[tokio::test]
async fn no_answer_of_a_volume_server_is_taken_for_more_than_it_is() {
    let data = pattern(3, 50_000);
    for (fault, word) in [
        (Fault::Status(500), "status"),
        (Fault::Status(418), "status"),
        (Fault::Status(429), "busy"),
        (Fault::Silent, "timed-out"),
        (Fault::Cut, "gone"),
        (Fault::TooLittle, "gone"),
        (Fault::TooMuch, "wrong-answer"),
        (Fault::Endless, "wrong-answer"),
        (Fault::OtherRange, "wrong-answer"),
        (Fault::NoGzip, "wrong-answer"),
        (Fault::Elsewhere("169.254.169.254:80".to_owned()), "elsewhere"),
    ] {
        let world = World::of(&[plain(1, &data)], http_alone()).await;
        world.a.set(Some(fault.clone()));
        let path = format!("/read?file_id={}&offset=100&size=10000", file(1));
        let got = world.get(&path).await;
        assert!(
            got.status == 200 && got.body == data[100..10_100],
            "{fault:?}: the other replica has it: {}",
            got.status
        );
        let told = got.header("x-wavetank-attempts").to_owned();
        assert!(
            told.contains(&format!("http {}={word}, http {}=ok", world.a_place(), world.b_place())),
            "{fault:?}: {told}"
        );
        world.b.set(Some(fault.clone()));
        let got = world.get(&path).await;
        assert!(matches!(got.status, 502 | 503), "{fault:?}: {got:?}");
    }
    // An answer of everything to who asked for a part is cut here.
    let world = World::of(&[plain(1, &data)], http_alone()).await;
    world.a.set(Some(Fault::Whole));
    let got = world.get(&format!("/read?file_id={}&offset=100&size=10000", file(1))).await;
    assert_eq!((got.status, &got.body[..]), (200, &data[100..10_100]));
    assert_eq!(world.b.asked.load(Relaxed), 0);
}

#[tokio::test]
async fn it_is_sent_on_only_to_where_it_may_be_and_not_in_circles() {
    let world = World::of(&[plain(1, b"data")], http_alone()).await;
    let elsewhere = World::of(&[plain(1, b"secret")], Settings::default()).await;
    world.a.set(Some(Fault::Elsewhere(world.b_place())));
    let got = world.read(1).await;
    assert_eq!(&got.body[..], b"data");
    assert!(got.header("x-wavetank-attempts").contains(&format!(
        "http {}=elsewhere, http {}=ok",
        world.a_place(),
        world.b_place()
    )));
    world.b.set(Some(Fault::Elsewhere(world.a_place())));
    assert_eq!(world.read(1).await.status, 502);
    world.a.set(Some(Fault::Elsewhere(elsewhere.a_place())));
    world.b.set(Some(Fault::Elsewhere(elsewhere.a_place())));
    assert_eq!(world.read(1).await.status, 502);
    assert_eq!(elsewhere.a.asked.load(Relaxed), 0);
}

#[tokio::test]
async fn what_authorizes_is_fetched_from_the_master_and_shown() {
    let shelf = Shelf::new(vec![(3, volume(&[plain(1, b"data")]))]);
    let world = World::with(shelf, Some("word.of.master"), http_alone()).await;
    for _ in 0..3 {
        assert_eq!(world.read(1).await.text(), "data");
    }
    assert_eq!(world.a.asked.load(Relaxed), 4, "the first was refused, and then it was known");
    // The twin: a master that authorizes nobody leaves it refused.
    let shelf = Shelf::new(vec![(3, volume(&[plain(1, b"data")]))]);
    let world = World::with(
        shelf,
        Some("word"),
        Settings { master: Some(vec![]), volume_server: None, ..http_alone() },
    )
    .await;
    assert_eq!(world.read(1).await.status, 502);
}

#[tokio::test]
async fn who_fails_three_times_is_left_alone_and_the_stats_say_so() {
    let world = World::of(&[plain(1, b"data")], Settings::default()).await;
    let a = world.a_place();
    world.engine.set_for(&a, Wrong::PeerGone);
    for _ in 0..5 {
        assert_eq!(world.read(1).await.status, 200);
    }
    let reads = world.engine.asked.lock().unwrap().iter().filter(|w| w.server.as_deref() == Some(&a)).count();
    assert_eq!(reads, 3);
    let stats = world.get("/stats").await.json();
    let breakers = stats["breakers"].as_array().unwrap();
    let paused = breakers.iter().find(|breaker| breaker["path"] == format!("rdma {a}")).unwrap();
    assert_eq!(paused["state"], "paused", "{stats}");
    assert!(world.get("/metrics").await.text().contains("wavetank_sidecar_breakers_paused 1"));
}

#[tokio::test]
async fn an_engine_that_comes_late_or_back_is_used_at_once() {
    let data = pattern(4, 5000);
    let world = World::of(&[plain(1, &data)], Settings::default()).await;
    world.engine.set(Some(Wrong::Gone));
    for _ in 0..10 {
        let got = world.read(1).await;
        assert_eq!((got.status, got.header("x-source"), &got.body[..]), (200, "http", &data[..]));
    }
    let health = world.get("/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &"healthy".into()));
    assert_eq!(health.json()["rdma"]["connected"], false);
    world.engine.set(None);
    assert_eq!(world.read(1).await.header("x-source"), "rdma", "no pause is waited for");
    assert_eq!(world.get("/health").await.json()["rdma"]["connected"], true);
    tokio::time::sleep(Duration::from_millis(1)).await;
}
