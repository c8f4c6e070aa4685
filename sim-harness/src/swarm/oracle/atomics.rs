//! Atomics: sums and chains that must come out.
//!
//! Every fetch-and-add of a cell adds a bit of its own, so that each value says which adds were done before. Every
//! compare-and-swap leaves a value of its own, so that those that took effect form one chain. An atomic that failed was done
//! once or not at all.

use std::collections::BTreeMap;

/// How an atomic ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    UnderWay,
    /// It found this value.
    Found(u64),
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Add {
    op: u32,
    begun: u64,
    ended: u64,
    done: Done,
}

/// A cell to which bits are added.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// By bit.
    adds: BTreeMap<u32, Add>,
}

impl Sum {
    /// A fetch-and-add of `1 << bit` begins.
    pub fn begin(&mut self, bit: u32, op: u32, tick: u64) {
        self.adds.insert(bit, Add { op, begun: tick, ended: u64::MAX, done: Done::UnderWay });
    }

    /// It ended: with the value it found, or nobody knows how.
    ///
    /// # Errors
    /// In words, when it cannot have found that.
    pub fn end(&mut self, bit: u32, found: Option<u64>, tick: u64) -> Result<(), String> {
        let Some(add) = self.adds.get_mut(&bit) else { return Ok(()) };
        add.ended = tick;
        add.done = found.map_or(Done::Unknown, Done::Found);
        let Some(found) = found else { return Ok(()) };
        let begun = add.begun;
        if found & 1 << bit != 0 {
            return Err(format!("it found {found:#x}, in which it is counted already"));
        }
        for (other, theirs) in &self.adds {
            let counted = found & 1 << other != 0;
            if let Done::Found(before) = theirs.done
                && *other != bit
            {
                if !counted && theirs.ended < begun {
                    let op = theirs.op;
                    return Err(format!("it found {found:#x}, without operation {op} that ended before it"));
                }
                if counted == (before & 1 << bit != 0) {
                    let op = theirs.op;
                    return Err(format!(
                        "it found {found:#x} and operation {op} found {before:#x}: neither or both were first"
                    ));
                }
            }
        }
        self.unknown(found)
            .map_or(Ok(()), |strange| Err(format!("it found {found:#x}: nobody adds {strange:#x}")))
    }

    /// Bits that nobody has added.
    fn unknown(&self, value: u64) -> Option<u64> {
        let known = self.adds.keys().fold(0, |known, bit| known | 1 << bit);
        (value & !known != 0).then_some(value & !known)
    }

    /// Whether the cell may hold this once nothing is under way any more.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self, holds: u64) -> Result<(), String> {
        if let Some(strange) = self.unknown(holds) {
            return Err(format!("the cell holds {holds:#x}, and nobody adds {strange:#x}"));
        }
        let missing =
            self.adds.iter().find(|(bit, add)| matches!(add.done, Done::Found(_)) && holds & 1 << **bit == 0);
        match missing {
            Some((bit, add)) => {
                let op = add.op;
                Err(format!("the cell holds {holds:#x} without bit {bit} of operation {op}, which succeeded"))
            }
            None => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Swap {
    compare: u64,
    swap: u64,
    done: Done,
}

/// A cell whose value is swapped.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// By operation.
    swaps: BTreeMap<u32, Swap>,
    latest: u64,
}

impl Chain {
    /// What a compare-and-swap may expect to find.
    pub fn guess(&self) -> u64 {
        self.latest
    }

    /// A compare-and-swap begins. `swap` is never used again.
    pub fn begin(&mut self, op: u32, compare: u64, swap: u64) {
        self.swaps.insert(op, Swap { compare, swap, done: Done::UnderWay });
    }

    /// It ended: with the value it found, or nobody knows how.
    ///
    /// # Errors
    /// In words, when it cannot have found that.
    pub fn end(&mut self, op: u32, found: Option<u64>) -> Result<(), String> {
        let Some(swap) = self.swaps.get_mut(&op) else { return Ok(()) };
        swap.done = found.map_or(Done::Unknown, Done::Found);
        let Some(found) = found else { return Ok(()) };
        let mine = *swap;
        self.latest = if found == mine.compare { mine.swap } else { found };
        if found != 0 && !self.swaps.iter().any(|(other, swap)| swap.swap == found && *other != op) {
            return Err(format!("it found {found:#x}, which nobody left"));
        }
        let rival = self.swaps.iter().find(|(other, swap)| {
            **other != op && found == mine.compare && swap.compare == found && swap.done == Done::Found(found)
        });
        match rival {
            Some((rival, _)) => Err(format!("it swapped {found:#x}, and so did operation {rival}")),
            None => Ok(()),
        }
    }

