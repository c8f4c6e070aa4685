//! What ended at a host: each operation is held to what it must have done, each error to what explains it.

use wavetank_contract::{AsyncEvent, Choices, Instant, OpKind, QpState, Status};
use wavetank_engine::{Finished, RdmaOps, TransferError};

use super::Run;
use super::connect::RECEIVE;
use super::state::{Flight, OpState};
use crate::check::Check;
use crate::swarm::oracle::blame::Blame;
use crate::swarm::plan::VerbPlan;
use crate::swarm::verdict::Ended;
use crate::trace::{Event, EventKind};

impl<C: RdmaOps, X: Choices + Clone + 'static> Run<'_, C, X> {
    /// Takes what happened at a host.
    pub(super) fn collect(&mut self, node: u16) {
        // What the device did wrong comes before what came of it.
        while let Some(anomaly) = self.world.nodes[usize::from(node)].driver.context().take_anomaly() {
            self.guilty(Check::Completion, None, || format!("node {node}: {anomaly}"));
        }
        while let Some(event) = self.world.nodes[usize::from(node)].driver.take_event() {
            self.told(node, event);
        }
        while let Some(finished) = self.world.nodes[usize::from(node)].driver.take_finished() {
            if finished.tag & RECEIVE != 0 {
                self.received(node, finished);
            } else {
                self.finished(node, &finished);
            }
        }
    }

    /// A device said something unasked: something must have been done to it.
    fn told(&mut self, node: u16, event: AsyncEvent) {
        let blame = self.hosts[usize::from(node)].blame;
        let explained = match event {
            AsyncEvent::CommEst(_) => true,
            AsyncEvent::QpAccessErr(_) => blame.has(Blame::MEMORY),
            AsyncEvent::QpFatal(_) | AsyncEvent::DeviceFatal => blame.has(Blame::DEVICE),
            AsyncEvent::GidChange | AsyncEvent::PortErr | AsyncEvent::PortActive => {
                blame.has(Blame::SILENCE.and(Blame::DEVICE))
            }
            _ => false,
        };
        if !explained {
            self.guilty(Check::Event, None, || format!("node {node}: {event:?}, and nothing caused it"));
        }
    }

    fn finished(&mut self, node: u16, finished: &Finished) {
        let op = finished.tag as usize;
        let Some(plan) = self.ops.get(op).copied() else { return };
        let state = std::mem::replace(&mut self.states[op], OpState::Ended);
        let OpState::UnderWay(flight) = state else {
            self.guilty(Check::Completion, Some(plan.id), || "it ended twice".to_owned());
            return;
        };
        let (connection, end) = (usize::from(plan.connection), usize::from(plan.end));
        self.connections[connection].ends[end].in_flight -= 1;
        let status = match &finished.result {
            Ok(_) => Status::Success as u8,
            Err(TransferError::Failed { status, .. }) => *status as u8,
            Err(TransferError::Refused { .. }) => 250,
            Err(TransferError::DeadlinePassed { .. }) => 251,
            Err(TransferError::Cancelled) => 252,
            Err(_) => 253,
        };
        self.coverage.ended(kind_of(&plan.verb), ending(&finished.result));
        self.repeated = self.repetitions();
        let at = self.world.now();
        let (object, kind, len) = (plan.id.into(), EventKind::Finished, plan.verb.len());
        self.world.trace.push(&Event { at, node, object, kind, len, digest: 0, status });
        // Nobody is on time who stands still.
        let due = flight.deadline.max(self.hosts[usize::from(node)].runs_since);
        if flight.deadline < Instant::FAR && finished.finished_at > due {
            self.guilty(Check::Deadline, Some(plan.id), || {
                format!("it ended at {}, its deadline was {}", finished.finished_at, flight.deadline)
            });
        }
        self.tell_ended(plan.id, finished);
        match &finished.result {
            Ok(done) => self.succeeded(&plan, &flight, finished, *done),
            Err(error) => {
                self.lay_down(plan.id, &flight, false);
                self.failed(op, &flight, error);
            }
        }
    }

    fn failed(&mut self, op: usize, flight: &Flight, error: &TransferError) {
        let plan = self.ops[op];
        let (connection, end) = (usize::from(plan.connection), usize::from(plan.end));
        let explained = match error {
            TransferError::Failed { status, first_cause, .. } => {
                self.explains(connection, end, *status, *first_cause)
            }
            TransferError::Refused { .. } => {
                self.blame(connection, end).has(Blame::DEVICE.and(Blame::OWN).and(Blame::MEMORY))
            }
            TransferError::DeadlinePassed { .. } => self.world.now() >= flight.deadline,
            TransferError::Cancelled => plan.cancel,
            TransferError::SessionEnded => flight.session.is_some(),
            _ => false,
        };
        if !explained {
            self.guilty(Check::Success, Some(plan.id), || format!("{error}: nothing explains it"));
        }
        if matches!(error, TransferError::Failed { .. } | TransferError::Refused { .. }) {
            self.count(op, |ended| &mut ended.failed);
            self.fail(connection, end);
        } else {
            self.count(op, |ended| &mut ended.given_up);
        }
    }

