//! Operations that succeeded: their bytes, and how long they took.

use wavetank_contract::{Choices, Region};
use wavetank_engine::{Finished, RdmaOps};

use super::Run;
use super::state::{Contents, Expect, Fate, Flight, OpState};
use crate::check::Check;
use crate::swarm::oracle::slots::Look;
use crate::swarm::plan::{OpPlan, VerbPlan};

impl<C: RdmaOps, X: Choices + Clone + 'static> Run<'_, C, X> {
    /// An operation succeeded.
    pub(super) fn succeeded(&mut self, plan: &OpPlan, flight: &Flight, finished: &Finished, done: u64) {
        let (id, len) = (plan.id, plan.verb.len());
        if done != u64::from(len) {
            self.guilty(Check::Success, Some(id), || format!("{done} of {len} bytes were done"));
        }
        let least = self.profile.floor_ns(finished.kind, len.into());
        let took = finished.finished_at.since_ns(finished.submitted_at);
        if took < least {
            self.guilty(Check::Floor, Some(id), || {
                format!("it took {took} ns, the least possible is {least} ns")
            });
        }
        if flight.dead_key && len > 0 {
            self.guilty(Check::Retired, Some(id), || {
                "it succeeded by a key that was dead when it began".to_owned()
            });
        }
        if finished.lease.is_none() {
            self.guilty(Check::Leak, Some(id), || "it succeeded and kept its memory".to_owned());
        }
        self.bytes_verified += u64::from(len);
        self.lay_down(id, flight, true);
        match flight.expect {
            Expect::Read { edition, slot, since } => {
                let VerbPlan::Read(range) = plan.verb else { return };
                let start = self.slot_start(edition, slot) + u64::from(range.offset);
                let look = Look { since, by: Some(flight.party), told: None };
                let (memory, at) = (&flight.source.0, flight.source.1);
                self.look_at(id, edition, slot, look, start, len, memory, at);
                if let Contents::Data(oracle) = &mut self.editions[edition].slots[slot] {
                    oracle.end_read();
                }
            }
            Expect::Written { edition, slot, .. } => {
                let VerbPlan::Write { to, .. } = plan.verb else { return };
                let look = Look { since: self.tick, by: None, told: None };
                self.look_at_target(id, edition, slot, look, u64::from(to.offset), len);
            }
            _ => {}
        }
        let mut former = [0; 8];
        if let Expect::Added { .. } | Expect::Swapped { .. } = flight.expect {
            flight.source.0.read(flight.source.1, &mut former);
            self.found(id, flight, Some(u64::from_le_bytes(former)));
        }
        self.count(0, |ended| &mut ended.well);
    }

    /// The receiver was told of a WRITE: its bytes are in place, before its writer knows.
    pub(super) fn verify_told(&mut self, op: u32) {
        let Some(index) = self.ops.iter().position(|plan| plan.id == op) else { return };
        let (VerbPlan::Write { to, .. }, OpState::UnderWay(flight)) =
            (self.ops[index].verb, &self.states[index])
        else {
            return;
        };
        let Expect::Written { edition, slot, generation, .. } = flight.expect else { return };
        let Contents::Data(oracle) = &self.editions[edition].slots[slot] else { return };
        let Some(look) = oracle.told(generation, self.tick) else { return };
        self.look_at_target(op, edition, slot, look, u64::from(to.offset), to.len);
    }

    /// Looks at a WRITE's target, unless its region is gone since.
    fn look_at_target(&mut self, id: u32, edition: usize, slot: usize, look: Look, offset: u64, len: u32) {
        if let Fate::Registered(_) = self.editions[edition].fate {
            let start = self.slot_start(edition, slot) + offset;
            let memory = self.editions[edition].memory.clone();
            self.look_at(id, edition, slot, look, start, len, &memory, start);
        }
    }

    /// Holds `len` bytes of memory at `at` to what may be found from `start` on in a slot.
    #[expect(
        clippy::too_many_arguments,
        reason = "what, where, by whose right: none of them belong together"
    )]
    fn look_at(
        &mut self,
        id: u32,
        edition: usize,
        slot: usize,
        look: Look,
        start: u64,
        len: u32,
        memory: &Region,
        at: u64,
    ) {
        let Contents::Data(oracle) = &self.editions[edition].slots[slot] else { return };
        let range = start..start + u64::from(len);
        let wrong = oracle.check(look, range, memory, at, self.editions[edition].tag);
        if let Some((first, legal)) = wrong {
            let origin = self.origin(memory, at + first, at + u64::from(len));
            self.guilty(Check::Bytes, Some(id), || {
                format!("byte {first} of it is not of generation {legal:?}; found {origin}")
            });
        }
    }

    /// Tells the oracles that an operation is over. A READ's bytes are looked at first.
    pub(super) fn lay_down(&mut self, id: u32, flight: &Flight, well: bool) {
        let tick = self.tick();
        let (connection, end) = (usize::from(flight.party.connection), usize::from(flight.party.end));
        match flight.expect {
            Expect::Read { edition, slot, .. } => {
                if let Contents::Data(oracle) = &mut self.editions[edition].slots[slot]
                    && !well
                {
                    oracle.end_read();
                }
            }
            Expect::Written { edition, slot, generation, told } => {
                if let Contents::Data(oracle) = &mut self.editions[edition].slots[slot] {
                    oracle.end_write(generation, well, tick);
                }
                if told {
                    self.streams[connection][end].end(id, well);
                }
            }
            Expect::Sent => self.streams[connection][end].end(id, well),
            Expect::Added { .. } | Expect::Swapped { .. } if !well => self.found(id, flight, None),
            Expect::Added { .. } | Expect::Swapped { .. } => {}
        }
    }

    /// An atomic ended, and found this.
    fn found(&mut self, id: u32, flight: &Flight, former: Option<u64>) {
        let tick = self.tick();
        let result = match flight.expect {
            Expect::Added { edition, slot, bit } => match &mut self.editions[edition].slots[slot] {
                Contents::Adds(sum) => sum.end(bit, former, tick),
                _ => Ok(()),
            },
            Expect::Swapped { edition, slot } => match &mut self.editions[edition].slots[slot] {
                Contents::Swaps(chain) => chain.end(id, former),
                _ => Ok(()),
            },
            _ => Ok(()),
        };
        if let Err(what) = result {
            self.guilty(Check::Atomic, Some(id), || what);
        }
    }
}
