//! Each check has a twin: the same scene with one lie planted, in which it fails.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use wavetank_contract::{Instant, Lease, MrId, Region, RegionSpec};
use wavetank_engine::memory::Arena;
use wavetank_exchange::calls::{NeedleCall, Standing, Which};
use wavetank_exchange::{
    Absence, Exporter, ExporterConfig, Home as _, Lie, LocalHome, Mode, NotRead, Path, Reader, SegmentConfig,
    Shelf, Shelved, StoreShelf, Wanted,
};
use wavetank_messenger::LocalMessenger;
use wavetank_volume::{Cookie, NeedleId, NewNeedle, VolumeOnDisk, VolumeWriter, WriterOptions};

use crate::hostile::{ask, enter};
use crate::net::{MS, Net};
use crate::rig::{exporter_config, in_ms, nonces, pattern, reader_config, rig};

const VOLUME: u32 = 5;
const COOKIE: u32 = 77;

fn disk(folder: &tempfile::TempDir, needles: u64, len: usize) -> VolumeOnDisk {
    let mut writer = VolumeWriter::new(WriterOptions::default());
    for id in 1..=needles {
        writer.put(&NewNeedle::new(NeedleId(id), Cookie(COOKIE), &pattern(id, len))).unwrap();
    }
    VolumeOnDisk::create(writer, folder, "5").unwrap()
}

fn range(reader: &Reader, id: u64, mode: Mode) -> Wanted {
    let (offset, len) = (100, Some(1000));
    Wanted { mode, offset, len, ..Wanted::whole(VOLUME, id, COOKIE, in_ms(reader, 200)) }
}

fn whole(reader: &Reader, id: u64, mode: Mode) -> Wanted {
    Wanted { mode, ..Wanted::whole(VOLUME, id, COOKIE, in_ms(reader, 200)) }
}

/// What a reader pulls after the needle was written anew, and how: the newest, or what it was.
fn overwritten(lie: Lie, wanted: fn(&Reader, u64, Mode) -> Wanted) -> (Vec<u8>, Path) {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = disk(&folder, 1, 5000);
    let (mut net, reader, exporter) = rig(folder.path(), exporter_config(), reader_config(&["0"]));
    exporter.plant(lie);
    for path in [Path::Pulled, Path::Pulled] {
        assert_eq!(net.run(reader.read(&wanted(&reader, 1, Mode::Pull))).unwrap().path, path);
    }
    disk.writer.put(&NewNeedle::new(NeedleId(1), Cookie(COOKIE), &pattern(9, 5000))).unwrap();
    disk.flush().unwrap();
    net.run_ms(20);
    let found = net.run(reader.read(&wanted(&reader, 1, Mode::Auto))).unwrap();
    (found.to_vec(), found.path)
}

#[test]
fn what_was_overwritten_is_not_pulled_once_the_exporter_has_looked_and_would_be_with_whole_seals() {
    assert_eq!(overwritten(Lie::Nothing, range), (pattern(9, 5000)[100..1100].to_vec(), Path::Pushed));
    assert_eq!(overwritten(Lie::KeepsSeals, range), (pattern(1, 5000)[100..1100].to_vec(), Path::Pulled));
    assert_eq!(overwritten(Lie::Nothing, whole), (pattern(9, 5000), Path::Pushed));
    assert_eq!(overwritten(Lie::KeepsSeals, whole), (pattern(1, 5000), Path::Pulled));
}

/// How a needle comes that was pulled whole before, and what is counted as damaged, after a lie was planted.
fn pulled_again(lie: Lie, wanted: impl Fn(&Reader, u64, Mode) -> Wanted) -> (Vec<u8>, Path, u64) {
    let folder = tempfile::tempdir().unwrap();
    drop(disk(&folder, 1, 20_000));
    let (mut net, reader, exporter) = rig(folder.path(), exporter_config(), reader_config(&["0"]));
    for _ in 0..2 {
        let found = net.run(reader.read(&whole(&reader, 1, Mode::Pull))).unwrap();
        assert_eq!((found.to_vec(), found.path), (pattern(1, 20_000), Path::Pulled));
    }
    exporter.plant(lie);
    let found = net.run(reader.read(&wanted(&reader, 1, Mode::Auto))).unwrap();
    (found.to_vec(), found.path, reader.stats().corrupt)
}

