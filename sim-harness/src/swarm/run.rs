//! Running a plan: set up, disturb, heal, verify.
//!
//! Two phases. **Safety**: faults come as planned, and nothing wrong may become visible. **Liveness**: everything is healed,
//! everything under way has to end, every connection has to work, and everything has to be given back.

mod close;
mod collect;
mod connect;
mod engines;
mod faults;
mod heal;
mod issue;
mod memory;
mod outage;
mod state;
mod tasks;
mod verify;
mod watched;

use std::collections::BTreeMap;
use std::fmt;

use wavetank_contract::{Choices, Instant};
use wavetank_engine::{Port, PortConfig, RdmaContext, RdmaOps};
use wavetank_mock::{Fabric, Mark, MockNic, Profile};

use super::coverage::Coverage;
use super::oracle::messages::Stream;
use super::plan::{OpPlan, Plan};
use super::verdict::{Ended, Guilt, Verdict};
use crate::check::Check;
use crate::fault::Injector;
use crate::trace::Trace;
use crate::watch::{Watch, Watcher};
use crate::world::{Node, Ran, World};
use state::{Connection, Edition, Host, OpState, Place};
use tasks::Tasks;

/// How often a host looks at its device once a notification was lost, in ns.
const LOOK_NS: u64 = 1_000_000;

/// Runs a plan by these choices. The same plan and choices give the same verdict, its trace hash included.
pub fn run<X: Choices + Clone + 'static>(plan: &Plan, choices: X) -> Verdict {
    run_on(plan, choices, Watch::default(), |nic, config| RdmaContext::from(Port::new(nic, config)))
}

/// Runs a plan over contexts that `context` makes of each node's simulated NIC.
pub fn run_on<C: RdmaOps, X: Choices + Clone + 'static>(
    plan: &Plan,
    choices: X,
    watch: Watch,
    mut context: impl FnMut(MockNic, PortConfig) -> C,
) -> Verdict {
    if let Err(what) = plan.check() {
        let guilt = Guilt { check: Check::Expectation, at: Instant::ZERO, op: None, what };
        return Verdict::refused(guilt);
    }
    let mut run = Run::prepare(plan, choices, watch, &mut context);
    run.set_up();
    run.disturb();
    run.heal();
    run.close();
    run.verdict()
}

/// A plan being run.
struct Run<'a, C, X> {
    plan: &'a Plan,
    context: &'a mut dyn FnMut(MockNic, PortConfig) -> C,
    world: World<C, X>,
    profile: Profile,
    hosts: Vec<Host>,
    /// Exported memory: that of the plan, then a place of each node for probes.
    places: Vec<Place>,
    /// What places hold, and held before they were made anew.
    editions: Vec<Edition>,
    connections: Vec<Connection>,
    /// What either end of each connection sends.
    streams: Vec<[Stream; 2]>,
    /// Those of the plan, then probes.
    ops: Vec<OpPlan>,
    states: Vec<OpState>,
    tasks: Tasks,
    injector: Injector,
    /// Counts what began and ended, so that both have an order within an instant.
    tick: u64,
    begun: u32,
    /// Operations that have not ended.
    left: usize,
    healed: bool,
    ended: Ended,
    bytes_verified: u64,
    guilt: Option<Guilt>,
    coverage: Coverage,
    /// Repetitions until an operation last ended.
    repeated: u64,
    watcher: Option<Box<dyn Watcher>>,
}

impl<C, X> fmt::Debug for Run<'_, C, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("left", &self.left).field("guilt", &self.guilt).finish_non_exhaustive()
    }
}

