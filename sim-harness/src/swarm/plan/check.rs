//! What makes a plan well-formed: every number within its limit, every name known, before anything is allocated.

use std::collections::{BTreeMap, BTreeSet};

use wavetank_mock::Profile;

use super::{ConnectionPlan, EnginePlan, OpPlan, Plan, RegionPlan, SlotRange, VerbPlan};
use crate::fault::{Fault, When};
use crate::lab::{Cause, DeviceFault, LinkFault, MemoryFault};

const JITTER_NS_MAX: u64 = 10_000_000;
const NODES_MAX: u64 = 16;
const REGIONS_MAX: u64 = 64;
const SLOTS_MAX: u64 = 1_024;
const SLOT_BYTES_MAX: u64 = 1 << 20;
const CONNECTIONS_MAX: u64 = 64;
const DEPTH_MAX: u64 = 1_024;
const IN_FLIGHT_MAX: u64 = 256;
const OPS_MAX: u64 = 100_000;
const FAULTS_MAX: u64 = 256;
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Times and durations, in ns: an hour.
const TIME_NS_MAX: u64 = 3_600_000_000_000;
/// Where leases start, and the least they take, in bytes.
pub(crate) const LEASE_BYTES_MIN: u64 = 256;
/// All memory of a plan, in bytes.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// Adds on one slot: each has a bit of its own, so that the sum says which were done.
pub const ADDS_MAX: usize = 62;

