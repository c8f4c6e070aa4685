//! Connections, regions, slots and nodes that nothing uses any more go, and what is left is numbered anew.

use std::collections::BTreeSet;

use super::{Case, Shrinker};
use crate::fault::When;
use crate::lab::Cause;
use crate::swarm::plan::{Plan, VerbPlan};

/// One way to tidy a plan.
type Tidy = fn(&mut Plan);

impl Shrinker<'_> {
    pub(super) fn unused(&mut self) {
        const TIDY: [Tidy; 5] = [drop_connections, drop_regions, pack_slots, trim_slots, drop_nodes];
        let with = |case: &Case, tidy: &[Tidy]| {
            let mut case = case.clone();
            tidy.iter().for_each(|tidy| tidy(&mut case.plan));
            case
        };
        if !self.attempt(with(&self.best, &TIDY)) {
            for tidy in TIDY {
                self.attempt(with(&self.best, &[tidy]));
            }
        }
    }
}

/// Where each used number goes: its place among the used ones.
fn renumber(used: &BTreeSet<u16>, number: &mut u16) {
    *number = used.range(..*number).count() as u16;
}

fn keep<T>(list: &mut Vec<T>, used: &BTreeSet<u16>) {
    let mut index = 0;
    list.retain(|_| {
        index += 1;
        used.contains(&(index - 1))
    });
}

/// The region of an operation, and its slot.
fn place(verb: &mut VerbPlan) -> Option<(&mut u16, &mut u16)> {
    match verb {
        VerbPlan::Read(range) | VerbPlan::Write { to: range, .. } => {
            Some((&mut range.region, &mut range.slot))
        }
        VerbPlan::Add { region, slot } | VerbPlan::Swap { region, slot } => Some((region, slot)),
        VerbPlan::Send { .. } | VerbPlan::CloseSession => None,
    }
}

/// The slot of an operation, if it is in this region.
fn slot_of(verb: &mut VerbPlan, number: u16) -> Option<&mut u16> {
    place(verb).filter(|(region, _)| **region == number).map(|(_, slot)| slot)
}

fn drop_connections(plan: &mut Plan) {
    let mut used: BTreeSet<u16> = plan.ops.iter().map(|op| op.connection).collect();
    used.extend(plan.faults.iter().filter_map(|fault| match fault.when {
        When::Op { connection, .. } => connection,
        _ => None,
    }));
    if used.is_empty() {
        // A plan has one at least.
        used.insert(0);
    }
    keep(&mut plan.connections, &used);
    plan.ops.iter_mut().for_each(|op| renumber(&used, &mut op.connection));
    for fault in &mut plan.faults {
        if let When::Op { connection: Some(connection), .. } = &mut fault.when {
            renumber(&used, connection);
        }
    }
}

fn drop_regions(plan: &mut Plan) {
    let mut used: BTreeSet<u16> =
        plan.ops.iter_mut().filter_map(|op| place(&mut op.verb).map(|(region, _)| *region)).collect();
    used.extend(plan.faults.iter().filter_map(|fault| match fault.cause {
        Cause::Memory { region, .. } => Some(region),
        _ => None,
    }));
    keep(&mut plan.regions, &used);
    plan.ops.iter_mut().filter_map(|op| place(&mut op.verb)).for_each(|(region, _)| renumber(&used, region));
    for fault in &mut plan.faults {
        if let Cause::Memory { region, .. } = &mut fault.cause {
            renumber(&used, region);
        }
    }
}

/// Slots in use stand together at the start of their region. Two operations share one if they did before.
fn pack_slots(plan: &mut Plan) {
    for number in 0..plan.regions.len() as u16 {
        let used: BTreeSet<u16> =
            plan.ops.iter_mut().filter_map(|op| slot_of(&mut op.verb, number).map(|slot| *slot)).collect();
        let slots = plan.ops.iter_mut().filter_map(|op| slot_of(&mut op.verb, number));
        slots.for_each(|slot| renumber(&used, slot));
        plan.regions[usize::from(number)].slots = (used.len() as u16).max(1);
    }
}

