//! Every answer to a reader, and that no byte is served that was not verified.

use std::fs::{self, OpenOptions as Open};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use tempfile::TempDir;
use wavetank_volume::{
    Ask, ChunkManifest, Cookie, Damage, Flags, IndexEntry, ManifestError, NeedleError, NeedleId, NewNeedle,
    Outcome, Version, VolumeFiles, VolumeWriter,
};

use crate::sample::{VERSIONS, ask, full, gzip, plain, writer};

fn opened(writer: &VolumeWriter) -> (TempDir, PathBuf, VolumeFiles) {
    let dir = tempfile::tempdir().unwrap();
    let path = writer.write_to(dir.path(), "7").unwrap();
    let files = VolumeFiles::open(&path).unwrap();
    (dir, path, files)
}

fn read(files: &mut VolumeFiles, ask: &Ask) -> (Outcome<wavetank_volume::Content>, Vec<u8>) {
    let mut out = b"left over".to_vec();
    let outcome = files.read_into(ask, &mut out).unwrap();
    (outcome, out)
}

fn ranged(id: u64, range: std::ops::Range<u64>) -> Ask {
    Ask { range: Some(range), ..ask(id) }
}

/// Changes a byte of a record in place, as rot does.
fn rot(path: &PathBuf, entry: &IndexEntry, at: u64) {
    let dat = Open::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    dat.read_exact_at(&mut byte, entry.offset_bytes + at).unwrap();
    dat.write_all_at(&[byte[0] ^ 0x40], entry.offset_bytes + at).unwrap();
}

#[test]
fn every_range_of_a_needle_is_read_and_others_are_not() {
    for version in VERSIONS {
        let mut writer = writer(version);
        writer.put(&plain(1, b"0123456789")).unwrap();
        let (_dir, _path, mut files) = opened(&writer);
        for (start, end) in (0..13).flat_map(|start| (0..13).map(move |end| (start, end))) {
            let (outcome, out) = read(&mut files, &ranged(1, start..end));
            if start < end.min(10) {
                assert_eq!(out, &b"0123456789"[start as usize..end.min(10) as usize]);
                let content = outcome.found().unwrap();
                assert_eq!((content.range, content.whole_len_bytes), (start..end.min(10), 10));
            } else {
                assert!(matches!(outcome, Outcome::NotInRange { whole_len_bytes: 10 }), "{outcome:?}");
                assert!(out.is_empty());
            }
        }
        let (outcome, _) = read(&mut files, &ranged(1, u64::MAX - 1..u64::MAX));
        assert!(matches!(outcome, Outcome::NotInRange { .. }), "{outcome:?}");
    }
}

#[test]
fn cookies_deletions_expiry_and_emptiness_are_different_answers() {
    let mut writer = writer(Version::V3);
    writer.put(&plain(1, b"data")).unwrap();
    writer.put(&plain(2, b"")).unwrap();
    writer.put(&plain(3, b"gone")).unwrap();
    writer.delete(NeedleId(3), Cookie(0xc00c_1e00), 1).unwrap();
    let mortal = NewNeedle { compressed: false, ..full(5) };
    writer.put(&mortal).unwrap();
    let (_dir, _path, mut files) = opened(&writer);

    let wrong = |id| Ask { cookie: Some(Cookie(0xbad)), ..ask(id) };
    assert!(matches!(read(&mut files, &wrong(1)).0, Outcome::WrongCookie));
    assert!(
        matches!(read(&mut files, &wrong(2)).0, Outcome::WrongCookie),
        "an empty needle has a cookie, too"
    );
    assert!(matches!(read(&mut files, &Ask { cookie: None, ..ask(1) }).0, Outcome::Found(_)));
    assert!(matches!(read(&mut files, &ask(2)).0, Outcome::Empty(_)));
    assert!(matches!(read(&mut files, &ask(3)).0, Outcome::Deleted));
    assert!(matches!(read(&mut files, &ask(4)).0, Outcome::Missing));

    let end = mortal.append_at_ns + 120_000_000_000;
    let at = |now_unix_ns| Ask { now_unix_ns, cookie: Some(Cookie(7)), ..ask(5) };
    let (outcome, out) = read(&mut files, &at(end - 1));
    let located = outcome.found().unwrap().located;
    assert_eq!(out, mortal.data);
    assert_eq!((located.name.as_deref(), located.mime.as_deref()), (mortal.name, mortal.mime));
    assert_eq!((located.pairs.as_deref(), located.last_modified_s), (mortal.pairs, mortal.last_modified_s));
    assert!(located.flags.is_chunk_manifest());
    let (outcome, out) = read(&mut files, &at(end));
    assert!(matches!(outcome, Outcome::Expired { at_unix_ns } if at_unix_ns == end), "{outcome:?}");
    assert!(out.is_empty());
}

