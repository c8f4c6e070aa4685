//! Hosts: what each is furnished with, and what is left of it when it dies.

use std::collections::BTreeMap;

use wavetank_contract::{Access, Choices, Instant, Lease, PdId, RegionSpec};
use wavetank_engine::bootstrap::InstanceId;
use wavetank_engine::memory::Arena;
use wavetank_engine::{BackendKind, Driver, DriverConfig, Port, PortConfig, RdmaContext, RdmaOps};
use wavetank_messenger::{ConnectionId, Go, Messenger};
use wavetank_mock::MockNic;

use super::{Run, State};
use crate::check::Check;

/// Bytes of a user's own memory.
const OWN_BYTES: u64 = 1 << 20;

/// A connection as its side knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Of the plan.
    pub(super) connection: usize,
    pub(super) end: u8,
    /// How often it was told that the peer began anew.
    pub(super) resets: u32,
    /// How often it was established.
    pub(super) established: u32,
    /// It was told that the peer began anew since it was last established.
    pub(super) anew: bool,
}

/// What befell a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    /// Its device is gone.
    Removed,
    /// It is.
    Dead,
}

/// A host, beside its messenger.
#[derive(Debug)]
pub(super) struct Host {
    /// How often it has lived.
    pub(super) incarnation: u32,
    pub(super) outage: Option<Outage>,
    /// Since when it runs without having stood still.
    pub(super) runs_since: Instant,
    pub(super) known: BTreeMap<ConnectionId, Known>,
    /// What it uses, by connection of the plan.
    pub(super) current: Vec<Option<ConnectionId>>,
    /// The user's own memory.
    pub(super) own: Option<Arena>,
}

impl Host {
    pub(super) fn new(connections: usize) -> Host {
        Host {
            incarnation: 0,
            outage: None,
            runs_since: Instant::ZERO,
            known: BTreeMap::new(),
            current: vec![None; connections],
            own: None,
        }
    }
}

impl<X: Choices + Clone + 'static> Run<'_, X> {
    pub(super) fn host(&mut self, node: u16) -> &mut Host {
        &mut self.hosts[usize::from(node)]
    }

    pub(super) fn messenger(&mut self, node: u16) -> Option<&mut Messenger> {
        self.net.nodes[usize::from(node)].as_deref_mut()
    }

    /// Gives a host a messenger over its NIC.
    pub(super) fn furnish(&mut self, node: u16, nic: MockNic) {
        let plan = self.plan.nodes[usize::from(node)];
        let port = PortConfig { signal_every: self.plan.signal_every };
        let context = RdmaContext::from(Port::new(nic, port));
        let driver = DriverConfig {
            chunk_bytes: self.plan.chunk_bytes,
            window: self.plan.window,
            ..DriverConfig::default()
        };
        let mut driver = Driver::new(context, driver);
        let own = own(&mut driver);
        let now = self.net.now();
        let host = self.host(node);
        host.incarnation += 1;
        host.outage = None;
        host.runs_since = now;
        host.own = own;
        let instance = u64::from(node + 1) << 32 | u64::from(host.incarnation);
        let Some(instance) = InstanceId::new(instance) else { return };
        let mut made = Messenger::new(driver, BackendKind::Mock, instance, plan.config);
        if let Ok(messenger) = &mut made {
            messenger.bind(plan.accepts);
            if self.plan.stepped {
                let steps = self.steps.clone();
                messenger.intercept(Some(Box::new(move |step, _| {
                    *steps.borrow_mut().entry(step).or_default() += 1;
                    Go::On
                })));
            }
        }
        match made {
            Ok(messenger) => drop(self.net.replace(node, Some(Box::new(messenger)))),
            Err(error) => {
                // A registration may have been made to fail: it is tried once more with the next call.
                self.say(|| format!("node {node}: no messenger: {error}"));
                drop(self.net.replace(node, None));
                self.host(node).outage = Some(Outage::Dead);
                self.after(100_000, super::Task::Restart(node));
            }
        }
        self.net.touch(node);
    }

    /// A host dies. `closes`: its kernel closes its lines.
    pub(super) fn kill(&mut self, node: u16, closes: bool) {
        self.say(|| format!("node {node} dies; its kernel closes lines: {closes}"));
        let now = self.net.now();
        self.add_up(node);
        self.host(node).outage = Some(Outage::Dead);
        self.net.fabric.crash(node);
        self.net.lines.die(now, node, closes, &mut self.net.choices);
        self.forget(node);
        drop(self.net.replace(node, None));
        if self.net.is_paused(node) {
            self.net.resume(node);
        }
    }

