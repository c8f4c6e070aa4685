//! The messenger: connections over one device, as a machine that is turned.

mod delivering;
mod endpoints;
mod faulting;
mod handshaking;
mod landing;
mod pulling;
mod pumping;
mod receiving;
mod sending;
mod sharing;
mod timing;

use std::collections::{BTreeMap, VecDeque};

use wavetank_contract::{Access, CqId, EpId, Instant, Lease, MrId, PdId, Region, RegionSpec, SrqId, Wake};
use wavetank_engine::bootstrap::{InstanceId, Introduction};
use wavetank_engine::deadline::Deadlines;
use wavetank_engine::memory::{Arena, ExtentPool, ExtentPoolConfig, ExtentStats, MemoryError};
use wavetank_engine::slab::{Key, Slab};
use wavetank_engine::{BackendKind, Driver, Finished, Outcome, RdmaContext, RdmaOps};

use crate::config::MessengerConfig;
use crate::connection::{Connection, ConnectionId, ConnectionStats, Outgoing, Request, State};
use crate::credit::Flow;
use crate::error::{BindError, ConnectRefused};
use crate::event::Event;
use crate::frame::Sort;
use crate::hello::feature;
use crate::line::{Line, LineAsk};
use crate::message::{Return, Returns};
use crate::policy::Policy;
use crate::step::{Go, Step};
use crate::way::Chosen;
pub use pulling::{Ends, Reached};
use sharing::SharedQueue;
pub use sharing::{BytesInUse, SharedReceives};

/// Bytes for frames that are no messages: they come back as soon as the peer's device has them.
const BARE_BYTES: u64 = 256 << 10;

/// Called at each step of the protocol by tests that stop there.
pub type Interceptor = Box<dyn FnMut(Step, ConnectionId) -> Go>;

/// Messages between this process and its peers, over one device. Time is an argument; nothing in here waits.
pub struct Messenger<C: RdmaOps = RdmaContext> {
    driver: Driver<C>,
    config: MessengerConfig,
    us: Introduction,
    /// Policy of those who connect to us.
    accepts: Option<Policy>,
    /// Messages to be sent.
    frames: Arena,
    /// Frames that are none. Apart: whoever has lined up all it has room for still has to grant credits, and to say that it lives.
    bare: Arena,
    /// Receive buffers.
    receives: Arena,
    /// Data of users.
    pool: Arena,
    /// Data that is fetched.
    landing: Arena,
    extents: ExtentPool,
    connections: Slab<Connection>,
    lines: Slab<Line>,
    outgoing: Slab<Outgoing>,
    requests: Slab<Request>,
    posted: Slab<Posted>,
    moves: Slab<Move>,
    /// Which connection an endpoint is of.
    by_ep: BTreeMap<EpId, Key>,
    cqs: Vec<(CqId, u32)>,
    /// Queues that connections share, empty where they have their own.
    shared: Vec<SharedQueue>,
    /// How deep such a queue is. 0: connections have their own.
    shared_depth: u32,
    /// When connections have to be looked at, by place.
    timers: Deadlines,
    /// The same for lines.
    line_timers: Deadlines,
    /// Deadlines of requests, by place.
    deadlines: Deadlines,
    dirty: Vec<Key>,
    events: VecDeque<Event>,
    asks: VecDeque<LineAsk>,
    returns: Returns,
    lives: u64,
    chosen: BTreeMap<Chosen, u64>,
    stats: MessengerStats,
    interceptor: Option<Interceptor>,
    halted: bool,
    /// Buffers that are used again.
    outcomes: Vec<Outcome>,
    returned: Vec<Return>,
}

/// A receive that is posted.
#[derive(Debug)]
struct Posted {
    whose: Whose,
    lease: Lease,
}

/// Whose receive it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Connection(Key),
    /// Of whoever takes it.
    Shared(SrqId),
}

