//! Volumes that are written while they are read.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;
use wavetank_volume::{
    Ask, Cookie, FilesError, Followed, Generator, NeedleError, NeedleId, OffsetWidth, OpenOptions, Outcome,
    Version, VolumeFiles, VolumeOnDisk, VolumeWriter, WriterOptions,
};

use crate::sample::{VERSIONS, ask, check_generated, content, plain, writer};

fn volume(writer: VolumeWriter) -> (TempDir, VolumeOnDisk) {
    let dir = tempfile::tempdir().unwrap();
    let volume = VolumeOnDisk::create(writer, dir.path(), "7").unwrap();
    (dir, volume)
}

fn outcome(files: &mut VolumeFiles, id: u64) -> Outcome<()> {
    files
        .read_into(&ask(id), &mut Vec::new())
        .unwrap()
        .then(|_| Ok::<_, FilesError>(Outcome::Found(())))
        .unwrap()
}

#[test]
fn appends_overwrites_and_deletes_are_seen_by_the_next_read() {
    let (_dir, mut volume) = volume(writer(Version::V3));
    volume.writer.put(&plain(1, b"first")).unwrap();
    volume.flush().unwrap();
    let mut files = VolumeFiles::open(volume.dat_path()).unwrap();
    assert_eq!(files.follow().unwrap(), Followed::Current);
    assert!(matches!(outcome(&mut files, 2), Outcome::Missing));

    volume.writer.put(&plain(2, b"second")).unwrap();
    volume.flush().unwrap();
    assert_eq!(content(&mut files, 2), b"second");
    volume.writer.put(&plain(2, b"the second again")).unwrap();
    volume.flush().unwrap();
    assert_eq!(content(&mut files, 2), b"the second again");
    volume.writer.delete(NeedleId(2), Cookie(0xc00c_1e00), 1).unwrap();
    volume.flush().unwrap();
    assert!(matches!(outcome(&mut files, 2), Outcome::Deleted));
    assert_eq!(content(&mut files, 1), b"first");
    assert_eq!(files.generation(), 0, "nothing was opened again");
}

#[test]
fn half_an_entry_is_taken_up_when_it_is_whole() {
    for offset_width in [OffsetWidth::Four, OffsetWidth::Five] {
        let (_dir, mut volume) =
            volume(VolumeWriter::new(WriterOptions { offset_width, ..WriterOptions::default() }));
        for id in 1..=3 {
            volume.writer.put(&plain(id, b"there")).unwrap();
        }
        volume.flush().unwrap();
        let mut files = VolumeFiles::open(volume.dat_path()).unwrap();
        volume.writer.put(&plain(4, b"new")).unwrap();
        volume.flush_dat(usize::MAX).unwrap();
        for byte in 1..=offset_width.entry_len_bytes() {
            assert!(matches!(outcome(&mut files, 4), Outcome::Missing), "{byte}");
            volume.flush_idx(1).unwrap();
        }
        assert_eq!(content(&mut files, 4), b"new");
    }
}

#[test]
fn an_entry_counts_once_its_record_is_in_the_dat() {
    let (_dir, mut volume) = volume(writer(Version::V3));
    volume.writer.put(&plain(1, b"before")).unwrap();
    volume.writer.put(&plain(3, b"another")).unwrap();
    volume.flush().unwrap();
    let mut files = VolumeFiles::open(volume.dat_path()).unwrap();
    volume.writer.put(&plain(1, b"after, and longer")).unwrap();
    volume.writer.put(&plain(2, b"new")).unwrap();
    // As after a crash: the index reached the disk before the data.
    volume.flush_idx(usize::MAX).unwrap();
    assert_eq!(files.follow().unwrap(), Followed::Grown { entries: 0, held_back: 2 });
    assert_eq!(content(&mut files, 1), b"before");
    assert!(matches!(outcome(&mut files, 2), Outcome::Missing));
    // Who opens it now sees the same, unless it is known that nobody writes it.
    let mut opened = VolumeFiles::open(volume.dat_path()).unwrap();
    assert_eq!(content(&mut opened, 1), b"before");
    assert_eq!((files.held_back(), opened.held_back()), (2, 2));
    let finished = OpenOptions { is_written: false, ..OpenOptions::default() };
    let error = VolumeFiles::open_with(volume.dat_path(), &finished).unwrap_err();
    assert!(matches!(error, FilesError::Index { .. }), "{error:?}");

    volume.flush_dat(48).unwrap();
    assert_eq!(content(&mut files, 1), b"before", "half of the record is not the record");
    volume.flush_dat(usize::MAX).unwrap();
    for files in [&mut files, &mut opened] {
        assert_eq!(content(files, 1), b"after, and longer");
        assert_eq!(content(files, 2), b"new");
        assert_eq!(files.held_back(), 0);
    }
}

