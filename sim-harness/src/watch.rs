//! Watching a run: a tap for the network, a [`Watcher`] for operations and faults. Whoever watches changes nothing.

use std::fmt;
use std::ops::Range;

use wavetank_contract::{EpId, Instant, MrId, Mtu, OpKind};
use wavetank_engine::{Finished, TransferError};
use wavetank_mock::{Happening, Tap};

use crate::fault::Step;

/// What a runner is watched with: the tap goes to [`Fabric::set_tap`](wavetank_mock::Fabric::set_tap), the watcher stays with
/// the runner. By default nobody watches.
#[derive(Debug, Default)]
pub struct Watch {
    /// Sees the network.
    pub tap: Option<Box<dyn Tap>>,
    /// Is told of operations and faults.
    pub watcher: Option<Box<dyn Watcher>>,
    /// Events of the trace to be kept whole, by number. Of runs that make their own trace.
    pub keep: Range<u64>,
}

/// Is told what a runner does, when it does it.
pub trait Watcher {
    /// Two endpoints were connected, or connected again.
    fn connected(&mut self, _at: Instant, _connected: &Connected) {}

    /// An operation goes to its driver: called before `Driver::submit`, so before any of its works.
    fn submitted(&mut self, _at: Instant, _op: &Submitted) {}

    /// An operation was given up.
    fn cancelled(&mut self, _at: Instant, _op: u64) {}

    /// An operation ended.
    fn ended(&mut self, _at: Instant, _op: u64, _how: &Ending<'_>) {}

    /// A check found something wrong with an operation.
    fn blamed(&mut self, _at: Instant, _op: u64, _what: &str) {}

    /// A fault comes or ends: called just before its step is done.
    fn fault(&mut self, _at: Instant, _step: &Step) {}

    /// Every fault that can be undone was.
    fn healed(&mut self, _at: Instant) {}
}

impl fmt::Debug for dyn Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

/// An endpoint of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// The node.
    pub node: u16,
    /// The endpoint.
    pub ep: EpId,
}

/// Two endpoints that work together from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The connection's number in its plan.
    pub connection: u32,
    /// Its ends.
    pub ends: [End; 2],
    /// Payload of a packet.
    pub mtu: Mtu,
    /// Repetitions after silence.
    pub retry_cnt: u8,
}

/// An operation as it is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Its number: of a plan the `id`, of a workload its place, from 0.
    pub op: u64,
    /// Who posts it.
    pub from: End,
    /// What it is.
    pub kind: OpKind,
    /// The registration of its local memory.
    pub mr: MrId,
    /// Where its lease begins, in bytes from the start of the region.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// What it is for at the peer; a SEND is for nothing in particular.
    pub target: Option<Target>,
    /// When it is given up; `FAR` is never.
    pub deadline: Instant,
}

/// Part of the peer's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The region's number in its plan.
    pub region: u16,
    /// The slot, where the region has slots.
    pub slot: Option<u16>,
    /// Bytes from the start of the slot, or of the region.
    pub offset: u64,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug)]
pub enum Ending<'a> {
    /// Well, with so many bytes.
    Done(u64),
    /// With an error.
    Failed(&'a TransferError),
    /// It never began, for this reason.
    NotBegun(&'a str),
}

impl Ending<'_> {
    /// Of a transfer.
    pub fn of(finished: &Finished) -> Ending<'_> {
        match &finished.result {
            Ok(done) => Ending::Done(*done),
            Err(error) => Ending::Failed(error),
        }
    }
}

/// Several taps as one.
#[derive(Debug, Default)]
pub struct Taps(Vec<Box<dyn Tap>>);

impl Taps {
    /// One tap of any number; `None` of none.
    pub fn join(mut taps: Vec<Box<dyn Tap>>) -> Option<Box<dyn Tap>> {
        match taps.len() {
            0 | 1 => taps.pop(),
            _ => Some(Box::new(Taps(taps))),
        }
    }
}

impl Tap for Taps {
    fn see(&mut self, at: Instant, happening: &Happening<'_>) {
        self.0.iter_mut().for_each(|tap| tap.see(at, happening));
    }
}
