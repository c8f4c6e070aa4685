//! Operations that ended: each is held to what it must have done.

use wavetank_contract::Status;
use wavetank_engine::{Finished, RdmaOps, TransferError};

use super::message::RECEIVE;
use super::place::{Contents, Wrong};
use super::renew::BREAKS_MAX;
use super::{Expect, InFlight, Replay};
use crate::check::Check;
use crate::pattern::{self, Suspect};
use crate::trace::{Event, EventKind};
use crate::version::ReadTicket;
use crate::workload::Planned;

impl<C: RdmaOps> Replay<C> {
    /// Takes what ended at a node.
    pub(super) fn collect(&mut self, node: u16) {
        // What the device did wrong comes before what came of it.
        let now = self.world.now();
        while let Some(anomaly) = self.world.nodes[node as usize].driver.context().take_anomaly() {
            self.failures.add(Check::Completion, now, || format!("node {node}: {anomaly}"));
        }
        while let Some(event) = self.world.nodes[node as usize].driver.take_event() {
            if let Some(recorder) = &mut self.recorder {
                recorder.reported(now, node, &event);
            }
            if self.explains_event(&event) {
                continue;
            }
            self.failures.add(Check::Event, now, || format!("node {node}: {event:?}"));
        }
        while let Some(finished) = self.world.nodes[node as usize].driver.take_finished() {
            if finished.tag & RECEIVE != 0 {
                self.received(node, finished);
            } else {
                self.end(node, finished);
            }
        }
    }

    /// Checks an operation that ended.
    fn end(&mut self, node: u16, finished: Finished) {
        let now = self.world.now();
        let slot = self.in_flight.get_mut(finished.tag as usize).and_then(Option::take);
        let Some(in_flight) = slot else {
            let tag = finished.tag;
            self.failures.add(Check::Completion, now, || format!("operation {tag} ended twice"));
            return;
        };
        let InFlight { planned, arrived, serial, connection, expect } = in_flight;
        self.free.push(finished.tag as u32);
        self.ended += 1;
        self.connections.get_mut(connection).in_flight -= 1;
        self.world.progressed();
        self.tell_ended(now, serial, &finished);
        if let Some(recorder) = &mut self.recorder {
            recorder.finished(serial, &finished);
        }
        let status = match &finished.result {
            Ok(_) => Status::Success as u8,
            Err(TransferError::Failed { status, .. }) => *status as u8,
            Err(_) => 255,
        };
        self.world.trace.push(&Event {
            at: now,
            node,
            object: serial,
            kind: EventKind::Finished,
            len: planned.len,
            digest: 0,
            status,
        });
        let done = match &finished.result {
            Ok(done) => *done,
            Err(error) => {
                self.failed += 1;
                if self.explains(error) {
                    self.failed_by_fault(&in_flight, error);
                } else if self.again.is_none() {
                    // Whether a run that is issued again should have failed here, its recording says.
                    let story = self.story(&planned, serial);
                    self.failures.add(Check::Success, now, || format!("{story}: {error}"));
                }
                self.close_versions(&planned, expect);
                return;
            }
        };
        self.connections.get_mut(connection).breaks = 0;
        if done != u64::from(planned.len) {
            let story = self.story(&planned, serial);
            self.failures.add(Check::Success, now, || format!("{story}: {done} bytes were done"));
        }
        let floor =
            self.floor.as_ref().map_or(0, |floor| floor.floor_ns(planned.kind, u64::from(planned.len)));
        let service = finished.finished_at.since_ns(finished.submitted_at);
        if service < floor {
            let story = self.story(&planned, serial);
            self.failures.add(Check::Floor, now, || {
                format!("{story}: {service} ns, the least possible is {floor} ns")
            });
        }
        self.latencies.record(planned.kind, u64::from(planned.len), finished.finished_at.since_ns(arrived));
        self.verify(&planned, serial, expect, &finished);
    }

    /// An operation failed, and a fault explains it. A connection that breaks again and again, with nothing done in between,
    /// is not explained by a fault that passes.
    fn failed_by_fault(&mut self, ended: &InFlight, error: &TransferError) {
        let now = self.world.now();
        self.doubt(ended);
        self.break_connection(ended.connection);
        let (breaks, index) = (self.connections.get(ended.connection).breaks, ended.connection);
        if breaks > BREAKS_MAX && !self.will_change() {
            let (story, fault) = (self.story(&ended.planned, ended.serial), self.latest_fault());
            self.failures.add(Check::Success, now, || {
                format!("{story}: {error}; connection {index} broke {breaks} times and did nothing in between; {fault}")
            });
        }
    }

