//! Answers calls on chunks from a store.

mod upkeep;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use async_trait::async_trait;
use wavetank_contract::{Instant, Lease};
use wavetank_engine::RdmaOps;
use wavetank_messenger::{Data, Way};

use crate::chunk_calls::{ReadChunk, RemoveChunk, StatChunk, WriteChunk};
use crate::codec::{Outcome, ReadCall, ReadReply};
use crate::error::ChunkError;
use crate::key::ChunkKey;
use crate::service::{Answer, Asked, Service, Services};
use crate::store::{ChunkStat, ChunkStore, RemoveOrder, WriteOrder};

/// No client goes on repeating a call for longer than this. A server forgets a writer only when it has not been heard from for
/// twice as long, which leaves as much for what is under way.
pub const CALL_NS_MAX: u64 = 600_000_000_000;

/// Writers whose silence is watched. More than any store remembers, so that the limit is the store's.
const WATCHED_MAX: usize = 1 << 16;

/// Policy of a [`ChunkServer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkServerConfig {
    /// Longest read. Memory for it is leased before the store is asked.
    pub read_bytes_max: u32,
    /// Calls that wait for the store at a time. More are answered with [`ChunkError::Busy`].
    pub waiting_max: u32,
    /// How replies to reads travel; `None` lets the messenger choose. For tests and measurements.
    pub way: Option<Way>,
    /// How often what was written is made durable, so that little is lost with the power.
    pub flush_ns: u64,
    /// How long a writer may be silent before it is forgotten, and how long those of before a restart are waited for.
    pub silence_ns: u64,
}

impl Default for ChunkServerConfig {
    fn default() -> ChunkServerConfig {
        ChunkServerConfig {
            read_bytes_max: 64 << 20,
            waiting_max: 1024,
            way: None,
            flush_ns: 1_000_000_000,
            silence_ns: 2 * CALL_NS_MAX,
        }
    }
}

/// Counts of a [`ChunkServer`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkServerStats {
    /// Reads answered with data.
    pub reads: u64,
    /// Bytes of them.
    pub read_bytes: u64,
    /// Writes answered as applied, repeats included.
    pub writes: u64,
    /// Bytes of them.
    pub write_bytes: u64,
    /// Calls answered with an error.
    pub failures: u64,
    /// Of these, those that were answered as busy.
    pub busy: u64,
    /// Writers that were forgotten after a long silence.
    pub retired: u64,
    /// Times that what was written could not be made durable.
    pub flush_failures: u64,
}

/// Serves the chunks of a store.
pub struct ChunkServer<S> {
    store: S,
    config: ChunkServerConfig,
    waiting: Cell<u32>,
    stats: Cell<ChunkServerStats>,
    /// When writers were last heard from.
    heard: RefCell<BTreeMap<u64, Instant>>,
}

impl<S> fmt::Debug for ChunkServer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkServer").field("stats", &self.stats.get()).finish_non_exhaustive()
    }
}

