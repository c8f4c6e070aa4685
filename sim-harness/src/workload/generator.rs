//! The next operation, again and again: deterministic, and without allocation.
//!
//! Everything that can be worked out beforehand is: running weights, the number of places, alias tables. Drawing
//! an operation takes up to four choices, always in this order and only where there is a choice to make:
//! [`Site::WorkloadArrival`], [`Site::WorkloadOp`], [`Site::WorkloadSize`], [`Site::WorkloadPlace`].
//! When all choices are zero the generator yields the first operation of the mix with its smallest size at
//! offset 0, 1 ns apart under an open load.
//!
//! [`Site::WorkloadArrival`]: wavetank_contract::chance::Site::WorkloadArrival
//! [`Site::WorkloadOp`]: wavetank_contract::chance::Site::WorkloadOp
//! [`Site::WorkloadSize`]: wavetank_contract::chance::Site::WorkloadSize
//! [`Site::WorkloadPlace`]: wavetank_contract::chance::Site::WorkloadPlace

use std::sync::Arc;

use wavetank_contract::OpKind;
use wavetank_contract::chance::Choices;
use wavetank_contract::time::Instant;

use super::limits::MAX_OPS;
use super::load::{Arrival, Load, Stop};
use super::recording::Recording;
use super::source::Source;
use super::topology::{CLIENT, NodeId, RegionId, STORAGE};
use super::{Workload, generator::arrivals::Arrivals, generator::draw::Mixer};
use crate::record::{Event, RecordedRun};

mod arrivals;
mod draw;

/// One operation to be posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Not before this time; none when it may start at once.
    pub at: Option<Instant>,
    /// What it does.
    pub kind: OpKind,
    /// Who posts it.
    pub from: NodeId,
    /// Whose region it works on, or who receives it.
    pub to: NodeId,
    /// The region; none for a SEND.
    pub region: Option<RegionId>,
    /// First byte in the region; 0 for a SEND.
    pub offset: u64,
    /// Bytes, at least 1. `offset + len` is inside the region.
    pub len: u32,
    /// Where it comes from: the line of its `[[op]]`, or its line in the iolog, or 0.
    pub line: u32,
}

/// Yields the operations of a workload, one by one.
#[derive(Clone, Debug)]
pub struct Generator {
    plan: Plan,
    left: u64,
}

#[derive(Clone, Debug)]
enum Plan {
    Drawn { mixer: Mixer, arrivals: Option<Arrivals> },
    Recorded { recording: Arc<Recording>, paced: bool, next: usize },
    Again { run: Arc<RecordedRun>, next: usize },
}

impl Generator {
    /// Prepares the generator of a workload. A volume whose needles were not brought yields nothing.
    pub fn new(workload: &Workload) -> Generator {
        let load = &workload.load;
        let plan = match &workload.source {
            Source::Mix(mix) => Plan::Drawn {
                mixer: Mixer::new(mix, &workload.regions),
                arrivals: match load.arrival {
                    Arrival::Open { rate_per_s } => Some(Arrivals::new(rate_per_s, horizon(load))),
                    Arrival::Closed | Arrival::Recorded => None,
                },
            },
            Source::Iolog { log, .. } => recorded(&log.recording, load),
            Source::Run { run, .. } => Plan::Again { run: run.clone(), next: 0 },
            Source::Volume { needles, .. } => recorded(&needles.clone().unwrap_or_default(), load),
        };
        let left = match load.stop {
            Stop::Count(count) => count.min(MAX_OPS),
            Stop::After(_) | Stop::End => MAX_OPS,
        };
        Generator { plan, left }
    }

    /// Whether [`next`](Self::next) has said that there are no more, or would.
    pub fn is_exhausted(&self) -> bool {
        self.left == 0
    }

    /// The next operation; none when there are no more.
    ///
    /// Under a closed load with [`Stop::After`] there always is one more: the caller has the clock.
    pub fn next<C: Choices + ?Sized>(&mut self, choices: &mut C) -> Option<Planned> {
        if self.left == 0 {
            return None;
        }
        let planned = match &mut self.plan {
            Plan::Drawn { mixer, arrivals: None } => Some(mixer.draw(None, choices)),
            Plan::Drawn { mixer, arrivals: Some(arrivals) } => {
                arrivals.next(choices).map(|at| mixer.draw(Some(at), choices))
            }
            Plan::Recorded { recording, paced, next } => replay(recording, *paced, next),
            Plan::Again { run, next } => again(run, next),
        };
        self.left = if planned.is_some() { self.left - 1 } else { 0 };
        planned
    }
}

/// The time at which an open load ends.
fn horizon(load: &Load) -> Instant {
    match load.stop {
        Stop::After(ns) => Instant::ZERO + ns,
        Stop::Count(_) | Stop::End => Instant::FAR,
    }
}

fn recorded(recording: &Arc<Recording>, load: &Load) -> Plan {
    Plan::Recorded { recording: recording.clone(), paced: load.arrival == Arrival::Recorded, next: 0 }
}

fn replay(recording: &Recording, paced: bool, next: &mut usize) -> Option<Planned> {
    let io = recording.ops.get(*next)?;
    *next += 1;
    Some(Planned {
        at: paced.then_some(Instant::ZERO + io.at_ns),
        kind: io.kind.op(),
        from: CLIENT,
        to: STORAGE,
        region: Some(RegionId(io.file)),
        offset: io.offset,
        len: io.len,
        line: io.line,
    })
}

/// The next operation of a recorded run; `next` counts its events.
fn again(run: &RecordedRun, next: &mut usize) -> Option<Planned> {
    let (index, submit) =
        run.events.iter().enumerate().skip(*next).find_map(|(index, event)| match event {
            Event::Submit(submit) => Some((index, submit)),
            _ => None,
        })?;
    *next = index + 1;
    Some(Planned {
        at: None,
        kind: submit.kind,
        from: NodeId(submit.from),
        to: NodeId(submit.to),
        region: submit.region.map(RegionId),
        offset: submit.offset,
        len: submit.len,
        line: run.first_line.saturating_add(index as u32),
    })
}
