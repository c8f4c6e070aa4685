//! Slots of granules: what is live, what is at hand, what is merged.
//!
//! Splitting and merging for every lease would walk all classes up and down again. So a slot that comes back is
//! parked: the next lease of its class takes it, still warm in the caches. Only a few are parked per class, and all
//! of them are merged before a lease is refused, so parking never costs anybody a lease.

use super::buddy::Buddy;

/// Slots parked per class.
const PARKED_MAX: usize = 63;

/// The class of a granule at which no live slot starts.
const NOT_LIVE: u8 = u8::MAX;

/// The last few slots of one class that came back. Four cache lines.
#[derive(Clone, Debug)]
struct Parked {
    len: u32,
    starts: [u32; PARKED_MAX],
}

impl Parked {
    #[inline]
    fn push(&mut self, start: u32) -> bool {
        let Some(place) = self.starts.get_mut(self.len as usize) else {
            return false;
        };
        *place = start;
        self.len += 1;
        true
    }

    #[inline]
    fn pop(&mut self) -> Option<u32> {
        self.len = self.len.checked_sub(1)?;
        Some(self.starts[self.len as usize])
    }

    fn as_slice(&self) -> &[u32] {
        &self.starts[..self.len as usize]
    }
}

/// Granules in classes. Sizes and starts are in granules; class `k` is `2^k` of them.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    buddy: Buddy,
    parked: Vec<Parked>,
    /// The class of the live slot that starts at each granule, or [`NOT_LIVE`].
    live_class: Box<[u8]>,
    /// Live slots per class.
    live: Vec<u32>,
    live_granules: u32,
    live_granules_max: u32,
}

impl Pool {
    /// Everything free. `granules` is at least 1.
    pub(super) fn new(granules: u32) -> Pool {
        let buddy = Buddy::new(granules);
        let classes = buddy.classes() as usize;
        let none = Parked { len: 0, starts: [0; PARKED_MAX] };
        Pool {
            buddy,
            parked: vec![none; classes],
            live_class: vec![NOT_LIVE; granules as usize].into_boxed_slice(),
            live: vec![0; classes],
            live_granules: 0,
            live_granules_max: 0,
        }
    }

    #[inline]
    pub(super) fn classes(&self) -> u32 {
        self.parked.len() as u32
    }

    pub(super) fn granules(&self) -> u32 {
        self.buddy.granules()
    }

    pub(super) fn live_granules(&self) -> u32 {
        self.live_granules
    }

    pub(super) fn live_granules_max(&self) -> u32 {
        self.live_granules_max
    }

    /// Live slots of a class.
    pub(super) fn live(&self, class: u32) -> u32 {
        self.live[class as usize]
    }

    /// Free slots of a class, as they are now: a free slot of a larger class counts there.
    pub(super) fn free(&self, class: u32) -> u32 {
        self.buddy.free_blocks(class) + self.parked[class as usize].len
    }

    /// The largest class with a free slot, once nothing is parked.
    pub(super) fn largest_free(&self) -> Option<u32> {
        self.buddy.largest()
    }

    /// The first granule of a slot of this class, now live. `None` only when no slot can be made of what is free.
    #[inline]
    pub(super) fn take(&mut self, class: u32) -> Option<u32> {
        let start = match self.parked[class as usize].pop() {
            Some(start) => start,
            None => self.take_merged(class)?,
        };
        self.live_class[start as usize] = class as u8;
        self.live[class as usize] += 1;
        self.live_granules += 1 << class;
        self.live_granules_max = self.live_granules_max.max(self.live_granules);
        Some(start)
    }

    fn take_merged(&mut self, class: u32) -> Option<u32> {
        if let Some(start) = self.buddy.take(class) {
            return Some(start);
        }
        self.merge();
        self.buddy.take(class)
    }

    /// Takes a slot back. A granule at which none of ours starts is none of our business.
    #[inline]
    pub(super) fn put(&mut self, start: u32) {
        let class = self.live_class[start as usize];
        if class == NOT_LIVE {
            return;
        }
        self.live_class[start as usize] = NOT_LIVE;
        self.live[usize::from(class)] -= 1;
        self.live_granules -= 1 << class;
        if !self.parked[usize::from(class)].push(start) {
            self.buddy.give(u32::from(class), start);
        }
    }

    /// Parks nothing any more: every free slot is merged as far as it goes.
    pub(super) fn merge(&mut self) {
        for (class, parked) in (0..).zip(&mut self.parked) {
            while let Some(start) = parked.pop() {
                self.buddy.give(class, start);
            }
        }
    }

    /// What must hold between two calls.
    ///
    /// # Errors
    /// The first thing that does not, in words.
    pub(super) fn check(&self) -> Result<(), String> {
        self.buddy.check()?;
        let mut owners: Vec<Option<&str>> = vec![None; self.granules() as usize];
        let mut cover = |what, class: u32, start: u32| {
            for granule in start..start + (1 << class) {
                match owners.get_mut(granule as usize) {
                    None => {
                        return Err(format!("a {what} slot at {start} of class {class} runs past the end"));
                    }
                    Some(Some(other)) => return Err(format!("granule {granule} is both {other} and {what}")),
                    Some(owner) => *owner = Some(what),
                }
            }
            Ok(())
        };
        for (class, start) in self.buddy.iter() {
            cover("free", class, start)?;
        }
        for (class, parked) in (0..).zip(&self.parked) {
            for &start in parked.as_slice() {
                cover("parked", class, start)?;
            }
        }
        let mut live = vec![0; self.live.len()];
        for (start, &class) in (0..).zip(&self.live_class) {
            if class != NOT_LIVE {
                cover("live", u32::from(class), start)?;
                live[usize::from(class)] += 1;
            }
        }
        if let Some(granule) = owners.iter().position(Option::is_none) {
            return Err(format!("granule {granule} is lost: neither live nor parked nor free"));
        }
        if live != self.live {
            return Err(format!("live slots per class are {live:?}, counted as {:?}", self.live));
        }
        let granules: u32 = (0..).zip(&live).map(|(class, slots)| slots << class).sum();
        if granules != self.live_granules {
            return Err(format!("{granules} granules are live, counted as {}", self.live_granules));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_that_came_back_last_is_taken_first() {
        let mut pool = Pool::new(64);
        let starts: Vec<u32> = (0..4).filter_map(|_| pool.take(0)).collect();
        pool.put(starts[1]);
        pool.put(starts[2]);
        assert_eq!((pool.take(0), pool.take(0)), (Some(starts[2]), Some(starts[1])));
    }

    #[test]
    fn parking_never_costs_anybody_a_slot() {
        let mut pool = Pool::new(64);
        let starts: Vec<u32> = core::iter::from_fn(|| pool.take(0)).collect();
        assert_eq!(starts.len(), 64);
        for start in starts {
            pool.put(start);
        }
        assert_eq!(pool.free(0), 64, "all but one are parked, and that one has no buddy to merge with");
        assert_eq!(pool.take(6), Some(0), "they are merged before a slot is refused");
        assert_eq!(pool.check(), Ok(()));
    }

    #[test]
    fn a_granule_that_was_never_taken_is_not_taken_back() {
        let mut pool = Pool::new(4);
        pool.take(2);
        pool.put(1);
        assert_eq!(pool.check(), Ok(()));
        assert_eq!(pool.live(2), 1);
    }
}
