//! Deadlines of many things, the earliest first.
//!
//! A heap with four children per node that knows where each entry sits, so that a deadline is moved or taken out
//! where it is: nothing stale is ever left behind, and the heap is never larger than what it times. A deadline later
//! than all others (a session made or touched last) costs one comparison, in and out.

use wavetank_contract::Instant;

/// The position of a slot that has no deadline.
const NOWHERE: u32 = u32::MAX;

const CHILDREN: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Instant,
    slot: u32,
}

impl Entry {
    /// Orders entries: by instant, then by slot, so that ties do not depend on the past. One wide number, because
    /// comparing it takes no branch.
    #[inline]
    fn rank(self) -> u128 {
        u128::from(self.at.0) << 32 | u128::from(self.slot)
    }
}

/// One deadline per slot; the owner numbers its slots from 0 on, closely, as a slab does.
///
/// [`Instant::FAR`] is no deadline and takes no entry. Equal deadlines come in the order of their slots.
/// Setting, moving and removing take O(log n); memory is 16 bytes per deadline and 4 per slot ever used.
#[derive(Clone, Debug, Default)]
pub struct Deadlines {
    heap: Vec<Entry>,
    /// Where in `heap` each slot is, or [`NOWHERE`].
    positions: Vec<u32>,
}

impl Deadlines {
    /// None yet; allocates nothing.
    pub fn new() -> Deadlines {
        Deadlines::default()
    }

    /// Room for slots 0 to `slots - 1`: until a higher one is used, nothing is allocated.
    pub fn with_capacity(slots: usize) -> Deadlines {
        Deadlines { heap: Vec::with_capacity(slots), positions: Vec::with_capacity(slots) }
    }

    /// Makes room for slots 0 to `slots - 1`, as [`with_capacity`](Self::with_capacity) does.
    pub fn reserve(&mut self, slots: usize) {
        self.heap.reserve(slots.saturating_sub(self.heap.len()));
        self.positions.reserve(slots.saturating_sub(self.positions.len()));
    }

