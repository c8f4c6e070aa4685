//! Slots: which generations each word of a slot may be of.
//!
//! A slot has one writer. Each WRITE lays another *layer* over the layers before it. A layer that succeeded buries what is
//! below it, as far as the layers below were sure to come before it; a layer that failed may have landed, in part or not at
//! all, and may still land until one above it has succeeded. Whoever reads may find, word by word, any layer that was not
//! buried when the READ began.

use std::ops::Range;

use wavetank_contract::Region;

use super::Party;
use crate::pattern;

/// One WRITE to a slot. Bytes are counted from the start of the region.
#[derive(Clone, Debug)]
struct Layer {
    generation: u32,
    /// What its source was changed to while it was under way.
    changed: Option<u32>,
    range: Range<u64>,
    begun: u64,
    ended: Option<u64>,
    succeeded: bool,
    /// It is one work, so that it is done before whatever the same party begins later.
    single: bool,
    by: Option<Party>,
}

impl Layer {
    /// Whether it was sure to be done, or over, before `later` could be done.
    fn precedes(&self, later: &Layer) -> bool {
        self.generation < later.generation
            && (self.ended.is_some_and(|ended| ended < later.begun)
                || self.single && self.by.is_some() && self.by == later.by)
    }

    /// Whether it was sure to be in place when this look began.
    fn is_in_place(&self, look: &Look) -> bool {
        look.told == Some(self.generation)
            || self.succeeded
                && (self.ended.is_some_and(|ended| ended <= look.since)
                    || self.single && self.by.is_some() && self.by == look.by && self.begun < look.since)
    }
}

/// A look at a slot: a READ, or a look of its owner.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The tick at which it began.
    pub since: u64,
    /// Whose READ it is: it comes after the WRITEs that the same party began before it.
    pub by: Option<Party>,
    /// A WRITE that is in place though it has not ended.
    pub told: Option<u32>,
}

/// The layers of one slot.
#[derive(Clone, Debug)]
pub struct Slot {
    layers: Vec<Layer>,
    generations: u32,
    /// READs under way: nothing they may find is forgotten.
    readers: u32,
}

impl Slot {
    /// A slot whose owner filled it with generation 0.
    pub fn new(range: Range<u64>) -> Slot {
        let owner = Layer {
            generation: 0,
            changed: None,
            range,
            begun: 0,
            ended: Some(0),
            succeeded: true,
            single: true,
            by: None,
        };
        Slot { layers: vec![owner], generations: 1, readers: 0 }
    }

    /// Generations written so far, the owner's included.
    pub fn generations(&self) -> u32 {
        self.generations
    }

    /// A WRITE begins. Answers its generation, which names it from then on.
    pub fn begin_write(&mut self, range: Range<u64>, by: Party, single: bool, tick: u64) -> u32 {
        let generation = self.next();
        self.layers.push(Layer {
            generation,
            changed: None,
            range,
            begun: tick,
            ended: None,
            succeeded: false,
            single,
            by: Some(by),
        });
        generation
    }

    /// The source of a WRITE under way is about to change. Answers the generation to fill it with.
    pub fn change_source(&mut self, generation: u32) -> Option<u32> {
        let next = self.generations;
        let layer =
            self.layer(generation).filter(|layer| layer.ended.is_none() && layer.changed.is_none())?;
        layer.changed = Some(next);
        self.generations += 1;
        Some(next)
    }

    /// A WRITE ended.
    pub fn end_write(&mut self, generation: u32, succeeded: bool, tick: u64) {
        if let Some(layer) = self.layer(generation) {
            (layer.ended, layer.succeeded) = (Some(tick), succeeded);
        }
        self.forget();
    }

    /// The target was told that a WRITE is there, before its writer knows: how its owner may look at it now.
    pub fn told(&self, generation: u32, tick: u64) -> Option<Look> {
        let layer = self.layers.iter().find(|layer| layer.generation == generation)?;
        Some(Look { since: tick, by: None, told: Some(layer.generation) })
    }

    /// A READ begins.
    pub fn begin_read(&mut self) {
        self.readers += 1;
    }

