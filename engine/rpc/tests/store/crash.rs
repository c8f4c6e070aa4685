//! Power that is lost amid writes: every way of keeping some of them, and part of others.

use std::rc::Rc;

use crate::disk::FakeDisk;
use crate::rig::{open, pattern, remove, whole, write, written};

/// Every sequence of answers, one after the other, to questions that depend on the answers before.
struct Ways {
    answers: Vec<(usize, usize)>,
    next: usize,
}

impl Ways {
    fn each(mut run: impl FnMut(&mut dyn FnMut(usize) -> usize)) -> usize {
        let mut ways = Ways { answers: Vec::new(), next: 0 };
        let mut count = 0;
        loop {
            ways.next = 0;
            run(&mut |below| ways.answer(below));
            count += 1;
            while ways.answers.last().is_some_and(|(answer, below)| answer + 1 == *below) {
                ways.answers.pop();
            }
            match ways.answers.last_mut() {
                Some((answer, _)) => *answer += 1,
                None => return count,
            }
        }
    }

    fn answer(&mut self, below: usize) -> usize {
        if self.next == self.answers.len() {
            self.answers.push((0, below));
        }
        self.next += 1;
        self.answers[self.next - 1].0
    }
}

#[test]
fn a_torn_write_is_invisible_and_its_repeat_makes_it_whole() {
    let disk = FakeDisk::default();
    let store = open(Rc::new(disk.clone()));
    let (a, b) = (pattern(0, 9000), pattern(1, 6000));
    assert_eq!(write(&store, 0, 0, &a, true), Ok(()));
    assert_eq!(write(&store, 1, 3000, &b, false), Ok(()));
    let after = written(&a, 3000, &b);
    let (mut old, mut new) = (0, 0);
    let ways = Ways::each(|choose| {
        let disk = disk.lose_power(choose);
        let store = open(Rc::new(disk.clone()));
        match whole(&store).expect("never damaged") {
            data if data == a => old += 1,
            data if data == after => new += 1,
            _ => panic!("a mix is read as good"),
        }
        assert_eq!(write(&store, 1, 3000, &b, true), Ok(()));
        assert_eq!(whole(&store).as_ref(), Ok(&after));
        assert_eq!(whole(&open(Rc::new(disk.lose_power(&mut |_| 0)))).as_ref(), Ok(&after));
    });
    assert!(ways > 1000 && old > 100 && new >= 1, "{ways} ways, {old} old, {new} new");
}

#[test]
fn the_first_write_of_a_chunk_is_there_or_not() {
    let disk = FakeDisk::default();
    let data = pattern(0, 5000);
    assert_eq!(write(&open(Rc::new(disk.clone())), 0, 0, &data, false), Ok(()));
    let mut seen = [0, 0];
    Ways::each(|choose| {
        let store = open(Rc::new(disk.lose_power(choose)));
        let found = whole(&store).expect("never damaged");
        assert!(found.is_empty() || found == data);
        seen[usize::from(found.is_empty())] += 1;
        assert_eq!(write(&store, 1, 0, &data, true), Ok(()), "what is left is no hindrance");
    });
    assert!(seen[0] >= 1 && seen[1] > 10, "{seen:?}");
}

#[test]
fn what_was_answered_as_durable_survives_any_loss_of_power() {
    let disk = FakeDisk::default();
    let store = open(Rc::new(disk.clone()));
    let data = pattern(0, 9000);
    assert_eq!(write(&store, 0, 0, &data, false), Ok(()));
    assert_eq!(write(&store, 0, 0, &data, true), Ok(()), "a repeat may ask for more than the first");
    Ways::each(|choose| assert_eq!(whole(&open(Rc::new(disk.lose_power(choose)))).as_ref(), Ok(&data)));
    assert_eq!(remove(&store, 1, true), Ok(()));
    Ways::each(|choose| {
        let store = open(Rc::new(disk.lose_power(choose)));
        assert_eq!(whole(&store), Ok(Vec::new()));
        assert_eq!(write(&store, 0, 0, &data, true), Ok(()));
        assert_eq!(whole(&store), Ok(Vec::new()), "a repeat from before does not bring it back");
    });
}