/// Data on its way by READ or WRITE.
#[derive(Clone, Copy, Debug)]
struct Move {
    connection: Key,
    what: Moving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moving {
    /// The data of an incoming message; of a reply, perhaps into the memory that this request gave.
    Fetch { sequence: u64, sink_of: Option<Key> },
    /// The data of an outgoing message, to where the peer said.
    Put { outgoing: Key },
    /// The data of a reply, to the sink of its request.
    Fill { outgoing: Key },
    /// A READ that the user asked for, by its tag.
    Pull { tag: u64 },
}

/// Counts of a messenger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessengerStats {
    /// Messages posted.
    pub messages_out: u64,
    /// Messages handed over.
    pub messages_in: u64,
    /// Frames posted, messages included.
    pub frames_out: u64,
    /// Frames that came.
    pub frames_in: u64,
    /// Connections that broke.
    pub faults: u64,
    /// Peers that broke the protocol.
    pub violations: u64,
    /// Messages sent again.
    pub replayed: u64,
    /// Replies and messages that were dropped as of another life, or as there already.
    pub duplicates: u64,
    /// Requests dropped because their deadline had passed.
    pub expired: u64,
}

impl<C: RdmaOps> std::fmt::Debug for Messenger<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messenger")
            .field("name", &self.config.name)
            .field("connections", &self.connections.len())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

impl<C: RdmaOps> Messenger<C> {
    /// A messenger over a device. `instance` is this life of this process: nobody else may have it.
    ///
    /// # Errors
    /// Settings that cannot be, or memory that cannot be had.
    pub fn new(
        mut driver: Driver<C>,
        backend: BackendKind,
        instance: InstanceId,
        config: MessengerConfig,
    ) -> Result<Messenger<C>, BindError> {
        config.check()?;
        let frame_bytes = u64::from(config.frame_bytes);
        let frames_bytes = (config.pool_bytes / 8).max(frame_bytes * 8);
        let frames = arena(&mut driver, frames_bytes, 128)?;
        let bare = arena(&mut driver, BARE_BYTES, 128)?;
        let mut receives = arena(&mut driver, config.receive_bytes, frame_bytes.next_power_of_two())?;
        let pool = arena(&mut driver, config.pool_bytes, 4096)?;
        let landing = arena(&mut driver, config.landing_pool_bytes.next_power_of_two(), 4096)?;
        let extents = ExtentPoolConfig::default();
        // Where little may be exposed, one extent is not all of it.
        let extent_bytes = extents.extent_bytes.min(config.exposed_bytes_max / 8).max(1 << 12);
        let extent_bytes = 1 << extent_bytes.ilog2();
        let extents = ExtentPoolConfig { bytes_max: config.exposed_bytes_max, extent_bytes, ..extents };
        let shared_depth = sharing::depth(driver.context().caps(), &config, receives.stats().total_bytes);
        let features = match shared_depth {
            0 => feature::ALL & !feature::GIVE_BACK,
            _ => feature::ALL,
        };
        let device = driver.context().caps().name.clone();
        let us = Introduction { features, ..Introduction::new(instance, backend, &device) };
        Ok(Messenger {
            driver,
            config,
            us,
            accepts: None,
            frames,
            bare,
            receives,
            pool,
            landing,
            extents: ExtentPool::new(extents),
            connections: Slab::new(),
            lines: Slab::new(),
            outgoing: Slab::new(),
            requests: Slab::new(),
            posted: Slab::new(),
            moves: Slab::new(),
            by_ep: BTreeMap::new(),
            cqs: Vec::new(),
            shared: Vec::new(),
            shared_depth,
            timers: Deadlines::new(),
            line_timers: Deadlines::new(),
            deadlines: Deadlines::new(),
            dirty: Vec::new(),
            events: VecDeque::new(),
            asks: VecDeque::new(),
            returns: Returns::default(),
            lives: 0,
            chosen: BTreeMap::new(),
            stats: MessengerStats::default(),
            interceptor: None,
            halted: false,
            outcomes: Vec::new(),
            returned: Vec::new(),
        })
    }

    /// Cuts what peers may reach from a region from now on, so that data lands where its user wants it: in memory that other
    /// processes map. Only before the first connection; the region has at least `exposed_bytes_max` bytes.
    ///
    /// # Errors
    /// [`MemoryError::TooLong`] when it has less, [`MemoryError::RegionInUse`] when it is too late.
    pub fn expose_from(&mut self, region: Region) -> Result<(), MemoryError> {
        let (asked_bytes, limit_bytes) = (self.config.exposed_bytes_max, region.len());
        if asked_bytes > limit_bytes {
            return Err(MemoryError::TooLong { asked_bytes, limit_bytes });
        }
        self.extents.cut_from(region)
    }

