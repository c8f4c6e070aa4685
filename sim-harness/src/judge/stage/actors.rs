//! The regions and endpoints of a program on one lab.

use std::collections::BTreeMap;

use wavetank_contract::{EpId, MrId, Region, RemoteKey};

use super::Queue;
use crate::judge::program::{End, RegionId, RegionPlan, pattern};

/// What a program has on a lab.
#[derive(Debug, Default)]
pub(super) struct Actors {
    pub(super) regions: BTreeMap<RegionId, Memory>,
    pub(super) endpoints: BTreeMap<End, Endpoint>,
    /// Steps whose works were posted, and where.
    pub(super) posted: BTreeMap<usize, (End, Queue)>,
    /// Steps posted since the last doorbell.
    pub(super) rung: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Memory {
    pub(super) plan: RegionPlan,
    pub(super) region: Region,
    /// The latest registration, even if it ended.
    pub(super) mr: MrId,
    pub(super) live: bool,
    pub(super) life: u32,
    pub(super) key: Option<RemoteKey>,
    pub(super) old_key: Option<RemoteKey>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Endpoint {
    pub(super) ep: EpId,
    pub(super) open: bool,
}

impl Memory {
    /// The owner writes what belongs there.
    pub(super) fn fill(&self, id: RegionId) {
        let bytes: Vec<u8> = (0..self.plan.len).map(|i| pattern(id, self.life, i)).collect();
        self.region.write(0, &bytes);
    }
}

impl Actors {
    pub(super) fn end_of(&self, node: usize, ep: EpId) -> Option<End> {
        self.endpoints.iter().find(|(end, e)| end.node == node && e.ep == ep).map(|(end, _)| *end)
    }

    pub(super) fn open(&self) -> impl Iterator<Item = (End, EpId)> {
        self.endpoints.iter().filter(|(_, e)| e.open).map(|(end, e)| (*end, e.ep))
    }

    pub(super) fn memory(&self) -> BTreeMap<RegionId, Vec<u8>> {
        let registered = self.regions.iter().filter(|(_, memory)| memory.live);
        let bytes = |memory: &Memory| {
            let mut bytes = vec![0; memory.plan.len as usize];
            memory.region.read(0, &mut bytes);
            bytes
        };
        registered.map(|(id, memory)| (*id, bytes(memory))).collect()
    }
}
