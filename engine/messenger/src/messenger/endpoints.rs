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
            access: Access { remote_atomic: false, ..Access::ALL },
            max_rd_atomic: base.max_rd_atomic.min(rd_atomic),
            max_dest_rd_atomic: base.max_dest_rd_atomic.min(rd_atomic),
            ..base
        };
        let ep = self.driver.context().open(&spec)?;
        self.cqs[place].1 += 1;
        if let Some(connection) = self.connections.get_mut(key) {
            (connection.ep, connection.cq) = (Some(ep), Some(place));
        }
        self.by_ep.insert(ep, key);
        Ok(ep)
    }

    /// Closes a connection's endpoint, if it has one: from here on the peer reaches nothing through it, and its works end.
    pub(super) fn close_endpoint(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (ep, cq) = (connection.ep.take(), connection.cq.take());
        // Transfers of this endpoint end with it, and are none of the next one's.
        (connection.in_flight, connection.moving) = (0, 0);
        if let Some((_, used)) = cq.and_then(|place| self.cqs.get_mut(place)) {
            *used -= 1;
        }
        if let Some(ep) = ep {
            self.by_ep.remove(&ep);
            self.driver.context().close(ep);
        }
    }
}
