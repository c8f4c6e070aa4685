//! The end of a run: everything is given back, every byte is looked at once more.

use wavetank_contract::Caps;
use wavetank_engine::RdmaOps;

use super::Replay;
use super::place::Home;
use crate::check::Check;
use crate::record::{self, RecordedRun};
use crate::report::Report;
use crate::workload::units::Nanos;
use crate::world::Ran;

impl<C: RdmaOps> Replay<C> {
    /// Ends everything, sweeps every region, and counts what was not given back.
    pub(super) fn close(mut self) -> Report {
        let now = self.world.now();
        let elapsed_ns = now.0;
        let (outstanding, waiting) = (self.started - self.ended, self.unmet());
        if self.world.is_forsaken() {
            self.failures.add(Check::Peer, now, || {
                format!("the memory server went away, with {outstanding} operations under way")
            });
        } else if outstanding + waiting > 0 && !self.broken() {
            let ledger = self.world.ledger();
            let still = match self.world.patience_ns() {
                None => "nothing is scheduled".to_owned(),
                Some(ns) => format!("nothing has happened for {}", Nanos(ns)),
            };
            self.failures.add(Check::Progress, now, || {
                format!(
                    "{outstanding} operations have not ended, {waiting} messages have not arrived, and {still}\n{ledger}"
                )
            });
        }
        let steps = self.world.steps();
        let toll = self.calm();
        (0..self.connections.len()).for_each(|connection| self.settle_doubts(connection));
        // Taking things back is not part of the run.
        let trace = std::mem::take(&mut self.world.trace);
        let read_back = self.read_back();
        let bytes_swept = self.sweep() + read_back.as_ref().map_or(0, |read| read.bytes);
        self.give_back();
        let device = self.devices();
        let recorded = self.recorded();
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
            elapsed_ns,
            simulated: self.world.is_simulated(),
            latencies: self.latencies,
            failures: self.failures,
            recorded,
            toll,
            read_back,
        };
        report.latencies.sum_up();
        report.expect(&self.workload);
        report
    }

    /// What was kept of the run. One that was issued again is held against its recording here.
    fn recorded(&mut self) -> Option<RecordedRun> {
        let recorder = self.recorder.take()?;
        let caps: Vec<Caps> =
            self.world.nodes.iter_mut().map(|node| node.driver.context().caps().clone()).collect();
        let caps: Vec<&Caps> = caps.iter().collect();
        let run = recorder.run(&self.workload, &caps, self.world.is_simulated());
        if let (Some(again), Some(run)) = (&self.again, &run) {
            let now = self.world.now();
            for difference in record::compare(&again.run, run) {
                let place = self.workload.cite_source(difference.line);
                self.failures.add(Check::Recorded, now, || format!("{place}: {difference}"));
            }
        }
        run
    }

    /// The names of the devices, each once, in the order of their nodes.
    pub(super) fn devices(&mut self) -> String {
        let mut names: Vec<String> = Vec::new();
        for node in &mut self.world.nodes {
            let name = &node.driver.context().caps().name;
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names.join(", ")
    }

    /// Looks at every byte of every region once more: a stray write shows here.
    pub(super) fn sweep(&mut self) -> u64 {
        let now = self.world.now();
        let suspects = self.suspects();
        let mut swept = 0;
        for place in &self.places {
            let Some(memory) = place.home.memory() else { continue };
            swept += place.len;
            if let Some((check, what)) = place.sweep(memory, &suspects) {
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
        self.world.part_company();
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
            let Home::Here { node, mr, .. } = place.home else { continue };
            let context = self.world.nodes[node as usize].driver.context();
            if let Err(error) = context.deregister(mr) {
                let name = &place.name;
                self.failures.add(Check::Leak, now, || format!("region {name} stays registered: {error}"));
            }
        }
    }
}