#[test]
fn data_that_changed_below_a_whole_seal_is_never_shown_to_who_pulls_it_again() {
    let all = pattern(1, 20_000);
    assert_eq!(pulled_again(Lie::Nothing, whole), (all.clone(), Path::Pulled, 0));
    assert_eq!(pulled_again(Lie::Rots, whole), (all.clone(), Path::Pushed, 1));
    // The middle byte rots. Ranges are verified by blocks of 4,096 bytes: of others nothing is read.
    for (from, len, rots) in [
        (100, 1000, false),
        (9_999, 10, true),
        (8_192, 100, true),
        (12_200, 100, true),
        (12_288, 7_712, false),
        (4_000, 15_000, true),
    ] {
        let part =
            |reader: &Reader, id, mode| Wanted { offset: from, len: Some(len), ..whole(reader, id, mode) };
        let right = all[from as usize..][..len as usize].to_vec();
        assert_eq!(pulled_again(Lie::Nothing, part), (right.clone(), Path::Pulled, 0), "{len} at {from}");
        let how = if rots { (Path::Pushed, 1) } else { (Path::Pulled, 0) };
        assert_eq!(pulled_again(Lie::Rots, part), (right, how.0, how.1), "{len} at {from}");
    }
}

#[test]
fn what_is_found_bears_the_sum_of_its_bytes_however_it_came() {
    let folder = tempfile::tempdir().unwrap();
    drop(disk(&folder, 1, 5000));
    let (mut net, reader, _exporter) = rig(folder.path(), exporter_config(), reader_config(&["0"]));
    for mode in [Mode::Push, Mode::Pull, Mode::Pull] {
        for wanted in [whole(&reader, 1, mode), range(&reader, 1, mode), whole(&reader, 1, mode)] {
            let found = net.run(reader.read(&wanted)).unwrap();
            let [part] = &found.parts[..] else { panic!("one part") };
            assert_eq!(part.crc32c, wavetank_volume::crc32c_raw(&found.to_vec()), "{wanted:?}");
        }
    }
    assert_eq!(reader.stats().grants, 1, "who wants it pushed asks for no grant");
}

/// Whether ranges of a verified needle stay right while its segment is filled with others, how many were filled anew, and what
/// came damaged.
fn crowded(lie: Lie) -> (bool, u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    drop(disk(&folder, 40, 30_000));
    let segments = SegmentConfig {
        segment_bytes: 128 << 10,
        bytes_max: 256 << 10,
        grant_ns: 200 * MS,
        margin_ns: 10 * MS,
        ..SegmentConfig::default()
    };
    let config = ExporterConfig { segments, ..exporter_config() };
    let (mut net, reader, exporter) = rig(folder.path(), config, reader_config(&["0"]));
    exporter.plant(lie);
    assert!(net.run(reader.read(&range(&reader, 1, Mode::Pull))).is_ok());
    let mut right = true;
    for id in 2..40 {
        // Others want places, whether they get one or not.
        let _ = net.run(reader.read(&range(&reader, id, Mode::Pull)));
        let found = net.run(reader.read(&range(&reader, 1, Mode::Auto))).unwrap();
        right &= found.to_vec() == pattern(1, 30_000)[100..1100];
        net.run_ms(12);
    }
    assert_eq!(reader.stats().connections, 1, "no key died under a reader: {:?}", reader.stats());
    (right, exporter.segment_stats().evicted, reader.stats().corrupt)
}

#[test]
fn segments_that_are_filled_anew_break_no_connection_and_no_read_and_what_is_filled_early_is_told() {
    let (right, evicted, corrupt) = crowded(Lie::Nothing);
    assert!(right && evicted > 0 && corrupt == 0, "{evicted} were filled anew, {corrupt} came damaged");
    let (right, _, corrupt) = crowded(Lie::EvictsEarly);
    assert!(
        right && corrupt > 0,
        "an exporter that keeps its seals over other bytes: {corrupt} came damaged"
    );
}

