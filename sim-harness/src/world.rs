//! The world: nodes, the fabric between them, and the order in which things happen.

use std::fmt::Write as _;

use wavetank_contract::{Choices, Instant, Seeded, Site, Wake};
use wavetank_engine::deadline::Deadlines;
use wavetank_engine::memory::Arena;
use wavetank_engine::{Driver, RdmaContext, RdmaOps};
use wavetank_mock::Fabric;

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
    /// Nothing is scheduled: without outside help nothing will ever happen again.
    Stuck,
}

/// Nodes on a simulated fabric, one clock, one source of chance.
#[derive(Debug)]
pub struct World<C = RdmaContext> {
    /// The network, its NICs and the clock.
    pub fabric: Fabric,
    /// The hosts, in the fabric's order.
    pub nodes: Vec<Node<C>>,
    /// Every choice of the run comes from here.
    pub choices: Seeded,
    /// What happened.
    pub trace: Trace,
    /// Nodes to be turned.
    ready: Vec<u16>,
    is_ready: Vec<bool>,
    fresh: Vec<u16>,
    /// When drivers asked to be turned.
    wakes: Deadlines,
}

impl<C: RdmaOps> World<C> {
    /// A world whose nodes have been added to the fabric already.
    pub fn new(fabric: Fabric, nodes: Vec<Node<C>>, seed: u64, trace: Trace) -> World<C> {
        let is_ready = vec![false; nodes.len()];
        let choices = Seeded::new(seed);
        let (ready, fresh, wakes) = (Vec::new(), Vec::new(), Deadlines::new());
        World { fabric, nodes, choices, trace, ready, is_ready, fresh, wakes }
    }

    /// Virtual time.
    #[inline]
    pub fn now(&self) -> Instant {
        self.fabric.now()
    }

    /// Asks for a node to be turned: something was submitted there.
    #[inline]
    pub fn touch(&mut self, node: u16) {
        if !self.is_ready[node as usize] {
            self.is_ready[node as usize] = true;
            self.ready.push(node);
        }
    }

    /// Posts what was submitted at a node.
    #[inline]
    pub fn flush(&mut self, node: u16) {
        let now = self.now();
        let wake = self.nodes[node as usize].driver.flush(now);
        self.plan(node, wake);
    }

    #[inline]
    fn plan(&mut self, node: u16, wake: Wake) {
        match wake {
            Wake::Now => self.touch(node),
            Wake::At(at) => self.wakes.set(u32::from(node), at),
            Wake::Idle | Wake::Notified { .. } => {
                self.wakes.remove(u32::from(node));
            }
        }
    }

    /// Lets things happen until a node was turned, or time reaches `limit`, or nothing is left to happen.
    #[inline]
    pub fn run(&mut self, limit: Instant) -> Ran {
        loop {
            self.fabric.take_ready(&mut self.fresh);
            while let Some(node) = self.fresh.pop() {
                self.touch(node);
            }
            if !self.ready.is_empty() {
                return self.turn_one();
            }
            // FAR stands for never, and never comes.
            let event = self.fabric.next_at(&mut self.choices).unwrap_or(Instant::FAR);
            let wake = self.wakes.first().map_or(Instant::FAR, |(at, _)| at);
            let next = event.min(wake);
            if next > limit || next == Instant::FAR {
                if limit == Instant::FAR {
                    return Ran::Stuck;
                }
                self.fabric.advance_to(limit);
                return Ran::Reached;
            }
            if event <= wake {
                if let Some(step) = self.fabric.step_one(&mut self.choices) {
                    self.trace.push(&Event::from(&step));
                }
            } else {
                self.fabric.advance_to(wake);
                while let Some(node) = self.wakes.pop_due(wake) {
                    self.touch(node as u16);
                }
            }
        }
    }

    /// Turns one of the ready nodes, which one is a choice.
    #[inline]
    fn turn_one(&mut self) -> Ran {
        let index = self.choices.choose(Site::NodeOrder, self.ready.len() as u64) as usize;
        let node = self.ready.remove(index);
        self.is_ready[node as usize] = false;
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
