//! Hosts on one simulated network, with lines between them that can be cut, and processes on them that can end or sleep.
//!
//! A messenger is turned when its last `Wake` said so, when its device has something for it, when a line has, or when it was
//! called; never otherwise. What sleeps past something it should have seen stays asleep here.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use wavetank_contract::{Instant, Quiet, Wake};
use wavetank_engine::bootstrap::InstanceId;
use wavetank_engine::{BackendKind, Driver, DriverConfig, Port, PortConfig, RdmaContext};
use wavetank_messenger::{Event, Go, LineAsk, LineId, Messenger, MessengerConfig, Step};
use wavetank_mock::{Fabric, MockNic, Profile};

/// How long bytes take on a line.
pub(crate) const LINE_NS: u64 = 20_000;

/// One end of a line, in one life of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) life: u64,
    pub(crate) line: LineId,
}

#[derive(Debug)]
enum Said {
    Up,
    Bytes(Vec<u8>),
    Down,
}

/// A computer and the process on it.
pub(crate) struct Host {
    pub(crate) messenger: Messenger,
    pub(crate) config: MessengerConfig,
    pub(crate) events: VecDeque<Event>,
    /// Counts processes of this host.
    pub(crate) life: u64,
    /// When the process wants to be turned.
    wake: Instant,
    /// Not turned, and not told what came, until this time.
    pub(crate) asleep_until: Instant,
    /// The process has ended.
    pub(crate) dead: bool,
    /// So has the host: nobody says that the process is gone.
    pub(crate) vanished: bool,
    /// Turns it took: a messenger that spins is noticed by it.
    pub(crate) turns: u64,
    /// Steps passed in this life: how often.
    pub(crate) passed: Rc<[Cell<u32>]>,
}

/// Where a process is to be stopped, and by what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Breakpoint {
    pub(crate) step: Step,
    /// The pass at which it happens, counted from 1.
    pub(crate) nth: u32,
    /// Whether the process ends right there.
    pub(crate) halt: bool,
}

pub(crate) struct Net {
    pub(crate) fabric: Fabric,
    pub(crate) hosts: Vec<Host>,
    /// Processes that ended, with all they had: their memory goes when the run is over.
    graves: Vec<Messenger>,
    lines: Vec<(End, End)>,
    calls: VecDeque<(Instant, End, usize)>,
    said: VecDeque<(Instant, End, Said)>,
    /// Nothing is carried on lines; what is said waits.
    pub(crate) lines_cut: bool,
    ready: Vec<u16>,
    /// What is said is kept back until it is let go: for interleavings.
    pub(crate) keeps_back: bool,
    /// By who says it, and whether on a line that it dialled itself.
    kept: [[VecDeque<(End, Said)>; 2]; 2],
    /// What was said on lines that somebody else than a messenger is at the other end of; `None` closes one.
    pub(crate) stray: Vec<(LineId, Option<Vec<u8>>)>,
    /// When a breakpoint was passed, by node.
    pub(crate) stopped: Rc<Cell<Option<usize>>>,
}

/// Small, and with short times: simulated time is cheap, but not free.
pub(crate) fn config(name: u64) -> MessengerConfig {
    const MS: u64 = 1_000_000;
    MessengerConfig {
        pool_bytes: 1 << 20,
        receive_bytes: 1 << 20,
        exposed_bytes_max: 4 << 20,
        message_bytes_max: 256 << 10,
        landing_bytes_max: 512 << 10,
        window: 16,
        queue_messages_max: 256,
        requests_max: 256,
        connections_max: 16,
        connect_ns: 50 * MS,
        keepalive_ns: 10 * MS,
        silence_ns: 50 * MS,
        transfer_ns: 100 * MS,
        ack_delay_ns: 100_000,
        backoff_ns: 2 * MS,
        give_up_ns: 1_000 * MS,
        ..MessengerConfig::new(name, BackendKind::Mock)
    }
}

fn process(nic: MockNic, config: MessengerConfig, node: usize, life: u64) -> Messenger {
    let context = RdmaContext::from(Port::new(nic, PortConfig::default()));
    let driver = Driver::new(context, DriverConfig::default());
    let instance = InstanceId::new(1000 * (node as u64 + 1) + life).unwrap();
    Messenger::new(driver, BackendKind::Mock, instance, config).unwrap()
}

