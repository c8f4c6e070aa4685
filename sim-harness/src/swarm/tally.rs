//! What many seeds came to. Tallies of parts add up to the tally of the whole, in whatever order they are added.

mod seeds;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wavetank_contract::chance::mix64;

use super::file::{Failing, Outcome, SWARM_VERSION};

pub use seeds::{NotWhole, Seeds};

/// Failures told in full; all are counted.
const TOLD_MAX: usize = 1000;

/// What seeds came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The version of the program.
    pub program: String,
    /// What a seed means.
    pub swarm: String,
    /// Which were run: for whoever hands them out to say.
    pub seeds: Vec<Seeds>,
    /// How many.
    pub runs: u64,
    /// Over the trace hashes of all: equal whoever ran which of them, and in what order.
    #[serde(with = "hex")]
    pub hash: u64,
    /// Failures by check, `panic`, `died` or `hung`.
    pub failed: BTreeMap<String, u64>,
    /// The first failures, by seed.
    pub failures: Vec<Told>,
    /// Operations by how they ended.
    pub ops: BTreeMap<String, u64>,
    /// Marks that were passed, and how often.
    pub marks: BTreeMap<String, u64>,
    /// What else was covered, and how often.
    pub cells: BTreeMap<String, u64>,
    /// Bytes that were compared.
    pub bytes_verified: u64,
    /// Virtual time of all runs, in ns.
    pub virtual_ns: u64,
    /// Time that cores spent on it, in ns.
    pub core_ns: u64,
}

/// A failure in short.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The seed.
    pub seed: u64,
    /// The check, `panic`, `died` or `hung`.
    pub check: String,
    /// What was found.
    pub what: String,
    /// The command that repeats it.
    pub again: String,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            swarm: SWARM_VERSION.to_owned(),
            seeds: Vec::new(),
            runs: 0,
            hash: 0,
            failed: BTreeMap::new(),
            failures: Vec::new(),
            ops: BTreeMap::new(),
            marks: BTreeMap::new(),
            cells: BTreeMap::new(),
            bytes_verified: 0,
            virtual_ns: 0,
            core_ns: 0,
        }
    }
}

impl Tally {
    /// Adds what became of a seed. `again` is the command that repeats it, if it failed.
    pub fn add(&mut self, seed: u64, outcome: &Outcome, again: &str) {
        let (failing, what, hash) = match outcome {
            Err(panic) => (Some(Failing::Panic), panic.clone(), 0),
            Ok(verdict) => {
                let guilt = verdict.failure.as_ref();
                let what = guilt.map_or_else(String::new, |guilt| {
                    let op = guilt.op.map_or_else(String::new, |op| format!(", operation {op}"));
                    format!("at {}{op}: {}", guilt.at, guilt.what)
                });
                (guilt.map(|guilt| Failing::Check(guilt.check)), what, verdict.trace_hash)
            }
        };
        if let Ok(verdict) = outcome {
            let ended = verdict.ended;
            let words = ["well", "failed", "given up", "not begun"];
            let counts = [ended.well, ended.failed, ended.given_up, ended.not_begun];
            for (word, count) in words.into_iter().zip(counts) {
                plus(&mut self.ops, word, count);
            }
            for (mark, count) in &verdict.marks {
                plus(&mut self.marks, mark.name(), *count);
            }
            for (cell, count) in &verdict.cells {
                plus(&mut self.cells, cell, *count);
            }
            self.bytes_verified = self.bytes_verified.saturating_add(verdict.bytes_verified);
            self.virtual_ns = self.virtual_ns.saturating_add(verdict.took.0);
        }
        self.count(seed, hash);
        if let Some(failing) = failing {
            self.fail(Told { seed, check: failing.name().to_owned(), what, again: again.to_owned() });
        }
    }

    /// Adds a seed that took its process with it.
    pub fn add_lost(&mut self, told: Told) {
        self.count(told.seed, 0);
        self.fail(told);
    }

    fn count(&mut self, seed: u64, hash: u64) {
        self.runs += 1;
        self.hash = self.hash.wrapping_add(mix64(mix64(seed).wrapping_add(hash)));
    }

    fn fail(&mut self, told: Told) {
        plus(&mut self.failed, &told.check, 1);
        self.failures.push(told);
        self.trim();
    }

    fn trim(&mut self) {
        self.failures.sort();
        self.failures.truncate(TOLD_MAX);
    }

    /// Whether everything held.
    pub fn ok(&self) -> bool {
        self.failed.is_empty()
    }

    /// Failures, told or not.
    pub fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Adds another part. Which seeds it had is added too: whether they go together is for [`Seeds::whole`] to say.
    pub fn join(&mut self, other: Tally) {
        self.runs += other.runs;
        self.hash = self.hash.wrapping_add(other.hash);
        self.seeds.extend(other.seeds);
        self.failures.extend(other.failures);
        self.trim();
        let maps = [
            (&mut self.failed, other.failed),
            (&mut self.ops, other.ops),
            (&mut self.marks, other.marks),
            (&mut self.cells, other.cells),
        ];
        for (all, more) in maps {
            more.iter().for_each(|(key, count)| plus(all, key, *count));
        }
        self.bytes_verified = self.bytes_verified.saturating_add(other.bytes_verified);
        self.virtual_ns = self.virtual_ns.saturating_add(other.virtual_ns);
        self.core_ns = self.core_ns.saturating_add(other.core_ns);
    }