    /// A READ ended, well or not; what it brought was checked before.
    pub fn end_read(&mut self) {
        self.readers -= 1;
        self.forget();
    }

    /// The first byte of `range`, counted from its start, that no layer explains. `at` is where in `memory` the range begins.
    pub fn check(
        &self,
        look: Look,
        range: Range<u64>,
        memory: &Region,
        at: u64,
        region: u32,
    ) -> Option<(u64, Vec<u32>)> {
        // Between two borders the same layers lie over every word.
        let mut borders = vec![range.start, range.end];
        for layer in &self.layers {
            borders.extend([layer.range.start, layer.range.end].into_iter().filter(|b| range.contains(b)));
        }
        borders.sort_unstable();
        borders.dedup();
        let mut legal = Vec::new();
        for pair in borders.windows(2) {
            let (start, end) = (pair[0], pair[1]);
            self.legal(look, start, &mut legal);
            let skip = start - range.start;
            let first = pattern::first_torn(memory, at + skip, (end - start) as usize, region, &legal, start);
            if let Some(first) = first {
                return Some((skip + first as u64, legal));
            }
        }
        None
    }

    /// The generations that the word at `offset` may be of.
    fn legal(&self, look: Look, offset: u64, out: &mut Vec<u32>) {
        out.clear();
        let here = |layer: &&Layer| layer.range.contains(&offset);
        for layer in self.layers.iter().filter(here) {
            let buried = |above: &Layer| above.is_in_place(&look) && layer.precedes(above);
            if !self.layers.iter().filter(here).any(buried) {
                out.push(layer.generation);
                out.extend(layer.changed);
            }
        }
    }

    fn next(&mut self) -> u32 {
        self.generations += 1;
        self.generations - 1
    }

    fn layer(&mut self, generation: u32) -> Option<&mut Layer> {
        self.layers.iter_mut().rev().find(|layer| layer.generation == generation)
    }

