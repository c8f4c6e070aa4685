//! Volumes on a file system: finding, opening, reading, and noticing that they changed.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use wavetank_volume::{
    FilesError, Freshness, IndexEntry, IndexError, NeedleError, NeedleId, OffsetWidth, OpenOptions,
    ReadError, SuperBlockError, Version, VolumeFiles, VolumeWriter, WriterOptions,
};

use crate::sample::{plain, writer};

fn on_disk(writer: &VolumeWriter) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = writer.write_to(dir.path(), "photos_1_17").unwrap();
    (dir, path)
}

fn two_needles() -> VolumeWriter {
    let mut writer = writer(Version::V3);
    writer.put(&plain(1, b"first")).unwrap();
    writer.put(&plain(2, &[9; 5000])).unwrap();
    writer
}

#[test]
fn an_opened_volume_reads_its_needles_into_one_buffer() {
    let (_dir, path) = on_disk(&two_needles());
    let files = VolumeFiles::open(&path).unwrap();
    let mut buffer = Vec::new();
    for _ in 0..2 {
        assert_eq!(files.read(NeedleId(2), &mut buffer).unwrap().data, [9; 5000]);
        assert_eq!(files.read(NeedleId(1), &mut buffer).unwrap().data, b"first");
    }
    assert_eq!(files.dat_path(), path);
    assert_eq!(files.idx_path(), path.with_extension("idx"));
}

#[test]
fn an_index_elsewhere_and_of_another_width_is_read_when_named() {
    let options = WriterOptions { offset_width: OffsetWidth::Five, ..WriterOptions::default() };
    let mut writer = VolumeWriter::new(options);
    writer.put(&plain(1, b"data")).unwrap();
    let (dir, path) = on_disk(&writer);
    let moved = dir.path().join("elsewhere");
    fs::rename(path.with_extension("idx"), &moved).unwrap();
    let options = OpenOptions {
        offset_width: Some(OffsetWidth::Five),
        idx_path: Some(moved),
        ..OpenOptions::default()
    };
    let files = VolumeFiles::open_with(&path, &options).unwrap();
    assert_eq!(files.read(NeedleId(1), &mut Vec::new()).unwrap().data, b"data");
}

#[test]
fn a_superblock_longer_than_one_read_is_read() {
    let options = WriterOptions { extra: vec![7; 60_001], ..WriterOptions::default() };
    let mut writer = VolumeWriter::new(options);
    writer.put(&plain(1, b"data")).unwrap();
    let (_dir, path) = on_disk(&writer);
    let files = VolumeFiles::open(&path).unwrap();
    assert_eq!(files.volume().superblock().extra_len_bytes, 60_001);
    assert_eq!(files.read(NeedleId(1), &mut Vec::new()).unwrap().data, b"data");
}

#[test]
fn a_missing_file_is_named() {
    let (_dir, path) = on_disk(&two_needles());
    let idx_path = path.with_extension("idx");
    fs::remove_file(&idx_path).unwrap();
    let text = VolumeFiles::open(&path).unwrap_err().to_string();
    assert!(text.starts_with(&idx_path.display().to_string()), "{text}");
    let text = VolumeFiles::open("no such.dat").unwrap_err().to_string();
    assert!(text.starts_with("no such.dat: "), "{text}");
}

#[test]
fn a_directory_is_not_a_volume() {
    let dir = tempfile::tempdir().unwrap();
    let error = VolumeFiles::open(dir.path()).unwrap_err();
    assert!(matches!(error, FilesError::NotAFile { .. }), "{error:?}");
}

#[test]
fn a_volume_whose_copy_never_finished_is_refused() {
    let (_dir, path) = on_disk(&two_needles());
    fs::write(path.with_extension("note"), "").unwrap();
    let error = VolumeFiles::open(&path).unwrap_err();
    assert!(matches!(error, FilesError::UnfinishedCopy { .. }), "{error:?}");
}

#[test]
fn an_empty_or_cut_superblock_is_refused_with_its_file() {
    let (_dir, path) = on_disk(&two_needles());
    let cases: [(&[u8], u64); 3] = [(b"", 8), (&[3, 0, 0, 0], 8), (&[3, 0, 0, 0, 0, 0, 1, 0, 9], 264)];
    for (dat, need) in cases {
        fs::write(&path, dat).unwrap();
        let error = VolumeFiles::open(&path).unwrap_err();
        let expected = SuperBlockError::TooShort { need_bytes: need, have_bytes: dat.len() };
        assert!(matches!(&error, FilesError::SuperBlock { fault, .. } if *fault == expected), "{error:?}");
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    }
}