    /// Whether something explains that a work ended so. What was flushed because of a work that had been given up says what
    /// became of that one.
    fn explains(
        &mut self,
        connection: usize,
        end: usize,
        status: Status,
        first_cause: Option<Status>,
    ) -> bool {
        let blame = self.blame(connection, end);
        blame.explains(status)
            || status == Status::WrFlushErr && first_cause.is_some_and(|cause| blame.explains(cause))
    }

    /// What explains an error at one end of a connection now.
    fn blame(&mut self, connection: usize, end: usize) -> Blame {
        let at = &self.connections[connection];
        let own = if at.ends[end].failed { Blame::OWN } else { Blame::NONE };
        let (failed, blame, peer) = (at.ends[1 - end].failed, at.blame, at.ends[1 - end].node);
        // A host that stands still does not know yet that its end is dead.
        let state =
            at.ends[1 - end].ep.and_then(|ep| self.world.nodes[usize::from(peer)].driver.context().state(ep));
        let peer = if failed || state != Some(QpState::Rts) { Blame::PEER } else { Blame::NONE };
        blame.and(own).and(peer)
    }

    fn received(&mut self, node: u16, finished: Finished) {
        let tag = finished.tag & !RECEIVE;
        let (connection, end) = ((tag >> 1) as usize, (tag & 1) as usize);
        self.connections[connection].ends[end].receives -= 1;
        self.coverage.ended(OpKind::Recv, ending(&finished.result));
        let life = self.connections[connection].life;
        let stream = &mut self.streams[connection][1 - end];
        let arrived = match (&finished.result, finished.kind, &finished.lease) {
            (Ok(_), OpKind::WriteImm, _) => stream.arrive_write(life, finished.imm),
            (Ok(len), _, Some(lease)) => {
                stream.arrive(life, lease.region(), lease.offset(), *len, finished.imm)
            }
            (Ok(_), _, None) => Err("a message without its memory".to_owned()),
            (Err(error), ..) => {
                let explained = match error {
                    TransferError::Failed { status, first_cause, .. } => {
                        self.explains(connection, end, *status, *first_cause)
                    }
                    _ => self.blame(connection, end).has(Blame::DEVICE.and(Blame::OWN)),
                };
                if !explained {
                    self.guilty(Check::Success, None, || {
                        format!(
                            "a receive at node {node}, connection {connection}: {error}: nothing explains it"
                        )
                    });
                }
                self.fail(connection, end);
                return;
            }
        };
        let (len, kind) = (finished.result.as_ref().copied().unwrap_or(0), finished.kind);
        // Its memory is for the next one.
        drop(finished);
        match arrived {
            Ok(op) => {
                self.bytes_verified += len;
                if kind == OpKind::WriteImm {
                    self.verify_told(op);
                }
            }
            Err(what) => self.guilty(Check::Message, None, || {
                format!("node {node}, connection {connection}, life {life}: {what} arrived")
            }),
        }
        if !self.connections[connection].ends[end].failed {
            self.post_receive(connection, end);
        }
    }

    /// An operation is over.
    pub(super) fn conclude(&mut self, op: usize, how: impl Fn(&mut Ended) -> &mut u64) {
        self.states[op] = OpState::Ended;
        self.count(op, how);
    }

    pub(super) fn count(&mut self, _op: usize, how: impl Fn(&mut Ended) -> &mut u64) {
        *how(&mut self.ended) += 1;
        self.left -= 1;
    }
}

/// How something ended, in a word.
fn ending(result: &Result<u64, TransferError>) -> &'static str {
    match result {
        Ok(_) => Status::Success.name(),
        Err(error) => error.code(),
    }
}

fn kind_of(verb: &VerbPlan) -> OpKind {
    match verb {
        VerbPlan::Read(_) => OpKind::Read,
        VerbPlan::Write { imm: false, .. } => OpKind::Write,
        VerbPlan::Write { imm: true, .. } => OpKind::WriteImm,
        VerbPlan::Send { .. } | VerbPlan::CloseSession => OpKind::Send,
        VerbPlan::Add { .. } => OpKind::FetchAdd,
        VerbPlan::Swap { .. } => OpKind::CompareSwap,
    }
}
