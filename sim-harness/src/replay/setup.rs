//! Setting a workload up: nodes, regions with their owner's data, connections, memory to work with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;
use wavetank_contract::error::{AllocError, ConnectError, KeyError, OpenError, RegisterError};
use wavetank_contract::region::PAGE_BYTES;
use wavetank_contract::{Access, EndpointSpec, EpId, Mtu, OpKind, PdId, RegionSpec};
use wavetank_engine::memory::{Arena, MemoryError};
use wavetank_engine::{Driver, DriverConfig, Port, PortConfig, RdmaContext, RdmaOps};
use wavetank_mock::{Fabric, MockNic, Profile};

use super::connection::{Connection, Connections};
use super::message::Messages;
use super::place::{Contents, Place, VolumeFile};
use super::{Replay, volume};
use crate::atomic::Cells;
use crate::check::Failures;
use crate::pattern::{self, Tag};
use crate::report::Latencies;
use crate::trace::Trace;
use crate::version::Versions;
use crate::workload::limits::MAX_MEMORY_BYTES;
use crate::workload::{Generator, NodeId, ProfileName, Source, Workload, WorkloadError};
use crate::world::{Node, World};

/// Send queue depth of every endpoint, in works.
const SEND_DEPTH: u32 = 128;

/// ACK timeout code: 1.07 s. Nothing is lost in a replay, and a long queue is no reason to repeat.
const TIMEOUT_CODE: u8 = 18;

/// Memory that the buffers of all posters together may take before they have to share, unless one alone needs more.
const BUFFERS_BYTES: u64 = 1 << 30;

/// Connections of one workload, at most; each has two endpoints with their queues.
const CONNECTIONS_MAX: u32 = 65_536;

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
    /// Sets a workload up over contexts that `context` makes of each node's NIC, recording into `trace`.
    ///
    /// # Errors
    /// See [`SetupError`]; nothing is left behind.
    pub fn prepare_with(
        mut workload: Workload,
        trace: Trace,
        mut context: impl FnMut(MockNic, PortConfig) -> C,
    ) -> Result<Replay<C>, SetupError> {
        let volume = match &workload.source {
            Source::Volume { path, .. } => {
                let (path, file) = (path.clone(), VolumeFile::read(path)?);
                workload.bring_volume(file.recording(&path))?;
                Some(Arc::new(file))
            }
            _ => None,
        };
        let uses = Uses::of(&workload)?;
        let profile = match workload.settings.profile {
            ProfileName::Ideal => Profile::IDEAL,
            ProfileName::Rxe => Profile::RXE,
            ProfileName::Cx6 => Profile::CX6,
        };
        let mut fabric = Fabric::new(profile.clone());
        let port = PortConfig { signal_every: workload.settings.signal_every };
        let config = DriverConfig {
            chunk_bytes: workload.settings.chunk_bytes,
            window: workload.settings.window,
            transfers_max: 1 << 22,
            sessions_max: 1 << 10,
        };
        let mut nodes: Vec<Node<C>> = workload
            .nodes
            .iter()
            .map(|_| Node {
                driver: Driver::new(context(fabric.add_node(), port), config),
                arena: None,
                receives: None,
            })
            .collect();
        let places = make_places(&workload, &uses, volume.as_ref(), &mut nodes)?;
        let (connections, receives) = connect(&workload, &uses, &places, &mut nodes)?;
        let receive_bytes = uses.message_bytes_max.max(1);
        make_arenas(&workload, &uses, &connections, &receives, receive_bytes, &mut nodes)?;
        let distinct_sizes = workload.source.distinct_sizes();
        Ok(Replay {
            generator: Generator::new(&workload),
            world: World::new(fabric, nodes, workload.settings.seed, trace),
            profile,
            next: None,
            places,
            connections,
            messages: Messages::new(receive_bytes, receives.into_iter()),
            in_flight: Vec::new(),
            free: Vec::new(),
            submitted: Vec::new(),
            started: 0,
            ended: 0,
            bytes_verified: 0,
            mismatches: 0,
            latencies: Latencies::new(&workload, distinct_sizes),
            failures: Failures::default(),
            receiver_died: false,
            unique: workload.settings.seed << 32,
            workload,
        })
    }
}

/// What a workload does with its nodes and regions.
#[derive(Debug, Default)]
struct Uses {
    /// Poster and target, and whether messages need receives there.
    pairs: BTreeMap<(NodeId, NodeId), bool>,
    /// Longest operation of each poster.
    posters: BTreeMap<NodeId, u64>,
    /// Regions that operations write pattern data to.
    written: BTreeSet<u32>,
    /// Regions that atomics work on.
    atomic: BTreeSet<u32>,
    message_bytes_max: u64,
}

