//! What every store promises.

use std::rc::Rc;

use wavetank_rpc::{
    AppliedLimits, ChunkError, ChunkStore, FileStore, MemoryStore, Once, StoreLimits, WriteId,
};

use crate::disk::FakeDisk;
use crate::rig::{KEY, lease, order, pattern, read, remove, wait, whole, write, write_with, written};

const LIMITS: StoreLimits =
    StoreLimits { call_bytes_max: 100_000, chunk_bytes_max: 1_000_000, capacity_bytes: 400_000 };

fn each(check: impl Fn(&dyn ChunkStore)) {
    check(&MemoryStore::new(LIMITS, AppliedLimits::default()));
    check(&FileStore::open(Rc::new(FakeDisk::default()), LIMITS, AppliedLimits::default()).expect("a store"));
}

#[test]
fn what_is_written_is_read_at_any_offset_and_gaps_are_zeros() {
    each(|store| {
        let mut expected = Vec::new();
        let writes = [
            (0, 1),
            (5, 10),
            (4095, 2),
            (4096, 4096),
            (9000, 20_000),
            (100, 9000),
            (50_000, 1),
            (45_000, 9192),
        ];
        for (sequence, (offset, len)) in (0..).zip(writes) {
            let data = pattern(sequence, len);
            assert_eq!(write(store, sequence, offset, &data, sequence % 2 == 0), Ok(()));
            expected = written(&expected, offset, &data);
            assert_eq!(whole(store).as_ref(), Ok(&expected));
        }
        for (offset, len) in [(0, 1), (1, 4096), (4096, 8192), (8191, 2), (30_000, 20_000)] {
            let part = &expected[offset as usize..offset as usize + len];
            assert_eq!(read(store, offset, len).as_deref(), Ok(part));
        }
    });
}

#[test]
fn what_cannot_be_is_a_value_and_changes_nothing() {
    each(|store| {
        assert_eq!(read(store, 0, 1), Err(ChunkError::NotFound));
        assert_eq!(remove(store, 90, true), Err(ChunkError::NotFound));
        let data = pattern(0, 5000);
        assert_eq!(write(store, 0, 0, &data, true), Ok(()));
        for offset in [1, 5000, 900_000] {
            assert_eq!(read(store, offset, 5000), Err(ChunkError::OutOfRange { len_bytes: 5000 }));
        }
        assert_eq!(read(store, 0, 0), Err(ChunkError::Empty));
        assert!(matches!(read(store, u64::MAX - 1, 5000), Err(ChunkError::TooLarge { .. })));
        assert!(matches!(read(store, 0, 100_001), Err(ChunkError::TooLarge { .. })));
        assert!(matches!(write(store, 1, 999_999, &[1, 2], true), Err(ChunkError::TooLarge { .. })));
        let short = lease(10);
        let past = wait(store.read(KEY, 0, 100, &short, u64::MAX));
        assert!(matches!(past, Err(ChunkError::TooLarge { .. })), "a lease that is too short");
        let long = order(KEY, 2, 0, &pattern(2, 100), true);
        assert!(matches!(wait(store.write(&long, &short, 0)), Err(ChunkError::TooLarge { .. })));
        assert_eq!(whole(store), Ok(data));
    });
}

#[test]
fn data_that_is_not_what_its_writer_says_is_never_kept() {
    each(|store| {
        let data = pattern(0, 9000);
        assert_eq!(write(store, 0, 0, &data, true), Ok(()));
        let mut wrong = pattern(1, 6000);
        let order = order(KEY, 1, 1000, &wrong, true);
        wrong[4500] ^= 4;
        let found = crc32c::crc32c(&wrong);
        let refused = write_with(store, &order, &wrong);
        assert_eq!(refused, Err(ChunkError::CorruptOnTheWay { expected: order.crc32c, found }));
        assert_eq!(whole(store), Ok(data));
    });
}

