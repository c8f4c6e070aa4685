//! What two applications do with each other, whatever befalls them, and what they may expect of it.

use wavetank_contract::{Class, Instant};
use wavetank_messenger::{
    ConnectionId, Data, Event, Incoming, Message, MessengerConfig, Outstanding, Policy, RequestError, Step,
    Way,
};

use crate::cell::{Cell, Fault};
use crate::net::{Breakpoint, Net, config};

const MS: u64 = 1_000_000;
/// How long a stage may take: more than a lossless side waits before it gives up.
const STAGE_MS: u64 = 900;
/// How long a lossless side waits before it gives up.
const GIVE_UP_MS: u64 = 400;
/// From here on after an end of trouble everything has to work again.
const RECOVERED_MS: u64 = 150;
/// A request that is in a hurry has so long.
const IMPATIENT_MS: u64 = 40;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Request {
        sink: bool,
        reply_len: u64,
        reply_way: Option<Way>,
    },
    /// Never answered.
    Hopeless,
    Held {
        kept_ns: u64,
    },
    OneWay,
}

/// A message and what became of it.
#[derive(Clone, Debug)]
struct Op {
    node: usize,
    /// The process that sends it.
    life: u64,
    stage: usize,
    sort: Sort,
    len: u64,
    way: Option<Way>,
    impatient: bool,
    /// When it was handed over, and as which of its process.
    sent: Option<(Instant, u64)>,
    deliveries: u32,
    /// How it ended: `None` is success.
    ended: Option<Option<Class>>,
}

/// What is to be looked at while a fault is under way.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    began: Instant,
    ends: Instant,
    /// Connections that were open at its beginning, by node, and by when they have to be seen broken.
    open: [Option<ConnectionId>; 2],
    notice_by: Instant,
    noticed: [bool; 2],
}

/// Bugs that the checks have to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Planted {
    #[default]
    Nothing,
    /// Nobody minds silence.
    Deaf,
    /// A message is never released.
    Unreleased,
    /// The application sees a message twice.
    Twice,
    /// A byte is wrong.
    WrongByte,
    /// An application keeps a message although it has closed everything.
    Kept,
}

/// What a cell came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// The step was reached, and the fault befell.
    pub(crate) reached: bool,
    pub(crate) succeeded: u32,
    pub(crate) failed: u32,
    pub(crate) reconnected: u32,
    pub(crate) reset: u32,
    pub(crate) forgotten: u32,
    /// Steps passed by any side, one bit each.
    pub(crate) passed: u64,
    pub(crate) simulated_ms: u64,
}

pub(crate) struct Scenario {
    cell: Option<Cell>,
    /// What befalls, as the checks believe.
    believed: Option<Fault>,
    policies: [Policy; 2],
    planted: Planted,
    net: Net,
    ops: Vec<Op>,
    /// The newest order that came from each process: sender's node, its life, the receiver's life.
    came: Vec<((usize, u64, u64), u64)>,
    connection: [Option<ConnectionId>; 2],
    dial_at: [Instant; 2],
    dials: bool,
    orders: u64,
    kept: [Vec<(Instant, Incoming)>; 2],
    souvenir: Option<Incoming>,
    trouble: Option<Trouble>,
    bury_at: Option<(Instant, usize)>,
    mend_at: Option<Instant>,
    restart_at: Option<(Instant, usize)>,
    reset_lines_at: Option<Instant>,
    close_at: Option<Instant>,
    stage: usize,
    stage_began: Instant,
    report: Report,
}

/// The stages.
const FIRST: usize = 0;
const IDLE: usize = 2;
const BROKEN: usize = 3;
const CLOSING: usize = 5;
const AFTER: usize = 6;
const STAGES: usize = 7;

