//! Which bytes are undefined after each round, and why. A mask is a hole: what it covers is not compared.
//!
//! Bytes are undefined that
//!
//! * two works of one round touch, at least one writing, unless a device has to do one after the other (IBA 9.5: requests
//!   are carried out in order, except that a READ's data may be fetched later; a fence puts that right);
//! * a work that failed may have written: `LOC_PROT_ERR` and `RNR_RETRY_EXC_ERR` in the middle of a message of several
//!   packets, any receive that did not end well, the answer of a READ or atomic with no place to go (and what such an
//!   atomic changed);
//! * were copied from undefined bytes;
//! * belong to a region that is not registered (`Backend::deregister`);
//! * belong to a work on whose end the two devices disagree, once that disagreement is known and accepted.
//!
//! What is *not* masked after a failure, and so must not have changed: the target of a request that was refused or never
//! answered, everything that was flushed, and whatever lies beside a range.

mod outcome;
mod touch;

use std::collections::{BTreeMap, BTreeSet};

use wavetank_contract::Status;

use super::log::Log;
use super::program::{Program, RegionId, Step};
use super::ranges::Ranges;
use outcome::Outcomes;
use touch::{Place, Touch, is_ordered};

/// Undefined bytes after each round, by region.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mask {
    pub(crate) rounds: Vec<BTreeMap<RegionId, Ranges>>,
}

impl Mask {
    /// The mask of a program that was run twice.
    pub(crate) fn of(program: &Program, reference: &Log, other: &Log) -> Mask {
        let outcomes = Outcomes::of(program, reference, other);
        let mut mask = Mask::default();
        let mut undefined: BTreeMap<RegionId, Ranges> = BTreeMap::new();
        let mut from = 0;
        for (round, seen) in reference.rounds.iter().enumerate() {
            for (i, step) in program.steps.iter().enumerate().take(seen.before).skip(from) {
                if let Step::Deregister(id) | Step::Register(id) = step
                    && let Some(region) = program.regions.get(id)
                    && !reference.refusals.contains_key(&i)
                {
                    // Registering fills it: all is defined. Deregistering undefines it.
                    let bytes = undefined.entry(*id).or_default();
                    bytes.remove(0, region.len);
                    if matches!(step, Step::Deregister(_)) {
                        bytes.add(0, region.len);
                    }
                }
            }
            play(program, &outcomes, round, &mut undefined);
            mask.rounds.push(undefined.clone());
            from = seen.before;
        }
        mask
    }
}

/// What one round leaves undefined.
fn play(program: &Program, outcomes: &Outcomes, round: usize, undefined: &mut BTreeMap<RegionId, Ranges>) {
    let touches = touch::of_round(program, outcomes, round);
    let mut clashes: Vec<(RegionId, u32, u32)> = Vec::new();
    let mut spoilt: Vec<usize> = Vec::new();
    for (i, x) in touches.iter().enumerate() {
        for y in &touches[i + 1..] {
            let (start, end) = (x.start.max(y.start), x.end.min(y.end));
            let meet = x.region == y.region && start < end && (x.writes || y.writes) && x.step != y.step;
            if !meet || is_ordered(program, x, y) {
                continue;
            }
            if x.writes && y.writes {
                clashes.push((x.region, start, end));
            }
            // Whoever only reads got one or the other; whoever reads and writes a word got either.
            spoilt.extend([x, y].iter().filter(|t| t.reads).map(|t| t.step));
        }
    }
    add_all(undefined, &clashes);
    // In posting order, which is one of the legal orders wherever the order matters.
    for step in touches.iter().map(|t| t.step).collect::<BTreeSet<usize>>() {
        let of = |place: Place| touches.iter().filter(move |t| t.step == step && t.place == place);
        let dirty = spoilt.contains(&step)
            || of(Place::Source).any(|t| undefined.get(&t.region).is_some_and(|u| u.touches(t.start, t.end)));
        let torn = outcomes.is_torn(program, step);
        for Touch { region, start, end, keeps, .. } in of(Place::Target) {
            let bytes = undefined.entry(*region).or_default();
            if dirty || torn {
                bytes.add(*start, *end);
            } else if !keeps {
                bytes.remove(*start, *end);
            }
        }
    }
    add_all(undefined, &clashes);
}

fn add_all(undefined: &mut BTreeMap<RegionId, Ranges>, bytes: &[(RegionId, u32, u32)]) {
    for (region, start, end) in bytes {
        undefined.entry(*region).or_default().add(*start, *end);
    }
}

/// Whether a status leaves the work's destination as it was, if its message has `packets` packets.
fn is_harmless(status: Status, packets: u32) -> bool {
    match status {
        Status::WrFlushErr | Status::RemAccessErr | Status::RemInvReqErr | Status::RetryExcErr => true,
        Status::LocProtErr | Status::RnrRetryExcErr => packets <= 1,
        _ => false,
    }
}
