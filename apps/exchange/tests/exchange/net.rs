//! Engines on one simulated network, with links that fail, lines that can be cut and nodes that can die.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wavetank_contract::chance::Seeded;
use wavetank_contract::{Instant, Wake};
use wavetank_engine::bootstrap::InstanceId;
use wavetank_engine::{BackendKind, Driver, DriverConfig, Port, PortConfig, RdmaContext};
use wavetank_messenger::{
    Deaf, LineAsk, LineId, LocalMessenger, Messenger, MessengerConfig, Policy, Thresholds,
};
use wavetank_mock::{Fabric, LinkFaults, MockNic, Profile};

/// How long bytes take on a line.
const LINE_NS: u64 = 20_000;

/// Longer than any test: who is not done by then hangs.
const PATIENCE_NS: u64 = 3_000_000_000_000;

/// Bytes that a node's peers may reach, unless it is said otherwise.
const EXPOSED_BYTES_MAX: u64 = 64 << 20;

pub(crate) const MS: u64 = 1_000_000;

/// More turns than anything needs at one time.
const TURNS_MAX: u32 = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    node: usize,
    line: LineId,
}

#[derive(Debug)]
enum Said {
    Up,
    Bytes(Vec<u8>),
    Down,
}

/// Something that goes wrong, or right again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Both directions between the client and a server.
    Links(usize, LinkFaults),
    /// Nothing leaves a node's port for so long.
    Pause(usize, u64),
    /// What is said on lines is lost from now on, or is no longer.
    Lines(bool),
    /// A server's process ends and begins anew.
    Restart(usize),
    /// All that can be mended is.
    Heal,
}

/// What a node does when it begins: opens what it serves, and says what answers.
pub(crate) type Begin = Box<dyn FnMut(Messenger) -> LocalMessenger>;

/// What somebody beside the net says each time it was turned: it is over, or when to come back at the latest.
pub(crate) type Beside<T> = ControlFlow<T, Instant>;

/// Servers and a client that call each other by their numbers: "0", "1".
pub(crate) struct Net {
    pub(crate) fabric: Fabric,
    pub(crate) nodes: Vec<LocalMessenger>,
    /// Of servers, and of the client at last.
    begins: Vec<Begin>,
    /// Bytes that the client's peers may reach.
    exposed_bytes_max: u64,
    lives: u64,
    lines: Vec<(End, End)>,
    calls: VecDeque<(Instant, End, usize)>,
    said: VecDeque<(Instant, End, Said)>,
    cut: bool,
    faults: VecDeque<(Instant, Fault)>,
    dice: Seeded,
}

/// Short times, so that little has to be simulated.
fn config(name: u64) -> MessengerConfig {
    MessengerConfig {
        frame_bytes: 8 << 10,
        pool_bytes: 16 << 20,
        landing_pool_bytes: 8 << 20,
        receive_bytes: 2 << 20,
        exposed_bytes_max: EXPOSED_BYTES_MAX,
        message_bytes_max: 4 << 20,
        landing_bytes_max: 8 << 20,
        thresholds: Thresholds { eager_bytes_max: 4096, prefer_write: false },
        connect_ns: 20 * MS,
        keepalive_ns: 5 * MS,
        silence_ns: 30 * MS,
        transfer_ns: 50 * MS,
        backoff_ns: MS,
        give_up_ns: 400 * MS,
        ..MessengerConfig::new(name, BackendKind::Mock)
    }
}

fn messenger(nic: MockNic, name: usize, life: u64, exposed_bytes_max: u64) -> Messenger {
    let context = RdmaContext::from(Port::new(nic, PortConfig::default()));
    let driver = Driver::new(context, DriverConfig::default());
    let instance = InstanceId::new(name as u64 * 1000 + life + 1).expect("not 0");
    let usual = config(name as u64 + 1);
    let message_bytes_max = usual.message_bytes_max.min(exposed_bytes_max / 4);
    let config = MessengerConfig { exposed_bytes_max, message_bytes_max, ..usual };
    Messenger::new(driver, BackendKind::Mock, instance, config).expect("memory")
}

