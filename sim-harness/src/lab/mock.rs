//! The simulated lab: a fabric in virtual time.

use wavetank_contract::{Instant, Seeded};
use wavetank_mock::{Fabric, MockNic, Profile};

use super::{Lab, LabError, Sleeper, Waited};

/// Simulated NICs on one fabric.
#[derive(Debug)]
pub struct MockLab {
    name: String,
    fabric: Fabric,
    choices: Seeded,
    ready: Vec<u16>,
}

impl MockLab {
    /// A lab whose devices behave as the profile says, with choices from `seed`.
    pub fn new(profile: Profile, seed: u64) -> MockLab {
        MockLab {
            name: format!("mock/{}", profile.name),
            fabric: Fabric::new(profile),
            choices: Seeded::new(seed),
            ready: Vec::new(),
        }
    }

    /// The network, to inject causes into.
    pub fn fabric(&mut self) -> &mut Fabric {
        &mut self.fabric
    }
}

impl Lab for MockLab {
    type Device = MockNic;

    fn name(&self) -> &str {
        &self.name
    }

    fn open(&mut self, _node: u16) -> Result<MockNic, LabError> {
        Ok(self.fabric.add_node())
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
}