#[test]
fn what_a_torn_write_left_behind_is_never_taken_for_what_came_later() {
    let disk = FakeDisk::default();
    let store = open(Rc::new(disk.clone()));
    let data: Vec<Vec<u8>> = (0..5).map(|sequence| pattern(sequence, 4096)).collect();
    assert_eq!(write(&store, 0, 0, &data[0], true), Ok(()));
    assert_eq!(write(&store, 1, 0, &data[1], false), Ok(()));
    assert_eq!(write(&store, 2, 0, &data[2], false), Ok(()));
    // Of the first record a block is lost, the second is whole: block, head, block, head; everything else is there.
    let mut question = 0;
    let pending = disk.pending();
    let torn = disk.lose_power(&mut |below| {
        question += 1;
        usize::from(below == 3 && question == 3)
    });
    assert!(pending >= 4);
    let store = open(Rc::new(torn.clone()));
    assert_eq!(whole(&store).as_ref(), Ok(&data[0]));
    // The next write takes the place of the lost one exactly; that the file was cut is lost again.
    assert_eq!(write(&store, 3, 0, &data[3], false), Ok(()));
    Ways::each(|choose| {
        let found = whole(&open(Rc::new(torn.lose_power(choose)))).expect("never damaged");
        assert!(found == data[0] || found == data[3], "an older write is above a newer one");
    });
}

#[test]
fn old_places_are_given_back_and_nothing_else() {
    let disk = FakeDisk::default();
    let store = open(Rc::new(disk.clone()));
    let mut expected = Vec::new();
    for sequence in 0..200 {
        let data = pattern(sequence, 5000);
        let offset = sequence % 7 * 1000;
        assert_eq!(write(&store, sequence, offset, &data, false), Ok(()));
        expected = written(&expected, offset, &data);
        assert_eq!(whole(&store).as_ref(), Ok(&expected));
    }
    assert!(disk.renames() > 2, "{}", disk.renames());
    assert!(disk.only_len() < 600 * 1024, "{}", disk.only_len());
    assert_eq!(store.used_bytes(), disk.only_len() as u64);
    let store = open(Rc::new(disk.copy()));
    assert_eq!(whole(&store).as_ref(), Ok(&expected));
    for sequence in 0..200 {
        let data = pattern(sequence, 5000);
        assert_eq!(write(&store, sequence, sequence % 7 * 1000, &data, false), Ok(()));
    }
    assert_eq!(whole(&store).as_ref(), Ok(&expected), "copies keep the names of writes");
}

#[test]
fn a_removed_chunk_leaves_nothing_once_its_names_are_not_needed() {
    use wavetank_rpc::ChunkStore;
    let disk = FakeDisk::default();
    let store = open(Rc::new(disk.clone()));
    assert_eq!(write(&store, 0, 0, &pattern(0, 100_000), true), Ok(()));
    assert_eq!(remove(&store, 1, true), Ok(()));
    assert!(disk.only_len() <= 16 * 1024, "{}", disk.only_len());
    let store = open(Rc::new(disk.copy()));
    assert_eq!(write(&store, 0, 0, &pattern(0, 100_000), true), Ok(()));
    assert_eq!(whole(&store), Ok(Vec::new()));
    drop(store);
    let store = open(Rc::new(disk.clone()));
    store.end_grace();
    assert_eq!((disk.files(), store.used_bytes()), (0, 0));
}

#[test]
fn a_flush_makes_all_durable_also_what_is_no_longer_at_hand() {
    use crate::rig::{lease, order, wait, write_with};
    use wavetank_rpc::{ChunkKey, ChunkStore};
    let disk = FakeDisk::default();
    let store = open(Rc::new(disk.clone()));
    let data = pattern(0, 100);
    // More than are kept open.
    let keys = (0..700).map(|index| ChunkKey { inode: 1, index });
    for (sequence, key) in (0..).zip(keys.clone()) {
        assert_eq!(write_with(&store, &order(key, sequence, 0, &data, false), &data), Ok(()));
    }
    assert_eq!(wait(store.flush()), Ok(()));
    let lost = disk.lose_power(&mut |below| below.min(2) - 1);
    let store = open(Rc::new(lost));
    let lease = lease(100);
    for key in keys {
        assert_eq!(wait(store.read(key, 0, 100, &lease, 0)), Ok(crc32c::crc32c(&data)), "{key}");
    }
}
