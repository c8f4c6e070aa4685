//! The simulated lab: a fabric in virtual time.

use std::collections::BTreeMap;

use wavetank_contract::{Instant, Seeded};
use wavetank_mock::{Fabric, MockNic, NODES_MAX, Profile};

use super::{Cause, Lab, LabError, Skip, Sleeper, Waited};
use crate::fault::inject;

/// Simulated NICs on one fabric.
#[derive(Debug)]
pub struct MockLab {
    name: String,
    fabric: Fabric,
    choices: Seeded,
    ready: Vec<u16>,
    /// By node of the lab: the node of the fabric where its latest device is.
    places: BTreeMap<u16, u16>,
    /// Devices opened so far.
    opened: usize,
}

impl MockLab {
    /// A lab whose devices behave as the profile says, with choices from `seed`.
    pub fn new(profile: Profile, seed: u64) -> MockLab {
        MockLab {
            name: format!("mock/{}", profile.name),
            fabric: Fabric::new(profile),
            choices: Seeded::new(seed),
            ready: Vec::new(),
            places: BTreeMap::new(),
            opened: 0,
        }
    }

    /// The network, to inject causes into.
    pub fn fabric(&mut self) -> &mut Fabric {
        &mut self.fabric
    }

    /// The direction of the fabric that is meant.
    fn direction(&self, from: u16, to: u16) -> Result<(u16, u16), Skip> {
        Ok((self.place(from)?, self.place(to)?))
    }

    /// The node of the fabric that is meant.
    fn place(&self, node: u16) -> Result<u16, Skip> {
        self.places.get(&node).copied().ok_or_else(|| Skip(format!("no device was opened at node {node}")))
    }
}

impl Lab for MockLab {
    type Device = MockNic;

    fn name(&self) -> &str {
        &self.name
    }

    fn open(&mut self, node: u16) -> Result<MockNic, LabError> {
        if self.opened == NODES_MAX {
            let why = format!("a fabric has at most {NODES_MAX} nodes; make another lab");
            return Err(LabError { lab: self.name.clone(), node, why });
        }
        self.opened += 1;
        let nic = self.fabric.add_node();
        self.places.insert(node, nic.node());
        Ok(nic)
    }

    fn now(&self) -> Instant {
        self.fabric.now()
    }

    fn wait(&mut self, sleepers: &[Sleeper<'_>], until: Instant) -> Waited {
        let mut first = until;
        for sleeper in sleepers {
            match sleeper.until() {
                None => return Waited::Woken,
                Some(at) => first = first.min(at),
            }
        }
        loop {
            self.fabric.take_ready(&mut self.ready);
            if !self.ready.is_empty() {
                self.ready.clear();
                return Waited::Woken;
            }
            let next = self.fabric.next_at(&mut self.choices).unwrap_or(Instant::FAR);
            if next > first || next == Instant::FAR {
                // Nothing happens before somebody wants to be polled anyway.
                self.fabric.advance_to(first);
                return if first == until { Waited::Reached } else { Waited::Woken };
            }
            self.fabric.step_one(&mut self.choices);
        }
    }

    fn inject(&mut self, cause: Cause) -> Result<(), Skip> {
        let there = match cause {
            Cause::Link { from, to, fault } => {
                let (from, to) = self.direction(from, to)?;
                Cause::Link { from, to, fault }
            }
            Cause::Mend { from, to } => {
                let (from, to) = self.direction(from, to)?;
                Cause::Mend { from, to }
            }
            Cause::Device { node, fault } => Cause::Device { node: self.place(node)?, fault },
            other => other,
        };
        inject(&mut self.fabric, there)
    }

    fn undo(&mut self) {
        self.fabric.heal();
    }
}