#[test]
fn a_rotted_byte_anywhere_in_the_data_is_never_served_whatever_is_asked_for() {
    for version in VERSIONS {
        let data: Vec<u8> = (0..600_000_u32).map(|at| (at * 7) as u8).collect();
        let mut writer = writer(version);
        let entry = writer.put(&plain(1, &data)).unwrap();
        writer.put(&plain(2, b"healthy")).unwrap();
        for at in [0, 1, 300_000, 599_999] {
            let (_dir, path, mut files) = opened(&writer);
            rot(&path, &entry, version.data_offset_bytes() + at);
            for ask in [ask(1), ranged(1, 0..1), ranged(1, 1000..2000), ranged(1, 599_000..600_000)] {
                let (outcome, out) = read(&mut files, &ask);
                let Outcome::Damaged(Damage::Record(NeedleError::Checksum { id, offset_bytes, .. })) =
                    outcome
                else {
                    panic!("{version} {at}: {outcome:?}");
                };
                assert_eq!((id, offset_bytes), (entry.id, entry.offset_bytes));
                assert!(out.is_empty());
            }
            assert_eq!(read(&mut files, &ask(2)).1, b"healthy");
        }
    }
}

#[test]
fn what_was_verified_whole_is_remembered_until_the_file_is_replaced() {
    let mut writer = writer(Version::V3);
    let data = vec![7; 100_000];
    writer.put(&plain(1, &data)).unwrap();
    writer.put(&plain(2, b"two")).unwrap();
    let (dir, path, mut files) = opened(&writer);
    let located = files.locate(&ask(1)).unwrap().found().unwrap();
    assert!(!located.is_verified());
    assert_eq!(read(&mut files, &ranged(1, 5..9)).1, [7; 4]);
    assert!(
        files.locate(&ask(1)).unwrap().found().unwrap().is_verified(),
        "one read of a part verified it all"
    );
    assert!(!files.locate(&ask(2)).unwrap().found().unwrap().is_verified());

    // A word on the old file is worth nothing for the new one.
    let mut verifier = located.verifier();
    verifier.update(&data);
    let old_word = verifier.finish().unwrap();
    writer.vacuumed().write_to(dir.path(), "8").unwrap();
    fs::rename(dir.path().join("8.dat"), &path).unwrap();
    fs::rename(dir.path().join("8.idx"), path.with_extension("idx")).unwrap();
    assert!(!files.locate(&ask(1)).unwrap().found().unwrap().is_verified());
    files.remember(old_word);
    assert!(!files.locate(&ask(1)).unwrap().found().unwrap().is_verified());
    let located = files.locate(&ask(1)).unwrap().found().unwrap();
    assert!(matches!(files.verify(&located).unwrap(), Outcome::Found(())));
    assert!(files.locate(&ask(1)).unwrap().found().unwrap().is_verified());
}

/// Not what a server does, but a copy over the file may.
#[test]
fn a_record_written_over_a_verified_one_is_verified_again() {
    let mut before = writer(Version::V3);
    let entry = before.put(&plain(1, b"before")).unwrap();
    before.put(&plain(2, b"two")).unwrap();
    let mut after = writer(Version::V3);
    after.put(&plain(1, b"after!")).unwrap();
    let (_dir, path, mut files) = opened(&before);
    assert_eq!(read(&mut files, &ranged(1, 0..3)).1, b"bef");
    let dat = Open::new().write(true).open(&path).unwrap();
    dat.write_all_at(&after.dat()[8..], 8).unwrap();
    assert!(!files.locate(&ask(1)).unwrap().found().unwrap().is_verified());
    rot(&path, &entry, 20);
    assert!(matches!(read(&mut files, &ranged(1, 1..3)).0, Outcome::Damaged(_)));
    rot(&path, &entry, 20);
    assert_eq!(read(&mut files, &ranged(1, 1..4)).1, b"fte");
}

