//! How wide offsets are: told, found out, or not known yet.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use wavetank_volume::{
    Cookie, FilesError, Followed, Generator, NeedleId, OffsetWidth, Version, VolumeFiles, VolumeOnDisk,
    VolumeWriter, WidthEvidence, WriterOptions, sorted_index,
};

use crate::sample::{VERSIONS, check_generated, content, plain};

const WIDTHS: [OffsetWidth; 2] = [OffsetWidth::Four, OffsetWidth::Five];

fn options(version: Version, offset_width: OffsetWidth) -> WriterOptions {
    WriterOptions { version, offset_width, ..WriterOptions::default() }
}

fn on_disk(writer: &VolumeWriter) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = writer.write_to(dir.path(), "7").unwrap();
    (dir, path)
}

fn found(path: &PathBuf) -> (OffsetWidth, WidthEvidence) {
    let files = VolumeFiles::open(path).unwrap();
    (files.volume().index().offset_width(), files.width_evidence())
}

#[test]
fn records_tell_the_width_whatever_the_length_of_the_index() {
    for (version, width) in VERSIONS.into_iter().flat_map(|v| WIDTHS.map(|w| (v, w))) {
        for needles in [3, 16, 17, 50, 300] {
            let generator = Generator { seed: needles, needles, len_max: 300 };
            let (_dir, path) = on_disk(&generator.write(options(version, width)).unwrap());
            assert_eq!(found(&path), (width, WidthEvidence::Records), "{version} {needles}");
            let mut files = VolumeFiles::open(&path).unwrap();
            // Version 1 has no flag that says compressed.
            if version != Version::V1 {
                check_generated(&mut files, &generator);
            }
        }
    }
}

#[test]
fn a_length_that_fits_the_other_width_alone_fools_nobody() {
    // 17 entries of 16 bytes are as long as 16 of 17, and a cut append makes any length.
    for (width, tail) in WIDTHS.into_iter().flat_map(|w| [0, 1, 5, 15].map(|tail| (w, tail))) {
        let mut writer = VolumeWriter::new(options(Version::V3, width));
        for id in 1..=16 {
            writer.put(&plain(id, b"some data")).unwrap();
        }
        let (_dir, path) = on_disk(&writer);
        let idx = [writer.idx(), &[0; 15][..tail]].concat();
        fs::write(path.with_extension("idx"), idx).unwrap();
        assert_eq!(found(&path), (width, WidthEvidence::Records), "{tail}");
    }
}

#[test]
fn empty_needles_and_deletions_alone_tell_it_too() {
    for width in WIDTHS {
        let mut writer = VolumeWriter::new(options(Version::V3, width));
        for id in 1..=4 {
            writer.put(&plain(id, b"")).unwrap();
            writer.delete(NeedleId(id), Cookie(0xc00c_1e00), 1).unwrap();
        }
        let (_dir, path) = on_disk(&writer);
        assert_eq!(found(&path), (width, WidthEvidence::Records));
    }
}

