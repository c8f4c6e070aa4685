//! The mix of operations: the `[[op]]` tables, checked against nodes and regions.

use wavetank_contract::OpKind;

use super::document::{Table, Value};
use super::error::WorkloadError;
use super::limits::{ATOMIC_BYTES, MAX_ALIGN_BYTES, MAX_MIX, MAX_OBJECTS, MAX_SEND_BYTES, MAX_WEIGHT};
use super::op::{KINDS, Op};
use super::place::Place;
use super::size::Sizes;
use super::topology::Topology;
use super::units::Bytes;

const KEYS: &[&str] = &["kind", "from", "to", "region", "weight", "size", "place", "align"];
const ALIGN_BYTES: u64 = 8;

/// Reads every `[[op]]`. At least one has a weight above 0.
pub(super) fn read(top: &Table<'_>, topology: &Topology) -> Result<Vec<Op>, WorkloadError> {
    let tables = top.tables("op", KEYS)?;
    let Some(first) = tables.first() else {
        return Err(top.missing("op", "give at least one [[op]], or a [source] to replay"));
    };
    if tables.len() as u64 > MAX_MIX {
        return Err(first.error(format!("found {} operations; wanted at most {MAX_MIX}", tables.len())));
    }
    let mut objects_left = MAX_OBJECTS;
    let mut mix = Vec::with_capacity(tables.len());
    for table in &tables {
        let op = read_op(table, topology)?;
        if let Place::Zipf { objects, .. } = op.place {
            objects_left = objects_left.checked_sub(u64::from(objects)).ok_or_else(|| {
                table.error(format!("all zipf places together have more than {MAX_OBJECTS} objects"))
            })?;
        }
        mix.push(op);
    }
    if mix.iter().all(|op| op.weight == 0) {
        let weight = first.need("weight", "")?;
        return Err(weight.error("every weight is 0, so there is nothing to do; give one a weight above 0"));
    }
    Ok(mix)
}

fn read_op(table: &Table<'_>, topology: &Topology) -> Result<Op, WorkloadError> {
    let kind = table.need("kind", "as in kind = \"read\"")?.one_of(&KINDS)?;
    let from = topology.node(&table.need("from", "name the node that posts it")?)?;
    let weight = table.get("weight").map_or(Ok(1), |weight| weight.number(0..=MAX_WEIGHT))?;
    let mut op = Op {
        kind,
        from,
        to: from,
        region: None,
        weight,
        sizes: read_sizes(table, kind)?,
        place: Place::Uniform,
        align: ALIGN_BYTES,
        line: table.line(),
    };
    if kind == OpKind::Send {
        target_node(&mut op, table, topology)?;
    } else {
        target_region(&mut op, table, topology)?;
    }
    Ok(op)
}

fn read_sizes(table: &Table<'_>, kind: OpKind) -> Result<Sizes, WorkloadError> {
    if !kind.is_atomic() {
        return Sizes::read(&table.need("size", "as in size = \"8KiB\"")?);
    }
    let atomic = Sizes::fixed(ATOMIC_BYTES);
    match table.get("size") {
        Some(size) if Sizes::read(&size)? != atomic => {
            Err(size.error(format!("an atomic works on {ATOMIC_BYTES} bytes; leave it out")))
        }
        _ => Ok(atomic),
    }
}

fn target_node(op: &mut Op, table: &Table<'_>, topology: &Topology) -> Result<(), WorkloadError> {
    for key in ["region", "place", "align"] {
        if let Some(value) = table.get(key) {
            return Err(value.error("a send goes where the receiver wants it; give `to` and remove this"));
        }
    }
    let to = table.need("to", "name the node that receives the message")?;
    op.to = topology.node(&to)?;
    if op.to == op.from {
        return Err(to.error("is the node that posts it; name another"));
    }
    let largest = u64::from(op.sizes.max());
    if largest > MAX_SEND_BYTES {
        let size = table.need("size", "")?;
        let (largest, limit) = (Bytes(largest), Bytes(MAX_SEND_BYTES));
        return Err(
            size.error(format!("{largest} is larger than a message may be ({limit}); write it instead"))
        );
    }
    Ok(())
}

fn target_region(op: &mut Op, table: &Table<'_>, topology: &Topology) -> Result<(), WorkloadError> {
    if let Some(to) = table.get("to") {
        return Err(to.error(format!("only a send names a node; a {} names a region", op.kind.name())));
    }
    let key = table.need("region", "name the region it works on")?;
    let id = topology.region(&key)?;
    let region = &topology.regions[id.0 as usize];
    if region.node == op.from {
        let (name, node) = (&region.name, &topology.nodes[op.from.0 as usize].name);
        return Err(
            key.error(format!("\"{name}\" is on {node}, which posts it; name a region of another node"))
        );
    }
    (op.region, op.to) = (Some(id), region.node);
    let largest = u64::from(op.sizes.max());
    if largest > region.bytes {
        let (largest, name, bytes) = (Bytes(largest), &region.name, Bytes(region.bytes));
        let problem = format!("{largest} is larger than region \"{name}\" ({bytes})");
        return Err(table.get("size").as_ref().unwrap_or(&key).error(problem));
    }
    if let Some(align) = table.get("align") {
        op.align = read_align(&align, op.kind)?;
    }
    op.place = Place::read(table.get("place").as_ref(), region, &op.sizes, op.align)?;
    Ok(())
}

fn read_align(value: &Value<'_>, kind: OpKind) -> Result<u64, WorkloadError> {
    let align = value.bytes(1..=MAX_ALIGN_BYTES)?;
    if !align.is_power_of_two() {
        return Err(value.error(format!("{} is not a power of two", Bytes(align))));
    }
    if kind.is_atomic() && align < u64::from(ATOMIC_BYTES) {
        return Err(value.error(format!("an atomic needs an alignment of at least {ATOMIC_BYTES}")));
    }
    Ok(align)
}