/// Slots are as long as the longest operation in them.
fn trim_slots(plan: &mut Plan) {
    for (number, region) in plan.regions.iter_mut().enumerate() {
        let ends = plan.ops.iter().filter_map(|op| match op.verb {
            VerbPlan::Read(range) | VerbPlan::Write { to: range, .. } => {
                (usize::from(range.region) == number).then(|| range.offset.saturating_add(range.len))
            }
            _ => None,
        });
        let longest = ends.max().unwrap_or(0).max(8).checked_next_multiple_of(8);
        region.slot_bytes = longest.unwrap_or(u32::MAX).min(region.slot_bytes);
    }
}

fn drop_nodes(plan: &mut Plan) {
    let mut used: BTreeSet<u16> = plan.connections.iter().flat_map(|connection| connection.nodes).collect();
    used.extend(plan.regions.iter().map(|region| region.node));
    plan.faults.iter_mut().for_each(|fault| {
        nodes(&mut fault.cause, |node| {
            used.insert(*node);
        })
    });
    plan.connections.iter_mut().flat_map(|c| &mut c.nodes).for_each(|node| renumber(&used, node));
    plan.regions.iter_mut().for_each(|region| renumber(&used, &mut region.node));
    plan.faults.iter_mut().for_each(|fault| nodes(&mut fault.cause, |node| renumber(&used, node)));
    plan.nodes = (used.len() as u16).max(crate::swarm::defaults::NODES).min(plan.nodes);
}

/// The nodes that a cause names.
fn nodes(cause: &mut Cause, mut each: impl FnMut(&mut u16)) {
    match cause {
        Cause::Link { from, to, .. } | Cause::Mend { from, to } => {
            each(from);
            each(to);
        }
        Cause::Device { node, .. } | Cause::Host { node, .. } => each(node),
        Cause::Memory { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::lab::{HostFault, LinkFault, MemoryFault};
    use crate::swarm::defaults::{CONNECTION, REGION};
    use crate::swarm::plan::{ConnectionPlan, RegionPlan, SlotRange};
    use crate::swarm::shrink::tests::plan_of;

    #[test]
    fn what_is_left_keeps_its_meaning_under_its_new_number() {
        let mut plan = plan_of(1);
        plan.nodes = 5;
        plan.connections = [[0, 1], [2, 4]].map(|nodes| ConnectionPlan { nodes, ..CONNECTION }).to_vec();
        plan.regions =
            [1, 3, 4].map(|node| RegionPlan { node, slots: 9, slot_bytes: 4096, ..REGION }).to_vec();
        plan.ops[0].connection = 1;
        plan.ops[0].verb = VerbPlan::Read(SlotRange { region: 2, slot: 7, offset: 8, len: 60 });
        let fault = |when, cause| Fault { when, cause, lasts_ns: None };
        plan.faults = vec![
            fault(
                When::Op { connection: Some(1), op: 0 },
                Cause::Link { from: 2, to: 4, fault: LinkFault::Cut },
            ),
            fault(When::At(0), Cause::Memory { region: 2, fault: MemoryFault::RollKey }),
            fault(When::At(0), Cause::Host { node: 4, fault: HostFault::Pause }),
        ];
        for tidy in [drop_connections, drop_regions, pack_slots, trim_slots, drop_nodes] as [Tidy; 5] {
            tidy(&mut plan);
        }
        assert_eq!(plan.nodes, 2);
        assert_eq!(plan.connections, [ConnectionPlan { nodes: [0, 1], ..CONNECTION }]);
        assert_eq!(plan.regions, [RegionPlan { node: 1, slots: 1, slot_bytes: 72, ..REGION }]);
        let read = VerbPlan::Read(SlotRange { region: 0, slot: 0, offset: 8, len: 60 });
        assert_eq!((plan.ops[0].connection, plan.ops[0].verb), (0, read));
        let found: Vec<(When, Cause)> = plan.faults.iter().map(|fault| (fault.when, fault.cause)).collect();
        let want = [
            (When::Op { connection: Some(0), op: 0 }, Cause::Link { from: 0, to: 1, fault: LinkFault::Cut }),
            (When::At(0), Cause::Memory { region: 0, fault: MemoryFault::RollKey }),
            (When::At(0), Cause::Host { node: 1, fault: HostFault::Pause }),
        ];
        assert_eq!(found, want);
    }
}
