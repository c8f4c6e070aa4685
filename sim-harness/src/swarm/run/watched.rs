//! Telling whoever looks on.

use wavetank_contract::{Choices, Instant};
use wavetank_engine::{Finished, RdmaOps, TransferSpec};

use super::Run;
use crate::fault::{Part, Step};
use crate::swarm::plan::{OpPlan, SlotRange, VerbPlan};
use crate::watch::{Connected, End, Ending, Submitted, Target, Watcher};

impl<C: RdmaOps, X: Choices + Clone + 'static> Run<'_, C, X> {
    #[inline]
    fn tell(&mut self, what: impl FnOnce(&mut dyn Watcher, Instant)) {
        if let Some(watcher) = self.watcher.as_deref_mut() {
            what(watcher, self.world.now());
        }
    }

    /// A connection was made, or made anew.
    pub(super) fn tell_connected(&mut self, connection: usize) {
        let plan = self.plan.connections[connection];
        let [a, b] =
            self.connections[connection].ends.each_ref().map(|end| Some(End { node: end.node, ep: end.ep? }));
        let (Some(a), Some(b)) = (a, b) else { return };
        let (mtu, retry_cnt) = (plan.mtu, plan.retry_cnt);
        let connected = Connected { connection: connection as u32, ends: [a, b], mtu, retry_cnt };
        self.tell(|watcher, at| watcher.connected(at, &connected));
    }

    /// An operation goes to its driver.
    pub(super) fn tell_submitted(&mut self, plan: &OpPlan, node: u16, spec: &TransferSpec) {
        let range = match plan.verb {
            VerbPlan::Read(range) | VerbPlan::Write { to: range, .. } => Some(range),
            VerbPlan::Add { region, slot } | VerbPlan::Swap { region, slot } => {
                Some(SlotRange { region, slot, offset: 0, len: 8 })
            }
            VerbPlan::Send { .. } | VerbPlan::CloseSession => None,
        };
        let target = range.map(|SlotRange { region, slot, offset, .. }| Target {
            region,
            slot: Some(slot),
            offset: offset.into(),
        });
        let submitted = Submitted {
            op: plan.id.into(),
            from: End { node, ep: spec.ep },
            kind: spec.op.kind(),
            mr: spec.mr,
            offset: spec.lease.offset(),
            len: spec.len,
            target,
            deadline: spec.deadline,
        };
        self.tell(|watcher, at| watcher.submitted(at, &submitted));
    }

    /// An operation is given up.
    pub(super) fn tell_cancelled(&mut self, id: u32) {
        self.tell(|watcher, at| watcher.cancelled(at, id.into()));
    }

    /// An operation was not begun.
    pub(super) fn tell_not_begun(&mut self, id: u32, why: &str) {
        self.tell(|watcher, at| watcher.ended(at, id.into(), &Ending::NotBegun(why)));
    }

    /// An operation ended.
    pub(super) fn tell_ended(&mut self, id: u32, finished: &Finished) {
        self.tell(|watcher, at| watcher.ended(at, id.into(), &Ending::of(finished)));
    }

    /// An oracle found something wrong with an operation.
    pub(super) fn tell_blamed(&mut self, id: u32, what: &str) {
        self.tell(|watcher, at| watcher.blamed(at, id.into(), what));
    }

    /// A fault comes or ends.
    pub(super) fn tell_fault(&mut self, fault: usize, part: Part) {
        let cause = self.plan.faults[fault].cause;
        self.tell(|watcher, at| watcher.fault(at, &Step { cause, fault, part }));
    }

    /// Everything is healed.
    pub(super) fn tell_healed(&mut self) {
        self.tell(|watcher, at| watcher.healed(at));
    }
}
