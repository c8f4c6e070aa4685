//! Volumes, exporters and readers as the tests use them.

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use wavetank_contract::Instant;
use wavetank_exchange::{
    Exporter, ExporterConfig, Nonces, Reader, ReaderConfig, SegmentConfig, SharedKey, StoreShelf, Wanted,
};
use wavetank_messenger::LocalMessenger;
use wavetank_volume::{Cookie, NeedleId, NewNeedle, Ttl, Version, VolumeWriter, WriterOptions};

use crate::net::{Begin, MS, Net};

/// The time at which every simulation begins, in Unix nanoseconds.
pub(crate) const EPOCH_NS: u64 = 1_700_000_000_000_000_000;

/// Nonces that count: nobody has to guess here, and runs repeat.
pub(crate) fn nonces(seed: u64) -> Nonces {
    let mut count = 0u64;
    Box::new(move || {
        count += 1;
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&seed.to_le_bytes());
        nonce[8..16].copy_from_slice(&count.to_le_bytes());
        nonce
    })
}

pub(crate) fn key(byte: u8) -> SharedKey {
    SharedKey::new(&[byte; 32]).expect("long enough")
}

/// Bytes that tell what they are of.
pub(crate) fn pattern(number: u64, len: usize) -> Vec<u8> {
    let start = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let byte = |i: u64| (start ^ i.wrapping_mul(start | 1)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56;
    (0..len as u64).map(|i| byte(i) as u8).collect()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What a needle is to be for whoever reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    There(Vec<u8>),
    Deleted,
    Expired,
}

#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: u64,
    pub(crate) cookie: u32,
    pub(crate) truth: Truth,
}

/// Lengths around what is sent eagerly, what a frame holds, pages, and pieces.
const LENS: [usize; 12] = [1, 7, 100, 512, 4095, 4096, 5000, 9000, 65_536, 70_001, 300_000, 1_500_000];

/// A volume with needles of every sort.
pub(crate) fn volume(version: Version, number: u32) -> (VolumeWriter, Vec<Known>) {
    let mut writer = VolumeWriter::new(WriterOptions { version, ..WriterOptions::default() });
    let mut known = Vec::new();
    let append_at_ns = EPOCH_NS - 120_000_000_000;
    let put = |writer: &mut VolumeWriter, id: u64, data: &[u8], change: &dyn Fn(&mut NewNeedle<'_>)| {
        let cookie = 0x1000 + id as u32;
        let mut needle = NewNeedle::new(NeedleId(id), Cookie(cookie), data);
        needle.append_at_ns = append_at_ns;
        change(&mut needle);
        writer.put(&needle).unwrap();
        cookie
    };
    for (i, len) in LENS.into_iter().enumerate() {
        let (id, bytes) = (i as u64 + 1, pattern(u64::from(number) * 100 + i as u64, len));
        let cookie = put(&mut writer, id, &bytes, &|_| {});
        known.push(Known { id, cookie, truth: Truth::There(bytes) });
    }
    let has_fields = version != Version::V1;
    // Overwritten: the newest counts.
    let newer = pattern(7777, 6000);
    put(&mut writer, 3, &newer, &|needle| {
        if has_fields {
            needle.name = Some(b"newer.bin");
            needle.mime = Some(b"application/x-test");
            needle.last_modified_s = Some(1_699_999_000);
        }
    });
    known[2].truth = Truth::There(newer);
    let cookie = put(&mut writer, 40, b"gone", &|_| {});
    writer.delete(NeedleId(40), Cookie(cookie), append_at_ns).unwrap();
    known.push(Known { id: 40, cookie, truth: Truth::Deleted });
    let cookie = put(&mut writer, 41, b"", &|_| {});
    known.push(Known { id: 41, cookie, truth: Truth::There(Vec::new()) });
    if has_fields {
        for (id, len) in [(50, 3000), (51, 200_000)] {
            let bytes: Vec<u8> = pattern(id, len).iter().map(|byte| byte & 7).collect();
            let packed = gzip(&bytes);
            let cookie = put(&mut writer, id, &packed, &|needle| needle.compressed = true);
            known.push(Known { id, cookie, truth: Truth::There(bytes) });
        }
        let minutes = |count: u8| Ttl::from_bytes([count, 1]);
        let seconds = append_at_ns / 1_000_000_000;
        for (id, count, truth) in [(60, 1, Truth::Expired), (61, 200, Truth::There(pattern(61, 2000)))] {
            let bytes = pattern(61, 2000);
            let cookie = put(&mut writer, id, &bytes, &|needle| {
                needle.ttl = Some(minutes(count));
                needle.last_modified_s = Some(seconds);
            });
            known.push(Known { id, cookie, truth });
        }
    }
    (writer, known)
}

