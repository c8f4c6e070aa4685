//! Real time: the world sleeps until a device has something to say, and no wait is without an end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wavetank_contract::{Choices, EpId, Instant, QpState};
use wavetank_engine::RdmaOps;

use super::{Motion, Node, Ran, Ready, World};
use crate::lab::RealTime;

/// Devices watched without allocating; worlds with more of them may.
const WATCHED: usize = 16;

/// Turns after which every device is listened to, though some node has enough to do: a busy client may not keep a receiver
/// from posting its receives again.
const TURNS_MAX: u32 = 4;

/// How a world waits for devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How long an operation may take unless its workload says, and how long nothing may happen before the run is given up.
    pub deadline_ns: u64,
    /// How long to poll without sleeping after something happened. 0 sleeps at once: software devices need the core.
    pub spin_ns: u64,
}

impl Default for Waiting {
    fn default() -> Waiting {
        Waiting { deadline_ns: 30_000_000_000, spin_ns: 0 }
    }
}

/// The real clock, and what it is compared with.
#[derive(Debug)]
pub(super) struct Real {
    time: RealTime,
    waiting: Waiting,
    /// When something last ended.
    progress_at: Instant,
    /// Turns since devices were last listened to.
    turns: u32,
    /// What becomes readable when another process that takes part is gone.
    companion: Option<OwnedFd>,
    /// It is.
    forsaken: bool,
}

impl Real {
    pub(super) fn new(waiting: Waiting) -> Real {
        Real {
            time: RealTime::start(),
            waiting,
            progress_at: Instant::ZERO,
            turns: 0,
            companion: None,
            forsaken: false,
        }
    }

    #[inline]
    pub(super) fn now(&self) -> Instant {
        self.time.now()
    }
}

impl<C: RdmaOps, X: Choices> World<C, X> {
    /// The run begins: real time counts from here. What was posted so far is on its way before anything else is, so that no
    /// message of a peer comes before the receive that is meant for it.
    pub fn begin(&mut self) {
        let Motion::Real(real) = &mut self.motion else { return };
        let (companion, forsaken) = (real.companion.take(), real.forsaken);
        *real = Real { companion, forsaken, ..Real::new(real.waiting) };
        for _ in 0..self.ready.nodes.len() {
            self.turn_one(0);
        }
    }

    /// Something ended: whoever waits for news has had some.
    #[inline]
    pub fn progressed(&mut self) {
        if let Motion::Real(real) = &mut self.motion {
            real.progress_at = real.time.now();
        }
    }

    /// Another process takes part, and is gone when this becomes readable: nothing is waited for any more then.
    pub fn accompany(&mut self, companion: OwnedFd) {
        if let Motion::Real(real) = &mut self.motion {
            real.companion = Some(companion);
        }
    }

    /// Goes on without the other process: what is left concerns this one alone.
    pub(crate) fn part_company(&mut self) {
        if let Motion::Real(real) = &mut self.motion {
            (real.companion, real.forsaken) = (None, false);
        }
    }

    /// Whether the process that took part is gone.
    pub fn is_forsaken(&self) -> bool {
        matches!(&self.motion, Motion::Real(real) if real.forsaken)
    }

    /// For how long nothing may happen, in a world of devices.
    pub fn patience_ns(&self) -> Option<u64> {
        match &self.motion {
            Motion::Simulated(_) => None,
            Motion::Real(real) => Some(real.waiting.deadline_ns),
        }
    }

    pub(super) fn run_real(&mut self, limit: Instant) -> Ran {
        loop {
            let Motion::Real(real) = &mut self.motion else { return Ran::Stuck };
            if real.forsaken {
                return Ran::Stuck;
            }
            if !self.ready.nodes.is_empty() {
                real.turns += 1;
                if real.turns > TURNS_MAX {
                    real.turns = 0;
                    real.watch(&mut self.nodes, &mut self.ready, 0);
                }
                // First come, first served: chance draws the workload and nothing else, so that a seed is the same
                // operations in every run.
                return self.turn_one(0);
            }
            real.turns = 0;
            let (now, patience_ns) = (real.now(), real.waiting.deadline_ns);
            // Transfers have the same deadline and say more when they miss it: they come first.
            let give_up = real.progress_at + patience_ns + patience_ns / 8;
            while let Some(node) = self.wakes.pop_due(now) {
                self.ready.touch(node as u16);
            }
            if !self.ready.nodes.is_empty() {
                continue;
            }
            if limit == Instant::FAR && now >= give_up {
                return Ran::Stuck;
            }
            if now < real.progress_at + real.waiting.spin_ns {
                (0..self.nodes.len()).for_each(|node| self.ready.touch(node as u16));
                continue;
            }
            let wake = self.wakes.first().map_or(Instant::FAR, |(at, _)| at);
            let until = limit.min(wake).min(if limit == Instant::FAR { give_up } else { limit });
            // Also when the limit has passed: arrivals that come faster than they are served leave room for completions.
            let woken = real.watch(&mut self.nodes, &mut self.ready, until.since_ns(now));
            if !woken && limit <= now {
                return Ran::Reached;
            }
        }
    }

