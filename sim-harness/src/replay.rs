//! Replaying a workload on the simulated network, with every byte and latency checked.
//!
//! Set up, run, verify: [`Replay::prepare`] makes nodes, regions, connections and leases; [`Replay::run`] feeds
//! operations to the drivers as the load says and checks each one as it ends; the last sweep looks at every byte of
//! every region, and at what was not given back.

mod connection;
mod message;
mod place;
mod setup;
mod volume;

use wavetank_contract::{Instant, Op, OpKind, Status};
use wavetank_engine::memory::MemoryError;
use wavetank_engine::{Finished, RdmaContext, RdmaOps, TransferError, TransferSpec};
use wavetank_mock::Profile;

use crate::check::{Check, Failures};
use crate::pattern::{self, Suspect, Tag};
use crate::report::{Latencies, Report};
use crate::trace::{Event, EventKind};
use crate::version::ReadTicket;
use crate::workload::{Arrival, Generator, Planned, Stop, Workload};
use crate::world::{Ran, World};
use connection::Connections;
use message::{Messages, RECEIVE};
use place::{Contents, Place, Wrong};

pub use setup::SetupError;
pub use volume::VolumeProblem;

/// How often progress is told, in turns of a node: an operation takes at least one, a long one many.
const PROGRESS_TURNS: u64 = 1 << 14;

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Operations ended.
    pub ops: u64,
    /// Operations in all, where the workload says so.
    pub of: Option<u64>,
    /// Virtual time.
    pub at: Instant,
}

/// A workload set up on its world, ready to run.
#[derive(Debug)]
pub struct Replay<C = RdmaContext> {
    workload: Workload,
    profile: Profile,
    world: World<C>,
    generator: Generator,
    /// Drawn and not started: its time has not come, or there was no room.
    next: Option<Planned>,
    places: Vec<Place>,
    connections: Connections,
    messages: Messages,
    in_flight: Vec<Option<InFlight>>,
    free: Vec<u32>,
    /// Nodes at which something was submitted and not posted yet.
    submitted: Vec<u16>,
    started: u64,
    ended: u64,
    bytes_verified: u64,
    mismatches: u64,
    latencies: Latencies,
    failures: Failures,
    /// A receive failed: its endpoint takes no message any more.
    receiver_died: bool,
    /// For atomics: values that are never repeated.
    unique: u64,
}

/// An operation under way.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    planned: Planned,
    /// When it arrived: latency counts from here.
    arrived: Instant,
    serial: u64,
    expect: Expect,
}

/// What an operation is held to when it ends.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// The destination holds what a reader may see.
    Read(ReadTicket),
    /// The region holds this generation.
    Written { generation: u32 },
    /// The receiver checks it.
    Sent,
    /// The cell went from what was found to this.
    Added { add: u64 },
    /// The cell went to `swap` if it held `compare`.
    Swapped { compare: u64, swap: u64 },
}

impl<C: RdmaOps> Replay<C> {
    /// The world, for tests that break something on purpose.
    pub fn world(&mut self) -> &mut World<C> {
        &mut self.world
    }

    /// Runs the workload to its end. `progress` is called now and then.
    pub fn run(mut self, progress: &mut dyn FnMut(&Progress)) -> Report {
        self.post_receives();
        let stop_at = match (self.workload.load.stop, self.workload.load.arrival) {
            (Stop::After(ns), Arrival::Closed) => Instant(ns),
            _ => Instant::FAR,
        };
        let mut turns = 0u64;
        loop {
            let next_arrival = self.start_due(stop_at);
            match self.world.run(next_arrival) {
                Ran::Turned(node) => self.collect(node),
                Ran::Reached => {}
                Ran::Stuck => break,
            }
            if self.started == self.ended && self.is_exhausted(stop_at) && self.messages.all_met() {
                break;
            }
            turns += 1;
            if turns.is_multiple_of(PROGRESS_TURNS) {
                let of = match self.workload.load.stop {
                    Stop::Count(count) => Some(count),
                    Stop::End => self.workload.source.recorded_ops(),
                    Stop::After(_) => None,
                };
                progress(&Progress { ops: self.ended, of, at: self.world.now() });
            }
            if self.broken() {
                break;
            }
        }
        self.close()
    }

