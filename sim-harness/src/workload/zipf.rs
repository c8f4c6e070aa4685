//! Zipf's law over a fixed number of objects, the same on every machine.
//!
//! Object `k` (from 0) has a probability proportional to `1 / (k + 1)^exponent`. A draw takes one choice and at
//! most two table reads (alias method: Walker 1977, built in linear time as by Vose 1991). Rejection sampling
//! would need no table but a number of choices that depends on the choices, and a run in which every choice is
//! zero might then never end. The powers come from `libm`, everything else is IEEE arithmetic in a fixed order.

use wavetank_contract::chance::{Choices, Site};

/// The alias table of one distribution.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    columns: Vec<Column>,
}

/// A column of probability 1/n: `own` of 2^32 parts belong to the column's own object, the rest to `alias`.
#[derive(Clone, Copy, Debug)]
struct Column {
    own: u32,
    alias: u32,
}

const PARTS: f64 = 4_294_967_296.0;

impl Zipf {
    /// `objects` must be at least 1, and `exponent` finite and not negative.
    pub(super) fn new(exponent: f64, objects: u32) -> Zipf {
        let n = objects.max(1);
        let weights: Vec<f64> = (1..=n).map(|rank| 1.0 / libm::pow(f64::from(rank), exponent)).collect();
        let total: f64 = weights.iter().sum();
        let mut share: Vec<f64> = weights.iter().map(|w| w * f64::from(n) / total).collect();
        let mut columns: Vec<Column> = (0..n).map(|k| Column { own: u32::MAX, alias: k }).collect();
        // Weights fall with rank: the rich are a prefix, the poor the rest. Each poor column is filled up by the
        // rich object at `rich`, which joins the poor when it has given away more than it can spare.
        let (mut rich, mut poor) = (0, share.partition_point(|s| *s >= 1.0));
        let mut spent = None;
        loop {
            let short = match spent.take() {
                Some(k) => k,
                None if poor < share.len() => {
                    poor += 1;
                    poor - 1
                }
                None => break,
            };
            // Rounding can leave the last columns a hair short with nobody rich: they keep what is theirs.
            if rich >= share.len() || share[rich] < 1.0 || rich == short {
                break;
            }
            // Object 0 keeps at least one part, so that the quiet choice cannot fall on another.
            let own = ((share[short] * PARTS) as u32).max(u32::from(short == 0));
            columns[short] = Column { own, alias: rich as u32 };
            share[rich] -= 1.0 - share[short];
            if share[rich] < 1.0 {
                spent = Some(rich);
                rich += 1;
            }
        }
        Zipf { columns }
    }

    /// Draws an object. The quiet choice is object 0, the most popular.
    pub(super) fn pick<C: Choices + ?Sized>(&self, choices: &mut C, site: Site) -> u32 {
        if self.columns.len() == 1 {
            return 0;
        }
        let drawn = choices.choose(site, (self.columns.len() as u64) << 32);
        let column = (drawn >> 32) as u32;
        let Column { own, alias } = self.columns[column as usize];
        if (drawn as u32) < own { column } else { alias }
    }
}
