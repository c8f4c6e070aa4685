//! Erasure-coded volumes: read like the `.dat` they were, from whatever shards are left.

use std::fs;
use std::io::Write;

use tempfile::TempDir;
use wavetank_volume::{
    Ask, CodedPaths, Damage, FilesError, Followed, Generator, NeedleError, NeedleId, OffsetWidth,
    OpenOptions, Outcome, ShardLayout, Version, VolumeFiles, VolumeWriter, WidthEvidence, WriterOptions,
    encode_shards,
};

use crate::sample::{ask, check_generated, plain, writer};

/// Small blocks, so that a small volume has rows of both kinds and needles that cross many blocks.
const LAYOUT: ShardLayout =
    ShardLayout { data_shards: 10, parity_shards: 4, large_block_bytes: 10_000, small_block_bytes: 100 };

struct Coded {
    dir: TempDir,
    paths: CodedPaths,
    options: OpenOptions,
}

impl Coded {
    fn new(writer: &VolumeWriter, layout: ShardLayout) -> Coded {
        let dir = tempfile::tempdir().unwrap();
        writer.write_coded_to(dir.path(), "c_7", &layout).unwrap();
        let paths = CodedPaths { name: "c_7".to_owned(), dirs: vec![dir.path().to_path_buf()] };
        Coded { dir, paths, options: OpenOptions { layout, ..OpenOptions::default() } }
    }

    fn open(&self) -> Result<VolumeFiles, FilesError> {
        VolumeFiles::open_coded(&self.paths, &self.options)
    }

    fn file(&self, extension: &str) -> std::path::PathBuf {
        self.dir.path().join(format!("c_7.{extension}"))
    }

    fn remove(&self, shards: &[usize]) {
        shards.iter().for_each(|shard| fs::remove_file(self.file(&format!("ec{shard:02}"))).unwrap());
    }
}

const GENERATOR: Generator = Generator { seed: 77, needles: 150, len_max: 9000 };

#[test]
fn every_needle_is_read_from_shards_of_any_version_and_width() {
    for version in [Version::V2, Version::V3] {
        for offset_width in [OffsetWidth::Four, OffsetWidth::Five] {
            let options = WriterOptions { version, offset_width, ..WriterOptions::default() };
            let writer = GENERATOR.write(options).unwrap();
            assert!(writer.dat().len() > 200_000, "two rows of large blocks, and some of small ones");
            let coded = Coded::new(&writer, LAYOUT);
            // An .ecx holds no word of what was deleted before.
            let mut files = coded.open().unwrap();
            check_live(&mut files);
        }
    }
}

fn check_live(files: &mut VolumeFiles) {
    for id in GENERATOR.ids() {
        let Some(content) = GENERATOR.content(id) else { continue };
        let mut out = Vec::new();
        let outcome = files.read_into(&Ask::whole(id, GENERATOR.cookie(id), 0), &mut out).unwrap();
        assert!(matches!(outcome, Outcome::Found(_) | Outcome::Empty(_)), "{id} {outcome:?}");
        assert!(out == content, "{id}");
    }
}

#[test]
fn any_four_shards_may_be_missing_and_a_fifth_is_a_clear_error() {
    let writer = GENERATOR.write(WriterOptions::default()).unwrap();
    for lost in [[0, 1, 2, 3], [10, 11, 12, 13], [0, 4, 9, 12], [3, 8, 10, 13], [6, 7, 8, 9]] {
        let coded = Coded::new(&writer, LAYOUT);
        coded.remove(&lost);
        let mut files = coded.open().unwrap();
        assert_eq!(files.shards().unwrap().len(), 10);
        check_live(&mut files);
        // From what was verified before, too.
        check_live(&mut files);

        let fifth = (0..14).find(|shard| !lost.contains(shard)).unwrap();
        coded.remove(&[fifth]);
        let mut files = coded.open().unwrap();
        let mut failed = 0;
        for id in GENERATOR.ids() {
            let mut out = Vec::new();
            match files.read_into(&Ask::whole(id, GENERATOR.cookie(id), 0), &mut out) {
                // What lies in the shards that are here is read.
                Ok(Outcome::Found(_)) => assert!(Some(out) == GENERATOR.content(id)),
                Ok(outcome) => {
                    assert!(!matches!(outcome, Outcome::Damaged(_) | Outcome::Stale(_)), "{outcome:?}")
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains("9 shards are here") && text.contains("10 are needed"), "{text}");
                    assert!(matches!(error, FilesError::Shards { .. }), "{error:?}");
                    failed += 1;
                }
            }
        }
        assert!(failed > 0 || lost[0] >= 10, "{lost:?}");
        // The shard comes back, as from another server.
        let shards = encode_shards(writer.dat(), &LAYOUT).unwrap();
        fs::write(coded.file(&format!("ec{fifth:02}")), &shards[fifth]).unwrap();
        assert_eq!(files.follow_closely().unwrap(), Followed::Reopened);
        check_live(&mut files);
    }
}

