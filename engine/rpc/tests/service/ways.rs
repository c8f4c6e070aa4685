//! Every size by every way.

use wavetank_messenger::Way;
use wavetank_rpc::ChunkError;

use crate::net::SERVER;
use crate::rig::{KEY, in_ms, memory_store, pattern, rig};

/// Around what is copied into a frame, what is sent eagerly, what a frame holds, pages, and extents.
const SIZES: [usize; 22] = [
    1,
    7,
    8,
    9,
    480,
    511,
    512,
    513,
    4095,
    4096,
    4097,
    7000,
    8191,
    8192,
    8193,
    65_535,
    65_536,
    65_537,
    1 << 20,
    (1 << 20) + 1,
    (2 << 20) + 1,
    4 << 20,
];

#[test]
fn what_is_written_is_read_again_at_every_size_by_every_way() {
    for way in [None, Some(Way::Eager), Some(Way::Read), Some(Way::Write), Some(Way::Sink)] {
        let (mut net, client) = rig(way, memory_store);
        for (number, len) in SIZES.into_iter().enumerate() {
            let bytes = pattern(number as u64, len);
            let offset = number as u64 * 13;
            let caller = client.clone();
            let back = net.run(async {
                let deadline = in_ms(&caller, 400);
                caller.write_bytes(KEY, offset, &bytes, false, deadline).await?;
                caller.read(KEY, offset, len as u32, deadline).await
            });
            let back = back.unwrap_or_else(|failure| panic!("{len} by {way:?}: {failure}"));
            assert_eq!(back.crc32c(), crc32c::crc32c(&bytes));
            assert!(back.to_vec() == bytes, "{len} by {way:?}");
        }
        let stats = client.stats();
        assert_eq!((stats.attempts_failed, stats.corrupt, stats.dials), (0, 0, 1), "{way:?}");
        drop(client);
        net.run_ms(5);
        let left = net.nodes.iter().map(|node| node.with(|messenger| messenger.outstanding()));
        for left in left {
            // A sign of life may be under way, and has a frame.
            assert_eq!((left.outgoing, left.requests, left.moves, left.pool_leases), (0, 0, 0, 0));
        }
        let chosen: Vec<Way> =
            net.nodes[SERVER].with(|messenger| messenger.chosen().map(|(chosen, _)| chosen.way).collect());
        let wanted = match way {
            None => [Way::Eager, Way::Sink],
            // Memory that replies are made in is out of reach, so there is nothing to read.
            Some(Way::Read) => [Way::Eager, Way::Sink],
            Some(way) => [Way::Eager, way],
        };
        assert!(wanted.iter().all(|way| chosen.contains(way)), "{way:?}: {chosen:?}");
    }
}

#[test]
fn missing_chunks_short_chunks_and_empty_calls_are_values() {
    let (mut net, client) = rig(None, memory_store);
    net.run(async {
        let deadline = in_ms(&client, 400);
        let missing = client.read(KEY, 0, 10, deadline).await.expect_err("there is no chunk");
        assert_eq!((missing.chunk_error(), missing.attempts), (Some(ChunkError::NotFound), 1));
        let missing = client.stat(KEY, deadline).await.expect_err("there is no chunk");
        assert_eq!(missing.chunk_error(), Some(ChunkError::NotFound));
        client.write_bytes(KEY, 0, &[5; 100], false, deadline).await.expect("there is room");
        assert_eq!(client.stat(KEY, deadline).await.expect("it is there").len_bytes, 100);
        let short = client.read(KEY, 50, 51, deadline).await.expect_err("there are 100 bytes");
        assert_eq!(short.chunk_error(), Some(ChunkError::OutOfRange { len_bytes: 100 }));
        let empty = client.write_bytes(KEY, 0, &[], false, deadline).await.expect_err("nothing");
        assert_eq!(empty.chunk_error(), Some(ChunkError::Empty));
        let empty = client.read(KEY, 0, 0, deadline).await.expect_err("nothing");
        assert_eq!(empty.chunk_error(), Some(ChunkError::Empty));
        client.remove(KEY, false, deadline).await.expect("it is there");
        let missing = client.remove(KEY, false, deadline).await.expect_err("it is gone");
        assert_eq!(missing.chunk_error(), Some(ChunkError::NotFound));
        // More than the store takes in a call: 4 MiB.
        let long = client.read(KEY, 0, (4 << 20) + 1, deadline).await.expect_err("too long");
        assert!(matches!(long.chunk_error(), Some(ChunkError::TooLarge { .. })), "{long}");
    });
}
