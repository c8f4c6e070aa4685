//! Calls on chunks: verified, and repeated where that is safe.
//!
//! Reads, and looking at a chunk, may be repeated at will. A write or removal has a number, under which the server applies it
//! once: it is sent again under that number for as long as nobody knows what became of it, and never again once this client
//! has told its caller. Where the server says that the data was damaged on the way, nothing was applied and the number is used
//! up, so the write goes on under another.

mod attempts;
mod numbers;
mod poison;
mod reading;
mod writing;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use wavetank_contract::Instant;
use wavetank_engine::{RdmaContext, RdmaOps};
use wavetank_messenger::{ConnectRefused, ConnectionId, LocalMessenger, Policy, SendReason, Way};

use crate::call::{Call, CallError, Carried, call};
use crate::chunk_calls::StatChunk;
use crate::chunk_server::CALL_NS_MAX;
use crate::codec::Outcome;
use crate::failure::{ChunkFailure, Effect, Failed};
use crate::key::ChunkKey;
use crate::store::ChunkStat;
use attempts::Attempts;
use numbers::Numbers;

pub use poison::POISON;
pub use reading::ChunkData;
pub use writing::WriteBuffer;

/// Whom a [`ChunkClient`] calls, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkClientConfig {
    /// Where the server is, as whoever carries the messenger's lines understands it.
    pub address: String,
    /// The server's name, if only that one will do.
    pub server: Option<u64>,
    /// The connection's. A lossy client fails fast and dials again with the next attempt; a lossless one repeats by itself.
    pub policy: Policy,
    /// Who writes: a number that no other client of the server has or will ever have, in this process or any other.
    pub writer: u64,
    /// How long one attempt may take.
    pub attempt_ns: u64,
    /// The pause after the first attempt. It doubles with each.
    pub pause_ns: u64,
    /// The longest pause.
    pub pause_ns_max: u64,
    /// How data of writes travels; `None` lets the messenger choose. For tests and measurements.
    pub way: Option<Way>,
}

impl ChunkClientConfig {
    /// The usual ones.
    pub fn new(address: &str, writer: u64) -> ChunkClientConfig {
        ChunkClientConfig {
            address: address.to_owned(),
            server: None,
            policy: Policy::LossyClient,
            writer,
            attempt_ns: 5_000_000_000,
            pause_ns: 1_000_000,
            pause_ns_max: 100_000_000,
            way: None,
        }
    }
}

/// Counts of a [`ChunkClient`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkClientStats {
    /// Calls that succeeded.
    pub calls: u64,
    /// Attempts that failed, whatever came of their calls.
    pub attempts_failed: u64,
    /// Data that came damaged, and that nobody saw.
    pub corrupt: u64,
    /// Connections that were dialled.
    pub dials: u64,
}

/// Calls one server. Clones are the same client. It dials by itself, again when it has to.
pub struct ChunkClient<C: RdmaOps + 'static = RdmaContext> {
    shared: Rc<Shared<C>>,
}

struct Shared<C: RdmaOps + 'static> {
    messenger: LocalMessenger<C>,
    config: ChunkClientConfig,
    connection: Cell<Option<ConnectionId>>,
    numbers: RefCell<Numbers>,
    stats: Cell<ChunkClientStats>,
}

impl<C: RdmaOps + 'static> Clone for ChunkClient<C> {
    fn clone(&self) -> ChunkClient<C> {
        ChunkClient { shared: Rc::clone(&self.shared) }
    }
}

