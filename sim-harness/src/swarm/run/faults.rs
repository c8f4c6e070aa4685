//! Faults: when they come, whom they touch, and what the run itself has to do about them.

use wavetank_contract::{Choices, Instant};
use wavetank_engine::RdmaOps;
use wavetank_mock::Mark;

use super::Run;
use super::state::{Contents, Expect, OpState};
use super::tasks::Task;
use crate::fault::{Begins, Fault, Part, When, inject};
use crate::lab::{Cause, DeviceFault, HostFault, MemoryFault};
use crate::pattern;
use crate::swarm::coverage::Phase;
use crate::swarm::oracle::blame::Blame;

/// A change of source touches this many works at most.
const SOURCES_MAX: usize = 4;

impl<C: RdmaOps, X: Choices + Clone + 'static> Run<'_, C, X> {
    /// When the last fault that comes at a time is over and whoever it hit has given up.
    pub(super) fn quiet_at(&self) -> Instant {
        let over = |fault: &Fault| match fault.when {
            When::At(ns) => ns + fault.lasts_ns.unwrap_or(0),
            When::Op { .. } | When::EachOp { .. } => fault.lasts_ns.unwrap_or(0),
        };
        let last = self.plan.faults.iter().map(over).max().unwrap_or(0);
        let patience = self.plan.connections.iter().map(|plan| plan.patience_ns()).max().unwrap_or(0);
        Instant(last) + 4 * patience
    }

    /// An operation has just begun: faults that wait for it come.
    pub(super) fn faults_of_begun(&mut self, connection: usize) {
        let begins = Begins {
            op: self.begun - 1,
            connection: connection as u16,
            op_of_connection: self.connections[connection].begun - 1,
        };
        let now = self.world.now();
        self.injector.begin_op(now, begins, &mut self.world.choices);
        self.do_faults();
    }

    /// Lets faults come and end that are due.
    pub(super) fn do_faults(&mut self) {
        let now = self.world.now();
        while self.guilt.is_none()
            && let Some(step) = self.injector.due(now)
        {
            if step.part == Part::Comes {
                let phase = self.phase();
                self.coverage.fault(&step.cause, phase);
            }
            self.tell_fault(step.fault, step.part);
            let done = self.apply(step.cause);
            // Whatever the injector does not undo by itself.
            let own = step.part == Part::Comes && step.cause.undone_by().is_none();
            if let Some(ns) = self.plan.faults[step.fault].lasts_ns
                && own
                && done
            {
                self.tasks.add(now + ns, Task::End(step.fault));
            }
        }
    }

    /// A fault that only a host can end is over, if it is of a kind that can be.
    pub(super) fn end_fault(&mut self, index: usize) {
        self.tell_fault(index, Part::Ends);
        match self.plan.faults[index].cause {
            Cause::Device { node, fault } => match fault {
                DeviceFault::Remove => self.restore(node, false),
                DeviceFault::PlaceOutOfOrder => {
                    self.with_fabric(|fabric| fabric.place_out_of_order(node, false))
                }
                DeviceFault::ShuffleCompletions => {
                    self.with_fabric(|fabric| fabric.shuffle_completions(node, false));
                }
                DeviceFault::ShallowBuffer { .. } => {
                    self.with_fabric(|fabric| fabric.shallow_buffer(node, None))
                }
                DeviceFault::MarkCongestion => self.with_fabric(|fabric| fabric.mark_congestion(node, false)),
                _ => {}
            },
            Cause::Memory { region, fault: MemoryFault::Deregister } => {
                self.export_again(usize::from(region))
            }
            _ => {}
        }
    }

    /// What the world is doing now.
    fn phase(&mut self) -> Phase {
        let (down, under_way) =
            self.connections.iter().fold((false, false), |(down, under_way), connection| {
                let in_flight = connection.ends.iter().any(|end| end.in_flight > 0);
                (down || !connection.up, under_way || in_flight)
            });
        match (down, under_way) {
            (true, _) => Phase::Down,
            (_, true) if self.repetitions() > self.repeated => Phase::Retrying,
            (_, true) => Phase::UnderWay,
            _ => Phase::Idle,
        }
    }

    /// Whatever made somebody send something again so far.
    pub(super) fn repetitions(&mut self) -> u64 {
        let marks = [Mark::AckTimeout, Mark::RnrNak, Mark::SequenceNak];
        self.world.fabric().map_or(0, |fabric| marks.into_iter().map(|mark| fabric.passed(mark)).sum())
    }

