//! Receives that connections share: what is posted, and what of it was promised to whom.
//!
//! A credit is the promise that a receive is there, so of each queue at least as many are posted as were promised. They are anybody's:
//! what one peer leaves or gives back is there for the next. A few more are posted than promised, because a peer that sends
//! without a credit takes one that was promised to somebody else; it is cut off, and what it took is posted again at once.

use wavetank_contract::error::OpenError;
use wavetank_contract::{Caps, CqId, Instant, Lease, Op, PdId, Sge, SrqId, Status};
use wavetank_engine::memory::MemoryError;
use wavetank_engine::slab::Key;
use wavetank_engine::{NO_ENDPOINT, Order, Outcome, RdmaOps};

use super::pumping::RECEIVE;
use super::{Messenger, Posted, Whose};
use crate::config::MessengerConfig;
use crate::connection::{Connection, State};
use crate::event::{Cause, Violation};
use crate::hello::feature;

/// Receives that are posted to a queue and promised to nobody.
const SPARE: u32 = 16;

/// A queue that connections share.
#[derive(Debug)]
pub(super) struct SharedQueue {
    /// `None` while no connection uses it.
    srq: Option<SrqId>,
    /// Where its receives complete: as deep as itself, so that it cannot overrun whatever peers send.
    cq: CqId,
    /// Endpoints that share it.
    pub(super) endpoints: u32,
    /// Receives it has.
    posted: u32,
    /// Frames that peers may send: granted, and neither come nor given back.
    pub(super) promised: u32,
    /// The device takes nothing from it any more.
    broken: bool,
}

/// How shared receives are used: see [`Messenger::shared_receives`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedReceives {
    /// Queues that connections share now.
    pub queues: u32,
    /// Receives that are posted to them.
    pub posted: u32,
    /// Frames that peers were granted and have not sent: never more than are posted.
    pub promised: u32,
}

/// What a messenger keeps, in bytes: see [`Messenger::bytes_in_use`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BytesInUse {
    /// Receive buffers that are posted, or hold messages.
    pub receives: u64,
    /// Connections, with their queues; their lines, names and timers.
    pub connections: u64,
    /// What driver and port keep of endpoints and works.
    pub driver: u64,
}

impl BytesInUse {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.receives + self.connections + self.driver
    }
}

/// How deep shared queues are: as the device allows, and not deeper than there are buffers. 0 where connections have their own,
/// because the device has none, nobody wants them, or one could not serve a single connection.
pub(super) fn depth(caps: &Caps, config: &MessengerConfig, receive_bytes: u64) -> u32 {
    let buffers = receive_bytes / u64::from(config.frame_bytes).next_power_of_two();
    let buffers = u32::try_from(buffers).unwrap_or(u32::MAX);
    let depth = caps.shared_receive_depth_max.min(caps.cq_depth_max).min(buffers);
    if config.share_receives && depth >= config.credits + SPARE { depth } else { 0 }
}

impl<C: RdmaOps> Messenger<C> {
    /// How the receives that connections share are used. All zero where they have their own.
    pub fn shared_receives(&self) -> SharedReceives {
        let open = self.shared.iter().filter(|queue| queue.srq.is_some());
        open.fold(SharedReceives::default(), |sum, queue| SharedReceives {
            queues: sum.queues + 1,
            posted: sum.posted + queue.posted,
            promised: sum.promised + queue.promised,
        })
    }

    /// What it keeps for its connections, used or not: buffers, and its own account of them. What the device allocates is not
    /// in it, nor what users have.
    pub fn bytes_in_use(&mut self) -> BytesInUse {
        let allocated = |(_, connection): (Key, &Connection)| connection.bytes_allocated();
        let connections = self.connections.bytes_in_use()
            + self.connections.iter().map(allocated).sum::<usize>()
            + self.lines.bytes_in_use()
            + self.lines.iter().map(|(_, line)| line.handshake.bytes_allocated()).sum::<usize>()
            + self.posted.bytes_in_use()
            // A tree's nodes are at least half full.
            + 2 * self.by_ep.len() * size_of::<(wavetank_contract::EpId, Key)>()
            + self.timers.bytes_in_use()
            + self.line_timers.bytes_in_use()
            + self.dirty.capacity() * size_of::<Key>();
        BytesInUse {
            receives: self.receives.stats().leased_bytes,
            connections: connections as u64,
            driver: self.driver.bytes_in_use() as u64,
        }
    }

