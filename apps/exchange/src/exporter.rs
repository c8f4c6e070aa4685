//! The exporter: an engine's volumes, for peers to read.

mod gate;
mod serving;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use wavetank_contract::Instant;
use wavetank_engine::RdmaOps;
use wavetank_messenger::{ConnectionId, LocalMessenger};
use wavetank_rpc::Services;
use wavetank_volume::NeedleId;

use crate::admission::{Nonces, SharedKey};
use crate::calls::{Catalogue, Challenge, Prove, ReachSegment, ReadNeedle, Which};
use crate::segments::{Lie, SegmentConfig, SegmentStats, Segments};
use crate::shelf::Shelf;
pub use gate::Gate;
use gate::Visitor;

/// How an exporter serves.
#[derive(Clone, Debug)]
pub struct ExporterConfig {
    /// The key that readers have to have. `None`: whoever reaches the engine may read.
    pub key: Option<SharedKey>,
    /// Bytes that one call may push.
    pub push_bytes_max: u64,
    /// Bytes of replies that wait for one connection. Beyond, its calls are answered as busy.
    pub waiting_bytes_max: u64,
    /// Segments, for readers that pull.
    pub segments: SegmentConfig,
    /// How often the files are looked at: what was pulled may be older than what is in the files by so much, and no more.
    pub follow_ns: u64,
    /// The time of this process's clock at 0, in Unix nanoseconds: for needles that expire.
    pub unix_ns_at_zero: u64,
}

impl Default for ExporterConfig {
    fn default() -> ExporterConfig {
        ExporterConfig {
            key: None,
            push_bytes_max: 8 << 20,
            waiting_bytes_max: 32 << 20,
            segments: SegmentConfig::default(),
            follow_ns: 50_000_000,
            unix_ns_at_zero: 0,
        }
    }
}

/// Counts of an [`Exporter`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExporterStats {
    /// Connections that were let in.
    pub admitted: u64,
    /// Proofs that were none.
    pub refused: u64,
    /// Calls on connections that were not let in, and that nobody answered.
    pub unheard: u64,
    /// Reads answered with data.
    pub pushes: u64,
    /// Bytes of them.
    pub push_bytes: u64,
    /// Reads answered with a length, because the memory for them was too short.
    pub sizes: u64,
    /// Reads of needles that are not there to be read.
    pub absent: u64,
    /// Reads answered as busy.
    pub busy: u64,
    /// Grants.
    pub grants: u64,
    /// Times that volumes were found changed.
    pub changes: u64,
}

/// Needles that were asked for once, and when: those asked for again are worth a place in a segment.
const ASKED_MAX: usize = 1 << 14;

/// Serves the volumes of a shelf.
pub struct Exporter<S> {
    shelf: S,
    config: ExporterConfig,
    /// Instead of the one in `config`: it may change.
    key: RefCell<Option<SharedKey>>,
    nonces: RefCell<Nonces>,
    visitors: RefCell<BTreeMap<ConnectionId, Visitor>>,
    segments: RefCell<Segments>,
    asked: RefCell<BTreeMap<(u32, NeedleId), (Which, Instant)>>,
    stats: Cell<ExporterStats>,
}

impl<S> fmt::Debug for Exporter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("stats", &self.stats.get()).finish_non_exhaustive()
    }
}

impl<S: Shelf> Exporter<S> {
    /// An exporter. It serves once its [`gate`](Self::gate) is a messenger's dispatcher, and sees what is written to the files for
    /// as long as its [`upkeep`](Self::upkeep) runs.
    pub fn new(shelf: S, config: ExporterConfig, nonces: Nonces) -> Rc<Exporter<S>> {
        if config.key.is_none() {
            tracing::warn!("volumes are exported without a key: whoever reaches this engine may read them");
        }
        let segments = RefCell::new(Segments::new(config.segments));
        let key = RefCell::new(config.key.clone());
        Rc::new(Exporter {
            shelf,
            key,
            config,
            nonces: RefCell::new(nonces),
            visitors: RefCell::default(),
            segments,
            asked: RefCell::default(),
            stats: Cell::default(),
        })
    }

