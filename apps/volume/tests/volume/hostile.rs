//! Files that somebody damaged or made up: refused or read right, never a panic, never memory from their numbers.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use wavetank_volume::{
    Ask, ChunkManifest, CodedPaths, Cookie, Generator, NeedleId, OpenOptions, Outcome, ShardLayout, Version,
    Vif, VolumeFiles, VolumeWriter, WriterOptions, crc32c_masked, crc32c_raw,
};

const LAYOUT: ShardLayout =
    ShardLayout { data_shards: 3, parity_shards: 2, large_block_bytes: 512, small_block_bytes: 64 };
const GENERATOR: Generator = Generator { seed: 4, needles: 30, len_max: 400 };

fn options() -> OpenOptions {
    OpenOptions { layout: LAYOUT, needles_max: 10_000, ..OpenOptions::default() }
}

/// Reads everything. What comes is what was written, or (after changes in an index) carries a checksum that fits.
fn read_all(files: &mut VolumeFiles) {
    let ids: Vec<NeedleId> = files.volume().entries().take(200).map(|entry| entry.id).collect();
    for id in ids.into_iter().chain(GENERATOR.ids()).chain([NeedleId(0), NeedleId(u64::MAX)]) {
        let mut out = Vec::new();
        let ask = Ask { id, cookie: None, range: None, now_unix_ns: 0, inflated_len_max: 1 << 20 };
        let Ok(Outcome::Found(content)) = files.read_into(&ask, &mut out) else { continue };
        assert!(out.capacity() <= 4 << 20);
        if content.is_inflated {
            continue;
        }
        let raw = crc32c_raw(&out);
        let stored = content.located.stored_checksum;
        assert!(stored == raw || stored == crc32c_masked(raw));
        let mut part = Vec::new();
        let ranged = Ask { range: Some(1..3), ..ask };
        if let Ok(Outcome::Found(_)) = files.read_into(&ranged, &mut part) {
            assert_eq!(part, out[1..out.len().min(3)]);
        }
    }
}

fn open_and_read(dir: &Path) {
    if let Ok(mut files) = VolumeFiles::open_with(dir.join("7.dat"), &options()) {
        read_all(&mut files);
    }
    let paths = CodedPaths { name: "7".to_owned(), dirs: vec![dir.to_path_buf()] };
    if let Ok(mut files) = VolumeFiles::open_coded(&paths, &options()) {
        read_all(&mut files);
    }
}

fn sample() -> VolumeWriter {
    GENERATOR.write(WriterOptions::default()).unwrap()
}

#[test]
fn files_cut_at_every_byte_are_read_or_refused() {
    let small = Generator { needles: 6, len_max: 60, ..GENERATOR };
    let writer = small.write(WriterOptions::default()).unwrap();
    for extension in ["dat", "idx", "vif", "ecx", "ecj", "ec01"] {
        let dir = tempfile::tempdir().unwrap();
        writer.write_to(dir.path(), "7").unwrap();
        writer.write_coded_to(dir.path(), "7", &LAYOUT).unwrap();
        fs::write(dir.path().join("7.ecj"), [0; 24]).unwrap();
        let path = dir.path().join(format!("7.{extension}"));
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            open_and_read(dir.path());
        }
    }
}

#[test]
fn huge_numbers_allocate_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let writer = sample();
    writer.write_to(dir.path(), "7").unwrap();
    writer.write_coded_to(dir.path(), "7", &LAYOUT).unwrap();
    let idx: Vec<u8> = [&1_u64.to_be_bytes()[..], &[0xff; 4], &i32::MAX.to_be_bytes()].concat();
    for extension in ["idx", "ecx"] {
        fs::write(dir.path().join(format!("7.{extension}")), idx.repeat(5)).unwrap();
        open_and_read(dir.path());
    }
    for vif in [
        r#"{"datFileSize":"18446744073709551615","ecShardConfig":{"dataShards":31,"parityShards":1}}"#,
        r#"{"datFileSize":"9223372036854775807"}"#,
        r#"{"ecShardConfig":{"dataShards":4294967295,"parityShards":4294967295}}"#,
        r#"{"ecShardConfig":{"dataShards":1,"parityShards":31}}"#,
    ] {
        fs::write(dir.path().join("7.vif"), vif).unwrap();
        open_and_read(dir.path());
    }
    let deep = "[".repeat(1 << 19);
    fs::write(dir.path().join("7.vif"), deep).unwrap();
    assert!(VolumeFiles::open(dir.path().join("7.dat")).is_err());
    fs::write(dir.path().join("7.vif"), vec![b' '; (Vif::LEN_BYTES_MAX + 1) as usize]).unwrap();
    let error = VolumeFiles::open(dir.path().join("7.dat")).unwrap_err();
    assert!(error.to_string().contains("a .vif has at most"), "{error}");
}