impl Net {
    /// A server for each beginning, and a client.
    pub(crate) fn new(seed: u64, begins: Vec<Begin>) -> Net {
        let deaf = Box::new(|messenger| LocalMessenger::new(messenger, Deaf));
        Net::between(seed, begins, deaf, EXPOSED_BYTES_MAX)
    }

    /// The same with a client that begins in a way of its own, and whose peers may reach so many bytes.
    pub(crate) fn between(seed: u64, servers: Vec<Begin>, client: Begin, exposed_bytes_max: u64) -> Net {
        let mut net = Net {
            fabric: Fabric::new(Profile::IDEAL),
            nodes: Vec::new(),
            begins: servers.into_iter().chain([client]).collect(),
            exposed_bytes_max,
            lives: 0,
            lines: Vec::new(),
            calls: VecDeque::new(),
            said: VecDeque::new(),
            cut: false,
            faults: VecDeque::new(),
            dice: Seeded::new(seed),
        };
        for node in 0..net.begins.len() {
            let nic = net.fabric.add_node();
            let messenger = net.begin(node, nic);
            net.nodes.push(messenger);
        }
        net
    }

    fn begin(&mut self, node: usize, nic: MockNic) -> LocalMessenger {
        let is_client = node == self.place_of_client();
        let exposed = if is_client { self.exposed_bytes_max } else { EXPOSED_BYTES_MAX };
        let messenger = (self.begins[node])(messenger(nic, node, self.lives, exposed));
        if !is_client {
            messenger.bind(Some(Policy::StatelessServer));
        }
        messenger
    }

    pub(crate) fn place_of_client(&self) -> usize {
        self.begins.len() - 1
    }

    pub(crate) fn client(&self) -> LocalMessenger {
        self.nodes[self.place_of_client()].clone()
    }

    /// Plans a fault, after those planned before.
    pub(crate) fn plan(&mut self, at: Instant, fault: Fault) {
        assert!(self.faults.back().is_none_or(|(before, _)| *before <= at), "in order");
        self.faults.push_back((at, fault));
    }

    pub(crate) fn happen(&mut self, fault: Fault) {
        let client = self.place_of_client() as u16;
        match fault {
            Fault::Links(server, faults) => {
                *self.fabric.link(server as u16, client) = faults;
                *self.fabric.link(client, server as u16) = faults;
            }
            Fault::Pause(node, ns) => self.fabric.pause_port(node as u16, ns),
            Fault::Lines(cut) => self.cut = cut,
            Fault::Restart(server) => self.restart(server),
            Fault::Heal => {
                self.cut = false;
                self.fabric.heal();
            }
        }
    }

    fn restart(&mut self, server: usize) {
        self.lives += 1;
        let nic = self.fabric.restart(server as u16, false);
        let now = self.fabric.now();
        let (ended, kept) = std::mem::take(&mut self.lines)
            .into_iter()
            .partition(|(a, b): &(End, End)| a.node == server || b.node == server);
        self.lines = kept;
        for (a, b) in ended {
            let other = if a.node == server { b } else { a };
            self.said.push_back((now, other, Said::Down));
        }
        self.said.retain(|(_, end, _)| end.node != server);
        self.calls.retain(|(_, caller, _)| caller.node != server);
        // What the process had open closes before it is opened again.
        let another = self.nodes[(server + 1) % self.nodes.len()].clone();
        self.nodes[server].drop_tasks();
        drop(std::mem::replace(&mut self.nodes[server], another));
        self.nodes[server] = self.begin(server, nic);
    }

    fn other(&self, end: End) -> Option<End> {
        self.lines.iter().find_map(|(a, b)| match end {
            end if end == *a => Some(*b),
            end if end == *b => Some(*a),
            _ => None,
        })
    }

    fn carry(&mut self, node: usize) {
        let due = self.fabric.now() + LINE_NS;
        while let Some(ask) = self.nodes[node].with(|messenger| messenger.take_ask()) {
            match ask {
                LineAsk::Dial { line, to } => {
                    self.calls.push_back((due, End { node, line }, to.parse().expect("a number")));
                }
                LineAsk::Send { line, bytes } => {
                    if let Some(other) = self.other(End { node, line }).filter(|_| !self.cut) {
                        self.said.push_back((due, other, Said::Bytes(bytes)));
                    }
                }
                LineAsk::Close { line } => {
                    let end = End { node, line };
                    if let Some(other) = self.other(end).filter(|_| !self.cut) {
                        self.said.push_back((due, other, Said::Down));
                    }
                    self.calls.retain(|(_, caller, _)| *caller != end);
                }
            }
        }
    }

