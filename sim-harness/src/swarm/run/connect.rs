//! Connections: opened, introduced, failed, and made anew.

use wavetank_contract::{Choices, EndpointSpec, EpId, Instant, Lease, Op, QpState, RnrTimer};
use wavetank_engine::{RdmaOps, TransferSpec};

use super::Run;
use super::state::{Fate, Told};
use super::tasks::Task;
use crate::check::Check;
use crate::pattern;

/// Marks the tags of receives.
pub(super) const RECEIVE: u64 = 1 << 63;

/// How long after a failure a connection is made anew, in ns, beside a round trip.
const RECONNECT_NS: u64 = 20_000;

/// For how long packets may be under way, beside their jitter.
const TIME_WAIT_NS: u64 = 500_000;

impl<C: RdmaOps, X: Choices + Clone + 'static> Run<'_, C, X> {
    /// Opens the endpoints that a connection does not have.
    pub(super) fn open_connection(&mut self, connection: usize) {
        let plan = self.plan.connections[connection];
        for end in 0..2 {
            let node = plan.nodes[end];
            let Some(cq) = self.hosts[usize::from(node)].cq else { return };
            if self.connections[connection].ends[end].ep.is_some() {
                continue;
            }
            let spec = EndpointSpec {
                send_depth: plan.send_depth.into(),
                recv_depth: plan.recv_depth.into(),
                mtu: plan.mtu,
                timeout: plan.timeout,
                retry_cnt: plan.retry_cnt,
                rnr_retry: plan.rnr_retry,
                min_rnr_timer: RnrTimer::new(plan.rnr_timer).unwrap_or(RnrTimer::DEFAULT),
                max_rd_atomic: plan.rd_atomic,
                max_dest_rd_atomic: plan.rd_atomic,
                ..EndpointSpec::new(cq)
            };
            match self.world.nodes[usize::from(node)].driver.context().open(&spec) {
                Ok(ep) => self.connections[connection].ends[end].ep = Some(ep),
                Err(error) => {
                    self.guilty(Check::Success, None, || format!("connection {connection}: {error}"))
                }
            }
        }
    }

    /// Points both ends of a connection at each other, exchanges keys and posts receives.
    pub(super) fn introduce(&mut self, connection: usize) {
        let [a, b] = &self.connections[connection].ends;
        let (Some(ep_a), Some(ep_b)) = (a.ep, b.ep) else { return };
        let pairs = [((a.node, ep_a), (b.node, ep_b)), ((b.node, ep_b), (a.node, ep_a))];
        for ((node, ep), (peer, peer_ep)) in pairs {
            let address = self.world.nodes[usize::from(peer)].driver.context().address(peer_ep);
            let context = self.world.nodes[usize::from(node)].driver.context();
            let connected = address.map(|address| context.connect(ep, &address));
            match connected {
                Some(Ok(())) => {}
                other => self.guilty(Check::Success, None, || format!("connection {connection}: {other:?}")),
            }
        }
        self.tell_connected(connection);
        for (end, ((_, ep), (peer, _))) in pairs.into_iter().enumerate() {
            self.exchange_keys(connection, end, ep, peer);
        }
        let up = &mut self.connections[connection];
        (up.up, up.planned) = (true, false);
        up.ends.iter_mut().for_each(|end| end.failed = false);
        let depth = self.plan.connections[connection].recv_depth;
        for end in 0..2 {
            (0..depth).for_each(|_| self.post_receive(connection, end));
            let node = self.connections[connection].ends[end].node;
            self.world.flush(node);
        }
    }

    fn exchange_keys(&mut self, connection: usize, end: usize, ep: EpId, peer: u16) {
        let node = self.connections[connection].ends[end].node;
        self.connections[connection].ends[end].keys.clear();
        for place in 0..self.places.len() {
            let Some(edition) = self.places[place].edition.filter(|_| self.places[place].node == peer) else {
                continue;
            };
            let Fate::Registered(mr) = self.editions[edition].fate else { continue };
            let context = |run: &mut Self, key| {
                run.world.nodes[usize::from(node)]
                    .driver
                    .context()
                    .import(ep, &key)
                    .map_err(|e| e.to_string())
            };
            let imported = self.key_of(place, edition, mr).and_then(|key| context(self, key));
            match imported {
                Ok(remote) => {
                    let told = Told { remote, edition, dead_keys: self.editions[edition].dead_keys };
                    self.connections[connection].ends[end].keys.insert(place, told);
                }
                Err(error) => {
                    self.guilty(Check::Success, None, || format!("connection {connection}: {error}"))
                }
            }
        }
    }

