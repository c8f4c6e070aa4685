//! Issuing operations: each end of a connection keeps some under way.

use wavetank_contract::{Choices, Instant, Lease, Op, RemoteAddr};
use wavetank_engine::session::{Holding, SessionKey, SessionSpec};
use wavetank_engine::{RdmaOps, SubmitReason, TransferId, TransferSpec};

use super::Run;
use super::state::{Contents, Expect, Flight, OpState, Told};
use crate::check::Check;
use crate::pattern;
use crate::swarm::oracle::Party;
use crate::swarm::plan::{LEASE_BYTES_MIN, OpPlan, SlotRange, VerbPlan};
use crate::trace::{Event, EventKind};

/// How long a session lives without an operation, in ns.
const SESSION_NS: u64 = 20_000_000;

/// What came of beginning an operation.
enum Begun {
    /// It is under way, or over.
    Yes,
    /// There is no memory for it now.
    NoRoom,
}

impl<C: RdmaOps, X: Choices + Clone + 'static> Run<'_, C, X> {
    /// Begins whatever can be begun.
    pub(super) fn issue(&mut self) {
        for connection in 0..self.connections.len() {
            for end in 0..2 {
                self.issue_at(connection, end);
            }
        }
    }

    fn issue_at(&mut self, connection: usize, end: usize) {
        let in_flight = u32::from(self.plan.connections[connection].in_flight);
        let mut posted = false;
        while self.guilt.is_none() {
            // A fault may have come with the last one.
            let at = &self.connections[connection].ends[end];
            let node = at.node;
            let ready = !at.failed && at.in_flight < in_flight && at.ep.is_some();
            let Some(&op) = at.queue.front().filter(|_| ready && self.is_able(node)) else { break };
            if !self.connections[connection].up && self.connections[connection].life == 0 {
                break;
            }
            match self.begin(connection, end, op) {
                Begun::Yes => {}
                Begun::NoRoom => break,
            }
            self.connections[connection].ends[end].queue.pop_front();
            self.connections[connection].begun += 1;
            self.begun += 1;
            posted = true;
            self.faults_of_begun(connection);
        }
        let node = self.connections[connection].ends[end].node;
        if posted && self.is_able(node) {
            self.world.flush(node);
        }
    }

    fn begin(&mut self, connection: usize, end: usize, op: usize) -> Begun {
        let plan = self.ops[op];
        let node = self.connections[connection].ends[end].node;
        let session = match plan.session {
            Some(number) => match self.session(node, number) {
                Some(key) => Some(key),
                None => return Begun::NoRoom,
            },
            None => None,
        };
        if plan.verb == VerbPlan::CloseSession {
            self.close_session(node, plan.session);
            self.conclude(op, |ended| &mut ended.well);
            return Begun::Yes;
        }
        let len = u64::from(plan.verb.len());
        let Some((lease, mr)) = self.lease(node, len) else { return Begun::NoRoom };
        let life = self.connections[connection].life;
        let party = Party { connection: connection as u16, end: end as u8, life };
        let Some((what, expect)) = self.prepare_op(&plan, party, &lease) else {
            // Nobody told us of such memory.
            self.tell_not_begun(plan.id, "the peer had no key for that memory to give");
            self.conclude(op, |ended| &mut ended.not_begun);
            return Begun::Yes;
        };
        let now = self.world.now();
        let deadline = plan.deadline_ns.map_or(Instant::FAR, |ns| now + ns);
        let Some(ep) = self.connections[connection].ends[end].ep else { return Begun::NoRoom };
        let source = (lease.region().clone(), lease.offset());
        let spec = TransferSpec { ep, op: what, lease, mr, len, deadline, session, tag: op as u64 };
        self.world.trace.push(&Event {
            at: now,
            node,
            object: plan.id.into(),
            kind: EventKind::Submitted,
            len: plan.verb.len(),
            digest: deadline.0,
            status: what.kind() as u8,
        });
        self.tell_submitted(&plan, node, &spec);
        let submitted = self.world.nodes[usize::from(node)].driver.submit(now, spec);
        let dead_key = self.has_dead_key(party, &plan.verb);
        let mut flight = Flight { id: None, party, node, deadline, expect, session, dead_key, source };
        match submitted {
            Ok(id) => {
                flight.id = Some(id);
                self.states[op] = OpState::UnderWay(flight);
                self.connections[connection].ends[end].in_flight += 1;
                self.world.touch(node);
                if plan.cancel {
                    self.cancel(&plan, node, id);
                }
            }
            Err(error) => {
                // Its endpoint was closed under us, or its session is over.
                self.tell_not_begun(plan.id, &error.to_string());
                self.lay_down(plan.id, &flight, false);
                match error.reason {
                    SubmitReason::UnknownEndpoint(_) => {
                        self.fail(connection, end);
                        self.conclude(op, |ended| &mut ended.not_begun);
                    }
                    SubmitReason::Session(_) => self.conclude(op, |ended| &mut ended.given_up),
                    reason => {
                        self.guilty(Check::Success, Some(plan.id), || format!("it was not taken: {reason}"))
                    }
                }
            }
        }
        Begun::Yes
    }

