//! Reads that go well, and those that cannot.

use wavetank_sidecar::{EnginePath, Settings};
use wavetank_volume::NewNeedle;

use crate::stand_in::engine::Wrong;
use crate::world::{World, file, pattern, plain};

fn gzip(data: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn exactly_the_bytes_come_and_are_marked_as_what_they_are() {
    let data = pattern(1, 100_000);
    let world = World::of(
        &[NewNeedle { last_modified_s: Some(1_764_000_000), ..plain(1, &data) }],
        Settings::default(),
    )
    .await;
    let got = world
        .get(&format!(
            "/read?file_id={}&offset=16&size=4096&volume_server=http://{}",
            file(1),
            world.a_place()
        ))
        .await;
    assert_eq!((got.status, &got.body[..]), (200, &data[16..16 + 4096]));
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("content-length", "4096"),
        ("x-source", "rdma"),
        ("x-rdma-used", "true"),
        ("x-wavetank-path", "pull"),
        ("x-wavetank-checked", "true"),
        ("etag", format!("\"{:08x}\"", crc32c::crc32c(&data)).as_str()),
        ("last-modified", "Mon, 24 Nov 2025 16:00:00 GMT"),
        ("accept-ranges", "bytes"),
        ("x-wavetank-attempts", format!("1; rdma {}=ok", world.a_place()).as_str()),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    assert!(got.header("server-timing").starts_with("lookup;dur="), "{got:?}");
    let forms = [
        format!("volume=3&needle=1&cookie={}", crate::world::COOKIE),
        format!("volume=3&needle=0x1&cookie={:#x}&size=0", crate::world::COOKIE),
        format!("file_id=3%2C01{:08x}", crate::world::COOKIE),
    ];
    for form in forms {
        assert_eq!(world.get(&format!("/read?{form}")).await.body, data, "{form}");
    }
}

#[tokio::test]
async fn what_the_engine_had_on_this_machine_is_not_called_rdma_and_taken_by_a_mount_all_the_same() {
    let data = pattern(2, 1000);
    let world = World::of(&[plain(1, &data)], Settings::default()).await;
    *world.engine.path.lock().unwrap() = EnginePath::Local;
    let got = world.read(1).await;
    assert_eq!((got.header("x-source"), got.header("x-rdma-used")), ("rdma-engine-local", "false"));
    assert_eq!(got.header("x-wavetank-path"), "local");
    let read = world.mount().await.read(file(1), 0, 1000, &world.a_place()).await;
    assert_eq!(read, Ok((data, true)));
}

#[tokio::test]
async fn ends_are_where_the_content_ends() {
    let text = b"line after line after line".repeat(100);
    let world = World::of(
        &[
            plain(1, &pattern(3, 1000)),
            plain(2, b""),
            NewNeedle { compressed: true, ..plain(3, &gzip(&text)) },
            NewNeedle { compressed: true, ..plain(4, b"flagged, and not compressed") },
        ],
        Settings::default(),
    )
    .await;
    for wrong in [None, Some(Wrong::Gone)] {
        world.engine.set(wrong);
        let read = async |needle, window: &str| {
            let got = world.get(&format!("/read?file_id={}{window}", file(needle))).await;
            (got.status, got.body.to_vec(), got.header("content-range").to_owned())
        };
        let data = pattern(3, 1000);
        let nothing = String::new();
        assert_eq!(
            read(1, "&offset=990&size=100").await,
            (200, data[990..].to_vec(), nothing.clone()),
            "{wrong:?}"
        );
        assert_eq!(read(1, "&offset=999").await, (200, data[999..].to_vec(), nothing.clone()));
        let past = read(1, "&offset=1000&size=1").await;
        assert_eq!((past.0, past.2.as_str()), (416, "bytes */1000"), "{wrong:?}");
        assert_eq!(
            read(2, "").await,
            (200, vec![], nothing.clone()),
            "an empty needle is no error: {wrong:?}"
        );
        assert_eq!(read(2, "&size=10").await.0, 200, "{wrong:?}");
        assert_eq!(read(2, "&offset=1").await.0, 416);
        assert_eq!(read(3, "").await.1, text, "{wrong:?}");
        assert_eq!(
            read(3, "&offset=100&size=50").await.1,
            text[100..150],
            "of the decompressed bytes: {wrong:?}"
        );
        assert_eq!(read(4, "").await.1, b"flagged, and not compressed");
    }
}

#[tokio::test]
async fn ranges_and_conditions_are_those_of_http() {
    let data = pattern(4, 1000);
    let world = World::of(
        &[NewNeedle { last_modified_s: Some(1_764_000_000), ..plain(1, &data) }, plain(2, b"")],
        Settings::default(),
    )
    .await;
    let path = format!("/read?file_id={}", file(1));
    let tag = format!("\"{:08x}\"", crc32c::crc32c(&data));
    for wrong in [None, Some(Wrong::NotExported)] {
        world.engine.set(wrong);
        for (range, bytes, said) in [
            ("bytes=0-0", &data[0..1], "bytes 0-0/1000"),
            ("bytes=100-199", &data[100..200], "bytes 100-199/1000"),
            ("bytes=990-", &data[990..], "bytes 990-999/1000"),
            ("bytes=990-5000", &data[990..], "bytes 990-999/1000"),
            ("bytes=-10", &data[990..], "bytes 990-999/1000"),
            ("bytes=-5000", &data[..], "bytes 0-999/1000"),
        ] {
            let got = world.ask("GET", &path, &[("range", range)]).await;
            assert_eq!(
                (got.status, &got.body[..], got.header("content-range")),
                (206, bytes, said),
                "{range} {wrong:?}"
            );
            let head = world.ask("HEAD", &path, &[("range", range)]).await;
            assert_eq!(
                (head.status, head.header("content-length")),
                (206, bytes.len().to_string().as_str()),
                "{range}"
            );
        }
        for range in ["bytes=1000-", "bytes=5000-6000", "bytes=-0"] {
            let got = world.ask("GET", &path, &[("range", range)]).await;
            assert_eq!((got.status, got.header("content-range")), (416, "bytes */1000"), "{range}");
        }
        let head = world.ask("HEAD", &path, &[]).await;
        assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "1000", 0));
        assert_eq!(head.header("etag"), tag);
        for (name, value, status) in [
            ("if-none-match", tag.as_str(), 304),
            ("if-none-match", "\"00000000\"", 200),
            ("if-match", "\"00000000\"", 412),
            ("if-match", tag.as_str(), 200),
        ] {
            let got = world.ask("GET", &path, &[(name, value)]).await;
            assert_eq!(got.status, status, "{name} {value}");
            assert_eq!(got.body.is_empty(), status != 200);
        }
        let kept = world.ask("GET", &path, &[("range", "bytes=0-9"), ("if-range", tag.as_str())]).await;
        let changed = world.ask("GET", &path, &[("range", "bytes=0-9"), ("if-range", "\"00000000\"")]).await;
        assert_eq!((kept.status, kept.body.len(), changed.status, changed.body.len()), (206, 10, 200, 1000));
    }
    let empty = world.ask("GET", &format!("/read?file_id={}", file(2)), &[("range", "bytes=0-9")]).await;
    assert_eq!(empty.status, 416);
}

