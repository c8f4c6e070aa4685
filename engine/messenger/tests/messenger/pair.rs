//! Messengers on one simulated network, with lines between them.

use std::collections::VecDeque;

use wavetank_contract::{Instant, Quiet, Wake};
use wavetank_engine::bootstrap::InstanceId;
use wavetank_engine::{BackendKind, Driver, DriverConfig, Port, PortConfig, RdmaContext};
use wavetank_messenger::{ConnectionId, Event, LineAsk, LineId, Messenger, MessengerConfig};
use wavetank_mock::{Fabric, Profile};

/// How long bytes take on a line.
pub(crate) const LINE_NS: u64 = 20_000;

/// One end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    node: usize,
    line: LineId,
}

#[derive(Debug)]
enum Said {
    Came,
    Up,
    Bytes(Vec<u8>),
    Down,
}

/// Nodes that are called by their number.
pub(crate) struct Net {
    pub(crate) fabric: Fabric,
    pub(crate) nodes: Vec<Messenger>,
    pub(crate) events: Vec<VecDeque<Event>>,
    lines: Vec<(End, End)>,
    /// Dialled, and not answered yet.
    calls: VecDeque<(Instant, End, usize)>,
    said: VecDeque<(Instant, End, Said)>,
    /// Nodes whose lines are cut: what is said to and by them is lost.
    pub(crate) cut: Vec<bool>,
}

pub(crate) fn config(name: u64) -> MessengerConfig {
    MessengerConfig {
        pool_bytes: 8 << 20,
        landing_pool_bytes: 8 << 20,
        receive_bytes: 2 << 20,
        exposed_bytes_max: 64 << 20,
        message_bytes_max: 4 << 20,
        landing_bytes_max: 8 << 20,
        ..MessengerConfig::new(name, BackendKind::Mock)
    }
}

impl Net {
    pub(crate) fn new(configs: &[MessengerConfig]) -> Net {
        let mut fabric = Fabric::new(Profile::IDEAL);
        let nodes: Vec<Messenger> = configs
            .iter()
            .map(|config| {
                let context = RdmaContext::from(Port::new(fabric.add_node(), PortConfig::default()));
                let driver = Driver::new(context, DriverConfig::default());
                let instance = InstanceId::new(config.name + 1000).unwrap();
                Messenger::new(driver, BackendKind::Mock, instance, *config).unwrap()
            })
            .collect();
        let count = nodes.len();
        Net {
            fabric,
            nodes,
            events: (0..count).map(|_| VecDeque::new()).collect(),
            lines: Vec::new(),
            calls: VecDeque::new(),
            said: VecDeque::new(),
            cut: vec![false; count],
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.fabric.now()
    }

    fn other(&self, end: End) -> Option<End> {
        self.lines.iter().find_map(|(a, b)| match end {
            end if end == *a => Some(*b),
            end if end == *b => Some(*a),
            _ => None,
        })
    }

    fn carry(&mut self, node: usize) {
        let due = self.now() + LINE_NS;
        while let Some(ask) = self.nodes[node].take_ask() {
            match ask {
                LineAsk::Dial { line, to } => {
                    let end = End { node, line };
                    self.calls.push_back((due, end, to.parse().unwrap()));
                }
                LineAsk::Send { line, bytes } => {
                    if let Some(other) = self.other(End { node, line })
                        && !self.cut[node]
                        && !self.cut[other.node]
                    {
                        self.said.push_back((due, other, Said::Bytes(bytes)));
                    }
                }
                LineAsk::Close { line } => {
                    let end = End { node, line };
                    if let Some(other) = self.other(end)
                        && !self.cut[node]
                        && !self.cut[other.node]
                    {
                        self.said.push_back((due, other, Said::Down));
                    }
                    self.calls.retain(|(_, caller, _)| *caller != end);
                }
            }
        }
    }

    fn deliver(&mut self) {
        let now = self.now();
        while self.calls.front().is_some_and(|(due, ..)| *due <= now) {
            let (_, caller, to) = self.calls.pop_front().unwrap();
            if self.cut[to] || self.cut[caller.node] {
                self.said.push_back((now, caller, Said::Down));
                continue;
            }
            let line = self.nodes[to].line_came(now);
            self.lines.push((caller, End { node: to, line }));
            self.said.push_back((now, End { node: to, line }, Said::Came));
            self.said.push_back((now, caller, Said::Up));
        }
        let mut later = VecDeque::new();
        while let Some((due, end, said)) = self.said.pop_front() {
            if due > now {
                later.push_back((due, end, said));
                continue;
            }
            let node = &mut self.nodes[end.node];
            match said {
                Said::Came => {}
                Said::Up => node.line_up(now, end.line),
                Said::Bytes(bytes) => node.line_heard(now, end.line, &bytes),
                Said::Down => node.line_down(now, end.line, "closed"),
            }
        }
        self.said = later;
    }

    /// Lets everything happen up to a time.
    pub(crate) fn run_until(&mut self, end: Instant) {
        loop {
            let now = self.now();
            self.deliver();
            let mut wake = end;
            for node in 0..self.nodes.len() {
                match self.nodes[node].turn(now) {
                    Wake::Now => wake = now,
                    Wake::At(at) => wake = wake.min(at.max(now)),
                    Wake::Notified { .. } | Wake::Idle => {}
                }
                self.carry(node);
                let shared = self.nodes[node].shared_receives();
                assert!(
                    shared.promised <= shared.posted,
                    "node {node} promised what is not there: {shared:?}"
                );
                while let Some(event) = self.nodes[node].take_event() {
                    self.events[node].push_back(event);
                }
            }
            let line =
                self.said.iter().map(|(due, ..)| *due).chain(self.calls.iter().map(|(due, ..)| *due)).min();
            let wake = wake.min(line.unwrap_or(Instant::FAR)).min(end);
            if now >= end {
                return;
            }
            if wake <= now {
                continue;
            }
            match self.fabric.next_at(&mut Quiet) {
                Some(at) if at <= wake => {
                    self.fabric.step_one(&mut Quiet);
                }
                _ => self.fabric.advance_to(wake),
            }
        }
    }

    pub(crate) fn run_ms(&mut self, ms: u64) {
        let end = self.now() + ms * 1_000_000;
        self.run_until(end);
    }

    pub(crate) fn connect(
        &mut self,
        from: usize,
        to: usize,
        policy: wavetank_messenger::Policy,
    ) -> ConnectionId {
        let now = self.now();
        let name = self.nodes[to].config().name;
        self.nodes[from].connect(now, &to.to_string(), Some(name), policy).unwrap()
    }
}