#[test]
fn an_index_past_the_dat_names_both_files_and_the_entry() {
    let mut writer = two_needles();
    let dat_len = writer.dat().len();
    writer.put(&plain(3, b"third")).unwrap();
    let (_dir, path) = on_disk(&writer);
    // Were only the end missing, it would be an append on its way.
    let idx = [&writer.idx()[..16], &writer.idx()[32..], &writer.idx()[16..32]].concat();
    fs::write(path.with_extension("idx"), idx).unwrap();
    fs::write(&path, &writer.dat()[..dat_len]).unwrap();
    let error = VolumeFiles::open(&path).unwrap_err();
    let FilesError::Index { fault: IndexError::PastEnd { id: NeedleId(3), .. }, .. } = &error else {
        panic!("{error:?}");
    };
    let text = error.to_string();
    for named in [path.display(), path.with_extension("idx").display()] {
        assert!(text.contains(&named.to_string()), "{named} in {text}");
    }
    for part in ["needle 0x3", "copy both again"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn an_error_about_a_needle_names_its_file() {
    let writer = two_needles();
    let (_dir, path) = on_disk(&writer);
    let mut dat = writer.dat().to_vec();
    dat[8 + 20] ^= 1;
    fs::write(&path, &dat).unwrap();
    let files = VolumeFiles::open(&path).unwrap();
    let mut buffer = Vec::new();
    let error = files.read(NeedleId(1), &mut buffer).unwrap_err();
    let FilesError::Read { fault: ReadError::Needle(NeedleError::Checksum { .. }), .. } = &error else {
        panic!("{error:?}");
    };
    assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    let error = files.read(NeedleId(3), &mut buffer).unwrap_err();
    assert!(matches!(error, FilesError::Read { fault: ReadError::Missing { .. }, .. }), "{error:?}");
}

#[test]
fn an_entry_of_another_volume_allocates_nothing() {
    let (_dir, path) = on_disk(&two_needles());
    let files = VolumeFiles::open(&path).unwrap();
    let mut buffer = Vec::new();
    for offset_bytes in [8, 1 << 40, u64::MAX] {
        let entry = IndexEntry { id: NeedleId(1), offset_bytes, size_bytes: u32::MAX };
        let error = files.read_record(&entry, &mut buffer).unwrap_err();
        let FilesError::Read { fault: ReadError::Needle(NeedleError::CutOff { .. }), .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(buffer.capacity(), 0);
    }
}

#[test]
fn an_untouched_volume_is_current_and_an_appended_one_grown() {
    let mut writer = two_needles();
    let (dir, path) = on_disk(&writer);
    let files = VolumeFiles::open(&path).unwrap();
    assert_eq!(files.freshness().unwrap(), Freshness::Current);
    writer.put(&plain(3, b"third")).unwrap();
    writer.write_to(dir.path(), "photos_1_17").unwrap();
    assert_eq!(files.freshness().unwrap(), Freshness::Grown);
    assert_eq!(files.read(NeedleId(1), &mut Vec::new()).unwrap().data, b"first");
}

#[test]
fn a_vacuumed_volume_is_replaced_and_the_old_one_still_reads() {
    let (dir, path) = on_disk(&two_needles());
    let files = VolumeFiles::open(&path).unwrap();
    let options = WriterOptions { compaction_revision: 1, ..WriterOptions::default() };
    let mut vacuumed = VolumeWriter::new(options);
    // Not shorter than the old one: only that it is another file gives it away.
    vacuumed.put(&plain(2, &[9; 9000])).unwrap();
    let new = vacuumed.write_to(dir.path(), "new").unwrap();
    fs::rename(new, &path).unwrap();
    assert_eq!(files.freshness().unwrap(), Freshness::Replaced);
    assert_eq!(files.read(NeedleId(1), &mut Vec::new()).unwrap().data, b"first");
}

#[test]
fn a_dat_rewritten_in_place_cut_or_gone_is_replaced() {
    let writer = two_needles();
    let (_dir, path) = on_disk(&writer);
    let files = VolumeFiles::open(&path).unwrap();
    let mut dat = writer.dat().to_vec();
    dat[5] = 1;
    fs::write(&path, &dat).unwrap();
    assert_eq!(files.freshness().unwrap(), Freshness::Replaced, "another compaction revision");
    fs::write(&path, &writer.dat()[..20]).unwrap();
    assert_eq!(files.freshness().unwrap(), Freshness::Replaced, "shorter");
    let error = files.read(NeedleId(1), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, FilesError::Io { .. }), "{error:?}");
    fs::remove_file(&path).unwrap();
    assert_eq!(files.freshness().unwrap(), Freshness::Replaced, "gone");
}

/// The two halves of a vacuum's swap, read in between: the old index over the new data.
#[test]
fn the_middle_of_a_vacuum_swap_is_an_error_and_never_other_data() {
    let old = two_needles();
    let (dir, path) = on_disk(&old);
    let mut vacuumed = writer(Version::V3);
    vacuumed.put(&plain(2, &[9; 5000])).unwrap();
    vacuumed.put(&plain(4, &[4; 5000])).unwrap();
    let new = vacuumed.write_to(dir.path(), "new").unwrap();
    fs::rename(new, &path).unwrap();
    let error = VolumeFiles::open(&path).unwrap_err();
    assert!(matches!(error, FilesError::Width { .. }), "no record says that this is its index: {error:?}");
    let options = OpenOptions { offset_width: Some(OffsetWidth::Four), ..OpenOptions::default() };
    let files = VolumeFiles::open_with(&path, &options).unwrap();
    let error = files.read(NeedleId(1), &mut Vec::new()).unwrap_err();
    let FilesError::Read { fault: ReadError::Needle(NeedleError::IdMismatch { found, .. }), .. } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(found, NeedleId(2));
}
