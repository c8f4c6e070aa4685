//! Files whose needle lists the needles that hold them.

use std::sync::atomic::Ordering::Relaxed;

use wavetank_sidecar::Settings;
use wavetank_volume::NewNeedle;

use crate::stand_in::engine::Wrong;
use crate::world::{COOKIE, World, file, pattern, plain};

fn manifest(chunks: &[(u64, usize, usize)], size: usize) -> Vec<u8> {
    let chunk = |(needle, offset, len): &(u64, usize, usize)| {
        format!(r#"{{"fid":"3,{needle:02x}{COOKIE:08x}","offset":{offset},"size":{len}}}"#)
    };
    let chunks: Vec<_> = chunks.iter().map(chunk).collect();
    format!(r#"{{"name":"film.bin","mime":"video/x","size":{size},"chunks":[{}]}}"#, chunks.join(","))
        .into_bytes()
}

async fn world() -> (World, Vec<u8>) {
    let data = pattern(7, 30_000);
    let list = manifest(&[(1, 0, 10_000), (2, 10_000, 10_000), (3, 20_000, 10_000)], 30_000);
    let nested = manifest(&[(9, 0, 30_000)], 30_000);
    let torn = manifest(&[(1, 0, 10_000), (77, 10_000, 10_000)], 20_000);
    let long = manifest(&[(1, 0, 10_001)], 10_001);
    let lists = |needle, text| NewNeedle { chunk_manifest: true, ..plain(needle, text) };
    let world = World::of(
        &[
            plain(1, &data[..10_000]),
            plain(2, &data[10_000..20_000]),
            plain(3, &data[20_000..]),
            lists(9, &list),
            lists(10, &nested),
            lists(11, &torn),
            lists(12, b"{no json"),
            lists(13, &long),
        ],
        Settings::default(),
    )
    .await;
    (world, data)
}

#[tokio::test]
async fn a_file_is_joined_from_its_chunks_by_either_way() {
    let (world, data) = world().await;
    for (wrong, source) in [(None, "rdma"), (Some(Wrong::Gone), "http"), (Some(Wrong::NotExported), "http")] {
        world.engine.set(wrong);
        let got = world.read(9).await;
        assert_eq!(
            (got.status, got.header("x-source"), &got.body[..]),
            (200, source, &data[..]),
            "{wrong:?}"
        );
        for (offset, size) in [(0, 1), (9_999, 2), (5, 29_000), (25_000, 100_000), (29_999, 1)] {
            let got = world.get(&format!("/read?file_id={}&offset={offset}&size={size}", file(9))).await;
            let end = (offset + size).min(data.len());
            assert_eq!((got.status, &got.body[..]), (200, &data[offset..end]), "{offset} {size} {wrong:?}");
        }
        let past = world.get(&format!("/read?file_id={}&offset=30000", file(9))).await;
        assert_eq!((past.status, past.header("content-range")), (416, "bytes */30000"), "{wrong:?}");
        let head = world.ask("HEAD", &format!("/read?file_id={}", file(9)), &[]).await;
        assert_eq!(head.header("content-length"), "30000", "{wrong:?}");
        let last = world.ask("GET", &format!("/read?file_id={}", file(9)), &[("range", "bytes=-5")]).await;
        assert_eq!((last.status, &last.body[..]), (206, &data[29_995..]), "{wrong:?}");
    }
}

#[tokio::test]
async fn lists_that_are_wrong_are_no_files() {
    let (world, _) = world().await;
    for (needle, says) in
        [(10, "itself a list"), (11, "no such needle"), (12, "chunk manifest"), (13, "10000 bytes of 10001")]
    {
        let got = world.read(needle).await;
        assert!(got.status == 502 && got.text().contains(says), "{needle}: {} {}", got.status, got.text());
    }
}

#[tokio::test]
async fn a_chunk_that_the_engine_cannot_read_comes_by_http_and_the_answer_is_not_called_rdma() {
    let (world, data) = world().await;
    // The list is read, and everything after it is not.
    let before = world.engine.reads.load(Relaxed);
    let got = world.read(9).await;
    assert!(world.engine.reads.load(Relaxed) >= before + 4 && got.header("x-source") == "rdma");
    world.engine.set_for(&world.a_place(), Wrong::PeerGone);
    world.engine.set_for(&world.b_place(), Wrong::PeerGone);
    let got = world.read(9).await;
    assert_eq!((got.status, got.header("x-source"), &got.body[..]), (200, "http", &data[..]));
}
