//! Outages: hosts that stand still or die, devices that are removed, and how they come back.

use wavetank_contract::{Buggify, Choices};
use wavetank_engine::RdmaOps;

use super::state::{OpState, Outage};
use super::{Run, engines};
use crate::check::Check;

impl<C: RdmaOps, X: Choices + Clone + 'static> Run<'_, C, X> {
    /// A host goes on.
    pub(super) fn resume(&mut self, node: u16) {
        if self.hosts[usize::from(node)].outage != Some(Outage::Crashed) && self.world.is_paused(node) {
            self.hosts[usize::from(node)].runs_since = self.world.now();
            self.world.resume(node);
            self.reconnect_all(node);
        }
    }

    /// A host dies, and with it whatever it had under way.
    pub(super) fn crash(&mut self, node: u16) {
        self.hosts[usize::from(node)].outage = Some(Outage::Crashed);
        if let Some(fabric) = self.world.fabric() {
            fabric.crash(node);
        }
        self.world.pause(node);
        for op in 0..self.states.len() {
            if matches!(&self.states[op], OpState::UnderWay(flight) if flight.node == node)
                && let OpState::UnderWay(flight) = std::mem::replace(&mut self.states[op], OpState::Ended)
            {
                self.lay_down(self.ops[op].id, &flight, false);
                self.count(op, |ended| &mut ended.failed);
            }
        }
        self.hosts[usize::from(node)].sessions.clear();
        self.forget_arrivals(node);
        for connection in &mut self.connections {
            for end in connection.ends.iter_mut().filter(|end| end.node == node) {
                (end.failed, end.in_flight, end.receives, end.ep) = (true, 0, 0, None);
                end.keys.clear();
                connection.up = false;
            }
        }
        self.lose_places(node);
    }

    /// A device goes. Its host finds out by itself: everything is flushed.
    pub(super) fn lose_device(&mut self, node: u16) {
        self.hosts[usize::from(node)].outage = Some(Outage::Removed);
        self.forget_arrivals(node);
        self.lose_places(node);
        for connection in &mut self.connections {
            for end in connection.ends.iter_mut().filter(|end| end.node == node) {
                end.failed = true;
                connection.up = false;
            }
        }
    }

    /// What had arrived at a node may not have been looked at.
    fn forget_arrivals(&mut self, node: u16) {
        for (connection, streams) in self.connections.iter().zip(&mut self.streams) {
            for (end, at) in connection.ends.iter().enumerate() {
                if at.node == node {
                    streams[1 - end].forget(connection.life);
                }
            }
        }
    }

    /// A host whose device is gone, or that died, gets a device again, with everything in it made anew.
    pub(super) fn restore(&mut self, node: u16, same: bool) {
        let Some(outage) = self.hosts[usize::from(node)].outage else { return };
        if outage == Outage::Removed {
            if self.world.is_paused(node) {
                self.hosts[usize::from(node)].runs_since = self.world.now();
                self.world.resume(node);
            }
            self.leave_device(node);
        }
        let Some(nic) = self.world.fabric().map(|fabric| fabric.restart(node, same)) else { return };
        let context = (self.context)(nic, engines::port_config(self.plan));
        let mut old = self.world.replace(node, engines::node(self.plan, context));
        // Whatever the old engine had goes with it, and with that every lease comes back.
        let arenas = [old.arena.take(), old.receives.take()];
        drop(old);
        for mut arena in arenas.into_iter().flatten() {
            if !arena.is_whole() {
                let stats = arena.stats();
                self.guilty(Check::Leak, None, || {
                    format!("node {node}: its engine is gone, and leases are still out: {stats:?}")
                });
            }
        }
        let host = &mut self.hosts[usize::from(node)];
        (host.outage, host.runs_since) = (None, self.world.now());
        self.world.resume(node);
        self.furnish(node);
        for connection in 0..self.connections.len() {
            if self.plan.connections[connection].nodes.contains(&node) {
                for end in &mut self.connections[connection].ends {
                    if end.node == node {
                        end.ep = None;
                    }
                }
                self.remake(connection);
            }
        }
    }

    /// The host closes whatever it had on a device that is gone, and gets everything back.
    fn leave_device(&mut self, node: u16) {
        self.drain(node);
        self.close_sessions(node);
        for connection in 0..self.connections.len() {
            for end in 0..2 {
                let at = &mut self.connections[connection].ends[end];
                if at.node == node
                    && let Some(ep) = at.ep.take()
                {
                    at.failed = true;
                    self.world.nodes[usize::from(node)].driver.context().close(ep);
                }
            }
        }
        self.drain(node);
        self.expect_empty(node, 0);
    }

    /// Nothing may be under way at a host but receives that are posted.
    pub(super) fn expect_empty(&mut self, node: u16, receives: u32) {
        let driver = &mut self.world.nodes[usize::from(node)].driver;
        let (transfers, works) = (driver.transfers_len(), driver.context().outstanding());
        // An engine that is told now and then that a queue is full posts the rest of its receives when others are taken.
        let late = self.plan.buggify.contains(&Buggify::EarlyFull);
        if transfers != receives || works > receives as usize || works < receives as usize && !late {
            let ledger = self.world.ledger();
            self.guilty(Check::Leak, None, || {
                format!(
                    "node {node}: {transfers} transfers and {works} works are under way, {receives} receives should be\n\
                     {ledger}"
                )
            });
        }
    }
}