    /// Where a lease of what a connection exposes is registered, for works of this side's own: a READ that is to land in it.
    pub fn registration(&self, connection: ConnectionId, lease: &Lease) -> Option<MrId> {
        Some(self.connections.get(connection.0)?.exposed.place(lease)?.mr)
    }

    /// Accepts peers from now on, with this policy; `None` accepts nobody any more.
    pub fn bind(&mut self, policy: Option<Policy>) {
        self.accepts = policy;
    }

    /// Connects to a peer: to whatever `address` means to who carries the lines. With a name, only who has it will do; lossless
    /// peers need it, since two of them may dial each other at once. Messages may be lined up at once.
    ///
    /// # Errors
    /// A server's policy, a lossless peer without a name or for the second time, too many connections.
    pub fn connect(
        &mut self,
        now: Instant,
        address: &str,
        peer: Option<u64>,
        policy: Policy,
    ) -> Result<ConnectionId, ConnectRefused> {
        if !policy.dials() {
            return Err(ConnectRefused::Policy(policy));
        }
        if policy == Policy::LosslessPeer {
            let peer = peer.ok_or(ConnectRefused::NoName)?;
            if let Some(there) = self.lossless_peer(peer) {
                let Some(connection) = self.connections.get_mut(there) else {
                    unreachable!("it was just found")
                };
                if connection.address.is_some() {
                    return Err(ConnectRefused::Twice(peer));
                }
                // The peer was first. From now on either may dial.
                connection.address = Some(address.into());
                return Ok(ConnectionId(there));
            }
        }
        let key = self
            .new_connection(policy, State::Waiting { until: now }, now)
            .ok_or(ConnectRefused::TooMany(self.config.connections_max))?;
        if let Some(connection) = self.connections.get_mut(key) {
            connection.address = Some(address.into());
            connection.peer = peer;
            connection.broke_at = Some(now);
        }
        self.dial(key, now);
        Ok(ConnectionId(key))
    }

    /// The device's driver, to look at, and for its control plane.
    pub fn driver(&mut self) -> &mut Driver<C> {
        &mut self.driver
    }

    /// Its settings.
    pub fn config(&self) -> &MessengerConfig {
        &self.config
    }

    /// Who this is to peers' bootstraps.
    pub fn introduction(&self) -> &Introduction {
        &self.us
    }

    /// What happened next.
    #[inline]
    pub fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What is to be done with a line next.
    #[inline]
    pub fn take_ask(&mut self) -> Option<LineAsk> {
        if self.halted {
            self.asks.clear();
        }
        self.asks.pop_front()
    }

    /// Counts.
    pub fn stats(&self) -> MessengerStats {
        self.stats
    }

