//! Memory of a replay: regions with their owners' data, and arenas to work with.

use std::collections::BTreeMap;
use std::sync::Arc;

use wavetank_contract::region::PAGE_BYTES;
use wavetank_contract::{Access, PdId, RegionSpec};
use wavetank_engine::RdmaOps;
use wavetank_engine::memory::Arena;

use super::SetupError;
use super::uses::Uses;
use crate::atomic::Cells;
use crate::pattern::{self, Tag};
use crate::replay::connection::Connections;
use crate::replay::place::{Contents, Home, Place, VolumeFile};
use crate::version::Versions;
use crate::workload::Workload;
use crate::world::Node;

/// Memory that the buffers of all posters together may take before they have to share, unless one alone needs more.
const BUFFERS_BYTES: u64 = 1 << 30;

/// Makes every region, with its owner's data in it.
pub(super) fn make_places<C: RdmaOps>(
    workload: &Workload,
    uses: &Uses,
    volume: Option<&Arc<VolumeFile>>,
    nodes: &mut [Node<C>],
) -> Result<Vec<Place>, SetupError> {
    let mut places = Vec::with_capacity(workload.regions.len());
    for (id, region) in (0u32..).zip(&workload.regions) {
        let context = nodes[region.node.0 as usize].driver.context();
        let what = || format!("region {}", region.name);
        let memory = context
            .allocate(&RegionSpec::new(region.bytes))
            .map_err(|error| SetupError::Allocate { what: what(), error })?;
        let mr = context
            .register(&memory, PdId::default(), Access::ALL)
            .map_err(|error| SetupError::Register { what: what(), error })?;
        let contents = match volume {
            Some(file) => {
                memory.write(0, &file.bytes);
                Contents::Volume(Arc::clone(file))
            }
            _ if uses.atomic.contains(&id) => Contents::Cells(Cells::default()),
            _ => {
                // The owner writes its data: what READs have to bring.
                pattern::fill(&memory, 0, region.bytes as usize, Tag { region: id, generation: 0 }, 0);
                Contents::Pattern(Versions::new(region.bytes, uses.written.contains(&id)))
            }
        };
        let (name, home) = (region.name.clone(), Home::Here { node: region.node.0, memory, mr });
        places.push(Place { name, id, len: region.bytes, home, contents });
    }
    Ok(places)
}

/// Gives each node that posts or receives memory for what may be under way there.
pub(super) fn make_arenas<C: RdmaOps>(
    workload: &Workload,
    uses: &Uses,
    connections: &Connections,
    receives: &[u32],
    receive_bytes: u64,
    nodes: &mut [Node<C>],
) -> Result<(), SetupError> {
    let wanted = uses.posters.values().map(|longest| slot(*longest) * u64::from(workload.load.concurrency));
    let budget = wanted.clone().max().unwrap_or(0).max(BUFFERS_BYTES);
    // Any poster may have all of the concurrency; where that is too much memory, its operations wait for each other.
    let share = wanted.sum::<u64>().div_ceil(budget).max(1);
    for (node, longest) in &uses.posters {
        let slots = u64::from(workload.load.concurrency).div_ceil(share);
        let host = &mut nodes[node.0 as usize];
        host.arena = Some(make_arena(host.driver.context(), "operations", slot(*longest) * slots)?);
    }
    let mut receive_slots: BTreeMap<u16, u64> = BTreeMap::new();
    for (index, receives) in receives.iter().enumerate().filter(|(_, receives)| **receives > 0) {
        let Some((node, _)) = connections.get(index).target else { continue };
        *receive_slots.entry(node).or_default() += u64::from(*receives);
    }
    for (node, slots) in receive_slots {
        let host = &mut nodes[node as usize];
        host.receives = Some(make_arena(host.driver.context(), "receives", slot(receive_bytes) * slots)?);
    }
    Ok(())
}

/// What a lease of this length takes of its arena.
pub(super) fn slot(bytes: u64) -> u64 {
    bytes.max(PAGE_BYTES).next_power_of_two()
}

fn make_arena<C: RdmaOps>(context: &mut C, what: &str, bytes: u64) -> Result<Arena, SetupError> {
    let spec = RegionSpec::new(bytes);
    let what = || format!("the memory of {what}");
    let memory = context.allocate(&spec).map_err(|error| SetupError::Allocate { what: what(), error })?;
    let mr = context
        .register(&memory, PdId::default(), Access::LOCAL)
        .map_err(|error| SetupError::Register { what: what(), error })?;
    Ok(Arena::new(memory, mr)?)
}