    /// Whether going on makes no sense: an endpoint is dead, so everything behind it will fail too.
    fn broken(&self) -> bool {
        self.failures.has(Check::Success) || self.failures.has(Check::Event) || self.receiver_died
    }

    fn is_exhausted(&self, stop_at: Instant) -> bool {
        self.next.is_none() && (self.world.now() >= stop_at || self.generator.is_exhausted())
    }

    /// Starts every operation that is due and fits, and has them posted together. Answers when the next one is due.
    fn start_due(&mut self, stop_at: Instant) -> Instant {
        let next_arrival = self.submit_due(stop_at);
        while let Some(node) = self.submitted.pop() {
            self.world.flush(node);
            // What the device refused to take has ended already, and nothing will turn the node for it.
            self.collect(node);
        }
        next_arrival
    }

    fn submit_due(&mut self, stop_at: Instant) -> Instant {
        let concurrency = u64::from(self.workload.load.concurrency);
        loop {
            let now = self.world.now();
            if self.started - self.ended >= concurrency {
                return Instant::FAR;
            }
            if now >= stop_at {
                self.next = None;
                return Instant::FAR;
            }
            let planned = match self.next.take() {
                Some(planned) => planned,
                None => match self.generator.next(&mut self.world.choices) {
                    Some(planned) => planned,
                    None => return Instant::FAR,
                },
            };
            if let Some(at) = planned.at.filter(|at| *at > now) {
                self.next = Some(planned);
                return at;
            }
            if !self.start(&planned) {
                // No memory until something ends.
                self.next = Some(planned);
                return Instant::FAR;
            }
        }
    }

    /// Starts one operation. False when there is no memory for it now.
    fn start(&mut self, planned: &Planned) -> bool {
        let now = self.world.now();
        let node = planned.from.0;
        let len = planned.len as usize;
        let host = &mut self.world.nodes[node as usize];
        let Some(arena) = host.arena.as_mut() else { unreachable!("setup gives every poster an arena") };
        let lease = match arena.acquire(u64::from(planned.len)) {
            Ok(lease) => lease,
            Err(MemoryError::Exhausted { .. }) if self.started > self.ended => return false,
            Err(error) => unreachable!("setup makes room for one operation of each kind: {error}"),
        };
        let mr = arena.mr();
        let (memory, at) = (lease.region(), lease.offset());
        let connection = self.connections.pick(planned.from, planned.to);
        let range = planned.offset..planned.offset + u64::from(planned.len);
        let remote = planned.region.and_then(|id| {
            self.connections.remote(connection, id)?.at(planned.offset, u64::from(planned.len))
        });
        let place = planned.region.and_then(|id| Some((id.0, self.places.get_mut(id.0 as usize)?)));
        let (op, expect) = match (planned.kind, place, remote) {
            (OpKind::Read, Some((_, place)), Some(remote)) => {
                pattern::poison_chunks(memory, at, len, self.workload.settings.chunk_bytes);
                (Op::Read { remote }, Expect::Read(place.begin_read(range)))
            }
            (OpKind::Write | OpKind::WriteImm, Some((region, place)), Some(remote)) => {
                let generation = place.begin_write(range);
                pattern::fill(memory, at, len, Tag { region, generation }, planned.offset);
                let immediate = planned.kind == OpKind::WriteImm;
                let imm = immediate.then(|| self.messages.announce_write(connection));
                (Op::Write { remote, imm }, Expect::Written { generation })
            }
            (OpKind::FetchAdd, Some(_), Some(remote)) => {
                self.unique += 1;
                let add = wavetank_contract::chance::mix64(self.unique) | 1;
                (Op::FetchAdd { remote, add }, Expect::Added { add })
            }
            (OpKind::CompareSwap, Some((_, place)), Some(remote)) => {
                self.unique += 1;
                let (compare, swap) =
                    (place.guess(planned.offset), wavetank_contract::chance::mix64(self.unique) | 1);
                (Op::CompareSwap { remote, compare, swap }, Expect::Swapped { compare, swap })
            }
            (OpKind::Send, ..) => {
                let tag = self.messages.announce(connection, planned.len);
                pattern::fill(memory, at, len, tag, 0);
                (Op::Send { imm: None }, Expect::Sent)
            }
            (kind, ..) => unreachable!("the workload was validated: {} has its region", kind.name()),
        };
        let serial = self.started;
        let arrived = planned.at.unwrap_or(now);
        let entry = Some(InFlight { planned: *planned, arrived, serial, expect });
        let tag = match self.free.pop() {
            Some(index) => {
                self.in_flight[index as usize] = entry;
                index
            }
            None => {
                self.in_flight.push(entry);
                self.in_flight.len() as u32 - 1
            }
        };
        let deadline = self.workload.settings.deadline_ns.map_or(Instant::FAR, |ns| arrived.max(now) + ns);
        let ep = self.connections.poster(connection);
        let spec = TransferSpec {
            ep,
            op,
            lease,
            mr,
            len: u64::from(planned.len),
            deadline,
            session: None,
            tag: u64::from(tag),
        };
        self.started += 1;
        self.world.trace.push(&Event {
            at: now,
            node,
            object: serial,
            kind: EventKind::Submitted,
            len: planned.len,
            digest: planned.offset << 16 | u64::from(planned.region.map_or(0xffff, |id| id.0)),
            status: planned.kind as u8,
        });
        let host = &mut self.world.nodes[node as usize];
        if let Err(error) = host.driver.submit(now, spec) {
            // The operation counts as ended, and as failed.
            self.in_flight[tag as usize] = None;
            self.free.push(tag);
            self.ended += 1;
            let place = self.workload.cite(planned.line);
            self.failures.add(Check::Success, now, || format!("{place}: {error}"));
        }
        if self.submitted.last() != Some(&node) {
            self.submitted.push(node);
        }
        true
    }