impl<'a, C: RdmaOps, X: Choices + Clone + 'static> Run<'a, C, X> {
    fn prepare(
        plan: &'a Plan,
        choices: X,
        watch: Watch,
        context: &'a mut dyn FnMut(MockNic, PortConfig) -> C,
    ) -> Run<'a, C, X> {
        let profile = Profile::ALL.into_iter().find(|profile| profile.name == plan.profile);
        let profile = Profile { jitter_ns: plan.jitter_ns, ..profile.unwrap_or(&Profile::IDEAL).clone() };
        let mut fabric = Fabric::new(profile.clone());
        if !plan.buggify.is_empty() {
            fabric.set_buggify(plan.buggify.clone(), Box::new(choices.clone()));
        }
        fabric.set_tap(watch.tap);
        let config = engines::port_config(plan);
        let nodes: Vec<Node<C>> =
            (0..plan.nodes).map(|_| engines::node(plan, context(fabric.add_node(), config))).collect();
        let mut world = World::choosing(fabric, nodes, choices, Trace::keeping(watch.keep));
        world.counts = Some(Box::default());
        Run {
            plan,
            context,
            world,
            profile,
            hosts: (0..plan.nodes).map(|_| Host::default()).collect(),
            places: state::places(plan),
            editions: Vec::new(),
            connections: state::connections(plan),
            streams: state::streams(plan),
            states: plan.ops.iter().map(|_| OpState::Waiting).collect(),
            ops: plan.ops.clone(),
            tasks: Tasks::default(),
            injector: Injector::new(plan.faults.clone()),
            tick: 0,
            begun: 0,
            left: plan.ops.len(),
            healed: false,
            ended: Ended::default(),
            bytes_verified: 0,
            guilt: None,
            coverage: Coverage::default(),
            repeated: 0,
            watcher: watch.watcher,
        }
    }

    /// Opens and connects everything.
    fn set_up(&mut self) {
        for node in 0..self.plan.nodes {
            self.furnish(node);
        }
        for connection in 0..self.connections.len() {
            self.open_connection(connection);
            self.introduce(connection);
        }
    }

    /// The safety phase: until everything is over, or long after the last fault.
    fn disturb(&mut self) {
        let until = self.quiet_at();
        self.run_until(until, |run| {
            run.left == 0 && run.tasks.is_empty() && run.injector.next_at() == Instant::FAR
        });
    }

    /// Lets things happen until `done`, or until `limit`. True when done.
    fn run_until(&mut self, limit: Instant, done: impl Fn(&Self) -> bool) -> bool {
        loop {
            self.do_due();
            self.issue();
            if self.guilt.is_some() {
                return false;
            }
            if done(self) {
                return true;
            }
            let looks = self.hosts.iter().any(|host| host.looks);
            let look_at = if looks { self.world.now() + LOOK_NS } else { Instant::FAR };
            let next = self.tasks.next_at().min(self.injector.next_at()).min(limit).min(look_at);
            match self.world.run(next) {
                Ran::Turned(node) => self.collect(node),
                Ran::Reached | Ran::Stuck if next == limit => return false,
                Ran::Reached | Ran::Stuck if next == look_at => self.look(),
                Ran::Reached | Ran::Stuck => {}
            }
        }
    }

    /// Hosts that lose notifications look at their devices all the same.
    fn look(&mut self) {
        for (node, host) in (0..).zip(&self.hosts) {
            if host.looks {
                self.world.touch(node);
            }
        }
    }

    fn tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    /// The first thing that is wrong decides.
    fn guilty(&mut self, check: Check, op: Option<u32>, what: impl FnOnce() -> String) {
        if self.guilt.is_none() {
            let what = what();
            if let Some(op) = op {
                self.tell_blamed(op, &what);
            }
            self.guilt = Some(Guilt { check, at: self.world.now(), op, what });
        }
    }

    fn verdict(mut self) -> Verdict {
        let took = self.world.now();
        let trace = std::mem::take(&mut self.world.trace);
        let mut marks = BTreeMap::new();
        if let Some(fabric) = self.world.fabric() {
            let passed = Mark::ALL.iter().map(|mark| (*mark, fabric.passed(*mark)));
            marks.extend(passed.filter(|(_, times)| *times > 0));
        }
        Verdict {
            failure: self.guilt,
            trace_hash: trace.hash(),
            checkpoints: trace.checkpoints().to_vec(),
            ended: self.ended,
            bytes_verified: self.bytes_verified,
            took,
            marks,
            cells: self.coverage.cells(self.world.counts.as_deref()),
            faults: self.injector.came().to_vec(),
        }
    }
}