impl Plan {
    /// Whether the plan can be run.
    ///
    /// # Errors
    /// In words: what is wrong, where, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        if !Profile::ALL.iter().any(|profile| profile.name == self.profile) {
            let names: Vec<_> = Profile::ALL.iter().map(|profile| profile.name.to_string()).collect();
            return Err(format!("profile {:?} is none of {}", self.profile, names.join(", ")));
        }
        within("jitter_ns", self.jitter_ns, 0, JITTER_NS_MAX)?;
        within("nodes", self.nodes, 2, NODES_MAX)?;
        within("number of regions", self.regions.len() as u64, 0, REGIONS_MAX)?;
        within("number of connections", self.connections.len() as u64, 1, CONNECTIONS_MAX)?;
        within("number of operations", self.ops.len() as u64, 0, OPS_MAX)?;
        within("number of faults", self.faults.len() as u64, 0, FAULTS_MAX)?;
        for (index, region) in self.regions.iter().enumerate() {
            self.check_region(region).map_err(|what| format!("region {index}: {what}"))?;
        }
        for (index, connection) in self.connections.iter().enumerate() {
            self.check_connection(connection).map_err(|what| format!("connection {index}: {what}"))?;
        }
        check_engine(&self.engine).map_err(|what| format!("engine: {what}"))?;
        self.check_ops()?;
        for (index, fault) in self.faults.iter().enumerate() {
            self.check_fault(fault).map_err(|what| format!("fault {index}: {what}"))?;
        }
        let memory = self.memory_bytes();
        if memory > MEMORY_BYTES_MAX {
            return Err(format!("the plan takes {memory} bytes of memory, at most {MEMORY_BYTES_MAX}"));
        }
        Ok(())
    }

    fn check_node(&self, node: u16) -> Result<(), String> {
        within("node", node, 0, u64::from(self.nodes) - 1)
    }

    fn check_region(&self, region: &RegionPlan) -> Result<(), String> {
        self.check_node(region.node)?;
        within("slots", region.slots, 1, SLOTS_MAX)?;
        within("slot_bytes", region.slot_bytes, 8, SLOT_BYTES_MAX)?;
        aligned("slot_bytes", region.slot_bytes)
    }

    fn check_connection(&self, connection: &ConnectionPlan) -> Result<(), String> {
        let ConnectionPlan { nodes, .. } = *connection;
        nodes.into_iter().try_for_each(|node| self.check_node(node))?;
        if nodes[0] == nodes[1] {
            return Err(format!("both ends are at node {}; connect two", nodes[0]));
        }
        within("timeout", connection.timeout, 0, 31)?;
        within("retry_cnt", connection.retry_cnt, 0, 7)?;
        within("rnr_retry", connection.rnr_retry, 0, 7)?;
        within("rnr_timer", connection.rnr_timer, 0, 31)?;
        within("send_depth", connection.send_depth, 1, DEPTH_MAX)?;
        within("recv_depth", connection.recv_depth, 1, DEPTH_MAX)?;
        within("rd_atomic", connection.rd_atomic, 1, 16)?;
        within("in_flight", connection.in_flight, 1, IN_FLIGHT_MAX)
    }

    fn check_ops(&self) -> Result<(), String> {
        let mut ids = BTreeSet::new();
        // By region and slot: who writes it, and what sort of operation uses it.
        let mut uses: BTreeMap<(u16, u16), Use> = BTreeMap::new();
        for op in &self.ops {
            let named = |what: String| format!("operation {}: {what}", op.id);
            if !ids.insert(op.id) {
                return Err(named("its number is that of an earlier one".to_owned()));
            }
            self.check_op(op, &mut uses).map_err(named)?;
        }
        Ok(())
    }

    fn check_op(&self, op: &OpPlan, uses: &mut BTreeMap<(u16, u16), Use>) -> Result<(), String> {
        let Some(connection) = self.connections.get(usize::from(op.connection)) else {
            return Err(format!("there is no connection {}", op.connection));
        };
        within("end", op.end, 0, 1)?;
        if let Some(ns) = op.deadline_ns {
            within("deadline_ns", ns, 1, TIME_NS_MAX)?;
        }
        let peer = connection.nodes[usize::from(1 - op.end)];
        let mut claim = |region: u16, slot: u16, kind: Kind, writer: bool| {
            let Some(plan) = self.regions.get(usize::from(region)) else {
                return Err(format!("there is no region {region}"));
            };
            if plan.node != peer {
                return Err(format!("region {region} is at node {}, the peer is node {peer}", plan.node));
            }
            within("slot", slot, 0, u64::from(plan.slots) - 1)?;
            let found = uses.entry((region, slot)).or_insert(Use { kind, writer: None, ops: 0 });
            if found.kind != kind {
                return Err(format!("slot {slot} of region {region} is used as {:?} too", found.kind));
            }
            found.ops += 1;
            if kind == Kind::Adds && found.ops > ADDS_MAX {
                return Err(format!("slot {slot} of region {region} has more than {ADDS_MAX} adds"));
            }
            if writer && *found.writer.get_or_insert((op.connection, op.end)) != (op.connection, op.end) {
                return Err(format!("slot {slot} of region {region} has another writer"));
            }
            Ok(plan.slot_bytes)
        };
        match op.verb {
            VerbPlan::Read(range) => check_range(range, claim(range.region, range.slot, Kind::Data, false)?),
            VerbPlan::Write { to, .. } => {
                aligned("the length of a write", to.len)?;
                check_range(to, claim(to.region, to.slot, Kind::Data, true)?)
            }
            // It is told from others by its first word, or by its immediate.
            VerbPlan::Send { len, imm } => {
                within("the length of a message", len, if imm { 0 } else { 8 }, MESSAGE_BYTES_MAX)
            }
            VerbPlan::Add { region, slot } => claim(region, slot, Kind::Adds, false).map(drop),
            VerbPlan::Swap { region, slot } => claim(region, slot, Kind::Swaps, false).map(drop),
            VerbPlan::CloseSession if op.session.is_none() => Err("it closes no session".to_owned()),
            VerbPlan::CloseSession => Ok(()),
        }
    }

    fn check_fault(&self, fault: &Fault) -> Result<(), String> {
        match fault.when {
            When::At(ns) => within("its time", ns, 0, TIME_NS_MAX)?,
            When::Op { connection: Some(connection), .. } => {
                within("connection", connection, 0, self.connections.len() as u64 - 1)?;
            }
            When::Op { .. } => {}
            When::EachOp { one_in } => within("one_in", one_in, 1, u32::MAX.into())?,
        }
        if let Some(ns) = fault.lasts_ns {
            within("lasts_ns", ns, 0, TIME_NS_MAX)?;
        }
        match fault.cause {
            Cause::Link { from, to, fault } => {
                self.check_node(from)?;
                self.check_node(to)?;
                check_link(fault)
            }
            Cause::Mend { from, to } => self.check_node(from).and_then(|()| self.check_node(to)),
            Cause::Device { node, fault } => {
                self.check_node(node)?;
                match fault {
                    DeviceFault::Pause { ns } => within("a pause", ns, 0, TIME_NS_MAX),
                    _ => Ok(()),
                }
            }
            Cause::Host { node, .. } => self.check_node(node),
            Cause::Memory { region, fault } => {
                let Some(plan) = self.regions.get(usize::from(region)) else {
                    return Err(format!("there is no region {region}"));
                };
                if fault == MemoryFault::RevokeWindow && !plan.window {
                    return Err(format!("region {region} has no window to revoke"));
                }
                Ok(())
            }
        }
    }

    /// Bytes that the operations of one end of a connection take at most at a time.
    pub(crate) fn lease_bytes(&self, connection: usize, end: u8) -> u64 {
        let own = |op: &&OpPlan| usize::from(op.connection) == connection && op.end == end;
        let longest = self.ops.iter().filter(own).map(|op| u64::from(op.verb.len())).max().unwrap_or(0);
        longest.max(LEASE_BYTES_MIN).next_power_of_two()
            * (u64::from(self.connections[connection].in_flight) + 1)
    }

    /// Room of one receive at an end of a connection, in bytes.
    pub(crate) fn receive_bytes(&self, connection: usize, end: u8) -> u64 {
        let incoming = self.ops.iter().filter(|op| usize::from(op.connection) == connection && op.end != end);
        let longest = incoming.map(|op| match op.verb {
            VerbPlan::Send { len, .. } => u64::from(len),
            _ => 0,
        });
        longest.max().unwrap_or(0).max(LEASE_BYTES_MIN).next_power_of_two()
    }

    fn memory_bytes(&self) -> u64 {
        let regions: u64 =
            self.regions.iter().map(|region| u64::from(region.slots) * u64::from(region.slot_bytes)).sum();
        let ends = (0..self.connections.len()).flat_map(|connection| [(connection, 0), (connection, 1)]);
        let ends = ends.map(|(connection, end)| {
            let receives = u64::from(self.connections[connection].recv_depth);
            2 * self.lease_bytes(connection, end) + receives * self.receive_bytes(connection, end)
        });
        regions + ends.sum::<u64>()
    }
}

