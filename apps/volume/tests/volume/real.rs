//! Volumes written by real servers. Looked for in `WAVETANK_SHARED_DATA`, else in `../shared/data` beside the
//! workspace; without them these tests say so and pass.

use std::path::{Path, PathBuf};

use wavetank_volume::{
    Ask, ChecksumForm, CodedPaths, Freshness, NeedleId, NewNeedle, OpenOptions, Padding, ReadError, Records,
    ShardLayout, Version, VolumeFiles, VolumeWriter, WidthEvidence, WriterOptions, encode_shards,
    sorted_index,
};

/// The path of a real `.dat`, or `None` after saying that it is not there.
#[allow(clippy::print_stderr)]
fn real_dat(test: &str, name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let dir = std::env::var_os("WAVETANK_SHARED_DATA").map_or(beside, PathBuf::from);
    let path = dir.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED {test}: no {} (set WAVETANK_SHARED_DATA to the directory that has it)",
        path.display()
    );
    None
}

#[test]
fn all_298_needles_of_an_old_volume_are_good_and_masked() {
    let Some(path) = real_dat("all_298_needles_of_an_old_volume_are_good_and_masked", "1.dat") else {
        return;
    };
    let files = VolumeFiles::open(&path).unwrap();
    let mut buffer = Vec::new();
    let (mut good, mut compressed) = (0, 0);
    for entry in files.volume().entries() {
        let needle = files.read(entry.id, &mut buffer).unwrap();
        assert_eq!(needle.checksum.form, Some(ChecksumForm::Masked), "needle {}", needle.id);
        compressed += usize::from(needle.flags.is_compressed());
        good += 1;
    }
    assert_eq!((good, compressed), (298, 293));
    assert_eq!(files.volume().superblock().version, Version::V3);
    assert_eq!(files.volume().index().counts().trailing_len_bytes, 0);
    assert_eq!(files.freshness().unwrap(), Freshness::Current);
}

#[test]
fn a_healthy_volume_has_17_good_records_and_10_deletions() {
    let Some(path) = real_dat("a_healthy_volume_has_17_good_records_and_10_deletions", "healthy_volume.dat")
    else {
        return;
    };
    let files = VolumeFiles::open(&path).unwrap();
    let dat = std::fs::read(&path).unwrap();
    let (mut raw, mut deletions) = (0, Vec::new());
    for record in Records::new(&dat, files.volume().superblock()) {
        let needle = record.unwrap().needle().unwrap();
        match needle.checksum.form {
            Some(form) => {
                assert_eq!(form, ChecksumForm::Raw, "needle {}", needle.id);
                raw += 1;
            }
            None => deletions.push(needle.id),
        }
    }
    assert_eq!((raw, deletions.len()), (17, 10));

    let counts = files.volume().index().counts();
    assert_eq!((counts.entries, counts.tombstones), (27, 10));
    assert_eq!(files.volume().entries().len(), 7);
    for id in deletions {
        assert_eq!(files.volume().entry(id), Err(ReadError::Deleted { id }));
    }
    let id = NeedleId(u64::MAX);
    assert_eq!(files.volume().entry(id), Err(ReadError::Missing { id }));
}

/// Every needle as a reader gets it, decompressed and all.
#[test]
fn real_volumes_are_read_whole_in_parts_and_from_shards() {
    for (name, expected) in [("1.dat", 298), ("healthy_volume.dat", 7)] {
        let Some(path) = real_dat("real_volumes_are_read_whole_in_parts_and_from_shards", name) else {
            return;
        };
        let mut files = VolumeFiles::open(&path).unwrap();
        assert_eq!(files.width_evidence(), WidthEvidence::Records);
        let width = files.volume().index().offset_width();
        let layout = ShardLayout::default();
        let dir = tempfile::tempdir().unwrap();
        let dat = std::fs::read(&path).unwrap();
        for (number, shard) in encode_shards(&dat, &layout).unwrap().iter().enumerate() {
            // As many as may be missing.
            if ![0, 1, 2, 12].contains(&number) {
                std::fs::write(dir.path().join(format!("1.ec{number:02}")), shard).unwrap();
            }
        }
        let idx = std::fs::read(files.idx_path()).unwrap();
        std::fs::write(dir.path().join("1.ecx"), sorted_index(&idx, width)).unwrap();
        let paths = CodedPaths { name: "1".to_owned(), dirs: vec![dir.path().to_path_buf()] };
        let mut coded = VolumeFiles::open_coded(&paths, &OpenOptions::default()).unwrap();

        let ids: Vec<NeedleId> = files.volume().entries().map(|entry| entry.id).collect();
        let mut read = 0;
        for id in ids {
            let ask = Ask { id, cookie: None, range: None, now_unix_ns: 0, inflated_len_max: 64 << 20 };
            let (mut whole, mut part, mut rebuilt) = (Vec::new(), Vec::new(), Vec::new());
            let content = files.read_into(&ask, &mut whole).unwrap().found().unwrap();
            assert_eq!(content.is_inflated, content.located.flags.is_compressed(), "{id}");
            assert!(coded.read_into(&ask, &mut rebuilt).unwrap().found().is_some());
            assert!(rebuilt == whole, "{id}");
            let middle = whole.len() as u64 / 2;
            let ranged = Ask { range: Some(middle..middle + 100), ..ask };
            assert!(files.read_into(&ranged, &mut part).unwrap().found().is_some());
            assert!(whole[middle as usize..].starts_with(&part), "{id}");
            read += 1;
        }
        assert_eq!(read, expected, "{name}");
    }
}

#[test]
fn the_writer_writes_an_old_volume_byte_for_byte() {
    let Some(path) = real_dat("the_writer_writes_an_old_volume_byte_for_byte", "1.dat") else {
        return;
    };
    let files = VolumeFiles::open(&path).unwrap();
    let dat = std::fs::read(&path).unwrap();
    let mut writer = VolumeWriter::new(WriterOptions {
        checksum_form: ChecksumForm::Masked,
        padding: Padding::Scratch,
        ..WriterOptions::default()
    });
    for record in Records::new(&dat, files.volume().superblock()) {
        let needle = record.unwrap().needle().unwrap();
        writer.put(&NewNeedle::from(&needle)).unwrap();
    }
    let differs = writer.dat().iter().zip(&dat).position(|(ours, theirs)| ours != theirs);
    assert_eq!((differs, writer.dat().len()), (None, dat.len()));
    assert!(writer.idx() == std::fs::read(files.idx_path()).unwrap(), "the .idx differs");
}