/// How often exporters look at their files.
pub(crate) const FOLLOW_MS: u64 = 10;

/// Short times and little memory, so that everything happens.
pub(crate) fn exporter_config() -> ExporterConfig {
    ExporterConfig {
        push_bytes_max: 256 << 10,
        segments: SegmentConfig {
            segment_bytes: 2 << 20,
            bytes_max: 8 << 20,
            grant_ns: 500 * MS,
            margin_ns: 50 * MS,
            ..SegmentConfig::default()
        },
        follow_ns: FOLLOW_MS * MS,
        unix_ns_at_zero: EPOCH_NS,
        ..ExporterConfig::default()
    }
}

/// The same with a key, and with little memory for segments, so that records have to make room for each other: for swarms.
pub(crate) fn crowded_exporter_config() -> ExporterConfig {
    ExporterConfig {
        key: Some(key(4)),
        push_bytes_max: 16 << 10,
        segments: SegmentConfig {
            segment_bytes: 128 << 10,
            bytes_max: 256 << 10,
            grant_ns: 30 * MS,
            margin_ns: 10 * MS,
            window_ns: 200 * MS,
            ..SegmentConfig::default()
        },
        ..exporter_config()
    }
}

pub(crate) fn reader_config(peers: &[&str]) -> ReaderConfig {
    ReaderConfig {
        piece_bytes: 1 << 20,
        guess_bytes: 8 << 10,
        attempt_ns: 100 * MS,
        pause_ns: 5 * MS,
        pause_ns_max: 40 * MS,
        catalogue_ns: 20 * MS,
        unix_ns_at_zero: EPOCH_NS,
        ..ReaderConfig::new(peers)
    }
}

/// An exporter that is to be looked at: the one of the present life.
pub(crate) type Seen = Rc<RefCell<Option<Rc<Exporter<StoreShelf>>>>>;

/// A server of a folder.
pub(crate) fn serve(folder: &Path, config: ExporterConfig) -> (Begin, Seen) {
    let seen = Seen::default();
    let (folder, theirs, lives) = (folder.to_path_buf(), Rc::clone(&seen), Cell::new(0));
    let begin = Box::new(move |messenger| {
        lives.set(lives.get() + 1);
        let folders: Vec<PathBuf> = vec![folder.clone()];
        let shelf = StoreShelf::open(&folders);
        let exporter = Exporter::new(shelf, config.clone(), nonces(1000 + lives.get()));
        *theirs.borrow_mut() = Some(Rc::clone(&exporter));
        let messenger = LocalMessenger::new(messenger, exporter.gate(exporter.services()));
        messenger.spawn(exporter.upkeep(messenger.clone()));
        messenger
    });
    (begin, seen)
}

/// A net with one exporter of a folder, and a reader.
pub(crate) fn rig(
    folder: &Path,
    exporter: ExporterConfig,
    reader: ReaderConfig,
) -> (Net, Reader, Rc<Exporter<StoreShelf>>) {
    let (begin, seen) = serve(folder, exporter);
    let net = Net::new(1, vec![begin]);
    let reader = Reader::new(net.client(), reader, nonces(1), None);
    let exporter = seen.borrow().clone().expect("it has begun");
    (net, reader, exporter)
}

pub(crate) fn in_ms(reader: &Reader, ms: u64) -> Instant {
    reader.messenger().now() + ms * MS
}

pub(crate) fn wanted(reader: &Reader, volume: u32, known: &Known) -> Wanted {
    Wanted::whole(volume, known.id, known.cookie, in_ms(reader, 400))
}