#[test]
fn a_vacuum_is_followed_at_every_step() {
    for version in VERSIONS {
        let (_dir, mut volume) = volume(writer(version));
        for id in 1..=20 {
            volume.writer.put(&plain(id, format!("needle {id}").as_bytes())).unwrap();
        }
        for id in 1..=5 {
            volume.writer.delete(NeedleId(id), Cookie(0xc00c_1e00), 1).unwrap();
        }
        volume.flush().unwrap();
        let mut files = VolumeFiles::open(volume.dat_path()).unwrap();
        let check = |files: &mut VolumeFiles| {
            for id in 6..=20 {
                assert_eq!(content(files, id), format!("needle {id}").as_bytes());
            }
            assert!(matches!(outcome(files, 3), Outcome::Deleted | Outcome::Missing));
        };
        check(&mut files);
        let mut vacuum = volume.vacuum().unwrap();
        check(&mut files);
        vacuum.rename_dat().unwrap();
        check(&mut files);
        assert_eq!(files.generation(), 0, "the old files are still one volume");
        vacuum.rename_idx().unwrap();
        check(&mut files);
        assert_eq!((files.generation(), files.volume().superblock().compaction_revision), (1, 1));
        volume.writer.put(&plain(30, b"after the vacuum")).unwrap();
        volume.flush().unwrap();
        assert_eq!(content(&mut files, 30), b"after the vacuum");
    }
}

/// Not what a server does, but what a copy over the files does: nothing is renamed, so only the records tell.
#[test]
fn files_rewritten_in_place_are_told_by_their_records() {
    let (_dir, mut volume) = volume(writer(Version::V3));
    for id in 1..=9 {
        volume.writer.put(&plain(id, b"some data")).unwrap();
    }
    volume.writer.delete(NeedleId(1), Cookie(0xc00c_1e00), 1).unwrap();
    volume.flush().unwrap();
    let mut files = VolumeFiles::open(volume.dat_path()).unwrap();
    assert_eq!(content(&mut files, 5), b"some data");
    let compact = volume.writer.vacuumed();
    // Not shorter than before: the index alone does not show it.
    let mut longer = compact.clone();
    for id in 20..=40 {
        longer.put(&plain(id, b"more data")).unwrap();
    }
    fs::write(volume.dat_path(), longer.dat()).unwrap();
    fs::write(volume.dat_path().with_extension("idx"), longer.idx()).unwrap();
    assert_eq!(content(&mut files, 5), b"some data");
    assert_eq!(content(&mut files, 30), b"more data");
    assert_eq!(files.generation(), 1);
}

/// After a crash a server cuts both files to what fits together, and goes on in the same files.
#[test]
fn a_log_that_was_cut_and_has_grown_past_its_former_length_is_read_anew() {
    for closely in [false, true] {
        let (_dir, mut volume) = volume(writer(Version::V3));
        for id in 1..=5 {
            volume.writer.put(&plain(id, b"as before")).unwrap();
        }
        volume.flush().unwrap();
        let mut files = VolumeFiles::open(volume.dat_path()).unwrap();
        let mut after = writer(Version::V3);
        for id in [1, 2, 13, 14, 15, 16].into_iter().take(if closely { 5 } else { 6 }) {
            after.put(&plain(id, b"a new one")).unwrap();
        }
        fs::write(volume.dat_path(), after.dat()).unwrap();
        fs::write(volume.dat_path().with_extension("idx"), after.idx()).unwrap();
        if closely {
            // Just as long as before: only a record that does not match makes one look.
            assert!(matches!(outcome(&mut files, 4), Outcome::Missing));
        }
        assert_eq!(content(&mut files, 14), b"a new one");
        assert!(matches!(outcome(&mut files, 4), Outcome::Missing));
        assert_eq!(files.generation(), 1);
    }
}

#[test]
fn a_record_that_stays_wrong_is_stale_and_is_not_looked_for_forever() {
    let (_dir, mut volume) = volume(writer(Version::V3));
    let entry = volume.writer.put(&plain(1, b"data")).unwrap();
    volume.writer.put(&plain(2, b"data")).unwrap();
    volume.writer.put(&plain(3, b"data")).unwrap();
    volume.flush().unwrap();
    let mut files = VolumeFiles::open(volume.dat_path()).unwrap();
    let mut dat = volume.writer.dat().to_vec();
    dat[entry.offset_bytes as usize + 11] = 9;
    fs::write(volume.dat_path(), dat).unwrap();
    let Outcome::Stale(NeedleError::IdMismatch { found: NeedleId(9), .. }) = outcome(&mut files, 1) else {
        panic!("{:?}", outcome(&mut files, 1));
    };
    assert_eq!(content(&mut files, 2), b"data");
    assert_eq!(files.generation(), 0, "the files are the same: opening them again tells nothing new");
}

