//! Starting operations: memory, pattern, expectation, transfer.

use wavetank_contract::{Instant, Op, OpKind};
use wavetank_engine::memory::MemoryError;
use wavetank_engine::{RdmaOps, TransferSpec};

use super::{Expect, InFlight, Replay};
use crate::check::Check;
use crate::pattern::{self, Tag};
use crate::trace::{Event, EventKind};
use crate::workload::Planned;

impl<C: RdmaOps> Replay<C> {
    /// Starts every operation that is due and fits, and has them posted together. Answers when the next one is due.
    pub(super) fn start_due(&mut self, stop_at: Instant) -> Instant {
        let next_arrival = self.submit_due(stop_at);
        while let Some(node) = self.submitted.pop() {
            self.world.flush(node);
            // What the device refused to take has ended already, and nothing will turn the node for it.
            self.collect(node);
        }
        next_arrival
    }

    fn submit_due(&mut self, stop_at: Instant) -> Instant {
        let concurrency = u64::from(self.workload.load.concurrency);
        loop {
            let now = self.world.now();
            if self.started - self.ended >= concurrency {
                return Instant::FAR;
            }
            if now >= stop_at {
                self.next = None;
                return Instant::FAR;
            }
            let planned = match self.next.take() {
                Some(planned) => planned,
                None => match self.generator.next(&mut self.world.choices) {
                    Some(planned) => planned,
                    None => return Instant::FAR,
                },
            };
            if let Some(at) = planned.at.filter(|at| *at > now) {
                self.next = Some(planned);
                return at;
            }
            let too_early = self.again.as_ref().is_some_and(|again| again.is_early(self.started, self.ended));
            if too_early || self.recorder.is_some() && self.broken() {
                self.next = Some(planned);
                return Instant::FAR;
            }
            if !self.is_startable(&planned) || !self.start(&planned) {
                // No memory until something ends, no connection until it is made anew, or its host stands still.
                self.next = Some(planned);
                return Instant::FAR;
            }
        }
    }

    /// Whether its host goes and its connection is whole.
    #[inline]
    fn is_startable(&self, planned: &Planned) -> bool {
        self.disturbed.is_none()
            || !self.world.is_paused(planned.from.0) && self.connections.is_usable(planned.from, planned.to)
    }

    /// Starts one operation. False when there is no memory for it now.
    fn start(&mut self, planned: &Planned) -> bool {
        let now = self.world.now();
        let node = planned.from.0;
        let len = planned.len as usize;
        let host = &mut self.world.nodes[node as usize];
        let Some(arena) = host.arena.as_mut() else { unreachable!("setup gives every poster an arena") };
        let lease = match host.driver.lease(arena, planned.len.into()) {
            Ok(lease) => lease,
            Err(MemoryError::Exhausted { .. }) if self.started > self.ended => return false,
            Err(error) => unreachable!("setup makes room for one operation of each kind: {error}"),
        };
        let mr = arena.mr();
        let (memory, at) = (lease.region(), lease.offset());
        let connection = self.connections.pick(planned.from, planned.to);
        self.begin_disturbed(connection);
        let range = planned.offset..planned.offset + u64::from(planned.len);
        let remote = planned.region.and_then(|id| {
            self.connections.remote(connection, id)?.at(planned.offset, u64::from(planned.len))
        });
        let place = planned.region.and_then(|id| Some((id.0, self.places.get_mut(id.0 as usize)?)));
        let (op, expect) = match (planned.kind, place, remote) {
            (OpKind::Read, Some((_, place)), Some(remote)) => {
                pattern::poison_chunks(memory, at, len, self.workload.settings.chunk_bytes);
                (Op::Read { remote }, Expect::Read(place.begin_read(range)))
            }
            (OpKind::Write | OpKind::WriteImm, Some((region, place)), Some(remote)) => {
                let generation = place.begin_write(range);
                pattern::fill(memory, at, len, Tag { region, generation }, planned.offset);
                let immediate = planned.kind == OpKind::WriteImm;
                let imm = immediate.then(|| self.messages.announce_write(connection));
                (Op::Write { remote, imm }, Expect::Written { generation, imm })
            }
            (OpKind::FetchAdd, Some(_), Some(remote)) => {
                self.unique += 1;
                let add = wavetank_contract::chance::mix64(self.unique) | 1;
                (Op::FetchAdd { remote, add }, Expect::Added { add })
            }
            (OpKind::CompareSwap, Some((_, place)), Some(remote)) => {
                self.unique += 1;
                let (compare, swap) =
                    (place.guess(planned.offset), wavetank_contract::chance::mix64(self.unique) | 1);
                (Op::CompareSwap { remote, compare, swap }, Expect::Swapped { compare, swap })
            }
            (OpKind::Send, ..) => {
                let tag = self.messages.announce(connection, planned.len);
                pattern::fill(memory, at, len, tag, 0);
                (Op::Send { imm: None }, Expect::Sent { generation: tag.generation })
            }
            (kind, ..) => unreachable!("the workload was validated: {} has its region", kind.name()),
        };
        let serial = self.started;
        let arrived = planned.at.unwrap_or(now);
        let entry = Some(InFlight { planned: *planned, arrived, serial, connection, expect });
        let tag = match self.free.pop() {
            Some(index) => {
                self.in_flight[index as usize] = entry;
                index
            }
            None => {
                self.in_flight.push(entry);
                self.in_flight.len() as u32 - 1
            }
        };
        let deadline = self.workload.settings.deadline_ns.map_or(Instant::FAR, |ns| arrived.max(now) + ns);
        let ep = self.connections.poster(connection);
        let spec = TransferSpec {
            ep,
            op,
            lease,
            mr,
            len: u64::from(planned.len),
            deadline,
            session: None,
            tag: u64::from(tag),
        };
        self.started += 1;
        let used = self.connections.get_mut(connection);
        (used.begun, used.in_flight) = (used.begun.saturating_add(1), used.in_flight + 1);
        if let Some(recorder) = &mut self.recorder {
            recorder.submitted(now, planned, connection);
        }
        self.world.trace.push(&Event {
            at: now,
            node,
            object: serial,
            kind: EventKind::Submitted,
            len: planned.len,
            digest: planned.offset << 16 | u64::from(planned.region.map_or(0xffff, |id| id.0)),
            status: planned.kind as u8,
        });
        self.tell_submitted(now, serial, planned, &spec);
        let host = &mut self.world.nodes[node as usize];
        if let Err(error) = host.driver.submit(now, spec) {
            self.tell_refused(now, serial, &error.to_string());
            // The operation counts as ended, and as failed.
            self.in_flight[tag as usize] = None;
            self.free.push(tag);
            self.ended += 1;
            self.connections.get_mut(connection).in_flight -= 1;
            if let Some(recorder) = &mut self.recorder {
                recorder.refused(now, serial);
            }
            let place = self.workload.cite(planned.line);
            self.failures.add(Check::Success, now, || format!("{place}: {error}"));
        }
        if self.submitted.last() != Some(&node) {
            self.submitted.push(node);
        }
        true
    }
}
