//! Setting a workload up: nodes, regions with their owner's data, connections, memory to work with.

mod attach;
mod connect;
mod elsewhere;
mod memory;
mod uses;

pub(super) use connect::connect_anew;
pub use elsewhere::Unfit;

use std::sync::Arc;

use thiserror::Error;
use wavetank_contract::error::{AllocError, ConnectError, KeyError, OpenError, RegisterError};
use wavetank_contract::{EpId, QpState};
use wavetank_engine::bootstrap::BootstrapError;
use wavetank_engine::memory::MemoryError;
use wavetank_engine::{Driver, DriverConfig, Port, PortConfig, RdmaContext, RdmaOps};
use wavetank_mock::{Fabric, MockNic};

use super::connection::Connections;
use super::message::Messages;
use super::place::{Place, VolumeFile};
use super::{Again, Replay, volume};
use crate::check::Failures;
use crate::record::Recorder;
use crate::report::Latencies;
use crate::trace::Trace;
use crate::workload::{Generator, Source, Workload, WorkloadError};
use crate::world::{Node, Waiting, World};
use uses::Uses;

/// A workload that could not be set up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The workload asks for something that cannot be checked.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// Its volume is not sound.
    #[error(transparent)]
    Volume(#[from] volume::VolumeProblem),
    /// No memory.
    #[error("no memory for {what}: {error}")]
    Allocate {
        /// For what.
        what: String,
        /// Why.
        error: AllocError,
    },
    /// The device refused a registration.
    #[error("cannot register {what}: {error}")]
    Register {
        /// What.
        what: String,
        /// Why.
        error: RegisterError,
    },
    /// The device refused an endpoint or completion queue.
    #[error("cannot open an endpoint: {0}")]
    Open(#[from] OpenError),
    /// The device refused a connection.
    #[error("cannot connect an endpoint: {0}")]
    Connect(#[from] ConnectError),
    /// The device refused a key.
    #[error("cannot exchange a key: {0}")]
    Key(#[from] KeyError),
    /// A device could not be had.
    #[error("node {node} has no device: {why}")]
    Device {
        /// Whose.
        node: u16,
        /// Why, and what to do.
        why: String,
    },
    /// A handshake failed, or did not end.
    #[error("endpoint {} of node {node} is in {state:?} and was to be ready to send: {why}", ep.0)]
    Handshake {
        /// Whose endpoint.
        node: u16,
        /// Which.
        ep: EpId,
        /// Its state.
        state: Option<QpState>,
        /// What that means.
        why: &'static str,
    },
    /// The storage node cannot be another process.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The other process was not reached, or refused.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The region cannot be cut into leases.
    #[error("cannot cut memory into leases: {0}")]
    Memory(#[from] MemoryError),
}

impl Replay<RdmaContext> {
    /// Sets a workload up on simulated NICs.
    ///
    /// # Errors
    /// See [`SetupError`]; nothing is left behind.
    pub fn prepare(workload: Workload) -> Result<Replay, SetupError> {
        Replay::prepare_with(workload, Trace::default(), |nic, config| Port::new(nic, config).into())
    }
}

impl<C: RdmaOps> Replay<C> {
    /// Sets a workload up in virtual time, over contexts that `context` makes of each node's simulated NIC, recording into
    /// `trace`.
    ///
    /// # Errors
    /// See [`SetupError`]; nothing is left behind.
    pub fn prepare_with(
        mut workload: Workload,
        trace: Trace,
        mut context: impl FnMut(MockNic, PortConfig) -> C,
    ) -> Result<Replay<C>, SetupError> {
        let volume = bring_volume(&mut workload)?;
        let mut fabric = Fabric::new(workload.settings.profile.clone());
        let port = PortConfig { signal_every: workload.settings.signal_every };
        let contexts = workload.nodes.iter().map(|_| context(fabric.add_node(), port)).collect();
        let world = World::simulated(fabric, nodes(contexts, &workload), workload.settings.seed, trace);
        Replay::assemble(workload, volume, world)
    }

    /// Sets a workload up in real time, over the contexts that `context` opens for each node. An operation whose workload
    /// sets no deadline gets that of `waiting`.
    ///
    /// # Errors
    /// See [`SetupError`]; nothing is left behind.
    pub fn prepare_on(
        mut workload: Workload,
        trace: Trace,
        waiting: Waiting,
        mut context: impl FnMut(u16, PortConfig) -> Result<C, String>,
    ) -> Result<Replay<C>, SetupError> {
        let volume = bring_volume(&mut workload)?;
        workload.settings.deadline_ns.get_or_insert(waiting.deadline_ns);
        let port = PortConfig { signal_every: workload.settings.signal_every };
        let contexts = (0..workload.nodes.len() as u16)
            .map(|node| context(node, port).map_err(|why| SetupError::Device { node, why }))
            .collect::<Result<Vec<C>, _>>()?;
        let world = World::real(waiting, nodes(contexts, &workload), workload.settings.seed, trace);
        Replay::assemble(workload, volume, world)
    }

    fn assemble(
        workload: Workload,
        volume: Option<Arc<VolumeFile>>,
        mut world: World<C>,
    ) -> Result<Replay<C>, SetupError> {
        let uses = Uses::of(&workload)?;
        let places = memory::make_places(&workload, &uses, volume.as_ref(), &mut world.nodes)?;
        let (connections, receives) =
            connect::connect(&workload, &uses, &places, world.is_simulated(), &mut world.nodes)?;
        if !world.is_simulated() {
            world.settle(&connections.endpoints()).map_err(|(node, ep, state)| {
                let why = match state {
                    Some(QpState::Err) => "its peer was not reached",
                    _ => "the handshake did not end in time",
                };
                SetupError::Handshake { node, ep, state, why }
            })?;
        }
        Replay::over(workload, &uses, world, places, connections, receives)
    }

    /// Over a world whose regions and connections are made.
    fn over(
        workload: Workload,
        uses: &Uses,
        mut world: World<C>,
        places: Vec<Place>,
        connections: Connections,
        receives: Vec<u32>,
    ) -> Result<Replay<C>, SetupError> {
        let receive_bytes = uses.message_bytes_max.max(1);
        memory::make_arenas(&workload, uses, &connections, &receives, receive_bytes, &mut world.nodes)?;
        let distinct_sizes = workload.source.distinct_sizes();
        let again = match &workload.source {
            Source::Run { run, .. } => Some(Again { run: Arc::clone(run), ended_before: run.ended_before() }),
            _ => None,
        };
        Ok(Replay {
            generator: Generator::new(&workload),
            floor: world.fabric().map(|fabric| fabric.profile().clone()),
            world,
            next: None,
            places,
            connections,
            messages: Messages::new(receive_bytes, receives.into_iter()),
            in_flight: Vec::new(),
            free: Vec::new(),
            submitted: Vec::new(),
            started: 0,
            ended: 0,
            failed: 0,
            bytes_verified: 0,
            mismatches: 0,
            latencies: Latencies::new(&workload, distinct_sizes),
            failures: Failures::default(),
            receiver_died: false,
            unique: workload.settings.seed << 32,
            recorder: again.as_ref().map(|_| Recorder::default()),
            again,
            disturbed: None,
            watcher: None,
            workload,
        })
    }
}

/// Reads the volume of a workload that has one.
fn bring_volume(workload: &mut Workload) -> Result<Option<Arc<VolumeFile>>, SetupError> {
    let Source::Volume { path, .. } = &workload.source else { return Ok(None) };
    let (path, file) = (path.clone(), VolumeFile::read(path)?);
    workload.bring_volume(file.recording(&path))?;
    Ok(Some(Arc::new(file)))
}

fn nodes<C: RdmaOps>(contexts: Vec<C>, workload: &Workload) -> Vec<Node<C>> {
    let config = DriverConfig {
        chunk_bytes: workload.settings.chunk_bytes,
        window: workload.settings.window,
        transfers_max: 1 << 22,
        sessions_max: 1 << 10,
    };
    let node = |context| Node { driver: Driver::new(context, config), arena: None, receives: None };
    contexts.into_iter().map(node).collect()
}
