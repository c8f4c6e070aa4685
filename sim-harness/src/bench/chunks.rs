//! ReadChunk and WriteChunk between two processes, each a messenger over one device: what a client has of its data, verified.
//! Both poll, and neither ever sleeps. And over the simulated NIC, both sides on one core.

mod sim;

use std::future::Future;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde::{Deserialize, Serialize};
use wavetank_contract::Instant;
use wavetank_engine::bootstrap::InstanceId;
use wavetank_engine::{BackendKind, Driver, DriverConfig, RdmaContext};
use wavetank_messenger::{Deaf, LocalMessenger, Messenger, MessengerConfig, Policy, Way};
use wavetank_rpc::{
    AppliedLimits, ChunkClient, ChunkClientConfig, ChunkFailure, ChunkKey, ChunkServer, ChunkServerConfig,
    MemoryStore, StoreLimits,
};

use super::across::Side;
use super::median;
use super::pair::PairError;
use super::socket_line::SocketLine;
use crate::lab::RealTime;

pub use sim::{SimChunks, sim_chunks};

/// Turns between two looks at the socket.
const PATIENT_TURNS: u32 = 256;

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChunkCall {
    /// ReadChunk.
    Read,
    /// WriteChunk.
    Write,
}

impl ChunkCall {
    /// As it is asked for.
    pub const fn name(self) -> &'static str {
        match self {
            ChunkCall::Read => "read",
            ChunkCall::Write => "write",
        }
    }
}

/// How data travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Travel {
    /// With its message.
    Eager,
    /// By READ or WRITE.
    Rendezvous,
    /// As the messenger chooses.
    Auto,
}

impl Travel {
    /// All of them.
    pub const ALL: [Travel; 3] = [Travel::Eager, Travel::Rendezvous, Travel::Auto];

    /// As it is asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Travel::Eager => "eager",
            Travel::Rendezvous => "rendezvous",
            Travel::Auto => "auto",
        }
    }

    /// A reply's way, and a request's.
    fn way(self, call: ChunkCall) -> Option<Way> {
        match (self, call) {
            (Travel::Auto, _) => None,
            (Travel::Eager, _) => Some(Way::Eager),
            (Travel::Rendezvous, ChunkCall::Read) => Some(Way::Sink),
            (Travel::Rendezvous, ChunkCall::Write) => Some(Way::Read),
        }
    }
}

/// What is measured: both sides are told the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// What is called.
    pub call: ChunkCall,
    /// How data travels.
    pub travel: Travel,
    /// Bytes of each call.
    pub bytes: u32,
    /// Calls under way at a time.
    pub depth: u32,
    /// Calls that count.
    pub count: u32,
    /// Bytes of a receive buffer; 0 for those of the configuration.
    pub frame_bytes: u32,
}

impl Chunks {
    /// Whether data can travel with its message: a frame has its header, a sink and a front beside it.
    pub fn fits(&self, backend: BackendKind) -> bool {
        let frame_bytes = self.config(1, backend).frame_bytes;
        self.travel != Travel::Eager || self.bytes + 256 <= frame_bytes
    }