#[test]
fn every_pair_of_shards_of_a_small_code_may_be_missing() {
    let layout = ShardLayout { data_shards: 4, parity_shards: 2, ..LAYOUT };
    let generator = Generator { seed: 1, needles: 40, len_max: 2000 };
    let writer = generator.write(WriterOptions::default()).unwrap();
    let coded = Coded::new(&writer, layout);
    let shards = encode_shards(writer.dat(), &layout).unwrap();
    // The .vif says 4 and 2, whatever is asked for otherwise.
    let coded = Coded { options: OpenOptions { layout: LAYOUT, ..coded.options.clone() }, ..coded };
    for (one, other) in (0..6).flat_map(|one| (one + 1..6).map(move |other| (one, other))) {
        coded.remove(&[one, other]);
        let mut files = coded.open().unwrap();
        for id in generator.ids() {
            let Some(content) = generator.content(id) else { continue };
            let mut out = Vec::new();
            files.read_into(&Ask::whole(id, generator.cookie(id), 0), &mut out).unwrap();
            assert!(out == content, "{one} {other} {id}");
        }
        for shard in [one, other] {
            fs::write(coded.file(&format!("ec{shard:02}")), &shards[shard]).unwrap();
        }
    }
}

#[test]
fn upstream_s_block_sizes_hold_a_volume_of_less_than_one_row() {
    let writer = GENERATOR.write(WriterOptions::default()).unwrap();
    let coded = Coded::new(&writer, ShardLayout::default());
    assert_eq!(fs::metadata(coded.file("ec00")).unwrap().len(), 1 << 20);
    coded.remove(&[0, 2, 5, 13]);
    fs::remove_file(coded.file("vif")).unwrap();
    let mut files = coded.open().unwrap();
    assert_eq!(files.width_evidence(), WidthEvidence::Records, "found in records that were rebuilt");
    check_live(&mut files);
}

#[test]
fn a_journal_deletes_and_is_followed_as_it_grows_and_when_it_is_worked_in() {
    let mut volume = writer(Version::V3);
    for id in 1..=9 {
        volume.put(&plain(id, format!("needle {id}").as_bytes())).unwrap();
    }
    let coded = Coded::new(&volume, LAYOUT);
    let mut files = coded.open().unwrap();
    let is_deleted = |files: &mut VolumeFiles, id| match files.read_into(&ask(id), &mut Vec::new()).unwrap() {
        Outcome::Deleted => true,
        Outcome::Found(_) => false,
        other => panic!("{other:?}"),
    };
    let journal = |bytes: &[u8]| {
        let file = fs::OpenOptions::new().append(true).create(true).open(coded.file("ecj"));
        file.unwrap().write_all(bytes).unwrap();
    };
    assert!(!is_deleted(&mut files, 3));
    journal(&3_u64.to_be_bytes());
    assert!(is_deleted(&mut files, 3) && !is_deleted(&mut files, 4));
    // Half an id, and one that was never there.
    journal(&4_u64.to_be_bytes()[..7]);
    assert!(!is_deleted(&mut files, 4));
    journal(&4_u64.to_be_bytes()[7..]);
    journal(&77_u64.to_be_bytes());
    assert!(is_deleted(&mut files, 4));
    assert!(matches!(files.read_into(&ask(77), &mut Vec::new()).unwrap(), Outcome::Missing));
    assert!(is_deleted(&mut coded.open().unwrap(), 4), "by who opens it now, too");

    // As a server does when it starts: the deletion is marked in the index, the journal removed.
    let mut ecx = fs::read(coded.file("ecx")).unwrap();
    for id in [3, 4] {
        ecx[(id - 1) * 16 + 12..][..4].copy_from_slice(&[0xff; 4]);
    }
    fs::write(coded.file("ecx"), ecx).unwrap();
    fs::remove_file(coded.file("ecj")).unwrap();
    assert!(is_deleted(&mut files, 3) && is_deleted(&mut files, 4) && !is_deleted(&mut files, 5));
}

