//! Keeping what a run does while it does it.

use wavetank_contract::{AsyncEvent, Caps, Instant};
use wavetank_engine::{Finished, TransferError};

use super::write::caps_line;
use super::{EVENTS_MAX, End, Event, RecordedRun, Submit};
use crate::workload::{Planned, Workload};

/// Keeps events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    events: Vec<Event>,
    /// There were more than a recording holds.
    overflowed: bool,
    /// When the last one was.
    last_at: Instant,
}

impl Recorder {
    /// The time of the next event. What a device reports is asked for after its turn began: no event is before the one
    /// above it.
    fn at(&mut self, at: Instant) -> Instant {
        self.last_at = self.last_at.max(at);
        self.last_at
    }

    fn push(&mut self, event: Event) {
        if self.events.len() < EVENTS_MAX {
            self.events.push(event);
        } else {
            self.overflowed = true;
        }
    }

    pub(crate) fn submitted(&mut self, at: Instant, planned: &Planned, connection: usize) {
        let Planned { kind, from, to, region, offset, len, .. } = *planned;
        let (from, to, region) = (from.0, to.0, region.map(|id| id.0));
        let (at, connection) = (self.at(at), connection as u32);
        self.push(Event::Submit(Submit { at, kind, from, to, region, offset, len, connection }));
    }

    /// An operation that never began.
    pub(crate) fn refused(&mut self, at: Instant, serial: u64) {
        let at = self.at(at);
        self.push(Event::Finish { serial, at, end: End::Refused, len: 0 });
    }

    pub(crate) fn finished(&mut self, serial: u64, finished: &Finished) {
        let (at, (end, len)) = (self.at(finished.finished_at), end(&finished.result));
        self.push(Event::Finish { serial, at, end, len });
    }

    pub(crate) fn received(&mut self, connection: usize, finished: &Finished) {
        let (end, len) = end(&finished.result);
        let (at, kind, imm) = (self.at(finished.finished_at), finished.kind, finished.imm);
        self.push(Event::Receive { connection: connection as u32, at, kind, end, len, imm });
    }

    pub(crate) fn reported(&mut self, at: Instant, node: u16, event: &AsyncEvent) {
        let at = self.at(at);
        self.push(Event::Async { node, at, what: format!("{event:?}") });
    }

    /// The run as it was recorded; none when it was longer than a recording may be.
    pub(crate) fn run(self, workload: &Workload, caps: &[&Caps], simulated: bool) -> Option<RecordedRun> {
        let devices: Vec<String> = caps.iter().map(|caps| caps.name.clone()).collect();
        let first = devices.first().map_or("", String::as_str);
        let backend = first.split('/').next().unwrap_or(first).to_owned();
        (!self.overflowed).then(|| RecordedRun {
            backend,
            simulated,
            caps: caps.first().map_or(String::new(), |caps| caps_line(caps)),
            devices,
            workload: workload.name.clone(),
            settings: workload.settings.clone(),
            nodes: workload.nodes.clone(),
            regions: workload.regions.clone(),
            events: self.events,
            first_line: 0,
        })
    }
}

fn end(result: &Result<u64, TransferError>) -> (End, u64) {
    match result {
        Ok(len) => (End::SUCCESS, *len),
        Err(TransferError::Failed { status, .. }) => (End::Completed(*status), 0),
        Err(TransferError::Refused { .. }) => (End::Refused, 0),
        Err(TransferError::DeadlinePassed { done, .. }) => (End::Deadline, *done),
        Err(TransferError::SessionEnded) => (End::SessionEnded, 0),
        Err(_) => (End::Cancelled, 0),
    }
}
