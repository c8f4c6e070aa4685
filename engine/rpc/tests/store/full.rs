//! Disks that are full, may not be written, or do not keep what they took.

use std::rc::Rc;

use wavetank_rpc::ChunkError;

use crate::disk::FakeDisk;
use crate::rig::{open, pattern, remove, whole, write};

#[test]
fn a_disk_that_is_full_at_any_byte_of_a_write_leaves_the_chunk_as_it_was() {
    let (old, new) = (pattern(0, 9000), pattern(1, 6000));
    let before = {
        let disk = FakeDisk::default();
        assert_eq!(write(&open(Rc::new(disk.clone())), 0, 0, &old, true), Ok(()));
        disk
    };
    let len = before.only_len();
    for space in (len..len + 12_288).step_by(509) {
        let disk = before.copy();
        disk.set_space(Some(space));
        let store = open(Rc::new(disk.clone()));
        assert!(matches!(write(&store, 1, 1000, &new, true), Err(ChunkError::NoSpace { .. })), "{space}");
        assert_eq!(whole(&store).as_ref(), Ok(&old));
        assert_eq!(whole(&open(Rc::new(disk.copy()))).as_ref(), Ok(&old), "and for who opens it next");
        disk.set_space(None);
        assert!(write(&store, 1, 1000, &new, true).is_err(), "its writer saw it fail, so it never happens");
        assert_eq!(write(&store, 2, 0, &new, true), Ok(()));
        assert_eq!(whole(&store).as_deref().map(|data| &data[..6000]), Ok(&new[..]));
    }
}

#[test]
fn a_full_disk_can_be_emptied() {
    let disk = FakeDisk::default();
    let store = open(Rc::new(disk.clone()));
    assert_eq!(write(&store, 0, 0, &pattern(0, 9000), true), Ok(()));
    disk.set_space(Some(0));
    assert_eq!(remove(&store, 1, true), Ok(()));
    assert_eq!((whole(&store), disk.files()), (Ok(Vec::new()), 0));
    assert_eq!(store.used_bytes(), 0);
}

#[test]
fn a_disk_that_refuses_is_a_value_and_what_it_has_is_read() {
    for (errno, told) in [
        (30, ChunkError::ReadOnly),
        (13, ChunkError::ReadOnly),
        (5, ChunkError::Io { errno: 5 }),
        (122, ChunkError::NoSpace { need_bytes: 0, free_bytes: 0 }),
    ] {
        let disk = FakeDisk::default();
        let store = open(Rc::new(disk.clone()));
        let data = pattern(0, 9000);
        assert_eq!(write(&store, 0, 0, &data, true), Ok(()));
        disk.refuse(Some(errno));
        assert_eq!(write(&store, 1, 0, &pattern(1, 9000), true), Err(told));
        assert_eq!(whole(&store).as_ref(), Ok(&data));
    }
}

#[test]
fn a_sync_that_failed_is_not_asked_again() {
    let disk = FakeDisk::default();
    let store = open(Rc::new(disk.clone()));
    assert_eq!(write(&store, 0, 0, &pattern(0, 100), true), Ok(()));
    disk.fail_sync();
    let failed = Err(ChunkError::Io { errno: 5 });
    assert_eq!(write(&store, 1, 0, &pattern(1, 100), true), failed);
    assert_eq!(write(&store, 1, 0, &pattern(1, 100), true), failed, "the repeat is told the same");
    assert_eq!(write(&store, 2, 0, &pattern(2, 100), false), failed, "nothing is built on what may be lost");
}
