//! Operations and faults that can go.

use std::ops::Range;

use super::{Case, Shrinker};
use crate::fault::{Fault, When};
use crate::lab::{Cause, LinkFault};
use crate::swarm::plan::Plan;

impl Shrinker<'_> {
    pub(super) fn ops(&mut self) {
        self.remove(|case| case.plan.ops.len(), without_ops);
    }

    /// Faults that come by chance, for a while or to a few packets become steady, where they can: what is left then no longer
    /// depends on how much happened before.
    pub(super) fn steady(&mut self) {
        for index in 0..self.best.plan.faults.len() {
            for steadier in steadier(self.best.plan.faults[index]) {
                let mut case = self.best.clone();
                case.plan.faults[index] = steadier;
                if self.attempt(case) {
                    break;
                }
            }
        }
    }

    pub(super) fn faults(&mut self) {
        self.remove(
            |case| case.plan.faults.len(),
            |case, gone| {
                let mut case = case.clone();
                case.plan.faults.drain(gone);
                case
            },
        );
    }
}

/// The same fault with less chance in it, the steadiest first.
fn steadier(fault: Fault) -> [Fault; 4] {
    let always = match fault.cause {
        Cause::Link { from, to, fault } => Cause::Link { from, to, fault: to_every_packet(fault) },
        cause => cause,
    };
    let (from_start, on) = (When::At(0), None);
    [
        Fault { when: from_start, cause: always, lasts_ns: on },
        Fault { when: from_start, lasts_ns: on, ..fault },
        Fault { cause: always, ..fault },
        Fault { lasts_ns: on, ..fault },
    ]
}

fn to_every_packet(fault: LinkFault) -> LinkFault {
    match fault {
        LinkFault::LoseOneIn { burst, .. } => LinkFault::LoseOneIn { n: 1, burst },
        LinkFault::DuplicateOneIn { .. } => LinkFault::DuplicateOneIn { n: 1 },
        LinkFault::ReorderOneIn { by_ns, .. } => LinkFault::ReorderOneIn { n: 1, by_ns },
        LinkFault::CorruptOneIn { .. } => LinkFault::CorruptOneIn { n: 1 },
        LinkFault::TruncateOneIn { .. } => LinkFault::TruncateOneIn { n: 1 },
        other => other,
    }
}

/// Without these operations. Faults that come with an operation still come with it, or with the next that is left.
fn without_ops(case: &Case, gone: Range<usize>) -> Case {
    let mut case = case.clone();
    let kept: Vec<bool> = (0..case.plan.ops.len()).map(|index| !gone.contains(&index)).collect();
    for index in 0..case.plan.faults.len() {
        if let When::Op { connection, op } = case.plan.faults[index].when {
            let op = moved(&case.plan, connection, op, &kept);
            case.plan.faults[index].when = When::Op { connection, op };
        }
    }
    case.plan.ops.drain(gone);
    case
}

/// The number that an operation has when only the kept ones are counted.
fn moved(plan: &Plan, connection: Option<u16>, op: u32, kept: &[bool]) -> u32 {
    let counted = |at: &usize| connection.is_none_or(|connection| plan.ops[*at].connection == connection);
    let before = (0..kept.len()).filter(counted).take(op as usize);
    before.filter(|at| kept[*at]).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::HostFault;
    use crate::swarm::shrink::tests::plan_of;

    #[test]
    fn a_fault_stays_with_its_operation_when_others_go() {
        let mut plan = plan_of(6);
        // 0, 2, 4 over connection 0; 1, 3, 5 over connection 1.
        let cause = Cause::Host { node: 0, fault: HostFault::Pause };
        let at = |connection, op| Fault { when: When::Op { connection, op }, cause, lasts_ns: None };
        plan.faults = vec![at(None, 4), at(Some(0), 2), at(Some(1), 0), at(None, 1)];
        let case = without_ops(&Case { plan, loud: Vec::new() }, 1..3);
        let ids: Vec<u32> = case.plan.ops.iter().map(|op| op.id).collect();
        assert_eq!(ids, [0, 3, 4, 5]);
        let ops: Vec<u32> = case
            .plan
            .faults
            .iter()
            .map(|fault| match fault.when {
                When::Op { op, .. } => op,
                _ => u32::MAX,
            })
            .collect();
        assert_eq!(ops, [2, 1, 0, 1], "with operation 4, twice, and with the next where its own is gone");
    }
}