impl Scenario {
    pub(crate) fn new(pairing: crate::cell::Pairing, cell: Option<Cell>, planted: Planted) -> Scenario {
        let policies = pairing.policies();
        let with = |name| {
            let config = MessengerConfig { give_up_ns: GIVE_UP_MS * MS, ..config(name) };
            match planted {
                Planted::Deaf => MessengerConfig {
                    keepalive_ns: 1 << 50,
                    silence_ns: 1 << 51,
                    transfer_ns: 1 << 51,
                    ..config
                },
                _ => config,
            }
        };
        let mut net = Net::new(&[with(1), with(2)]);
        for node in 0..2 {
            let breakpoint = cell.filter(|cell| cell.passer == node).map(|cell| Breakpoint {
                step: cell.step,
                nth: cell.nth,
                halt: cell.victim == node && cell.fault.ends_a_life(),
            });
            net.watch(node, breakpoint);
        }
        let mut scenario = Scenario {
            cell,
            believed: cell.map(|cell| cell.fault),
            policies,
            planted,
            net,
            ops: Vec::new(),
            came: Vec::new(),
            connection: [None; 2],
            dial_at: [Instant::ZERO; 2],
            dials: true,
            orders: 0,
            kept: [Vec::new(), Vec::new()],
            souvenir: None,
            trouble: None,
            bury_at: None,
            mend_at: None,
            restart_at: None,
            reset_lines_at: None,
            close_at: None,
            stage: FIRST,
            stage_began: Instant::ZERO,
            report: Report::default(),
        };
        for node in 0..2 {
            scenario.bind(node);
        }
        scenario
    }

    /// Lets the checks expect what another fault would lead to.
    pub(crate) fn believing(mut self, fault: Fault) -> Scenario {
        self.believed = Some(fault);
        self
    }

    fn bind(&mut self, node: usize) {
        let policy = self.policies[node];
        if policy == Policy::LosslessPeer || !policy.dials() {
            self.net.hosts[node].messenger.bind(Some(policy));
        }
    }

    fn lossless(&self) -> bool {
        self.policies[0].is_lossless()
    }