impl Uses {
    fn of(workload: &Workload) -> Result<Uses, SetupError> {
        let mut uses = Uses::default();
        let Source::Mix(mix) = &workload.source else {
            let (client, storage) = (NodeId(0), NodeId(1));
            uses.pairs.insert((client, storage), false);
            uses.posters.insert(client, workload.source.largest_op_bytes().max(1));
            uses.written.extend(workload.source.written_files());
            return Ok(uses);
        };
        let mut plain = BTreeMap::new();
        for op in mix.iter().filter(|op| op.weight > 0) {
            let messages = matches!(op.kind, OpKind::Send | OpKind::WriteImm);
            *uses.pairs.entry((op.from, op.to)).or_default() |= messages;
            let longest = uses.posters.entry(op.from).or_default();
            *longest = u64::from(op.sizes.max()).max(*longest);
            if op.kind == OpKind::Send {
                uses.message_bytes_max = uses.message_bytes_max.max(op.sizes.max().into());
            }
            let Some(region) = op.region else { continue };
            if op.kind.is_atomic() {
                uses.atomic.insert(region.0);
            } else {
                plain.entry(region.0).or_insert(op);
            }
            if matches!(op.kind, OpKind::Write | OpKind::WriteImm) {
                uses.written.insert(region.0);
            }
        }
        if let Some((region, op)) = plain.iter().find(|(region, _)| uses.atomic.contains(region)) {
            let name = &workload.regions[*region as usize].name;
            return Err(SetupError::Workload(workload.problem(
                op.line,
                "region",
                format!(
                    "{} works on region {name:?}, and so do atomics, which leave other data than {0} can be checked \
                     against; give atomics a region of their own",
                    op.kind.name()
                ),
            )));
        }
        Ok(uses)
    }
}

fn make_places<C: RdmaOps>(
    workload: &Workload,
    uses: &Uses,
    volume: Option<&Arc<VolumeFile>>,
    nodes: &mut [Node<C>],
) -> Result<Vec<Place>, SetupError> {
    let mut places = Vec::with_capacity(workload.regions.len());
    for (id, region) in (0u32..).zip(&workload.regions) {
        let context = nodes[region.node.0 as usize].driver.context();
        let what = || format!("region {}", region.name);
        let memory = context
            .allocate(&RegionSpec::new(region.bytes))
            .map_err(|error| SetupError::Allocate { what: what(), error })?;
        let mr = context
            .register(&memory, PdId::default(), Access::ALL)
            .map_err(|error| SetupError::Register { what: what(), error })?;
        let contents = match volume {
            Some(file) => {
                memory.write(0, &file.bytes);
                Contents::Volume(Arc::clone(file))
            }
            _ if uses.atomic.contains(&id) => Contents::Cells(Cells::default()),
            _ => {
                // The owner writes its data: what READs have to bring.
                pattern::fill(&memory, 0, region.bytes as usize, Tag { region: id, generation: 0 }, 0);
                Contents::Pattern(Versions::new(region.bytes, uses.written.contains(&id)))
            }
        };
        let (name, node, len) = (region.name.clone(), region.node.0, region.bytes);
        places.push(Place { name, id, node, memory, mr, len, contents });
    }
    Ok(places)
}

