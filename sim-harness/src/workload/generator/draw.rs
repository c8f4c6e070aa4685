//! A mix made ready for drawing.

use std::collections::BTreeMap;
use std::sync::Arc;

use wavetank_contract::OpKind;
use wavetank_contract::chance::{Choices, Site, mix64};
use wavetank_contract::time::Instant;

use super::Planned;
use crate::workload::op::Op;
use crate::workload::place::Place;
use crate::workload::size::Sizes;
use crate::workload::topology::{NodeId, Region, RegionId};
use crate::workload::weights::Weights;
use crate::workload::zipf::Zipf;

/// Draws operations of a mix.
#[derive(Clone, Debug)]
pub(super) struct Mixer {
    /// None when there is only one entry.
    weights: Option<Weights>,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    kind: OpKind,
    from: NodeId,
    to: NodeId,
    region: Option<RegionId>,
    line: u32,
    target: Target,
}

/// Size and place together, by what has to be drawn.
#[derive(Clone, Debug)]
enum Target {
    /// A message: a size, no place.
    Message {
        sizes: Sizes,
    },
    /// One size, so the number of places is known.
    Fixed {
        len: u32,
        places: u64,
        shift: u32,
    },
    Uniform {
        sizes: Sizes,
        region_bytes: u64,
        shift: u32,
    },
    Sequential {
        sizes: Sizes,
        region_bytes: u64,
        align: u64,
        next: u64,
    },
    Object {
        sizes: Sizes,
        zipf: Arc<Zipf>,
        slot_bytes: u64,
    },
}

impl Mixer {
    pub(super) fn new(mix: &[Op], regions: &[Region]) -> Mixer {
        let weights: Vec<u64> = mix.iter().map(|op| op.weight).collect();
        // Operations over the same objects share a table.
        let mut tables = BTreeMap::new();
        let entries = mix
            .iter()
            .map(|op| Entry {
                kind: op.kind,
                from: op.from,
                to: op.to,
                region: op.region,
                line: op.line,
                target: target(op, regions, &mut tables),
            })
            .collect();
        Mixer { weights: Weights::new(&weights), entries }
    }

    pub(super) fn draw<C: Choices + ?Sized>(&mut self, at: Option<Instant>, choices: &mut C) -> Planned {
        let index = self.weights.as_ref().map_or(0, |weights| weights.pick(choices, Site::WorkloadOp));
        let entry = &mut self.entries[index];
        let (offset, len) = entry.target.draw(choices);
        let Entry { kind, from, to, region, line, .. } = *entry;
        Planned { at, kind, from, to, region, offset, len, line }
    }
}

fn target(op: &Op, regions: &[Region], tables: &mut BTreeMap<(u64, u32), Arc<Zipf>>) -> Target {
    let sizes = op.sizes.clone();
    let Some(region) = op.region else {
        return Target::Message { sizes };
    };
    let region_bytes = regions[region.0 as usize].bytes;
    let shift = op.align.trailing_zeros();
    match (op.place, sizes.constant()) {
        (Place::Uniform, Some(len)) => Target::Fixed { len, places: places(region_bytes, len, shift), shift },
        (Place::Uniform, None) => Target::Uniform { sizes, region_bytes, shift },
        (Place::Sequential, _) => Target::Sequential { sizes, region_bytes, align: op.align, next: 0 },
        (Place::Zipf { exponent, objects, slot_bytes }, _) => {
            let table = tables.entry((exponent.to_bits(), objects));
            let zipf = table.or_insert_with(|| Arc::new(Zipf::new(exponent, objects))).clone();
            Target::Object { sizes, zipf, slot_bytes }
        }
    }
}

/// How many aligned offsets leave room for `len` bytes. At least one: sizes are checked against their region.
fn places(region_bytes: u64, len: u32, shift: u32) -> u64 {
    (region_bytes.saturating_sub(u64::from(len)) >> shift) + 1
}

impl Target {
    fn draw<C: Choices + ?Sized>(&mut self, choices: &mut C) -> (u64, u32) {
        match self {
            Target::Message { sizes } => (0, sizes.draw(choices)),
            Target::Fixed { len, places, shift } => {
                (choices.choose(Site::WorkloadPlace, *places) << *shift, *len)
            }
            Target::Uniform { sizes, region_bytes, shift } => {
                let len = sizes.draw(choices);
                let places = places(*region_bytes, len, *shift);
                (choices.choose(Site::WorkloadPlace, places) << *shift, len)
            }
            Target::Sequential { sizes, region_bytes, align, next } => {
                let len = sizes.draw(choices);
                let offset = if *next + u64::from(len) <= *region_bytes { *next } else { 0 };
                *next = (offset + u64::from(len)).next_multiple_of(*align);
                (offset, len)
            }
            Target::Object { sizes, zipf, slot_bytes } => {
                let object = u64::from(zipf.pick(choices, Site::WorkloadPlace));
                (object * *slot_bytes, sizes.by_hash(mix64(object)))
            }
        }
    }
}