    /// Posts a receive.
    pub(super) fn post_receive(&mut self, connection: usize, end: usize) {
        let at = &mut self.connections[connection].ends[end];
        let (node, bytes) = (at.node, at.receive_bytes);
        let Some(ep) = at.ep else { return };
        let now = self.world.now();
        let host = &mut self.world.nodes[usize::from(node)];
        let Some(arena) = host.receives.as_mut() else { return };
        let mr = arena.mr();
        let lease: Lease = match arena.acquire(bytes) {
            Ok(lease) => lease,
            // Receives have room of their own, so some were never given back.
            Err(error) => {
                self.guilty(Check::Leak, None, || format!("node {node} has no room for a receive: {error}"));
                return;
            }
        };
        pattern::poison(lease.region(), lease.offset(), bytes as usize);
        let tag = RECEIVE | (connection as u64) << 1 | end as u64;
        let (op, len, deadline, session) = (Op::Recv, bytes, Instant::FAR, None);
        match host.driver.submit(now, TransferSpec { ep, op, lease, mr, len, deadline, session, tag }) {
            Ok(_) => {
                self.connections[connection].ends[end].receives += 1;
                self.world.touch(node);
            }
            // Its endpoint was closed under us; that is told on its own.
            Err(_) => self.fail(connection, end),
        }
    }

    /// Something failed at one end. The connection is made anew a little later; the other end goes on until then.
    pub(super) fn fail(&mut self, connection: usize, end: usize) {
        self.connections[connection].ends[end].failed = true;
        self.remake(connection);
    }

    /// Plans to make a connection anew.
    pub(super) fn remake(&mut self, connection: usize) {
        let failed = &mut self.connections[connection];
        failed.up = false;
        if !failed.planned {
            failed.planned = true;
            let at = self.world.now() + RECONNECT_NS + 4 * self.profile.base_ns;
            self.tasks.add(at, Task::Reconnect(connection));
        }
    }

    /// Whether a host can do something about its connections.
    pub(super) fn is_able(&self, node: u16) -> bool {
        self.hosts[usize::from(node)].outage.is_none() && !self.world.is_paused(node)
    }

    /// Makes a connection anew: whatever is under way is flushed, both ends begin another life, keys are exchanged again.
    /// Waits for hosts that cannot, until they can.
    pub(super) fn reconnect(&mut self, connection: usize) {
        let nodes = self.plan.connections[connection].nodes;
        if self.connections[connection].up || !nodes.iter().all(|node| self.is_able(*node)) {
            self.connections[connection].planned = false;
            return;
        }
        // What has arrived is not to be lost with the queue pair.
        nodes.into_iter().for_each(|node| self.drain(node));
        let life = self.connections[connection].life + 1;
        for end in 0..2 {
            let at = &mut self.connections[connection].ends[end];
            at.failed = true;
            let (node, Some(ep)) = (at.node, at.ep) else { continue };
            let context = self.world.nodes[usize::from(node)].driver.context();
            if life % 2 == 1 && context.is_open(ep) {
                if let Err(error) = context.modify(ep, QpState::Reset) {
                    self.guilty(Check::Success, None, || format!("connection {connection}: {error}"));
                }
            } else {
                context.close(ep);
                self.connections[connection].ends[end].ep = None;
            }
        }
        nodes.into_iter().for_each(|node| self.drain(node));
        for end in 0..2 {
            let at = &self.connections[connection].ends[end];
            let (operations, receives) = (at.in_flight, at.receives);
            if operations + receives > 0 {
                self.guilty(Check::Leak, None, || {
                    format!(
                        "connection {connection} began again, and {operations} operations and {receives} receives of \
                         end {end} have not ended"
                    )
                });
            }
        }
        self.connections[connection].life = life;
        // A queue pair that is used again waits until no packet of its earlier life is under way: one would be answered, and
        // cost the peer a retry (TimeWait, IBA 12.9.8.4).
        let wait = if life % 2 == 1 { TIME_WAIT_NS + self.plan.jitter_ns } else { 0 };
        self.tasks.add(self.world.now() + wait, Task::Introduce(connection));
    }

    /// Points both ends of a connection that began another life at each other, if both hosts still can.
    pub(super) fn introduce_again(&mut self, connection: usize) {
        self.connections[connection].planned = false;
        let nodes = self.plan.connections[connection].nodes;
        if nodes.iter().all(|node| self.is_able(*node)) {
            self.open_connection(connection);
            self.introduce(connection);
        }
    }

    /// A host can act again: its failed connections are made anew.
    pub(super) fn reconnect_all(&mut self, node: u16) {
        for connection in 0..self.connections.len() {
            if self.plan.connections[connection].nodes.contains(&node) && !self.connections[connection].up {
                self.remake(connection);
            }
        }
    }
}
