//! The end of a run: everything is looked at once more, and everything has to be given back.

use wavetank_contract::Choices;
use wavetank_engine::RdmaOps;

use super::Run;
use super::state::Fate;
use crate::check::Check;

/// Time for packets that are still under way, in ns.
const REST_NS: u64 = 1_000_000;

impl<C: RdmaOps, X: Choices + Clone + 'static> Run<'_, C, X> {
    /// Looks at everything, ends everything, and counts what was not given back.
    pub(super) fn close(&mut self) {
        let limit = self.world.now() + REST_NS;
        self.run_until(limit, |_| false);
        if self.guilt.is_some() {
            return;
        }
        self.check_messages();
        self.sweep();
        for node in 0..self.plan.nodes {
            let ends = self.connections.iter().flat_map(|connection| &connection.ends);
            let receives = ends.filter(|end| end.node == node).map(|end| end.receives).sum();
            self.expect_empty(node, receives);
        }
        self.close_all();
        for node in 0..self.plan.nodes {
            self.expect_given_back(node);
        }
        // Once more: what is dead stays dead.
        self.sweep();
    }

    fn check_messages(&mut self) {
        for connection in 0..self.streams.len() {
            for end in 0..2 {
                if let Err((op, what)) = self.streams[connection][end].check() {
                    self.guilty(Check::Message, Some(op), || what);
                }
            }
        }
    }

    fn close_all(&mut self) {
        for connection in 0..self.connections.len() {
            for end in 0..2 {
                let at = &mut self.connections[connection].ends[end];
                at.failed = true;
                let node = at.node;
                if let Some(ep) = at.ep.take() {
                    self.world.nodes[usize::from(node)].driver.context().close(ep);
                }
            }
        }
        for node in 0..self.plan.nodes {
            self.close_sessions(node);
            self.drain(node);
        }
    }

    fn expect_given_back(&mut self, node: u16) {
        self.expect_empty(node, 0);
        let host = &mut self.world.nodes[usize::from(node)];
        let sessions = host.driver.sessions();
        let (sessions, holdings) = (sessions.len(), sessions.holdings_len());
        if sessions + holdings > 0 {
            self.guilty(Check::Leak, None, || {
                format!("node {node}: {sessions} sessions are open and hold {holdings} things")
            });
        }
        let host = &mut self.world.nodes[usize::from(node)];
        let arenas = [host.arena.take(), host.receives.take()];
        for mut arena in arenas.into_iter().flatten() {
            let (whole, mr, checked) = (arena.is_whole(), arena.mr(), arena.check());
            if !whole || checked.is_err() {
                let stats = arena.stats();
                self.guilty(Check::Leak, None, || {
                    format!("node {node}: leases are still out: {stats:?}, {checked:?}")
                });
            }
            let context = self.world.nodes[usize::from(node)].driver.context();
            if let Err(error) = context.deregister(mr) {
                self.guilty(Check::Leak, None, || format!("node {node}: an arena stays registered: {error}"));
            }
        }
        for place in 0..self.places.len() {
            if self.places[place].node == node
                && let Some(edition) = self.places[place].edition
                && let Fate::Registered(_) = self.editions[edition].fate
            {
                self.retire(place);
            }
        }
    }
}