    /// Whether the cell may hold this once nothing is under way any more.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self, holds: u64) -> Result<(), String> {
        // Values are never left twice, so the chain is walked back from its end: each value was left by one swap.
        let by_value: BTreeMap<u64, &Swap> = self.swaps.values().map(|swap| (swap.swap, swap)).collect();
        let sure = |swap: &&Swap| swap.done == Done::Found(swap.compare);
        let (mut value, mut walked) = (holds, 0);
        let mut seen = vec![value];
        while value != 0 {
            let Some(swap) = by_value.get(&value) else {
                return Err(format!("the cell holds {holds:#x} by way of {value:#x}, which nobody leaves"));
            };
            if let Done::Found(found) = swap.done
                && found != swap.compare
            {
                return Err(format!("the cell had {value:#x}, whose swap found {found:#x} and did nothing"));
            }
            walked += usize::from(sure(swap));
            value = swap.compare;
            if seen.contains(&value) {
                return Err(format!("the cell had {value:#x} twice"));
            }
            seen.push(value);
        }
        let did = self.swaps.values().filter(sure).count();
        if walked != did {
            return Err(format!(
                "the cell holds {holds:#x}: {walked} swaps lead there, and {did} took effect"
            ));
        }
        let glimpsed = |swap: &&Swap| matches!(swap.done, Done::Found(found) if !seen.contains(&found));
        match self.swaps.values().find(glimpsed) {
            Some(swap) => {
                Err(format!("a swap expected {:#x} and found what the cell never held", swap.compare))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds of bits 0, 1 and 2 that overlap, by operations 10, 11 and 12.
    fn sum() -> Sum {
        let mut sum = Sum::default();
        (0..3).for_each(|bit| sum.begin(bit, 10 + bit, 1));
        sum
    }

    #[test]
    fn adds_in_any_order_add_up() {
        let mut sum = sum();
        assert_eq!(sum.end(1, Some(0), 2), Ok(()));
        assert_eq!(sum.end(0, Some(0b010), 3), Ok(()));
        assert_eq!(sum.end(2, None, 4), Ok(()));
        assert_eq!((sum.check(0b011), sum.check(0b111)), (Ok(()), Ok(())), "a failed one may have been done");
        assert!(sum.check(0b001).is_err(), "one is lost");
        assert!(sum.check(0b100).is_err(), "two are lost");
        assert!(sum.check(0b1011).is_err(), "nobody's");
    }

    #[test]
    fn adds_that_found_the_impossible_are_told() {
        let mut twins = sum();
        assert_eq!(twins.end(0, Some(0), 2), Ok(()));
        assert!(twins.clone().end(1, Some(0), 3).is_err(), "both were first");
        assert!(twins.clone().end(1, Some(0b011), 3).is_err(), "it found itself");
        assert!(twins.clone().end(1, Some(0b1001), 3).is_err(), "nobody's");
        let mut late = sum();
        assert_eq!(late.end(0, Some(0), 2), Ok(()));
        late.begin(5, 15, 3);
        assert!(late.end(5, Some(0), 4).is_err(), "operation 10 had ended");
    }

    #[test]
    fn swaps_form_a_chain() {
        let mut chain = Chain::default();
        chain.begin(1, 0, 100);
        chain.begin(2, 0, 200);
        chain.begin(3, 100, 300);
        assert_eq!(chain.end(1, Some(0)), Ok(()));
        assert_eq!(chain.guess(), 100);
        assert_eq!(chain.end(2, Some(100)), Ok(()), "it came too late");
        assert_eq!(chain.end(3, None), Ok(()));
        assert_eq!((chain.check(100), chain.check(300)), (Ok(()), Ok(())), "the last may have been done");
        assert!(chain.check(0).is_err(), "the first is lost");
        assert!(chain.check(200).is_err(), "the second did nothing");
        assert!(chain.check(777).is_err(), "nobody's");
    }

    #[test]
    fn swaps_that_found_the_impossible_are_told() {
        let mut chain = Chain::default();
        chain.begin(1, 0, 100);
        chain.begin(2, 0, 200);
        assert_eq!(chain.end(1, Some(0)), Ok(()));
        assert!(chain.clone().end(2, Some(0)).is_err(), "both swapped the same value");
        assert!(chain.end(2, Some(55)).is_err(), "nobody left it");
    }
}