    fn deliver(&mut self) {
        let now = self.fabric.now();
        while self.calls.front().is_some_and(|(due, ..)| *due <= now) {
            let Some((_, caller, to)) = self.calls.pop_front() else { break };
            if self.cut {
                self.said.push_back((now, caller, Said::Down));
                continue;
            }
            let line = self.nodes[to].with(|messenger| messenger.line_came(now));
            self.lines.push((caller, End { node: to, line }));
            self.said.push_back((now, caller, Said::Up));
        }
        let mut later = VecDeque::new();
        while let Some((due, end, said)) = self.said.pop_front() {
            if due > now {
                later.push_back((due, end, said));
                continue;
            }
            self.nodes[end.node].with(|node| match said {
                Said::Up => node.line_up(now, end.line),
                Said::Bytes(bytes) => node.line_heard(now, end.line, &bytes),
                Said::Down => node.line_down(now, end.line, "closed"),
            });
        }
        self.said = later;
    }

    /// Lets time pass until a future is over.
    pub(crate) fn run<T>(&mut self, until: impl Future<Output = T>) -> T {
        let mut until = pin!(until);
        self.run_beside(|_, _| match until.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => ControlFlow::Break(value),
            Poll::Pending => ControlFlow::Continue(Instant::FAR),
        })
    }

    /// Lets time pass until somebody beside the nodes, who is called whenever those were turned, says that it is over.
    pub(crate) fn run_beside<T>(&mut self, mut beside: impl FnMut(&mut Net, Instant) -> Beside<T>) -> T {
        let context = Context::from_waker(Waker::noop());
        let limit = self.fabric.now() + PATIENCE_NS;
        let mut turns_at = (Instant::ZERO, 0);
        loop {
            let now = self.fabric.now();
            turns_at = if turns_at.0 == now { (now, turns_at.1 + 1) } else { (now, 0) };
            assert!(turns_at.1 < TURNS_MAX, "it turns on the spot: {:?}", self.nodes);
            assert!(now < limit, "it hangs");
            while self.faults.front().is_some_and(|(at, _)| *at <= now) {
                let Some((_, fault)) = self.faults.pop_front() else { break };
                self.happen(fault);
            }
            self.deliver();
            let mut wake = Instant::FAR;
            for node in 0..self.nodes.len() {
                match self.nodes[node].turn(now) {
                    Wake::Now => wake = now,
                    Wake::At(at) | Wake::Notified { until: at } => wake = wake.min(at),
                    Wake::Idle => {}
                }
                self.carry(node);
            }
            match beside(self, now) {
                ControlFlow::Break(value) => return value,
                ControlFlow::Continue(at) => wake = wake.min(at),
            }
            let busy = |node: &LocalMessenger| {
                node.with(|messenger| messenger.has_work()) || node.is_woken(&context)
            };
            if wake <= now || self.nodes.iter().any(busy) {
                continue;
            }
            let lines = self.said.iter().map(|(due, ..)| *due).chain(self.calls.iter().map(|(due, ..)| *due));
            let alarms = self.nodes.iter().map(LocalMessenger::next_alarm);
            let faults = self.faults.front().map(|(at, _)| *at);
            let wake = lines.chain(alarms).chain(faults).fold(wake, Instant::min);
            match self.fabric.next_at(&mut self.dice) {
                Some(at) if at <= wake => drop(self.fabric.step_one(&mut self.dice)),
                _ if wake < Instant::FAR => self.fabric.advance_to(wake),
                _ => panic!("nothing will ever happen again, and it is not over"),
            }
        }
    }

    /// Lets so much time pass.
    pub(crate) fn run_ms(&mut self, ms: u64) {
        let (client, until) = (self.client(), self.fabric.now() + ms * MS);
        self.run(async move { client.sleep_until(until).await });
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.nodes.iter().for_each(LocalMessenger::drop_tasks);
    }
}
