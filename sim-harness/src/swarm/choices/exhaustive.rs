//! Every sequence of choices there is, for worlds small enough.

use std::cell::RefCell;
use std::rc::Rc;

use wavetank_contract::{Choices, Site};

/// An odometer over the choices of a world that is run again and again: whatever the first choices are, all later ones
/// follow in all their values. Clones are the same choices.
///
/// A site that asks for a yes has two values; all others have `values_max` at most. The first `depth_max` choices of a run
/// are enumerated and all later ones are quiet. [`was_cut`](Self::was_cut) and [`was_thinned`](Self::was_thinned) tell whether all was tried.
#[derive(Clone, Debug)]
pub struct Exhaustive(Rc<RefCell<Odometer>>);

#[derive(Debug)]
struct Odometer {
    depth_max: usize,
    values_max: u64,
    /// For each choice of this run, which value and of how many.
    digits: Vec<(u64, u64)>,
    /// How many were made in this run.
    made: usize,
    cut: bool,
    thinned: bool,
}

impl Exhaustive {
    /// Before the first run, which is the quiet one.
    pub fn new(depth_max: usize, values_max: u64) -> Exhaustive {
        let values_max = values_max.max(1);
        Exhaustive(Rc::new(RefCell::new(Odometer {
            depth_max,
            values_max,
            digits: Vec::new(),
            made: 0,
            cut: false,
            thinned: false,
        })))
    }

    /// Turns to the next run. `false`: that was the last.
    pub fn advance(&mut self) -> bool {
        let mut odometer = self.0.borrow_mut();
        let made = std::mem::take(&mut odometer.made);
        odometer.digits.truncate(made);
        while let Some((value, values)) = odometer.digits.pop() {
            if value + 1 < values {
                odometer.digits.push((value + 1, values));
                return true;
            }
        }
        false
    }

    /// Whether a run had more choices than are enumerated.
    pub fn was_cut(&self) -> bool {
        self.0.borrow().cut
    }

    /// Whether a choice had more values than are enumerated.
    pub fn was_thinned(&self) -> bool {
        self.0.borrow().thinned
    }
}

impl Choices for Exhaustive {
    fn choose(&mut self, site: Site, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        let mut odometer = self.0.borrow_mut();
        let values = if site.is_one_in() { 2 } else { bound.min(odometer.values_max) };
        odometer.thinned |= values < bound && !site.is_one_in();
        if odometer.made == odometer.depth_max {
            odometer.cut = true;
            return 0;
        }
        let made = odometer.made;
        odometer.made += 1;
        if odometer.digits.len() == made {
            odometer.digits.push((0, values));
        }
        match odometer.digits[made].0 {
            0 => 0,
            _ if site.is_one_in() => bound - 1,
            value => value.min(bound - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All runs of a world.
    fn all<T>(mut choices: Exhaustive, mut run: impl FnMut(&mut Exhaustive) -> T) -> (Vec<T>, bool) {
        let mut runs = Vec::new();
        loop {
            runs.push(run(&mut choices));
            if !choices.advance() {
                return (runs, choices.was_cut() || choices.was_thinned());
            }
        }
    }

    #[test]
    fn every_sequence_comes_once_though_later_choices_depend_on_earlier_ones() {
        let (runs, cut) = all(Exhaustive::new(10, 10), |choices| {
            let first = choices.choose(Site::NodeOrder, 3);
            let second = if first == 1 { choices.choose(Site::LinkLoss, 100) } else { 0 };
            (first, second, choices.choose(Site::NodeOrder, first))
        });
        assert_eq!(runs, [(0, 0, 0), (1, 0, 0), (1, 99, 0), (2, 0, 0), (2, 0, 1)]);
        assert!(!cut);
    }

    #[test]
    fn what_is_not_enumerated_is_quiet_and_told() {
        let deep = |choices: &mut Exhaustive| [2; 3].map(|bound| choices.choose(Site::NodeOrder, bound));
        let (runs, cut) = all(Exhaustive::new(2, 10), deep);
        assert_eq!((runs.len(), cut), (4, true));
        assert!(runs.iter().all(|run| run[2] == 0));
        let (runs, cut) = all(Exhaustive::new(9, 2), |choices| choices.choose(Site::LinkJitter, 5));
        assert_eq!((runs, cut), (vec![0, 1], true));
    }
}
