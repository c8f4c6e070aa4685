//! The driver: turns the crank. One call of [`Driver::turn`] polls the device, moves transfers on, sweeps deadlines and
//! posts what has become possible. The simulator and an async runtime turn the same crank.

mod awaiting;
mod direct;
mod leaks;
mod retiring;
mod sessions;
mod shared;
mod transfers;

use std::collections::VecDeque;
use std::task::Waker;

use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{AsyncEvent, Buggify, EpId, Instant, Lease, SrqId, Status, Wake};

use crate::context::{RdmaContext, RdmaOps};
use crate::deadline::Deadlines;
use crate::memory::{Arena, MemoryError};
use crate::port::{Batch, Outcome};
use crate::session::Sessions;
use crate::slab::Slab;
use crate::transfer::{Finished, Transfer, TransferError};
pub use leaks::Leaks;
use retiring::Retiring;
use sessions::unpack;

/// Asynchronous events kept for whoever asks.
const EVENTS_KEPT: usize = 1024;

/// Policy of a driver.
#[derive(Clone, Copy, Debug)]
pub struct DriverConfig {
    /// READs and WRITEs are cut into pieces of this many bytes.
    pub chunk_bytes: u32,
    /// Chunks of one transfer in flight.
    pub window: u32,
    /// Transfers under way at a time.
    pub transfers_max: u32,
    /// Sessions open at a time.
    pub sessions_max: u32,
}

impl Default for DriverConfig {
    fn default() -> DriverConfig {
        DriverConfig { chunk_bytes: 256 << 10, window: 8, transfers_max: 1 << 16, sessions_max: 1 << 20 }
    }
}

/// What one endpoint has to do.
#[derive(Debug, Default)]
struct Lane {
    /// Orders made and not taken by the device yet. Sends and receives have credits of their own: a full receive
    /// queue empties only when the peer sends, and may not keep us from sending.
    sends: Batch,
    receives: Batch,
    /// Transfers with something to order, each in turn.
    waiting: VecDeque<u32>,
    /// In the driver's list of lanes to serve.
    dirty: bool,
    /// What first went wrong here.
    first_cause: Option<Status>,
    /// When a work of a transfer last succeeded.
    progressed_at: Instant,
}

/// One engine's state machine over a device. Time is an argument; nothing in here waits.
#[derive(Debug)]
pub struct Driver<C = RdmaContext> {
    context: C,
    config: DriverConfig,
    sessions: Sessions,
    transfers: Slab<Transfer>,
    deadlines: Deadlines,
    /// By endpoint number.
    lanes: Vec<Lane>,
    dirty: Vec<EpId>,
    /// Receives for shared queues; there are few.
    shared: Vec<(SrqId, Batch)>,
    /// Some of them may be posted now.
    shared_dirty: bool,
    outcomes: Vec<Outcome>,
    finished: VecDeque<Finished>,
    /// How orders of a layer above ended.
    direct: Vec<Outcome>,
    /// Registrations of ended sessions that have not ended yet.
    retiring: Vec<Retiring>,
    events: VecDeque<AsyncEvent>,
    /// To be called once nobody is inside the driver any more: what they wake may come straight back in.
    wakers: Vec<Waker>,
    /// The last turn did not poll: this one must.
    put_off: bool,
}

impl<C: RdmaOps> Driver<C> {
    /// A driver over a device.
    pub fn new(context: C, config: DriverConfig) -> Driver<C> {
        let message_bytes_max = context.caps().message_bytes_max.max(1);
        Driver {
            context,
            sessions: Sessions::with_limit(config.sessions_max),
            config: DriverConfig {
                chunk_bytes: config.chunk_bytes.clamp(1, message_bytes_max),
                window: config.window.max(1),
                ..config
            },
            transfers: Slab::new(),
            deadlines: Deadlines::new(),
            lanes: Vec::new(),
            dirty: Vec::new(),
            shared: Vec::new(),
            shared_dirty: false,
            outcomes: Vec::new(),
            finished: VecDeque::new(),
            direct: Vec::new(),
            retiring: Vec::new(),
            events: VecDeque::new(),
            wakers: Vec::new(),
            put_off: false,
        }
    }

    /// The device, for its control plane.
    pub fn context(&mut self) -> &mut C {
        &mut self.context
    }

    /// The sessions, to look at.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// A lease from an arena this engine works with.
    ///
    /// # Errors
    /// See [`Arena::acquire`].
    #[inline]
    pub fn lease(&mut self, arena: &mut Arena, len_bytes: u64) -> Result<Lease, MemoryError> {
        if self.context.buggify(Buggify::ReorderLeases) {
            // Nothing is at hand any more: the lease is cut anew.
            arena.coalesce();
        }
        arena.acquire(len_bytes)
    }