impl<C: RdmaOps + 'static> fmt::Debug for ChunkClient<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkClient")
            .field("address", &self.shared.config.address)
            .field("connection", &self.shared.connection.get())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<C: RdmaOps + 'static> ChunkClient<C> {
    /// A client. It dials with its first call.
    pub fn new(messenger: LocalMessenger<C>, config: ChunkClientConfig) -> ChunkClient<C> {
        let numbers = RefCell::new(Numbers::new(config.writer));
        let (connection, stats) = (Cell::new(None), Cell::default());
        ChunkClient { shared: Rc::new(Shared { messenger, config, connection, numbers, stats }) }
    }

    /// Its messenger.
    pub fn messenger(&self) -> &LocalMessenger<C> {
        &self.shared.messenger
    }

    /// Counts.
    pub fn stats(&self) -> ChunkClientStats {
        self.shared.stats.get()
    }

    /// Closes the connection. The next call dials again.
    pub fn close(&self, text: &str) {
        if let Some(connection) = self.shared.connection.take() {
            self.shared.messenger.close(connection, text);
        }
    }

    /// How long a chunk is.
    ///
    /// # Errors
    /// [`ChunkFailure`], at the deadline at the latest.
    pub async fn stat(&self, key: ChunkKey, deadline: Instant) -> Result<ChunkStat, ChunkFailure> {
        let mut attempts = self.attempts(deadline);
        loop {
            let until = attempts.deadline(self.now());
            let attempt = async {
                let connection = self.connection()?;
                self.ask::<StatChunk, _>(connection, &key, Carried::default(), until).await
            };
            match attempt.await {
                Ok((stat, _)) => {
                    self.succeeded();
                    return Ok(stat);
                }
                Err(failed) => {
                    let repeats = failed.may_be_repeated();
                    self.again(&mut attempts, failed, repeats).await.map_err(harmless)?;
                }
            }
        }
    }

    fn now(&self) -> Instant {
        self.shared.messenger.now()
    }

    fn count(&self, change: impl FnOnce(&mut ChunkClientStats)) {
        let mut stats = self.shared.stats.get();
        change(&mut stats);
        self.shared.stats.set(stats);
    }

    fn succeeded(&self) {
        self.count(|stats| stats.calls += 1);
    }

    fn attempts(&self, deadline: Instant) -> Attempts {
        // The server's memory of writes is as long as that.
        Attempts::new(&self.shared.config, deadline.min(self.now() + CALL_NS_MAX))
    }

    async fn again(
        &self,
        attempts: &mut Attempts,
        failed: Failed,
        repeats: bool,
    ) -> Result<(), ChunkFailure> {
        self.count(|stats| stats.attempts_failed += 1);
        attempts.again(&self.shared.messenger, failed, repeats).await
    }

    /// The connection, dialled if there is none. What is sent on it waits until it is there.
    fn connection(&self) -> Result<ConnectionId, ConnectRefused> {
        let Shared { messenger, config, connection, .. } = &*self.shared;
        if let Some(there) = connection.get()
            && messenger.with(|messenger| messenger.connection_stats(there).is_some())
        {
            return Ok(there);
        }
        // Who waits for it is told by what is sent on it.
        let (dialled, _) = messenger.connect(&config.address, config.server, config.policy)?;
        connection.set(Some(dialled));
        self.count(|stats| stats.dials += 1);
        Ok(dialled)
    }

    /// One attempt, and what was answered.
    async fn ask<K, T>(
        &self,
        connection: ConnectionId,
        request: &K::Request,
        carried: Carried,
        deadline: Instant,
    ) -> Result<(T, wavetank_messenger::Incoming), Failed>
    where
        K: Call<Reply = Outcome<T>>,
    {
        let answered = call::<K, C>(&self.shared.messenger, connection, request, carried, deadline).await;
        if let Err(CallError::NotSent(SendReason::Closing(_) | SendReason::Unknown(_))) = answered {
            self.shared.connection.set(None);
        }
        let answered = answered?;
        Ok((answered.reply?, answered.message))
    }
}

impl From<ConnectRefused> for Failed {
    fn from(refused: ConnectRefused) -> Failed {
        Failed::Call(refused.into())
    }
}

/// Reading changes nothing, whatever became of it.
fn harmless(failure: ChunkFailure) -> ChunkFailure {
    ChunkFailure { effect: Effect::None, ..failure }
}