impl VerbPlan {
    /// Bytes that it moves.
    pub const fn len(&self) -> u32 {
        match self {
            VerbPlan::Read(range) | VerbPlan::Write { to: range, .. } => range.len,
            VerbPlan::Send { len, .. } => *len,
            VerbPlan::Add { .. } | VerbPlan::Swap { .. } => 8,
            VerbPlan::CloseSession => 0,
        }
    }

    /// Whether it moves none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How a slot is used.
struct Use {
    kind: Kind,
    writer: Option<(u16, u8)>,
    ops: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Adds,
    Swaps,
}

fn within(what: &str, is: impl Into<u64>, min: u64, max: u64) -> Result<(), String> {
    let is = is.into();
    if (min..=max).contains(&is) { Ok(()) } else { Err(format!("{what} is {is}, it may be {min} to {max}")) }
}

fn aligned(what: &str, is: u32) -> Result<(), String> {
    if is.is_multiple_of(8) { Ok(()) } else { Err(format!("{what} is {is}, which is no multiple of 8")) }
}

fn check_range(range: SlotRange, slot_bytes: u32) -> Result<(), String> {
    aligned("its offset", range.offset)?;
    within("its length", range.len, 1, slot_bytes.into())?;
    within("its end", u64::from(range.offset) + u64::from(range.len), 1, slot_bytes.into())
}

fn check_engine(engine: &EnginePlan) -> Result<(), String> {
    within("chunk_bytes", engine.chunk_bytes, 8u64, 1 << 30)?;
    aligned("chunk_bytes", engine.chunk_bytes)?;
    within("window", engine.window, 1, 1_024)?;
    within("signal_every", engine.signal_every, 1, 1_024)
}

fn check_link(fault: LinkFault) -> Result<(), String> {
    match fault {
        LinkFault::Cut | LinkFault::LoseNth { .. } => Ok(()),
        LinkFault::LoseOneIn { n, burst } => {
            within("one in", n, 1, u32::MAX.into())?;
            within("burst", burst, 1, 1 << 20)
        }
        LinkFault::ReorderOneIn { n, by_ns } => {
            within("one in", n, 1, u32::MAX.into())?;
            within("by_ns", by_ns, 0, TIME_NS_MAX)
        }
        LinkFault::DuplicateOneIn { n } | LinkFault::CorruptOneIn { n } | LinkFault::TruncateOneIn { n } => {
            within("one in", n, 1, u32::MAX.into())
        }
        LinkFault::Delay { ns } => within("a delay", ns, 0, TIME_NS_MAX),
        LinkFault::Throttle { percent } => within("percent", percent, 1, 99),
    }
}
