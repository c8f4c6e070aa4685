//! Telling whoever looks on.

use wavetank_contract::{Instant, Mtu};
use wavetank_engine::{Finished, RdmaOps, TransferSpec};

use super::Replay;
use crate::fault::Step;
use crate::watch::{Connected, End, Ending, Submitted, Target, Watch};
use crate::workload::Planned;

impl<C: RdmaOps> Replay<C> {
    /// Lets somebody look on. Of a run on devices only operations are told.
    pub fn watch(&mut self, watch: Watch) {
        if let (Some(fabric), Some(tap)) = (self.world.fabric(), watch.tap) {
            fabric.set_tap(Some(tap));
        }
        let Some(mut watcher) = watch.watcher else { return };
        for index in 0..self.connections.len() {
            if let Some(connected) = self.connected(index) {
                watcher.connected(self.world.now(), &connected);
            }
        }
        self.watcher = Some(watcher);
    }

    /// A connection of which both ends are here.
    fn connected(&self, index: usize) -> Option<Connected> {
        let connection = self.connections.get(index);
        let ends = [connection.poster, connection.target?].map(|(node, ep)| End { node, ep });
        let settings = &self.workload.settings;
        let Some(mtu) = Mtu::from_bytes(settings.mtu.into()) else {
            unreachable!("the workload's MTU was validated")
        };
        Some(Connected { connection: index as u32, ends, mtu, retry_cnt: settings.patience.retry_cnt })
    }

    /// A connection was made anew.
    pub(super) fn tell_connected(&mut self, index: usize) {
        let (now, connected) = (self.world.now(), self.connected(index));
        if let (Some(watcher), Some(connected)) = (&mut self.watcher, connected) {
            watcher.connected(now, &connected);
        }
    }

    /// A fault comes or ends.
    pub(super) fn tell_fault(&mut self, now: Instant, step: &Step) {
        if let Some(watcher) = &mut self.watcher {
            watcher.fault(now, step);
        }
    }

    /// An operation goes to its driver.
    pub(super) fn tell_submitted(&mut self, now: Instant, op: u64, planned: &Planned, spec: &TransferSpec) {
        let Some(watcher) = &mut self.watcher else { return };
        let target =
            planned.region.map(|id| Target { region: id.0 as u16, slot: None, offset: planned.offset });
        let submitted = Submitted {
            op,
            from: End { node: planned.from.0, ep: spec.ep },
            kind: planned.kind,
            mr: spec.mr,
            offset: spec.lease.offset(),
            len: spec.len,
            target,
            deadline: spec.deadline,
        };
        watcher.submitted(now, &submitted);
    }

    /// An operation ended.
    pub(super) fn tell_ended(&mut self, now: Instant, op: u64, finished: &Finished) {
        if let Some(watcher) = &mut self.watcher {
            watcher.ended(now, op, &Ending::of(finished));
        }
    }

    /// An operation was refused.
    pub(super) fn tell_refused(&mut self, now: Instant, op: u64, why: &str) {
        if let Some(watcher) = &mut self.watcher {
            watcher.ended(now, op, &Ending::NotBegun(why));
        }
    }

    /// A check found something wrong with an operation.
    pub(super) fn tell_blamed(&mut self, now: Instant, op: u64, what: &str) {
        if let Some(watcher) = &mut self.watcher {
            watcher.blamed(now, op, what);
        }
    }
}