    /// How many slots have a deadline.
    #[inline]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether no slot has one.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The deadline of a slot, if it has one.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<Instant> {
        self.position(slot).map(|position| self.heap[position].at)
    }

    /// Gives a slot its deadline, in place of the one it had. [`Instant::FAR`] takes it away.
    #[inline]
    pub fn set(&mut self, slot: u32, at: Instant) {
        if at == Instant::FAR {
            self.remove(slot);
            return;
        }
        let entry = Entry { at, slot };
        if let Some(position) = self.position(slot) {
            if at < self.heap[position].at {
                self.rise(position, entry);
            } else {
                self.sink(position, entry);
            }
            return;
        }
        let index = slot as usize;
        if index >= self.positions.len() {
            self.positions.resize(index + 1, NOWHERE);
        }
        self.heap.push(entry);
        self.rise(self.heap.len() - 1, entry);
    }

    /// Takes the deadline of a slot away. Returns what it was.
    #[inline]
    pub fn remove(&mut self, slot: u32) -> Option<Instant> {
        let position = self.position(slot)?;
        Some(self.remove_at(position).at)
    }

    /// The earliest deadline and whose it is.
    #[inline]
    pub fn first(&self) -> Option<(Instant, u32)> {
        self.heap.first().map(|entry| (entry.at, entry.slot))
    }

    /// Takes out the slot with the earliest deadline if that is `now` or earlier. Call until `None`.
    #[inline]
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let first = self.heap.first()?;
        if first.at > now {
            return None;
        }
        Some(self.remove_at(0).slot)
    }

    /// Bytes allocated.
    pub fn bytes_in_use(&self) -> usize {
        self.heap.capacity() * size_of::<Entry>() + self.positions.capacity() * size_of::<u32>()
    }

    #[inline]
    fn position(&self, slot: u32) -> Option<usize> {
        match self.positions.get(slot as usize) {
            None | Some(&NOWHERE) => None,
            Some(&position) => Some(position as usize),
        }
    }

    #[inline]
    fn place(&mut self, position: usize, entry: Entry) {
        self.heap[position] = entry;
        self.positions[entry.slot as usize] = position as u32;
    }

    #[inline]
    fn remove_at(&mut self, position: usize) -> Entry {
        let removed = self.heap.swap_remove(position);
        self.positions[removed.slot as usize] = NOWHERE;
        // What came from the end to fill the gap may belong above it (another branch) or below it.
        if let Some(&moved) = self.heap.get(position) {
            if position > 0 && moved.rank() < self.heap[(position - 1) / CHILDREN].rank() {
                self.rise(position, moved);
            } else {
                self.sink(position, moved);
            }
        }
        removed
    }

    /// Puts `entry` at `position` or above, where its parent is not later.
    #[inline]
    fn rise(&mut self, mut position: usize, entry: Entry) {
        while position > 0 {
            let parent = (position - 1) / CHILDREN;
            let above = self.heap[parent];
            if above.rank() <= entry.rank() {
                break;
            }
            self.place(position, above);
            position = parent;
        }
        self.place(position, entry);
    }

    /// Puts `entry` at `position` or below, where no child is earlier.
    fn sink(&mut self, mut position: usize, entry: Entry) {
        loop {
            let first_child = position * CHILDREN + 1;
            let end = self.heap.len().min(first_child + CHILDREN);
            let Some(earliest) = (first_child..end).min_by_key(|&child| self.heap[child].rank()) else {
                break;
            };
            let below = self.heap[earliest];
            if entry.rank() <= below.rank() {
                break;
            }
            self.place(position, below);
            position = earliest;
        }
        self.place(position, entry);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn check(deadlines: &Deadlines) {
        for (position, entry) in deadlines.heap.iter().enumerate() {
            assert_eq!(deadlines.positions[entry.slot as usize] as usize, position);
            assert_ne!(entry.at, Instant::FAR);
            if position > 0 {
                assert!(deadlines.heap[(position - 1) / CHILDREN].rank() < entry.rank());
            }
        }
        let placed = deadlines.positions.iter().filter(|&&p| p != NOWHERE).count();
        assert_eq!(placed, deadlines.len());
    }

    #[test]
    fn a_deadline_is_due_at_its_instant_and_not_a_nanosecond_before() {
        let mut deadlines = Deadlines::new();
        deadlines.set(3, Instant(100));
        assert_eq!(deadlines.pop_due(Instant(99)), None);
        assert_eq!(deadlines.pop_due(Instant(100)), Some(3));
        assert_eq!(deadlines.pop_due(Instant::FAR), None);
    }

    #[test]
    fn equal_deadlines_come_in_the_order_of_their_slots() {
        let mut deadlines = Deadlines::new();
        for slot in [9, 2, 7, 0, 5] {
            deadlines.set(slot, Instant(1));
        }
        let order: Vec<u32> = core::iter::from_fn(|| deadlines.pop_due(Instant(1))).collect();
        assert_eq!(order, [0, 2, 5, 7, 9]);
    }

    #[test]
    fn far_is_no_deadline_and_takes_one_away() {
        let mut deadlines = Deadlines::new();
        deadlines.set(1, Instant::FAR);
        assert!(deadlines.is_empty());
        assert_eq!(deadlines.bytes_in_use(), 0, "a slot without a deadline costs nothing");
        deadlines.set(1, Instant(5));
        deadlines.set(1, Instant::FAR);
        assert_eq!((deadlines.first(), deadlines.get(1)), (None, None));
    }

    #[test]
    fn with_capacity_is_the_last_allocation() {
        let mut deadlines = Deadlines::with_capacity(100);
        let before = deadlines.bytes_in_use();
        for slot in (0..100).rev() {
            deadlines.set(slot, Instant(u64::from(slot % 7)));
        }
        assert_eq!(deadlines.bytes_in_use(), before);
    }

    #[derive(Clone, Debug)]
    enum Act {
        Set(u32, u64),
        Remove(u32),
        PopDue(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            5 => (0..40u32, prop_oneof![9 => 0..60u64, 1 => Just(u64::MAX)]).prop_map(|(s, t)| Act::Set(s, t)),
            2 => (0..44u32).prop_map(Act::Remove),
            2 => (0..60u64).prop_map(Act::PopDue),
        ]
    }

    proptest! {
        #[test]
        fn deadlines_agree_with_an_ordered_set(acts in proptest::collection::vec(act(), 0..400)) {
            let mut deadlines = Deadlines::new();
            let mut by_slot: BTreeMap<u32, Instant> = BTreeMap::new();
            let mut by_time: BTreeSet<(Instant, u32)> = BTreeSet::new();
            for act in acts {
                match act {
                    Act::Set(slot, at) => {
                        if let Some(old) = by_slot.remove(&slot) {
                            by_time.remove(&(old, slot));
                        }
                        if at != u64::MAX {
                            by_slot.insert(slot, Instant(at));
                            by_time.insert((Instant(at), slot));
                        }
                        deadlines.set(slot, Instant(at));
                    }
                    Act::Remove(slot) => {
                        let expected = by_slot.remove(&slot);
                        if let Some(old) = expected {
                            by_time.remove(&(old, slot));
                        }
                        prop_assert_eq!(deadlines.remove(slot), expected);
                    }
                    Act::PopDue(now) => {
                        let due = by_time.first().copied().filter(|(at, _)| *at <= Instant(now));
                        if let Some((at, slot)) = due {
                            by_time.remove(&(at, slot));
                            by_slot.remove(&slot);
                        }
                        prop_assert_eq!(deadlines.pop_due(Instant(now)), due.map(|(_, slot)| slot));
                    }
                }
                check(&deadlines);
                prop_assert_eq!(deadlines.first(), by_time.first().copied());
                prop_assert_eq!(deadlines.len(), by_time.len());
                for slot in 0..44 {
                    prop_assert_eq!(deadlines.get(slot), by_slot.get(&slot).copied());
                }
            }
        }
    }
}