    /// Everything a host had goes with it.
    fn forget(&mut self, node: u16) {
        self.kept.retain(|_, kept| kept.node != node);
        self.pending.retain(|_, pending| pending.node != node);
        self.returned.retain(|_, returned| returned.node != node);
        self.deferred.retain(|(at, _)| *at != node);
        let host = self.host(node);
        host.known.clear();
        host.current.iter_mut().for_each(|current| *current = None);
        host.own = None;
        self.lives.bury(node);
        for state in &mut self.states {
            if let State::Sent(sent) = state
                && sent.node == node
                && sent.ended.is_none()
            {
                sent.ended = Some("its host died");
            }
        }
        // What it was to do of its own accord it does in its next life.
        for op in 0..self.ops.len() {
            let waits = matches!(self.states[op], State::Waiting) && self.sender_of(op) == node;
            let planned = self.tasks.values().any(|task| *task == super::Task::Op(op));
            if waits && !planned {
                self.after(50_000, super::Task::Op(op));
            }
        }
    }

    /// A host comes back, with another messenger.
    pub(super) fn restart(&mut self, node: u16, same: bool) {
        if self.hosts[usize::from(node)].outage.is_none() {
            return;
        }
        if self.hosts[usize::from(node)].outage == Some(Outage::Removed) {
            self.leave_device(node);
        }
        self.say(|| format!("node {node} comes back, same numbers: {same}"));
        let nic = self.net.fabric.restart(node, same);
        self.furnish(node, nic);
        self.call_all(node);
    }

    /// Every call of a node is made again.
    fn call_all(&mut self, node: u16) {
        for (connection, plan) in self.plan.connections.iter().enumerate() {
            for end in 0..2u8 {
                let calls = plan.dials_ns[usize::from(end)].is_some();
                if plan.nodes[usize::from(end)] == node && calls {
                    let ns = plan.redial_ns.unwrap_or(100_000);
                    self.after(ns, super::Task::Dial { connection, end });
                }
            }
        }
    }

    /// The program notices that its device is gone, lets go of everything, and gets everything back.
    fn leave_device(&mut self, node: u16) {
        if self.net.is_paused(node) {
            self.net.resume(node);
        }
        let now = self.net.now();
        self.add_up(node);
        self.net.lines.die(now, node, true, &mut self.net.choices);
        self.forget(node);
        let Some(mut messenger) = self.net.replace(node, None) else { return };
        for connection in messenger.connections().collect::<Vec<_>>() {
            messenger.close(now, connection, "the device is gone");
        }
        for _ in 0..4 {
            messenger.turn(now);
            while messenger.take_event().is_some() {}
        }
        let (left, extents) = (messenger.outstanding(), messenger.extents());
        let anomaly = messenger.driver().context().take_anomaly();
        let outstanding = wavetank_messenger::Outstanding { lines: left.lines, ..Default::default() };
        if left != outstanding || extents.in_use_bytes + extents.retiring_bytes > 0 {
            self.guilty(Check::Leak, None, || {
                format!("node {node} lost its device and closed everything; left are {left:?}, {extents:?}")
            });
        }
        if let Some(anomaly) = anomaly {
            self.guilty(Check::Completion, None, || format!("node {node}: {anomaly}"));
        }
    }

    /// Adds the counts of a messenger that goes.
    pub(super) fn add_up(&mut self, node: u16) {
        let Some(messenger) = self.net.nodes[usize::from(node)].as_deref() else { return };
        let stats = messenger.stats();
        let counts = [
            ("messages out", stats.messages_out),
            ("messages in", stats.messages_in),
            ("frames out", stats.frames_out),
            ("frames in", stats.frames_in),
            ("faults", stats.faults),
            ("violations", stats.violations),
            ("replayed", stats.replayed),
            ("duplicates dropped", stats.duplicates),
            ("expired at the receiver", stats.expired),
        ];
        for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            *self.cells.entry(format!("messenger {name}")).or_default() += count;
        }
        for (chosen, count) in messenger.chosen() {
            let cell = format!("way {} because: {}", chosen.way.name(), chosen.why.words());
            *self.cells.entry(cell).or_default() += count;
        }
    }

    /// Memory of the user's own.
    pub(super) fn own_lease(&mut self, node: u16, len: u64) -> Option<(Lease, wavetank_contract::MrId)> {
        let own = self.host(node).own.as_mut()?;
        let lease = own.acquire(len).ok()?;
        Some((lease, own.mr()))
    }
}

fn own(driver: &mut Driver) -> Option<Arena> {
    let context = driver.context();
    let spec = RegionSpec { granule_bytes: 4_096, ..RegionSpec::new(OWN_BYTES) };
    let region = context.allocate(&spec).ok()?;
    let mr = context.register(&region, PdId::default(), Access::LOCAL).ok()?;
    Arena::new(region, mr).ok()
}
