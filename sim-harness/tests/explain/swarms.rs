//! Stories of operations of swarm runs.

use std::cell::RefCell;
use std::rc::Rc;

use wavetank_contract::Instant;
use wavetank_engine::{Port, RdmaContext};
use wavetank_harness::explain::Explainer;
use wavetank_harness::fault::Step;
use wavetank_harness::swarm::choices::SwarmChoices;
use wavetank_harness::swarm::{Plan, Verdict, draw, run, run_on};
use wavetank_harness::watch::{Connected, Ending, Submitted, Taps, Watch, Watcher};
use wavetank_mock::{Happening, Tap};

use crate::told::{Counting, left};

/// Stories of all operations at once.
#[derive(Clone, Debug)]
struct All(Vec<Explainer>);

impl Tap for All {
    fn see(&mut self, at: Instant, happening: &Happening<'_>) {
        self.0.iter_mut().for_each(|story| story.see(at, happening));
    }
}

impl Watcher for All {
    fn connected(&mut self, at: Instant, connected: &Connected) {
        self.0.iter_mut().for_each(|story| story.connected(at, connected));
    }

    fn submitted(&mut self, at: Instant, op: &Submitted) {
        self.0.iter_mut().for_each(|story| story.submitted(at, op));
    }

    fn cancelled(&mut self, at: Instant, op: u64) {
        self.0.iter_mut().for_each(|story| story.cancelled(at, op));
    }

    fn ended(&mut self, at: Instant, op: u64, how: &Ending<'_>) {
        self.0.iter_mut().for_each(|story| story.ended(at, op, how));
    }

    fn fault(&mut self, at: Instant, step: &Step) {
        self.0.iter_mut().for_each(|story| story.fault(at, step));
    }

    fn healed(&mut self, at: Instant) {
        self.0.iter_mut().for_each(|story| story.healed(at));
    }
}

/// Runs a seed with somebody looking on. Answers also with the stories, and with how many packets left.
fn watched(seed: u64) -> (Plan, Verdict, Vec<String>, u64) {
    let plan = draw(seed);
    let probes = 6 * plan.connections.len() as u64;
    let ids = plan.ops.iter().map(|op| u64::from(op.id)).max().map_or(0, |last| last + 1) + probes;
    let all = All((0..ids).map(Explainer::of).collect());
    let counted = Rc::new(RefCell::new(0));
    let taps: Vec<Box<dyn Tap>> = vec![Box::new(all.clone()), Box::new(Counting(Rc::clone(&counted)))];
    let watch = Watch { tap: Taps::join(taps), watcher: Some(Box::new(all.clone())), ..Watch::default() };
    let context = |nic, config| RdmaContext::from(Port::new(nic, config));
    let verdict = run_on(&plan, SwarmChoices::seeded(seed), watch, context);
    let stories = all.0.iter().filter_map(Explainer::told).collect();
    (plan, verdict, stories, *counted.borrow())
}

#[test]
fn each_packet_of_a_swarm_run_is_of_exactly_one_operation() {
    let (mut again, mut dropped, mut failed) = (0, 0, 0);
    for seed in 0..60 {
        let (plan, verdict, stories, packets) = watched(seed);
        let told: u64 = stories.iter().map(|story| left(story)).sum();
        assert_eq!(told, packets, "seed {seed}: {:?}\n{}", plan.faults, stories.join("\n"));
        let count = |what: &str| stories.iter().filter(|story| story.contains(what)).count();
        again += count(" again");
        dropped += count("(fault ");
        failed += count("ended: failed");
        let unwatched = run(&plan, SwarmChoices::seeded(seed));
        assert_eq!(verdict.trace_hash, unwatched.trace_hash, "seed {seed}: looking on changed the run");
    }
    assert!(again > 10 && dropped > 10 && failed > 10, "{again} {dropped} {failed}: too little happened");
}
