//! The liveness phase: everything is healed, and then everything has to work again, to end, and to be given back.

use wavetank_contract::{Choices, Instant};
use wavetank_messenger::{ConnectionId, Flow, Outstanding};

use super::{Run, State, Task};
use crate::check::Check;
use crate::messenger::plan::{FRONT_BYTES_MIN, Letter, Load, OpPlan, Place, Reply, Sort, What};

const MS: u64 = 1_000_000;

/// What no timeout explains, in ns.
const SPARE_NS: u64 = 50 * MS;

impl<X: Choices + Clone + 'static> Run<'_, X> {
    /// Heals everything, and expects everything to end and to work.
    pub(super) fn heal(&mut self) {
        if self.guilt.is_some() {
            return;
        }
        self.say(|| "everything is healed".to_owned());
        drop(self.injector.heal());
        self.net.fabric.heal();
        let now = self.net.now();
        self.net.lines.heal(now);
        self.healed = true;
        self.tasks.retain(|_, task| !matches!(task, Task::EndFault(_) | Task::Incident(_)));
        for node in 0..self.plan.nodes.len() as u16 {
            self.resume(node);
            self.restart(node, false);
            self.net.touch(node);
        }
        self.let_go_of_all();
        // Whoever has lost its connection may still call once; then it is left alone.
        let patience_ns = self.patience_ns();
        self.expect("not everything has ended", patience_ns, |run| run.is_settled());
        self.expect_delivered();
        self.probe();
        self.expect("not everything has ended after the probes", patience_ns, |run| run.is_settled());
        self.expect_delivered();
        self.be_quiet();
        self.compare_flow();
        self.part();
    }

