//! What a messenger is told: sizes, limits, times, thresholds.

use thiserror::Error;
use wavetank_engine::BackendKind;

use crate::frame::{FRONT_BYTES_MAX, HEADER_BYTES, SINK_BYTES};
use crate::hello::SILENCE_NS_MIN;

/// Shortest receive buffer that holds any frame without data.
pub const FRAME_BYTES_MIN: u32 = (HEADER_BYTES + SINK_BYTES + FRONT_BYTES_MAX) as u32;

/// How data travels when a message does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Data up to so many bytes travels with its message.
    pub eager_bytes_max: u64,
    /// Data in reach of the peer is written rather than read.
    pub prefer_write: bool,
}

impl Thresholds {
    /// As measured by `wavetank bench chunks`, eight calls at a time, on two cores with much else to do.
    ///
    /// Of 4 KiB, eager brings 1.3 (reads) to 1.7 (writes) times the bytes of rendezvous over UCX's tcp, and as many over shm. Of
    /// 8 KiB, with frames of 16 KiB, eager brings 1.6 times as many over tcp and 0.8 over shm. One number serves both, and a
    /// frame of 16 KiB would make an idle connection cost 64 KiB: so it is 4 KiB, and frames stay short.
    pub const fn of(backend: BackendKind) -> Thresholds {
        let eager_bytes_max = match backend {
            BackendKind::Mock | BackendKind::Verbs | BackendKind::Ucx => 4096,
        };
        Thresholds { eager_bytes_max, prefer_write: false }
    }
}

/// A messenger's settings. [`check`](MessengerConfig::check) says what is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessengerConfig {
    /// Who this is, in the application's numbering: of two peers that dial each other at once, the smaller one's call stands.
    pub name: u64,
    /// Bytes of a receive buffer: what travels eagerly with its header fits in here.
    pub frame_bytes: u32,
    /// Receives of an idle connection: at least 4. Times `frame_bytes`, this is what it costs; who has more gives them back when it
    /// is idle, where receives are shared, and otherwise as it uses them.
    pub credits: u32,
    /// Receives of a busy connection.
    pub window: u32,
    /// Longest data of a message that is taken.
    pub message_bytes_max: u64,
    /// Data of messages of one connection that are on their way in, or not let go of.
    pub landing_bytes_max: u64,
    /// Messages of one connection that wait to be sent, or to be acknowledged.
    pub queue_messages_max: u32,
    /// Requests of one connection that wait for a reply.
    pub requests_max: u32,
    /// Connections at a time, those being made included.
    pub connections_max: u32,
    /// Bytes for frames and data of this side's own use.
    pub pool_bytes: u64,
    /// Bytes for data that is fetched from peers, of all connections. Apart from the pool: two sides whose pools are full of what
    /// they send each other would have no room for it.
    pub landing_pool_bytes: u64,
    /// Bytes for receive buffers of all connections.
    pub receive_bytes: u64,
    /// Take the receives of all connections from shared queues, where the device has them.
    pub share_receives: bool,
    /// Bytes that peers may reach, of all connections.
    pub exposed_bytes_max: u64,
    /// How data travels.
    pub thresholds: Thresholds,
    /// How long a connection may take to be made.
    pub connect_ns: u64,
    /// A side that has said nothing for so long says that it lives; sooner where the peer is less patient: after a third of the
    /// peer's `silence_ns`, which peers tell each other.
    pub keepalive_ns: u64,
    /// A peer that has said nothing for so long is gone: at least a millisecond.
    pub silence_ns: u64,
    /// READs and WRITEs of data of which nothing has arrived for so long break the connection, however long the whole takes.
    /// Progress is a chunk (`DriverConfig::chunk_bytes`) that the device says is over, or several where not each is signalled: this
    /// has to be longer than the slowest path takes for a window of them.
    pub transfer_ns: u64,
    /// Acknowledgements wait for so long for a message to travel with.
    pub ack_delay_ns: u64,
    /// Between two attempts to connect again; doubles with each up to 32 times as much.
    pub backoff_ns: u64,
    /// How long a broken connection that repeats what was lost is tried, or waited for.
    pub give_up_ns: u64,
}