    /// Gives an operation up: every other one only when the device has it.
    fn cancel(&mut self, plan: &OpPlan, node: u16, id: TransferId) {
        if plan.id % 2 == 1 {
            self.world.flush(node);
        }
        let now = self.world.now();
        self.tell_cancelled(plan.id);
        self.world.nodes[usize::from(node)].driver.cancel(id, now);
        self.world.touch(node);
        // It is over now, whenever its host is turned next.
        self.collect(node);
    }

    /// Memory for an operation, if there is any now.
    fn lease(&mut self, node: u16, len: u64) -> Option<(Lease, wavetank_contract::MrId)> {
        let arena = self.world.nodes[usize::from(node)].arena.as_mut()?;
        let mr = arena.mr();
        arena.acquire(len.max(1)).ok().map(|lease| (lease, mr))
    }

    /// Readies the local bytes of an operation and tells the oracles that it begins. `None` where its region is not to be had.
    fn prepare_op(&mut self, plan: &OpPlan, party: Party, lease: &Lease) -> Option<(Op, Expect)> {
        let (connection, end) = (usize::from(party.connection), usize::from(party.end));
        let (memory, at, len) = (lease.region(), lease.offset(), plan.verb.len());
        let chunk_bytes = self.plan.engine.chunk_bytes;
        match plan.verb {
            VerbPlan::Read(range) => {
                let (remote, edition) = self.remote(connection, end, range)?;
                pattern::poison_chunks(memory, at, len as usize, chunk_bytes);
                let slot = usize::from(range.slot);
                let since = self.tick();
                let Contents::Data(oracle) = &mut self.editions[edition].slots[slot] else { return None };
                oracle.begin_read();
                Some((Op::Read { remote }, Expect::Read { edition, slot, since }))
            }
            VerbPlan::Write { to, imm } => {
                let (remote, edition) = self.remote(connection, end, to)?;
                let slot = usize::from(to.slot);
                let start = self.slot_start(edition, slot) + u64::from(to.offset);
                let range = start..start + u64::from(len);
                let tick = self.tick();
                let Contents::Data(oracle) = &mut self.editions[edition].slots[slot] else { return None };
                let generation = oracle.begin_write(range, party, len <= chunk_bytes, tick);
                let tag = pattern::Tag { region: self.editions[edition].tag, generation };
                pattern::fill(memory, at, len as usize, tag, start);
                if imm {
                    self.streams[connection][end].announce_write(plan.id, party.life, len, plan.id);
                }
                let imm = imm.then_some(plan.id);
                Some((
                    Op::Write { remote, imm },
                    Expect::Written { edition, slot, generation, told: imm.is_some() },
                ))
            }
            VerbPlan::Send { imm, .. } => {
                let imm = imm.then_some(plan.id);
                let tag = self.streams[connection][end].announce(plan.id, party.life, len, imm);
                pattern::fill(memory, at, len as usize, tag, 0);
                Some((Op::Send { imm }, Expect::Sent))
            }
            VerbPlan::Add { region, slot } => {
                let (remote, edition) =
                    self.remote(connection, end, SlotRange { region, slot, offset: 0, len: 8 })?;
                pattern::poison(memory, at, 8);
                let bit = self.bit(plan, region, slot);
                let (slot, tick) = (usize::from(slot), self.tick());
                let Contents::Adds(sum) = &mut self.editions[edition].slots[slot] else { return None };
                sum.begin(bit, plan.id, tick);
                Some((Op::FetchAdd { remote, add: 1 << bit }, Expect::Added { edition, slot, bit }))
            }
            VerbPlan::Swap { region, slot } => {
                let (remote, edition) =
                    self.remote(connection, end, SlotRange { region, slot, offset: 0, len: 8 })?;
                pattern::poison(memory, at, 8);
                let slot = usize::from(slot);
                let Contents::Swaps(chain) = &mut self.editions[edition].slots[slot] else { return None };
                let (compare, swap) = (chain.guess(), u64::from(plan.id) << 8 | 1);
                chain.begin(plan.id, compare, swap);
                Some((Op::CompareSwap { remote, compare, swap }, Expect::Swapped { edition, slot }))
            }
            VerbPlan::CloseSession => None,
        }
    }