    /// How data travelled, why, and how often.
    pub fn chosen(&self) -> impl Iterator<Item = (Chosen, u64)> + '_ {
        self.chosen.iter().map(|(chosen, count)| (*chosen, *count))
    }

    /// Counts of a connection.
    pub fn connection_stats(&self, connection: ConnectionId) -> Option<ConnectionStats> {
        self.connections.get(connection.0).map(|connection| connection.stats)
    }

    /// The connections there are, those being made included.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.connections.iter().map(|(key, _)| ConnectionId(key))
    }

    /// Bytes of data of replies that are on their way to a peer, or wait to be: what a peer that asks for much and takes little
    /// keeps from others.
    pub fn waiting_bytes(&self, connection: ConnectionId) -> u64 {
        let Some(connection) = self.connections.get(connection.0) else { return 0 };
        let all = connection.answers.iter().chain(&connection.filling).chain(&connection.sent);
        let replies =
            all.filter_map(|out| self.outgoing.get(*out)).filter(|out| out.header.sort == Sort::Reply);
        replies.map(Outgoing::data_len).sum()
    }

    /// Whether messages flow on it now.
    pub fn is_established(&self, connection: ConnectionId) -> bool {
        self.connections.get(connection.0).is_some_and(Connection::is_open)
    }

    /// Who the peer says it is.
    pub fn peer(&self, connection: ConnectionId) -> Option<u64> {
        self.connections.get(connection.0)?.peer
    }

    /// Memory for data of this side's own: what is sent from it travels eagerly or is written.
    ///
    /// # Errors
    /// See [`Arena::acquire`].
    pub fn lease(&mut self, len_bytes: u64) -> Result<Lease, MemoryError> {
        self.driver.lease(&mut self.pool, len_bytes)
    }

    /// Memory that the peer of a connection may reach: for data that it is to read, and for replies that it is to write.
    /// `Ok(None)`: there is no such connection.
    ///
    /// # Errors
    /// No memory, or none that can be registered.
    pub fn expose(&mut self, connection: ConnectionId, len_bytes: u64) -> Result<Option<Lease>, MemoryError> {
        let lease = self.make_room(connection.0, len_bytes)?;
        if !self.exposes_too_much() {
            return Ok(lease);
        }
        drop(lease);
        self.trim();
        let lease = self.make_room(connection.0, len_bytes)?;
        if !self.exposes_too_much() {
            return Ok(lease);
        }
        drop(lease);
        self.trim();
        let stats = self.extents.stats();
        Err(MemoryError::PoolFull {
            asked_bytes: len_bytes,
            limit_bytes: stats.limit_bytes,
            in_use_bytes: stats.in_use_bytes,
            retiring_bytes: stats.retiring_bytes,
        })
    }

    /// Whether less than a quarter is left to what comes in: two sides that exposed all they have for each other would have no
    /// room for it.
    fn exposes_too_much(&self) -> bool {
        let stats = self.extents.stats();
        stats.in_use_bytes + stats.retiring_bytes > stats.limit_bytes / 4 * 3
    }

    /// What connections keep for their next messages goes to whoever needs it now.
    fn trim(&mut self) {
        let all: Vec<Key> = self.connections.iter().map(|(key, _)| key).collect();
        for key in all {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.exposed.trim(&mut self.extents, self.driver.context());
            }
        }
    }

    /// Exposed memory, without a word about how much of it is left to others.
    fn make_room(&mut self, connection: Key, len_bytes: u64) -> Result<Option<Lease>, MemoryError> {
        let Some(there) = self.connections.get_mut(connection) else { return Ok(None) };
        let lease = there.exposed.lease(&mut self.extents, self.driver.context(), len_bytes);
        if !matches!(lease, Err(MemoryError::PoolFull { .. })) {
            return lease.map(Some);
        }
        self.trim();
        let Some(there) = self.connections.get_mut(connection) else { return Ok(None) };
        there.exposed.lease(&mut self.extents, self.driver.context(), len_bytes).map(Some)
    }

    /// What is out and not back: for whoever wants to know that nothing is lost. All zero, but for the receives of open
    /// connections, once users have let go of everything.
    pub fn outstanding(&mut self) -> Outstanding {
        Outstanding {
            connections: self.connections.len(),
            lines: self.lines.len(),
            outgoing: self.outgoing.len(),
            requests: self.requests.len(),
            receives: self.posted.len(),
            moves: self.moves.len(),
            frames: self.frames.stats().leases + self.bare.stats().leases,
            receive_leases: self.receives.stats().leases,
            pool_leases: self.pool.stats().leases + self.landing.stats().leases,
        }
    }

    /// Memory that peers may reach, and what of it waits for works or leases of connections that are gone.
    pub fn extents(&self) -> ExtentStats {
        self.extents.stats()
    }

    /// What this side of a connection knows of the frames that both may send. When nothing is on its way, what one side may
    /// send is what the other has granted.
    pub fn flow(&self, connection: ConnectionId) -> Option<Flow> {
        let connection = self.connections.get(connection.0)?;
        Some(Flow::new(&connection.credits, &connection.window))
    }

    /// Bytes of receive buffers that connections have.
    pub fn receive_bytes_leased(&mut self) -> u64 {
        self.receives.stats().leased_bytes
    }

    /// Stops at steps of the protocol: for tests.
    pub fn intercept(&mut self, interceptor: Option<Interceptor>) {
        self.interceptor = interceptor;
    }

    /// Whether an interceptor has stopped it.
    pub fn is_halted(&self) -> bool {
        self.halted
    }

    /// Polls the device, moves everything on, posts. Says when to be turned again; sooner if a line has something to say.
    pub fn turn(&mut self, now: Instant) -> Wake {
        self.spin(now);
        if self.halted {
            return Wake::Idle;
        }
        if !self.dirty.is_empty() || !self.returns.is_empty() {
            return Wake::Now;
        }
        // Not another turn of the driver: what that would take from the device, nobody would look at before the next one of ours.
        self.until(self.driver.rest())
    }

    /// A turn for whoever comes back at once: the device is not armed. Answers whether anything ended or came.
    pub fn spin(&mut self, now: Instant) -> bool {
        if self.halted {
            return false;
        }
        if self.has_lined_up() {
            // What was asked for since goes out before the device is polled, which takes a while on some.
            self.flush(now);
        }
        self.driver.spin(now);
        let any = self.settle(now);
        self.flush(now);
        any
    }

    /// Posts what was lined up since, without looking for what came.
    pub fn flush(&mut self, now: Instant) {
        self.settle_returns(now);
        self.pump_dirty(now);
        if !self.halted {
            self.driver.push(now);
        }
    }

    /// Takes what the device has said. Answers whether that was anything.
    fn settle(&mut self, now: Instant) -> bool {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        self.driver.take_outcomes(&mut outcomes);
        let mut any = !outcomes.is_empty();
        for outcome in &outcomes {
            self.ended(outcome, now);
        }
        self.outcomes = outcomes;
        while let Some(finished) = self.driver.take_finished() {
            any = true;
            self.moved(finished, now);
        }
        while let Some(event) = self.driver.take_event() {
            self.device_said(event, now);
        }
        self.expire(now);
        self.extents.sweep(self.driver.context());
        any
    }

    /// Whether something is to be done that the device does not know of: a turn, or a line asked for.
    pub fn has_work(&self) -> bool {
        self.has_lined_up() || !self.asks.is_empty()
    }

    fn has_lined_up(&self) -> bool {
        !self.dirty.is_empty() || !self.returns.is_empty()
    }

    /// When to be turned, given when the driver wants to be.
    fn until(&self, driver: Wake) -> Wake {
        let first = |deadlines: &Deadlines| deadlines.first().map(|(at, _)| at);
        let ours = [first(&self.timers), first(&self.line_timers), first(&self.deadlines)];
        let ours = ours.into_iter().flatten().min().unwrap_or(Instant::FAR);
        match driver {
            Wake::Now => Wake::Now,
            Wake::At(at) => Wake::At(at.min(ours)),
            Wake::Notified { until } => Wake::Notified { until: until.min(ours) },
            Wake::Idle if ours < Instant::FAR => Wake::At(ours),
            Wake::Idle => Wake::Idle,
        }
    }

    /// Passes a step: everything before it is out, and an interceptor may end it here.
    #[inline]
    fn pass(&mut self, step: Step, connection: Key, now: Instant) {
        if self.interceptor.is_some() && !self.halted {
            self.driver.push(now);
            if let Some(interceptor) = &mut self.interceptor
                && interceptor(step, ConnectionId(connection)) == Go::Halt
            {
                self.halted = true;
            }
        }
    }

    /// Makes sure that a connection is looked at before the turn ends.
    #[inline]
    fn mark(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(key);
        }
    }

    fn new_connection(&mut self, policy: Policy, state: State, now: Instant) -> Option<Key> {
        if self.connections.len() >= self.config.connections_max && !self.evict() {
            return None;
        }
        self.lives += 1;
        let life = life(self.us.instance, self.lives);
        self.connections.insert(Connection::new(policy, life, state, now))
    }

    fn finished_key(finished: &Finished) -> Key {
        Key::from_u64(finished.tag)
    }
}

/// See [`Messenger::outstanding`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub struct Outstanding {
    pub connections: u32,
    pub lines: u32,
    pub outgoing: u32,
    pub requests: u32,
    pub receives: u32,
    pub moves: u32,
    pub frames: u32,
    pub receive_leases: u32,
    pub pool_leases: u32,
}

/// A registered arena of local memory.
fn arena<C: RdmaOps>(driver: &mut Driver<C>, len_bytes: u64, granule_bytes: u64) -> Result<Arena, BindError> {
    let context = driver.context();
    let region = context.allocate(&RegionSpec { len_bytes, granule_bytes, ..RegionSpec::new(len_bytes) })?;
    let mr = context.register(&region, PdId::default(), Access::LOCAL)?;
    Ok(Arena::new(region, mr)?)
}

/// A number that no other connection of any process has, as far as instances differ. Never 0.
fn life(instance: InstanceId, count: u64) -> u64 {
    // SplitMix64's finisher: neighbours come out far apart, also in the low half that travels in every frame.
    let mut mixed = instance.get().wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ mixed >> 31).max(1)
}
