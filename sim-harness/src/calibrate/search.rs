//! The search: a descent along each number of a profile, in steps that shrink.

use wavetank_mock::Profile;

use crate::workload::limits::{MAX_JITTER_SHAPE, MAX_PROFILE_BYTE_PS, MAX_PROFILE_NS};

/// Factors by which numbers are changed, from coarse to fine.
const FACTORS: [f64; 7] = [4.0, 2.0, 1.4, 1.15, 1.06, 1.025, 1.01];

/// Factors with which every guess is tried; the rest are for the best of them.
const COARSE: usize = 3;

/// Rounds through all moves with one factor, at most.
const ROUNDS: u32 = 6;

/// Bytes of a full packet, more or less.
const PACKET_BYTES: u64 = 4096;

/// A descent from a guess.
#[derive(Debug)]
pub(super) struct Search {
    best: Profile,
    error: f64,
    steps: u32,
}

/// Changes of a profile, by a factor.
const MOVES: [fn(&Profile, f64) -> Profile; 8] = [
    |p, by| Profile { base_ns: times(p.base_ns, by), ..p.clone() },
    |p, by| Profile { packet_ns: times(p.packet_ns, by), ..p.clone() },
    |p, by| Profile { byte_ps: times(p.byte_ps, by).min(MAX_PROFILE_BYTE_PS), ..p.clone() },
    |p, by| Profile { jitter_ns: times(p.jitter_ns, by), ..p.clone() },
    |p, by| Profile { jitter_shape: shape(p.jitter_shape, by), ..p.clone() },
    // Numbers that make up for each other are changed together: alone, each of them would seem right where it is.
    |p, by| {
        let jitter_ns = times(p.jitter_ns, by);
        let mean = |jitter: u64| jitter / (u64::from(p.jitter_shape) + 1);
        Profile { base_ns: instead(p.base_ns, mean(jitter_ns), mean(p.jitter_ns)), jitter_ns, ..p.clone() }
    },
    |p, by| {
        let byte_ps = times(p.byte_ps, by).min(MAX_PROFILE_BYTE_PS);
        let packet = |byte_ps: u64| byte_ps * PACKET_BYTES / 1000;
        Profile { packet_ns: instead(p.packet_ns, packet(byte_ps), packet(p.byte_ps)), byte_ps, ..p.clone() }
    },
    |p, by| {
        let packet_ns = times(p.packet_ns, by);
        Profile { base_ns: instead(p.base_ns, packet_ns, p.packet_ns), packet_ns, ..p.clone() }
    },
];

/// A number that gives way to another, which was `before` and is `after`.
fn instead(number: u64, after: u64, before: u64) -> u64 {
    (number + before).saturating_sub(after).clamp(1, MAX_PROFILE_NS)
}

/// A number changed by a factor, and by one at least. Small numbers go to 0, and from there back.
fn times(number: u64, by: f64) -> u64 {
    let changed = (number as f64 * by).round() as u64;
    let changed = match changed == number {
        false => changed,
        true if by > 1.0 => number + 1,
        true => number.saturating_sub(1),
    };
    // Below 20 ns a step of a tenth is no step: 0 is as good.
    if by < 1.0 && changed < 20 { changed / 2 } else { changed.min(MAX_PROFILE_NS) }
}

fn shape(shape: u32, by: f64) -> u32 {
    let changed = (f64::from(shape) * by).round() as u32;
    let changed = match (changed == shape, by > 1.0) {
        (false, _) => changed,
        (true, true) => shape + 1,
        (true, false) => shape.saturating_sub(1),
    };
    changed.clamp(1, MAX_JITTER_SHAPE as u32)
}

impl Search {
    pub(super) fn new(guess: Profile) -> Search {
        Search { best: guess, error: f64::INFINITY, steps: 0 }
    }