#[test]
fn data_read_elsewhere_is_verified_as_it_comes() {
    for version in VERSIONS {
        let data: Vec<u8> = (0..70_000_u32).map(|at| (at >> 3) as u8).collect();
        let mut writer = writer(version);
        writer.put(&NewNeedle { name: Some(b"a name"), ..plain(1, &data) }).unwrap();
        let (_dir, _path, mut files) = opened(&writer);
        let located = files.locate(&ask(1)).unwrap().found().unwrap();
        let [extent] = &located.extents(0..u64::MAX).unwrap()[..] else { panic!("one file, one extent") };
        assert_eq!((extent.len_bytes, extent.file_offset_bytes), (70_000, located.data_offset_bytes));
        let mut memory = vec![0; extent.len_bytes as usize];
        extent.file.read_exact_at(&mut memory, extent.file_offset_bytes).unwrap();
        assert_eq!(memory, data);
        let verify = |memory: &[u8]| {
            let mut verifier = located.verifier();
            memory.chunks(4096).for_each(|block| verifier.update(block));
            verifier.finish()
        };
        let word = verify(&memory).unwrap();
        files.remember(word);
        assert!(files.locate(&ask(1)).unwrap().found().unwrap().is_verified());
        // Less than all of it, or anything else, is no proof.
        assert!(matches!(verify(&memory[1..]), Err(NeedleError::CutOff { .. })));
        memory[69_999] ^= 1;
        assert!(matches!(verify(&memory), Err(NeedleError::Checksum { .. })));
        let open_for_writing = extent.file.write_all_at(b"x", 0).unwrap_err();
        assert_ne!(open_for_writing.kind(), io::ErrorKind::NotFound);
    }
}

#[test]
fn ranges_of_a_compressed_needle_are_of_its_content() {
    let text: Vec<u8> = (0..50_000).flat_map(|line| format!("line {line}\n").into_bytes()).collect();
    let stored = gzip(&text);
    let mut writer = writer(Version::V3);
    writer.put(&NewNeedle { compressed: true, ..plain(1, &stored) }).unwrap();
    writer.put(&NewNeedle { compressed: true, ..plain(2, b"flagged, but no gzip") }).unwrap();
    writer.put(&NewNeedle { compressed: true, ..plain(3, b"\x1f") }).unwrap();
    writer.put(&plain(4, &stored)).unwrap();
    let (_dir, _path, mut files) = opened(&writer);
    let whole = text.len() as u64;
    for _ in 0..2 {
        for range in [0..10, 70_000..70_010, 0..whole, whole - 5..whole + 100] {
            let (outcome, out) = read(&mut files, &ranged(1, range.clone()));
            let content = outcome.found().unwrap();
            assert_eq!(out, &text[range.start as usize..range.end.min(whole) as usize]);
            assert!(content.is_inflated && content.whole_len_bytes == whole);
        }
        let (outcome, _) = read(&mut files, &ranged(1, whole..whole + 1));
        assert!(matches!(outcome, Outcome::NotInRange { whole_len_bytes } if whole_len_bytes == whole));
    }
    // As upstream, what is no gzip is served as it stands; and without the flag gzip is only bytes.
    assert_eq!(read(&mut files, &ranged(2, 9..12)).1, b"but");
    assert_eq!(read(&mut files, &ask(3)).1, b"\x1f");
    let (outcome, out) = read(&mut files, &ask(4));
    assert!(out == stored && !outcome.found().unwrap().is_inflated);
}

#[test]
fn a_gzip_bomb_ends_at_the_limit_and_leaves_no_memory_behind() {
    let bomb = gzip(&vec![0; 40 << 20]);
    let mut writer = writer(Version::V3);
    writer.put(&NewNeedle { compressed: true, ..plain(1, &bomb) }).unwrap();
    let (_dir, _path, mut files) = opened(&writer);
    let limited = |inflated_len_max, range| Ask { inflated_len_max, range, ..ask(1) };
    for range in [None, Some(0..10), Some(0..u64::MAX)] {
        let mut out = Vec::new();
        let outcome = files.read_into(&limited(1 << 20, range), &mut out).unwrap();
        assert!(matches!(outcome, Outcome::TooLong { inflated_len_max: 1_048_576 }), "{outcome:?}");
        assert!(out.is_empty() && out.capacity() <= 2 << 20);
    }
    assert_eq!(read(&mut files, &limited(40 << 20, None)).1.len(), 40 << 20, "the twin: allowed, it is read");
    let mut out = Vec::new();
    files.read_into(&limited(40 << 20, Some(5..10)), &mut out).unwrap();
    assert!(out == [0; 5] && out.capacity() < 1 << 20, "a part takes no more than itself");
}

