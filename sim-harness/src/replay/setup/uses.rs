//! What a workload does with its nodes and regions, known before anything is made.

use std::collections::{BTreeMap, BTreeSet};

use wavetank_contract::OpKind;

use super::SetupError;
use crate::record::Submit;
use crate::workload::{NodeId, Source, Workload};

/// What a workload does with its nodes and regions.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Poster and target, and whether messages need receives there.
    pub(super) pairs: BTreeMap<(NodeId, NodeId), bool>,
    /// Longest operation of each poster.
    pub(super) posters: BTreeMap<NodeId, u64>,
    /// Regions that operations write pattern data to.
    pub(super) written: BTreeSet<u32>,
    /// Regions that atomics work on.
    pub(super) atomic: BTreeSet<u32>,
    pub(super) message_bytes_max: u64,
}

impl Uses {
    /// Adds an operation of a recorded run, whose regions were checked when it was read.
    fn add_submit(&mut self, submit: &Submit) {
        let Submit { kind, from, to, region, len, .. } = *submit;
        let messages = matches!(kind, OpKind::Send | OpKind::WriteImm);
        *self.pairs.entry((NodeId(from), NodeId(to))).or_default() |= messages;
        let longest = self.posters.entry(NodeId(from)).or_default();
        *longest = u64::from(len).max(*longest);
        if kind == OpKind::Send {
            self.message_bytes_max = self.message_bytes_max.max(len.into());
        }
        match (kind, region) {
            (OpKind::Write | OpKind::WriteImm, Some(region)) => {
                self.written.insert(region);
            }
            (kind, Some(region)) if kind.is_atomic() => {
                self.atomic.insert(region);
            }
            _ => {}
        }
    }

    pub(super) fn of(workload: &Workload) -> Result<Uses, SetupError> {
        let mut uses = Uses::default();
        if let Source::Run { run, .. } = &workload.source {
            run.submits().for_each(|submit| uses.add_submit(submit));
            return Ok(uses);
        }
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