    /// The best of several searches, each begun and not ended.
    pub(super) fn best_of(
        guesses: impl IntoIterator<Item = Profile>,
        error: &mut dyn FnMut(&Profile) -> f64,
        progress: &mut dyn FnMut(u32, f64),
    ) -> Option<Search> {
        let mut steps = 0;
        let mut begun = Vec::new();
        for guess in guesses {
            let mut search = Search::new(guess);
            search.consider(search.best.clone(), error, progress);
            search.rounds(&FACTORS[..COARSE], error, progress);
            steps += search.steps;
            begun.push(search);
        }
        let mut best = begun.into_iter().min_by(|a, b| a.error.total_cmp(&b.error))?;
        best.steps = steps;
        Some(best)
    }

    /// Profiles that were tried.
    pub(super) fn steps(&self) -> u32 {
        self.steps
    }

    /// Goes down as far as it goes. `progress` is told of each step that was better than all before.
    pub(super) fn descend(
        &mut self,
        error: &mut dyn FnMut(&Profile) -> f64,
        progress: &mut dyn FnMut(u32, f64),
    ) -> Profile {
        if self.error.is_infinite() {
            self.consider(self.best.clone(), error, progress);
        }
        self.rounds(&FACTORS, error, progress);
        // A number that does not help is left out.
        for without in [
            Profile { packet_ns: 0, ..self.best.clone() },
            Profile { jitter_ns: 0, jitter_shape: 1, ..self.best.clone() },
            Profile { jitter_shape: 1, ..self.best.clone() },
        ] {
            self.consider(without, error, progress);
        }
        self.best.clone()
    }

    fn rounds(
        &mut self,
        factors: &[f64],
        error: &mut dyn FnMut(&Profile) -> f64,
        progress: &mut dyn FnMut(u32, f64),
    ) {
        for factor in factors {
            for _ in 0..ROUNDS {
                if !self.round(*factor, error, progress) {
                    break;
                }
            }
        }
    }

    /// Every move in both directions. True when one of them helped.
    fn round(
        &mut self,
        factor: f64,
        error: &mut dyn FnMut(&Profile) -> f64,
        progress: &mut dyn FnMut(u32, f64),
    ) -> bool {
        let mut helped = false;
        for change in MOVES {
            for by in [factor, 1.0 / factor] {
                let candidate = change(&self.best, by);
                helped |= self.consider(candidate, error, progress);
            }
        }
        helped
    }

    /// Takes a profile if it is better.
    fn consider(
        &mut self,
        candidate: Profile,
        error: &mut dyn FnMut(&Profile) -> f64,
        progress: &mut dyn FnMut(u32, f64),
    ) -> bool {
        if self.error.is_finite() && candidate == self.best {
            return false;
        }
        self.steps += 1;
        let found = error(&candidate);
        if found >= self.error {
            return false;
        }
        (self.best, self.error) = (candidate, found);
        progress(self.steps, found);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valley_is_followed_to_its_end() {
        let wanted = Profile { packet_ns: 700, jitter_shape: 5, ..Profile::RXE };
        let log = |a: u64, b: u64| libm::log((a as f64 + 1.0) / (b as f64 + 1.0)).powi(2);
        let mut search =
            Search::new(Profile { base_ns: 77, byte_ps: 9, jitter_ns: 99_999, ..Profile::IDEAL });
        let found = search.descend(
            &mut |p| {
                log(p.base_ns, wanted.base_ns)
                    + log(p.packet_ns, wanted.packet_ns)
                    + log(p.byte_ps, wanted.byte_ps)
                    + log(p.jitter_ns, wanted.jitter_ns)
                    + log(p.jitter_shape.into(), wanted.jitter_shape.into())
            },
            &mut |_, _| (),
        );
        let off = |a: u64, b: u64| a.abs_diff(b) as f64 / b as f64;
        assert!(off(found.base_ns, wanted.base_ns) < 0.02, "{found:?}");
        assert!(off(found.packet_ns, wanted.packet_ns) < 0.02, "{found:?}");
        assert!(off(found.byte_ps, wanted.byte_ps) < 0.02, "{found:?}");
        assert_eq!(found.jitter_shape, 5);
        assert!(search.steps() < 1500, "{}", search.steps());
    }
}
