//! The bench a case works on: two devices with memory whose every byte is accounted for, and a list of every work that is
//! owed a completion.
//!
//! Side A is node 0, side B node 1. Whatever a device does that nobody asked for ends the case: a completion of no
//! outstanding work, a wrong length, a byte that changed where none was announced.

mod endpoint;
mod memory;
mod post;
mod queue;
mod wait;

use wavetank_contract::{
    Access, AsyncEvent, Backend, Caps, Completion, Completions, CqId, EpId, Instant, MrId, OpKind, PdId,
    Region, RegionSpec, RemoteRegion,
};
use wavetank_mock::digest;

use super::stop::{Ended, OrFail, Stop, fail};
use crate::lab::{Cause, Lab};
use crate::pattern::{self, Tag};
pub(super) use endpoint::{PLAIN, Tune};
pub(super) use memory::{Extra, bytes};

/// The side that mostly asks.
pub(super) const A: usize = 0;
/// The side that mostly answers.
pub(super) const B: usize = 1;

/// Bytes of each side's main region.
pub(super) const MEM: usize = 256 << 10;

/// After this long a wait has failed. Virtual or real.
pub(super) const DEADLINE_NS: u64 = 5_000_000_000;

/// Completions of the main queue.
const CQ_DEPTH: u32 = 1024;

/// A millisecond, in nanoseconds.
pub(super) const MS: u64 = 1_000_000;

/// An endpoint and the side it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) side: usize,
    pub(super) ep: EpId,
}

/// A work that a device owes a completion for, or that is silent on success.
#[derive(Clone, Debug)]
struct Posted {
    id: u64,
    /// `None`: whoever takes it from a shared queue.
    ep: Option<EpId>,
    kind: OpKind,
    len: u32,
    signalled: bool,
}

impl Posted {
    fn is_recv(&self) -> bool {
        self.kind == OpKind::Recv
    }
}

/// An endpoint that was opened.
struct Opened {
    ep: EpId,
    /// What its peer's main region is to it, once connected.
    peer: Option<RemoteRegion>,
}

struct Side<D> {
    device: D,
    caps: Caps,
    cq: CqId,
    /// The queues that are polled.
    cqs: Vec<CqId>,
    mem: Region,
    mr: MrId,
    /// What `mem` must hold.
    shadow: Vec<u8>,
    opened: Vec<Opened>,
    /// Oldest first, over all endpoints.
    posted: Vec<Posted>,
    /// What completed and was not asked for yet.
    done: Vec<(Posted, Completion)>,
    events: Vec<AsyncEvent>,
    /// Whether anybody polls here at all.
    polled: bool,
}

/// Two devices on a lab.
pub(super) struct Bench<'l, L: Lab> {
    lab: &'l mut L,
    sides: [Side<L::Device>; 2],
    /// What was seen, one line each: no time, no address, no number of the device's own.
    seen: &'l mut Vec<String>,
    /// What is seen depends on promises or on chance, and is not written down.
    blurred: bool,
    scratch: Completions,
    /// Wake-ups in a row that brought nothing.
    empty_wakes: u32,
    extras: u32,
}

/// What peers may do on a device that promises this.
pub(super) fn everything(caps: &Caps) -> Access {
    Access { remote_atomic: caps.atomics, ..Access::ALL }
}

pub(super) const fn side_name(side: usize) -> &'static str {
    if side == A { "a" } else { "b" }
}

fn set_up<D: Backend>(side: usize, mut device: D) -> Result<Side<D>, Stop> {
    let name = side_name(side);
    let caps = device.caps().clone();
    let cq =
        device.open_cq(CQ_DEPTH.min(caps.cq_depth_max)).or_fail(format!("{name}: a completion queue"))?;
    let mem = device.allocate(&RegionSpec::new(MEM as u64)).or_fail(format!("{name}: memory"))?;
    pattern::fill(&mem, 0, MEM, Tag { region: side as u32, generation: 0 }, 0);
    let shadow = bytes(&mem, 0, MEM);
    let mr = device.register(&mem, PdId(0), everything(&caps)).or_fail(format!("{name}: a registration"))?;
    Ok(Side {
        device,
        caps,
        cq,
        cqs: vec![cq],
        mem,
        mr,
        shadow,
        opened: Vec::new(),
        posted: Vec::new(),
        done: Vec::new(),
        events: Vec::new(),
        polled: true,
    })
}

impl<'l, L: Lab> Bench<'l, L> {
    /// Sets the bench up with two devices of the lab.
    pub(super) fn new(
        lab: &'l mut L,
        devices: [L::Device; 2],
        seen: &'l mut Vec<String>,
    ) -> Result<Bench<'l, L>, Stop> {
        let [a, b] = devices;
        let sides = [set_up(A, a)?, set_up(B, b)?];
        let scratch = Completions::with_capacity(64);
        Ok(Bench { lab, sides, seen, blurred: false, scratch, empty_wakes: 0, extras: 0 })
    }

    pub(super) fn caps(&self, side: usize) -> &Caps {
        &self.sides[side].caps
    }

    /// The bare device, for calls that only some cases make.
    pub(super) fn device(&mut self, side: usize) -> &mut L::Device {
        &mut self.sides[side].device
    }

    pub(super) fn cq(&self, side: usize) -> CqId {
        self.sides[side].cq
    }

    /// A side's main region and its registration.
    pub(super) fn main(&self, side: usize) -> (Region, MrId) {
        (self.sides[side].mem.clone(), self.sides[side].mr)
    }

    pub(super) fn now(&self) -> Instant {
        self.lab.now()
    }

    /// Disturbs the wire; a lab that cannot skips the case.
    pub(super) fn inject(&mut self, cause: Cause) -> Ended {
        Ok(self.lab.inject(cause)?)
    }

    /// Writes down what was seen.
    pub(super) fn note(&mut self, line: impl Into<String>) {
        if !self.blurred {
            self.seen.push(line.into());
        }
    }

    /// What follows depends on what the device promises, or on chance: it is checked, and not written down.
    pub(super) fn blur(&mut self) {
        self.blurred = true;
    }

    /// What every case ends with: nothing came that was not asked for, no byte changed that was not announced.
    pub(super) fn finish(&mut self, quiet: bool) -> Ended {
        self.pump()?;
        for side in [A, B] {
            let name = side_name(side);
            if let Some((posted, completion)) = self.sides[side].done.first() {
                let (kind, id, status) = (posted.kind.name(), posted.id, completion.status);
                fail!("{name}: {kind} {id} completed with {status}, which nobody expected");
            }
            let events = std::mem::take(&mut self.sides[side].events);
            let mut lines: Vec<_> = events.iter().map(|event| self.event_name(side, event)).collect();
            lines.sort();
            // How often something is told is up to the device.
            lines.dedup();
            for line in lines {
                if quiet && !is_of_the_port(&line) {
                    fail!("{name}: the event {line}, though nothing went wrong");
                }
                self.note(format!("{name}: event {line}"));
            }
        }
        self.check()?;
        for side in [A, B] {
            let line = format!("{}: memory {:016x}", side_name(side), digest(&self.sides[side].shadow));
            self.note(line);
        }
        Ok(())
    }
}

/// Events that somebody else on the machine may bring about.
fn is_of_the_port(event: &str) -> bool {
    matches!(event, "PortErr" | "PortActive" | "GidChange")
}
