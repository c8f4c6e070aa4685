//! What needles were, from when on: what a writer knows, and readers are held against.

use std::collections::BTreeMap;
use std::rc::Rc;

use wavetank_contract::Instant;

/// What a needle was, from when on. `None`: it was not there.
type History<T> = Vec<(Instant, Option<Rc<T>>)>;

/// What each needle was.
#[derive(Debug)]
pub(crate) struct Histories<T>(BTreeMap<u64, History<T>>);

impl<T> Default for Histories<T> {
    fn default() -> Histories<T> {
        Histories(BTreeMap::new())
    }
}

impl<T> Histories<T> {
    pub(crate) fn set(&mut self, id: u64, now: Instant, value: Option<Rc<T>>) {
        self.0.entry(id).or_default().push((now, value));
    }

    /// All that a needle ever was.
    pub(crate) fn of(&self, id: u64) -> &[(Instant, Option<Rc<T>>)] {
        self.0.get(&id).map_or(&[], Vec::as_slice)
    }

    /// What the needle was at some moment from `from` to `to`.
    pub(crate) fn between(&self, id: u64, from: Instant, to: Instant) -> Vec<Option<Rc<T>>> {
        let history = self.of(id);
        let mut possible = Vec::new();
        for (place, (at, value)) in history.iter().enumerate() {
            let until = history.get(place + 1).map_or(Instant::FAR, |(next, _)| *next);
            if *at <= to && until >= from {
                possible.push(value.clone());
            }
        }
        if history.first().is_none_or(|(at, _)| *at >= from) {
            possible.push(None);
        }
        possible
    }
}