    fn now(&self) -> Instant {
        self.net.now()
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Result<Report, String> {
        self.begin_stage(FIRST);
        let mut tick = Instant::ZERO;
        while self.stage < STAGES {
            self.attend()?;
            if tick <= self.now() {
                tick = self.now() + MS / 2;
            }
            let end = self.next_at(tick);
            self.net.step(end);
            if self.net.stopped.get().is_some() {
                self.befall();
            }
            for node in 0..2 {
                while let Some(event) = self.net.hosts[node].events.pop_front() {
                    if !self.net.hosts[node].dead {
                        if let Err(why) = self.hear(node, event) {
                            return Err(format!("{why}; then {:#?}", self.net.hosts[node].events));
                        }
                        self.net.touch(node);
                    }
                }
            }
            if self.now() >= end {
                self.look_at_time()?;
            }
        }
        self.finish()
    }

    /// The next time at which something is planned here.
    fn next_at(&self, tick: Instant) -> Instant {
        let kept = self.kept.iter().flatten().map(|(at, _)| *at);
        let plans = [
            self.bury_at.map(|(at, _)| at),
            self.mend_at,
            self.restart_at.map(|(at, _)| at),
            self.reset_lines_at,
            self.close_at,
        ];
        let dials = (0..2).filter(|node| self.wants_to_dial(*node)).map(|node| self.dial_at[node]);
        let now = self.now();
        kept.chain(plans.into_iter().flatten())
            .chain(dials)
            .filter(|at| *at > now)
            .chain([tick])
            .min()
            .unwrap_or(now)
    }

    fn is_up(&self, node: usize) -> bool {
        !self.net.hosts[node].dead && self.net.hosts[node].asleep_until <= self.now()
    }

    fn wants_to_dial(&self, node: usize) -> bool {
        self.dials && self.policies[node].dials() && self.connection[node].is_none() && self.is_up(node)
    }

    /// Does what applications do by themselves: dial, send, let go.
    fn attend(&mut self) -> Result<(), String> {
        let now = self.now();
        for node in 0..2 {
            if !self.is_up(node) {
                continue;
            }
            if self.wants_to_dial(node) && self.dial_at[node] <= now {
                let (other, policy) = (1 - node, self.policies[node]);
                let name = self.net.hosts[other].config.name;
                let messenger = &mut self.net.hosts[node].messenger;
                let dialled = messenger.connect(now, &other.to_string(), Some(name), policy);
                match dialled {
                    Ok(connection) => self.connection[node] = Some(connection),
                    Err(error) => return Err(format!("node {node} cannot dial: {error}")),
                }
                self.net.touch(node);
            }
            if let Some(connection) = self.connection[node] {
                for at in 0..self.ops.len() {
                    let op = &self.ops[at];
                    if op.node == node && op.sent.is_none() && op.ended.is_none() {
                        self.send(at, connection)?;
                    }
                }
            }
            let before = self.kept[node].len();
            self.kept[node].retain(|(at, _)| *at > now);
            if self.kept[node].len() != before {
                self.net.touch(node);
            }
        }
        Ok(())
    }

    fn look_at_time(&mut self) -> Result<(), String> {
        let now = self.now();
        if self.bury_at.is_some_and(|(at, _)| at <= now)
            && let Some((_, node)) = self.bury_at.take()
        {
            self.net.bury(node);
        }
        if self.mend_at.is_some_and(|at| at <= now) {
            self.mend_at = None;
            self.net.cut_links(false);
            self.net.lines_cut = false;
        }
        if self.restart_at.is_some_and(|(at, _)| at <= now)
            && let Some((_, node)) = self.restart_at.take()
        {
            self.net.restart(node);
            self.bind(node);
            self.connection[node] = None;
            self.dial_at[node] = now;
        }
        if self.reset_lines_at.is_some_and(|at| at <= now) {
            self.reset_lines_at = None;
            self.net.reset_lines();
        }
        if self.close_at.is_some_and(|at| at <= now) {
            self.close_at = None;
            let closer = self.closer();
            if self.is_up(closer)
                && let Some(connection) = self.connection[closer].take()
            {
                self.net.hosts[closer].messenger.close(now, connection, "that is all");
                self.net.touch(closer);
            }
        }
        if let Some(trouble) = &self.trouble
            && trouble.notice_by <= now
        {
            for node in 0..2 {
                let Some(connection) = trouble.open[node] else { continue };
                let host = &self.net.hosts[node];
                if !trouble.noticed[node] && host.messenger.is_established(connection) {
                    return Err(format!(
                        "node {node} has not noticed after {} ms",
                        now.since_ns(trouble.began) / MS
                    ));
                }
            }
        }
        // Whoever is in a hurry is answered in time, or told in time that it is not.
        let (late, slack) = (IMPATIENT_MS * MS, MS);
        for op in &self.ops {
            let Some((sent, _)) = op.sent.filter(|_| op.impatient && op.ended.is_none()) else { continue };
            let awake = self.net.hosts[op.node].asleep_until;
            if !self.net.hosts[op.node].dead && now > (sent + late).max(awake) + slack {
                return Err(format!(
                    "a request is not over {} ms after it was sent",
                    now.since_ns(sent) / MS
                ));
            }
        }
        if self.stage_is_over() {
            let next = self.stage + 1;
            if next < STAGES {
                self.begin_stage(next);
            }
            self.stage = next;
        } else if now.since_ns(self.stage_began) > STAGE_MS * MS + self.trouble_ns() {
            let left: Vec<_> = self.ops.iter().filter(|op| op.ended.is_none()).collect();
            let state = |host: &mut crate::net::Host| {
                let messenger = &mut host.messenger;
                let flows: Vec<_> = messenger.connections().map(|each| messenger.flow(each)).collect();
                (messenger.outstanding(), flows)
            };
            let hosts: Vec<_> = self.net.hosts.iter_mut().map(state).collect();
            return Err(format!("stage {} hangs: {left:#?}\n{hosts:#?}", self.stage));
        }
        if self.net.hosts.iter().any(|host| host.turns > 300_000) {
            return Err("a messenger spins".to_owned());
        }
        Ok(())
    }

    fn trouble_ns(&self) -> u64 {
        self.trouble.as_ref().map_or(0, |trouble| trouble.ends.since_ns(trouble.began) + RECOVERED_MS * MS)
    }

    fn stage_is_over(&self) -> bool {
        let now = self.now();
        let over = self.ops.iter().all(|op| op.ended.is_some());
        let mended = self.trouble.as_ref().is_none_or(|trouble| now > trouble.ends + RECOVERED_MS * MS);
        let planned = self.reset_lines_at.is_some() || self.close_at.is_some() || self.restart_at.is_some();
        let idle = self.stage != IDLE || now.since_ns(self.stage_began) > 25 * MS;
        over && mended && idle && !planned
    }

    fn closer(&self) -> usize {
        match self.cell {
            Some(cell) if cell.step == Step::Close => cell.passer,
            Some(cell) if cell.step == Step::Closed => 1 - cell.passer,
            _ => 0,
        }
    }

    fn begin_stage(&mut self, stage: usize) {
        let now = self.now();
        (self.stage, self.stage_began) = (stage, now);
        for node in 0..2 {
            match stage {
                IDLE => {}
                CLOSING => self.line_up(node, Sort::Hopeless, 0, None, false),
                _ => self.batch(node),
            }
        }
        match stage {
            BROKEN => self.reset_lines_at = Some(now + 30_000),
            CLOSING => {
                self.close_at = Some(now + MS);
                self.dials = false;
            }
            AFTER => {
                self.dials = true;
                self.dial_at = [now; 2];
            }
            _ => {}
        }
    }

    /// One of everything.
    fn batch(&mut self, node: usize) {
        let plain = Sort::Request { sink: false, reply_len: 0, reply_way: None };
        let reply = |reply_len, reply_way| Sort::Request { sink: false, reply_len, reply_way };
        let sink = |reply_len| Sort::Request { sink: true, reply_len, reply_way: None };
        let held = |kept_ns| Sort::Held { kept_ns };
        let all = [
            (plain, 0, None),
            (Sort::OneWay, 10, None),
            (reply(2000, None), 300, None),
            (plain, 30_000, Some(Way::Read)),
            (Sort::OneWay, 20_000, Some(Way::Read)),
            (reply(20_000, Some(Way::Write)), 30_000, Some(Way::Write)),
            (held(MS), 100, None),
            (sink(40_000), 0, None),
            (Sort::OneWay, 700, None),
            (reply(25_000, Some(Way::Read)), 0, None),
            (held(MS / 2), 50_000, Some(Way::Read)),
            (sink(100), 5_000, Some(Way::Write)),
            (held(0), 20_000, Some(Way::Write)),
            (Sort::OneWay, 0, None),
        ];
        for (sort, len, way) in all {
            self.line_up(node, sort, len, way, false);
        }
        self.line_up(node, reply(100, None), 100, None, true);
    }

    fn line_up(&mut self, node: usize, sort: Sort, len: u64, way: Option<Way>, impatient: bool) {
        let (life, stage) = (self.net.hosts[node].life, self.stage);
        let (sent, ended) = (None, None);
        self.ops.push(Op { node, life, stage, sort, len, way, impatient, sent, deliveries: 0, ended });
    }

    /// Hands a message over.
    fn send(&mut self, at: usize, connection: ConnectionId) -> Result<(), String> {
        let now = self.now();
        let op = self.ops[at].clone();
        let host = &mut self.net.hosts[op.node];
        let messenger = &mut host.messenger;
        let front = (at as u32).to_le_bytes();
        let deadline = if op.impatient { now + IMPATIENT_MS * MS } else { Instant::FAR };
        let mut message = Message::new(7, &front, deadline).tagged(at as u64).by(op.way);
        if op.len > 0 {
            let lease = match op.way {
                Some(Way::Read) => messenger.expose(connection, op.len),
                _ => messenger.lease(op.len).map(Some),
            };
            let Ok(Some(lease)) = lease else { return self.not_sent(at, connection, "no memory") };
            lease.write(0, &pattern(at, op.len));
            message = message.with(Data::all(lease));
        }
        let sent = match op.sort {
            Sort::OneWay => messenger.send(now, connection, message),
            Sort::Held { .. } => messenger.send_held(now, connection, message),
            Sort::Request { .. } | Sort::Hopeless => {
                let sink = match op.sort {
                    Sort::Request { sink: true, .. } => match messenger.expose(connection, 40_000) {
                        Ok(Some(sink)) => Some(sink),
                        _ => return self.not_sent(at, connection, "no memory"),
                    },
                    _ => None,
                };
                messenger.request(now, connection, message, sink).map(drop)
            }
        };
        if let Err(error) = sent {
            let text = error.to_string();
            return self.not_sent(at, connection, &text);
        }
        self.orders += 1;
        self.ops[at].sent = Some((now, self.orders));
        // Where nothing is promised, sending it is all there is to it.
        if op.sort == Sort::OneWay && !self.promised(at) {
            self.ops[at].ended = Some(None);
        }
        self.net.touch(op.node);
        Ok(())
    }

    /// A message was not taken: there has to be a reason.
    fn not_sent(&mut self, at: usize, connection: ConnectionId, why: &str) -> Result<(), String> {
        let node = self.ops[at].node;
        let there = self.net.hosts[node].messenger.connections().any(|there| there == connection);
        if there && !why.contains("being closed") {
            return Err(format!("node {node} could not send: {why}"));
        }
        self.connection[node] = None;
        self.dial_at[node] = self.now();
        Ok(())
    }

    /// Whether a message has to come whatever happened so far, and nothing may come of it but success.
    fn promised(&self, at: usize) -> bool {
        let op = &self.ops[at];
        if op.stage == CLOSING {
            return false;
        }
        let disturbs = self.believed;
        let survives = disturbs.is_none_or(|fault| !fault.ends_a_life());
        let recovered =
            |trouble: &Trouble| op.sent.is_some_and(|(sent, _)| sent > trouble.ends + RECOVERED_MS * MS);
        let quiet = match (&self.trouble, disturbs) {
            (None, _) | (_, None | Some(Fault::Dozed)) => op.stage != BROKEN,
            (Some(trouble), _) => recovered(trouble) && op.stage != BROKEN,
        };
        // What befalls later is not known yet.
        let settled = self.trouble.is_some() || self.cell.is_none();
        match self.lossless() {
            true => survives || settled && self.trouble.as_ref().is_none_or(recovered),
            false => settled && quiet,
        }
    }

    /// The fault befalls.
    fn befall(&mut self) {
        let Some(cell) = self.cell else { return };
        self.net.stopped.set(None);
        let now = self.now();
        let ends = now + cell.fault.lasts_ms() * MS;
        self.report.reached = true;
        let mut open = [None; 2];
        for (node, open) in open.iter_mut().enumerate() {
            let survives = !(cell.fault.has_victim() && node == cell.victim);
            let messenger = &self.net.hosts[node].messenger;
            *open = self.connection[node].filter(|c| survives && messenger.is_established(*c));
        }
        let notice_by = match cell.fault.noticed_ms() {
            // A connection that is being closed, or is broken on purpose, is not waited for.
            Some(ms) if self.stage != CLOSING => now + ms * MS,
            _ => Instant::FAR,
        };
        self.trouble = Some(Trouble { began: now, ends, open, notice_by, noticed: [false; 2] });
        match cell.fault {
            Fault::Killed | Fault::Vanished => {
                let node = cell.victim;
                if cell.fault == Fault::Killed {
                    self.net.kill(node);
                    self.bury_at = Some((now + MS, node));
                } else {
                    self.net.vanish(node);
                }
                self.restart_at = Some((ends, node));
                self.kept[node].clear();
                self.connection[node] = None;
                // What a process has not done, nobody will do.
                for op in self.ops.iter_mut().filter(|op| op.node == node && op.ended.is_none()) {
                    op.ended = Some(Some(Class::Flushed));
                }
                // Whatever was sent to it may or may not have come.
                for at in 0..self.ops.len() {
                    let op = &self.ops[at];
                    if op.sort == Sort::OneWay && op.sent.is_some() && op.ended.is_none() {
                        self.ops[at].ended = Some(None);
                    }
                }
            }
            Fault::Asleep | Fault::Dozed => {
                self.net.hosts[cell.victim].asleep_until = ends;
            }
            Fault::CutOff | Fault::LinesCut | Fault::LinksCut => {
                if cell.fault != Fault::LinesCut {
                    self.net.cut_links(true);
                }
                self.net.lines_cut = cell.fault != Fault::LinksCut;
                self.mend_at = Some(ends);
            }
            Fault::LinesReset => self.net.reset_lines(),
        }
    }

    fn hear(&mut self, node: usize, event: Event) -> Result<(), String> {
        let now = self.now();
        match event {
            Event::Accepted { connection, .. } | Event::Established { connection, .. } => {
                self.connection[node] = Some(connection);
            }
            Event::Reconnecting { connection, cause } => {
                self.report.reconnected += 1;
                self.broke(node, connection, cause.class(), &cause.to_string())?;
            }
            Event::Reset { connection, cause } | Event::Refused { connection, cause } => {
                self.report.reset += 1;
                self.broke(node, connection, cause.class(), &cause.to_string())?;
                if self.connection[node] == Some(connection) {
                    self.connection[node] = None;
                    self.dial_at[node] = now + 5 * MS;
                }
            }
            Event::RemoteReset { connection } => {
                self.report.forgotten += 1;
                if self.believed.is_none_or(|fault| !fault.ends_a_life()) && self.stage != CLOSING {
                    return Err(format!(
                        "node {node} was forgotten on {connection}, and nobody lost anything"
                    ));
                }
                self.broke(node, connection, Class::PeerGone, "forgotten")?;
            }
            Event::Rejected { cause } => {
                if matches!(cause.class(), Class::LocalBug | Class::PeerRefused) {
                    return Err(format!("node {node} rejected a peer: {cause}"));
                }
            }
            Event::Delivered(incoming) => self.delivered(node, incoming)?,
            Event::Replied { tag, reply, .. } => {
                let at = tag as usize;
                let Sort::Request { reply_len, .. } = self.ops[at].sort else {
                    return match reply {
                        Err(no) => self.ended(at, Some(no.why.class()), &no.why.to_string()),
                        Ok(_) => Err("a reply that nobody gave".to_owned()),
                    };
                };
                match reply {
                    Ok(incoming) => {
                        self.same_bytes(&incoming, at ^ 0x5555, reply_len)?;
                        self.ended(at, None, "")?;
                    }
                    Err(no) => {
                        let late = matches!(no.why, RequestError::Deadline(_));
                        if late && self.ops[at].impatient {
                            // Nobody promised that it is in time, only that it ends.
                            let troubled = self.trouble.is_some() || self.stage == BROKEN;
                            self.ops[at].ended = Some(Some(no.why.class()));
                            self.report.failed += 1;
                            return if troubled {
                                Ok(())
                            } else {
                                Err("a request ran late in quiet times".into())
                            };
                        }
                        self.ended(at, Some(no.why.class()), &no.why.to_string())?;
                    }
                }
            }
            Event::Released { tag, delivered, .. } => {
                if self.planted == Planted::Unreleased {
                    return Ok(());
                }
                let (at, class) = (tag as usize, if delivered { None } else { Some(Class::PeerGone) });
                self.ended(at, class, "it was never delivered")?;
            }
            Event::Dropped { tag, why, .. } => return Err(format!("message {tag} was dropped: {why:?}")),
            other => return Err(format!("an event nobody expected: {other:?}")),
        }
        Ok(())
    }

    /// A connection is broken: for a reason that fits what befell.
    fn broke(
        &mut self,
        node: usize,
        connection: ConnectionId,
        class: Class,
        why: &str,
    ) -> Result<(), String> {
        let planned = self.stage == BROKEN || self.stage == CLOSING;
        if let Some(trouble) = &mut self.trouble
            && trouble.open[node] == Some(connection)
        {
            trouble.noticed[node] = true;
        }
        let quiet =
            matches!((&self.trouble, self.believed), (Some(_), Some(Fault::Dozed)) | (None, _) | (_, None));
        if quiet && !planned {
            return Err(format!("node {node} saw a connection break in quiet times: {why}"));
        }
        if class != Class::PeerGone {
            return Err(format!("node {node} saw a connection break as {class:?}: {why}"));
        }
        Ok(())
    }

    fn ended(&mut self, at: usize, class: Option<Class>, why: &str) -> Result<(), String> {
        let op = &self.ops[at];
        if op.ended.is_some() {
            return Err(format!("message {at} ended twice: {op:?}, now {class:?}: {why}"));
        }
        let allowed = match class {
            None => true,
            Some(Class::PeerGone) => !self.promised(at),
            // Our own closing.
            Some(Class::Flushed) => op.stage == CLOSING && op.node == self.closer(),
            Some(_) => false,
        };
        if !allowed {
            return Err(format!("message {at} failed as {class:?}: {why}; {op:?}"));
        }
        match class {
            None => self.report.succeeded += 1,
            Some(_) => self.report.failed += 1,
        }
        self.ops[at].ended = Some(class);
        Ok(())
    }

    /// A message has come: once, in order, with its bytes.
    fn delivered(&mut self, node: usize, mut incoming: Incoming) -> Result<(), String> {
        let now = self.now();
        let mut front = [0; 1024];
        let at = match incoming.front(&mut front) {
            [a, b, c, d] => u32::from_le_bytes([*a, *b, *c, *d]) as usize,
            other => return Err(format!("a front of {} bytes", other.len())),
        };
        let life = self.net.hosts[node].life;
        let op = self.ops.get_mut(at).ok_or("a message nobody sent")?;
        op.deliveries += if self.planted == Planted::Twice { 2 } else { 1 };
        if op.deliveries > 1 {
            return Err(format!("message {at} came twice: {op:?}"));
        }
        let (len, sort, from, order) =
            (op.len, op.sort, (op.node, op.life, life), op.sent.map_or(0, |(_, order)| order));
        self.same_bytes(&incoming, at, len)?;
        match self.came.iter_mut().find(|(pair, _)| *pair == from) {
            Some((_, newest)) if *newest > order => {
                return Err(format!("message {at} came after one that was sent later"));
            }
            Some((_, newest)) => *newest = order,
            None => self.came.push((from, order)),
        }
        match sort {
            Sort::OneWay => {
                if self.ops[at].ended.is_none() {
                    self.ended(at, None, "")?;
                }
                if self.planted == Planted::Kept {
                    self.souvenir.get_or_insert(incoming);
                }
            }
            Sort::Held { kept_ns } => self.kept[node].push((now + kept_ns, incoming)),
            // It is kept until the connection it came on is surely gone.
            Sort::Hopeless => self.kept[node].push((now + 30 * MS, incoming)),
            Sort::Request { reply_len, reply_way, .. } => {
                let connection = incoming.connection();
                let to = incoming.take_reply_to().ok_or("a request that wants no reply")?;
                let messenger = &mut self.net.hosts[node].messenger;
                let mut message = Message::new(8, b"", Instant::FAR).by(reply_way);
                if reply_len > 0 {
                    let lease = match reply_way {
                        Some(Way::Read) => messenger.expose(connection, reply_len),
                        _ => messenger.lease(reply_len).map(Some),
                    };
                    // The connection may be gone already.
                    let Ok(Some(lease)) = lease else { return Ok(()) };
                    let mut bytes = pattern(at ^ 0x5555, reply_len);
                    if self.planted == Planted::WrongByte {
                        bytes[0] ^= 1;
                    }
                    lease.write(0, &bytes);
                    message = message.with(Data::all(lease));
                }
                // It may be stale; whoever asked is told by other means then.
                let _ = messenger.reply(now, to, message);
            }
        }
        Ok(())
    }

    fn same_bytes(&self, incoming: &Incoming, at: usize, len: u64) -> Result<(), String> {
        let mut bytes = vec![0; len as usize];
        if incoming.data_len() != len || !incoming.read(0, &mut bytes) || bytes != pattern(at, len) {
            return Err(format!("{len} bytes of message {at} are not what was sent"));
        }
        Ok(())
    }

    /// Everything is over: closes what is open, and looks for what is left.
    fn finish(mut self) -> Result<Report, String> {
        self.dials = false;
        self.kept.iter_mut().for_each(Vec::clear);
        for node in 0..2 {
            let now = self.now();
            let all: Vec<ConnectionId> = self.net.hosts[node].messenger.connections().collect();
            for connection in all {
                self.net.hosts[node].messenger.close(now, connection, "");
            }
            self.net.touch(node);
            let until = now + 30 * MS;
            self.net.run_until(until);
            self.net.hosts.iter_mut().for_each(|host| host.events.clear());
            self.net.touch(0);
            self.net.touch(1);
        }
        let until = self.now() + 1_100 * MS;
        self.net.run_until(until);
        for (node, host) in self.net.hosts.iter_mut().enumerate() {
            let left = host.messenger.outstanding();
            if left != Outstanding::default() {
                return Err(format!("node {node} has something left: {left:?}"));
            }
            if host.messenger.stats().violations > 0 {
                return Err(format!("node {node} saw the protocol broken"));
            }
            if let Some(anomaly) = wavetank_engine::RdmaOps::take_anomaly(host.messenger.driver().context()) {
                return Err(format!("node {node}: {anomaly:?}"));
            }
            for (at, count) in host.passed.iter().enumerate() {
                self.report.passed |= u64::from(count.get() > 0) << at;
            }
        }
        self.report.simulated_ms = self.net.now().0 / MS;
        Ok(self.report)
    }
}

/// Bytes that no other message has at any place.
pub(crate) fn pattern(at: usize, len: u64) -> Vec<u8> {
    (0..len as usize).map(|i| (at * 89 + i * 7 + i / 251) as u8).collect()
}