    /// Looks at the bytes.
    fn verify(&mut self, planned: &Planned, serial: u64, expect: Expect, finished: &Finished) {
        let now = self.world.now();
        let Some(lease) = &finished.lease else {
            self.failures
                .add(Check::Leak, now, || format!("operation {serial} succeeded and kept its lease"));
            return;
        };
        let (memory, at) = (lease.region(), lease.offset());
        let place = planned.region.and_then(|id| self.places.get_mut(id.0 as usize));
        let wrong = match (expect, place) {
            (Expect::Read(ticket), Some(place)) => place.verify_read(ticket, planned, memory, at),
            (Expect::Written { generation, .. }, Some(place)) => {
                let wrong = place.verify_written(generation);
                if place.home.memory().is_none() {
                    // Where it arrived nobody looks before the end.
                    return;
                }
                wrong
            }
            (Expect::Added { .. } | Expect::Swapped { .. }, Some(place)) => {
                let mut former = [0; 8];
                lease.read(0, &mut former);
                let former = u64::from_le_bytes(former);
                let new = match expect {
                    Expect::Added { add } => former.wrapping_add(add),
                    Expect::Swapped { compare, swap } if compare == former => swap,
                    _ => former,
                };
                place.verify_atomic(planned.offset, former, new)
            }
            // A message is verified where it arrives.
            (_, _) => return,
        };
        self.bytes_verified += u64::from(planned.len);
        let Some(wrong) = wrong else { return };
        self.mismatches += 1;
        let story = self.story(planned, serial);
        let (check, what) = match wrong {
            Wrong::Arrived { first } => {
                let (first_at, end) = (at + first, at + u64::from(planned.len));
                let origin = pattern::origin(memory, first_at, end, &self.suspects());
                (Check::Bytes, format!("byte {first} of it is wrong; found {origin}"))
            }
            Wrong::Placed { first } => {
                let place = planned.region.and_then(|id| self.places.get(id.0 as usize));
                let Some(memory) = place.and_then(|place| place.home.memory()) else {
                    unreachable!("only memory that can be looked at is known to hold wrong bytes")
                };
                let (first_at, end) = (planned.offset + first, planned.offset + u64::from(planned.len));
                let origin = pattern::origin(memory, first_at, end, &self.suspects());
                (
                    Check::Bytes,
                    format!("it succeeded, and byte {first} of it is not in place; found {origin}"),
                )
            }
            Wrong::Said { check, what } => (check, what),
        };
        self.tell_blamed(now, serial, &what);
        self.failures.add(check, now, || format!("{story}: {what}"));
    }

    /// Forgets an operation that failed, so that others are not measured against it.
    fn close_versions(&mut self, planned: &Planned, expect: Expect) {
        let Some(place) = planned.region.and_then(|id| self.places.get_mut(id.0 as usize)) else { return };
        if let Contents::Pattern(versions) = &mut place.contents {
            match expect {
                Expect::Read(ReadTicket::Watched(id)) => drop(versions.end_read(id)),
                // It may have landed in part: for ever either.
                Expect::Written { .. } => {}
                _ => {}
            }
        }
    }

    pub(super) fn story(&self, planned: &Planned, serial: u64) -> String {
        let Planned { kind, from, to, region, offset, len, line, .. } = *planned;
        let names = &self.workload.nodes;
        let name = |node: u16| names.get(node as usize).map_or("?", |node| node.name.as_str());
        let target = match region.and_then(|id| self.workload.regions.get(id.0 as usize)) {
            Some(region) => format!("region {} at offset {offset}", region.name),
            None => "a message".to_owned(),
        };
        let (kind, from, to) = (kind.name(), name(from.0), name(to.0));
        let cited = if line > 0 { format!(" ({})", self.workload.cite_source(line)) } else { String::new() };
        format!("operation {serial}{cited}, {kind} of {len} bytes, {from} -> {to}, {target}")
    }

    pub(super) fn suspects(&self) -> Vec<Suspect> {
        let mut suspects: Vec<Suspect> =
            (0..).zip(&self.places).filter_map(|(id, p)| p.suspect(id)).collect();
        suspects.extend(self.messages.suspects());
        suspects
    }
}
