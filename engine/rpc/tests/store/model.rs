//! Any order of sends, repeats, lost answers, restarts and losses of power: each write is applied at most once, and exactly
//! once, for good, if it was durable and its answer was seen.
//!
//! The model is the list of what the chunk was after each write. A loss of power may take it back to any entry from the
//! last durable one on; which, is seen by reading. Every entry differs from all others that it could be taken for, as a
//! write's bytes are its own.

use std::rc::Rc;

use proptest::prelude::*;
use wavetank_rpc::{AppliedLimits, ChunkError, ChunkStore, MemoryStore, StoreLimits};

use crate::disk::FakeDisk;
use crate::rig::{open, pattern, remove, whole, write, written};

#[derive(Clone, Debug)]
enum Act {
    Write { offset: u64, len: usize, durable: bool },
    Remove,
    Repeat { which: usize, durable: bool },
    Restart,
    LosePower { choices: Vec<u8> },
    DieIn { changes: u64, offset: u64, len: usize, choices: Vec<u8> },
}

fn act(power: bool) -> impl Strategy<Value = Act> {
    let place = (0..9000u64, 16..9000usize);
    let choices = proptest::collection::vec(any::<u8>(), 1..24);
    let loud = u32::from(power);
    prop_oneof![
        12 => (place.clone(), any::<bool>()).prop_map(|((offset, len), durable)| Act::Write { offset, len, durable }),
        1 => Just(Act::Remove),
        8 => (any::<usize>(), any::<bool>()).prop_map(|(which, durable)| Act::Repeat { which, durable }),
        loud => Just(Act::Restart),
        2 * loud => choices.clone().prop_map(|choices| Act::LosePower { choices }),
        2 * loud => (0..12u64, place, choices)
            .prop_map(|(changes, (offset, len), choices)| Act::DieIn { changes, offset, len, choices }),
    ]
}

#[derive(Clone, Debug)]
struct Sent {
    sequence: u64,
    offset: u64,
    /// Nothing for a removal.
    len: Option<usize>,
}

#[derive(Clone, Debug)]
struct Entry {
    chunk: Vec<u8>,
    by: u64,
}

struct Model {
    /// From the last durable entry on.
    history: Vec<Entry>,
    /// What is applied up to and with the last durable entry.
    durable: Vec<u64>,
    sent: Vec<Sent>,
    next: u64,
}

impl Model {
    fn now(&self) -> &[u8] {
        self.history.last().map_or(&[], |entry| &entry.chunk)
    }

    fn is_applied(&self, sequence: u64) -> bool {
        self.durable.contains(&sequence) || self.history.iter().any(|entry| entry.by == sequence)
    }

    fn apply(&mut self, sent: &Sent) {
        let chunk = match sent.len {
            Some(len) => written(self.now(), sent.offset, &pattern(sent.sequence, len)),
            None => Vec::new(),
        };
        self.history.push(Entry { chunk, by: sent.sequence });
    }

    fn all_durable(&mut self) {
        if let Some(last) = self.history.last().cloned() {
            self.durable.extend(self.history.iter().map(|entry| entry.by));
            self.history = vec![last];
        }
    }

    /// That write is durable, and so is all before it.
    fn durable_to(&mut self, sequence: u64) {
        if let Some(at) = self.history.iter().position(|entry| entry.by == sequence) {
            self.durable.extend(self.history[..=at].iter().map(|entry| entry.by));
            self.history.drain(..at);
        }
    }

    /// The power was lost, and this is what is there.
    fn settle(&mut self, found: &[u8]) {
        let at = self.history.iter().rposition(|entry| entry.chunk == found);
        let at = at.unwrap_or_else(|| panic!("{} bytes that the chunk never was", found.len()));
        self.history.truncate(at + 1);
    }

    fn send(&self, store: &dyn ChunkStore, sent: &Sent, durable: bool) -> Result<(), ChunkError> {
        match sent.len {
            Some(len) => write(store, sent.sequence, sent.offset, &pattern(sent.sequence, len), durable),
            None => remove(store, sent.sequence, durable),
        }
    }

    fn new_write(&mut self, offset: u64, len: Option<usize>) -> Sent {
        let sent = Sent { sequence: self.next, offset, len };
        self.next += 1;
        self.sent.push(sent.clone());
        sent
    }
}

fn chooser(choices: &[u8]) -> impl FnMut(usize) -> usize {
    let mut next = choices.iter().cycle();
    move |below| usize::from(*next.next().expect("at least one")) % below
}

fn run(acts: Vec<Act>, on_disk: bool) {
    let mut disk = FakeDisk::default();
    let fresh = |disk: &FakeDisk| -> Box<dyn ChunkStore> {
        if on_disk {
            Box::new(open(Rc::new(disk.clone())))
        } else {
            Box::new(MemoryStore::new(StoreLimits::default(), AppliedLimits::default()))
        }
    };
    let mut store = fresh(&disk);
    let first = Entry { chunk: Vec::new(), by: u64::MAX };
    let mut model = Model { history: vec![first], durable: Vec::new(), sent: Vec::new(), next: 0 };
    for act in acts {
        match act {
            Act::Write { offset, len, durable } => {
                let sent = model.new_write(offset, Some(len));
                assert_eq!(model.send(&*store, &sent, durable), Ok(()));
                model.apply(&sent);
                if durable {
                    model.all_durable();
                }
            }
            // Durable, as "no chunk" would otherwise be two entries that cannot be told apart.
            Act::Remove if !model.now().is_empty() => {
                let sent = model.new_write(0, None);
                assert_eq!(model.send(&*store, &sent, true), Ok(()));
                model.apply(&sent);
                model.all_durable();
            }
            Act::Remove => {}
            Act::Repeat { which, durable } if !model.sent.is_empty() => {
                let sent = model.sent[which % model.sent.len()].clone();
                assert_eq!(model.send(&*store, &sent, durable), Ok(()));
                if !model.is_applied(sent.sequence) {
                    model.apply(&sent);
                }
                if durable {
                    model.durable_to(sent.sequence);
                }
            }
            Act::Repeat { .. } => {}
            Act::Restart => {
                disk = disk.copy();
                store = fresh(&disk);
            }
            Act::LosePower { choices } => {
                disk = disk.lose_power(&mut chooser(&choices));
                store = fresh(&disk);
                let found = whole(&*store).expect("a loss of power is no damage");
                model.settle(&found);
            }
            Act::DieIn { changes, offset, len, choices } => {
                disk.die_after(changes);
                let sent = model.new_write(offset, Some(len));
                let answer = model.send(&*store, &sent, true);
                model.apply(&sent);
                if answer.is_ok() {
                    model.all_durable();
                }
                disk = disk.lose_power(&mut chooser(&choices));
                store = fresh(&disk);
                let found = whole(&*store).expect("a loss of power is no damage");
                model.settle(&found);
            }
        }
        assert!(whole(&*store).as_deref() == Ok(model.now()), "the chunk is not what it was last");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn writes_to_files_are_applied_once(acts in proptest::collection::vec(act(true), 1..120)) {
        run(acts, true);
    }

    #[test]
    fn writes_to_memory_are_applied_once(acts in proptest::collection::vec(act(false), 1..60)) {
        run(acts, false);
    }
}
