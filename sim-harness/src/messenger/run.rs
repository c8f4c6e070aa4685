//! Running a plan: set up, disturb, heal, verify.
//!
//! Two phases. **Safety**: anything may go wrong, and nothing wrong may become visible. **Liveness**: everything is healed,
//! everything that was sent has to end, every connection has to work, and everything has to be given back.

mod events;
mod faults;
mod heal;
mod hosts;
mod receiving;
mod sending;

use std::collections::BTreeMap;
use std::fmt;

use wavetank_contract::{Choices, Instant};
use wavetank_messenger::{Incoming, ReplyTo, Step};
use wavetank_mock::{Fabric, Mark, Profile};

use super::lines::Lines;
use super::net::{Net, Ran};
use super::oracle::{Lives, Sent, Written};
use super::plan::{OpPlan, Plan};
use crate::check::Check;
use crate::fault::Injector;
use crate::swarm::coverage::Coverage;
use crate::swarm::{Ended, Guilt, Verdict};
use crate::trace::{Event, EventKind};
use hosts::Host;

/// Turns at one instant, without a packet moving, that are no progress.
const SPINS_MAX: u32 = 20_000;

/// Steps of the network that no run takes.
const STEPS_MAX: u64 = 3_000_000;

/// Turns that no run takes.
const TURNS_MAX: u64 = 600_000;

/// A run, and what was told of it.
#[derive(Debug)]
pub struct Told {
    /// What became of it.
    pub verdict: Verdict,
    /// What happened, line by line, if it was asked for.
    pub log: Vec<String>,
}

/// Runs a plan by these choices. The same plan and choices give the same verdict, its trace hash included.
pub fn run<X: Choices + Clone + 'static>(plan: &Plan, choices: X) -> Verdict {
    run_told(plan, choices, false).verdict
}

/// Runs a plan, and keeps a log of what happened.
pub fn run_told<X: Choices + Clone + 'static>(plan: &Plan, choices: X, log: bool) -> Told {
    let mut run = Run::prepare(plan, choices, log);
    run.set_up();
    run.disturb();
    run.heal();
    run.finish()
}

/// Something the run itself does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// An operation begins, or is tried again.
    Op(usize),
    /// A side calls.
    Dial { connection: usize, end: u8 },
    /// A message that was kept is dropped.
    LetGo(u64),
    /// A request is answered, or not.
    Answer(u64),
    /// A request is given up.
    Cancel(usize),
    /// Memory that came back without a reply is looked at.
    Sink(u64),
    /// A fault that is not the injector's to undo ends.
    EndFault(usize),
    /// Something happens beside the device.
    Incident(usize),
    /// A host comes back.
    Restart(u16),
}

/// A message that its receiver keeps.
#[derive(Debug)]
struct Kept {
    node: u16,
    op: usize,
    written: Written,
    len: u32,
    incoming: Incoming,
}

/// A request that is to be answered.
#[derive(Debug)]
struct Pending {
    node: u16,
    op: usize,
    reply_to: ReplyTo,
    tries: u32,
}

/// Memory for a reply that did not come.
#[derive(Debug)]
struct Returned {
    node: u16,
    op: usize,
    lease: wavetank_contract::Lease,
}

/// Where an operation stands.
#[derive(Debug)]
enum State {
    Waiting,
    Sent(Box<Sent>),
    NotBegun,
}

/// A plan being run.
struct Run<'a, X> {
    plan: &'a Plan,
    net: Net<X>,
    hosts: Vec<Host>,
    /// Those of the plan, then probes.
    ops: Vec<OpPlan>,
    states: Vec<State>,
    lives: Lives,
    tasks: BTreeMap<(Instant, u64), Task>,
    /// Of hosts that stand still.
    deferred: Vec<(u16, Task)>,
    kept: BTreeMap<u64, Kept>,
    pending: BTreeMap<u64, Pending>,
    returned: BTreeMap<u64, Returned>,
    injector: Injector,
    next: u64,
    healed: bool,
    ended: Ended,
    bytes_verified: u64,
    guilt: Option<Guilt>,
    coverage: Coverage,
    cells: BTreeMap<String, u64>,
    steps: std::rc::Rc<std::cell::RefCell<BTreeMap<Step, u64>>>,
    log: Option<Vec<String>>,
}