    /// Forgets layers that nobody can find any more.
    fn forget(&mut self) {
        if self.readers > 0 || self.layers.len() < 8 {
            return;
        }
        let layers = std::mem::take(&mut self.layers);
        let buried = |below: &Layer| {
            layers.iter().any(|above| {
                above.succeeded
                    && below.precedes(above)
                    && above.range.start <= below.range.start
                    && above.range.end >= below.range.end
            })
        };
        self.layers = layers.iter().filter(|layer| !buried(layer)).cloned().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Tag;
    use wavetank_contract::RegionSpec;

    const A: Party = Party { connection: 0, end: 0, life: 0 };
    const B: Party = Party { connection: 1, end: 0, life: 0 };
    const REGION: u32 = 9;

    fn memory(generations: &[(Range<u64>, u32)]) -> Region {
        let memory = Region::allocate(&RegionSpec::new(64)).expect("small");
        for (range, generation) in generations {
            let tag = Tag { region: REGION, generation: *generation };
            pattern::fill(&memory, range.start, (range.end - range.start) as usize, tag, range.start);
        }
        memory
    }

    /// Which byte is wrong when the slot is found like this.
    fn wrong(slot: &Slot, look: Look, found: &[(Range<u64>, u32)]) -> Option<u64> {
        slot.check(look, 0..64, &memory(found), 0, REGION).map(|(first, _)| first)
    }

    fn look(since: u64) -> Look {
        Look { since, by: None, told: None }
    }

    #[test]
    fn a_write_that_succeeded_is_the_only_thing_to_be_found() {
        let mut slot = Slot::new(0..64);
        assert_eq!(wrong(&slot, look(1), &[(0..64, 0)]), None);
        let one = slot.begin_write(0..64, A, true, 2);
        assert_eq!(wrong(&slot, look(3), &[(0..64, 0)]), None, "not yet");
        assert_eq!(wrong(&slot, look(3), &[(0..32, 1), (32..64, 0)]), None, "half of it");
        slot.end_write(one, true, 4);
        assert_eq!(wrong(&slot, look(3), &[(0..64, 0)]), None, "a read that began before its end");
        assert_eq!(wrong(&slot, look(5), &[(0..64, 1)]), None);
        assert_eq!(wrong(&slot, look(5), &[(0..64, 0)]), Some(0), "stale");
        assert_eq!(wrong(&slot, look(5), &[(0..48, 1), (48..64, 0)]), Some(48), "torn");
        assert_eq!(wrong(&slot, look(5), &[(0..64, 7)]), Some(0), "nobody's");
    }

    #[test]
    fn a_write_that_failed_may_be_found_until_a_later_one_covers_it() {
        let mut slot = Slot::new(0..64);
        let one = slot.begin_write(0..64, A, true, 1);
        slot.end_write(one, false, 2);
        assert_eq!(wrong(&slot, look(3), &[(0..16, 1), (16..64, 0)]), None);
        let two = slot.begin_write(0..32, A, true, 4);
        slot.end_write(two, true, 5);
        assert_eq!(wrong(&slot, look(6), &[(0..32, 2), (32..64, 1)]), None);
        assert_eq!(wrong(&slot, look(6), &[(0..8, 1), (8..64, 0)]), Some(0), "buried");
        assert_eq!(wrong(&slot, look(6), &[(0..32, 2), (32..64, 0)]), None, "beyond it, as before");
    }

    #[test]
    fn writes_of_several_works_may_come_in_either_order_and_single_ones_may_not() {
        for single in [true, false] {
            let mut slot = Slot::new(0..64);
            let one = slot.begin_write(0..64, A, single, 1);
            let two = slot.begin_write(0..64, A, single, 2);
            slot.end_write(two, true, 3);
            slot.end_write(one, true, 4);
            let found = wrong(&slot, look(5), &[(0..64, 1)]);
            assert_eq!(found.is_some(), single, "single: {single}");
            assert_eq!(wrong(&slot, look(5), &[(0..64, 0)]), Some(0));
        }
    }

    #[test]
    fn a_reader_comes_after_its_own_writes_and_nobody_elses() {
        let mut slot = Slot::new(0..64);
        let one = slot.begin_write(0..64, A, true, 1);
        slot.begin_read();
        slot.end_write(one, true, 3);
        let stale = &[(0..64, 0)];
        assert_eq!(wrong(&slot, Look { since: 2, by: Some(A), told: None }, stale), Some(0));
        assert_eq!(wrong(&slot, Look { since: 2, by: Some(B), told: None }, stale), None);
        slot.end_read();
    }

    #[test]
    fn a_write_that_was_told_of_is_in_place() {
        let mut slot = Slot::new(0..64);
        let one = slot.begin_write(0..64, A, true, 1);
        let told = slot.told(one, 2).expect("it is under way");
        assert_eq!(wrong(&slot, told, &[(0..64, 1)]), None);
        assert_eq!(wrong(&slot, told, &[(0..64, 0)]), Some(0));
    }

    #[test]
    fn a_changed_source_may_be_found_in_either_form() {
        let mut slot = Slot::new(0..64);
        let one = slot.begin_write(0..64, A, true, 1);
        let changed = slot.change_source(one).expect("it is under way");
        slot.end_write(one, true, 2);
        assert_eq!(wrong(&slot, look(3), &[(0..8, one), (8..64, changed)]), None);
        assert_eq!(wrong(&slot, look(3), &[(0..8, one), (8..64, 0)]), Some(8));
        assert_eq!(slot.change_source(one), None, "it has ended");
    }

    #[test]
    fn what_is_forgotten_is_what_nobody_can_find() {
        let mut slot = Slot::new(0..64);
        slot.begin_read();
        for tick in 1..20 {
            let write = slot.begin_write(0..64, A, true, 2 * tick);
            slot.end_write(write, true, 2 * tick + 1);
        }
        assert_eq!(wrong(&slot, look(1), &[(0..64, 0)]), None, "kept for the reader");
        slot.end_read();
        assert_eq!(slot.layers.len(), 1);
        assert_eq!(wrong(&slot, look(99), &[(0..64, 19)]), None);
        assert_eq!(wrong(&slot, look(99), &[(0..64, 18)]), Some(0));
    }
}