/// A sparse file of terabytes costs its maker nothing.
#[test]
fn an_index_of_many_ids_ends_at_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let writer = sample();
    let path = writer.write_to(dir.path(), "7").unwrap();
    let mut idx = writer.idx().to_vec();
    for id in 0..20_000_u64 {
        idx.extend(
            [&(1_000_000 + id).to_be_bytes()[..], &1_u32.to_be_bytes(), &(-1_i32).to_be_bytes()].concat(),
        );
    }
    fs::write(path.with_extension("idx"), &idx).unwrap();
    let told = OpenOptions { offset_width: Some(wavetank_volume::OffsetWidth::Four), ..options() };
    let error = VolumeFiles::open_with(&path, &told).unwrap_err();
    assert!(error.to_string().contains("more than 10000 needles"), "{error}");
    VolumeFiles::open_with(&path, &OpenOptions { needles_max: 30_000, ..told }).unwrap();
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn changed_files_are_read_or_refused(
        which in prop::sample::select(vec!["dat", "idx", "vif", "ecx", "ec00", "ec02", "ec04"]),
        changes in changes(),
        lost in prop::option::of(0_u32..5),
        version in 2_u8..4,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let version = Version::from_byte(version).unwrap();
        let writer = GENERATOR.write(WriterOptions { version, ..WriterOptions::default() }).unwrap();
        writer.write_to(dir.path(), "7").unwrap();
        writer.write_coded_to(dir.path(), "7", &LAYOUT).unwrap();
        let path = dir.path().join(format!("7.{which}"));
        let mut bytes = fs::read(&path).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        fs::write(&path, bytes).unwrap();
        if let Some(lost) = lost {
            fs::remove_file(dir.path().join(format!("7.ec{lost:02}"))).unwrap();
        }
        open_and_read(dir.path());
    }

    #[test]
    fn arbitrary_indexes_and_journals_are_read_or_refused(
        idx in prop::collection::vec(any::<u8>(), 0..300),
        ecj in prop::collection::vec(any::<u8>(), 0..60),
        small: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        sample().write_to(dir.path(), "7").unwrap();
        sample().write_coded_to(dir.path(), "7", &LAYOUT).unwrap();
        // Mostly zeroes, so that many offsets are inside.
        let idx: Vec<u8> = idx.into_iter().map(|byte| if small && byte > 3 { 0 } else { byte }).collect();
        for extension in ["idx", "ecx"] {
            fs::write(dir.path().join(format!("7.{extension}")), &idx).unwrap();
        }
        fs::write(dir.path().join("7.ecj"), ecj).unwrap();
        open_and_read(dir.path());
    }

    #[test]
    fn arbitrary_json_is_parsed_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        number in any::<i64>(),
        text in "[ -~]{0,20}",
    ) {
        let _ = (Vif::parse(&bytes), ChunkManifest::parse(&bytes));
        for key in ["bytesOffset", "datFileSize", "version", "files", "ecShardConfig", "size", "chunks"] {
            for json in [format!("{{\"{key}\":{number}}}"), format!("{{\"{key}\":\"{number}\"}}"), format!("{{\"{key}\":{text:?}}}")] {
                let _ = (Vif::parse(json.as_bytes()), ChunkManifest::parse(json.as_bytes()));
            }
        }
    }
}

#[test]
fn a_vif_is_read_as_protobuf_writes_it() {
    let vif = Vif::parse(
        br#"{"files":[],"version":2,"replication":"010","bytesOffset":5,"datFileSize":"12345678901",
            "DestroyTime":"1700000000","readOnly":true,
            "ecShardConfig":{"dataShards":12,"parityShards":5,"encodeTsNs":"1"}}"#,
    );
    let expected = Vif {
        remote: None,
        version: Some(Version::V2),
        offset_width: Some(wavetank_volume::OffsetWidth::Five),
        dat_len_bytes: Some(12_345_678_901),
        expires_at_s: Some(1_700_000_000),
        shards: Some((12, 5)),
    };
    assert_eq!(vif.unwrap(), expected);
    assert_eq!(Vif::parse(expected.to_json().as_bytes()).unwrap(), expected);
    let snake =
        br#"{"dat_file_size":7,"expire_at_sec":8,"ec_shard_config":{"data_shards":1,"parity_shards":2}}"#;
    let snake = Vif::parse(snake).unwrap();
    assert_eq!((snake.dat_len_bytes, snake.expires_at_s, snake.shards), (Some(7), Some(8), Some((1, 2))));
    assert_eq!(Vif::parse(b"{}").unwrap(), Vif::default());
    for (bad, what) in [
        ("[]", "no object"),
        ("", "EOF"),
        (r#"{"version":9}"#, "version is 9"),
        (r#"{"datFileSize":-1}"#, "datFileSize is -1"),
        (r#"{"datFileSize":"x"}"#, "datFileSize is \"x\""),
        (r#"{"ecShardConfig":{"dataShards":30,"parityShards":3}}"#, "30 data and 3 parity"),
        (r#"{"ecShardConfig":{"dataShards":3}}"#, "3 data and 0 parity"),
    ] {
        let error = Vif::parse(bad.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(what), "{bad}: {error}");
    }
    let _ = Cookie(0);
}
