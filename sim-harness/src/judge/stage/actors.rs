//! The regions and endpoints of a program on one lab, and what is done to them.

use std::collections::BTreeMap;

use wavetank_contract::error::PostError;
use wavetank_contract::{
    Backend, Data, EndpointSpec, EpId, MrId, Op, PdId, QpState, Region, RegionSpec, RemoteAddr,
    RemoteKey, RkeyId, RnrTimer, Sge, Work, WorkId,
};

use super::{Queue, Stage, settle};
use crate::judge::log::{Log, Refusal, Round};
use crate::judge::program::{End, Key, LocalData, Place, Post, Program, RegionId, RegionPlan, Step, Verb, pattern};
use crate::lab::Lab;

/// Works of a queue of an endpoint; more than any program posts at a time.
const QUEUE_DEPTH: u32 = 64;
/// READs and atomics of an endpoint.
const RD_ATOMIC: u8 = 4;
/// What makes another key of a key: one of the bits that roll.
const NEVER: u64 = 0x55;

/// What a program has on a lab.
#[derive(Debug, Default)]
pub(super) struct Actors {
    regions: BTreeMap<RegionId, Memory>,
    endpoints: BTreeMap<End, Endpoint>,
    /// Steps whose works were posted, and where.
    pub(super) posted: BTreeMap<usize, (End, Queue)>,
    /// Steps posted since the last doorbell.
    rung: Vec<usize>,
}

#[derive(Debug)]
struct Memory {
    plan: RegionPlan,
    region: Region,
    /// The latest registration, even if it ended.
    mr: MrId,
    live: bool,
    life: u32,
    key: Option<RemoteKey>,
    old_key: Option<RemoteKey>,
}

#[derive(Clone, Copy, Debug)]
struct Endpoint {
    ep: EpId,
    open: bool,
}

impl Memory {
    fn fill(&self, id: RegionId) {
        let bytes: Vec<u8> = (0..self.plan.len).map(|i| pattern(id, self.life, i)).collect();
        self.region.write(0, &bytes);
    }
}

impl Actors {
    pub(super) fn end_of(&self, node: usize, ep: EpId) -> Option<End> {
        self.endpoints.iter().find(|(end, e)| end.node == node && e.ep == ep).map(|(end, _)| *end)
    }

    pub(super) fn open(&self) -> impl Iterator<Item = (End, EpId)> {
        self.endpoints.iter().filter(|(_, e)| e.open).map(|(end, e)| (*end, e.ep))
    }

    pub(super) fn memory(&self) -> BTreeMap<RegionId, Vec<u8>> {
        let registered = self.regions.iter().filter(|(_, memory)| memory.live);
        let bytes = |memory: &Memory| {
            let mut bytes = vec![0; memory.plan.len as usize];
            memory.region.read(0, &mut bytes);
            bytes
        };
        registered.map(|(id, memory)| (*id, bytes(memory))).collect()
    }
}

/// The answer of a device as far as devices have to agree on it.
fn refusal(error: &PostError) -> Refusal {
    match error {
        PostError::Unknown(_) => Refusal::Unknown,
        PostError::WrongState { .. } => Refusal::WrongState,
        PostError::QueueFull { .. } => Refusal::Full,
        PostError::System(_) => Refusal::Unexplained,
        _ => Refusal::Other,
    }
}

impl<L: Lab> Stage<L> {
    /// Registers the regions, opens and connects the endpoints.
    pub(super) fn begin(&mut self, program: &Program, actors: &mut Actors) -> Result<(), String> {
        for (&id, &plan) in &program.regions {
            let device = &mut self.nodes[plan.node].device;
            let spec = RegionSpec::new(plan.len.into());
            let region = device.allocate(&spec).map_err(|e| format!("region {id}: {e}"))?;
            let mr = device.register(&region, PdId(plan.pd), plan.access).map_err(|e| format!("region {id}: {e}"))?;
            let key = device.export(mr).ok();
            let memory = Memory { plan, region, mr, live: true, life: 0, key, old_key: None };
            memory.fill(id);
            actors.regions.insert(id, memory);
        }
        for (&connection, plan) in &program.connections {
            for node in [0, 1] {
                let [send_cq, recv_cq] = self.nodes[node].cqs;
                let spec = EndpointSpec {
                    send_cq,
                    recv_cq,
                    pd: PdId(plan.pd[node]),
                    send_depth: QUEUE_DEPTH,
                    recv_depth: QUEUE_DEPTH,
                    access: plan.access[node],
                    mtu: plan.mtu,
                    timeout: plan.timeout,
                    retry_cnt: plan.retry_cnt,
                    rnr_retry: plan.rnr_retry,
                    min_rnr_timer: RnrTimer::new(plan.rnr_timer).unwrap_or(RnrTimer::DEFAULT),
                    max_rd_atomic: RD_ATOMIC,
                    max_dest_rd_atomic: RD_ATOMIC,
                    ..EndpointSpec::new(send_cq)
                };
                let end = End { connection, node };
                let ep = self.nodes[node].device.open(&spec).map_err(|e| format!("{end}: {e}"))?;
                actors.endpoints.insert(end, Endpoint { ep, open: true });
            }
            self.connect(connection, actors)?;
        }
        Ok(())
    }

