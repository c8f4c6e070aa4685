//! Loud choices that can be quiet, or quieter.

use wavetank_contract::Site;

use super::{Case, Shrinker};
use crate::swarm::choices::LAST;

/// Values are made smaller only where this few are left: it takes several runs each.
const FEW: usize = 64;

impl Shrinker<'_> {
    /// Whole sites, the most talkative first.
    pub(super) fn sites(&mut self) {
        let mut counts = [0u64; Site::COUNT];
        for choice in &self.best.loud {
            counts[choice.site.index()] += 1;
        }
        let mut sites: Vec<Site> = Site::all().filter(|site| counts[site.index()] > 0).collect();
        sites.sort_by_key(|site| std::cmp::Reverse(counts[site.index()]));
        for site in sites {
            let mut candidate = self.best.clone();
            candidate.loud.retain(|choice| choice.site != site);
            self.attempt(candidate);
        }
    }

    /// Blocks of them, then each, then their values.
    pub(super) fn choices(&mut self) {
        self.remove(
            |case| case.loud.len(),
            |case, gone| {
                let mut loud = case.loud.clone();
                loud.drain(gone);
                Case { loud, plan: case.plan.clone() }
            },
        );
        if self.best.loud.len() <= FEW {
            for index in 0..self.best.loud.len() {
                self.smaller(index);
            }
        }
    }

    /// A smaller value of one choice: 1, or halves for as long as they do.
    fn smaller(&mut self, index: usize) {
        let value = |case: &Case| case.loud.get(index).map_or(0, |choice| choice.value);
        let with = |case: &Case, value| {
            let mut case = case.clone();
            case.loud[index].value = value;
            case
        };
        if value(&self.best) == LAST {
            return;
        }
        for shorter in [|_| 1, |value| value / 2, |value| value - 1] as [fn(u64) -> u64; 3] {
            while value(&self.best) > 1 && self.attempt(with(&self.best, shorter(value(&self.best)))) {}
        }
    }
}
