//! Which seeds: every so many from one on.

use serde::{Deserialize, Serialize};

/// Seeds of one part: `start`, `start + step`, and so on, `count` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "[u64; 3]", into = "[u64; 3]")]
pub struct Seeds {
    /// The first.
    pub start: u64,
    /// How far apart, at least 1.
    pub step: u64,
    /// How many.
    pub count: u64,
}

/// Parts that make no whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWhole {
    /// They mean different things.
    #[error("{name}: its {what} is {other} and that of the first is {one}: seeds do not mean the same")]
    Differs {
        /// The part.
        name: String,
        /// In what.
        what: &'static str,
        /// What the first part has.
        one: String,
        /// What this part has.
        other: String,
    },
    /// A seed is in two of them.
    #[error("seed {seed} is in {one} and in {other}: each may be counted once")]
    Twice {
        /// The seed.
        seed: u64,
        /// A part.
        one: String,
        /// Another.
        other: String,
    },
    /// A seed is in none of them.
    #[error(
        "seed {seed} is in no file, and {missing} of the {span} from {first} on are not: is a shard missing?"
    )]
    Missing {
        /// The first such seed.
        seed: u64,
        /// How many there are.
        missing: u128,
        /// The lowest seed of all.
        first: u64,
        /// From there to the highest.
        span: u128,
    },
    /// There are none.
    #[error("there are no seeds in them")]
    Empty,
}

impl Seeds {
    /// `count` seeds from `start` on; `None` if they go beyond 64 bits.
    pub fn new(start: u64, count: u64) -> Option<Seeds> {
        start.checked_add(count.saturating_sub(1))?;
        Some(Seeds { start, step: 1, count })
    }

    /// The part that shard `index` of `of` runs.
    pub fn shard(self, index: u64, of: u64) -> Seeds {
        let of = of.max(1);
        Seeds {
            start: self.start.saturating_add(self.step.saturating_mul(index)),
            step: self.step.saturating_mul(of),
            count: self.count.saturating_sub(index).div_ceil(of),
        }
    }

    /// The first `count`.
    pub fn take(self, count: u64) -> Seeds {
        Seeds { count: self.count.min(count), ..self }
    }

    /// Without the first `count`.
    pub fn skip(self, count: u64) -> Seeds {
        let start = self.start.saturating_add(self.step.saturating_mul(count));
        Seeds { start, count: self.count.saturating_sub(count), ..self }
    }

    /// Each.
    pub fn iter(self) -> impl Iterator<Item = u64> {
        (0..self.count).map(move |index| self.start + index * self.step)
    }

    fn last(self) -> u64 {
        self.start + (self.count - 1) * self.step
    }

    fn has(self, seed: u64) -> bool {
        (self.start..=self.last()).contains(&seed) && (seed - self.start).is_multiple_of(self.step)
    }

    /// The first seed of both.
    fn common(self, other: Seeds) -> Option<u64> {
        // start + i * step = other.start + j * other.step, by the extended Euclidean algorithm.
        let (start, step) = (i128::from(self.start), i128::from(self.step));
        let (other_start, other_step) = (i128::from(other.start), i128::from(other.step));
        let (mut gcd, mut rest, mut inverse, mut next) = (step, other_step, 1, 0);
        while rest != 0 {
            let quotient = gcd / rest;
            (gcd, rest) = (rest, gcd - quotient * rest);
            (inverse, next) = (next, inverse - quotient * next);
        }
        let apart = other_start - start;
        if apart % gcd != 0 {
            return None;
        }
        let cycle = other_step / gcd;
        let index = (apart / gcd % cycle * (inverse % cycle)).rem_euclid(cycle);
        let both = step.checked_mul(cycle)?;
        let from = start.max(other_start);
        let solution = start + index * step;
        let first = solution + (from - solution).max(0).div_euclid(both) * both;
        let first = if first < from { first + both } else { first };
        let last = i128::from(self.last().min(other.last()));
        (first <= last).then_some(first as u64)
    }