    /// Wants another key from now on, or none. Who was let in already is not asked again.
    pub fn set_key(&self, key: Option<SharedKey>) {
        if key.is_none() && self.key.borrow().is_some() {
            tracing::warn!(
                "volumes are exported without a key now: whoever reaches this engine may read them"
            );
        }
        *self.key.borrow_mut() = key;
    }

    /// Its services, to which others may be added.
    pub fn services<C: RdmaOps + 'static>(self: &Rc<Self>) -> Services<C> {
        Services::new()
            .with::<Challenge>(Rc::clone(self))
            .with::<Prove>(Rc::clone(self))
            .with::<Catalogue>(Rc::clone(self))
            .with::<ReadNeedle>(Rc::clone(self))
            .with::<ReachSegment>(Rc::clone(self))
    }

    /// A dispatcher that lets only those peers through to services that were let in.
    pub fn gate<C: RdmaOps + 'static>(self: &Rc<Self>, services: Services<C>) -> Gate<S, C> {
        Gate::new(Rc::clone(self), services)
    }

    /// The shelf.
    pub fn shelf(&self) -> &S {
        &self.shelf
    }

    /// How it serves.
    pub fn config(&self) -> &ExporterConfig {
        &self.config
    }

    /// Counts.
    pub fn stats(&self) -> ExporterStats {
        self.stats.get()
    }

    /// How its segments are used.
    pub fn segment_stats(&self) -> SegmentStats {
        self.segments.borrow().stats()
    }

    /// Plants a lie, for tests that have to find it.
    #[doc(hidden)]
    pub fn plant(&self, lie: Lie) {
        self.segments.borrow_mut().plant(lie);
    }

    /// Takes up what was written to the files, and ends the keys of connections that are gone. [`upkeep`](Self::upkeep) calls it.
    pub fn look_after<C: RdmaOps + 'static>(&self, messenger: &LocalMessenger<C>) {
        let changed = self.shelf.refresh();
        let mut segments = self.segments.borrow_mut();
        for volume in changed {
            self.count(|stats| stats.changes += 1);
            segments.retain(volume, |id, which| self.shelf.is_current(volume, id, which));
        }
        messenger.with(|messenger| {
            let lives = |connection| messenger.ends(connection).map(|ends| ends.lives);
            let there: BTreeMap<ConnectionId, u32> = messenger
                .connections()
                .filter_map(|connection| Some((connection, lives(connection)?)))
                .collect();
            segments.part(messenger.driver().context(), |connection, lives| {
                there.get(&connection) == Some(&lives)
            });
            self.visitors.borrow_mut().retain(|connection, _| there.contains_key(connection));
        });
    }

    /// Looks after files and connections again and again: a task of the messenger's thread, which keeps the messenger until its
    /// tasks are dropped.
    pub async fn upkeep<C: RdmaOps + 'static>(self: Rc<Self>, messenger: LocalMessenger<C>) {
        loop {
            self.look_after(&messenger);
            messenger.sleep_until(messenger.now() + self.config.follow_ns).await;
        }
    }

    fn unix_ns(&self, now: Instant) -> u64 {
        self.config.unix_ns_at_zero.saturating_add(now.0)
    }

    fn count(&self, change: impl FnOnce(&mut ExporterStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    /// Whether a needle was asked for within the window; it is from now on.
    fn is_hot(&self, volume: u32, id: NeedleId, which: Which, now: Instant) -> bool {
        let mut asked = self.asked.borrow_mut();
        let hot = asked.get(&(volume, id)).is_some_and(|(before, at)| {
            *before == which && now.0.saturating_sub(at.0) <= self.config.segments.window_ns
        });
        if asked.len() >= ASKED_MAX && !asked.contains_key(&(volume, id)) {
            // All at once: who is asked for often is back soon.
            asked.clear();
        }
        asked.insert((volume, id), (which, now));
        hot
    }
}
