//! Things named by keys that roll.

use std::collections::VecDeque;

use wavetank_contract::planted::{self, Bug};

/// How often a slot is used: all that the lower 8 bits of a key count.
const ROLLS: u32 = 256;

/// A table whose keys name a slot and how often the slot was used, as on hardware. A slot that has used up its rolls is never
/// used again, so a retired key is dead for good.
#[derive(Debug)]
pub(super) struct Keyed<T> {
    slots: Vec<Slot<T>>,
    free: VecDeque<u32>,
    slots_max: usize,
    live: u32,
}

#[derive(Debug)]
struct Slot<T> {
    thing: Option<T>,
    rolls: u32,
}

impl<T> Keyed<T> {
    /// At most 2^24 slots.
    pub(super) fn new(slots_max: usize) -> Keyed<T> {
        Keyed { slots: Vec::new(), free: VecDeque::new(), slots_max, live: 0 }
    }

    /// Names a thing. `None` when every slot is in use or used up.
    pub(super) fn insert(&mut self, thing: T) -> Option<u32> {
        let index = match self.free.pop_front() {
            Some(index) => index,
            None if self.slots.len() < self.slots_max => {
                self.slots.push(Slot { thing: None, rolls: 0 });
                self.slots.len() as u32 - 1
            }
            None => return None,
        };
        let slot = &mut self.slots[index as usize];
        slot.thing = Some(thing);
        self.live += 1;
        Some(index << 8 | slot.rolls)
    }

    #[inline]
    pub(super) fn get(&self, key: u32) -> Option<&T> {
        let fits = |slot: &&Slot<T>| slot.rolls == key & 0xff || planted::is(Bug::SkipKeyCheck);
        self.slots.get((key >> 8) as usize).filter(fits)?.thing.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        self.slots.get_mut((key >> 8) as usize).filter(|slot| slot.rolls == key & 0xff)?.thing.as_mut()
    }

    /// Retires a key.
    pub(super) fn remove(&mut self, key: u32) -> Option<T> {
        let slot = self.slots.get_mut((key >> 8) as usize).filter(|slot| slot.rolls == key & 0xff)?;
        let thing = slot.thing.take()?;
        slot.rolls += if planted::is(Bug::ReuseKey) { 0 } else { 1 };
        if slot.rolls < ROLLS {
            self.free.push_back(key >> 8);
        }
        self.live -= 1;
        Some(thing)
    }

    /// Whether this was a key, and is none any more.
    pub(super) fn is_retired(&self, key: u32) -> bool {
        self.slots.get((key >> 8) as usize).is_some_and(|slot| key & 0xff < slot.rolls)
    }

    pub(super) fn live(&self) -> u32 {
        self.live
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.thing.as_ref())
    }

    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }
}