impl<X> fmt::Debug for Run<'_, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("guilt", &self.guilt).finish_non_exhaustive()
    }
}

impl<'a, X: Choices + Clone + 'static> Run<'a, X> {
    fn prepare(plan: &'a Plan, choices: X, log: bool) -> Run<'a, X> {
        let profile = Profile::ALL.into_iter().find(|profile| profile.name == plan.profile);
        let profile = Profile { jitter_ns: plan.jitter_ns, ..profile.unwrap_or(&Profile::IDEAL).clone() };
        let mut fabric = Fabric::new(profile);
        if !plan.buggify.is_empty() {
            fabric.set_buggify(plan.buggify.clone(), Box::new(choices.clone()));
        }
        let lines = Lines::new(plan.line_ns, plan.line_jitter_ns);
        Run {
            plan,
            net: Net::new(fabric, plan.nodes.len(), choices, lines),
            hosts: plan.nodes.iter().map(|_| Host::new(plan.connections.len())).collect(),
            ops: plan.ops.clone(),
            states: plan.ops.iter().map(|_| State::Waiting).collect(),
            lives: Lives::default(),
            tasks: BTreeMap::new(),
            deferred: Vec::new(),
            kept: BTreeMap::new(),
            pending: BTreeMap::new(),
            returned: BTreeMap::new(),
            injector: Injector::new(plan.faults.clone()),
            next: 0,
            healed: false,
            ended: Ended::default(),
            bytes_verified: 0,
            guilt: None,
            coverage: Coverage::default(),
            cells: BTreeMap::new(),
            steps: Default::default(),
            log: log.then(Vec::new),
        }
    }

    fn set_up(&mut self) {
        for node in 0..self.plan.nodes.len() as u16 {
            let nic = self.net.fabric.add_node();
            self.furnish(node, nic);
        }
        for (connection, plan) in self.plan.connections.iter().enumerate() {
            for (end, at_ns) in (0..).zip(plan.dials_ns) {
                if let Some(at_ns) = at_ns {
                    self.at(Instant(at_ns), Task::Dial { connection, end });
                }
            }
        }
        for op in 0..self.ops.len() {
            self.at(Instant(self.ops[op].at_ns), Task::Op(op));
        }
        for (index, incident) in self.plan.incidents.iter().enumerate() {
            self.at(Instant(incident.at_ns), Task::Incident(index));
        }
    }

    /// The safety phase.
    fn disturb(&mut self) {
        self.run_until(Instant(self.plan.heal_ns), |_| false);
    }

    /// Lets things happen until `done`, or until `limit`. True when done.
    fn run_until(&mut self, limit: Instant, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        loop {
            self.do_due();
            if self.guilt.is_some() {
                return false;
            }
            if done(self) {
                return true;
            }
            let task = self.tasks.keys().next().map_or(Instant::FAR, |(at, _)| *at);
            let next = task.min(self.injector.next_at()).min(limit).max(self.net.now());
            match self.net.run(next) {
                Ran::Turned(node) => self.collect(node),
                Ran::Reached if next == limit => return false,
                Ran::Reached => {}
            }
            if self.net.spins > SPINS_MAX {
                self.guilty(Check::Progress, None, || {
                    "nodes are turned again and again, and nothing happens".to_owned()
                });
            }
            if self.net.fabric.steps() > STEPS_MAX || self.net.turns > TURNS_MAX {
                let left = self.describe();
                self.guilty(Check::Progress, None, || {
                    format!("the network does not come to rest, or nodes do not{left}")
                });
            }
        }
    }

    /// Does what is due now.
    fn do_due(&mut self) {
        self.do_faults();
        let now = self.net.now();
        while self.guilt.is_none()
            && let Some(entry) = self.tasks.first_entry()
            && entry.key().0 <= now
        {
            let task = entry.remove();
            self.do_task(task);
        }
    }

    fn do_task(&mut self, task: Task) {
        let node = match task {
            Task::Op(op) | Task::Cancel(op) => Some(self.sender_of(op)),
            Task::Dial { connection, end } => Some(self.plan.connections[connection].nodes[usize::from(end)]),
            Task::LetGo(kept) => self.kept.get(&kept).map(|kept| kept.node),
            Task::Answer(pending) => self.pending.get(&pending).map(|pending| pending.node),
            Task::Sink(returned) => self.returned.get(&returned).map(|returned| returned.node),
            Task::EndFault(_) | Task::Incident(_) | Task::Restart(_) => None,
        };
        if let Some(node) = node.filter(|node| self.net.is_paused(*node)) {
            self.deferred.push((node, task));
            return;
        }
        match task {
            Task::Op(op) => self.begin(op),
            Task::Dial { connection, end } => self.dial(connection, end),
            Task::LetGo(kept) => self.let_go(kept),
            Task::Answer(pending) => self.answer(pending),
            Task::Cancel(op) => self.cancel(op),
            Task::Sink(returned) => self.look_at_sink(returned),
            Task::EndFault(fault) => self.end_fault(fault),
            Task::Incident(incident) => self.happen(incident),
            Task::Restart(node) => self.restart(node, false),
        }
        if let Some(node) = node {
            self.net.touch(node);
        }
    }

    fn at(&mut self, at: Instant, task: Task) {
        self.next += 1;
        self.tasks.insert((at, self.next), task);
    }

    fn after(&mut self, ns: u64, task: Task) {
        let at = self.net.now() + ns;
        self.at(at, task);
    }

    /// Who sends an operation.
    fn sender_of(&self, op: usize) -> u16 {
        let plan = self.ops[op];
        self.plan.connections[usize::from(plan.connection)].nodes[usize::from(plan.end)]
    }

    fn sent(&mut self, op: usize) -> Option<&mut Sent> {
        match self.states.get_mut(op) {
            Some(State::Sent(sent)) => Some(sent),
            _ => None,
        }
    }

    /// The first thing that is wrong decides.
    fn guilty(&mut self, check: Check, op: Option<usize>, what: impl FnOnce() -> String) {
        if self.guilt.is_none() {
            let op = op.and_then(|op| self.ops.get(op)).map(|op| op.id);
            let what = what();
            self.say(|| format!("GUILTY: {} {op:?}: {what}", check.name()));
            self.guilt = Some(Guilt { check, at: self.net.now(), op, what });
        }
    }

    /// A line of the log, if there is one.
    fn say(&mut self, line: impl FnOnce() -> String) {
        let now = self.net.now();
        if let Some(log) = &mut self.log {
            log.push(format!("{:>12} {}", now.0, line()));
        }
    }

    fn count(&mut self, cell: impl Into<String>) {
        *self.cells.entry(cell.into()).or_default() += 1;
    }

    /// Something a messenger told: part of the trace.
    fn trace(&mut self, node: u16, object: u64, len: u64, status: u8) {
        let at = self.net.now();
        let (kind, len) = (EventKind::Told, len as u32);
        self.net.trace.push(&Event { at, node, object, kind, len, digest: 0, status });
    }

    fn finish(mut self) -> Told {
        let took = self.net.now();
        let trace = std::mem::take(&mut self.net.trace);
        let passed = Mark::ALL.iter().map(|mark| (*mark, self.net.fabric.passed(*mark)));
        let marks: BTreeMap<Mark, u64> = passed.filter(|(_, times)| *times > 0).collect();
        for node in 0..self.plan.nodes.len() as u16 {
            self.add_up(node);
        }
        let mut cells = self.coverage.cells(Some(&self.net.counts));
        cells.append(&mut self.cells);
        cells.extend(
            self.steps.borrow().iter().map(|(step, count)| (format!("step {}", step.name()), *count)),
        );
        let verdict = Verdict {
            failure: self.guilt,
            trace_hash: trace.hash(),
            checkpoints: trace.checkpoints().to_vec(),
            ended: self.ended,
            bytes_verified: self.bytes_verified,
            took,
            marks,
            cells,
            faults: self.injector.came().to_vec(),
        };
        Told { verdict, log: self.log.unwrap_or_default() }
    }
}
