//! An engine on a thread of its own, which is asked from others.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use wavetank_contract::Instant;
use wavetank_engine::bootstrap::InstanceId;
use wavetank_engine::{BackendKind, Driver, DriverConfig, Port, PortConfig, RdmaContext};
use wavetank_messenger::{Deaf, LocalMessenger, Messenger, MessengerConfig, TcpCarrier, TcpConfig};
use wavetank_mock::{Fabric, Profile};

use super::pattern::Pattern;
use crate::ipc::{Server, ServerConfig};

type Question = Box<dyn FnOnce(&Server<Pattern>, &Pattern) + Send>;

/// What an engine is made of.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Where it listens, whom it lets in, and what they may have.
    pub server: ServerConfig,
    /// How long its loop polls after something happened.
    pub spin_ns: u64,
    /// Whether the loop polls rings. Otherwise clients have to ring.
    pub polls_rings: bool,
    /// Reads that have room at a time.
    pub slots: u64,
    /// Whether bytes are made for each read.
    pub fills: bool,
}

impl EngineConfig {
    /// At this path.
    pub fn at(path: impl Into<PathBuf>) -> EngineConfig {
        let mut server = ServerConfig::default();
        server.door.path = path.into();
        EngineConfig { server, spin_ns: 50_000, polls_rings: true, slots: 64, fills: true }
    }
}

/// An engine that runs until it is dropped.
pub struct Engine {
    path: PathBuf,
    questions: Option<UnboundedSender<Question>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({})", self.path.display())
    }
}

impl Engine {
    /// Starts one, and waits until it listens.
    ///
    /// # Errors
    /// Whatever it was that could not be had.
    pub fn start(config: EngineConfig) -> io::Result<Engine> {
        let path = config.server.door.path.clone();
        let (questions, asked) = unbounded_channel();
        let (is_up, up) = mpsc::channel();
        let thread = std::thread::Builder::new().name("engine".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    let local = tokio::task::LocalSet::new();
                    local.block_on(&runtime, run(config, asked, is_up));
                }
                Err(error) => drop(is_up.send(Err(error))),
            }
        })?;
        up.recv().map_err(|_| io::Error::other("the engine ended before it listened"))??;
        Ok(Engine { path, questions: Some(questions), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Calls something on its thread, and answers what that does.
    ///
    /// # Panics
    /// When the engine has ended.
    pub fn with<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Server<Pattern>, &Pattern) -> T + Send + 'static,
    ) -> T {
        let (answer, answered) = mpsc::channel();
        let question: Question = Box::new(move |server, pattern| drop(answer.send(call(server, pattern))));
        let asked = self.questions.as_ref().is_some_and(|questions| questions.send(question).is_ok());
        assert!(asked, "the engine at {} has ended", self.path.display());
        answered.recv().expect("an engine answers before it ends")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.questions = None;
        if let Some(thread) = self.thread.take() {
            // Its panic has been told by whoever was waiting for an answer.
            let _ = thread.join();
        }
    }
}

async fn run(config: EngineConfig, mut asked: UnboundedReceiver<Question>, up: mpsc::Sender<io::Result<()>>) {
    let started = tokio::time::Instant::now();
    let now = move || Instant(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let made = make(&config, now);
    let (pattern, server, mut carrier) = match made {
        Ok(made) => made,
        Err(error) => return drop(up.send(Err(error))),
    };
    let mut rings = config.polls_rings.then(|| server.rings(carrier.bell()));
    // Who started this may have given up.
    let _ = up.send(Ok(()));
    let until = async {
        while let Some(question) = asked.recv().await {
            question(&server, &pattern);
        }
    };
    // Its device, a simulated one, has no descriptor that could fail.
    let _ = match &mut rings {
        Some(rings) => carrier.run_beside(now, rings, until).await,
        None => carrier.run(now, until).await,
    };
}

type Made = (Rc<Pattern>, Server<Pattern>, TcpCarrier);

fn make(config: &EngineConfig, now: impl Fn() -> Instant + 'static) -> io::Result<Made> {
    let context = RdmaContext::from(Port::new(Fabric::new(Profile::IDEAL).add_node(), PortConfig::default()));
    let driver = Driver::new(context, DriverConfig::default());
    let messenger = MessengerConfig {
        pool_bytes: 1 << 20,
        receive_bytes: 1 << 20,
        ..MessengerConfig::new(1, BackendKind::Mock)
    };
    let instance = InstanceId::new(1).ok_or(io::ErrorKind::InvalidInput)?;
    let messenger =
        Messenger::new(driver, BackendKind::Mock, instance, messenger).map_err(io::Error::other)?;
    let tcp = TcpConfig { spin_ns: config.spin_ns, ..TcpConfig::default() };
    let carrier = TcpCarrier::new(LocalMessenger::new(messenger, Deaf), tcp)?;
    let pattern = Rc::new(Pattern::new(config.slots, config.fills).map_err(io::Error::other)?);
    // Made up like its bytes: a real engine draws its words from the system.
    let mut word = 0u64;
    let chance = move || {
        word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
        word.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ word >> 31
    };
    let server =
        Server::start(Rc::clone(&pattern), config.server.clone(), now, 1_700_000_000_000_000_000, chance);
    Ok((pattern, server.map_err(io::Error::other)?, carrier))
}
