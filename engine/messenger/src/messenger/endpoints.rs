//! Endpoints of connections, and the completion queues that connections share.

use wavetank_contract::error::OpenError;
use wavetank_contract::{Access, EndpointSpec, EpId};
use wavetank_engine::RdmaOps;
use wavetank_engine::slab::Key;

use super::Messenger;

/// Sends a connection may have posted at a time.
const SEND_DEPTH: u32 = 64;
/// Connections of one completion queue, at most: a queue that overruns takes all of them along.
const SHARE: u32 = 64;

impl<C: RdmaOps> Messenger<C> {
    /// An endpoint for a connection.
    pub(super) fn open_endpoint(&mut self, key: Key) -> Result<EpId, OpenError> {
        let window = self.config.window;
        let caps = self.driver.context().caps();
        let (send_depth, recv_depth) =
            (SEND_DEPTH.min(caps.queue_depth_max), window.min(caps.queue_depth_max));
        // Receives of a shared queue complete on a queue of their own.
        let shared = self.shared_place()?;
        let (recv_depth, shared_receive) = match shared {
            Some((_, srq, _)) => (0, Some(srq)),
            None => (recv_depth, None),
        };
        let caps = self.driver.context().caps();
        let each = send_depth + recv_depth;
        let share = (caps.cq_depth_max / each).clamp(1, SHARE);
        let place = match self.cqs.iter().position(|(_, used)| *used < share) {
            Some(place) => place,
            None => {
                let cq = self.driver.context().open_cq(share * each)?;
                self.cqs.push((cq, 0));
                self.cqs.len() - 1
            }
        };
        let cq = self.cqs[place].0;
        let base = EndpointSpec::new(cq);
        let rd_atomic = self.driver.context().caps().rd_atomic_max;
        let spec = EndpointSpec {
            send_depth,
            recv_depth,
            shared_receive,
            recv_cq: shared.map_or(cq, |(.., recv_cq)| recv_cq),
            access: Access { remote_atomic: false, ..Access::ALL },
            max_rd_atomic: base.max_rd_atomic.min(rd_atomic),
            max_dest_rd_atomic: base.max_dest_rd_atomic.min(rd_atomic),
            ..base
        };
        let ep = match self.driver.context().open(&spec) {
            Ok(ep) => ep,
            Err(error) => {
                self.end_unused();
                return Err(error);
            }
        };
        self.cqs[place].1 += 1;
        let shared = shared.map(|(shared, ..)| shared);
        if let Some(queue) = shared.and_then(|place| self.shared.get_mut(place)) {
            queue.endpoints += 1;
        }
        if let Some(connection) = self.connections.get_mut(key) {
            (connection.ep, connection.cq, connection.shared) = (Some(ep), Some(place), shared);
        }
        self.by_ep.insert(ep, key);
        Ok(ep)
    }

    /// Closes a connection's endpoint, if it has one: from here on the peer reaches nothing through it, and its works end.
    pub(super) fn close_endpoint(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (ep, cq) = (connection.ep.take(), connection.cq.take());
        // Transfers end with it, and are no sign that anything is stuck on the next one.
        (connection.in_flight, connection.moving) = (0, 0);
        let shared = connection.shared.take();
        if let Some(queue) = shared.and_then(|place| self.shared.get_mut(place)) {
            // What it was promised and has not used is free again at once.
            queue.promised -= connection.window.forfeit();
            queue.endpoints -= 1;
        }
        if let Some((_, used)) = cq.and_then(|place| self.cqs.get_mut(place)) {
            *used -= 1;
        }
        if let Some(ep) = ep {
            self.by_ep.remove(&ep);
            self.driver.context().close(ep);
        }
        if shared.is_some() {
            self.end_unused();
        }
    }
}
