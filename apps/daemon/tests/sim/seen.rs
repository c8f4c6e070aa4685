//! What happened: counted over all runs, summed up and held against the truth in each.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use wavetank_contract::Instant;

/// How often each thing happened in all runs.
#[derive(Debug, Default)]
pub(crate) struct Told(RefCell<BTreeMap<String, u64>>);

impl Told {
    pub(crate) fn tell(&self, what: &str) {
        let mut all = self.0.borrow_mut();
        match all.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(all.insert(what.to_owned(), 1)),
        }
    }

    pub(crate) fn count(&self, what: &str) -> u64 {
        self.0.borrow().get(what).copied().unwrap_or(0)
    }
}

/// What was seen in one run.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    told: &'a Told,
    pub(crate) wrong: Vec<String>,
    pub(crate) digest: u32,
    /// Names that engines gave: of sessions, and of loans by the engine's life.
    names: BTreeSet<String>,
    /// Sessions and whose they are, for others to try.
    pub(crate) sessions: Vec<(u32, String)>,
}

impl<'a> Seen<'a> {
    pub(crate) fn new(told: &'a Told) -> Seen<'a> {
        Seen { told, wrong: Vec::new(), digest: 0, names: BTreeSet::new(), sessions: Vec::new() }
    }

    /// Counts.
    pub(crate) fn tell(&self, what: &str) {
        self.told.tell(what);
    }

    /// Something that a client saw, for the sum of the run.
    pub(crate) fn line(&mut self, now: Instant, client: u64, what: fmt::Arguments<'_>) {
        let line = format!("{} {client} {what}\n", now.0);
        self.digest = crc32c::crc32c_append(self.digest, line.as_bytes());
    }

    pub(crate) fn wrong(&mut self, now: Instant, client: u64, what: impl fmt::Display) {
        self.wrong.push(format!("{now}, client {client}: {what}"));
    }

    /// Whether a name was never given before.
    pub(crate) fn is_new(&mut self, name: String) -> bool {
        self.names.insert(name)
    }
}