    fn config(&self, name: u64, backend: BackendKind) -> MessengerConfig {
        let config = MessengerConfig::new(name, backend);
        match self.frame_bytes {
            0 => config,
            frame_bytes => MessengerConfig { frame_bytes, ..config },
        }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkFigures {
    /// The median of calls.
    pub median_ns: f64,
    /// Bytes that clients had, or that servers had applied, in a second.
    pub bytes_per_s: f64,
}

fn said(error: &dyn std::fmt::Display) -> PairError {
    PairError(error.to_string())
}

fn store() -> MemoryStore {
    let limits = StoreLimits { call_bytes_max: 64 << 20, ..StoreLimits::default() };
    MemoryStore::new(limits, AppliedLimits::default())
}

/// One side: a messenger, its line, and time.
struct Station {
    messenger: LocalMessenger,
    line: SocketLine,
    time: RealTime,
    limit: Instant,
}

impl Station {
    /// Polls until a future is over, or there is nobody at the other end any more.
    fn run<T>(&mut self, until: impl Future<Output = T>) -> Result<Option<T>, PairError> {
        let mut until = pin!(until);
        let mut context = Context::from_waker(Waker::noop());
        let mut idle = 0;
        loop {
            let now = self.time.now();
            self.messenger.spin(now);
            if let Poll::Ready(value) = until.as_mut().poll(&mut context) {
                self.messenger.with(|messenger| messenger.flush(now));
                return Ok(Some(value));
            }
            idle += 1;
            if idle == PATIENT_TURNS {
                idle = 0;
                self.messenger.with(|messenger| self.line.carry(messenger, now))?;
                if now >= self.limit {
                    return Err(PairError("it was not over in time".to_owned()));
                }
                if self.line.over {
                    return Ok(None);
                }
            }
        }
    }
}

/// Calls, or answers one that does. `patience_ns` is how long the whole of it may take.
///
/// # Errors
/// Whatever fails, and time that is up.
pub fn chunks(
    context: RdmaContext,
    backend: BackendKind,
    side: Side,
    chunks: &Chunks,
    stream: UnixStream,
    patience_ns: u64,
) -> Result<Option<ChunkFigures>, PairError> {
    let time = RealTime::start();
    let line = SocketLine::new(stream)?;
    let name = if side == Side::Client { 1 } else { 2 };
    let Some(instance) = InstanceId::new(name) else { unreachable!("neither is 0") };
    let driver = Driver::new(context, DriverConfig::default());
    let config = chunks.config(name, backend);
    let messenger = Messenger::new(driver, backend, instance, config).map_err(|error| said(&error))?;
    let limit = time.now() + patience_ns;
    if side == Side::Server {
        let way = chunks.travel.way(chunks.call).filter(|_| chunks.call == ChunkCall::Read);
        let server = ChunkServer::new(store(), ChunkServerConfig { way, ..ChunkServerConfig::default() });
        let messenger = LocalMessenger::new(messenger, server.services());
        messenger.bind(Some(Policy::StatelessServer));
        Station { messenger, line, time, limit }.run(std::future::pending::<()>())?;
        return Ok(None);
    }
    let messenger = LocalMessenger::new(messenger, Deaf);
    let way = chunks.travel.way(chunks.call).filter(|_| chunks.call == ChunkCall::Write);
    let config = ChunkClientConfig { way, ..ChunkClientConfig::new("", 1) };
    let client = ChunkClient::new(messenger.clone(), config);
    let mut one = Station { messenger, line, time, limit };
    let ended = || PairError("the server ended first".to_owned());
    let (took_ns, all_ns) = one
        .run(async {
            prepare(&client, chunks).await?;
            calls(&client, chunks, (chunks.count / 10).max(chunks.depth), &time).await?;
            let begun = time.now();
            let took_ns = calls(&client, chunks, chunks.count, &time).await?;
            Ok::<_, ChunkFailure>((took_ns, time.now().since_ns(begun)))
        })?
        .ok_or_else(ended)?
        .map_err(|failure| said(&failure))?;
    client.close("done");
    // Until the server has it; it ends then.
    one.run(std::future::pending::<()>())?;
    let bytes = f64::from(chunks.bytes) * f64::from(chunks.count);
    Ok(Some(ChunkFigures { median_ns: median(took_ns), bytes_per_s: bytes * 1e9 / all_ns.max(1) as f64 }))
}

/// A chunk of its own for each call that is under way at a time.
async fn prepare(client: &ChunkClient, chunks: &Chunks) -> Result<(), ChunkFailure> {
    let bytes: Vec<u8> = (0..chunks.bytes).map(|at| (at.wrapping_mul(7) ^ at >> 8) as u8).collect();
    for index in 0..chunks.depth {
        client.write_bytes(ChunkKey { inode: 1, index }, 0, &bytes, false, Instant::FAR).await?;
    }
    Ok(())
}

async fn one_call(client: &ChunkClient, chunks: &Chunks, index: u32) -> Result<(), ChunkFailure> {
    let key = ChunkKey { inode: 1, index };
    match chunks.call {
        ChunkCall::Read => client.read(key, 0, chunks.bytes, Instant::FAR).await.map(drop),
        ChunkCall::Write => loop {
            // Memory comes back with a turn, so that it may have to be asked for again.
            match client.buffer(chunks.bytes) {
                Ok(buffer) => return client.write(key, 0, buffer, false, Instant::FAR).await,
                Err(_) => client.messenger().sleep_until(client.messenger().now() + 1000).await,
            }
        },
    }
}

/// Calls, so many at a time; what each took.
async fn calls(
    client: &ChunkClient,
    chunks: &Chunks,
    count: u32,
    time: &RealTime,
) -> Result<Vec<f64>, ChunkFailure> {
    let mut took_ns = Vec::with_capacity(count as usize);
    let mut under_way = FuturesUnordered::new();
    let mut free: Vec<u32> = (0..chunks.depth).collect();
    let mut begun = 0;
    while begun < count || !under_way.is_empty() {
        while begun < count
            && let Some(index) = free.pop()
        {
            begun += 1;
            under_way.push(async move {
                let since = time.now();
                one_call(client, chunks, index).await?;
                Ok::<_, ChunkFailure>((index, time.now().since_ns(since) as f64))
            });
        }
        if let Some(done) = under_way.next().await {
            let (index, ns) = done?;
            free.push(index);
            took_ns.push(ns);
        }
    }
    Ok(took_ns)
}