    /// Users drop whatever they have.
    fn let_go_of_all(&mut self) {
        let kept: Vec<u64> = self.kept.keys().copied().collect();
        kept.into_iter().for_each(|number| self.let_go(number));
        let never: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| {
                matches!(
                    self.ops[pending.op].what,
                    What::Send(Letter { sort: Sort::Request { reply: Reply::Never, .. }, .. })
                )
            })
            .map(|(number, _)| *number)
            .collect();
        never.into_iter().for_each(|number| self.answer(number));
    }

    /// How long the slowest of all timers takes.
    fn patience_ns(&self) -> u64 {
        let of = |config: &wavetank_messenger::MessengerConfig| {
            // A peer that never comes back is given up; one that does has been waited for by then.
            config.silence_ns
                + config.give_up_ns
                + 3 * config.connect_ns
                + 33 * config.backoff_ns
                + 2 * config.transfer_ns
        };
        let slowest = self.plan.nodes.iter().map(|node| of(&node.config)).max().unwrap_or(0);
        let lines = 20 * (self.plan.line_ns + self.plan.line_jitter_ns);
        // Retries of the device, and operations that wait for their turn.
        2 * slowest + lines + 1_200 * MS + SPARE_NS
    }

    fn expect(&mut self, what: &str, ns: u64, mut is_so: impl FnMut(&mut Self) -> bool) {
        if self.guilt.is_some() {
            return;
        }
        let limit = self.net.now() + ns;
        if self.run_until(limit, &mut is_so) || self.guilt.is_some() {
            return;
        }
        let left = self.describe();
        self.guilty(Check::Liveness, None, || format!("all is healed, and {what}{left}"));
    }

    /// What has not ended, and how connections stand.
    pub(super) fn describe(&mut self) -> String {
        let mut text = String::new();
        for op in 0..self.ops.len() {
            match &self.states[op] {
                State::Waiting => text += &format!("\n  operation {op} waits to be sent"),
                State::Sent(sent) if sent.ended.is_none() && !self.is_over(op) => {
                    text += &format!("\n  operation {op} has not ended: {sent:?}");
                }
                _ => {}
            }
        }
        for node in 0..self.plan.nodes.len() {
            let known = self.hosts[node].known.clone();
            let Some(messenger) = self.net.nodes[node].as_deref_mut() else { continue };
            let extents = messenger.extents();
            text += &format!("\n  node {node}: {:?}, {extents:?}", messenger.outstanding());
            for (id, known) in known {
                let (open, flow) = (messenger.is_established(id), messenger.flow(id));
                text += &format!("\n    {id} of {known:?}: open: {open}, {flow:?}");
            }
        }
        text
    }

    /// Whether nothing more is to be expected of an operation: one-way messages end with their delivery, or with their life.
    fn is_over(&self, op: usize) -> bool {
        let State::Sent(sent) = &self.states[op] else { return true };
        let waits = match self.ops[op].what {
            What::Send(letter) => letter.sort != Sort::OneWay,
            What::Close => false,
        };
        sent.ended.is_some()
            || !waits && (sent.delivered || self.lives.get(sent.life).over || sent.deadline <= self.net.now())
    }

    /// Whether everything has ended, and everybody has what is theirs.
    fn is_settled(&mut self) -> bool {
        if !self.kept.is_empty() || !self.pending.is_empty() || !self.returned.is_empty() {
            return false;
        }
        let begun = self.states.iter().all(|state| !matches!(state, State::Waiting));
        if !begun || !(0..self.ops.len()).all(|op| self.is_over(op)) {
            return false;
        }
        let dials = self.tasks.values().any(|task| matches!(task, Task::Dial { .. }));
        !dials
            && self.net.nodes.iter_mut().flatten().all(|messenger| {
                let left = messenger.outstanding();
                let all: Vec<ConnectionId> = messenger.connections().collect();
                let open = all.iter().all(|id| messenger.is_established(*id));
                let idle = Outstanding {
                    connections: left.connections,
                    lines: left.lines,
                    receives: left.receives,
                    receive_leases: left.receive_leases,
                    ..Outstanding::default()
                };
                open && left == idle && left.receives == left.receive_leases
            })
    }

    /// Whatever was sent in a life that never ended has been delivered, unless its sender was told otherwise.
    fn expect_delivered(&mut self) {
        for op in 0..self.ops.len() {
            let State::Sent(sent) = &self.states[op] else { continue };
            let lost = !sent.delivered
                && sent.ended.is_none()
                && sent.deadline == Instant::FAR
                && !self.lives.get(sent.life).over;
            if lost {
                self.guilty(Check::Message, Some(op), || {
                    "its connection lives, and it was never delivered".to_owned()
                });
            }
        }
    }

    /// Every connection that is there carries requests, both ways and by every way.
    fn probe(&mut self) {
        if self.guilt.is_some() {
            return;
        }
        let first = self.ops.len();
        for connection in 0..self.plan.connections.len() {
            for end in 0..2u8 {
                let node = self.plan.connections[connection].nodes[usize::from(end)];
                if self.hosts[usize::from(node)].current[connection].is_none() {
                    continue;
                }
                let most =
                    self.plan.nodes.iter().map(|node| node.config.message_bytes_max).min().unwrap_or(0);
                let most = most.min(9_000) as u32;
                for (len, place) in [(0, Place::Pool), (700, Place::Pool), (most, Place::Exposed)] {
                    let id = 0x1000_0000 + self.ops.len() as u32;
                    let load = Load { front_len: FRONT_BYTES_MIN, len, place, way: None };
                    let sort = Sort::Request { sink: None, cancel_ns: None, reply: Reply::After(0, load) };
                    let what = What::Send(Letter { sort, load, deadline_ns: None, keep_ns: 0 });
                    let at_ns = self.net.now().0;
                    let connection = connection as u16;
                    self.ops.push(OpPlan { id, connection, end, at_ns, what });
                    self.states.push(State::Waiting);
                    self.after(0, Task::Op(self.ops.len() - 1));
                }
            }
        }
        let ns = self.patience_ns();
        let over = |run: &mut Self| {
            (first..run.ops.len()).all(|op| match &run.states[op] {
                State::Waiting => false,
                State::Sent(sent) => sent.ended.is_some(),
                State::NotBegun => true,
            })
        };
        self.expect("probes have not ended", ns, over);
        for op in first..self.ops.len() {
            let State::Sent(sent) = &self.states[op] else { continue };
            // One that was sent into a connection whose other side is gone may fail; the next one on it may not.
            let life = self.lives.get(sent.life).over;
            if sent.ended != Some("replied") && !life {
                let ended = sent.ended;
                self.guilty(Check::Liveness, Some(op), || format!("a probe ended: {ended:?}"));
            }
        }
    }

    /// Lets acknowledgements and credits travel that have no hurry.
    fn be_quiet(&mut self) {
        if self.guilt.is_some() {
            return;
        }
        let slowest = self.plan.nodes.iter().map(|node| node.config.keepalive_ns).max().unwrap_or(0);
        let until = self.net.now() + 3 * slowest + 5 * MS;
        self.run_until(until, |_| false);
    }

    fn flows(&mut self, connection: usize) -> Option<[(u16, Flow); 2]> {
        let plan = self.plan.connections[connection];
        let flow = |end: usize| {
            let node = plan.nodes[end];
            let id = self.hosts[usize::from(node)].current[connection]?;
            let messenger = self.net.nodes[usize::from(node)].as_deref()?;
            messenger.is_established(id).then(|| messenger.flow(id).map(|flow| (node, flow)))?
        };
        Some([flow(0)?, flow(1)?])
    }

    /// What one side may send is what the other has granted: now and then at least, when no sign of life is on
    /// its way. Receives may be missing: their memory may be another connection's.
    fn compare_flow(&mut self) {
        let mut left: Vec<usize> = (0..self.plan.connections.len()).collect();
        let limit = self.net.now() + 100 * MS;
        self.run_until(limit, |run| {
            left.retain(|connection| run.flows(*connection).is_some_and(|flows| !is_conserved(&flows)));
            left.is_empty()
        });
        for connection in left {
            let flows = self.flows(connection);
            self.guilty(Check::Completion, None, || format!("credits of connection {connection}: {flows:?}"));
        }
    }

    /// Everything is closed, and everything comes back.
    fn part(&mut self) {
        if self.guilt.is_some() {
            return;
        }
        for node in 0..self.plan.nodes.len() as u16 {
            let all: Vec<ConnectionId> = self.hosts[usize::from(node)].known.keys().copied().collect();
            for id in all {
                if self.hosts[usize::from(node)].known.contains_key(&id) {
                    self.close(node, id);
                    self.net.touch(node);
                }
            }
        }
        let ns = 1_500 * MS + self.patience_ns();
        self.expect("not everything has come back", ns, |run| {
            run.net.nodes.iter_mut().flatten().all(|messenger| {
                let extents = messenger.extents();
                messenger.outstanding() == Outstanding::default()
                    && extents.in_use_bytes + extents.retiring_bytes == 0
            })
        });
        // What is still said on lines is said to nobody.
        let until = self.net.now() + 2 * (self.plan.line_ns + self.plan.line_jitter_ns) + MS;
        self.run_until(until, |_| false);
        let lines = self.net.lines.len();
        if lines > 0 && self.plan.incidents.is_empty() {
            self.guilty(Check::Leak, None, || format!("{lines} lines are left"));
        }
    }
}

fn is_conserved([(_, one), (_, other)]: &[(u16, Flow); 2]) -> bool {
    [(one, other), (other, one)]
        .into_iter()
        .all(|(mine, theirs)| (mine.granted, mine.sent) == (theirs.told, theirs.came) && mine.held == 0)
}
