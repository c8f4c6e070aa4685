//! Where volumes are looked for, and who may say so.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use wavetank_sidecar::Settings;

use crate::stand_in::Server;
use crate::stand_in::engine::Wrong;
use crate::stand_in::master::{Mood, StandInMaster};
use crate::world::{World, file, plain};

fn asked(world: &World) -> Vec<String> {
    let wanted = std::mem::take(&mut *world.engine.asked.lock().unwrap());
    wanted.into_iter().map(|wanted| wanted.server.unwrap_or_default()).collect()
}

fn list(world: &World, servers: &[(&str, &str)]) {
    let servers = servers.iter().map(|(place, dc)| ((*place).to_owned(), (*dc).to_owned())).collect();
    world.master.volumes.lock().unwrap().insert(3, servers);
}

#[tokio::test]
async fn this_machine_comes_first_then_the_client_s_choice_then_its_data_centre() {
    let settings = Settings {
        data_center: Some("near".to_owned()),
        local_host: Some(vec!["storage-7".to_owned()]),
        fallback: Some(wavetank_sidecar::Fallback::Off),
        ..Settings::default()
    };
    let world = World::of(&[plain(1, b"data")], settings).await;
    list(
        &world,
        &[("far:8080", "far"), ("near:8080", "near"), ("hinted:8080", "far"), ("storage-7:8080", "far")],
    );
    world.engine.set(Some(Wrong::NotExported));
    let path = format!("/read?file_id={}&volume_server=http://hinted:8080", file(1));
    assert_eq!(world.get(&path).await.status, 502);
    assert_eq!(asked(&world), ["storage-7:8080", "hinted:8080", "near:8080", "far:8080"]);
}

#[tokio::test]
async fn a_server_that_only_the_client_names_is_not_asked() {
    let world = World::of(&[plain(1, b"data")], Settings::default()).await;
    let secret = World::of(&[plain(1, b"secret")], Settings::default()).await;
    for hint in [
        format!("http://{}", secret.a_place()),
        "file:///etc/passwd".to_owned(),
        "http://user@a:80".to_owned(),
    ] {
        for wrong in [None, Some(Wrong::NotExported)] {
            world.engine.set(wrong);
            let got = world.get(&format!("/read?file_id={}&volume_server={hint}", file(1))).await;
            assert_eq!((got.status, &got.body[..]), (200, &b"data"[..]), "{hint} {wrong:?}");
        }
    }
    assert_eq!(secret.a.asked.load(Relaxed), 0);
    assert!(asked(&world).iter().all(|server| *server == world.a_place() || *server == world.b_place()));

    // The twin: where it is allowed it is asked, without a master as well.
    let allowed = Settings {
        master: Some(vec![]),
        allow_volume_server: Some(vec![secret.a_place()]),
        enable_rdma: Some(false),
        ..Settings::default()
    };
    let world = World::of(&[plain(1, b"data")], allowed).await;
    let hinted = format!("/read?file_id={}&volume_server=http://{}", file(1), secret.a_place());
    assert_eq!(world.get(&hinted).await.text(), "secret");
    let other = format!("/read?file_id={}&volume_server=http://{}", file(1), secret.b_place());
    let got = world.get(&other).await;
    assert!(got.status == 502 && got.text().contains("--allow-volume-server"), "{got:?}");
}

#[tokio::test]
async fn an_answer_is_kept_and_a_volume_that_moved_is_found() {
    let world = World::of(&[plain(1, b"data")], Settings::default()).await;
    for _ in 0..10 {
        assert_eq!(world.read(1).await.status, 200);
    }
    assert_eq!(world.master.asked.load(Relaxed), 1);
    // Nobody knows yet that it moved; a server that fails makes it worth asking.
    list(&world, &[("moved:8080", "")]);
    world.engine.set_for(&world.a_place(), Wrong::PeerGone);
    world.engine.set_for(&world.b_place(), Wrong::PeerGone);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    for _ in 0..3 {
        world.read(1).await;
    }
    assert!(asked(&world).contains(&"moved:8080".to_owned()));
}

#[tokio::test]
async fn a_volume_that_nobody_knows_is_not_there_and_asked_for_once_in_a_while() {
    let world = World::of(&[plain(1, b"data")], Settings::default()).await;
    world.engine.set(Some(Wrong::NotExported));
    for _ in 0..5 {
        let got = world.get("/read?file_id=9,010badcafe").await;
        assert!(got.status == 404 && got.text().contains("no such volume"), "{got:?}");
    }
    assert_eq!(world.master.asked.load(Relaxed), 1);
}

#[tokio::test]
async fn masters_that_do_not_lead_are_passed_over() {
    let leader = Arc::new(StandInMaster::default());
    let mut leads = Server::start(leader.clone()).await;
    let other = Arc::new(StandInMaster::default());
    let follows = Server::start(other.clone()).await;
    let settings = Settings {
        master: Some(vec![follows.address.to_string(), leads.address.to_string()]),
        lookup_ttl: Some(1),
        ..Settings::default()
    };
    let world = World::of(&[plain(1, b"data")], settings).await;
    leader.volumes.lock().unwrap().insert(3, vec![(world.a_place(), String::new())]);
    for mood in [Mood::Babbles, Mood::Warming, Mood::Silent, Mood::Follows(leads.address.to_string())] {
        *other.mood.lock().unwrap() = mood.clone();
        asked(&world);
        tokio::time::sleep(std::time::Duration::from_millis(1050)).await;
        assert_eq!(world.read(1).await.status, 200, "{mood:?}");
        assert_eq!(asked(&world), [world.a_place()], "{mood:?}");
    }
    // All of them are gone: what was known goes on.
    leads.stop();
    drop(follows);
    tokio::time::sleep(std::time::Duration::from_millis(1050)).await;
    assert_eq!(world.read(1).await.status, 200);
    assert_eq!(asked(&world), [world.a_place()]);
    // Of a volume that never was known the engine may know by itself; HTTP cannot.
    world.engine.set(Some(Wrong::NotExported));
    let got = world.get("/read?file_id=8,010badcafe").await;
    assert_eq!((got.status, got.header("retry-after").is_empty()), (503, false), "{got:?}");
}

#[tokio::test]
async fn a_master_that_warms_up_says_when_to_come_again() {
    let world = World::of(&[plain(1, b"data")], Settings::default()).await;
    *world.master.mood.lock().unwrap() = Mood::Warming;
    world.engine.set(Some(Wrong::Gone));
    let got = world.read(1).await;
    assert_eq!((got.status, got.header("retry-after")), (503, "7"), "{got:?}");
    world.engine.set(None);
    assert_eq!(world.read(1).await.status, 200, "the engine may know where it is");
}
