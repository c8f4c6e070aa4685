//! Connecting every pair of nodes that work together.

use std::collections::BTreeMap;

use wavetank_contract::error::ConnectError;
use wavetank_contract::{EndpointSpec, EpId, Mtu};
use wavetank_engine::RdmaOps;

use super::SetupError;
use super::memory::slot;
use super::uses::Uses;
use crate::replay::connection::{Connection, Connections};
use crate::replay::place::Place;
use crate::workload::limits::MAX_MEMORY_BYTES;
use crate::workload::{NodeId, Workload};
use crate::world::Node;

/// Send queue depth of every endpoint, in works.
const SEND_DEPTH: u32 = 128;

/// ACK timeout code: 1.07 s. Nothing is lost in a replay, and a long queue is no reason to repeat.
const TIMEOUT_CODE: u8 = 18;

/// How often a request is repeated. 7 would mean for ever on soft-RoCE.
pub(in crate::replay) const RETRIES: u8 = 6;

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
    let mtu = Mtu::from_bytes(workload.settings.mtu.into());
    let Some(mtu) = mtu else { unreachable!("the workload's MTU was validated") };
    let (mut connections, mut receives) = (Connections::default(), Vec::new());
    for (&(from, to), &messages) in &uses.pairs {
        let mut made = Vec::new();
        for _ in 0..queue_pairs {
            let recv_depth = if messages { receives_each } else { 0 };
            let mut open = |node: NodeId, send_depth: u32, recv_depth| {
                let context = nodes[node.0 as usize].driver.context();
                let caps = context.caps();
                let base = EndpointSpec::new(cqs[node.0 as usize]);
                let spec = EndpointSpec {
                    send_depth: send_depth.min(caps.queue_depth_max),
                    recv_depth,
                    mtu,
                    timeout: TIMEOUT_CODE,
                    retry_cnt: RETRIES,
                    max_rd_atomic: base.max_rd_atomic.min(caps.rd_atomic_max),
                    max_dest_rd_atomic: base.max_dest_rd_atomic.min(caps.rd_atomic_max),
                    ..base
                };
                context.open(&spec)
            };
            let poster = open(from, SEND_DEPTH, 0)?;
            let target = open(to, 1, recv_depth)?;
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
