//! Files that rot, are cut, or were never ours.

use std::rc::Rc;

use wavetank_rpc::{AppliedLimits, ChunkError, FileStore, Name, StoreLimits};

use crate::disk::FakeDisk;
use crate::rig::{open, pattern, read, whole, write, written};

/// A chunk of three writes, each durable.
fn three() -> (FakeDisk, Vec<u8>) {
    let disk = FakeDisk::default();
    let store = open(Rc::new(disk.clone()));
    let mut expected = Vec::new();
    for (sequence, (offset, len)) in (0..).zip([(0, 5000), (3000, 3000), (10, 20)]) {
        let data = pattern(sequence, len);
        assert_eq!(write(&store, sequence, offset, &data, true), Ok(()));
        expected = written(&expected, offset, &data);
    }
    (disk, expected)
}

#[test]
fn no_flipped_byte_of_a_file_makes_a_wrong_byte() {
    let (disk, expected) = three();
    let mut noticed = 0;
    for at in 0..disk.only_len() {
        for mask in [1, 0x80, 0xff] {
            let rotten = disk.copy();
            rotten.damage(|bytes| bytes[at] ^= mask);
            match whole(&open(Rc::new(rotten))) {
                Ok(data) => assert!(data == expected, "byte {at} ^ {mask:#x} is read as good"),
                Err(ChunkError::CorruptAtRest { .. }) => noticed += 1,
                Err(other) => panic!("byte {at} ^ {mask:#x}: {other:?}"),
            }
        }
    }
    // The two newest places of both blocks, their heads and their header: a check that never fires is none.
    assert!(noticed > 3 * 2 * 4096, "{noticed}");
}

#[test]
fn a_file_that_was_cut_is_never_an_older_chunk() {
    let (disk, expected) = three();
    let len = disk.only_len();
    for cut in (0..len).step_by(61) {
        let short = disk.copy();
        short.damage(|bytes| bytes.truncate(cut));
        let told = whole(&open(Rc::new(short)));
        // Down to nothing at all: that is what a file looks like that was just made.
        if cut > 2100 || told.as_deref() != Ok(&[]) {
            assert!(matches!(told, Err(ChunkError::CorruptAtRest { .. })), "cut at {cut}: {told:?}");
        }
    }
    assert_eq!(whole(&open(Rc::new(disk))), Ok(expected));
}

#[test]
fn damage_in_one_block_leaves_the_others_readable_and_is_mended() {
    let disk = FakeDisk::default();
    let store = open(Rc::new(disk.clone()));
    let data = pattern(0, 3 * 4096);
    assert_eq!(write(&store, 0, 0, &data, true), Ok(()));
    disk.damage(|bytes| bytes[8192 + 4096 + 5] ^= 1);
    let store = open(Rc::new(disk));
    assert_eq!(read(&store, 0, 3 * 4096), Err(ChunkError::CorruptAtRest { offset: 4096 }));
    assert_eq!(read(&store, 5000, 1), Err(ChunkError::CorruptAtRest { offset: 4096 }));
    assert_eq!(read(&store, 0, 4096).as_deref(), Ok(&data[..4096]));
    assert_eq!(write(&store, 1, 5000, &[1], true), Err(ChunkError::CorruptAtRest { offset: 4096 }));
    assert_eq!(write(&store, 2, 4096, &data[4096..8192], true), Ok(()));
    assert_eq!(whole(&store), Ok(data));
}

#[test]
fn files_of_others_are_named_left_alone_and_never_read_as_chunks() {
    let (disk, expected) = three();
    let name = disk.only_name();
    let text = b"#!/bin/sh\nsomebody else's\n";
    let stray = Name { shard: 9, file: "notes.txt".into() };
    let wrong_shard = Name { shard: name.shard.wrapping_add(1), ..name.clone() };
    disk.plant(stray.clone(), text);
    disk.plant(wrong_shard.clone(), text);
    let store = open(Rc::new(disk.clone()));
    let mut named = [stray, wrong_shard];
    named.sort();
    assert_eq!(store.foreign(), named);
    assert_eq!(whole(&store), Ok(expected));
    assert_eq!(disk.files(), 3);

    let disk = FakeDisk::default();
    disk.plant(name, &text.repeat(1000));
    let store = open(Rc::new(disk));
    let damaged = ChunkError::CorruptAtRest { offset: ChunkError::WHOLE_CHUNK };
    assert_eq!(whole(&store), Err(damaged));
    assert_eq!(write(&store, 0, 0, &[1], true), Err(damaged), "it is not overwritten either");
}

#[test]
fn a_chunk_longer_than_may_be_is_refused_before_anything_is_allocated() {
    let (disk, _) = three();
    let limits = StoreLimits { chunk_bytes_max: 4096, ..StoreLimits::default() };
    let store = FileStore::open(Rc::new(disk), limits, AppliedLimits::default()).expect("a store");
    assert!(matches!(whole(&store), Err(ChunkError::TooLarge { limit_bytes: 4096, .. })));
}

#[test]
fn an_offset_of_a_peer_allocates_nothing_past_what_a_chunk_may_be() {
    let limits = StoreLimits { chunk_bytes_max: u64::MAX, ..StoreLimits::default() };
    let store =
        FileStore::open(Rc::new(FakeDisk::default()), limits, AppliedLimits::default()).expect("a store");
    for offset in [1 << 30, 1 << 50, u64::MAX] {
        let limit_bytes = 1 << 30;
        let refused = write(&store, 0, offset, &[1], true);
        assert!(matches!(refused, Err(ChunkError::TooLarge { limit_bytes: l, .. }) if l == limit_bytes));
    }
    assert_eq!(write(&store, 1, (1 << 30) - 1, &[1], true), Ok(()));
}
