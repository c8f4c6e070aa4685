//! The needle check: volumes, ours and real ones.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use wavetank_harness::{Check, Replay, Workload};
use wavetank_volume::{ChecksumForm, Cookie, NeedleId, NewNeedle, Version, VolumeWriter, WriterOptions};

use crate::lying::Lie;
use crate::support::{failed_only, lie_once, run, run_ok, shared_data, tell};

fn write(dir: &Path, version: Version, checksum_form: ChecksumForm) -> std::path::PathBuf {
    let mut writer = VolumeWriter::new(WriterOptions { version, checksum_form, ..WriterOptions::default() });
    for id in 1..=20u64 {
        let data: Vec<u8> = (0..id * 700).map(|i| (i * id) as u8).collect();
        let needle = NewNeedle {
            name: Some(b"a name"),
            append_at_ns: id,
            ..NewNeedle::new(NeedleId(id), Cookie(7), &data)
        };
        writer.put(&needle).unwrap();
    }
    writer.put(&NewNeedle::new(NeedleId(21), Cookie(7), b"")).unwrap();
    for id in [3, 4, 20] {
        writer.delete(NeedleId(id), Cookie(7), 99).unwrap();
    }
    writer.put(&NewNeedle::new(NeedleId(5), Cookie(7), b"written again")).unwrap();
    writer.write_to(dir, "7").unwrap()
}

#[test]
fn live_needles_of_every_version_and_checksum_form_are_read_and_checked() {
    for version in [Version::V1, Version::V2, Version::V3] {
        for form in [ChecksumForm::Raw, ChecksumForm::Masked] {
            let dir = TempDir::new().unwrap();
            let path = write(dir.path(), version, form);
            let report = run_ok(Workload::from_volume(&path));
            // 21 were put, 3 deleted; one is empty and one was written twice.
            assert_eq!(report.ops, 18, "{version:?} {form:?}");
            assert_eq!(report.bytes_swept, fs::metadata(&path).unwrap().len());
            assert_eq!(report.name, "7");
        }
    }
}

#[test]
fn bit_rot_in_the_file_is_named_before_anything_runs() {
    let dir = TempDir::new().unwrap();
    let path = write(dir.path(), Version::V3, ChecksumForm::Raw);
    let mut dat = fs::read(&path).unwrap();
    // Superblock, header, length, and the tenth byte of needle 1.
    dat[8 + 16 + 4 + 10] ^= 1;
    fs::write(&path, dat).unwrap();
    let error = Replay::prepare(Workload::from_volume(&path)).unwrap_err().to_string();
    let file = path.display().to_string();
    let stored = wavetank_volume::crc32c_raw(&(0..700u64).map(|i| i as u8).collect::<Vec<u8>>());
    for part in [&file, "needle 0x1", &format!("{stored:#010x}"), "computed"] {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

#[test]
fn an_index_that_points_past_the_file_is_refused_with_its_entry() {
    let dir = TempDir::new().unwrap();
    let path = write(dir.path(), Version::V3, ChecksumForm::Raw);
    let dat = fs::read(&path).unwrap();
    fs::write(&path, &dat[..dat.len() - 64]).unwrap();
    let error = Replay::prepare(Workload::from_volume(&path)).unwrap_err().to_string();
    for part in ["7.", "0x5", &(dat.len() - 64).to_string()] {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

#[test]
fn a_volume_without_live_needles_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = VolumeWriter::new(WriterOptions::default()).write_to(dir.path(), "empty").unwrap();
    let error = Replay::prepare(Workload::from_volume(&path)).unwrap_err().to_string();
    assert!(error.contains("empty.dat: no needle is alive"), "{error}");
}

#[test]
fn a_needle_that_rots_on_the_wire_names_itself_and_both_checksums() {
    for form in [ChecksumForm::Raw, ChecksumForm::Masked] {
        let dir = TempDir::new().unwrap();
        let path = write(dir.path(), Version::V3, form);
        let report = lie_once(&Workload::from_volume(&path), Lie::FlipRead(30), 1);
        let parts = ["operation 1", "region 7.dat at offset", "needle 0x2", "checksum", "computed"];
        failed_only(&report, Check::Needle, &parts);
        assert_eq!(report.mismatches, 1);
    }
}

#[test]
fn a_byte_that_no_checksum_covers_is_held_against_the_file() {
    let dir = TempDir::new().unwrap();
    let path = write(dir.path(), Version::V3, ChecksumForm::Raw);
    // Byte 0 of a record is its cookie's.
    let report = lie_once(&Workload::from_volume(&path), Lie::FlipRead(0), 1);
    failed_only(&report, Check::Bytes, &["operation 1", "byte 0 of the record is not the file's"]);
}

#[test]
fn a_needle_that_never_arrives_is_found() {
    let dir = TempDir::new().unwrap();
    let path = write(dir.path(), Version::V2, ChecksumForm::Raw);
    let report = lie_once(&Workload::from_volume(&path), Lie::EmptyRead, 1);
    failed_only(&report, Check::Needle, &["operation 1", "needle 0x"]);
}

#[test]
fn a_stray_write_to_the_volume_is_found_by_the_sweep() {
    let dir = TempDir::new().unwrap();
    let path = write(dir.path(), Version::V3, ChecksumForm::Raw);
    let lie = Lie::Stray { region: 0, offset: 5 };
    let report = lie_once(&Workload::from_volume(&path), lie, 0);
    failed_only(&report, Check::Bytes, &["region 7.dat, at the end: byte 5 is not the file's"]);
}

#[test]
fn real_volumes_are_read_without_a_fault() {
    for (name, needles) in [("1.dat", 298), ("healthy_volume.dat", 7)] {
        let Some(path) = shared_data("real_volumes_are_read_without_a_fault", name) else { continue };
        let report = run(Workload::from_volume(&path));
        assert!(report.ok(), "{name}: {}", tell(&report));
        assert_eq!(report.ops, needles, "{name}");
        assert_eq!(report.bytes_swept, fs::metadata(&path).unwrap().len());
    }
}
