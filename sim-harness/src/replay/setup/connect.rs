//! Connecting every pair of nodes that work together.

use std::collections::BTreeMap;

use wavetank_contract::error::ConnectError;
use wavetank_contract::{CqId, EndpointSpec, EpId, Mtu};
use wavetank_engine::RdmaOps;

use super::SetupError;
use super::memory::slot;
use super::uses::Uses;
use crate::replay::connection::{Connection, Connections};
use crate::replay::place::{Home, Place};
use crate::workload::limits::MAX_MEMORY_BYTES;
use crate::workload::{NodeId, Workload};
use crate::world::Node;

/// Send queue depth of every endpoint, in works.
pub(super) const SEND_DEPTH: u32 = 128;

/// Connections of one workload, at most; each has two endpoints with their queues.
const CONNECTIONS_MAX: u32 = 65_536;

/// Connects every pair of nodes that work together. Answers also how many receives each connection keeps posted.
pub(super) fn connect<C: RdmaOps>(
    workload: &Workload,
    uses: &Uses,
    places: &[Place],
    simulated: bool,
    nodes: &mut [Node<C>],
) -> Result<(Connections, Vec<u32>), SetupError> {
    let queue_pairs = workload.settings.queue_pairs;
    // One thread serves all nodes: on a device, senders do not wait for its next turn at the receiver.
    let spare = if simulated { 1 } else { 4 };
    let all = u32::try_from(uses.pairs.len()).unwrap_or(u32::MAX).saturating_mul(queue_pairs);
    let receives_each = (spare * (workload.load.concurrency / all.max(1) + 1)).clamp(4, SEND_DEPTH);
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
    let mut connections = Connections::default();
    connections.cqs = cqs;
    let mut receives = Vec::new();
    for (&(from, to), &messages) in &uses.pairs {
        let mut made = Vec::new();
        for _ in 0..queue_pairs {
            let recv_depth = if messages { receives_each } else { 0 };
            made.push(pair(&connections.cqs, (from, to), recv_depth, places, workload, nodes)?);
            receives.push(recv_depth);
        }
        connections.add(from, to, made);
    }
    Ok((connections, receives))
}

/// Makes a connection anew, whose former endpoints are closed.
pub(in crate::replay) fn connect_anew<C: RdmaOps>(
    connections: &mut Connections,
    index: usize,
    recv_depth: u32,
    places: &[Place],
    workload: &Workload,
    nodes: &mut [Node<C>],
) -> Result<(), SetupError> {
    let former = connections.get(index);
    let Some((target, _)) = former.target else {
        let why = "its other end is in another process, which makes no connection anew";
        return Err(SetupError::Handshake { node: former.poster.0, ep: former.poster.1, state: None, why });
    };
    let ends = (NodeId(former.poster.0), NodeId(target));
    let made = pair(&connections.cqs, ends, recv_depth, places, workload, nodes)?;
    let connection = connections.get_mut(index);
    (connection.poster, connection.target, connection.remotes) = (made.poster, made.target, made.remotes);
    Ok(())
}

/// Opens both ends of a connection and introduces them to each other. Nothing is left behind when that fails.
fn pair<C: RdmaOps>(
    cqs: &[CqId],
    (from, to): (NodeId, NodeId),
    recv_depth: u32,
    places: &[Place],
    workload: &Workload,
    nodes: &mut [Node<C>],
) -> Result<Connection, SetupError> {
    let poster = open(cqs, from, SEND_DEPTH, 0, workload, nodes)?;
    let target = open(cqs, to, 1, recv_depth, workload, nodes)
        .inspect_err(|_| nodes[from.0 as usize].driver.context().close(poster))?;
    join((from, poster), (to, target), places, nodes).inspect_err(|_| {
        nodes[from.0 as usize].driver.context().close(poster);
        nodes[to.0 as usize].driver.context().close(target);
    })
}

pub(super) fn open<C: RdmaOps>(
    cqs: &[CqId],
    node: NodeId,
    send_depth: u32,
    recv_depth: u32,
    workload: &Workload,
    nodes: &mut [Node<C>],
) -> Result<EpId, SetupError> {
    let mtu = Mtu::from_bytes(workload.settings.mtu.into());
    let Some(mtu) = mtu else { unreachable!("the workload's MTU was validated") };
    let context = nodes[node.0 as usize].driver.context();
    let caps = context.caps();
    let base = EndpointSpec::new(cqs[node.0 as usize]);
    let spec = EndpointSpec {
        send_depth: send_depth.min(caps.queue_depth_max),
        recv_depth,
        mtu,
        timeout: workload.settings.patience.timeout,
        retry_cnt: workload.settings.patience.retry_cnt,
        max_rd_atomic: base.max_rd_atomic.min(caps.rd_atomic_max),
        max_dest_rd_atomic: base.max_dest_rd_atomic.min(caps.rd_atomic_max),
        ..base
    };
    Ok(context.open(&spec)?)
}

fn join<C: RdmaOps>(
    (from, poster): (NodeId, EpId),
    (to, target): (NodeId, EpId),
    places: &[Place],
    nodes: &mut [Node<C>],
) -> Result<Connection, SetupError> {
    introduce(nodes, (from, poster), (to, target))?;
    introduce(nodes, (to, target), (from, poster))?;
    let mut remotes = BTreeMap::new();
    for place in places {
        let Home::Here { node, mr, .. } = place.home else { continue };
        if node != to.0 {
            continue;
        }
        let key = nodes[to.0 as usize].driver.context().export(mr)?;
        let mut remote = nodes[from.0 as usize].driver.context().import(poster, &key)?;
        // The memory may be longer than the region, by less than a page.
        remote.len = place.len;
        remotes.insert(place.id, remote);
    }
    Ok(Connection::new((from.0, poster), Some((to.0, target)), remotes))
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