#[test]
fn a_compressed_needle_that_rotted_is_told_from_one_that_never_was_gzip() {
    let stored = gzip(&vec![5; 200_000]);
    let cut = &stored[..stored.len() - 9];
    let behind = [&stored[..], b"bytes behind the gzip"].concat();
    let mut writer = writer(Version::V3);
    let entry = writer.put(&NewNeedle { compressed: true, ..plain(1, &stored) }).unwrap();
    writer.put(&NewNeedle { compressed: true, ..plain(2, cut) }).unwrap();
    let long = writer.put(&NewNeedle { compressed: true, ..plain(3, &behind) }).unwrap();
    let (_dir, path, mut files) = opened(&writer);
    let gzip_damage = |outcome: &Outcome<_>| matches!(outcome, Outcome::Damaged(Damage::Gzip { .. }));
    assert!(matches!(read(&mut files, &ask(1)).0, Outcome::Found(_)));
    let (outcome, out) = read(&mut files, &ask(2));
    assert!(gzip_damage(&outcome) && out.is_empty(), "{outcome:?}");
    assert!(gzip_damage(&read(&mut files, &ask(3)).0));
    for at in 20..20 + stored.len() as u64 {
        rot(&path, &entry, at);
        let mut fresh = VolumeFiles::open(&path).unwrap();
        let (outcome, out) = read(&mut fresh, &ranged(1, 0..10));
        let Outcome::Damaged(Damage::Record(NeedleError::Checksum { .. })) = outcome else {
            panic!("{at}: {outcome:?}");
        };
        assert!(out.is_empty());
        rot(&path, &entry, at);
    }
    rot(&path, &long, 20 + behind.len() as u64 - 1);
    let outcome = read(&mut VolumeFiles::open(&path).unwrap(), &ask(3)).0;
    assert!(matches!(outcome, Outcome::Damaged(Damage::Record(_))), "also behind the gzip: {outcome:?}");
}

#[test]
fn damage_to_the_metadata_is_damage() {
    let mut writer = writer(Version::V3);
    let new = NewNeedle { name: Some(b"a name"), ..plain(1, &[1; 9000]) };
    let entry = writer.put(&new).unwrap();
    writer.put(&plain(2, b"two")).unwrap();
    for at in [20 + 9000 + 1, 16] {
        let (_dir, path, mut files) = opened(&writer);
        rot(&path, &entry, at);
        let (outcome, _) = read(&mut files, &ask(1));
        let Outcome::Damaged(Damage::Record(fault)) = outcome else { panic!("{at}: {outcome:?}") };
        assert!(matches!(fault, NeedleError::Body { .. }), "{fault:?}");
    }
}

#[test]
fn a_chunk_manifest_is_parsed_with_limits() {
    let json = br#"{"name":"a","mime":"b/c","size":30,"chunks":[{"fid":"4,02ff","offset":10,"size":20},{"fid":"3,01ff","size":10}]}"#;
    let mut writer = writer(Version::V3);
    let stored = gzip(json);
    writer.put(&NewNeedle { chunk_manifest: true, compressed: true, ..plain(1, &stored) }).unwrap();
    let (_dir, _path, mut files) = opened(&writer);
    let (outcome, out) = read(&mut files, &ask(1));
    assert!(outcome.found().unwrap().located.flags.is_chunk_manifest());
    let manifest = ChunkManifest::parse(&out).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.mime.as_str(), manifest.len_bytes), ("a", "b/c", 30));
    let chunks: Vec<_> =
        manifest.chunks.iter().map(|c| (c.file_id.as_str(), c.offset_bytes, c.len_bytes)).collect();
    assert_eq!(chunks, [("3,01ff", 0, 10), ("4,02ff", 10, 20)], "in order");
    for cut in 0..json.len() {
        ChunkManifest::parse(&json[..cut]).unwrap_err();
    }
    for (bad, what) in [
        (r#"{"size":-1}"#, "size is no number"),
        (r#"{"size":1,"chunks":7}"#, "chunks is no list"),
        (r#"{"size":1,"chunks":[{"fid":7}]}"#, "chunk 0 of the manifest: fid is no text"),
        (r#"{"size":1,"chunks":[{"fid":""}]}"#, "fid is empty"),
        (r#"{"size":1,"chunks":[{"fid":"3,1","offset":-1}]}"#, "offset is no number"),
        (r#"{"size":1,"chunks":[{"fid":"3,1","size":18446744073709551615}]}"#, "size is no number"),
    ] {
        let error = ChunkManifest::parse(bad.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(what), "{bad}: {error}");
    }
    let many = format!(r#"{{"size":1,"chunks":[{}0]}}"#, "0,".repeat(ChunkManifest::CHUNKS_MAX));
    assert!(matches!(ChunkManifest::parse(many.as_bytes()), Err(ManifestError::TooMany { .. })));
    let long = vec![b' '; ChunkManifest::LEN_BYTES_MAX + 1];
    assert!(matches!(ChunkManifest::parse(&long), Err(ManifestError::TooLong { .. })));
    assert!(ChunkManifest::parse("[".repeat(100_000).as_bytes()).is_err(), "depth is bounded");
    let _ = Flags::default();
}
