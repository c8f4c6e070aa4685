//! Answers in files, as a mount takes them.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;
use wavetank_sidecar::Settings;

use crate::world::{World, file, pattern, plain};

async fn world(data: &[u8]) -> (TempDir, World) {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { temp_dir: Some(folder.path().join("answers")), ..Settings::default() };
    let world = World::of(&[plain(1, data)], settings).await;
    (folder, world)
}

#[tokio::test]
async fn a_mount_takes_the_file_and_has_it_removed() {
    let data = pattern(1, 200_000);
    let (folder, world) = world(&data).await;
    let got = world.read(1).await;
    assert!(got.status == 200 && got.body == data, "the body has the bytes all the same");
    let path = got.header("x-temp-file");
    assert_eq!(
        (got.header("x-use-temp-file"), std::fs::metadata(path).unwrap().mode() & 0o777),
        ("true", 0o600)
    );
    assert!(std::fs::read(path).unwrap() == data);
    let removed = world.ask("DELETE", &format!("/cleanup?temp_file={path}"), &[]).await;
    assert_eq!((removed.status, &removed.json()["success"]), (200, &true.into()));
    assert!(!std::path::Path::new(path).exists());
    assert_eq!(world.ask("DELETE", &format!("/cleanup?temp_file={path}"), &[]).await.status, 200);

    // Upstream's one client in four hundred repeats got another one's file: names were of the request.
    let mount = world.mount().await;
    for _ in 0..50 {
        let (bytes, marked) = mount.read(file(1), 0, 200_000, &world.a_place()).await.unwrap();
        assert!(marked && bytes == data);
    }
    let left = async || std::fs::read_dir(folder.path().join("answers")).unwrap().count();
    for _ in 0..100 {
        if left().await == 0 {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("{} files are left", left().await);
}

#[tokio::test]
async fn a_mount_that_cannot_open_the_file_gets_right_bytes_all_the_same() {
    let data = pattern(2, 200_000);
    let (folder, world) = world(&data).await;
    // As if it were on another machine: what is written there goes away at once.
    let answers = folder.path().join("answers");
    std::fs::rename(&answers, folder.path().join("elsewhere")).unwrap();
    let (bytes, _) = world.mount().await.read(file(1), 0, 200_000, &world.a_place()).await.unwrap();
    assert!(bytes == data);
}

#[tokio::test]
async fn cleanup_stays_in_its_folder() {
    let (folder, world) = world(&pattern(3, 100_000)).await;
    let outside = folder.path().join("outside");
    std::fs::write(&outside, "keep").unwrap();
    for path in [
        "",
        "?",
        "?temp_file=",
        "?temp_file=/etc/passwd",
        "?temp_file=../../etc/passwd",
        "?temp_file=%00",
        &format!("?temp_file={}", outside.display()),
        &format!("?temp_file={}/answers/../outside", folder.path().display()),
        &format!("?temp_file={}/answers/..%2Foutside", folder.path().display()),
        &format!("?temp_file={}/answers", folder.path().display()),
    ] {
        let got = world.ask("DELETE", &format!("/cleanup{path}"), &[]).await;
        assert!(got.status == 400 && got.text().contains("temp_file"), "{path}: {got:?}");
    }
    assert_eq!(std::fs::read(&outside).unwrap(), b"keep");
}
