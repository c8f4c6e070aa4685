//! Atomics as chains: each one that changes a cell leads from the value it found to the value it left. Written values
//! are never repeated, so the links of a cell form one chain from its first value to its last, each value left once,
//! whatever the order in which the device did them. A lost, doubled or torn atomic breaks the chain.

use std::collections::{BTreeMap, BTreeSet};

/// What was done to the cells of one region.
#[derive(Debug, Default)]
pub struct Cells {
    cells: BTreeMap<u64, Cell>,
}

#[derive(Debug, Default)]
struct Cell {
    /// From the value found to the value left.
    links: BTreeMap<u64, u64>,
    /// What atomics that changed nothing found.
    glimpsed: BTreeSet<u64>,
    /// What the last completed atomic left or found: a good guess for a compare-and-swap.
    latest: u64,
    /// An atomic failed: it was done or not, so that the chain may have a gap.
    doubtful: bool,
}

impl Cells {
    /// What a compare-and-swap may expect to find.
    pub fn guess(&self, offset: u64) -> u64 {
        self.cells.get(&offset).map_or(0, |cell| cell.latest)
    }

    /// Whether an atomic completed on the cell at this offset.
    pub fn knows(&self, offset: u64) -> bool {
        self.cells.contains_key(&offset)
    }

    /// An atomic completed: it found `former` and left `new`.
    ///
    /// # Errors
    /// In words, when another atomic left the same value before.
    pub fn done(&mut self, offset: u64, former: u64, new: u64) -> Result<(), String> {
        let cell = self.cells.entry(offset).or_default();
        cell.latest = new;
        if former == new {
            cell.glimpsed.insert(former);
            return Ok(());
        }
        match cell.links.insert(former, new) {
            None => Ok(()),
            Some(other) => Err(format!(
                "two atomics found {former:#x} in the cell at {offset}: one left {other:#x}, one {new:#x}"
            )),
        }
    }

    /// An atomic on this cell failed, and was done or not. The cell is held to less from now on: no value is left twice.
    pub fn failed(&mut self, offset: u64) {
        self.cells.entry(offset).or_default().doubtful = true;
    }

    /// Walks the chain of each cell to its end. `last` reads what the cell holds now.
    ///
    /// # Errors
    /// In words, for the first cell whose chain is broken.
    pub fn check(&self, mut last: impl FnMut(u64) -> u64) -> Result<(), String> {
        for (&offset, cell) in self.cells.iter().filter(|(_, cell)| !cell.doubtful) {
            let (mut value, mut walked) = (0, 0);
            let mut seen = BTreeSet::from([0]);
            while let Some(&next) = cell.links.get(&value) {
                value = next;
                walked += 1;
                if !seen.insert(value) {
                    return Err(format!("the cell at {offset} had the value {value:#x} twice"));
                }
            }
            if walked != cell.links.len() {
                let links = cell.links.len();
                return Err(format!(
                    "{links} atomics changed the cell at {offset}, but only {walked} of them follow one another"
                ));
            }
            let holds = last(offset);
            if holds != value {
                return Err(format!(
                    "the cell at {offset} holds {holds:#x}, and its last atomic left {value:#x}"
                ));
            }
            if let Some(glimpse) = cell.glimpsed.iter().find(|glimpse| !seen.contains(glimpse)) {
                return Err(format!(
                    "an atomic found {glimpse:#x} in the cell at {offset}, which it never held"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_done_in_any_order_holds() {
        let mut cells = Cells::default();
        for (former, new) in [(5, 9), (0, 5), (9, 9), (9, 2)] {
            assert_eq!(cells.done(8, former, new), Ok(()));
        }
        assert_eq!(cells.guess(8), 2);
        assert_eq!(cells.check(|_| 2), Ok(()));
    }

    #[test]
    fn lost_doubled_and_foreign_atomics_break_it() {
        let chain = |links: &[(u64, u64)]| {
            let mut cells = Cells::default();
            let done = links.iter().try_for_each(|(former, new)| cells.done(0, *former, *new));
            done.and_then(|()| cells.check(|_| 7))
        };
        assert_eq!(chain(&[(0, 5), (5, 7)]), Ok(()));
        assert!(chain(&[(0, 5), (0, 7)]).is_err(), "both found 0: one was lost");
        assert!(chain(&[(0, 5), (6, 7)]).is_err(), "nobody left 6");
        assert!(chain(&[(0, 5)]).is_err(), "the cell holds something else");
        assert!(chain(&[(0, 7), (3, 3)]).is_err(), "found what was never there");
        assert!(chain(&[(0, 7), (7, 0)]).is_err(), "a value twice");
    }

    #[test]
    fn a_cell_with_a_failed_atomic_may_have_a_gap_and_still_leaves_no_value_twice() {
        let mut cells = Cells::default();
        cells.failed(8);
        assert_eq!(cells.done(8, 5, 9), Ok(()), "somebody left 5: perhaps the one that failed");
        assert_eq!(cells.check(|_| 9), Ok(()));
        assert!(cells.done(8, 5, 7).is_err(), "found twice");
    }
}