    fn connect(&mut self, connection: usize, actors: &Actors) -> Result<(), String> {
        let ends = [0, 1].map(|node| End { connection, node });
        let address = |end: End| self.nodes[end.node].device.address(actors.endpoints[&end].ep);
        let [Some(first), Some(second)] = ends.map(address) else {
            return Err(format!("an end of connection {connection} has no address"));
        };
        for (end, peer) in ends.into_iter().zip([second, first]) {
            let ep = actors.endpoints[&end].ep;
            self.nodes[end.node].device.connect(ep, &peer).map_err(|e| format!("{end}: {e}"))?;
        }
        Ok(())
    }

    /// Carries out a step that is no post. What is refused is noted.
    pub(super) fn control(
        &mut self,
        step_index: usize,
        program: &Program,
        step: &Step,
        actors: &mut Actors,
        log: &mut Log,
    ) {
        let done = match step {
            Step::Post(_) | Step::Settle => Ok(()),
            Step::Deregister(id) => self.deregister(*id, actors),
            Step::Register(id) => self.register(*id, actors),
            Step::Move(end, to) => self.move_and_drain(*end, *to, actors, &mut log.strays),
            Step::Close(end) => {
                self.close(*end, actors);
                Ok(())
            }
            Step::Reconnect(connection) if program.connections.contains_key(connection) => {
                let ends = [0, 1].map(|node| End { connection: *connection, node });
                let reset = ends.map(|end| self.move_to(end, QpState::Reset, actors));
                let reset: Result<Vec<()>, Refusal> = reset.into_iter().collect();
                reset.and_then(|_| self.connect(*connection, actors).map_err(|_| Refusal::Other))
            }
            Step::Reconnect(_) => Err(Refusal::Unknown),
        };
        if let Err(refusal) = done {
            log.refusals.insert(step_index, refusal);
        }
    }

    fn deregister(&mut self, id: RegionId, actors: &mut Actors) -> Result<(), Refusal> {
        let memory = actors.regions.get_mut(&id).filter(|memory| memory.live).ok_or(Refusal::Unknown)?;
        self.nodes[memory.plan.node].device.deregister(memory.mr).map_err(|_| Refusal::Other)?;
        memory.live = false;
        Ok(())
    }

    fn register(&mut self, id: RegionId, actors: &mut Actors) -> Result<(), Refusal> {
        let memory = actors.regions.get_mut(&id).filter(|memory| !memory.live).ok_or(Refusal::Unknown)?;
        memory.life += 1;
        memory.fill(id);
        let RegionPlan { node, pd, access, .. } = memory.plan;
        let device = &mut self.nodes[node].device;
        memory.mr = device.register(&memory.region, PdId(pd), access).map_err(|_| Refusal::Other)?;
        memory.old_key = std::mem::replace(&mut memory.key, device.export(memory.mr).ok());
        memory.live = true;
        Ok(())
    }

    fn move_and_drain(
        &mut self,
        end: End,
        to: QpState,
        actors: &Actors,
        strays: &mut Vec<String>,
    ) -> Result<(), Refusal> {
        let device = &self.nodes[end.node].device;
        let speaks = device.caps().async_events;
        let from = actors.endpoints.get(&end).and_then(|e| device.state(e.ep));
        self.drained.clear();
        self.move_to(end, to, actors)?;
        if let (Some(QpState::Rts), QpState::Sqd, true) = (from, to, speaks) {
            self.drain(end.node, actors.endpoints[&end].ep, actors, strays);
        }
        Ok(())
    }

    fn move_to(&mut self, end: End, to: QpState, actors: &Actors) -> Result<(), Refusal> {
        use wavetank_contract::error::ModifyError;
        let endpoint = actors.endpoints.get(&end).filter(|e| e.open).ok_or(Refusal::Unknown)?;
        self.nodes[end.node].device.modify(endpoint.ep, to).map_err(|error| match error {
            ModifyError::Unknown(_) => Refusal::Unknown,
            ModifyError::IllegalTransition { .. } => Refusal::WrongState,
            ModifyError::System(_) => Refusal::Unexplained,
            _ => Refusal::Other,
        })
    }

    fn close(&mut self, end: End, actors: &mut Actors) {
        if let Some(endpoint) = actors.endpoints.get_mut(&end)
            && std::mem::take(&mut endpoint.open)
        {
            self.nodes[end.node].device.close(endpoint.ep);
        }
    }

