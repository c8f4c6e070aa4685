//! Waiting until all is settled.

use wavetank_contract::{Backend, EpId, Instant, QpState};

use super::Stage;
use super::actors::Actors;
use crate::judge::log::Round;
use crate::lab::{Lab, Sleeper, Waited};

/// On the reference, nothing more happens after this long a silence: longer than any timer of a program with all its
/// repetitions. Its time is virtual.
const SILENCE_NS: u64 = 10_000_000_000;
/// A reference that is still talking after this is not going to stop.
const TALK_NS: u64 = 1000 * SILENCE_NS;
/// How long the other lab may be silent while something is missing.
const PATIENCE_NS: u64 = 1_000_000_000;
/// How long it may take in all.
const DEADLINE_NS: u64 = 3_000_000_000;
/// States change without a word; how often they are looked at.
const LOOK_NS: u64 = 500_000;
/// How long an idle send queue may take to say that it is drained.
const DRAIN_NS: u64 = 500_000_000;
/// How long the rest of a message has to arrive, when its sender has given it up.
pub(super) const LINGER_NS: u64 = 2_000_000;
/// How long something that is too much has time to show, at the end of a program.
pub(super) const GRACE_NS: u64 = 200_000;

impl<L: Lab> Stage<L> {
    /// Waits until nothing more happens. Answers why not, if it does not end.
    pub(super) fn settle(
        &mut self,
        actors: &Actors,
        round: &mut Round,
        strays: &mut Vec<String>,
    ) -> Option<String> {
        let begun = self.lab.now();
        loop {
            let news = self.poll(actors, round, strays);
            let now = self.lab.now();
            if now.since_ns(begun) > TALK_NS {
                return Some("it never stops talking".into());
            }
            let waited = self.wait(now + SILENCE_NS);
            if waited == Waited::Reached && !news && !self.poll(actors, round, strays) {
                return None;
            }
        }
    }

    /// Waits until everything wanted is there. Answers what is missing, if it does not come.
    pub(super) fn settle_as(
        &mut self,
        actors: &Actors,
        wanted: Option<&Round>,
        round: &mut Round,
        strays: &mut Vec<String>,
    ) -> Option<String> {
        let nothing = Round::default();
        let wanted = wanted.unwrap_or(&nothing);
        let begun = self.lab.now();
        let mut heard = begun;
        loop {
            while self.poll(actors, round, strays) {
                heard = self.lab.now();
            }
            let missing = missing(wanted, round);
            if missing == 0 {
                round.states = self.states(actors);
                if round.states == wanted.states {
                    return None;
                }
            }
            let now = self.lab.now();
            if now.since_ns(heard) >= PATIENCE_NS || now.since_ns(begun) >= DEADLINE_NS {
                let ms = now.since_ns(begun) / 1_000_000;
                let why = if missing > 0 { "completions are missing" } else { "a state has not come about" };
                return Some(format!("{why} after {ms} ms"));
            }
            self.wait(if missing == 0 { now + LOOK_NS } else { heard + PATIENCE_NS });
        }
    }

    /// Waits until an endpoint says that its send queue is drained: before, it may not be moved any further (IBA 10.3.1).
    /// Completions that come meanwhile belong to nobody: all was settled.
    pub(super) fn drain(&mut self, node: usize, ep: EpId, actors: &Actors, strays: &mut Vec<String>) {
        let until = self.lab.now() + DRAIN_NS;
        let mut round = Round::default();
        while !self.drained.contains(&(node, ep)) {
            let news = self.poll(actors, &mut round, strays);
            if !news && (self.lab.now() >= until || self.wait(until) == Waited::Reached) {
                strays.push(format!("node {node}: no word that the send queue of {ep:?} is drained"));
                break;
            }
        }
        self.drained.clear();
        unasked(&round, strays);
    }

    /// Waits until an end that was connected may post: some devices shake hands.
    ///
    /// # Errors
    /// What it is in instead.
    pub(super) fn becomes_ready(
        &mut self,
        node: usize,
        ep: EpId,
        actors: &Actors,
        strays: &mut Vec<String>,
    ) -> Result<(), Option<QpState>> {
        let until = self.lab.now() + DEADLINE_NS;
        let mut round = Round::default();
        let ready = loop {
            let state = self.nodes[node].device.state(ep);
            let now = self.lab.now();
            match state {
                Some(QpState::Rts) => break Ok(()),
                None | Some(QpState::Err) => break Err(state),
                _ if now >= until => break Err(state),
                _ => {}
            }
            if !self.poll(actors, &mut round, strays) {
                self.wait(now + LOOK_NS);
            }
        };
        unasked(&round, strays);
        ready
    }

    /// Lets time pass.
    pub(super) fn linger(&mut self, ns: u64, actors: &Actors, round: &mut Round, strays: &mut Vec<String>) {
        let until = self.lab.now() + ns;
        loop {
            self.poll(actors, round, strays);
            if self.wait(until) == Waited::Reached || self.lab.now() >= until {
                return;
            }
        }
    }

    fn wait(&mut self, until: Instant) -> Waited {
        let sleepers: Vec<Sleeper<'_>> =
            self.nodes.iter().map(|node| Sleeper::device(&node.device)).collect();
        self.lab.wait(&sleepers, until)
    }
}

/// Whatever completes while nothing is under way.
fn unasked(round: &Round, strays: &mut Vec<String>) {
    let ended = round.ends.values().flatten();
    strays.extend(ended.map(|ended| format!("a completion though all was settled: {ended}")));
}

/// How many of the completions that are wanted have not come.
fn missing(wanted: &Round, round: &Round) -> usize {
    let come = |at| round.ends.get(at).map_or(0, Vec::len);
    wanted.ends.iter().map(|(at, ends)| ends.len().saturating_sub(come(at))).sum()
}