    /// The range that these make, each named by where it comes from.
    ///
    /// # Errors
    /// A seed is in two of them, or between them and in none.
    pub fn whole(parts: &[(String, Seeds)]) -> Result<Seeds, NotWhole> {
        let parts: Vec<&(String, Seeds)> = parts.iter().filter(|(_, seeds)| seeds.count > 0).collect();
        for (index, (one, seeds)) in parts.iter().enumerate() {
            for (other, others) in &parts[..index] {
                if let Some(seed) = seeds.common(*others) {
                    return Err(NotWhole::Twice { seed, one: other.clone(), other: one.clone() });
                }
            }
        }
        let Some(first) = parts.iter().map(|(_, seeds)| seeds.start).min() else {
            return Err(NotWhole::Empty);
        };
        let last = parts.iter().map(|(_, seeds)| seeds.last()).max().unwrap_or(first);
        let span = u128::from(last - first) + 1;
        let missing = span - parts.iter().map(|(_, seeds)| u128::from(seeds.count)).sum::<u128>();
        if missing > 0 {
            let nowhere = |seed: &u64| !parts.iter().any(|(_, seeds)| seeds.has(*seed));
            let seed = (first..=last).find(nowhere).unwrap_or(last);
            return Err(NotWhole::Missing { seed, missing, first, span });
        }
        Ok(Seeds { start: first, step: 1, count: last - first + 1 })
    }
}

impl TryFrom<[u64; 3]> for Seeds {
    type Error = String;

    fn try_from([start, step, count]: [u64; 3]) -> Result<Seeds, String> {
        let last = step.checked_mul(count.saturating_sub(1)).and_then(|span| start.checked_add(span));
        match last {
            Some(last) if (1..=u64::from(u32::MAX)).contains(&step) && last < u64::MAX => {
                Ok(Seeds { start, step, count })
            }
            _ => Err(format!("{count} seeds from {start} on, {step} apart, are none")),
        }
    }
}

impl From<Seeds> for [u64; 3] {
    fn from(seeds: Seeds) -> [u64; 3] {
        [seeds.start, seeds.step, seeds.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(parts: &[[u64; 3]]) -> String {
        let named = parts
            .iter()
            .zip('a'..)
            .map(|(part, name)| (format!("{name}.json"), Seeds::try_from(*part).expect("they are some")));
        match Seeds::whole(&named.collect::<Vec<_>>()) {
            Ok(seeds) => format!("{:?}", <[u64; 3]>::from(seeds)),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn parts_make_a_range_or_it_is_told_which_seed_is_not_there_once() {
        assert_eq!(told(&[[0, 1, 10], [10, 1, 5]]), "[0, 1, 15]");
        assert_eq!(told(&[[1, 3, 2], [2, 3, 2], [0, 3, 3]]), "[0, 1, 7]");
        assert_eq!(told(&[[0, 2, 5], [1, 4, 3], [3, 4, 2]]), "[0, 1, 10]");
        assert_eq!(
            told(&[[0, 1, 10], [9, 1, 5]]),
            "seed 9 is in a.json and in b.json: each may be counted once"
        );
        assert_eq!(
            told(&[[0, 2, 50], [1, 6, 5], [5, 5, 9]]),
            "seed 10 is in a.json and in c.json: each may be counted once"
        );
        let missing = "seed 1 is in no file, and 4 of the 9 from 0 on are not: is a shard missing?";
        assert_eq!(told(&[[0, 2, 5]]), missing);
        assert_eq!(told(&[]), "there are no seeds in them");
    }

    #[test]
    fn common_seeds_are_found_as_by_looking_at_each() {
        let parts = |start: u64| {
            [1, 2, 3, 4, 6, 7]
                .into_iter()
                .flat_map(move |step| [1, 2, 5, 9].map(|count| Seeds { start, step, count }))
        };
        for one in parts(3) {
            for other in (0..12).flat_map(parts) {
                let looked = one.iter().find(|seed| other.has(*seed));
                assert_eq!(one.common(other), looked, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn shards_have_every_seed_once() {
        let all = Seeds::new(7, 23).expect("few");
        for of in 1..9 {
            let parts: Vec<_> = (0..of).map(|index| (String::new(), all.shard(index, of))).collect();
            assert_eq!(Seeds::whole(&parts), Ok(all));
            let nested: Vec<_> =
                (0..3).map(|index| (String::new(), all.shard(0, of).shard(index, 3))).collect();
            assert_eq!(nested.iter().map(|(_, seeds)| seeds.count).sum::<u64>(), all.shard(0, of).count);
        }
        assert_eq!(all.shard(0, 1).skip(20).iter().collect::<Vec<_>>(), [27, 28, 29]);
        assert_eq!((Seeds::new(u64::MAX, 2), Seeds::new(u64::MAX, 1).is_some()), (None, true));
    }
}
