//! The choices of a swarm run: drawn from a seed, or replayed from the few that were loud.
//!
//! Every site has a stream of its own, so that silencing one, or asking it once more, changes nothing at the others. That is
//! what makes a run shrink: its parts keep their chance when something else is taken away.

mod bytes;
mod exhaustive;

use std::cell::RefCell;
use std::rc::Rc;

use wavetank_contract::chance::mix64;
use wavetank_contract::{Choices, Site};

pub use bytes::Bytes;
pub use exhaustive::Exhaustive;

/// SplitMix64's increment, as in `Seeded`.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The value of a choice that is the last there is, however many there are: a yes where a site asks for one.
pub const LAST: u64 = u64::MAX;

/// A choice that was not the quiet one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loud {
    /// Where.
    pub site: Site,
    /// How many were made at this site before it.
    pub nth: u64,
    /// What was chosen, at least 1. [`LAST`], and anything too large for what is asked, is the last choice.
    pub value: u64,
}

/// A handle to the choices of one run. Clones are the same choices: what one draws, all have drawn.
#[derive(Clone, Debug)]
pub struct SwarmChoices(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    source: Source,
    /// Choices asked for so far, by site.
    asked: [u64; Site::COUNT],
    silent: [bool; Site::COUNT],
    heard: Option<Vec<Loud>>,
}

#[derive(Debug)]
enum Source {
    Seed(u64),
    /// Loud ones by site, each list in the order of `nth`, and how many of it are over.
    Sparse(Box<[(Vec<Loud>, usize)]>),
}

impl SwarmChoices {
    /// Drawn from a seed; every seed is good.
    pub fn seeded(seed: u64) -> SwarmChoices {
        SwarmChoices::from_source(Source::Seed(seed))
    }

    /// Everything quiet but these, in any order. Of two for the same choice the first counts.
    pub fn sparse(loud: &[Loud]) -> SwarmChoices {
        let mut sites = vec![(Vec::new(), 0); Site::COUNT];
        for choice in loud {
            sites[choice.site.index()].0.push(*choice);
        }
        for (choices, _) in &mut sites {
            choices.sort_by_key(|choice| choice.nth);
        }
        SwarmChoices::from_source(Source::Sparse(sites.into()))
    }

    fn from_source(source: Source) -> SwarmChoices {
        let state = State { source, asked: [0; Site::COUNT], silent: [false; Site::COUNT], heard: None };
        SwarmChoices(Rc::new(RefCell::new(state)))
    }

    /// Keeps the loud ones from now on.
    pub fn record(self) -> SwarmChoices {
        self.0.borrow_mut().heard = Some(Vec::new());
        self
    }

    /// From now on this site answers with the quiet choice only.
    pub fn silence(&self, site: Site) {
        self.0.borrow_mut().silent[site.index()] = true;
    }

    /// The loud ones that were handed out, in their order; none unless they are [recorded](Self::record). Replayed, they
    /// give the same run.
    pub fn loud(&self) -> Vec<Loud> {
        self.0.borrow().heard.clone().unwrap_or_default()
    }
}

impl Choices for SwarmChoices {
    fn choose(&mut self, site: Site, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        self.0.borrow_mut().choose(site, bound)
    }
}

impl State {
    fn choose(&mut self, site: Site, bound: u64) -> u64 {
        let index = site.index();
        let nth = self.asked[index];
        self.asked[index] += 1;
        if self.silent[index] {
            return 0;
        }
        let value = match &mut self.source {
            Source::Seed(seed) => drawn(*seed, index, nth, site, bound),
            Source::Sparse(sites) => {
                let (choices, over) = &mut sites[index];
                while choices.get(*over).is_some_and(|choice| choice.nth < nth) {
                    *over += 1;
                }
                choices.get(*over).filter(|choice| choice.nth == nth).map_or(0, |choice| choice.value)
            }
        };
        let value = value.min(bound - 1);
        if value > 0
            && let Some(heard) = &mut self.heard
        {
            // Whatever the odds become when the run is shrunk, a yes stays a yes.
            let value = if site.is_one_in() && value == bound - 1 { LAST } else { value };
            heard.push(Loud { site, nth, value });
        }
        value
    }
}

