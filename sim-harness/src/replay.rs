//! Replaying a workload, on the simulated network or on devices, with every byte and latency checked.
//!
//! Set up, run, verify: [`Replay::prepare`] makes nodes, regions, connections and leases; [`Replay::run`] feeds
//! operations to the drivers as the load says and checks each one as it ends; the last sweep looks at every byte of
//! every region, and at what was not given back.

mod close;
mod connection;
mod disturb;
mod finish;
mod message;
mod place;
mod read_back;
mod renew;
mod setup;
mod start;
mod volume;
mod watched;

use std::sync::Arc;

use wavetank_contract::Instant;
use wavetank_engine::{RdmaContext, RdmaOps};
use wavetank_mock::Profile;

use crate::check::{Check, Failures};
use crate::record::{RecordedRun, Recorder};
use crate::report::{Latencies, Report};
use crate::version::ReadTicket;
use crate::watch::Watcher;
use crate::workload::{Arrival, Generator, Planned, Stop, Workload};
use crate::world::{Ran, World};
use connection::Connections;
use disturb::Disturbed;
use message::Messages;
use place::Place;

pub use disturb::NoSuchFault;
pub use setup::{SetupError, Unfit};
pub use volume::VolumeProblem;

/// How often progress is told, in turns of a node: an operation takes at least one, a long one many.
const PROGRESS_TURNS: u64 = 1 << 14;

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Operations ended.
    pub ops: u64,
    /// Operations in all, where the workload says so.
    pub of: Option<u64>,
    /// The time: virtual, or on devices real.
    pub at: Instant,
}

/// A workload set up on its world, ready to run.
#[derive(Debug)]
pub struct Replay<C = RdmaContext> {
    workload: Workload,
    /// What no operation can be faster than; devices keep to their own physics.
    floor: Option<Profile>,
    world: World<C>,
    generator: Generator,
    /// Drawn and not started: its time has not come, or there was no room.
    next: Option<Planned>,
    places: Vec<Place>,
    connections: Connections,
    messages: Messages,
    in_flight: Vec<Option<InFlight>>,
    free: Vec<u32>,
    /// Nodes at which something was submitted and not posted yet.
    submitted: Vec<u16>,
    started: u64,
    ended: u64,
    /// Of those that ended: how many failed.
    failed: u64,
    bytes_verified: u64,
    mismatches: u64,
    latencies: Latencies,
    failures: Failures,
    /// A receive failed: its endpoint takes no message any more.
    receiver_died: bool,
    /// For atomics: values that are never repeated.
    unique: u64,
    /// What is kept of the run, if anybody wants it.
    recorder: Option<Recorder>,
    /// A recorded run that is issued again.
    again: Option<Again>,
    /// Faults that come, and what came of them.
    disturbed: Option<Box<Disturbed>>,
    /// Who looks on.
    watcher: Option<Box<dyn Watcher>>,
}

/// A recorded run that is issued again.
#[derive(Debug)]
struct Again {
    run: Arc<RecordedRun>,
    /// For each operation: how many have to have ended before it is submitted.
    ended_before: Vec<u64>,
}

/// An operation under way.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    planned: Planned,
    /// When it arrived: latency counts from here.
    arrived: Instant,
    serial: u64,
    connection: usize,
    expect: Expect,
}

/// What an operation is held to when it ends.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// The destination holds what a reader may see.
    Read(ReadTicket),
    /// The region holds this generation.
    Written { generation: u32, imm: Option<u32> },
    /// The receiver checks this message.
    Sent { generation: u32 },
    /// The cell went from what was found to this.
    Added { add: u64 },
    /// The cell went to `swap` if it held `compare`.
    Swapped { compare: u64, swap: u64 },
}

impl<C: RdmaOps> Replay<C> {
    /// The world, for tests that break something on purpose.
    pub fn world(&mut self) -> &mut World<C> {
        &mut self.world
    }

    /// Keeps what happens: the report will have it as a [`RecordedRun`]. When something fails, what is under way is then
    /// waited for, so that its end is recorded too.
    pub fn record(&mut self) {
        self.recorder.get_or_insert_default();
    }

    /// Runs the workload to its end. `progress` is called now and then.
    pub fn run(mut self, progress: &mut dyn FnMut(&Progress)) -> Report {
        self.post_receives();
        self.world.begin();
        let stop_at = match (self.workload.load.stop, self.workload.load.arrival) {
            (Stop::After(ns), Arrival::Closed) => Instant(ns),
            _ => Instant::FAR,
        };
        let mut turns = 0u64;
        loop {
            self.do_faults();
            self.renew();
            let next_arrival = self.start_due(stop_at);
            match self.world.run(next_arrival.min(self.next_disturbance())) {
                Ran::Turned(node) => self.collect(node),
                Ran::Reached => {}
                Ran::Stuck => break,
            }
            if self.started == self.ended && self.is_exhausted(stop_at) && self.unmet() == 0 {
                break;
            }
            turns += 1;
            if turns.is_multiple_of(PROGRESS_TURNS) {
                let of = match self.workload.load.stop {
                    Stop::Count(count) => Some(count),
                    Stop::End => self.workload.source.recorded_ops(),
                    Stop::After(_) => None,
                };
                progress(&Progress { ops: self.ended, of, at: self.world.now() });
            }
            if self.broken() && !self.drains() {
                break;
            }
        }
        self.close()
    }

    /// Messages that are still to come. In a run that is issued again and fails as it did, those that were on the failed
    /// connections never will.
    fn unmet(&self) -> u64 {
        if self.again.is_some() && self.failed > 0 { 0 } else { self.messages.unmet() }
    }

    /// Whether the end of what is under way is waited for though the run is broken.
    fn drains(&self) -> bool {
        self.recorder.is_some() && self.started > self.ended
    }

    /// Whether going on makes no sense: an endpoint is dead, so everything behind it will fail too.
    fn broken(&self) -> bool {
        // A recorded run may have failed, and then does so again.
        let failed = self.failures.has(Check::Success) && self.again.is_none();
        failed || self.failures.has(Check::Event) || self.receiver_died
    }

    fn is_exhausted(&self, stop_at: Instant) -> bool {
        self.next.is_none() && (self.world.now() >= stop_at || self.generator.is_exhausted())
    }
}

impl Again {
    /// Whether the operation of this number waits for others, of which so many have ended.
    fn is_early(&self, serial: u64, ended: u64) -> bool {
        self.ended_before.get(serial as usize).is_some_and(|before| *before > ended)
    }
}