#[test]
fn a_vif_decides_and_so_does_the_caller() {
    let mut writer = VolumeWriter::new(options(Version::V3, OffsetWidth::Five));
    writer.put(&plain(1, b"data")).unwrap();
    let (_dir, path) = on_disk(&writer);
    for vif in [r#"{"version":3,"bytesOffset":5}"#, r#"{"BytesOffset":"5"}"#, r#"{"bytes_offset":5}"#] {
        fs::write(path.with_extension("vif"), vif).unwrap();
        assert_eq!(found(&path), (OffsetWidth::Five, WidthEvidence::Told), "{vif}");
    }
    fs::write(path.with_extension("vif"), r#"{"bytesOffset":0}"#).unwrap();
    assert_eq!(found(&path).0, OffsetWidth::Five, "0 says nothing");
    fs::write(path.with_extension("vif"), r#"{"bytesOffset":6}"#).unwrap();
    let error = VolumeFiles::open(&path).unwrap_err();
    assert!(matches!(error, FilesError::Vif { .. }), "{error:?}");
    assert!(error.to_string().contains("bytesOffset is 6"), "{error}");
}

#[test]
fn what_was_assumed_of_an_empty_volume_is_found_out_when_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let writer = VolumeWriter::new(options(Version::V3, OffsetWidth::Five));
    let mut volume = VolumeOnDisk::create(writer, dir.path(), "7").unwrap();
    let mut files = VolumeFiles::open(volume.dat_path()).unwrap();
    assert_eq!(files.width_evidence(), WidthEvidence::Assumed);
    assert_eq!(files.volume().index().offset_width(), OffsetWidth::Four);
    for id in 1..=5 {
        volume.writer.put(&plain(id, b"data")).unwrap();
        volume.flush().unwrap();
        assert_eq!(content(&mut files, id), b"data", "{id}");
    }
    assert_eq!(files.width_evidence(), WidthEvidence::Records);
    assert_eq!(files.volume().index().offset_width(), OffsetWidth::Five);
    volume.writer.put(&plain(6, b"data")).unwrap();
    volume.flush().unwrap();
    assert_eq!(files.follow().unwrap(), Followed::Grown { entries: 1, held_back: 0 }, "no need to ask again");
}

#[test]
fn one_damaged_header_does_not_hide_the_width() {
    for width in WIDTHS {
        let mut writer = VolumeWriter::new(options(Version::V3, width));
        let entries: Vec<_> = (1..=9).map(|id| writer.put(&plain(id, b"data")).unwrap()).collect();
        let (_dir, path) = on_disk(&writer);
        for entry in &entries {
            let mut dat = writer.dat().to_vec();
            dat[entry.offset_bytes as usize + 11] ^= 0xff;
            fs::write(&path, dat).unwrap();
            assert_eq!(found(&path), (width, WidthEvidence::Records), "{entry:?}");
        }
    }
}

#[test]
fn an_index_of_another_volume_is_refused_with_what_was_counted() {
    let mut ours = VolumeWriter::new(WriterOptions::default());
    let mut theirs = VolumeWriter::new(WriterOptions::default());
    for id in 1..=9 {
        ours.put(&plain(id, b"data")).unwrap();
        theirs.put(&plain(100 + id, b"data")).unwrap();
    }
    let (_dir, path) = on_disk(&ours);
    fs::write(path.with_extension("idx"), theirs.idx()).unwrap();
    let error = VolumeFiles::open(&path).unwrap_err();
    assert!(matches!(error, FilesError::Width { .. }), "{error:?}");
    assert!(error.to_string().contains("of 9 entries with 4-byte offsets 0 name"), "{error}");
}

#[test]
fn a_sorted_index_stands_in_for_a_log_that_is_not_there() {
    let generator = Generator { seed: 3, needles: 60, len_max: 500 };
    let writer = generator.write(options(Version::V3, OffsetWidth::Five)).unwrap();
    let (_dir, path) = on_disk(&writer);
    fs::write(path.with_extension("sdx"), sorted_index(writer.idx(), OffsetWidth::Five)).unwrap();
    assert_eq!(VolumeFiles::open(&path).unwrap().idx_path(), path.with_extension("idx"));
    fs::remove_file(path.with_extension("idx")).unwrap();
    let files = VolumeFiles::open(&path).unwrap();
    assert_eq!(files.idx_path(), path.with_extension("sdx"));
    assert_eq!(files.volume().index().offset_width(), OffsetWidth::Five);
    let mut read = 0;
    for id in generator.ids() {
        read += usize::from(files.read(id, &mut Vec::new()).is_ok());
    }
    assert_eq!(read, generator.ids().filter(|id| generator.content(*id).is_some()).count());
}

/// Upstream lets volumes with 4-byte offsets grow past 32 GiB: the offset then names the place modulo 32 GiB.
#[test]
fn a_record_past_32_gib_is_found_where_its_offset_cannot_point() {
    use std::os::unix::fs::FileExt;
    let mut writer = VolumeWriter::new(WriterOptions::default());
    writer.put(&plain(1, b"near")).unwrap();
    let far = writer.put(&plain(2, b"far away")).unwrap();
    let start = far.offset_bytes as usize;
    let (_dir, path) = on_disk(&writer);
    // A sparse file: the second record stands 32 GiB further on, and zeroes where it was.
    let dat = fs::OpenOptions::new().write(true).open(&path).unwrap();
    dat.set_len(far.offset_bytes).unwrap();
    dat.write_all_at(&writer.dat()[start..], far.offset_bytes + (32 << 30)).unwrap();
    let mut files = VolumeFiles::open(&path).unwrap();
    assert_eq!(files.width_evidence(), WidthEvidence::Records);
    assert_eq!((content(&mut files, 1), content(&mut files, 2)), (b"near".to_vec(), b"far away".to_vec()));
    // The twin: another needle stands there.
    dat.write_all_at(&[9; 8], far.offset_bytes + (32 << 30) + 4).unwrap();
    let outcome = files.read_into(&crate::sample::ask(2), &mut Vec::new()).unwrap();
    assert!(matches!(outcome, wavetank_volume::Outcome::Stale(_)), "{outcome:?}");
}