#[tokio::test]
async fn what_cannot_be_read_says_why() {
    let mut writer = crate::stand_in::shelf::volume(&[plain(1, b"data"), plain(2, b"gone")]);
    writer.delete(wavetank_volume::NeedleId(2), wavetank_volume::Cookie(crate::world::COOKIE), 1).unwrap();
    let shelf = crate::stand_in::shelf::Shelf::new(vec![(3, writer)]);
    let world = World::with(
        shelf,
        None,
        Settings { max_read: Some(bytesize::ByteSize(1000)), ..Settings::default() },
    )
    .await;
    for (path, status, says) in [
        ("/read", 400, "parameter volume"),
        ("/read?volume=3&needle=1", 400, "parameter cookie"),
        ("/read?volume=18446744073709551616&needle=1&cookie=1", 400, "parameter volume"),
        ("/read?file_id=3,01637037d6&size=18446744073709551616", 400, "parameter size"),
        ("/read?file_id=3,01637037d6&offset=18446744073709551615&size=2", 400, "parameter size"),
        ("/read?file_id=3,01637037d6%00", 400, "parameter file_id"),
        ("/read?file_id=../../etc/passwd", 400, "parameter file_id"),
        ("/read?file_id=3,630badcafe", 404, "no such needle"),
        ("/read?file_id=3,020badcafe", 404, "deleted"),
        ("/read?file_id=3,0100000001", 404, "another cookie"),
        ("/read?file_id=4,010badcafe", 404, "no such"),
        ("/nothing", 404, ""),
    ] {
        let got = world.get(path).await;
        assert!(got.status == status && got.text().contains(says), "{path}: {} {}", got.status, got.text());
    }
    assert_eq!(world.ask("POST", "/read?file_id=3,010badcafe", &[]).await.status, 405);
    assert_eq!(world.ask("GET", "/cleanup", &[]).await.status, 405);
    let both = world.ask("GET", "/read?file_id=3,010badcafe&size=1", &[("range", "bytes=0-0")]).await;
    assert!(both.status == 400 && both.text().contains("Range"), "{both:?}");
    for (wrong, status) in [(Wrong::Fault, 500), (Wrong::Busy, 503), (Wrong::Short, 500)] {
        world.engine.set(Some(wrong));
        let got = world.read(1).await;
        assert_eq!(got.status, status, "{wrong:?}: our own faults are no reason for another way");
        assert_eq!(got.header("retry-after"), if status == 503 { "1" } else { "" });
    }
    assert_eq!(world.a.asked.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn longer_than_the_engine_reads_at_once_is_read_in_pieces_and_longer_than_an_answer_is_refused() {
    let data = pattern(5, 100_000);
    let settings = Settings { max_read: Some(bytesize::ByteSize(100_000)), ..Settings::default() };
    let world = World::of(&[plain(1, &data), plain(2, &pattern(6, 100_001))], settings).await;
    world.engine.max.store(7_000, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(world.read(1).await.body, data);
    let part = world.get(&format!("/read?file_id={}&offset=13&size=20000", file(1))).await;
    assert_eq!(&part.body[..], &data[13..20_013]);
    let large = world.get(&format!("/read?file_id={}&offset=50000&size=18446744073709000000", file(1))).await;
    assert_eq!((large.status, &large.body[..]), (200, &data[50_000..]));
    for wrong in [None, Some(Wrong::Gone)] {
        world.engine.set(wrong);
        let got = world.read(2).await;
        assert!(got.status == 400 && got.text().contains("parameter size"), "{wrong:?} {got:?}");
    }
}