#[test]
fn a_rotted_shard_is_found_by_the_needle_s_checksum_and_the_others_tell() {
    let mut volume = writer(Version::V3);
    let entry = volume.put(&plain(1, &[5; 3000])).unwrap();
    volume.put(&plain(2, b"two")).unwrap();
    let coded = Coded::new(&volume, LAYOUT);
    let rot = |shard: u32| {
        let path = coded.file(&format!("ec{shard:02}"));
        let mut bytes = fs::read(&path).unwrap();
        bytes[50] ^= 1;
        fs::write(&path, bytes).unwrap();
    };
    rot(5);
    let mut files = coded.open().unwrap();
    for range in [0..10, 0..3000, 500..600] {
        let mut out = Vec::new();
        let outcome = files.read_into(&Ask { range: Some(range.clone()), ..ask(1) }, &mut out).unwrap();
        assert_eq!(outcome.found().unwrap().rotted_shard, Some(5));
        assert_eq!(out, vec![5; (range.end - range.start) as usize]);
    }
    assert!(!files.locate(&ask(1)).unwrap().found().unwrap().is_verified(), "not as the shards are");
    let located = files.locate(&ask(1)).unwrap().found().unwrap();
    assert!(matches!(files.verify(&located).unwrap(), Outcome::Damaged(_)));

    // Two are one too many to tell which.
    rot(7);
    let mut out = Vec::new();
    let outcome = coded.open().unwrap().read_into(&ask(1), &mut out).unwrap();
    let Outcome::Damaged(Damage::Record(NeedleError::Checksum { offset_bytes, .. })) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(out.is_empty() && offset_bytes == entry.offset_bytes);
    // Without them both it is rebuilt and good.
    coded.remove(&[5, 7]);
    let outcome = coded.open().unwrap().read_into(&ask(1), &mut out).unwrap();
    assert_eq!(outcome.found().unwrap().rotted_shard, None);
    assert_eq!(out, [5; 3000]);
}

#[test]
fn data_in_shards_that_are_here_can_be_read_elsewhere() {
    use std::os::unix::fs::FileExt;
    let mut volume = writer(Version::V3);
    let data: Vec<u8> = (0..5000_u32).map(|at| (at * 3) as u8).collect();
    volume.put(&plain(1, &data)).unwrap();
    let coded = Coded::new(&volume, LAYOUT);
    let mut files = coded.open().unwrap();
    let located = files.locate(&ask(1)).unwrap().found().unwrap();
    let extents = located.extents(0..5000).unwrap();
    assert!(extents.len() > 40);
    let mut memory = Vec::new();
    for extent in extents {
        let mut part = vec![0; extent.len_bytes as usize];
        extent.file.read_exact_at(&mut part, extent.file_offset_bytes).unwrap();
        memory.extend(part);
    }
    assert_eq!(memory, data);
    coded.remove(&[3]);
    let located = coded.open().unwrap().locate(&ask(1)).unwrap().found().unwrap();
    assert!(located.extents(0..5000).is_none());
    let mut rebuilt = Vec::new();
    located.read_blocks(0..5000, |block| rebuilt.extend_from_slice(block)).unwrap();
    assert_eq!(rebuilt, data);
}

#[test]
fn shards_of_another_length_are_not_taken_and_nothing_at_all_is_named() {
    let volume = GENERATOR.write(WriterOptions::default()).unwrap();
    let coded = Coded::new(&volume, LAYOUT);
    let shard = fs::read(coded.file("ec04")).unwrap();
    fs::write(coded.file("ec04"), &shard[..shard.len() - 1]).unwrap();
    let mut files = coded.open().unwrap();
    assert_eq!(files.shards().unwrap(), [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    check_live(&mut files);
    coded.remove(&(0..14).collect::<Vec<_>>());
    let error = coded.open().unwrap_err();
    assert!(error.is_gone() && error.to_string().contains("c_7.ec00"), "{error}");
    fs::remove_file(coded.file("ecx")).unwrap();
    assert!(coded.open().unwrap_err().to_string().contains("c_7.ecx"));
}

#[test]
fn a_whole_generated_volume_is_the_same_coded_and_not() {
    let generator = Generator { seed: 9, needles: 80, len_max: 4000 };
    let writer = generator.write(WriterOptions::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = writer.write_to(dir.path(), "7").unwrap();
    check_generated(&mut VolumeFiles::open(path).unwrap(), &generator);
    let coded = Coded::new(&writer, LAYOUT);
    // With its deletions in a journal, as if they had come afterwards.
    let deleted = generator.ids().filter(|id| generator.content(*id).is_none());
    let journal: Vec<u8> = deleted.flat_map(|NeedleId(id)| id.to_be_bytes()).collect();
    fs::write(coded.file("ecj"), journal).unwrap();
    let mut files = coded.open().unwrap();
    for id in generator.ids() {
        let outcome = files.read_into(&Ask::whole(id, generator.cookie(id), 0), &mut Vec::new()).unwrap();
        let is_there = matches!(outcome, Outcome::Found(_) | Outcome::Empty(_));
        assert_eq!(is_there, generator.content(id).is_some(), "{id} {outcome:?}");
    }
}
