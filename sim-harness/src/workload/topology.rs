//! Nodes and the regions of memory they own.

use std::collections::BTreeMap;

use super::document::{Table, Value};
use super::error::{WorkloadError, quote};
use super::limits::{MAX_MEMORY_BYTES, MAX_NAME_CHARS, MAX_NODES, MAX_REGIONS};
use super::units::Bytes;

/// A node of the workload: index into [`Workload::nodes`](super::Workload::nodes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

/// A region of the workload: index into [`Workload::regions`](super::Workload::regions).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(pub u32);

/// One host with one NIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name, unlike every other.
    pub name: String,
}

/// Registered memory that other nodes work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its name, unlike every other.
    pub name: String,
    /// The node whose memory it is.
    pub node: NodeId,
    /// Its size, at least 1.
    pub bytes: u64,
}

/// The nodes of a recording: who posts and who owns the files.
pub(super) const CLIENT: NodeId = NodeId(0);
pub(super) const STORAGE: NodeId = NodeId(1);

pub(super) fn client_and_storage() -> Vec<Node> {
    vec![Node { name: "client".to_owned() }, Node { name: "storage".to_owned() }]
}

/// Declared nodes and regions, found by name.
#[derive(Debug, Default)]
pub(super) struct Topology {
    pub(super) nodes: Vec<Node>,
    pub(super) regions: Vec<Region>,
    node_names: BTreeMap<String, NodeId>,
    region_names: BTreeMap<String, RegionId>,
}

impl Topology {
    /// Reads `[[node]]` and `[[region]]`.
    pub(super) fn read(top: &Table<'_>) -> Result<Topology, WorkloadError> {
        let mut topology = Topology::default();
        for table in top.tables("node", &["name"])? {
            topology.add_node(&table)?;
        }
        if topology.nodes.len() < 2 {
            let found = topology.nodes.len();
            return Err(
                top.missing("node", &format!("found {found} nodes; declare at least two with [[node]]"))
            );
        }
        for table in top.tables("region", &["name", "node", "size"])? {
            topology.add_region(&table)?;
        }
        Ok(topology)
    }

    fn add_node(&mut self, table: &Table<'_>) -> Result<(), WorkloadError> {
        let key = table.need("name", "a node needs a name")?;
        let name = name(&key)?;
        if self.nodes.len() as u64 == MAX_NODES {
            return Err(table.error(format!("more than {MAX_NODES} nodes")));
        }
        let id = NodeId(self.nodes.len() as u16);
        if self.node_names.insert(name.clone(), id).is_some() {
            return Err(key.error(format!("a node named {} exists already", quote(&name))));
        }
        self.nodes.push(Node { name });
        Ok(())
    }

    fn add_region(&mut self, table: &Table<'_>) -> Result<(), WorkloadError> {
        let key = table.need("name", "a region needs a name")?;
        let name = name(&key)?;
        if self.regions.len() as u64 == MAX_REGIONS {
            return Err(table.error(format!("more than {MAX_REGIONS} regions")));
        }
        let node = self.node(&table.need("node", "name the node whose memory it is")?)?;
        let size = table.need("size", "as in size = \"64MiB\"")?;
        let bytes = size.bytes(1..=MAX_MEMORY_BYTES)?;
        let total = bytes + self.regions.iter().map(|r| r.bytes).sum::<u64>();
        if total > MAX_MEMORY_BYTES {
            let (total, limit) = (Bytes(total), Bytes(MAX_MEMORY_BYTES));
            return Err(size.error(format!("makes the regions {total} together; the limit is {limit}")));
        }
        let id = RegionId(self.regions.len() as u32);
        if self.region_names.insert(name.clone(), id).is_some() {
            return Err(key.error(format!("a region named {} exists already", quote(&name))));
        }
        self.regions.push(Region { name, node, bytes });
        Ok(())
    }

    /// The node a value names.
    pub(super) fn node(&self, value: &Value<'_>) -> Result<NodeId, WorkloadError> {
        let name = value.text()?;
        self.node_names.get(name).copied().ok_or_else(|| {
            let known = listed(self.nodes.iter().map(|n| n.name.as_str()));
            value.error(format!("there is no node {}; there is {known}", quote(name)))
        })
    }

    /// The region a value names.
    pub(super) fn region(&self, value: &Value<'_>) -> Result<RegionId, WorkloadError> {
        let name = value.text()?;
        self.region_names.get(name).copied().ok_or_else(|| {
            let known = listed(self.regions.iter().map(|r| r.name.as_str()));
            value.error(format!("there is no region {}; there is {known}", quote(name)))
        })
    }
}

/// A name fit for tables and traces: short, and of characters that need no quoting.
pub(super) fn name(value: &Value<'_>) -> Result<String, WorkloadError> {
    let text = value.text()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !text.is_empty() && text.len() <= MAX_NAME_CHARS && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    let wanted = format!("1 to {MAX_NAME_CHARS} letters, digits, '_', '-' or '.'");
    Err(value.error(format!("{} is not a name; wanted {wanted}", quote(text))))
}

pub(crate) fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    const SHOWN: usize = 8;
    let mut names: Vec<&str> = names.take(SHOWN + 1).collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    if names.len() > SHOWN {
        names[SHOWN] = "...";
    }
    names.join(", ")
}
