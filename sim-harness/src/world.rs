//! The world: nodes, how time passes between them, and the order in which things happen.
//!
//! The same nodes run in one of two motions: on a simulated [`Fabric`], where time is virtual and every step is a choice, or
//! on devices of this machine, where time is real and the world sleeps until a device has something to say.

mod chance;
mod real;

use std::fmt::Write as _;

use wavetank_contract::{Choices, Instant, Site, Wake};
use wavetank_engine::deadline::Deadlines;
use wavetank_engine::memory::Arena;
use wavetank_engine::{Driver, RdmaContext, RdmaOps};
use wavetank_mock::Fabric;

pub use chance::Shaped;
use real::Real;
pub use real::Waiting;

use crate::swarm::coverage::StepCounts;
use crate::trace::{Event, Trace};

/// A host: a driver over its NIC, and memory to work with.
#[derive(Debug)]
pub struct Node<C = RdmaContext> {
    /// The engine.
    pub driver: Driver<C>,
    /// Registered memory for operations, if the node posts any.
    pub arena: Option<Arena>,
    /// Registered memory for receives, if messages arrive here. Apart, so that receives, which are always posted, never
    /// stand in the way of a large operation.
    pub receives: Option<Arena>,
}

/// What became of letting the world run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// This node was turned: something may have finished there.
    Turned(u16),
    /// The limit was reached before anything else happened.
    Reached,
    /// Nothing is scheduled, or in real time nothing has happened for as long as anybody waits: without outside help
    /// nothing will ever happen again.
    Stuck,
}

/// Nodes, one clock, one source of chance.
#[derive(Debug)]
pub struct World<C = RdmaContext, X = Shaped> {
    /// The hosts, in the fabric's order.
    pub nodes: Vec<Node<C>>,
    /// Every choice of the run comes from here.
    pub choices: X,
    /// What happened.
    pub trace: Trace,
    motion: Motion,
    ready: Ready,
    fresh: Vec<u16>,
    /// When drivers asked to be turned.
    wakes: Deadlines,
    /// What the network did, counted, if anybody wants to know.
    pub counts: Option<Box<StepCounts>>,
}

/// How time passes.
#[derive(Debug)]
enum Motion {
    /// The network, its NICs and a virtual clock.
    Simulated(Box<Fabric>),
    /// Devices and a real clock.
    Real(Real),
}

/// Nodes to be turned.
#[derive(Debug)]
struct Ready {
    nodes: Vec<u16>,
    is_ready: Vec<bool>,
    /// Hosts that stand still: they are ready for as long as they like.
    is_paused: Vec<bool>,
}

impl Ready {
    #[inline]
    fn touch(&mut self, node: u16) {
        if !self.is_ready[node as usize] {
            self.is_ready[node as usize] = true;
            if !self.is_paused[node as usize] {
                self.nodes.push(node);
            }
        }
    }

    fn pause(&mut self, node: u16) {
        self.is_paused[node as usize] = true;
        self.nodes.retain(|ready| *ready != node);
    }

    fn resume(&mut self, node: u16) {
        self.is_paused[node as usize] = false;
        self.is_ready[node as usize] = false;
        self.nodes.retain(|ready| *ready != node);
        self.touch(node);
    }

    fn take(&mut self, node: u16) {
        self.is_ready[node as usize] = false;
        self.nodes.retain(|ready| *ready != node);
    }
}

impl<C: RdmaOps> World<C> {
    /// A simulated world, whose nodes have been added to the fabric already.
    pub fn simulated(fabric: Fabric, nodes: Vec<Node<C>>, seed: u64, trace: Trace) -> World<C> {
        let choices = Shaped::new(seed, fabric.profile().jitter_shape);
        World::choosing(fabric, nodes, choices, trace)
    }

    /// A world over devices, in real time. Its seed still draws the workload.
    pub fn real(waiting: Waiting, nodes: Vec<Node<C>>, seed: u64, trace: Trace) -> World<C> {
        World::moving(Motion::Real(Real::new(waiting)), nodes, Shaped::new(seed, 1), trace)
    }
}

impl<C: RdmaOps, X: Choices> World<C, X> {
    /// A simulated world with choices of any kind.
    pub fn choosing(fabric: Fabric, nodes: Vec<Node<C>>, choices: X, trace: Trace) -> World<C, X> {
        World::moving(Motion::Simulated(Box::new(fabric)), nodes, choices, trace)
    }

    fn moving(motion: Motion, nodes: Vec<Node<C>>, choices: X, trace: Trace) -> World<C, X> {
        let count = nodes.len();
        let ready = Ready {
            nodes: Vec::with_capacity(count),
            is_ready: vec![false; count],
            is_paused: vec![false; count],
        };
        World {
            nodes,
            choices,
            trace,
            motion,
            ready,
            fresh: Vec::new(),
            wakes: Deadlines::new(),
            counts: None,
        }
    }

    /// The simulated network, to inject causes into; `None` in a world of devices.
    pub fn fabric(&mut self) -> Option<&mut Fabric> {
        match &mut self.motion {
            Motion::Simulated(fabric) => Some(fabric),
            Motion::Real(_) => None,
        }
    }