impl Net {
    pub(crate) fn new(configs: &[MessengerConfig]) -> Net {
        let mut fabric = Fabric::new(Profile::IDEAL);
        let hosts: Vec<Host> = configs
            .iter()
            .enumerate()
            .map(|(node, config)| Host {
                messenger: process(fabric.add_node(), *config, node, 1),
                config: *config,
                events: VecDeque::new(),
                life: 1,
                wake: Instant::ZERO,
                asleep_until: Instant::ZERO,
                dead: false,
                vanished: false,
                turns: 0,
                passed: Step::ALL.iter().map(|_| Cell::new(0)).collect(),
            })
            .collect();
        Net {
            fabric,
            hosts,
            graves: Vec::new(),
            lines: Vec::new(),
            calls: VecDeque::new(),
            said: VecDeque::new(),
            lines_cut: false,
            ready: Vec::new(),
            keeps_back: false,
            kept: Default::default(),
            stray: Vec::new(),
            stopped: Rc::default(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.fabric.now()
    }

    /// Counts the steps a node passes from now on, and stops at one of them, if it is told to.
    pub(crate) fn watch(&mut self, node: usize, breakpoint: Option<Breakpoint>) {
        let host = &mut self.hosts[node];
        let (passed, stopped) = (host.passed.clone(), self.stopped.clone());
        host.messenger.intercept(Some(Box::new(move |step, _| {
            let count = &passed[step as usize];
            count.set(count.get() + 1);
            match breakpoint {
                Some(there) if there.step == step && there.nth == count.get() && stopped.get().is_none() => {
                    stopped.set(Some(node));
                    if there.halt { Go::Halt } else { Go::On }
                }
                _ => Go::On,
            }
        })));
    }

    /// Something was asked of a messenger: it is turned next.
    pub(crate) fn touch(&mut self, node: usize) {
        self.hosts[node].wake = Instant::ZERO;
    }

    /// The process ends; its host, its lines and its device do not know yet.
    pub(crate) fn kill(&mut self, node: usize) {
        self.hosts[node].dead = true;
    }

    /// The kernel cleans up after a process: the device forgets it, and its lines are closed.
    pub(crate) fn bury(&mut self, node: usize) {
        self.fabric.crash(node as u16);
        self.end_lines(node);
    }

    /// The host is gone, and nobody says anything for it.
    pub(crate) fn vanish(&mut self, node: usize) {
        self.hosts[node].dead = true;
        self.hosts[node].vanished = true;
        self.fabric.crash(node as u16);
    }

    fn end_lines(&mut self, node: usize) {
        let due = self.now() + LINE_NS;
        let lines = std::mem::take(&mut self.lines);
        for (a, b) in lines {
            match (a.node == node, b.node == node) {
                (true, _) => self.said.push_back((due, b, Said::Down)),
                (_, true) => self.said.push_back((due, a, Said::Down)),
                _ => self.lines.push((a, b)),
            }
        }
        self.calls.retain(|(_, caller, _)| caller.node != node);
    }

    /// A new process begins on a host whose last has ended, under the same name.
    pub(crate) fn restart(&mut self, node: usize) {
        self.end_lines(node);
        let nic = self.fabric.restart(node as u16, false);
        let now = self.now();
        let host = &mut self.hosts[node];
        host.life += 1;
        let next = process(nic, host.config, node, host.life);
        self.graves.push(std::mem::replace(&mut host.messenger, next));
        host.events.clear();
        (host.dead, host.vanished, host.wake, host.asleep_until) = (false, false, now, Instant::ZERO);
        self.kept.iter_mut().flatten().for_each(|lane| lane.retain(|(to, _)| to.node != node));
        self.watch(node, None);
    }

    /// All lines end at both sides, as when something between them restarts.
    pub(crate) fn reset_lines(&mut self) {
        let due = self.now() + LINE_NS;
        for (a, b) in std::mem::take(&mut self.lines) {
            self.said.push_back((due, a, Said::Down));
            self.said.push_back((due, b, Said::Down));
        }
    }

    /// Cuts or mends what joins the devices.
    pub(crate) fn cut_links(&mut self, cut: bool) {
        for (from, to) in [(0, 1), (1, 0)] {
            if cut {
                self.fabric.link(from, to).loss_one_in = 1;
            } else {
                self.fabric.mend(from, to);
            }
        }
    }

    fn other(&self, end: End) -> Option<End> {
        self.lines.iter().find_map(|(a, b)| match end {
            end if end == *a => Some(*b),
            end if end == *b => Some(*a),
            _ => None,
        })
    }

    fn say(&mut self, from: usize, to: End, said: Said) {
        if self.keeps_back {
            let own = self.lines.iter().any(|(caller, called)| caller.node == from && *called == to);
            self.kept[from][usize::from(own)].push_back((to, said));
        } else {
            self.said.push_back((self.now() + LINE_NS, to, said));
        }
    }

    /// Lets one thing go that a node said and that was kept back, on a line of its own or of the other's. False: there is none.
    pub(crate) fn let_go(&mut self, node: usize, own: bool) -> bool {
        let Some((to, said)) = self.kept[node][usize::from(own)].pop_front() else { return false };
        self.said.push_back((self.now(), to, said));
        true
    }

    fn carry(&mut self, node: usize) {
        let life = self.hosts[node].life;
        while let Some(ask) = self.hosts[node].messenger.take_ask() {
            match ask {
                LineAsk::Dial { line, to } => {
                    let due = self.now() + LINE_NS;
                    self.calls.push_back((due, End { node, life, line }, to.parse().unwrap()));
                }
                LineAsk::Send { line, bytes } => {
                    if let Some(other) = self.other(End { node, life, line }) {
                        self.say(node, other, Said::Bytes(bytes));
                    } else {
                        self.stray.push((line, Some(bytes)));
                    }
                }
                LineAsk::Close { line } => {
                    let end = End { node, life, line };
                    if let Some(other) = self.other(end) {
                        self.say(node, other, Said::Down);
                    } else {
                        self.stray.push((line, None));
                    }
                    self.said.retain(|(_, to, _)| *to != end);
                    self.lines.retain(|(a, b)| *a != end && *b != end);
                    self.calls.retain(|(_, caller, _)| *caller != end);
                }
            }
        }
    }

    fn deliver(&mut self) {
        if self.lines_cut {
            return;
        }
        let now = self.now();
        let mut later = VecDeque::new();
        while let Some((due, caller, to)) = self.calls.pop_front() {
            let host = &mut self.hosts[to];
            if due > now || host.asleep_until > now {
                // A kernel takes calls for a process that sleeps, but says nothing in its name.
                later.push_back((due, caller, to));
            } else if host.vanished {
                later.push_back((Instant::FAR, caller, to));
            } else if host.dead {
                self.said.push_back((now, caller, Said::Down));
            } else {
                let line = host.messenger.line_came(now);
                host.wake = Instant::ZERO;
                self.lines.push((caller, End { node: to, life: host.life, line }));
                self.said.push_back((now, caller, Said::Up));
            }
        }
        self.calls = later;
        let mut later = VecDeque::new();
        while let Some((due, end, said)) = self.said.pop_front() {
            let host = &mut self.hosts[end.node];
            if host.dead || host.life != end.life {
                continue;
            }
            if due > now || host.asleep_until > now {
                later.push_back((due, end, said));
                continue;
            }
            host.wake = Instant::ZERO;
            let messenger = &mut host.messenger;
            match said {
                Said::Up => messenger.line_up(now, end.line),
                Said::Bytes(bytes) => messenger.line_heard(now, end.line, &bytes),
                Said::Down => messenger.line_down(now, end.line, "closed"),
            }
        }
        self.said = later;
    }

    /// Turns whoever is due, until nobody is at this time.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(
                round < 10_000,
                "somebody wants to be turned again and again: {:?}",
                self.hosts.iter().map(|host| host.turns).collect::<Vec<_>>()
            );
            let now = self.now();
            self.deliver();
            self.fabric.take_ready(&mut self.ready);
            for node in self.ready.drain(..) {
                if let Some(host) = self.hosts.get_mut(usize::from(node)) {
                    host.wake = Instant::ZERO;
                }
            }
            let mut any = false;
            for node in 0..self.hosts.len() {
                let host = &mut self.hosts[node];
                if host.dead || host.asleep_until > now || host.wake > now {
                    continue;
                }
                any = true;
                host.turns += 1;
                host.wake = match host.messenger.turn(now) {
                    Wake::Now => now,
                    Wake::At(at) => at,
                    Wake::Notified { until } => until,
                    Wake::Idle => Instant::FAR,
                };
                if host.messenger.is_halted() {
                    host.dead = true;
                }
                while let Some(event) = host.messenger.take_event() {
                    host.events.push_back(event);
                }
                self.carry(node);
            }
            if !any || self.stopped.get().is_some() {
                return;
            }
        }
    }

    /// Lets the next thing happen, at `end` at the latest. False: it is `end`, and nothing is to be done now.
    pub(crate) fn step(&mut self, end: Instant) -> bool {
        self.settle();
        let now = self.now();
        if now >= end || self.stopped.get().is_some() {
            return false;
        }
        let sleeping = |host: &Host| host.asleep_until > now;
        let hosts = self.hosts.iter().filter(|host| !host.dead).map(|host| match sleeping(host) {
            true => host.asleep_until,
            false => host.wake,
        });
        let lines = self.said.iter().map(|(due, end, _)| (*due, end.node));
        let lines = lines.chain(self.calls.iter().map(|(due, _, to)| (*due, *to)));
        let lines = lines.filter(|(_, node)| !self.lines_cut && !sleeping(&self.hosts[*node]));
        let wake = hosts.chain(lines.map(|(due, _)| due)).min().unwrap_or(Instant::FAR).min(end);
        if wake <= now {
            return true;
        }
        match self.fabric.next_at(&mut Quiet) {
            Some(at) if at <= wake => {
                self.fabric.step_one(&mut Quiet);
            }
            _ => self.fabric.advance_to(wake),
        }
        true
    }

    /// Lets everything happen up to a time, or up to a breakpoint.
    pub(crate) fn run_until(&mut self, end: Instant) {
        while self.step(end) {}
    }
}