const MS: u64 = 1_000_000;

impl MessengerConfig {
    /// Settings for a backend.
    pub const fn new(name: u64, backend: BackendKind) -> MessengerConfig {
        MessengerConfig {
            name,
            frame_bytes: 8 << 10,
            credits: CREDITS_IDLE,
            window: 64,
            message_bytes_max: 64 << 20,
            landing_bytes_max: 128 << 20,
            queue_messages_max: 4096,
            requests_max: 4096,
            connections_max: 4096,
            pool_bytes: 128 << 20,
            landing_pool_bytes: 128 << 20,
            receive_bytes: 64 << 20,
            share_receives: true,
            exposed_bytes_max: 1 << 30,
            thresholds: Thresholds::of(backend),
            connect_ns: 5_000 * MS,
            keepalive_ns: 1_000 * MS,
            silence_ns: 5_000 * MS,
            transfer_ns: 10_000 * MS,
            ack_delay_ns: MS,
            backoff_ns: 10 * MS,
            give_up_ns: 60_000 * MS,
        }
    }

    /// Whether they can be.
    ///
    /// # Errors
    /// The first that cannot, with what would do.
    pub fn check(&self) -> Result<(), BadConfig> {
        let bad = |setting, value, why| Err(BadConfig { setting, value, why });
        if self.frame_bytes < FRAME_BYTES_MIN {
            return bad(
                "frame_bytes",
                self.frame_bytes.into(),
                "at least 1112: a header, a sink and a front",
            );
        }
        if self.credits < crate::credit::CREDITS_MIN {
            return bad("credits", self.credits.into(), "at least 4");
        }
        if self.window < self.credits || self.window > 1 << 16 {
            return bad("window", self.window.into(), "at least `credits`, at most 65536");
        }
        if self.message_bytes_max == 0 || self.message_bytes_max > 1 << 40 {
            return bad("message_bytes_max", self.message_bytes_max, "1 byte to 1 TiB");
        }
        if self.landing_bytes_max < self.message_bytes_max {
            return bad("landing_bytes_max", self.landing_bytes_max, "at least `message_bytes_max`");
        }
        let longest = self.message_bytes_max.next_power_of_two();
        if self.landing_pool_bytes < longest {
            return bad("landing_pool_bytes", self.landing_pool_bytes, "room for the longest message");
        }
        if self.exposed_bytes_max / 4 < longest {
            return bad(
                "exposed_bytes_max",
                self.exposed_bytes_max,
                "at least four times the longest message",
            );
        }
        if self.queue_messages_max == 0 || self.requests_max == 0 || self.connections_max == 0 {
            return bad("queue_messages_max, requests_max, connections_max", 0, "at least 1");
        }
        if self.pool_bytes < u64::from(self.frame_bytes) * 8 {
            return bad("pool_bytes", self.pool_bytes, "at least 8 frames");
        }
        if self.receive_bytes < u64::from(self.frame_bytes.next_power_of_two()) * u64::from(self.credits + 2)
        {
            return bad("receive_bytes", self.receive_bytes, "at least two frames more than `credits`");
        }
        if self.silence_ns < SILENCE_NS_MIN {
            return bad("silence_ns", self.silence_ns, "at least a millisecond");
        }
        if self.keepalive_ns == 0 || self.silence_ns <= self.keepalive_ns {
            return bad("silence_ns", self.silence_ns, "longer than `keepalive_ns`, which is not 0");
        }
        if self.connect_ns == 0 || self.transfer_ns == 0 || self.backoff_ns == 0 || self.give_up_ns == 0 {
            return bad("connect_ns, transfer_ns, backoff_ns, give_up_ns", 0, "at least 1");
        }
        Ok(())
    }
}

/// Receives of a connection that nobody has used yet.
const CREDITS_IDLE: u32 = 4;

/// A setting that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{setting} of {value} cannot be: it is {why}")]
pub struct BadConfig {
    /// Which.
    pub setting: &'static str,
    /// What it was.
    pub value: u64,
    /// What would do.
    pub why: &'static str,
}
