//! Settings that can be the default, and operations that can be duller.

use super::{Case, Shrinker};
use crate::fault::When;
use crate::swarm::defaults::{CONNECTION, ENGINE, PROFILE};
use crate::swarm::plan::{ConnectionPlan, EnginePlan, OpPlan, Plan, SlotRange, VerbPlan};

/// Operations are made duller only where this few are left: it takes several runs each.
const FEW: usize = 64;

impl Shrinker<'_> {
    pub(super) fn settings(&mut self) {
        self.with(|plan| PROFILE.clone_into(&mut plan.profile));
        self.with(|plan| plan.jitter_ns = 0);
        self.remove(|case| case.plan.buggify.len(), without_buggify);
        self.engine();
        self.connections();
        for index in 0..self.best.plan.regions.len() {
            self.with(|plan| plan.regions[index].window = false);
        }
        for index in 0..self.best.plan.faults.len() {
            self.with(|plan| plan.faults[index].lasts_ns = None);
            while self.with(|plan| earlier(&mut plan.faults[index].when)) {}
        }
        if self.best.plan.ops.len() <= FEW {
            for index in 0..self.best.plan.ops.len() {
                self.duller(index);
            }
        }
    }

    /// The plan with one change.
    fn with(&mut self, change: impl Fn(&mut Plan)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate.plan);
        self.attempt(candidate)
    }

    fn engine(&mut self) {
        let fields: [fn(&mut EnginePlan); 4] = [
            |engine| *engine = ENGINE,
            |engine| engine.chunk_bytes = ENGINE.chunk_bytes,
            |engine| engine.window = ENGINE.window,
            |engine| engine.signal_every = ENGINE.signal_every,
        ];
        for field in fields {
            self.with(|plan| field(&mut plan.engine));
        }
    }

    fn connections(&mut self) {
        let fields: [fn(&mut ConnectionPlan); 10] = [
            |c| *c = ConnectionPlan { nodes: c.nodes, ..CONNECTION },
            |c| c.mtu = CONNECTION.mtu,
            |c| c.timeout = CONNECTION.timeout,
            |c| c.retry_cnt = CONNECTION.retry_cnt,
            |c| c.rnr_retry = CONNECTION.rnr_retry,
            |c| c.rnr_timer = CONNECTION.rnr_timer,
            |c| c.send_depth = CONNECTION.send_depth,
            |c| c.recv_depth = CONNECTION.recv_depth,
            |c| c.rd_atomic = CONNECTION.rd_atomic,
            |c| c.in_flight = CONNECTION.in_flight,
        ];
        for index in 0..self.best.plan.connections.len() {
            for field in fields {
                self.with(|plan| field(&mut plan.connections[index]));
            }
        }
    }

    fn duller(&mut self, index: usize) {
        let changes: [fn(&mut OpPlan); 9] = [
            |op| op.deadline_ns = None,
            |op| op.cancel = false,
            |op| op.session = None,
            |op| match &mut op.verb {
                VerbPlan::Write { imm, .. } | VerbPlan::Send { imm, .. } => *imm = false,
                _ => {}
            },
            |op| range(op, |range| range.offset = 0),
            |op| len(op, |len| len.min(8)),
            |op| len(op, |len| len / 2),
            |op| len(op, |len| len / 2),
            |op| len(op, |len| len.saturating_sub(1)),
        ];
        for change in changes {
            self.with(|plan| change(&mut plan.ops[index]));
        }
    }
}

/// Half as late.
fn earlier(when: &mut When) {
    match when {
        When::At(late) => *late /= 2,
        When::Op { op: late, .. } => *late /= 2,
        When::EachOp { .. } => {}
    }
}

fn without_buggify(case: &Case, gone: std::ops::Range<usize>) -> Case {
    let mut case = case.clone();
    let kept = case.plan.buggify.iter().enumerate().filter(|(index, _)| !gone.contains(index));
    case.plan.buggify = kept.map(|(_, buggify)| *buggify).collect();
    case
}

fn range(op: &mut OpPlan, change: impl Fn(&mut SlotRange)) {
    match &mut op.verb {
        VerbPlan::Read(range) | VerbPlan::Write { to: range, .. } => change(range),
        _ => {}
    }
}

fn len(op: &mut OpPlan, shorter: impl Fn(u32) -> u32) {
    match &mut op.verb {
        VerbPlan::Send { len, .. } => *len = shorter(*len),
        _ => range(op, |range| range.len = shorter(range.len)),
    }
}
