//! Coverage of the state space: queue pair state by event, verb by status, fault by phase. Cells are counted by name, so that
//! the counts of many runs add up; cells that are never hit are listed, with the reason where one is known.

mod known;
mod steps;

use std::collections::BTreeMap;

use wavetank_contract::{OpKind, Status};

use crate::lab::{Cause, DeviceFault, HostFault, LinkFault, MemoryFault};

pub use known::reason;
pub use steps::StepCounts;

/// What the world was doing when a fault came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// No operation was under way.
    Idle,
    /// Operations were under way.
    UnderWay,
    /// Something had been sent again since an operation last ended.
    Retrying,
    /// A connection was down.
    Down,
}

impl Phase {
    /// All of them.
    pub const ALL: [Phase; 4] = [Phase::Idle, Phase::UnderWay, Phase::Retrying, Phase::Down];

    /// Its name in cells.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::UnderWay => "under way",
            Phase::Retrying => "retrying",
            Phase::Down => "connection down",
        }
    }
}

/// How operations can end beside the statuses of a device.
pub const ENDINGS: [&str; 4] = ["DEADLINE", "CANCELLED", "SESSION_ENDED", "REFUSED"];

/// What a run covered.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    ended: BTreeMap<(OpKind, &'static str), u64>,
    faults: BTreeMap<(&'static str, Phase), u64>,
}

impl Coverage {
    /// An operation or a receive ended: a status, or one of [`ENDINGS`].
    pub fn ended(&mut self, kind: OpKind, how: &'static str) {
        *self.ended.entry((kind, how)).or_default() += 1;
    }

    /// A fault came.
    pub fn fault(&mut self, cause: &Cause, phase: Phase) {
        *self.faults.entry((fault_name(cause), phase)).or_default() += 1;
    }

    /// Every cell that was hit, by name, and how often.
    pub fn cells(&self, steps: Option<&StepCounts>) -> BTreeMap<String, u64> {
        let ended = self.ended.iter().map(|((kind, how), count)| (ending_cell(*kind, how), *count));
        let faults = self.faults.iter().map(|((fault, phase), count)| (fault_cell(fault, *phase), *count));
        let steps = steps.into_iter().flat_map(StepCounts::cells);
        ended.chain(faults).chain(steps).collect()
    }
}

/// Every cell there is.
pub fn cells() -> Vec<String> {
    let endings = || Status::ALL.into_iter().map(Status::name).chain(ENDINGS);
    let ended = OpKind::ALL.into_iter().flat_map(|kind| endings().map(move |how| ending_cell(kind, how)));
    let faults = FAULTS.iter().flat_map(|fault| Phase::ALL.map(|phase| fault_cell(fault, phase)));
    steps::all_cells().chain(ended).chain(faults).collect()
}

/// Cells that were not hit, each with the reason why it cannot be, if one is known.
pub fn never_hit(hit: &BTreeMap<String, u64>) -> Vec<(String, Option<&'static str>)> {
    let missing = cells().into_iter().filter(|cell| !hit.contains_key(cell));
    missing.map(|cell| (reason(&cell), cell)).map(|(reason, cell)| (cell, reason)).collect()
}

fn ending_cell(kind: OpKind, how: &str) -> String {
    format!("verb {} x {how}", kind.name())
}

fn fault_cell(fault: &str, phase: Phase) -> String {
    format!("fault {fault} x {}", phase.name())
}

/// Names of faults in cells.
const FAULTS: [&str; 27] = [
    "link cut",
    "link lose-nth",
    "link lose",
    "link duplicate",
    "link reorder",
    "link delay",
    "link corrupt",
    "link truncate",
    "link throttle",
    "port down",
    "device removed",
    "address changed",
    "notification lost",
    "registration failed",
    "placed out of order",
    "completions shuffled",
    "port paused",
    "buffer shallow",
    "congestion marked",
    "host paused",
    "host crashed",
    "host restarted",
    "client died",
    "region deregistered",
    "key rolled",
    "window revoked",
    "source changed",
];

/// The name of a fault in cells; what undoes a fault has none of its own.
fn fault_name(cause: &Cause) -> &'static str {
    match cause {
        Cause::Link { fault, .. } => match fault {
            LinkFault::Cut => "link cut",
            LinkFault::LoseNth { .. } => "link lose-nth",
            LinkFault::LoseOneIn { .. } => "link lose",
            LinkFault::DuplicateOneIn { .. } => "link duplicate",
            LinkFault::ReorderOneIn { .. } => "link reorder",
            LinkFault::Delay { .. } => "link delay",
            LinkFault::CorruptOneIn { .. } => "link corrupt",
            LinkFault::TruncateOneIn { .. } => "link truncate",
            LinkFault::Throttle { .. } => "link throttle",
        },
        Cause::Mend { .. } => "link mended",
        Cause::Device { fault, .. } => match fault {
            DeviceFault::PortDown => "port down",
            DeviceFault::PortUp => "port up",
            DeviceFault::Remove => "device removed",
            DeviceFault::ChangeGid => "address changed",
            DeviceFault::LoseNotification => "notification lost",
            DeviceFault::FailRegistration { .. } => "registration failed",
            DeviceFault::PlaceOutOfOrder => "placed out of order",
            DeviceFault::ShuffleCompletions => "completions shuffled",
            DeviceFault::Pause { .. } => "port paused",
            DeviceFault::ShallowBuffer { .. } => "buffer shallow",
            DeviceFault::MarkCongestion => "congestion marked",
        },
        Cause::Host { fault, .. } => match fault {
            HostFault::Pause => "host paused",
            HostFault::Resume => "host resumed",
            HostFault::Crash => "host crashed",
            HostFault::Restart { .. } => "host restarted",
            HostFault::ClientDeath => "client died",
        },
        Cause::Memory { fault, .. } => match fault {
            MemoryFault::Deregister => "region deregistered",
            MemoryFault::RollKey => "key rolled",
            MemoryFault::RevokeWindow => "window revoked",
            MemoryFault::ChangeSource => "source changed",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_has_a_name_of_its_own_and_hits_are_among_them() {
        let all = cells();
        let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        let mut coverage = Coverage::default();
        coverage.ended(OpKind::Read, Status::RetryExcErr.name());
        coverage.fault(&Cause::Memory { region: 0, fault: MemoryFault::RollKey }, Phase::Retrying);
        let hit = coverage.cells(None);
        assert_eq!(hit.len(), 2);
        assert!(hit.keys().all(|cell| all.contains(cell)), "{hit:?}");
        assert_eq!(never_hit(&hit).len(), all.len() - 2);
    }

    #[test]
    fn reasons_are_given_for_some_cells_and_not_for_ordinary_ones() {
        assert!(reason(&ending_cell(OpKind::Read, "LOC_RDD_VIOL_ERR")).is_some());
        assert_eq!(reason(&ending_cell(OpKind::Read, "SUCCESS")), None);
        assert_eq!(reason(&fault_cell("link cut", Phase::UnderWay)), None);
    }
}