    /// Where a range is at the peer, as this end was told, and in which edition.
    fn remote(&self, connection: usize, end: usize, range: SlotRange) -> Option<(RemoteAddr, usize)> {
        let place = usize::from(range.region);
        let Told { remote, edition, .. } = *self.connections[connection].ends[end].keys.get(&place)?;
        let start = self.slot_start(edition, usize::from(range.slot)) + u64::from(range.offset);
        Some((remote.at(start, range.len.into())?, edition))
    }

    /// Whether the key that an end has for the memory of an operation died meanwhile.
    fn has_dead_key(&self, party: Party, verb: &VerbPlan) -> bool {
        let region = match *verb {
            VerbPlan::Read(range) | VerbPlan::Write { to: range, .. } => range.region,
            VerbPlan::Add { region, .. } | VerbPlan::Swap { region, .. } => region,
            VerbPlan::Send { .. } | VerbPlan::CloseSession => return false,
        };
        let end = &self.connections[usize::from(party.connection)].ends[usize::from(party.end)];
        let told = end.keys.get(&usize::from(region));
        told.is_some_and(|told| self.editions[told.edition].dead_keys > told.dead_keys)
    }

    /// The first byte of a slot.
    pub(super) fn slot_start(&self, edition: usize, slot: usize) -> u64 {
        slot as u64 * u64::from(self.places[self.editions[edition].place].slot_bytes)
    }

    /// The bit of an add: how many adds of its slot the plan has before it.
    fn bit(&self, plan: &OpPlan, region: u16, slot: u16) -> u32 {
        let same = VerbPlan::Add { region, slot };
        self.plan.ops.iter().take_while(|op| op.id != plan.id).filter(|op| op.verb == same).count() as u32
    }

    /// The session of this number at a host; opens it if it is not there. It holds memory and a registration.
    fn session(&mut self, node: u16, number: u16) -> Option<SessionKey> {
        let now = self.world.now();
        if let Some(&key) = self.hosts[usize::from(node)].sessions.get(&number)
            && self.world.nodes[usize::from(node)].driver.touch_session(key, now).is_ok()
        {
            return Some(key);
        }
        let lease = self.lease(node, LEASE_BYTES_MIN)?.0;
        let driver = &mut self.world.nodes[usize::from(node)].driver;
        let key = match driver.create_session(now, SessionSpec::new(u32::from(number), SESSION_NS)) {
            Ok(key) => key,
            Err(error) => {
                self.guilty(Check::Success, None, || format!("session {number}: {error}"));
                return None;
            }
        };
        let held = driver.hold(key, Holding::Lease(lease));
        if let Err(error) = held {
            self.guilty(Check::Success, None, || format!("session {number}: {error}"));
        }
        let spec = wavetank_contract::RegionSpec::new(64);
        if let Some((_, mr)) = self.register(node, spec, wavetank_contract::Access::LOCAL) {
            let held = self.world.nodes[usize::from(node)].driver.hold(key, Holding::Registration(mr));
            if let Err(error) = held {
                self.guilty(Check::Success, None, || format!("session {number}: {error}"));
            }
        }
        self.hosts[usize::from(node)].sessions.insert(number, key);
        self.world.touch(node);
        Some(key)
    }

    fn close_session(&mut self, node: u16, number: Option<u16>) {
        let key = number.and_then(|number| self.hosts[usize::from(node)].sessions.remove(&number));
        let now = self.world.now();
        // One that expired meanwhile is closed.
        if let Some(key) = key {
            let _ = self.world.nodes[usize::from(node)].driver.close_session(key, now);
            self.world.touch(node);
            self.collect(node);
            let goes_on = self.ops.iter().zip(&self.states).find(|(_, state)| {
                matches!(state, OpState::UnderWay(flight) if flight.node == node && flight.session == Some(key))
            });
            if let Some((op, _)) = goes_on {
                let id = op.id;
                self.guilty(Check::Leak, Some(id), || "its session was closed, and it goes on".to_owned());
            }
        }
    }

    /// Ends every session of a host.
    pub(super) fn close_sessions(&mut self, node: u16) {
        let numbers: Vec<u16> = self.hosts[usize::from(node)].sessions.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.close_session(node, Some(number)));
    }
}