    fn with_fabric(&mut self, what: impl FnOnce(&mut wavetank_mock::Fabric)) {
        if let Some(fabric) = self.world.fabric() {
            what(fabric);
        }
    }

    /// Lets a cause come about. False when there is nothing left to do it to.
    fn apply(&mut self, cause: Cause) -> bool {
        match cause {
            Cause::Link { .. } | Cause::Mend { .. } => self.inject(cause),
            Cause::Device { node, fault } => {
                if self.hosts[usize::from(node)].outage.is_some() {
                    return false;
                }
                self.inject(cause);
                match fault {
                    DeviceFault::Remove => self.lose_device(node),
                    DeviceFault::LoseNotification => self.hosts[usize::from(node)].looks = true,
                    _ => {}
                }
            }
            Cause::Host { node, fault } => match fault {
                HostFault::Restart { same } => self.restore(node, same),
                HostFault::Resume => self.resume(node),
                _ if !self.is_able(node) => return false,
                HostFault::Pause => self.world.pause(node),
                HostFault::Crash => self.crash(node),
                HostFault::ClientDeath => self.close_sessions(node),
            },
            Cause::Memory { region, fault } => {
                let place = usize::from(region);
                if !self.is_able(self.places[place].node) {
                    return false;
                }
                match fault {
                    MemoryFault::Deregister => self.retire(place),
                    MemoryFault::RollKey => self.roll_key(place),
                    MemoryFault::RevokeWindow => self.revoke_window(place),
                    MemoryFault::ChangeSource => self.change_sources(place),
                }
            }
        }
        self.spread_blame(&cause);
        true
    }

    fn inject(&mut self, cause: Cause) {
        if let Some(fabric) = self.world.fabric() {
            // Only hosts and memory are refused, and those are ours.
            let _ = inject(fabric, cause);
        }
    }

    /// Notes what the cause may do to whom.
    fn spread_blame(&mut self, cause: &Cause) {
        let blame = Blame::of(cause);
        let touched: Vec<u16> = match *cause {
            Cause::Link { from, to, .. } | Cause::Mend { from, to } => vec![from, to],
            Cause::Device { node, .. } | Cause::Host { node, .. } => vec![node],
            Cause::Memory { region, .. } => vec![self.places[usize::from(region)].node],
        };
        for connection in &mut self.connections {
            let nodes = connection.ends.each_ref().map(|end| end.node);
            if touched.iter().all(|node| nodes.contains(node)) {
                connection.blame = connection.blame.and(blame);
            }
        }
        for node in touched {
            let host = &mut self.hosts[usize::from(node)];
            host.blame = host.blame.and(blame);
        }
    }

    /// A region that was retired is made anew.
    fn export_again(&mut self, place: usize) {
        if self.places[place].edition.is_none() && self.is_able(self.places[place].node) {
            self.export(place);
        }
    }

    /// Writes to the sources of WRITEs to this place, and of messages to its host, that are under way.
    fn change_sources(&mut self, place: usize) {
        let node = self.places[place].node;
        let mut changed = 0;
        for op in 0..self.states.len() {
            let OpState::UnderWay(flight) = &self.states[op] else { continue };
            let (memory, at) = flight.source.clone();
            let (connection, end) = (usize::from(flight.party.connection), usize::from(flight.party.end));
            let len = self.ops[op].verb.len() as usize;
            let peer = self.plan.connections[connection].nodes[1 - end];
            let filled = match flight.expect {
                Expect::Written { edition, slot, generation, .. }
                    if self.editions[edition].place == place =>
                {
                    let crate::swarm::plan::VerbPlan::Write { to, .. } = self.ops[op].verb else { continue };
                    let start = self.slot_start(edition, slot) + u64::from(to.offset);
                    let region = self.editions[edition].tag;
                    let Contents::Data(oracle) = &mut self.editions[edition].slots[slot] else { continue };
                    oracle
                        .change_source(generation)
                        .map(|generation| (pattern::Tag { region, generation }, start))
                }
                Expect::Sent if peer == node => {
                    self.streams[connection][end].change_source(self.ops[op].id).map(|tag| (tag, 0))
                }
                _ => None,
            };
            if let Some((tag, start)) = filled {
                pattern::fill(&memory, at, len, tag, start);
                changed += 1;
            }
            if changed == SOURCES_MAX {
                return;
            }
        }
    }
}