    /// Posts a work; the doorbell is rung later.
    pub(super) fn post(
        &mut self,
        step: usize,
        post: &Post,
        signal: bool,
        actors: &mut Actors,
        log: &mut Log,
    ) {
        let queue = if post.is_recv() { Queue::Recv } else { Queue::Send };
        let taken = self.try_post(step, post, signal, actors);
        match taken {
            Ok(()) => {
                actors.posted.insert(step, (post.end, queue));
                actors.rung.push(step);
            }
            Err(refusal) => {
                log.refusals.insert(step, refusal);
            }
        }
    }

    fn try_post(&mut self, step: usize, post: &Post, signal: bool, actors: &Actors) -> Result<(), Refusal> {
        let endpoint = actors.endpoints.get(&post.end).ok_or(Refusal::Unknown)?;
        let remote = match &post.remote {
            Some(place) => self.place(endpoint.ep, post.end, place, actors)?,
            None => RemoteAddr { rkey: RkeyId(0), addr: 0 },
        };
        let imm = post.imm;
        let op = match post.verb {
            Verb::Recv => Op::Recv,
            Verb::Send => Op::Send { imm },
            Verb::Write => Op::Write { remote, imm },
            Verb::Read => Op::Read { remote },
            Verb::Swap { compare, swap } => Op::CompareSwap { remote, compare, swap },
            Verb::Add { add } => Op::FetchAdd { remote, add },
        };
        let sge = |p: &crate::judge::program::Piece| {
            let mr = actors.regions.get(&p.region).map_or(MrId(u32::MAX), |memory| memory.mr);
            Sge { mr, len: p.len, offset: p.offset.into() }
        };
        let pieces: Vec<Sge> = post.pieces().iter().map(sge).collect();
        let inline: Vec<u8> = match post.data {
            LocalData::Inline(len) => (0..len).map(|i| pattern('!', step as u32, i)).collect(),
            LocalData::Pieces(_) => Vec::new(),
        };
        let data = match post.data {
            LocalData::Inline(_) => Data::Inline(&inline),
            LocalData::Pieces(_) => Data::Pieces(&pieces),
        };
        let id = WorkId(self.run << 16 | step as u64);
        let work = Work { id, op, data, signalled: post.signalled || signal, fence: post.fence };
        self.nodes[post.end.node].device.post(endpoint.ep, &work).map_err(|error| refusal(&error))
    }

    /// A place as a work names it. A region without a remote right has no key: one is made up.
    fn place(&mut self, ep: EpId, end: End, place: &Place, actors: &Actors) -> Result<RemoteAddr, Refusal> {
        let memory = actors.regions.get(&place.region).ok_or(Refusal::Unknown)?;
        let key = if place.key == Key::Old { &memory.old_key } else { &memory.key };
        let Some(key) = key else {
            return Ok(RemoteAddr { rkey: RkeyId(NEVER), addr: 0x1000 });
        };
        // An endpoint that is closed says so when the work is posted.
        let imported = self.nodes[end.node].device.import(ep, key);
        let Ok(remote) = imported else {
            return Err(if actors.endpoints[&end].open { Refusal::Other } else { Refusal::Unknown });
        };
        let flip = if place.key == Key::Never { NEVER } else { 0 };
        let addr = remote.addr.wrapping_add_signed(place.offset);
        Ok(RemoteAddr { rkey: RkeyId(remote.rkey.0 ^ flip), addr })
    }

    /// Rings for what was posted to an endpoint. What the device says only now was refused.
    pub(super) fn ring(&mut self, end: End, actors: &mut Actors, log: &mut Log) {
        let posted = std::mem::take(&mut actors.rung);
        let Some(endpoint) = actors.endpoints.get(&end).filter(|e| e.open && !posted.is_empty()) else {
            return;
        };
        if let Err(error) = self.nodes[end.node].device.ring(endpoint.ep) {
            for step in posted.into_iter().skip(error.taken as usize) {
                actors.posted.remove(&step);
                log.refusals.insert(step, refusal(&error.error));
            }
        }
    }

    /// Waits a moment for what should not come, then ends everything that the program began.
    pub(super) fn finish(&mut self, actors: &mut Actors, log: &mut Log) {
        let mut late = Round::default();
        self.linger(settle::GRACE_NS, actors, &mut late, &mut log.strays);
        for ((end, queue), ends) in late.ends {
            for ended in ends {
                log.strays.push(format!("{end}, {queue:?} queue: one more completion after the end: {ended}"));
            }
        }
        let ends: Vec<End> = actors.endpoints.keys().copied().collect();
        ends.into_iter().for_each(|end| self.close(end, actors));
        for memory in actors.regions.values().filter(|memory| memory.live) {
            if let Err(error) = self.nodes[memory.plan.node].device.deregister(memory.mr) {
                log.strays.push(format!("a region could not be deregistered: {error}"));
            }
        }
    }
}