#[test]
fn a_record_that_is_damaged_in_its_segment_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    drop(disk(&folder, 1, 5000));
    let (mut net, reader, exporter) = rig(folder.path(), exporter_config(), reader_config(&["0"]));
    exporter.plant(Lie::FlipsBit);
    for _ in 0..4 {
        let found = net.run(reader.read(&range(&reader, 1, Mode::Auto))).unwrap();
        assert_eq!((found.to_vec(), found.path), (pattern(1, 5000)[100..1100].to_vec(), Path::Pushed));
    }
    assert!(reader.stats().corrupt > 0);
    assert!(net.run(reader.read(&range(&reader, 1, Mode::Pull))).is_err());
}

/// How a shelf lies.
#[derive(Clone, Copy, PartialEq)]
enum ShelfLie {
    Nothing,
    /// It serves the next needle for each.
    Swaps,
    /// It never doubts what it verified.
    IsSure,
}

/// A shelf, how it lies, and how often it was asked to doubt.
struct LyingShelf(StoreShelf, ShelfLie, Rc<Cell<u32>>);

impl Shelf for LyingShelf {
    fn refresh(&self) -> Vec<u32> {
        self.0.refresh()
    }

    fn volumes(&self) -> Vec<Standing> {
        self.0.volumes()
    }

    fn find(&self, volume: u32, id: NeedleId, cookie: Cookie, now_unix_ns: u64) -> Result<Shelved, Absence> {
        let id = if self.1 == ShelfLie::Swaps { NeedleId(id.0 + 1) } else { id };
        self.0.find(volume, id, cookie, now_unix_ns)
    }

    fn read(
        &self,
        needle: &Shelved,
        offset: u64,
        len: u64,
        into: &Lease,
        at: u64,
    ) -> Result<Option<u32>, Absence> {
        self.0.read(needle, offset, len, into, at)
    }

    fn doubt(&self, needle: &Shelved) {
        self.2.set(self.2.get() + 1);
        if self.1 != ShelfLie::IsSure {
            self.0.doubt(needle);
        }
    }

    fn record(&self, needle: &Shelved, into: &mut Vec<u8>) -> Result<(), Absence> {
        self.0.record(needle, into)
    }

    fn is_current(&self, volume: u32, id: NeedleId, which: &Which) -> bool {
        self.0.is_current(volume, id, which)
    }
}

/// A reader of an exporter whose shelf lies, and how often that was asked to doubt.
fn shelf_rig(folder: &std::path::Path, lie: ShelfLie) -> (Net, Reader, Rc<Cell<u32>>) {
    let path = folder.to_path_buf();
    let doubts = Rc::new(Cell::new(0));
    let count = Rc::clone(&doubts);
    let begin = Box::new(move |messenger| {
        let shelf = LyingShelf(StoreShelf::open(std::slice::from_ref(&path)), lie, Rc::clone(&count));
        let exporter = Exporter::new(shelf, exporter_config(), nonces(1));
        LocalMessenger::new(messenger, exporter.gate(exporter.services()))
    });
    let net = Net::new(1, vec![begin]);
    let reader = Reader::new(net.client(), reader_config(&["0"]), nonces(2), None);
    (net, reader, doubts)
}

/// Flips a bit of the first needle's data, in the file.
fn rot(folder: &std::path::Path) {
    let path = folder.join("5.dat");
    let mut dat = std::fs::read(&path).unwrap();
    let data = pattern(1, 5000);
    let at = dat.windows(64).position(|window| window == &data[..64]).expect("the needle's data");
    dat[at + 2500] ^= 1;
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &dat, 0).unwrap();
}