    /// Takes what ended at a node.
    fn collect(&mut self, node: u16) {
        // What the device did wrong comes before what came of it.
        let now = self.world.now();
        while let Some(anomaly) = self.world.nodes[node as usize].driver.context().take_anomaly() {
            self.failures.add(Check::Completion, now, || format!("node {node}: {anomaly}"));
        }
        while let Some(event) = self.world.nodes[node as usize].driver.take_event() {
            self.failures.add(Check::Event, now, || format!("node {node}: {event:?}"));
        }
        while let Some(finished) = self.world.nodes[node as usize].driver.take_finished() {
            if finished.tag & RECEIVE != 0 {
                self.received(node, finished);
            } else {
                self.end(node, finished);
            }
        }
    }

    /// Checks an operation that ended.
    fn end(&mut self, node: u16, finished: Finished) {
        let now = self.world.now();
        let slot = self.in_flight.get_mut(finished.tag as usize).and_then(Option::take);
        let Some(InFlight { planned, arrived, serial, expect }) = slot else {
            let tag = finished.tag;
            self.failures.add(Check::Completion, now, || format!("operation {tag} ended twice"));
            return;
        };
        self.free.push(finished.tag as u32);
        self.ended += 1;
        let status = match &finished.result {
            Ok(_) => Status::Success as u8,
            Err(TransferError::Failed { status, .. }) => *status as u8,
            Err(_) => 255,
        };
        self.world.trace.push(&Event {
            at: now,
            node,
            object: serial,
            kind: EventKind::Finished,
            len: planned.len,
            digest: 0,
            status,
        });
        let done = match &finished.result {
            Ok(done) => *done,
            Err(error) => {
                let story = self.story(&planned, serial);
                self.failures.add(Check::Success, now, || format!("{story}: {error}"));
                self.close_versions(&planned, expect);
                return;
            }
        };
        if done != u64::from(planned.len) {
            let story = self.story(&planned, serial);
            self.failures.add(Check::Success, now, || format!("{story}: {done} bytes were done"));
        }
        let floor = self.profile.floor_ns(planned.kind, u64::from(planned.len));
        let service = finished.finished_at.since_ns(finished.submitted_at);
        if service < floor {
            let story = self.story(&planned, serial);
            self.failures.add(Check::Floor, now, || {
                format!("{story}: {service} ns, the least possible is {floor} ns")
            });
        }
        self.latencies.record(planned.kind, u64::from(planned.len), finished.finished_at.since_ns(arrived));
        self.verify(&planned, serial, expect, &finished);
    }