    /// One tally of tallies that have names, as files do.
    ///
    /// # Errors
    /// They are of different programs or swarms, or a seed is in two of them or in none.
    pub fn merge(parts: Vec<(String, Tally)>) -> Result<Tally, NotWhole> {
        let mut whole = Tally::default();
        let mut names = Vec::new();
        for (index, (name, part)) in parts.into_iter().enumerate() {
            if index == 0 {
                (whole.program, whole.swarm) = (part.program.clone(), part.swarm.clone());
            }
            for (what, one, other) in
                [("program", &whole.program, &part.program), ("swarm", &whole.swarm, &part.swarm)]
            {
                if one != other {
                    let (one, other) = (one.clone(), other.clone());
                    return Err(NotWhole::Differs { name, what, one, other });
                }
            }
            names.extend(part.seeds.iter().map(|seeds| (name.clone(), *seeds)));
            whole.join(part);
        }
        whole.seeds = vec![Seeds::whole(&names)?];
        Ok(whole)
    }
}

fn plus(counts: &mut BTreeMap<String, u64>, key: &str, count: u64) {
    if count == 0 {
        return;
    }
    match counts.get_mut(key) {
        Some(sum) => *sum = sum.saturating_add(count),
        None => drop(counts.insert(key.to_owned(), count)),
    }
}

/// Numbers of 64 bits as 16 digits: JSON keeps 53.
mod hex {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(hash: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{hash:016x}"))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        u64::from_str_radix(&text, 16).map_err(|_| D::Error::custom(format!("found {text:?}, wanted a hash")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Check;
    use crate::swarm::verdict::{Ended, Guilt, Verdict};
    use wavetank_contract::Instant;
    use wavetank_mock::Mark;

    fn outcome(seed: u64) -> Outcome {
        if seed == 13 {
            return Err("index out of bounds".to_owned());
        }
        let guilt = |op| Guilt { check: Check::Bytes, at: Instant(9), op, what: "torn".to_owned() };
        Ok(Verdict {
            failure: seed.is_multiple_of(7).then(|| guilt(Some(3))),
            trace_hash: mix64(seed),
            checkpoints: Vec::new(),
            ended: Ended { well: seed, failed: 1, given_up: 0, not_begun: 0 },
            bytes_verified: 10,
            took: Instant(100),
            marks: BTreeMap::from([(Mark::PacketLost, seed)]),
            cells: BTreeMap::new(),
            faults: Vec::new(),
        })
    }

    fn tally(seeds: Seeds) -> Tally {
        let mut tally = Tally::default();
        seeds.iter().for_each(|seed| tally.add(seed, &outcome(seed), "again"));
        tally.seeds = vec![seeds];
        tally
    }

    fn whole(parts: &[Seeds]) -> Tally {
        let named = parts.iter().map(|seeds| (format!("{}.json", seeds.start), tally(*seeds)));
        Tally::merge(named.collect()).expect("they are whole")
    }

    #[test]
    fn shards_in_any_order_add_up_to_the_whole() {
        let all = Seeds::new(0, 100).expect("few");
        let one = tally(all);
        let shards = [1, 2, 0].map(|index| all.shard(index, 3));
        assert_eq!(whole(&shards), one);
        let ranges = [(40, 60), (0, 40)].map(|(start, count)| Seeds::new(start, count).expect("few"));
        assert_eq!(whole(&ranges), one);
        assert_eq!((one.runs, one.failed["bytes"], one.failed["panic"], one.ops["failed"]), (100, 15, 1, 99));
        assert_eq!(one.failures[0].what, "at 9 ns, operation 3: torn");
        assert!(one.failures.is_sorted());
    }

    #[test]
    fn the_hash_is_of_every_seed_and_of_every_trace() {
        let all = Seeds::new(0, 20).expect("few");
        let mut other = tally(all);
        other.hash = 0;
        for seed in 0..20u64 {
            // The same hashes, with two of them swapped.
            let from = match seed {
                4 => 5,
                5 => 4,
                _ => seed,
            };
            other.hash = other.hash.wrapping_add(mix64(mix64(seed).wrapping_add(mix64(from))));
        }
        other.hash =
            other.hash.wrapping_sub(mix64(mix64(13).wrapping_add(mix64(13)))).wrapping_add(mix64(mix64(13)));
        assert_ne!(other.hash, tally(all).hash);
        assert_ne!(tally(Seeds::new(0, 19).expect("few")).hash, tally(all).hash);
    }

    #[test]
    fn json_keeps_everything() {
        let one = tally(Seeds::new(0, 30).expect("few"));
        let text = serde_json::to_string(&one).expect("it is data");
        assert_eq!(serde_json::from_str::<Tally>(&text).expect("it was written"), one);
    }

    #[test]
    fn parts_of_different_programs_or_swarms_are_refused() {
        let part = |start| tally(Seeds::new(start, 10).expect("few"));
        let other = Tally { swarm: "v0".to_owned(), ..part(10) };
        let refused = Tally::merge(vec![("a.json".to_owned(), part(0)), ("b.json".to_owned(), other)]);
        let told = refused.expect_err("they differ").to_string();
        assert_eq!(told, "b.json: its swarm is v0 and that of the first is v1: seeds do not mean the same");
    }
}