#[test]
fn what_rotted_in_the_file_since_it_was_verified_is_never_pushed_and_costs_no_connection() {
    for lie in [ShelfLie::Nothing, ShelfLie::IsSure] {
        let folder = tempfile::tempdir().unwrap();
        drop(disk(&folder, 2, 5000));
        let (mut net, reader, _) = shelf_rig(folder.path(), lie);
        let mut push = |id| net.run(reader.read(&whole(&reader, id, Mode::Push))).map(|found| found.to_vec());
        for id in [1, 2] {
            assert_eq!(push(id).unwrap(), pattern(id, 5000));
        }
        rot(folder.path());
        let (rotten, other) = (push(1), push(2));
        let connections = reader.stats().connections;
        match lie {
            ShelfLie::IsSure => assert!(matches!(rotten, Err(NotRead::Corrupt(_))), "{rotten:?}"),
            _ => {
                assert_eq!(rotten, Err(NotRead::Absent(Absence::Damaged)));
                assert_eq!((reader.stats().corrupt, connections), (1, 1));
            }
        }
        assert_eq!(other.unwrap(), pattern(2, 5000));
    }
}

#[test]
fn a_doubt_makes_the_exporter_read_no_more_than_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    drop(disk(&folder, 1, 5000));
    let (mut net, reader, doubts) = shelf_rig(folder.path(), ShelfLie::Nothing);
    let messenger = reader.messenger().clone();
    net.run(async {
        let connection = enter(&messenger).await;
        for (offset, len, doubted) in [(0, 1, 0), (1, 4999, 0), (0, 4999, 0), (0, 0, 1), (0, 5000, 2)] {
            let call = NeedleCall {
                volume: VOLUME,
                id: 1,
                cookie: COOKIE,
                offset,
                len,
                wants_grant: false,
                only_grant: false,
                only: None,
                doubts: true,
            };
            let found = ask(&messenger, connection, &call, Some(5000)).await.unwrap();
            let right = &pattern(1, 5000)[offset as usize..][..found.placed as usize];
            assert_eq!((found.crc32c, doubts.get()), (wavetank_volume::crc32c_raw(right), doubted));
        }
    });
}

#[test]
fn what_rotted_in_ones_own_file_since_it_was_verified_is_never_served() {
    for lie in [ShelfLie::Nothing, ShelfLie::IsSure] {
        let folder = tempfile::tempdir().unwrap();
        drop(disk(&folder, 2, 5000));
        let shelf = LyingShelf(StoreShelf::open(&[folder.path().to_path_buf()]), lie, Rc::default());
        let exporter = Exporter::new(shelf, exporter_config(), nonces(1));
        let region = Region::allocate(&RegionSpec::new(1 << 20)).unwrap();
        let arena = Rc::new(RefCell::new(Arena::new(region, MrId(7)).unwrap()));
        let home = LocalHome::new(exporter, arena);
        let read = |id| {
            let wanted = Wanted::whole(VOLUME, id, COOKIE, Instant::FAR);
            home.read(&wanted, Instant(0)).expect("it is here").map(|found| found.to_vec())
        };
        for id in [1, 2] {
            assert_eq!(read(id).unwrap(), pattern(id, 5000));
        }
        rot(folder.path());
        assert_eq!(read(2).unwrap(), pattern(2, 5000));
        match lie {
            ShelfLie::IsSure => assert_ne!(read(1).unwrap(), pattern(1, 5000), "these bytes would be served"),
            _ => assert_eq!(read(1), Err(NotRead::Absent(Absence::Damaged))),
        }
    }
}

#[test]
fn another_needle_than_was_asked_for_is_told_by_who_pulls_and_by_these_tests_where_it_is_pushed() {
    let folder = tempfile::tempdir().unwrap();
    drop(disk(&folder, 2, 5000));
    let (mut net, reader, _) = shelf_rig(folder.path(), ShelfLie::Swaps);
    assert!(net.run(reader.read(&range(&reader, 1, Mode::Pull))).is_err(), "the record has another id");
    let pushed = net.run(reader.read(&range(&reader, 1, Mode::Push))).unwrap();
    assert_ne!(pushed.to_vec(), pattern(1, 5000)[100..1100], "an exporter is trusted with what it pushes");
}