    /// A queue for a connection's receives, and where they complete. `None`: it has its own.
    pub(super) fn shared_place(&mut self) -> Result<Option<(usize, SrqId, CqId)>, OpenError> {
        let depth = self.shared_depth;
        if depth == 0 {
            return Ok(None);
        }
        let room = |queue: &SharedQueue| depth - queue.promised.min(depth);
        let need = self.config.credits + SPARE;
        let open = |queue: &SharedQueue| queue.srq.is_some() && !queue.broken;
        let fits = self.shared.iter().position(|queue| open(queue) && room(queue) >= need);
        // One queue as deep as there are buffers is enough; where the device's are shallower, it takes some.
        let buffers =
            self.receives.stats().total_bytes / u64::from(self.config.frame_bytes).next_power_of_two();
        let most = buffers.div_ceil(depth.into());
        let used = self.shared.iter().filter(|queue| open(queue)).count() as u64;
        let place = match fits {
            Some(place) => place,
            None if used < most => self.begin_queue()?,
            // It is refused when it is promised its receives, unless somebody leaves until then.
            None => {
                let places = self.shared.iter().enumerate().filter(|(_, queue)| open(queue));
                let Some((place, _)) = places.max_by_key(|(_, queue)| room(queue)) else { return Ok(None) };
                place
            }
        };
        let queue = &self.shared[place];
        Ok(queue.srq.map(|srq| (place, srq, queue.cq)))
    }

    fn begin_queue(&mut self) -> Result<usize, OpenError> {
        let depth = self.shared_depth;
        let unused = self.shared.iter().position(|queue| queue.srq.is_none() && !queue.broken);
        let place = match unused {
            Some(place) => place,
            None => {
                let cq = self.driver.context().open_cq(depth)?;
                let (srq, endpoints, posted, promised, broken) = (None, 0, 0, 0, false);
                self.shared.push(SharedQueue { srq, cq, endpoints, posted, promised, broken });
                self.shared.len() - 1
            }
        };
        let srq = self.driver.context().open_srq(PdId::default(), depth)?;
        self.shared[place].srq = Some(srq);
        Ok(place)
    }

    /// Ends queues that no connection uses any more: their buffers come back with the next poll, and so does what an adapter
    /// lost track of.
    pub(super) fn end_unused(&mut self) {
        for queue in &mut self.shared {
            if let (Some(srq), 0) = (queue.srq, queue.endpoints)
                && self.driver.close_srq(srq).is_ok()
            {
                (queue.srq, queue.posted) = (None, 0);
            }
        }
    }

    /// Promises a connection the receives it is missing, and posts what that takes.
    pub(super) fn promise_missing(&mut self, key: Key, place: usize) -> Result<(), MemoryError> {
        let Some(connection) = self.connections.get(key) else { return Ok(()) };
        for _ in 0..connection.window.missing() {
            while self.shared.get(place).is_some_and(|queue| queue.posted < queue.promised + 1 + SPARE) {
                let SharedQueue { posted, promised, .. } = self.shared[place];
                let lease = match posted < self.shared_depth {
                    true => self.receives.acquire(u64::from(self.config.frame_bytes)),
                    false => Err(MemoryError::Exhausted {
                        asked_bytes: self.config.frame_bytes.into(),
                        free_bytes: 0,
                        largest_free_bytes: 0,
                        leases: posted,
                    }),
                };
                let lease = match lease {
                    Ok(lease) => lease,
                    // Those to spare are for bad days: none is kept from a peer that keeps to its credits.
                    Err(_) if posted > promised => break,
                    Err(error) => return Err(error),
                };
                self.post_shared(place, lease);
            }
            let (Some(queue), Some(connection)) = (self.shared.get_mut(place), self.connections.get_mut(key))
            else {
                return Ok(());
            };
            queue.promised += 1;
            connection.window.post(1);
        }
        Ok(())
    }

    fn post_shared(&mut self, place: usize, lease: Lease) {
        let (mr, len) = (self.receives.mr(), self.config.frame_bytes);
        let Some(queue) = self.shared.get_mut(place) else { return };
        let Some(srq) = queue.srq else { return };
        let piece = Sge { mr, len, offset: lease.offset() };
        let hold = Some(lease.hold());
        let Some(posted) = self.posted.insert(Posted { whose: Whose::Shared(srq), lease }) else { return };
        queue.posted += 1;
        self.driver.order_shared(srq, Order::new(RECEIVE | u64::from(posted.index), Op::Recv, piece, hold));
    }

