//! Calls that overlap while the disk takes its time, and calls that are given up.

use std::pin::Pin;
use std::rc::Rc;

use proptest::prelude::*;
use tokio_test::task::{self, Spawn};
use wavetank_rpc::{ChunkError, ChunkStore, FileStore};

use crate::disk::FakeDisk;
use crate::rig::{KEY, lease, open, order, pattern, wait, whole, write, written};

type Call = Pin<Box<dyn Future<Output = Result<(), ChunkError>>>>;

fn call(store: &Rc<FileStore>, sequence: u64, offset: u64, len: usize, durable: bool) -> Spawn<Call> {
    let store = store.clone();
    task::spawn(Box::pin(async move {
        let data = pattern(sequence, len);
        let lease = lease(len);
        lease.write(0, &data);
        store.write(&order(KEY, sequence, offset, &data, durable), &lease, 0).await
    }))
}

#[derive(Clone, Debug)]
enum Act {
    Start { offset: u64, len: usize, durable: bool },
    Look(usize),
    GiveUp(usize),
    Repeat(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..30_000u64, 16..30_000usize, any::<bool>())
            .prop_map(|(offset, len, durable)| Act::Start { offset, len, durable }),
        12 => any::<usize>().prop_map(Act::Look),
        1 => any::<usize>().prop_map(Act::GiveUp),
        1 => any::<usize>().prop_map(Act::Repeat),
    ]
}

fn run(acts: Vec<Act>, choices: Vec<u8>) -> u64 {
    let disk = FakeDisk::default();
    disk.slow_down();
    let store = Rc::new(open(Rc::new(disk.clone())));
    // What the chunk was after each write, and up to which of them it is durable for who saw the answers.
    let mut history = vec![Vec::new()];
    let mut durable_to = 0;
    let mut writes: Vec<(u64, usize)> = Vec::new();
    let mut running: Vec<(Spawn<Call>, usize, bool)> = Vec::new();
    for act in acts {
        match act {
            Act::Start { offset, len, durable } => {
                let sequence = writes.len() as u64;
                let mut started = call(&store, sequence, offset, len, durable);
                let answer = started.poll();
                if answer == std::task::Poll::Ready(Err(ChunkError::Busy)) {
                    // A copy is being made and the file has grown too much: it is tried again as another write.
                    continue;
                }
                writes.push((offset, len));
                history.push(written(&history[sequence as usize], offset, &pattern(sequence, len)));
                match answer {
                    std::task::Poll::Ready(answer) => assert_eq!(answer, Ok(())),
                    std::task::Poll::Pending => running.push((started, sequence as usize + 1, durable)),
                }
            }
            Act::Look(which) if !running.is_empty() => {
                let which = which % running.len();
                if let std::task::Poll::Ready(answer) = running[which].0.poll() {
                    assert_eq!(answer, Ok(()));
                    let (_, entry, durable) = running.swap_remove(which);
                    if durable {
                        durable_to = durable_to.max(entry);
                    }
                }
            }
            Act::GiveUp(which) if !running.is_empty() => {
                drop(running.swap_remove(which % running.len()));
            }
            Act::Repeat(which) if !writes.is_empty() => {
                let which = which % writes.len();
                let (offset, len) = writes[which];
                let mut repeat = call(&store, which as u64, offset, len, true);
                if repeat.poll().is_pending() {
                    running.push((repeat, which + 1, true));
                }
            }
            _ => {}
        }
        assert!(whole(&*store).as_ref() == Ok(&history[writes.len()]), "what was written last is read");
    }
    let mut next = choices.iter().cycle();
    let lost = disk.lose_power(&mut |below| usize::from(*next.next().expect("some")) % below);
    let after = open(Rc::new(lost));
    let found = whole(&after).expect("a loss of power is no damage");
    let at = history.iter().rposition(|entry| *entry == found).expect("it was this once");
    assert!(at >= durable_to, "{durable_to} writes were answered as durable, {at} are there");
    let now = history.last().expect("one");
    for (sequence, (offset, len)) in (0..).zip(&writes) {
        assert_eq!(write(&after, sequence, *offset, &pattern(sequence, *len), false), Ok(()));
    }
    assert!(whole(&after).as_ref() == Ok(now), "each repeat is applied or recognised");
    for (mut call, ..) in running {
        let answer = (0..1000).find_map(|_| match call.poll() {
            std::task::Poll::Ready(answer) => Some(answer),
            std::task::Poll::Pending => None,
        });
        assert_eq!(answer, Some(Ok(())), "every call ends");
    }
    assert_eq!(whole(&*store).as_ref(), Ok(now));
    disk.renames()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn calls_overlap_as_they_like(
        acts in proptest::collection::vec(act(), 1..150),
        choices in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        run(acts, choices);
    }
}

#[test]
fn a_write_that_comes_while_its_file_is_copied_is_not_lost() {
    let disk = FakeDisk::default();
    let store = Rc::new(open(Rc::new(disk.clone())));
    let mut sequence = 0;
    // Up to the write that starts a copy, which is when it has to wait for the first time.
    disk.slow_down();
    let mut copying = loop {
        let mut started = call(&store, sequence, 0, 20_000, false);
        sequence += 1;
        if started.poll().is_pending() {
            break started;
        }
    };
    let late = pattern(sequence, 5000);
    assert_eq!(write(&*store, sequence, 100, &late, false), Ok(()));
    while copying.poll().is_pending() {}
    let expected = written(&pattern(sequence - 1, 20_000), 100, &late);
    assert_eq!(whole(&*store).as_ref(), Ok(&expected));
    assert_eq!(disk.renames(), 0, "the copy is of the past");
    assert_eq!(disk.files(), 1, "and is gone");
    let mut next = call(&store, sequence, 100, 5000, false);
    while next.poll().is_pending() {}
    assert_eq!(disk.renames(), 1, "the next call tries again");
    assert_eq!(whole(&open(Rc::new(disk.copy()))), Ok(expected));
    assert_eq!(wait(store.stat(KEY)).map(|stat| stat.len_bytes), Ok(20_000));
}