#[test]
fn a_volume_that_broke_says_so_each_time_and_recovers() {
    let (_dir, mut volume) = volume(writer(Version::V3));
    for id in 1..=9 {
        volume.writer.put(&plain(id, b"some data")).unwrap();
    }
    volume.flush().unwrap();
    let mut files = VolumeFiles::open(volume.dat_path()).unwrap();
    let whole = fs::read(volume.dat_path()).unwrap();
    // Cut short, which would end a process that had mapped it.
    fs::write(volume.dat_path(), &whole[..4]).unwrap();
    let read = |files: &mut VolumeFiles| files.read_into(&ask(1), &mut Vec::new()).map(drop);
    let first = read(&mut files).unwrap_err();
    assert!(matches!(first, FilesError::SuperBlock { .. }), "{first:?}");
    let second = read(&mut files).unwrap_err();
    assert!(matches!(second, FilesError::NotReopened { .. }), "without reading it all again: {second:?}");
    assert!(second.to_string().contains(&first.to_string()), "{second}");
    fs::write(volume.dat_path(), &whole).unwrap();
    read(&mut files).unwrap();
    fs::remove_file(volume.dat_path().with_extension("idx")).unwrap();
    assert!(read(&mut files).unwrap_err().is_gone());
}

/// One step of a server.
#[derive(Debug, Clone)]
enum Step {
    Put(u64, Vec<u8>),
    Delete(u64),
    Vacuum,
    HalfVacuum,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = 1_u64..9;
    let step = prop_oneof![
        6 => (id.clone(), prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(id, data)| Step::Put(id, data)),
        2 => id.prop_map(Step::Delete),
        1 => Just(Step::Vacuum),
        1 => Just(Step::HalfVacuum),
    ];
    prop::collection::vec(step, 1..25)
}

fn agrees(files: &mut VolumeFiles, model: &BTreeMap<u64, Option<Vec<u8>>>) -> Result<(), TestCaseError> {
    for id in 1..9 {
        let mut out = vec![1, 2, 3];
        let outcome = files.read_into(&ask(id), &mut out).unwrap();
        match (model.get(&id), outcome) {
            (None, Outcome::Missing) => {}
            // A vacuum forgets what was deleted.
            (Some(None), Outcome::Deleted | Outcome::Missing) => {}
            (Some(Some(data)), Outcome::Found(_)) => prop_assert_eq!(&out, data),
            (Some(Some(data)), Outcome::Empty(_)) => prop_assert!(data.is_empty() && out.is_empty()),
            (known, outcome) => prop_assert!(false, "needle {}: {:?} {:?}", id, known, outcome),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_reader_sees_every_step_of_a_server(steps in steps(), version in 1_u8..4, five: bool) {
        let offset_width = if five { OffsetWidth::Five } else { OffsetWidth::Four };
        let version = Version::from_byte(version).unwrap();
        let options = WriterOptions { version, offset_width, ..WriterOptions::default() };
        let (_dir, mut volume) = volume(VolumeWriter::new(options));
        let mut files = VolumeFiles::open(volume.dat_path()).unwrap();
        let mut model = BTreeMap::new();
        for step in steps {
            match step {
                Step::Put(id, data) => {
                    volume.writer.put(&plain(id, &data)).unwrap();
                    model.insert(id, Some(data));
                }
                Step::Delete(id) if model.contains_key(&id) => {
                    volume.writer.delete(NeedleId(id), Cookie(0xc00c_1e00), 1).unwrap();
                    model.insert(id, None);
                }
                Step::Delete(_) => {}
                Step::Vacuum => volume.vacuum().unwrap().swap().unwrap(),
                Step::HalfVacuum => {
                    volume.flush().unwrap();
                    agrees(&mut files, &model)?;
                    let mut vacuum = volume.vacuum().unwrap();
                    vacuum.rename_dat().unwrap();
                    agrees(&mut files, &model)?;
                    vacuum.rename_idx().unwrap();
                }
            }
            volume.flush().unwrap();
            agrees(&mut files, &model)?;
        }
        let told = OpenOptions { offset_width: Some(offset_width), ..OpenOptions::default() };
        agrees(&mut VolumeFiles::open_with(volume.dat_path(), &told).unwrap(), &model)?;
    }
}

#[test]
fn a_generated_volume_is_read_as_it_grows() {
    let generator = Generator { seed: 11, needles: 400, len_max: 20_000 };
    let (_dir, mut volume) = volume(writer(Version::V3));
    let mut files = VolumeFiles::open(volume.dat_path()).unwrap();
    for (number, id) in generator.ids().enumerate() {
        generator.put(&mut volume.writer, id).unwrap();
        if number % 150 == 149 {
            volume.vacuum().unwrap().swap().unwrap();
        }
    }
    volume.flush().unwrap();
    // Twice, the second time from what is remembered as verified.
    let live = |id: &NeedleId| generator.content(*id).is_some();
    for _ in 0..2 {
        for id in generator.ids().filter(live) {
            let mut out = Vec::new();
            let found = files.read_into(&Ask::whole(id, generator.cookie(id), 0), &mut out).unwrap();
            assert!(matches!(found, Outcome::Found(_) | Outcome::Empty(_)), "{id} {found:?}");
            assert!(Some(out) == generator.content(id), "{id}");
        }
    }
    let (_other_dir, whole) = crate::live::volume(generator.write(WriterOptions::default()).unwrap());
    check_generated(&mut VolumeFiles::open(whole.dat_path()).unwrap(), &generator);
}