/// A call in service; dropped, it is over.
struct Serving<'a>(&'a Cell<u32>);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<S: ChunkStore + 'static> ChunkServer<S> {
    /// Serves a store. Nothing happens before its services are a messenger's dispatcher.
    pub fn new(store: S, config: ChunkServerConfig) -> Rc<ChunkServer<S>> {
        Rc::new(ChunkServer {
            store,
            config,
            waiting: Cell::new(0),
            stats: Cell::default(),
            heard: RefCell::default(),
        })
    }

    /// Its services: a dispatcher, to which others may be added.
    pub fn services<C: RdmaOps + 'static>(self: &Rc<Self>) -> Services<C> {
        Services::new()
            .with::<ReadChunk>(Rc::clone(self))
            .with::<WriteChunk>(Rc::clone(self))
            .with::<RemoveChunk>(Rc::clone(self))
            .with::<StatChunk>(Rc::clone(self))
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Counts.
    pub fn stats(&self) -> ChunkServerStats {
        self.stats.get()
    }

    fn count(&self, change: impl FnOnce(&mut ChunkServerStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    fn enter(&self) -> Outcome<Serving<'_>> {
        if self.waiting.get() >= self.config.waiting_max {
            return Err(ChunkError::Busy);
        }
        self.waiting.set(self.waiting.get() + 1);
        Ok(Serving(&self.waiting))
    }

    fn told<T>(&self, outcome: Outcome<T>) -> Answer<Outcome<T>> {
        if let Err(error) = &outcome {
            self.count(|stats| {
                stats.failures += 1;
                stats.busy += u64::from(*error == ChunkError::Busy);
            });
        }
        Answer::of(outcome)
    }

    /// A writer is there. Only of writes that the store remembers, so that there are no more than it remembers.
    fn hear(&self, writer: u64, now: Instant, outcome: Outcome<()>) {
        let remembered = match outcome {
            Ok(()) => true,
            Err(error) => matches!(
                error,
                ChunkError::NoSpace { .. }
                    | ChunkError::ReadOnly
                    | ChunkError::NotFound
                    | ChunkError::CorruptAtRest { .. }
                    | ChunkError::CorruptOnTheWay { .. }
                    | ChunkError::ConflictingId
            ),
        };
        let mut heard = self.heard.borrow_mut();
        if remembered && (heard.len() < WATCHED_MAX || heard.contains_key(&writer)) {
            heard.insert(writer, now);
        }
    }

    async fn read<C: RdmaOps + 'static>(&self, asked: &Asked<C>, read: &ReadCall) -> Outcome<(u32, Lease)> {
        let ReadCall { key, offset, len_bytes } = *read;
        let (asked_bytes, limit_bytes) = (u64::from(len_bytes), u64::from(self.config.read_bytes_max));
        if len_bytes == 0 {
            return Err(ChunkError::Empty);
        }
        if asked_bytes > limit_bytes {
            return Err(ChunkError::TooLarge { asked_bytes, limit_bytes });
        }
        let _serving = self.enter()?;
        // Not exposed memory: what the sum was made of stays as it is until it has left.
        let lease = asked.messenger.lease(asked_bytes).map_err(|_| ChunkError::Busy)?;
        let crc32c = self.store.read(key, offset, len_bytes, &lease, 0).await?;
        Ok((crc32c, lease))
    }

    async fn write<C: RdmaOps + 'static>(&self, asked: &Asked<C>, order: &WriteOrder) -> Outcome<()> {
        let _serving = self.enter()?;
        match asked.data() {
            None if order.len_bytes == 0 => Err(ChunkError::Empty),
            Some((lease, at, len)) if len == u64::from(order.len_bytes) => {
                self.store.write(order, lease, at).await
            }
            // The message says something else than the call.
            _ => Err(ChunkError::Malformed),
        }
    }
}

#[async_trait(?Send)]
impl<S: ChunkStore + 'static, C: RdmaOps + 'static> Service<ReadChunk, C> for ChunkServer<S> {
    async fn serve(self: Rc<Self>, asked: Asked<C>, read: ReadCall) -> Answer<Outcome<ReadReply>> {
        match self.read(&asked, &read).await {
            Ok((crc32c, lease)) => {
                let len_bytes = read.len_bytes;
                self.count(|stats| {
                    stats.reads += 1;
                    stats.read_bytes += u64::from(len_bytes);
                });
                let reply = Ok(ReadReply::Placed { len_bytes, crc32c });
                Answer { reply, data: Some(Data::first(lease, len_bytes.into())), way: self.config.way }
            }
            Err(error) => self.told(Err(error)),
        }
    }
}

#[async_trait(?Send)]
impl<S: ChunkStore + 'static, C: RdmaOps + 'static> Service<WriteChunk, C> for ChunkServer<S> {
    async fn serve(self: Rc<Self>, asked: Asked<C>, order: WriteOrder) -> Answer<Outcome<()>> {
        let outcome = self.write(&asked, &order).await;
        self.hear(order.once.id.writer, asked.messenger.now(), outcome);
        if outcome.is_ok() {
            self.count(|stats| {
                stats.writes += 1;
                stats.write_bytes += u64::from(order.len_bytes);
            });
        }
        self.told(outcome)
    }
}

#[async_trait(?Send)]
impl<S: ChunkStore + 'static, C: RdmaOps + 'static> Service<RemoveChunk, C> for ChunkServer<S> {
    async fn serve(self: Rc<Self>, asked: Asked<C>, order: RemoveOrder) -> Answer<Outcome<()>> {
        let outcome = match self.enter() {
            Ok(_serving) => self.store.remove(&order).await,
            Err(busy) => Err(busy),
        };
        self.hear(order.once.id.writer, asked.messenger.now(), outcome);
        self.told(outcome)
    }
}

#[async_trait(?Send)]
impl<S: ChunkStore + 'static, C: RdmaOps + 'static> Service<StatChunk, C> for ChunkServer<S> {
    async fn serve(self: Rc<Self>, _asked: Asked<C>, key: ChunkKey) -> Answer<Outcome<ChunkStat>> {
        let outcome = match self.enter() {
            Ok(_serving) => self.store.stat(key).await,
            Err(busy) => Err(busy),
        };
        self.told(outcome)
    }
}