/// The `nth` number of a site. What is no yes where only a yes matters becomes 0, so that it is neither told nor replayed.
fn drawn(seed: u64, index: usize, nth: u64, site: Site, bound: u64) -> u64 {
    let stream = mix64(seed ^ mix64(index as u64 + 1));
    let number = mix64(stream.wrapping_add(nth.wrapping_add(1).wrapping_mul(GAMMA)));
    let value = ((u128::from(number) * u128::from(bound)) >> 64) as u64;
    if site.is_one_in() && value != bound - 1 { 0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(choices: &mut SwarmChoices, site: Site, bound: u64, count: usize) -> Vec<u64> {
        (0..count).map(|_| choices.choose(site, bound)).collect()
    }

    #[test]
    fn what_was_loud_replays_the_run() {
        let mut first = SwarmChoices::seeded(7).record();
        let run = |choices: &mut SwarmChoices| {
            let mut all = Vec::new();
            for round in 0..200 {
                all.extend(draw(choices, Site::LinkJitter, 1 + round % 5, 2));
                all.extend(draw(choices, Site::LinkLoss, 10, 1));
                all.extend(draw(choices, Site::NodeOrder, 3, 1));
            }
            all
        };
        let was = run(&mut first);
        let loud = first.loud();
        assert!(loud.len() > 100 && loud.len() < was.len(), "{}", loud.len());
        let mut again = SwarmChoices::sparse(&loud).record();
        assert_eq!((run(&mut again), again.loud()), (was, loud));
    }

    #[test]
    fn silencing_a_site_changes_nothing_at_the_others() {
        let (mut all, mut some) = (SwarmChoices::seeded(7), SwarmChoices::seeded(7).record());
        some.silence(Site::LinkJitter);
        assert!(draw(&mut all, Site::LinkJitter, 100, 50).iter().any(|value| *value > 0));
        assert_eq!(draw(&mut some, Site::LinkJitter, 100, 50), [0; 50]);
        assert_eq!(draw(&mut all, Site::NodeOrder, 9, 50), draw(&mut some, Site::NodeOrder, 9, 50));
        assert!(some.loud().iter().all(|choice| choice.site == Site::NodeOrder));
    }

    #[test]
    fn a_site_that_asks_for_a_yes_hears_yes_or_nothing_about_once_in_the_bound() {
        let mut choices = SwarmChoices::seeded(1).record();
        let yes = draw(&mut choices, Site::LinkLoss, 10, 10_000);
        assert!(yes.iter().all(|value| [0, 9].contains(value)));
        let count = choices.loud().len();
        assert!((900..1100).contains(&count), "{count}");
        assert!(choices.loud().iter().all(|choice| choice.value == LAST));
    }

    #[test]
    fn a_replayed_value_that_is_too_large_is_the_last_choice() {
        let loud = [
            Loud { site: Site::LinkJitter, nth: 1, value: 99 },
            Loud { site: Site::LinkLoss, nth: 0, value: LAST },
        ];
        let mut choices = SwarmChoices::sparse(&loud);
        assert_eq!(draw(&mut choices, Site::LinkJitter, 10, 3), [0, 9, 0]);
        assert_eq!(draw(&mut choices, Site::LinkLoss, 4, 2), [3, 0]);
    }

    #[test]
    fn clones_are_the_same_choices_and_no_choice_draws_nothing() {
        let mut one = SwarmChoices::seeded(3);
        let mut other = one.clone();
        let mut alone = SwarmChoices::seeded(3);
        let mixed =
            [one.choose(Site::Swarm, 1000), other.choose(Site::Swarm, 1), other.choose(Site::Swarm, 1000)];
        let want = [alone.choose(Site::Swarm, 1000), 0, alone.choose(Site::Swarm, 1000)];
        assert_eq!(mixed, want);
    }

    #[test]
    fn another_seed_draws_other_numbers_at_every_site() {
        for site in Site::all().filter(|site| !site.is_one_in()) {
            let of = |seed| draw(&mut SwarmChoices::seeded(seed), site, 1 << 20, 8);
            assert_ne!(of(1), of(2), "{}", site.name());
        }
    }
}
