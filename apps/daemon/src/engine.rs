//! The engine put together: a device or the tank, messengers, what is exported, what reads, and the socket for clients.

mod figures;
mod parts;

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::rc::Rc;

use thiserror::Error;
use wavetank_contract::error::AllocError;
use wavetank_contract::{Instant, Others, Pages, Region, SharedError, SharedMemory};
use wavetank_engine::bootstrap::{BootstrapError, InstanceId};
use wavetank_engine::memory::{Arena, MemoryError};
use wavetank_engine::{
    BackendKind, Driver, DriverConfig, OpenDeviceError, PortConfig, RdmaContext, RdmaOps as _,
};
use wavetank_exchange::{
    Exporter, ExporterConfig, Home, LocalHome, Mode, Nonces, PeerConfig, Reader, ReaderConfig, SegmentConfig,
    StoreShelf,
};
use wavetank_messenger::{
    BindError, Deaf, Dispatcher, LocalMessenger, Messenger, MessengerConfig, Policy, TcpCarrier, TcpConfig,
};
use wavetank_volume::{OpenOptions, Store, StoreDirectory};

use crate::config::EngineConfig;
use crate::ipc::{Admitted, ClientLimits, DoorConfig, DoorError, Server, ServerConfig};
use crate::meters::Meters;
use crate::reading::Reading;
use crate::reads::About;
use crate::settings::WaySetting;
#[cfg(feature = "mock")]
use crate::tank::Tank;
pub use parts::Parts;

/// Longest data of one message, where memory allows: what a needle travels in.
const MESSAGE_BYTES_MAX: u64 = 64 << 20;

/// Time, from the beginning of the engine on, and what it was then.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: tokio::time::Instant,
    unix_ns_at_zero: u64,
}

impl Clock {
    /// From now on.
    pub fn begin() -> Clock {
        let unix = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let ns = |time: rustix::time::Timespec| {
            u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
        };
        Clock { began: tokio::time::Instant::now(), unix_ns_at_zero: ns(unix) }
    }