    /// Turns drivers until every endpoint is ready to send: some devices shake hands.
    ///
    /// # Errors
    /// The first endpoint that is not, and its state.
    pub(crate) fn settle(&mut self, endpoints: &[(u16, EpId)]) -> Result<(), (u16, EpId, Option<QpState>)> {
        let limit = self.now() + self.patience_ns().unwrap_or(0);
        loop {
            let mut states = endpoints
                .iter()
                .map(|(node, ep)| (*node, *ep, self.nodes[*node as usize].driver.context().state(*ep)));
            let Some(waiting) = states.find(|(.., state)| *state != Some(QpState::Rts)) else {
                return Ok(());
            };
            if matches!(waiting.2, None | Some(QpState::Err)) || self.now() >= limit {
                return Err(waiting);
            }
            self.touch(waiting.0);
            // Handshakes wake us; should one not, we look again soon.
            let soon = self.now() + 1_000_000;
            while let Ran::Turned(_) = self.run(soon.min(limit)) {}
        }
    }
}

impl Real {
    /// Sleeps until a device has something to say, or for `ns`. Its nodes are then ready; false when there are none.
    fn watch<C: RdmaOps>(&mut self, nodes: &mut [Node<C>], ready: &mut Ready, ns: u64) -> bool {
        let companion = self.companion.as_ref().map(|companion| (companion.as_fd(), None));
        let (woken, forsaken) = watch(companion, nodes, ready, ns);
        self.forsaken |= forsaken;
        woken
    }
}

/// Sleeps until a device or the companion has something to say, or for `ns`. Answers whether any did, and whether that one.
fn watch<C: RdmaOps>(
    companion: Option<(BorrowedFd<'_>, Option<u16>)>,
    nodes: &mut [Node<C>],
    ready: &mut Ready,
    ns: u64,
) -> (bool, bool) {
    let devices = nodes
        .iter_mut()
        .zip(0u16..)
        .filter(|(_, index)| !ready.is_paused[*index as usize])
        .filter_map(|(node, index)| Some((node.driver.context().notifier()?, Some(index))));
    let mut notifiers = companion.into_iter().chain(devices).peekable();
    let Some((first, _)) = notifiers.peek().copied() else {
        return (poll_for(&mut [], ns), false);
    };
    let idle = || PollFd::from_borrowed_fd(first, PollFlags::empty());
    let (mut few, mut owners) = ([(); WATCHED].map(|()| idle()), [None; WATCHED]);
    let mut count = 0;
    for (notifier, node) in notifiers.by_ref().take(WATCHED) {
        few[count] = PollFd::from_borrowed_fd(notifier, PollFlags::IN);
        owners[count] = node;
        count += 1;
    }
    let rest: Vec<_> = notifiers.collect();
    let mut forsaken = false;
    let mut hear = |(fd, node): (&PollFd<'_>, Option<u16>)| match node {
        _ if fd.revents().is_empty() => {}
        Some(node) => ready.touch(node),
        None => forsaken = true,
    };
    if rest.is_empty() {
        let woken = poll_for(&mut few[..count], ns);
        few[..count].iter().zip(owners).for_each(&mut hear);
        return (woken, forsaken);
    }
    let watched = |(fd, _): &(_, Option<u16>)| PollFd::from_borrowed_fd(*fd, PollFlags::IN);
    let mut many: Vec<PollFd<'_>> = few.into_iter().take(count).chain(rest.iter().map(watched)).collect();
    let owners = owners.into_iter().take(count).chain(rest.iter().map(|(_, node)| *node));
    let woken = poll_for(&mut many, ns);
    many.iter().zip(owners).for_each(&mut hear);
    (woken, forsaken)
}

/// Whether something became readable within `ns`. An interrupted or failed wait is a short one: whoever waits comes again.
fn poll_for(watched: &mut [PollFd<'_>], ns: u64) -> bool {
    let timeout = Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 };
    matches!(poll(watched, Some(&timeout)), Ok(1..))
}
