//! Numbers of writes: which are open, so that a server knows what can never come again.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::key::{Once, WriteId};

/// Counts the writes of one writer.
#[derive(Debug)]
pub(super) struct Numbers {
    writer: u64,
    next: u64,
    open: BTreeSet<u64>,
}

impl Numbers {
    pub(super) fn new(writer: u64) -> Numbers {
        Numbers { writer, next: 1, open: BTreeSet::new() }
    }

    /// The number of a new write. It is open until what is answered here is dropped.
    pub(super) fn begin(numbers: &RefCell<Numbers>) -> Number<'_> {
        let mut all = numbers.borrow_mut();
        let sequence = all.next;
        all.next += 1;
        all.open.insert(sequence);
        drop(all);
        Number { numbers, sequence }
    }
}

/// The number of a write that is open. Dropped, it is never sent again.
#[derive(Debug)]
pub(super) struct Number<'a> {
    numbers: &'a RefCell<Numbers>,
    sequence: u64,
}

impl Number<'_> {
    /// As it is sent now: the oldest open number may be another than with the attempt before.
    pub(super) fn once(&self) -> Once {
        let numbers = self.numbers.borrow();
        let oldest_open = numbers.open.first().copied().unwrap_or(self.sequence);
        Once { id: WriteId { writer: numbers.writer, sequence: self.sequence }, oldest_open }
    }
}

impl Drop for Number<'_> {
    fn drop(&mut self) {
        self.numbers.borrow_mut().open.remove(&self.sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_open_until_it_is_dropped_and_never_given_twice() {
        let numbers = RefCell::new(Numbers::new(7));
        let (first, second) = (Numbers::begin(&numbers), Numbers::begin(&numbers));
        assert_eq!((second.once().id.sequence, second.once().oldest_open), (2, 1));
        drop(first);
        assert_eq!((second.once().id.writer, second.once().oldest_open), (7, 2));
        drop(second);
        let third = Numbers::begin(&numbers);
        assert_eq!((third.once().id.sequence, third.once().oldest_open), (3, 3));
    }
}
