//! Replaying a workload on the simulated network, with every byte and latency checked.
//!
//! Set up, run, verify: [`Replay::prepare`] makes nodes, regions, connections and leases; [`Replay::run`] feeds
//! operations to the drivers as the load says and checks each one as it ends; the last sweep looks at every byte of
//! every region, and at what was not given back.

mod close;
mod connection;
mod finish;
mod message;
mod place;
mod setup;
mod start;
mod volume;

use wavetank_contract::Instant;
use wavetank_engine::{RdmaContext, RdmaOps};
use wavetank_mock::Profile;

use crate::check::{Check, Failures};
use crate::report::{Latencies, Report};
use crate::version::ReadTicket;
use crate::workload::{Arrival, Generator, Planned, Stop, Workload};
use crate::world::{Ran, World};
use connection::Connections;
use message::Messages;
use place::Place;

pub use setup::SetupError;
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
    /// Virtual time.
    pub at: Instant,
}

/// A workload set up on its world, ready to run.
#[derive(Debug)]
pub struct Replay<C = RdmaContext> {
    workload: Workload,
    profile: Profile,
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
    bytes_verified: u64,
    mismatches: u64,
    latencies: Latencies,
    failures: Failures,
    /// A receive failed: its endpoint takes no message any more.
    receiver_died: bool,
    /// For atomics: values that are never repeated.
    unique: u64,
}

/// An operation under way.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    planned: Planned,
    /// When it arrived: latency counts from here.
    arrived: Instant,
    serial: u64,
    expect: Expect,
}

/// What an operation is held to when it ends.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// The destination holds what a reader may see.
    Read(ReadTicket),
    /// The region holds this generation.
    Written { generation: u32 },
    /// The receiver checks it.
    Sent,
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

    /// Runs the workload to its end. `progress` is called now and then.
    pub fn run(mut self, progress: &mut dyn FnMut(&Progress)) -> Report {
        self.post_receives();
        let stop_at = match (self.workload.load.stop, self.workload.load.arrival) {
            (Stop::After(ns), Arrival::Closed) => Instant(ns),
            _ => Instant::FAR,
        };
        let mut turns = 0u64;
        loop {
            let next_arrival = self.start_due(stop_at);
            match self.world.run(next_arrival) {
                Ran::Turned(node) => self.collect(node),
                Ran::Reached => {}
                Ran::Stuck => break,
            }
            if self.started == self.ended && self.is_exhausted(stop_at) && self.messages.all_met() {
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
            if self.broken() {
                break;
            }
        }
        self.close()
    }

    /// Whether going on makes no sense: an endpoint is dead, so everything behind it will fail too.
    fn broken(&self) -> bool {
        self.failures.has(Check::Success) || self.failures.has(Check::Event) || self.receiver_died
    }

    fn is_exhausted(&self, stop_at: Instant) -> bool {
        self.next.is_none() && (self.world.now() >= stop_at || self.generator.is_exhausted())
    }
}