/// Connects every pair of nodes that work together. Answers also how many receives each connection keeps posted.
fn connect<C: RdmaOps>(
    workload: &Workload,
    uses: &Uses,
    places: &[Place],
    nodes: &mut [Node<C>],
) -> Result<(Connections, Vec<u32>), SetupError> {
    let queue_pairs = workload.settings.queue_pairs;
    let all = u32::try_from(uses.pairs.len()).unwrap_or(u32::MAX).saturating_mul(queue_pairs);
    let receives_each = (workload.load.concurrency / all.max(1) + 1).clamp(4, SEND_DEPTH);
    let receives_bytes = u64::from(all)
        * u64::from(receives_each)
        * slot(uses.message_bytes_max)
        * u64::from(uses.message_bytes_max > 0);
    if all > CONNECTIONS_MAX || receives_bytes > MAX_MEMORY_BYTES {
        let problem = format!(
            "{all} connections with {receives_bytes} bytes of receives posted; at most {CONNECTIONS_MAX} and \
             {MAX_MEMORY_BYTES} bytes: give fewer queue_pairs, or fewer pairs of nodes that work together"
        );
        return Err(SetupError::Workload(workload.problem(1, "queue_pairs", problem)));
    }
    let mut cqs = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter_mut().enumerate() {
        let works = |pair: &(NodeId, NodeId), messages: bool| {
            let (from, to) = (pair.0.0 as usize == index, pair.1.0 as usize == index);
            queue_pairs
                * (u32::from(from) * SEND_DEPTH + u32::from(to && messages) * receives_each + u32::from(to))
        };
        let depth: u32 = uses.pairs.iter().map(|(pair, messages)| works(pair, *messages)).sum();
        cqs.push(node.driver.context().open_cq(depth.max(1))?);
    }
    let mtu = Mtu::from_bytes(workload.settings.mtu.into());
    let Some(mtu) = mtu else { unreachable!("the workload's MTU was validated") };
    let (mut connections, mut receives) = (Connections::default(), Vec::new());
    for (&(from, to), &messages) in &uses.pairs {
        let mut made = Vec::new();
        for _ in 0..queue_pairs {
            let spec = |node: NodeId, send_depth, recv_depth| EndpointSpec {
                send_depth,
                recv_depth,
                mtu,
                timeout: TIMEOUT_CODE,
                ..EndpointSpec::new(cqs[node.0 as usize])
            };
            let recv_depth = if messages { receives_each } else { 0 };
            let poster = nodes[from.0 as usize].driver.context().open(&spec(from, SEND_DEPTH, 0))?;
            let target = nodes[to.0 as usize].driver.context().open(&spec(to, 1, recv_depth))?;
            introduce(nodes, (from, poster), (to, target))?;
            introduce(nodes, (to, target), (from, poster))?;
            let mut remotes = BTreeMap::new();
            for place in places.iter().filter(|place| place.node == to.0) {
                let key = nodes[to.0 as usize].driver.context().export(place.mr)?;
                let mut remote = nodes[from.0 as usize].driver.context().import(poster, &key)?;
                // The memory may be longer than the region, by less than a page.
                remote.len = place.len;
                remotes.insert(place.id, remote);
            }
            made.push(Connection { poster: (from.0, poster), target: (to.0, target), remotes });
            receives.push(recv_depth);
        }
        connections.add(from, to, made);
    }
    Ok((connections, receives))
}

fn introduce<C: RdmaOps>(
    nodes: &mut [Node<C>],
    (node, ep): (NodeId, EpId),
    (peer, peer_ep): (NodeId, EpId),
) -> Result<(), SetupError> {
    let address = nodes[peer.0 as usize].driver.context().address(peer_ep);
    let address = address.ok_or(ConnectError::Unknown(peer_ep))?;
    Ok(nodes[node.0 as usize].driver.context().connect(ep, &address)?)
}

/// Gives each node that posts or receives memory for what may be under way there.
fn make_arenas<C: RdmaOps>(
    workload: &Workload,
    uses: &Uses,
    connections: &Connections,
    receives: &[u32],
    receive_bytes: u64,
    nodes: &mut [Node<C>],
) -> Result<(), SetupError> {
    let wanted = uses.posters.values().map(|longest| slot(*longest) * u64::from(workload.load.concurrency));
    let budget = wanted.clone().max().unwrap_or(0).max(BUFFERS_BYTES);
    // Any poster may have all of the concurrency; where that is too much memory, its operations wait for each other.
    let share = wanted.sum::<u64>().div_ceil(budget).max(1);
    for (node, longest) in &uses.posters {
        let slots = u64::from(workload.load.concurrency).div_ceil(share);
        let host = &mut nodes[node.0 as usize];
        host.arena = Some(make_arena(host.driver.context(), "operations", slot(*longest) * slots)?);
    }
    let mut receive_slots: BTreeMap<u16, u64> = BTreeMap::new();
    for (index, receives) in receives.iter().enumerate().filter(|(_, receives)| **receives > 0) {
        *receive_slots.entry(connections.get(index).target.0).or_default() += u64::from(*receives);
    }
    for (node, slots) in receive_slots {
        let host = &mut nodes[node as usize];
        host.receives = Some(make_arena(host.driver.context(), "receives", slot(receive_bytes) * slots)?);
    }
    Ok(())
}

/// What a lease of this length takes of its arena.
fn slot(bytes: u64) -> u64 {
    bytes.max(PAGE_BYTES).next_power_of_two()
}

fn make_arena<C: RdmaOps>(context: &mut C, what: &str, bytes: u64) -> Result<Arena, SetupError> {
    let spec = RegionSpec::new(bytes);
    let what = || format!("the memory of {what}");
    let memory = context.allocate(&spec).map_err(|error| SetupError::Allocate { what: what(), error })?;
    let mr = context
        .register(&memory, PdId::default(), Access::LOCAL)
        .map_err(|error| SetupError::Register { what: what(), error })?;
    Ok(Arena::new(memory, mr)?)
}