    /// A buffer that brought nothing is posted again, unless there are enough.
    fn give_back(&mut self, place: usize, lease: Lease) {
        if self.shared.get(place).is_some_and(|queue| queue.posted < queue.promised + SPARE) {
            self.post_shared(place, lease);
        }
    }

    /// A receive of a shared queue ended.
    pub(super) fn shared_received(&mut self, srq: SrqId, lease: Lease, outcome: &Outcome, now: Instant) {
        let Some(place) = self.shared.iter().position(|queue| queue.srq == Some(srq)) else { return };
        let queue = &mut self.shared[place];
        queue.posted -= 1;
        if outcome.ep == NO_ENDPOINT {
            // The device refused it: what was promised cannot be kept.
            return self.queue_broke(srq, now);
        }
        let known = self.by_ep.get(&outcome.ep).copied();
        let Some((key, connection)) = known.and_then(|key| Some((key, self.connections.get_mut(key)?)))
        else {
            return self.give_back(place, lease);
        };
        if outcome.status != Status::Success {
            self.give_back(place, lease);
            return self.receive_failed(key, outcome.status, now);
        }
        if !connection.window.take() {
            // It was somebody else's. The peer is told, unless it goes on: then its endpoint ends at once.
            self.give_back(place, lease);
            return self.violated(key, Violation::NoCredit, now);
        }
        self.shared[place].promised -= 1;
        self.stats.frames_in += 1;
        if matches!(connection.state, State::Answering { .. }) {
            self.establish_early(key, now);
        }
        if let Err(violation) = self.frame_came(key, lease, outcome, now) {
            self.violated(key, violation, now);
        }
        self.mark(key);
    }

    /// The peer has had nothing to say for a while. It gives back what it has beyond an idle connection's; where receives are
    /// not shared it uses that up, and gets no more.
    pub(super) fn idles(&mut self, key: Key, back: u64) -> Result<(), Violation> {
        let idle = self.config.credits;
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        connection.window.size = connection.window.size.min(idle);
        if back == 0 {
            return Ok(());
        }
        if connection.features & feature::GIVE_BACK == 0 {
            return Err(Violation::Feature("credits that are given back"));
        }
        let count = u32::try_from(back).unwrap_or(u32::MAX);
        if !connection.window.take_back(count) {
            return Err(Violation::Control { what: "credits that it never had", sequence: back });
        }
        if let Some(queue) = connection.shared.and_then(|place| self.shared.get_mut(place)) {
            queue.promised -= count;
        }
        Ok(())
    }

    /// Receive buffers that are nobody's, those included that are posted and promised to nobody.
    pub(super) fn receive_bytes_free(&mut self) -> u64 {
        let idle = |queue: &SharedQueue| u64::from(queue.posted.saturating_sub(queue.promised + SPARE));
        let each = u64::from(self.config.frame_bytes).next_power_of_two();
        self.receives.stats().free_bytes + self.shared.iter().map(idle).sum::<u64>() * each
    }

    /// The most receives that a connection may have now.
    pub(super) fn window_max(&mut self, key: Key) -> u32 {
        let window = self.config.window;
        let Some(connection) = self.connections.get(key) else { return window };
        match connection.shared.and_then(|place| self.shared.get(place)) {
            Some(queue) => {
                let left = self.shared_depth.saturating_sub(queue.promised + SPARE);
                window.min(connection.window.posted() + left)
            }
            None => window.min(self.driver.context().caps().queue_depth_max),
        }
    }

    /// Nothing comes from a shared queue any more: its connections break, and find another one.
    pub(super) fn queue_broke(&mut self, srq: SrqId, now: Instant) {
        let Some(place) = self.shared.iter().position(|queue| queue.srq == Some(srq) && !queue.broken) else {
            return;
        };
        self.shared[place].broken = true;
        let of = |(_, connection): &(Key, &Connection)| connection.shared == Some(place);
        let all: Vec<Key> = self.connections.iter().filter(of).map(|(key, _)| key).collect();
        for key in all {
            self.fault(key, Cause::Work { status: Status::FatalErr }, now);
        }
    }
}
