//! Engines: what each host is furnished with, before the run and after it came back.

use wavetank_contract::{Access, Choices, MrId, PdId, Region, RegionSpec};
use wavetank_engine::memory::Arena;
use wavetank_engine::{Driver, DriverConfig, PortConfig, RdmaOps};

use super::Run;
use crate::check::Check;
use crate::swarm::plan::{LEASE_BYTES_MIN, Plan};
use crate::world::Node;

/// Room for what sessions hold, in bytes.
const SESSION_BYTES: u64 = 16 << 10;

/// Turns after which a host that wants yet another one is stuck.
const TURNS_MAX: u32 = 100_000;

pub(super) fn port_config(plan: &Plan) -> PortConfig {
    PortConfig { signal_every: plan.engine.signal_every.into() }
}

/// A host without memory.
pub(super) fn node<C: RdmaOps>(plan: &Plan, context: C) -> Node<C> {
    let config = DriverConfig {
        chunk_bytes: plan.engine.chunk_bytes,
        window: plan.engine.window.into(),
        transfers_max: 1 << 20,
        sessions_max: 1 << 16,
    };
    Node { driver: Driver::new(context, config), arena: None, receives: None }
}

impl<C: RdmaOps, X: Choices + Clone + 'static> Run<'_, C, X> {
    /// Gives a host its completion queue and memory, and registers its regions with fresh data.
    pub(super) fn furnish(&mut self, node: u16) {
        let (mut depth, mut leases, mut receives) = (16, SESSION_BYTES, LEASE_BYTES_MIN);
        for (index, plan) in self.plan.connections.iter().enumerate() {
            for end in 0..2 {
                if plan.nodes[usize::from(end)] == node {
                    depth += u32::from(plan.send_depth) + u32::from(plan.recv_depth);
                    leases += 2 * self.plan.lease_bytes(index, end);
                    // Twice: sizes differ, and what is free lies in pieces.
                    receives += 2 * u64::from(plan.recv_depth) * self.plan.receive_bytes(index, end);
                }
            }
        }
        match self.world.nodes[usize::from(node)].driver.context().open_cq(depth) {
            Ok(cq) => self.hosts[usize::from(node)].cq = Some(cq),
            Err(error) => self.guilty(Check::Success, None, || format!("node {node}: {error}")),
        }
        let arena = self.arena(node, leases);
        let receives = self.arena(node, receives);
        let host = &mut self.world.nodes[usize::from(node)];
        (host.arena, host.receives) = (arena, receives);
        for place in 0..self.places.len() {
            if self.places[place].node == node {
                self.export(place);
            }
        }
    }

    fn arena(&mut self, node: u16, bytes: u64) -> Option<Arena> {
        let spec =
            RegionSpec { granule_bytes: LEASE_BYTES_MIN, ..RegionSpec::new(bytes.next_power_of_two()) };
        let (memory, mr) = self.register(node, spec, Access::LOCAL)?;
        match Arena::new(memory, mr) {
            Ok(arena) => Some(arena),
            Err(error) => {
                self.guilty(Check::Success, None, || format!("node {node}: {error}"));
                None
            }
        }
    }

    /// Allocates and registers memory. A registration that fails is tried once more: something may have been evicted.
    pub(super) fn register(&mut self, node: u16, spec: RegionSpec, access: Access) -> Option<(Region, MrId)> {
        let context = self.world.nodes[usize::from(node)].driver.context();
        let memory = match context.allocate(&spec) {
            Ok(memory) => memory,
            Err(error) => {
                self.guilty(Check::Success, None, || format!("node {node}: {error}"));
                return None;
            }
        };
        let mr = self.register_again(node, &memory, access)?;
        Some((memory, mr))
    }

    /// Registers memory that may be registered already.
    pub(super) fn register_again(&mut self, node: u16, memory: &Region, access: Access) -> Option<MrId> {
        let context = self.world.nodes[usize::from(node)].driver.context();
        let mut registered = context.register(memory, PdId::default(), access);
        if registered.is_err() {
            registered = context.register(memory, PdId::default(), access);
        }
        match registered {
            Ok(mr) => Some(mr),
            Err(error) => {
                self.guilty(Check::Success, None, || format!("node {node} cannot register: {error}"));
                None
            }
        }
    }

    /// Turns a host until it has nothing more to do, and takes what ended.
    pub(super) fn drain(&mut self, node: u16) {
        for _ in 0..TURNS_MAX {
            let again = self.world.turn(node);
            self.collect(node);
            if !again || self.guilt.is_some() {
                return;
            }
        }
        self.guilty(Check::Progress, None, || format!("node {node} wants to be turned for ever"));
    }
}