    /// Looks at the bytes.
    fn verify(&mut self, planned: &Planned, serial: u64, expect: Expect, finished: &Finished) {
        let now = self.world.now();
        let Some(lease) = &finished.lease else {
            self.failures
                .add(Check::Leak, now, || format!("operation {serial} succeeded and kept its lease"));
            return;
        };
        let (memory, at) = (lease.region(), lease.offset());
        let place = planned.region.and_then(|id| self.places.get_mut(id.0 as usize));
        let wrong = match (expect, place) {
            (Expect::Read(ticket), Some(place)) => place.verify_read(ticket, planned, memory, at),
            (Expect::Written { generation }, Some(place)) => place.verify_written(generation),
            (Expect::Added { .. } | Expect::Swapped { .. }, Some(place)) => {
                let mut former = [0; 8];
                lease.read(0, &mut former);
                let former = u64::from_le_bytes(former);
                let new = match expect {
                    Expect::Added { add } => former.wrapping_add(add),
                    Expect::Swapped { compare, swap } if compare == former => swap,
                    _ => former,
                };
                place.verify_atomic(planned.offset, former, new)
            }
            // A message is verified where it arrives.
            (_, _) => return,
        };
        self.bytes_verified += u64::from(planned.len);
        let Some(wrong) = wrong else { return };
        self.mismatches += 1;
        let story = self.story(planned, serial);
        let (check, what) = match wrong {
            Wrong::Arrived { first } => {
                let (first_at, end) = (at + first, at + u64::from(planned.len));
                let origin = pattern::origin(memory, first_at, end, &self.suspects());
                (Check::Bytes, format!("byte {first} of it is wrong; found {origin}"))
            }
            Wrong::Placed { first } => {
                let place = planned.region.and_then(|id| self.places.get(id.0 as usize));
                let Some(place) = place else { unreachable!("only a region can hold wrong bytes") };
                let (first_at, end) = (planned.offset + first, planned.offset + u64::from(planned.len));
                let origin = pattern::origin(&place.memory, first_at, end, &self.suspects());
                (
                    Check::Bytes,
                    format!("it succeeded, and byte {first} of it is not in place; found {origin}"),
                )
            }
            Wrong::Said { check, what } => (check, what),
        };
        self.failures.add(check, now, || format!("{story}: {what}"));
    }

    /// Forgets an operation that failed, so that others are not measured against it.
    fn close_versions(&mut self, planned: &Planned, expect: Expect) {
        let Some(place) = planned.region.and_then(|id| self.places.get_mut(id.0 as usize)) else { return };
        if let Contents::Pattern(versions) = &mut place.contents {
            match expect {
                Expect::Read(ReadTicket::Watched(id)) => drop(versions.end_read(id)),
                // It may have landed in part: for ever either.
                Expect::Written { .. } => {}
                _ => {}
            }
        }
    }

    fn story(&self, planned: &Planned, serial: u64) -> String {
        let Planned { kind, from, to, region, offset, len, line, .. } = *planned;
        let names = &self.workload.nodes;
        let name = |node: u16| names.get(node as usize).map_or("?", |node| node.name.as_str());
        let target = match region.and_then(|id| self.workload.regions.get(id.0 as usize)) {
            Some(region) => format!("region {} at offset {offset}", region.name),
            None => "a message".to_owned(),
        };
        let (kind, from, to) = (kind.name(), name(from.0), name(to.0));
        let cited = if line > 0 { format!(" ({})", self.workload.cite_source(line)) } else { String::new() };
        format!("operation {serial}{cited}, {kind} of {len} bytes, {from} -> {to}, {target}")
    }

    fn suspects(&self) -> Vec<Suspect> {
        let mut suspects: Vec<Suspect> =
            (0..).zip(&self.places).filter_map(|(id, p)| p.suspect(id)).collect();
        suspects.extend(self.messages.suspects());
        suspects
    }

    /// Ends everything, sweeps every region, and counts what was not given back.
    fn close(mut self) -> Report {
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
    fn sweep(&mut self) -> u64 {
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
