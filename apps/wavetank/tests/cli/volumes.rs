//! SeaweedFS volumes: ours, real ones where they are, and broken ones.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wavetank_volume::{
    ChecksumForm, Cookie, IndexEntry, NeedleId, NewNeedle, Version, VolumeWriter, WriterOptions, crc32c_raw,
};

use crate::files::file;
use crate::program::{replay, replay_volume};

/// Bytes of a record before its data: cookie, id, size of the body, size of the data.
const DATA_AT: u64 = 16 + 4;

fn data(id: u64) -> Vec<u8> {
    (0..id * 1000).map(|at| (at * 7 + id) as u8).collect()
}

/// A volume of the needles 1 to 5, of 1000 to 5000 bytes.
fn volume(options: WriterOptions) -> (TempDir, PathBuf, Vec<IndexEntry>) {
    let mut writer = VolumeWriter::new(options);
    let entries = (1..=5)
        .map(|id| writer.put(&NewNeedle::new(NeedleId(id), Cookie(7), &data(id))).expect("it fits"))
        .collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dat = writer.write_to(folder.path(), "3").expect("two files");
    (folder, dat, entries)
}

/// Changes one bit of a file.
fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).expect("the file");
    bytes[at as usize] ^= 1;
    fs::write(path, bytes).expect("the file");
}

#[test]
fn every_needle_of_every_version_and_checksum_form_is_read() {
    for version in [Version::V1, Version::V2, Version::V3] {
        for checksum_form in [ChecksumForm::Raw, ChecksumForm::Masked] {
            let options = WriterOptions { version, checksum_form, ..WriterOptions::default() };
            let (_folder, dat, _) = volume(options);
            let report = replay_volume(&dat, &["--json"]).json();
            assert_eq!((&report["ok"], &report["ops"]), (&true.into(), &5.into()), "{version:?}");
        }
    }
}

#[test]
fn a_volume_can_be_the_source_of_a_workload_and_is_found_beside_it() {
    let (folder, _dat, _) = volume(WriterOptions::default());
    let toml = folder.path().join("read-all.toml");
    fs::write(&toml, "profile = \"ideal\"\n[source]\nvolume = \"3.dat\"\n").expect("a file");
    let report = replay(&toml, &["--json", "--check-determinism"]).json();
    assert_eq!((&report["ok"], &report["ops"]), (&true.into(), &5.into()));
}

/// Looked for in `WAVETANK_SHARED_DATA`, else in `../shared/data` beside the workspace.
#[test]
fn the_needles_of_real_volumes_are_read() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("WAVETANK_SHARED_DATA").map_or(beside, PathBuf::from);
    for (name, needles) in [("1.dat", 298), ("healthy_volume.dat", 7)] {
        let dat = folder.join(name);
        if !dat.exists() {
            // Not by a macro: what those print in a test that passes is hidden.
            let skipped = format!("SKIPPED: no {} (set WAVETANK_SHARED_DATA to its folder)\n", dat.display());
            std::io::stderr().write_all(skipped.as_bytes()).expect("stderr");
            continue;
        }
        let report = replay_volume(&dat, &["--json"]).json();
        assert_eq!((&report["ok"], &report["ops"]), (&true.into(), &needles.into()), "{name}");
    }
}

#[test]
fn a_rotted_needle_is_named_with_both_checksums() {
    let (_folder, dat, entries) = volume(WriterOptions::default());
    let rotted = &entries[2];
    flip(&dat, rotted.offset_bytes + DATA_AT + 1234);
    let stored = format!("stored checksum {:#010x}", crc32c_raw(&data(3)));
    let mut found = data(3);
    found[1234] ^= 1;
    let computed = format!("computed {:#010x}", crc32c_raw(&found));
    replay_volume(&dat, &["--json"])
        .refused(&format!("{}: needle 0x3 ", dat.display()), &[&stored, &computed, "rotted"]);
}

#[test]
fn an_index_that_points_past_the_end_is_refused() {
    let (_folder, dat, entries) = volume(WriterOptions::default());
    let cut = entries[4].offset_bytes + 100;
    fs::File::options().write(true).open(&dat).and_then(|dat| dat.set_len(cut)).expect("a shorter file");
    let idx = dat.with_extension("idx");
    replay_volume(&dat, &[])
        .refused(&format!("{}: the .idx puts ", idx.display()), &["needle 0x5", &cut.to_string(), "3.dat"]);
}

#[test]
fn an_index_of_other_needles_is_refused() {
    let (_folder, dat, _) = volume(WriterOptions::default());
    // The lowest bit of the first needle's id.
    flip(&dat.with_extension("idx"), 7);
    replay_volume(&dat, &[])
        .refused(&format!("{}: needle 0x0 ", dat.display()), &["needle 0x1 stands there"]);
}

#[test]
fn a_volume_without_needles_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dat =
        VolumeWriter::new(WriterOptions::default()).write_to(folder.path(), "empty").expect("two files");
    replay_volume(&dat, &[]).refused(&dat.display().to_string(), &["no needle is alive"]);
}

#[test]
fn a_volume_without_its_index_is_refused() {
    let (_folder, dat, _) = volume(WriterOptions::default());
    let idx = dat.with_extension("idx");
    fs::remove_file(&idx).expect("it was there");
    replay_volume(&dat, &[]).refused(&idx.display().to_string(), &["No such file", "<name>.idx"]);
}

#[test]
fn what_is_no_volume_is_refused() {
    let (folder, dat) = file("9.dat", "");
    fs::write(dat.with_extension("idx"), "").expect("a file");
    replay_volume(&dat, &[]).refused(&dat.display().to_string(), &["superblock"]);
    fs::write(&dat, [0xff; 64]).expect("a file");
    replay_volume(&dat, &[]).refused(&dat.display().to_string(), &["version"]);
    replay_volume(folder.path(), &[]).refused(&folder.path().display().to_string(), &["not a regular file"]);
    let missing = folder.path().join("8.dat");
    replay_volume(&missing, &[]).refused(&missing.display().to_string(), &["No such file"]);
}

#[test]
fn a_volume_has_no_pace() {
    let (_folder, dat, _) = volume(WriterOptions::default());
    replay_volume(&dat, &["--pace"]).refused(&dat.display().to_string(), &["only an iolog"]);
}
