//! Directories of a volume server: what is found in them, what is refused, what comes and goes.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use wavetank_volume::{
    FilesError, Generator, NeedleId, NewNeedle, OffsetWidth, OpenOptions, Outcome, Refreshed, RefusalCause,
    ShardLayout, Store, StoreDirectory, StoreError, VolumeId, VolumeWriter, WriterOptions, sorted_index,
};

use crate::sample::{ask, check_generated, plain};

const LAYOUT: ShardLayout =
    ShardLayout { data_shards: 3, parity_shards: 2, large_block_bytes: 4096, small_block_bytes: 256 };

fn one(data: &[u8]) -> VolumeWriter {
    let mut writer = VolumeWriter::new(WriterOptions::default());
    writer.put(&plain(1, data)).unwrap();
    writer.put(&plain(2, b"two")).unwrap();
    writer
}

fn store(dirs: &[&TempDir]) -> Store {
    let directories = dirs.iter().map(|dir| StoreDirectory::new(dir.path())).collect();
    Store::open(directories, OpenOptions { layout: LAYOUT, ..OpenOptions::default() })
}

fn read(store: &mut Store, volume: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let outcome = store.read_into(VolumeId(volume), &ask(1), &mut out).unwrap();
    assert!(matches!(outcome, Outcome::Found(_)), "{outcome:?}");
    out
}

fn names(store: &Store) -> Vec<String> {
    store.volumes().map(|(name, _)| name.to_string()).collect()
}

fn refusals(store: &Store) -> Vec<String> {
    store.refusals().iter().map(ToString::to_string).collect()
}

#[test]
fn volumes_of_all_collections_and_directories_are_served() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    one(b"one").write_to(dirs[0].path(), "1").unwrap();
    one(b"seventeen").write_to(dirs[1].path(), "my_old_photos_17").unwrap();
    one(b"coded").write_coded_to(dirs[1].path(), "cold_20", &LAYOUT).unwrap();
    for other in ["topology.dat", "notes.txt", "x_.idx", "9.idx", "9.cpd"] {
        fs::write(dirs[0].path().join(other), "").unwrap();
    }
    let mut store = store(&[&dirs[0], &dirs[1]]);
    assert_eq!(names(&store), ["1", "my_old_photos_17", "cold_20"]);
    assert_eq!(refusals(&store), [""; 0]);
    assert_eq!(store.name(VolumeId(17)).unwrap().collection, "my_old_photos");
    assert_eq!(
        (read(&mut store, 1), read(&mut store, 17), read(&mut store, 20)),
        (b"one".to_vec(), b"seventeen".to_vec(), b"coded".to_vec())
    );
    let located = store.locate(VolumeId(17), &ask(2)).unwrap().found().unwrap();
    assert_eq!(located.data_len_bytes, 3);
    let error = store.read_into(VolumeId(3), &ask(1), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, StoreError::NotServed { id: VolumeId(3) }), "{error:?}");
}

