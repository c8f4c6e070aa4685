//! The liveness phase: everything is healed, and then everything has to work again, in time.

use std::fmt::Write as _;

use wavetank_contract::Choices;
use wavetank_engine::RdmaOps;

use super::Run;
use super::state::{self, OpState, Outage, PROBE_BYTES};
use crate::check::Check;
use crate::lab::{Cause, LinkFault};
use crate::swarm::oracle::blame::Blame;
use crate::swarm::plan::{ConnectionPlan, OpPlan, SlotRange, VerbPlan};

/// A wait that no timeout explains, in ns.
const SPARE_NS: u64 = 10_000_000;

impl ConnectionPlan {
    /// After this long a requester has given up at the latest, in ns, if it ever gives up.
    pub(super) fn patience_ns(&self) -> u64 {
        // IBA 9.7.6.1.3: a timeout may last four times its nominal value.
        let timeout = if self.timeout == 0 { 0 } else { 4 * (4_096 << self.timeout) };
        let rnr = wavetank_contract::RnrTimer::new(self.rnr_timer).map_or(0, |timer| timer.wait_ns());
        timeout * (u64::from(self.retry_cnt) + 1) + rnr * (u64::from(self.rnr_retry) + 1) + SPARE_NS
    }
}

impl<C: RdmaOps, X: Choices + Clone + 'static> Run<'_, C, X> {
    /// Heals everything, and expects everything to end and to work.
    pub(super) fn heal(&mut self) {
        if self.guilt.is_some() {
            return;
        }
        self.healed = true;
        self.tell_healed();
        self.tasks.forget_faults();
        // What it would undo is undone below, whoever did it.
        drop(self.injector.heal());
        if let Some(fabric) = self.world.fabric() {
            fabric.heal();
        }
        for node in 0..self.plan.nodes {
            if self.hosts[usize::from(node)].outage != Some(Outage::Crashed) {
                self.resume(node);
            }
            self.restore(node, false);
            // A notification may have been lost.
            self.world.touch(node);
        }
        for place in 0..self.places.len() {
            if self.places[place].edition.is_none() {
                self.export(place);
            }
        }
        for connection in 0..self.connections.len() {
            // Whoever waits for ever will not notice.
            let plan = self.plan.connections[connection];
            if plan.timeout == 0 && self.connections[connection].blame.has(Blame::SILENCE) {
                self.remake(connection);
            }
        }
        self.expect("operations have not ended", |run| run.left == 0);
        self.let_late_packets_come();
        self.remake_touched();
        self.probe();
    }

    /// What a link was told to delay keeps its place: whatever is sent behind it is as late.
    fn let_late_packets_come(&mut self) {
        let late = self.plan.faults.iter().map(|fault| match fault.cause {
            Cause::Link { fault: LinkFault::Delay { ns }, .. } => ns,
            Cause::Link { fault: LinkFault::ReorderOneIn { by_ns, .. }, .. } => by_ns,
            _ => 0,
        });
        let all_come = self.world.now() + late.max().unwrap_or(0);
        self.run_until(all_come, |_| false);
    }

    /// Lets the world run until something is so, for as long as whatever is left may take.
    fn expect(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let patience = self.plan.connections.iter().map(|plan| plan.patience_ns()).max().unwrap_or(0);
        let limit = self.world.now() + patience.saturating_mul(self.left as u64 + 2);
        if !self.run_until(limit, is_so) && self.guilt.is_none() {
            let waiting =
                self.states.iter().zip(&self.ops).find(|(state, _)| !matches!(state, OpState::Ended));
            let op = waiting.map(|(_, op)| op.id);
            let (left, mut ledger) = (self.left, self.world.ledger());
            for (index, connection) in self.connections.iter().enumerate() {
                for (end, at) in connection.ends.iter().enumerate() {
                    let (node, waiting, in_flight, failed) =
                        (at.node, at.queue.len(), at.in_flight, at.failed);
                    // Writing to a String cannot fail.
                    let _ = writeln!(
                        ledger,
                        "connection {index}, up: {}, end {end} at node {node}: {waiting} waiting, {in_flight} under way, failed: \
                         {failed}",
                        connection.up
                    );
                }
            }
            self.guilty(Check::Liveness, op, || format!("all is healed, and {left} {what}\n{ledger}"));
        }
    }

    /// Connections that something was done to are made anew. Nothing is to blame for anything any more.
    fn remake_touched(&mut self) {
        let standing = state::standing_blame(self.plan);
        for connection in 0..self.connections.len() {
            if self.connections[connection].blame != standing {
                self.remake(connection);
            }
        }
        self.expect("connections are down", |run| run.connections.iter().all(|connection| connection.up));
        self.connections.iter_mut().for_each(|connection| connection.blame = standing);
        self.hosts.iter_mut().for_each(|host| host.blame = Blame::NONE);
    }

    /// Every connection has to carry a WRITE, a READ and a message either way.
    fn probe(&mut self) {
        let first = self.ops.iter().map(|op| op.id + 1).max().unwrap_or(0);
        for (index, plan) in self.plan.connections.iter().enumerate() {
            for end in 0..2u8 {
                let peer = plan.nodes[usize::from(1 - end)];
                let (region, slot) =
                    (self.plan.regions.len() as u16 + peer, 2 * index as u16 + u16::from(end));
                let range = SlotRange { region, slot, offset: 0, len: PROBE_BYTES };
                let verbs = [
                    VerbPlan::Write { to: range, imm: false },
                    VerbPlan::Read(range),
                    VerbPlan::Send { len: PROBE_BYTES, imm: false },
                ];
                for verb in verbs {
                    let (id, connection) =
                        (first + (self.ops.len() - self.plan.ops.len()) as u32, index as u16);
                    let (deadline_ns, cancel, session) = (None, false, None);
                    self.connections[index].ends[usize::from(end)].queue.push_back(self.ops.len());
                    self.ops.push(OpPlan { id, connection, end, verb, deadline_ns, cancel, session });
                    self.states.push(OpState::Waiting);
                    self.left += 1;
                }
            }
        }
        let (failed, not_begun) = (self.ended.failed, self.ended.not_begun);
        self.expect("probes have not ended", |run| run.left == 0);
        let lost = self.ended.failed - failed + self.ended.not_begun - not_begun;
        if lost > 0 {
            self.guilty(Check::Liveness, None, || {
                format!("all is healed, and {lost} probes came to nothing")
            });
        }
    }
}
