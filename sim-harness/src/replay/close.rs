//! The end of a run: everything is given back, every byte is looked at once more.

use wavetank_engine::RdmaOps;

use super::Replay;
use crate::check::Check;
use crate::report::Report;
use crate::world::Ran;

impl<C: RdmaOps> Replay<C> {
    /// Ends everything, sweeps every region, and counts what was not given back.
    pub(super) fn close(mut self) -> Report {
        let now = self.world.now();
        let virtual_ns = now.0;
        let (outstanding, waiting) = (self.started - self.ended, self.messages.unmet());
        if outstanding + waiting > 0 && !self.broken() {
            let ledger = self.world.ledger();
            self.failures.add(Check::Progress, now, || {
                format!(
                    "{outstanding} operations have not ended, {waiting} messages have not arrived, and nothing is \
                     scheduled\n{ledger}"
                )
            });
        }
        let steps = self.world.fabric.steps();
        // Taking things back is not part of the run.
        let trace = std::mem::take(&mut self.world.trace);
        let bytes_swept = self.sweep();
        self.give_back();
        let device = self.world.nodes[0].driver.context().caps().name.clone();
        let mut report = Report {
            name: self.workload.name.clone(),
            device,
            seed: self.workload.settings.seed,
            ops: self.ended,
            bytes_verified: self.bytes_verified,
            bytes_swept,
            mismatches: self.mismatches,
            steps,
            trace,
            virtual_ns,
            latencies: self.latencies,
            failures: self.failures,
        };
        report.latencies.sum_up();
        report.expect(&self.workload);
        report
    }

    /// Looks at every byte of every region once more: a stray write shows here.
    pub(super) fn sweep(&mut self) -> u64 {
        let now = self.world.now();
        let suspects = self.suspects();
        let mut swept = 0;
        for place in &self.places {
            swept += place.len;
            if let Some((check, what)) = place.sweep(&suspects) {
                self.mismatches += 1;
                let name = &place.name;
                self.failures.add(check, now, || format!("region {name}, at the end: {what}"));
            }
        }
        swept
    }

    /// Closes endpoints, lets the world come to rest, and checks that everything is back.
    fn give_back(&mut self) {
        let now = self.world.now();
        for (node, ep) in self.connections.endpoints() {
            self.world.nodes[node as usize].driver.context().close(ep);
            self.world.touch(node);
        }
        while let Ran::Turned(node) = self.world.run(now) {
            while let Some(finished) = self.world.nodes[node as usize].driver.take_finished() {
                drop(finished);
            }
        }
        for (index, host) in self.world.nodes.iter_mut().enumerate() {
            let (transfers, works) = (host.driver.transfers_len(), host.driver.context().outstanding());
            if transfers > 0 || works > 0 {
                self.failures.add(Check::Leak, now, || {
                    format!("node {index}: {transfers} transfers and {works} works were never given back")
                });
            }
            for arena in [&mut host.arena, &mut host.receives].into_iter().flatten() {
                let mr = arena.mr();
                if !arena.is_whole() {
                    let stats = arena.stats();
                    self.failures
                        .add(Check::Leak, now, || format!("node {index}: leases are still out: {stats:?}"));
                } else if let Err(error) = host.driver.context().deregister(mr) {
                    self.failures.add(Check::Leak, now, || {
                        format!("node {index}: an arena stays registered: {error}")
                    });
                }
            }
        }
        for place in &self.places {
            let context = self.world.nodes[place.node as usize].driver.context();
            if let Err(error) = context.deregister(place.mr) {
                let name = &place.name;
                self.failures.add(Check::Leak, now, || format!("region {name} stays registered: {error}"));
            }
        }
    }
}