#[test]
fn indexes_in_a_directory_of_their_own_are_found() {
    let (dir, idx_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let move_there = |file: &str| fs::rename(dir.path().join(file), idx_dir.path().join(file)).unwrap();
    one(b"one").write_to(dir.path(), "1").unwrap();
    move_there("1.idx");
    one(b"beside").write_to(dir.path(), "2").unwrap();
    let five = WriterOptions { offset_width: OffsetWidth::Five, ..WriterOptions::default() };
    let mut writer = VolumeWriter::new(five);
    writer.put(&plain(1, b"sorted")).unwrap();
    writer.write_to(dir.path(), "3").unwrap();
    fs::remove_file(dir.path().join("3.idx")).unwrap();
    fs::write(idx_dir.path().join("3.sdx"), sorted_index(writer.idx(), OffsetWidth::Five)).unwrap();
    fs::write(idx_dir.path().join("3.vif"), r#"{"bytesOffset":5}"#).unwrap();
    one(b"coded").write_coded_to(dir.path(), "4", &LAYOUT).unwrap();
    move_there("4.ecx");
    move_there("4.vif");
    let directory =
        StoreDirectory { dir: dir.path().to_path_buf(), idx_dir: Some(idx_dir.path().to_path_buf()) };
    let options = OpenOptions { layout: LAYOUT, ..OpenOptions::default() };
    let mut store = Store::open(vec![directory], options);
    assert_eq!(refusals(&store), [""; 0]);
    for (volume, data) in [(1, "one"), (2, "beside"), (3, "sorted"), (4, "coded")] {
        assert_eq!(read(&mut store, volume), data.as_bytes());
    }
}

#[test]
fn what_cannot_be_served_is_told_and_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let at = |file: &str| dir.path().join(file);
    for id in 1..=6 {
        one(b"data").write_to(dir.path(), &format!("c_{id}")).unwrap();
    }
    fs::write(at("c_2.note"), "").unwrap();
    fs::write(at("c_3.vif"), r#"{"files":[{"backendType":"s3","key":"a/b"}],"version":3}"#).unwrap();
    fs::remove_file(at("c_3.dat")).unwrap();
    fs::write(at("c_4.dat"), "no superblock").unwrap();
    fs::remove_file(at("c_5.idx")).unwrap();
    fs::write(at("c_6.vif"), "{").unwrap();
    fs::create_dir(at("7.dat")).unwrap();
    let missing = StoreDirectory::new(dir.path().join("not there"));
    let directories = vec![StoreDirectory::new(dir.path()), missing];
    let mut store = Store::open(directories, OpenOptions::default());
    assert_eq!(names(&store), ["c_1"]);
    assert_eq!(read(&mut store, 1), b"data");
    let told = refusals(&store);
    let expected = [
        ("", "not there: "),
        ("volume c_2: ", "its copy never finished"),
        ("volume c_3: ", "in remote storage (s3 a/b)"),
        ("volume c_4: ", "names version 110"),
        ("volume c_5: ", "c_5.idx: "),
        ("volume c_6: ", "c_6.vif: "),
        ("volume 7: ", "not a regular file"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, (start, part)) in told.iter().zip(expected) {
        assert!(told.starts_with(start) && told.contains(part), "{part} in {told}");
    }
    assert!(
        store
            .refusals()
            .iter()
            .any(|refusal| { matches!(&refusal.cause, RefusalCause::Files(FilesError::Remote { .. })) })
    );

    // What is put right is served.
    fs::remove_file(at("c_2.note")).unwrap();
    assert_eq!(store.refresh(), Refreshed { appeared: vec![VolumeId(2)], ..Refreshed::default() });
    assert_eq!(names(&store), ["c_1", "c_2"]);
}

#[test]
fn a_number_that_is_there_twice_is_served_by_neither_and_both_are_named() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    one(b"data").write_to(dirs[0].path(), "a_5").unwrap();
    one(b"data").write_to(dirs[0].path(), "6").unwrap();
    one(b"data").write_to(dirs[0].path(), "7").unwrap();
    let mut store = store(&[&dirs[0], &dirs[1]]);
    assert_eq!(names(&store), ["a_5", "6", "7"]);
    one(b"other").write_to(dirs[1].path(), "b_5").unwrap();
    one(b"other").write_to(dirs[1].path(), "6").unwrap();
    assert_eq!(store.refresh().vanished, [VolumeId(5), VolumeId(6)]);
    assert_eq!(names(&store), ["7"]);
    let told = refusals(&store);
    let named = |dir: &TempDir, name: &str| dir.path().join(name).display().to_string();
    for (told, names) in told.iter().zip([["a_5", "b_5"], ["6", "6"]]) {
        for (dir, name) in dirs.iter().zip(names) {
            assert!(told.contains(&named(dir, name)), "{name} in {told}");
        }
    }
    assert_eq!(told.len(), 2);
    fs::remove_file(dirs[0].path().join("a_5.dat")).unwrap();
    fs::remove_file(dirs[0].path().join("a_5.idx")).unwrap();
    store.refresh();
    assert_eq!(names(&store), ["b_5", "7"]);
    assert_eq!(read(&mut store, 5), b"other", "the one that is left, and not what was read before");
}

#[test]
fn volumes_come_go_and_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    one(b"one").write_to(dir.path(), "1").unwrap();
    one(b"two").write_to(dir.path(), "2").unwrap();
    let mut store = store(&[&dir]);
    assert_eq!(store.refresh(), Refreshed::default());
    one(b"three").write_to(dir.path(), "3").unwrap();
    let fresh = dir.path().join("fresh");
    fs::create_dir(&fresh).unwrap();
    one(b"another one").write_to(&fresh, "1").unwrap();
    for file in ["1.dat", "1.idx"] {
        fs::rename(fresh.join(file), dir.path().join(file)).unwrap();
    }
    remove(dir.path(), &["2.dat", "2.idx"]);
    let ids = |ids: &[u32]| ids.iter().copied().map(VolumeId).collect::<Vec<_>>();
    let expected = Refreshed { appeared: ids(&[3]), vanished: ids(&[2]), reopened: ids(&[1]) };
    assert_eq!(store.refresh(), expected);
    assert_eq!((read(&mut store, 1), read(&mut store, 3)), (b"another one".to_vec(), b"three".to_vec()));
    assert!(store.read_into(VolumeId(2), &ask(1), &mut Vec::new()).is_err());
}

fn remove(dir: &Path, files: &[&str]) {
    files.iter().for_each(|file| fs::remove_file(dir.join(file)).unwrap());
}

#[test]
fn a_volume_stays_the_same_while_it_is_coded_and_its_dat_removed() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let generator = Generator { seed: 5, needles: 120, len_max: 3000 };
    let writer = generator.write(WriterOptions::default()).unwrap();
    writer.write_to(dirs[0].path(), "9").unwrap();
    let mut store = store(&[&dirs[0], &dirs[1]]);
    writer.write_coded_to(dirs[0].path(), "9", &LAYOUT).unwrap();
    // Shards of one volume may be in several directories, each with its index.
    for shard in ["9.ec01", "9.ec04"] {
        fs::rename(dirs[0].path().join(shard), dirs[1].path().join(shard)).unwrap();
    }
    fs::copy(dirs[0].path().join("9.ecx"), dirs[1].path().join("9.ecx")).unwrap();
    assert_eq!(store.refresh(), Refreshed::default(), "the .dat stands before its shards");
    assert_eq!(store.volume(VolumeId(9)).unwrap().shards(), None);
    remove(dirs[0].path(), &["9.dat", "9.idx"]);
    assert_eq!(store.refresh().reopened, [VolumeId(9)]);
    let files = store.volume(VolumeId(9)).unwrap();
    assert_eq!(files.shards(), Some(vec![0, 1, 2, 3, 4]));
    check_generated(files, &generator);
}

#[test]
fn a_vacuum_between_two_refreshes_is_nothing_to_the_reader() {
    let dir = tempfile::tempdir().unwrap();
    let volume = wavetank_volume::VolumeOnDisk::create(one(b"data"), dir.path(), "4").unwrap();
    let mut volume = volume;
    let mut store = store(&[&dir]);
    volume.writer.put(&NewNeedle::new(NeedleId(1), ask(1).cookie.unwrap(), b"newer")).unwrap();
    volume.vacuum().unwrap().swap().unwrap();
    assert_eq!(read(&mut store, 4), b"newer");
    assert_eq!(store.refresh(), Refreshed::default());
}