#[test]
fn a_repeat_changes_nothing_and_gets_the_first_answer() {
    each(|store| {
        let (first, second) = (pattern(0, 6000), pattern(1, 6000));
        assert_eq!(write(store, 0, 0, &first, false), Ok(()));
        assert_eq!(write(store, 1, 0, &second, false), Ok(()));
        assert_eq!(write(store, 0, 0, &first, true), Ok(()));
        assert_eq!(whole(store).as_ref(), Ok(&second), "the late repeat is not applied");
        assert_eq!(write(store, 0, 1, &first, false), Err(ChunkError::ConflictingId));
        assert_eq!(remove(store, 2, false), Ok(()));
        assert_eq!(write(store, 3, 0, &first, false), Ok(()));
        assert_eq!(remove(store, 2, false), Ok(()));
        assert_eq!(whole(store).as_ref(), Ok(&first), "the late removal is not done again");
        let mut closing = order(KEY, 9, 0, &second, false);
        closing.once.oldest_open = 5;
        assert_eq!(write_with(store, &closing, &second), Ok(()));
        assert_eq!(write(store, 0, 0, &first, false), Err(ChunkError::Stale { oldest_open: 5 }));
    });
}

#[test]
fn a_store_that_is_full_says_so_keeps_what_it_has_and_can_be_emptied() {
    each(|store| {
        let data = pattern(0, 100_000);
        assert_eq!(write(store, 0, 0, &data, true), Ok(()));
        let mut kept = data;
        let mut sequence = 1;
        loop {
            let more = pattern(sequence, 90_000);
            let offset = sequence * 100_000;
            match write(store, sequence, offset, &more, true) {
                Ok(()) => kept = written(&kept, offset, &more),
                Err(ChunkError::NoSpace { need_bytes, free_bytes }) => {
                    assert!(need_bytes > free_bytes);
                    break;
                }
                other => panic!("{other:?}"),
            }
            sequence += 1;
        }
        let stat = wait(store.stat(KEY)).expect("there");
        assert_eq!(stat.len_bytes, kept.len() as u64);
        assert_eq!(read(store, 0, 100_000).as_deref(), Ok(&kept[..100_000]));
        assert_eq!(remove(store, 99, true), Ok(()));
        assert_eq!(write(store, 100, 0, &pattern(100, 90_000), true), Ok(()), "there is room again");
    });
}

#[test]
fn a_writer_that_is_gone_makes_room_for_another() {
    let limits = AppliedLimits { writers_max: 1, sequences_max: 8 };
    let stores: [Box<dyn ChunkStore>; 2] = [
        Box::new(MemoryStore::new(LIMITS, limits)),
        Box::new(FileStore::open(Rc::new(FakeDisk::default()), LIMITS, limits).expect("a store")),
    ];
    for store in stores {
        let data = pattern(0, 10);
        assert_eq!(write(&*store, 0, 0, &data, true), Ok(()));
        let mut other = order(KEY, 0, 0, &data, true);
        other.once = Once { id: WriteId { writer: 2, sequence: 0 }, oldest_open: 0 };
        assert_eq!(write_with(&*store, &other, &data), Err(ChunkError::Busy));
        store.retire(1);
        assert_eq!(write_with(&*store, &other, &data), Ok(()));
    }
}

#[test]
fn a_bit_that_memory_loses_is_noticed_and_a_whole_write_mends_it() {
    let store = MemoryStore::new(LIMITS, AppliedLimits::default());
    let data = pattern(0, 9000);
    assert_eq!(write(&store, 0, 0, &data, false), Ok(()));
    assert!(store.flip_bit(KEY, 5000, 3));
    assert!(!store.flip_bit(KEY, 50_000, 3));
    assert_eq!(read(&store, 0, 9000), Err(ChunkError::CorruptAtRest { offset: 4096 }));
    assert_eq!(read(&store, 0, 4096).as_deref(), Ok(&data[..4096]));
    assert_eq!(write(&store, 1, 5000, &[1], false), Err(ChunkError::CorruptAtRest { offset: 4096 }));
    assert_eq!(write(&store, 2, 4096, &data[4096..8192], false), Ok(()));
    assert_eq!(whole(&store), Ok(data));
}