    /// The time.
    pub fn now(&self) -> Instant {
        Instant(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Unix nanoseconds at its zero.
    pub fn unix_ns_at_zero(&self) -> u64 {
        self.unix_ns_at_zero
    }
}

/// Why an engine does not begin.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] OpenDeviceError),
    /// Its memory cannot be had.
    #[error("buffer-size: {0}")]
    Shared(#[from] SharedError),
    /// Part of it cannot be used.
    #[error("buffer-size: {0}")]
    Region(#[from] AllocError),
    /// Part of it cannot be used.
    #[error("buffer-size: {0}")]
    Memory(#[from] MemoryError),
    /// The messenger cannot be.
    #[error(transparent)]
    Messenger(#[from] BindError),
    /// No random numbers.
    #[error(transparent)]
    Instance(#[from] BootstrapError),
    /// Other engines cannot call.
    #[error("listen: {address}: {why}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system said.
        why: io::Error,
    },
    /// The device's descriptor cannot be watched.
    #[error("the device cannot be watched: {0}")]
    Watch(#[source] io::Error),
    /// Local programs cannot call.
    #[error("ipc-socket: {0}")]
    Door(#[from] DoorError),
}

/// What turns everything.
enum Loop {
    Device(Box<TcpCarrier>),
    #[cfg(feature = "mock")]
    Tank(Box<Tank>),
}

/// See the module. It lives on one thread, on a `LocalSet`.
pub struct Engine {
    turning: Loop,
    parts: Rc<Parts>,
    clock: Clock,
    spin: std::time::Duration,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({:?})", self.parts)
    }
}

/// Tasks of a messenger have it, and it has them: neither would end, nor the device be closed.
impl Drop for Engine {
    fn drop(&mut self) {
        match &self.turning {
            Loop::Device(carrier) => carrier.messenger().drop_tasks(),
            #[cfg(feature = "mock")]
            Loop::Tank(tank) => tank.messengers().iter().for_each(LocalMessenger::drop_tasks),
        }
    }
}

/// Memory that is shared with local programs: half of it is for what peers write, the other half for what this side reads itself.
struct Memory {
    shared: SharedMemory,
    exposed: Region,
    scratch: Rc<RefCell<Arena>>,
}

impl Memory {
    fn new(config: &EngineConfig) -> Result<Memory, OpenError> {
        let pages = if config.huge_pages { Pages::Huge } else { Pages::Plain };
        let shared = SharedMemory::create("wavetank-arena", config.buffer_bytes, Others::Read, pages)?;
        if shared.pages().is_short() {
            tracing::warn!(pages = ?shared.pages(), "no huge pages for the buffer");
        }
        let half = shared.len() / 2;
        let whole = shared.region(half)?;
        let part = |at| match whole.lease(at, half) {
            Some(lease) => Region::within(lease, 4096).map_err(OpenError::from),
            None => Err(MemoryError::RegionInUse { leases: whole.live_leases() }.into()),
        };
        let scratch = Arena::unregistered(part(half)?)?;
        Ok(Memory { exposed: part(0)?, scratch: Rc::new(RefCell::new(scratch)), shared })
    }
}

fn nonces() -> Nonces {
    Box::new(|| {
        let mut nonce = [0; 32];
        if getrandom::fill(&mut nonce).is_err() {
            // Without entropy nobody is let in: a proof of a nonce that is used twice would be worth nothing.
            tracing::error!("the system gives no random numbers; stop this engine");
        }
        nonce
    })
}

impl Engine {
    /// Opens everything.
    ///
    /// # Errors
    /// [`OpenError`], naming the setting that is to blame.
    pub async fn open(config: &EngineConfig, meters: Meters) -> Result<Engine, OpenError> {
        let clock = Clock::begin();
        let memory = Memory::new(config)?;
        let exporter = exporter(config, clock)?;
        let (turning, reader, device) = match config.backend {
            #[cfg(feature = "mock")]
            BackendKind::Mock => in_tank(config, &memory, exporter.as_ref(), clock)?,
            _ => on_device(config, &memory, exporter.as_ref(), clock).await?,
        };
        let limits = ClientLimits {
            sessions_max: config.sessions_max as usize,
            loan_bytes_max: config.buffer_bytes / 4,
            session_ns_max: u64::try_from(config.session_timeout.as_nanos()).unwrap_or(u64::MAX),
            ..ClientLimits::default()
        };
        let about = About {
            device,
            backend: config.backend.name().to_owned(),
            simulated: config.backend == BackendKind::Mock,
            transfer_bytes_max: message_bytes_max(config),
            vendor_id: 0,
            port_gid: String::new(),
            port_lid: 0,
        };
        let time = move || clock.now();
        let reading =
            Reading::new(reader, memory.shared, memory.scratch, about.clone(), mode(config), meters, time);
        let reading = Rc::new(reading);
        let socket = &config.socket;
        let door = DoorConfig { path: socket.path.clone(), mode: socket.mode, gid: socket.gid };
        let server = ServerConfig { door, admitted: admitted(config), limits };
        // Names of sessions are guessed by nobody who has no entropy either.
        let chance = move || getrandom::u64().unwrap_or_else(|_| clock.now().0);
        let server = Server::start(Rc::clone(&reading), server, time, clock.unix_ns_at_zero(), chance)?;
        let parts = Rc::new(Parts { about, clock, exporter, reading, server });
        Ok(Engine { turning, parts, clock, spin: config.spin })
    }

    /// What can be looked at while it runs.
    pub fn parts(&self) -> Rc<Parts> {
        Rc::clone(&self.parts)
    }

    /// Its time.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Where other engines call, if they do.
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        match &self.turning {
            Loop::Device(carrier) => carrier.address(),
            #[cfg(feature = "mock")]
            Loop::Tank(_) => None,
        }
    }

    /// Runs until a future is over.
    ///
    /// # Errors
    /// The device's descriptor cannot be watched any more.
    pub async fn run<T>(&mut self, until: impl Future<Output = T>) -> io::Result<T> {
        let clock = self.clock;
        match &mut self.turning {
            Loop::Device(carrier) => {
                let mut rings = self.parts.server.rings(carrier.bell());
                carrier.run_beside(move || clock.now(), &mut rings, until).await
            }
            #[cfg(feature = "mock")]
            Loop::Tank(tank) => {
                let mut rings = self.parts.server.rings(tank.bell());
                Ok(tank.run(move || clock.now(), self.spin, &mut rings, until).await)
            }
        }
    }
}

fn mode(config: &EngineConfig) -> Mode {
    match config.way {
        WaySetting::Auto => Mode::Auto,
        WaySetting::Pull => Mode::Pull,
        WaySetting::Push => Mode::Push,
    }
}

fn admitted(config: &EngineConfig) -> Admitted {
    Admitted { uids: config.socket.uids.clone(), gids: config.socket.gid.into_iter().collect() }
}

fn peers(config: &EngineConfig) -> Vec<PeerConfig> {
    config.peers.iter().map(|address| PeerConfig { address: address.clone(), name: None }).collect()
}

/// An eighth of the half that peers write, or what is long enough for any needle.
fn message_bytes_max(config: &EngineConfig) -> u64 {
    (config.buffer_bytes / 16).min(MESSAGE_BYTES_MAX)
}

fn exporter(config: &EngineConfig, clock: Clock) -> Result<Option<Rc<Exporter<StoreShelf>>>, OpenError> {
    if config.export.is_empty() {
        return Ok(None);
    }
    let folder = |dir: &std::path::PathBuf| {
        let idx_dir = config.export_index.clone();
        StoreDirectory { idx_dir, ..StoreDirectory::new(dir) }
    };
    let store = Store::open(config.export.iter().map(folder).collect(), OpenOptions::default());
    for refusal in store.refusals() {
        tracing::warn!("not exported: {refusal}");
    }
    let segments = SegmentConfig { bytes_max: config.segment_bytes, ..SegmentConfig::default() };
    let exporting = ExporterConfig {
        key: config.key.clone(),
        segments: SegmentConfig {
            segment_bytes: segments.segment_bytes.min(segment_bytes(config)),
            ..segments
        },
        push_bytes_max: ExporterConfig::default().push_bytes_max.min(message_bytes_max(config)),
        unix_ns_at_zero: clock.unix_ns_at_zero(),
        ..ExporterConfig::default()
    };
    Ok(Some(Exporter::new(StoreShelf::new(store, Default::default()), exporting, nonces())))
}

/// A quarter of the memory for segments, so that there are several.
fn segment_bytes(config: &EngineConfig) -> u64 {
    1 << (config.segment_bytes / 4).max(1 << 20).ilog2()
}

fn reader(
    messenger: &LocalMessenger,
    config: &EngineConfig,
    peers: Vec<PeerConfig>,
    home: Option<Rc<dyn Home>>,
    clock: Clock,
) -> Result<Reader, OpenError> {
    let usual = ReaderConfig::new(&[]);
    let reading = ReaderConfig {
        peers,
        key: config.key.clone(),
        hint_port: Some(config.engine_port),
        needle_bytes_max: usual.needle_bytes_max.min(message_bytes_max(config)),
        piece_bytes: usual.piece_bytes.min(message_bytes_max(config)),
        unix_ns_at_zero: clock.unix_ns_at_zero(),
        ..usual
    };
    Ok(Reader::new(messenger.clone(), reading, nonces(), home))
}

fn messenger_config(config: &EngineConfig, name: u64) -> MessengerConfig {
    let usual = MessengerConfig::new(name, config.backend);
    let message_bytes_max = message_bytes_max(config);
    // Whoever gives an engine little memory gets a small engine: what is registered is pinned.
    let share = config.buffer_bytes / 4;
    MessengerConfig {
        message_bytes_max,
        landing_bytes_max: usual.landing_bytes_max.min(share).max(message_bytes_max),
        pool_bytes: usual.pool_bytes.min(share),
        landing_pool_bytes: usual.landing_pool_bytes.min(share).max(message_bytes_max),
        receive_bytes: usual.receive_bytes.min(share / 2),
        exposed_bytes_max: config.buffer_bytes / 2,
        ..usual
    }
}

fn messenger(
    context: RdmaContext,
    config: MessengerConfig,
    backend: BackendKind,
    exposed: Option<Region>,
    dispatcher: impl Dispatcher,
) -> Result<LocalMessenger, OpenError> {
    let driver = Driver::new(context, DriverConfig::default());
    let mut messenger = Messenger::new(driver, backend, InstanceId::random()?, config)?;
    if let Some(exposed) = exposed {
        messenger.expose_from(exposed)?;
    }
    Ok(LocalMessenger::new(messenger, dispatcher))
}

/// Both ends in this process: what is exported is read back through the simulated NICs.
#[cfg(feature = "mock")]
fn in_tank(
    config: &EngineConfig,
    memory: &Memory,
    exporter: Option<&Rc<Exporter<StoreShelf>>>,
    clock: Clock,
) -> Result<(Loop, Reader, String), OpenError> {
    let mut tank = Tank::default();
    let mut peers = Vec::new();
    if let Some(exporter) = exporter {
        let dispatcher = exporter.gate(exporter.services());
        let theirs =
            messenger(tank.context(), messenger_config(config, 1), config.backend, None, dispatcher)?;
        theirs.bind(Some(Policy::StatelessServer));
        theirs.spawn(Rc::clone(exporter).upkeep(theirs.clone()));
        let place = tank.add(theirs);
        peers.push(PeerConfig { address: place.to_string(), name: None });
    }
    let exposed = Some(memory.exposed.clone());
    let ours = messenger(tank.context(), messenger_config(config, 2), config.backend, exposed, Deaf)?;
    let device = ours.with(|messenger| messenger.driver().context().caps().name.clone());
    tank.add(ours.clone());
    let reader = reader(&ours, config, peers, None, clock)?;
    Ok((Loop::Tank(Box::new(tank)), reader, device))
}

async fn on_device(
    config: &EngineConfig,
    memory: &Memory,
    exporter: Option<&Rc<Exporter<StoreShelf>>>,
    clock: Clock,
) -> Result<(Loop, Reader, String), OpenError> {
    let context = RdmaContext::open_device(config.backend, &config.device, PortConfig::default())?;
    let device = context.caps().name.clone();
    let name = getrandom::u64().unwrap_or(1);
    let (settings, exposed) = (messenger_config(config, name), Some(memory.exposed.clone()));
    let messenger = match exporter {
        Some(exporter) => {
            let dispatcher = exporter.gate(exporter.services());
            messenger(context, settings, config.backend, exposed, dispatcher)?
        }
        None => messenger(context, settings, config.backend, exposed, Deaf)?,
    };
    let spin_ns = u64::try_from(config.spin.as_nanos()).unwrap_or(u64::MAX);
    let carrying = TcpConfig { spin_ns, ..TcpConfig::default() };
    let mut carrier = TcpCarrier::new(messenger.clone(), carrying).map_err(OpenError::Watch)?;
    let mut home = None;
    if let Some(exporter) = exporter {
        messenger.bind(Some(Policy::StatelessServer));
        messenger.spawn(Rc::clone(exporter).upkeep(messenger.clone()));
        let address = config.listen;
        carrier.listen(address).await.map_err(|why| OpenError::Listen { address, why })?;
        let local = LocalHome::new(Rc::clone(exporter), Rc::clone(&memory.scratch));
        home = Some(Rc::new(local) as Rc<dyn Home>);
    }
    let reader = reader(&messenger, config, peers(config), home, clock)?;
    Ok((Loop::Device(Box::new(carrier)), reader, device))
}