    /// Transfers that have not ended, and ended ones whose memory the device still has.
    pub fn transfers_len(&self) -> u32 {
        self.transfers.len()
    }

    /// The next transfer that ended.
    #[inline]
    pub fn take_finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    /// The next asynchronous event. The oldest are dropped when nobody asks.
    pub fn take_event(&mut self) -> Option<AsyncEvent> {
        self.events.pop_front()
    }

    /// Polls, moves on, sweeps, posts. Says when to be turned again.
    #[inline]
    pub fn turn(&mut self, now: Instant) -> Wake {
        self.spin(now);
        self.rest()
    }

    /// When to be turned again after a [`spin`](Self::spin), for whoever has done something in between.
    #[inline]
    pub fn rest(&self) -> Wake {
        let wake = self.wake();
        if self.put_off { Wake::Now } else { wake }
    }

    /// A turn for whoever comes back at once, whatever the answer: the device is not armed, which may cost a system call.
    #[inline]
    pub fn spin(&mut self, now: Instant) {
        self.put_off = !self.put_off && self.context.buggify(Buggify::DelayPoll);
        if !self.put_off {
            // What is done by now is done, also at its deadline and after it.
            self.poll(now);
            if self.sweep(now) {
                // Endpoints were closed: what they had comes back at once.
                self.poll(now);
            }
        }
        self.push(now);
    }

    /// Posts what was submitted since, without looking for what ended. Says when to be turned again.
    #[inline]
    pub fn flush(&mut self, now: Instant) -> Wake {
        self.push(now);
        self.wake()
    }

    /// The same for whoever spins.
    #[inline]
    pub fn push(&mut self, now: Instant) {
        // Receives first: what our sends ask of peers may come back as messages.
        if self.shared_dirty {
            self.serve_shared();
        }
        while let Some(last) = self.dirty.len().checked_sub(1) {
            let next = if last > 0 && self.context.buggify(Buggify::ReorderEndpoints) { 0 } else { last };
            let ep = self.dirty.swap_remove(next);
            self.serve(ep, now);
        }
    }

    /// When to be turned next.
    #[inline]
    pub fn wake(&self) -> Wake {
        let device = self.context.wake();
        if device == Wake::Now || self.shared_dirty || !self.dirty.is_empty() {
            return Wake::Now;
        }
        let transfer = self.deadlines.first().map(|(at, _)| at);
        let ours = [transfer, self.sessions.next_deadline(), self.retire_next()];
        let ours = ours.into_iter().flatten().min().unwrap_or(Instant::FAR);
        match device {
            Wake::Notified { until } => Wake::Notified { until: until.min(ours) },
            Wake::At(at) => Wake::At(at.min(ours)),
            Wake::Idle if ours < Instant::FAR => Wake::At(ours),
            Wake::Idle | Wake::Now => device,
        }
    }

    fn poll(&mut self, now: Instant) {
        while let Some(event) = self.context.poll_event() {
            if self.events.len() == EVENTS_KEPT {
                self.events.pop_front();
            }
            self.events.push_back(event);
        }
        let mut outcomes = std::mem::take(&mut self.outcomes);
        self.context.poll(&mut outcomes);
        for outcome in outcomes.drain(..) {
            self.settle(&outcome, now);
        }
        self.outcomes = outcomes;
        self.retire(now);
    }

    /// Ends what is past its deadline. True when endpoints were closed on the way.
    #[inline]
    fn sweep(&mut self, now: Instant) -> bool {
        while let Some(index) = self.deadlines.pop_due(now) {
            let Some(key) = self.transfers.key_at(index) else {
                continue;
            };
            let Some(t) = self.transfers.get(key) else {
                continue;
            };
            if planted::is(Bug::IgnoreDeadlines) {
                continue;
            }
            let (deadline, ep, kind, done, len) = (t.deadline, t.ep, t.op.kind(), t.done, t.len);
            self.abandon(key, TransferError::DeadlinePassed { deadline, ep, kind, done, len }, now);
        }
        let mut closed = false;
        while let Some(held) = self.sessions.expire_due(now).map(unpack) {
            closed |= held.0.is_some();
            self.release(held, now);
        }
        closed
    }

    #[inline]
    fn lane(&mut self, ep: EpId) -> &mut Lane {
        let index = ep.0 as usize;
        if self.lanes.len() <= index {
            self.lanes.resize_with(index + 1, Lane::default);
        }
        &mut self.lanes[index]
    }

    #[inline]
    fn mark(&mut self, ep: EpId) {
        let lane = &mut self.lanes[ep.0 as usize];
        if !lane.dirty {
            lane.dirty = true;
            self.dirty.push(ep);
        }
    }
}