    /// Whether time is virtual.
    pub fn is_simulated(&self) -> bool {
        matches!(self.motion, Motion::Simulated(_))
    }

    /// Steps of the simulated network so far.
    pub fn steps(&self) -> u64 {
        match &self.motion {
            Motion::Simulated(fabric) => fabric.steps(),
            Motion::Real(_) => 0,
        }
    }

    /// The time: virtual, or real.
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.motion {
            Motion::Simulated(fabric) => fabric.now(),
            Motion::Real(real) => real.now(),
        }
    }

    /// Asks for a node to be turned: something was submitted there.
    #[inline]
    pub fn touch(&mut self, node: u16) {
        self.ready.touch(node);
    }

    /// Lets a host stand still: it is not turned, whatever its device has for it, and misses its own deadlines. The device
    /// goes on.
    pub fn pause(&mut self, node: u16) {
        self.ready.pause(node);
    }

    /// Lets a host go on. It is turned at once.
    pub fn resume(&mut self, node: u16) {
        self.ready.resume(node);
    }

    /// Whether a host stands still.
    pub fn is_paused(&self, node: u16) -> bool {
        self.ready.is_paused[node as usize]
    }

    /// Gives a host another engine and memory, and takes those it had: it died, or opened another device.
    pub fn replace(&mut self, node: u16, host: Node<C>) -> Node<C> {
        self.wakes.remove(u32::from(node));
        self.ready.take(node);
        std::mem::replace(&mut self.nodes[node as usize], host)
    }

    /// Turns a node now, whether it is ready or not. Answers whether it wants to be turned again at once.
    pub fn turn(&mut self, node: u16) -> bool {
        self.ready.take(node);
        let now = self.now();
        let wake = self.nodes[node as usize].driver.turn(now);
        self.plan(node, wake);
        wake == Wake::Now
    }

    /// Posts what was submitted at a node.
    #[inline]
    pub fn flush(&mut self, node: u16) {
        if self.is_paused(node) {
            return;
        }
        let now = self.now();
        let wake = self.nodes[node as usize].driver.flush(now);
        self.plan(node, wake);
    }

    #[inline]
    fn plan(&mut self, node: u16, wake: Wake) {
        match wake {
            Wake::Now => self.touch(node),
            // FAR takes the entry away: what makes a notifier readable is watched in any case.
            Wake::At(at) | Wake::Notified { until: at } => {
                // A host that stood still may be late for a deadline of its own: time does not go back for it.
                let at = at.max(self.now());
                self.wakes.set(u32::from(node), at);
            }
            Wake::Idle => {
                self.wakes.remove(u32::from(node));
            }
        }
    }

    /// Lets things happen until a node was turned, or time reaches `limit`, or nothing is left to happen.
    #[inline]
    pub fn run(&mut self, limit: Instant) -> Ran {
        let Motion::Simulated(fabric) = &mut self.motion else { return self.run_real(limit) };
        loop {
            fabric.take_ready(&mut self.fresh);
            while let Some(node) = self.fresh.pop() {
                // Others on the same network are turned by whoever has them.
                if usize::from(node) < self.nodes.len() {
                    self.ready.touch(node);
                }
            }
            if !self.ready.nodes.is_empty() {
                let index = self.choices.choose(Site::NodeOrder, self.ready.nodes.len() as u64);
                return self.turn_one(index as usize);
            }
            // FAR stands for never, and never comes.
            let event = fabric.next_at(&mut self.choices).unwrap_or(Instant::FAR);
            let wake = self.wakes.first().map_or(Instant::FAR, |(at, _)| at);
            let next = event.min(wake);
            if next > limit || next == Instant::FAR {
                if limit == Instant::FAR {
                    return Ran::Stuck;
                }
                fabric.advance_to(limit);
                return Ran::Reached;
            }
            if event <= wake {
                if let Some(step) = fabric.step_one(&mut self.choices) {
                    self.trace.push(&Event::from(&step));
                    if let Some(counts) = &mut self.counts {
                        counts.count(&step);
                    }
                }
            } else {
                fabric.advance_to(wake);
                while let Some(node) = self.wakes.pop_due(wake) {
                    self.ready.touch(node as u16);
                }
            }
        }
    }

    /// Turns one of the ready nodes.
    #[inline]
    fn turn_one(&mut self, index: usize) -> Ran {
        let node = self.ready.nodes.remove(index);
        self.ready.is_ready[node as usize] = false;
        let now = self.now();
        let wake = self.nodes[node as usize].driver.turn(now);
        self.plan(node, wake);
        Ran::Turned(node)
    }

    /// Works posted and transfers begun that have not ended, for the person who has to find out why.
    pub fn ledger(&mut self) -> String {
        let mut out = String::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let transfers = node.driver.transfers_len();
            let works = node.driver.context().outstanding();
            // Writing to a String cannot fail.
            let _ = writeln!(out, "node {index}: {transfers} transfers under way, {works} works outstanding");
            node.driver.context().describe_outstanding(&mut out);
        }
        out
    }
}
