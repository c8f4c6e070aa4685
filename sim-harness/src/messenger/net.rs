//! Nodes on one network, with lines between them: how time passes, and whose turn it is.

use wavetank_contract::{Choices, Instant, Site, Wake};
use wavetank_engine::deadline::Deadlines;
use wavetank_messenger::{LineAsk, Messenger};
use wavetank_mock::Fabric;

use super::lines::{Heard, Lines, Word};
use crate::swarm::coverage::StepCounts;
use crate::trace::{Event, EventKind, Trace};

/// What became of letting things happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    /// This node was turned, or told something: it may have something to say.
    Turned(u16),
    /// The limit was reached before anything else happened.
    Reached,
}

/// The network and whoever is on it.
#[derive(Debug)]
pub(super) struct Net<X> {
    pub(super) fabric: Fabric,
    /// `None`: nobody is there now.
    pub(super) nodes: Vec<Option<Box<Messenger>>>,
    pub(super) choices: X,
    pub(super) trace: Trace,
    pub(super) lines: Lines,
    pub(super) counts: StepCounts,
    ready: Vec<u16>,
    fresh: Vec<u16>,
    paused: Vec<bool>,
    wakes: Deadlines,
    /// Turns at one instant without anything else happening: more than so many are no progress.
    pub(super) spins: u32,
    spun_at: (Instant, u64),
    /// Turns in all.
    pub(super) turns: u64,
}

impl<X: Choices> Net<X> {
    pub(super) fn new(fabric: Fabric, count: usize, choices: X, lines: Lines) -> Net<X> {
        Net {
            fabric,
            nodes: (0..count).map(|_| None).collect(),
            choices,
            trace: Trace::default(),
            lines,
            counts: StepCounts::default(),
            ready: Vec::new(),
            fresh: Vec::new(),
            paused: vec![false; count],
            wakes: Deadlines::new(),
            spins: 0,
            spun_at: (Instant::ZERO, 0),
            turns: 0,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.fabric.now()
    }

    /// Asks for a node to be turned.
    pub(super) fn touch(&mut self, node: u16) {
        if !self.ready.contains(&node) {
            self.ready.push(node);
        }
    }

    pub(super) fn pause(&mut self, node: u16) {
        self.paused[usize::from(node)] = true;
    }

    pub(super) fn resume(&mut self, node: u16) {
        let now = self.now();
        self.paused[usize::from(node)] = false;
        self.lines.listen(now);
        self.touch(node);
    }

    pub(super) fn is_paused(&self, node: u16) -> bool {
        self.paused[usize::from(node)]
    }

    /// Another messenger at a node, or none; what was there before comes back.
    pub(super) fn replace(&mut self, node: u16, messenger: Option<Box<Messenger>>) -> Option<Box<Messenger>> {
        self.wakes.remove(u32::from(node));
        self.ready.retain(|ready| *ready != node);
        std::mem::replace(&mut self.nodes[usize::from(node)], messenger)
    }

    /// Lets things happen until a node may have something to say, or time reaches `limit`.
    pub(super) fn run(&mut self, limit: Instant) -> Ran {
        loop {
            self.fabric.take_ready(&mut self.fresh);
            while let Some(node) = self.fresh.pop() {
                self.touch(node);
            }
            let now = self.now();
            let paused = &self.paused;
            if let Some(heard) = self.lines.take(now, |node| paused[usize::from(node)]) {
                return Ran::Turned(self.hear(now, heard));
            }
            let able: Vec<u16> =
                self.ready.iter().copied().filter(|node| !self.paused[usize::from(*node)]).collect();
            if !able.is_empty() {
                let node = able[self.choices.choose(Site::NodeOrder, able.len() as u64) as usize];
                self.ready.retain(|ready| *ready != node);
                self.turn(node, now);
                return Ran::Turned(node);
            }
            let event = self.fabric.next_at(&mut self.choices).unwrap_or(Instant::FAR);
            let wake = self.wakes.first().map_or(Instant::FAR, |(at, _)| at);
            let next = event.min(wake).min(self.lines.next_at().max(now));
            if next > limit || next == Instant::FAR {
                self.fabric.advance_to(limit);
                return Ran::Reached;
            }
            if event <= next {
                if let Some(step) = self.fabric.step_one(&mut self.choices) {
                    self.trace.push(&Event::from(&step));
                    self.counts.count(&step);
                }
            } else {
                self.fabric.advance_to(next);
                while let Some(node) = self.wakes.pop_due(next) {
                    self.touch(node as u16);
                }
            }
        }
    }

    fn turn(&mut self, node: u16, now: Instant) {
        let at = (now, self.fabric.steps());
        self.spins = if at == self.spun_at { self.spins + 1 } else { 0 };
        self.spun_at = at;
        self.turns += 1;
        let Some(messenger) = &mut self.nodes[usize::from(node)] else { return };
        match messenger.turn(now) {
            Wake::Now => self.touch(node),
            Wake::At(at) | Wake::Notified { until: at } => {
                self.wakes.set(u32::from(node), at.max(now));
            }
            Wake::Idle => {
                self.wakes.remove(u32::from(node));
            }
        }
        self.carry(node, now);
    }

    /// Carries out what a messenger asks of its lines.
    pub(super) fn carry(&mut self, node: u16, now: Instant) {
        let Some(messenger) = &mut self.nodes[usize::from(node)] else { return };
        while let Some(ask) = messenger.take_ask() {
            let Net { lines, choices, .. } = self;
            match ask {
                LineAsk::Dial { line, to } => {
                    let to = to.parse().unwrap_or(node);
                    lines.dial(now, [node, to], line, choices);
                }
                LineAsk::Send { line, bytes } => lines.send(now, node, line, bytes, choices),
                LineAsk::Close { line } => lines.close(now, node, line, choices),
            }
        }
    }

    fn hear(&mut self, now: Instant, heard: Heard) -> u16 {
        let (node, status, len) = match &heard {
            Heard::Call { node, .. } => (*node, 0, 0),
            Heard::Line { node, what: Word::Bytes(bytes), .. } => (*node, 2, bytes.len() as u32),
            Heard::Line { node, what: Word::Down(_), .. } => (*node, 3, 0),
            Heard::Line { node, .. } => (*node, 1, 0),
        };
        self.trace.push(&Event {
            at: now,
            node,
            object: 0,
            kind: EventKind::LineSaid,
            len,
            digest: 0,
            status,
        });
        let there = self.nodes[usize::from(node)].as_mut();
        match (heard, there) {
            (Heard::Call { wire, .. }, None) => self.lines.refused(now, wire, &mut self.choices),
            (Heard::Call { wire, .. }, Some(messenger)) => {
                let line = messenger.line_came(now);
                self.lines.answered(now, wire, line, &mut self.choices);
            }
            (Heard::Line { .. }, None) => {}
            (Heard::Line { line, what, .. }, Some(messenger)) => match what {
                Word::Up | Word::Call => messenger.line_up(now, line),
                Word::Bytes(bytes) => messenger.line_heard(now, line, &bytes),
                Word::Down(why) => messenger.line_down(now, line, why),
            },
        }
        self.carry(node, now);
        self.touch(node);
        node
    }
}
