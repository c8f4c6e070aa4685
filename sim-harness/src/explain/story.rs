//! The story: what a tap and a runner tell, kept if it touched the operation.

use std::collections::{BTreeMap, BTreeSet};

use wavetank_contract::{AsyncEvent, Completion, Data, EpId, Instant, OpKind, Status, Work};
use wavetank_mock::{Fate, Happening, Mark, Opcode, PacketView, queue_pair_number};

use super::lines::{Common, Lines};
use super::queue::SendQueue;
use super::words;
use crate::fault::{Part, Step};
use crate::lab::Cause;
use crate::watch::{Connected, End, Ending, Submitted};
use crate::workload::units::Bytes;

/// What is known of the operation and of whatever may touch it.
#[derive(Debug)]
pub(super) struct Story {
    wanted: u64,
    op: Option<Op>,
    /// The other end of each endpoint, and what was agreed on.
    peers: BTreeMap<End, (End, Connected)>,
    queues: BTreeMap<End, SendQueue>,
    /// Faults that came, and whether they are over.
    faults: Vec<Came>,
    lines: Lines,
    /// Packets that left or arrived, by what they are and their PSN.
    seen: BTreeSet<(bool, &'static str, u32)>,
}

/// What is told of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fates {
    Left,
    Arrived,
    Dropped,
}

/// The operation, once it was submitted.
#[derive(Clone, Copy, Debug)]
struct Op {
    at: Instant,
    what: Submitted,
    peer: Option<End>,
    ended: bool,
    /// Works posted so far.
    works: u32,
}

#[derive(Clone, Copy, Debug)]
struct Came {
    at: Instant,
    number: usize,
    cause: Cause,
    over: bool,
}

impl Story {
    pub(super) fn of(wanted: u64) -> Story {
        Story {
            wanted,
            op: None,
            peers: BTreeMap::new(),
            queues: BTreeMap::new(),
            faults: Vec::new(),
            lines: Lines::default(),
            seen: BTreeSet::new(),
        }
    }

    pub(super) fn told(&self) -> Option<String> {
        Some(self.lines.text(self.op?.at))
    }

    pub(super) fn connected(&mut self, at: Instant, connected: &Connected) {
        let [a, b] = connected.ends;
        for (end, peer) in [(a, b), (b, a)] {
            self.peers.insert(end, (peer, *connected));
            self.queues.insert(end, SendQueue::new(connected.mtu));
            if self.op.is_some_and(|op| !op.ended && op.what.from == end) {
                self.lines.say(at, format!("connection {} is connected again", connected.connection));
            }
        }
    }

    pub(super) fn submitted(&mut self, at: Instant, what: &Submitted) {
        if what.op != self.wanted || self.op.is_some() {
            return;
        }
        let met = self.peers.get(&what.from);
        let op = Op { at, what: *what, peer: met.map(|(peer, _)| *peer), ended: false, works: 0 };
        self.op = Some(op);
        for fault in self.faults.clone() {
            if !fault.over && op.concerns(&fault.cause) {
                self.lines.say(fault.at, format!("fault {}: {}", fault.number, fault.cause));
            }
        }
        let mut text = format!("submitted: {} of {}", what.kind.name(), Bytes(what.len));
        if let Some(target) = what.target {
            text += if what.kind == OpKind::Read { " from" } else { " to" };
            text += &format!(" region {}", target.region);
            text += &target.slot.map_or(String::new(), |slot| format!(" slot {slot}"));
            text += &format!(" offset {}", target.offset);
        }
        text += &format!(", node {} endpoint {}", what.from.node, what.from.ep.0);
        if let Some((peer, connected)) = met {
            text += &format!(" to node {} over connection {}", peer.node, connected.connection);
        }
        if what.deadline != Instant::FAR {
            text += &format!(", deadline {}", super::lines::since(what.deadline, at));
        }
        self.lines.say(at, text);
    }

    pub(super) fn cancelled(&mut self, at: Instant, op: u64) {
        self.of_mine(at, op, || "cancelled".to_owned());
    }

    pub(super) fn blamed(&mut self, at: Instant, op: u64, what: &str) {
        self.of_mine(at, op, || format!("check failed: {what}"));
    }

    pub(super) fn ended(&mut self, at: Instant, op: u64, how: &Ending<'_>) {
        self.of_mine(at, op, || match how {
            Ending::Done(bytes) => format!("ended: well, {} done", Bytes(*bytes)),
            Ending::Failed(error) => format!("ended: failed, {error}"),
            Ending::NotBegun(why) => format!("ended: never begun, {why}"),
        });
        if let Some(mine) = self.op.as_mut().filter(|mine| mine.what.op == op) {
            mine.ended = true;
        }
    }

    fn of_mine(&mut self, at: Instant, op: u64, text: impl FnOnce() -> String) {
        if op == self.wanted && self.op.is_some() {
            self.lines.say(at, text());
        }
    }

    pub(super) fn fault(&mut self, at: Instant, step: &Step) {
        let told = self.op.is_some_and(|op| self.touches(&op) && op.concerns(&step.cause));
        for came in &mut self.faults {
            let undone = came.cause.undone_by() == Some(step.cause);
            came.over |= match step.part {
                Part::Comes => undone,
                // Of a link, others go on; of what is down, the last one ends it for all.
                Part::Ends => {
                    came.number == step.fault || undone && !matches!(came.cause, Cause::Link { .. })
                }
                Part::GoesOn => false,
            };
        }
        let text = match step.part {
            Part::Comes => {
                self.faults.push(Came { at, number: step.fault, cause: step.cause, over: false });
                format!("fault {}: {}", step.fault, step.cause)
            }
            Part::Ends => format!("fault {} is over", step.fault),
            Part::GoesOn => return,
        };
        if told {
            self.lines.say(at, text);
        }
    }

    pub(super) fn healed(&mut self, at: Instant) {
        self.faults.iter_mut().for_each(|fault| fault.over = true);
        if self.op.is_some_and(|op| self.touches(&op)) {
            self.lines.say(at, "every fault that can be undone was undone".to_owned());
        }
    }

    /// Whether something may still happen to the operation.
    fn touches(&self, op: &Op) -> bool {
        !op.ended || self.queues.get(&op.what.from).is_some_and(SendQueue::has_mine)
    }

    pub(super) fn see(&mut self, at: Instant, happening: &Happening<'_>) {
        match *happening {
            Happening::Posted { node, ep, work } => self.posted(at, End { node, ep }, work),
            Happening::Sent(packet) => self.sent(at, &packet),
            Happening::Arrived(packet, fate) => self.arrived(at, &packet, fate),
            Happening::TimedOut { node, ep } => self.timed_out(at, End { node, ep }),
            Happening::ReceiverWaited { node, ep } => {
                self.waiting(at, End { node, ep }, |_| "the receiver's time is over: try again".to_owned());
            }
            Happening::Completed { node, completion } => self.completed(at, node, completion),
            Happening::Event { node, event } => self.event(at, node, event),
        }
    }

    fn posted(&mut self, at: Instant, end: End, work: &Work<'_>) {
        if work.op.kind() == OpKind::Recv {
            return;
        }
        let mine = self.op.as_mut().filter(|op| op.owns(end, work)).map(|op| {
            op.works += 1;
            op.works - 1
        });
        let (kind, len) = (work.op.kind(), work.data.len_bytes());
        if let Some(queue) = self.queues.get_mut(&end) {
            queue.posted(work.id, kind, len, mine);
        }
        if let Some(number) = mine {
            let silent = if work.signalled { "" } else { ", silent" };
            self.lines.say(at, format!("posted: {} of {} as work {number}{silent}", kind.name(), Bytes(len)));
        }
    }

    fn sent(&mut self, at: Instant, packet: &PacketView<'_>) {
        let from = end(packet.from_node, packet.from_qpn);
        if let Some(queue) = self.queues.get_mut(&from).filter(|_| words::is_request(packet.opcode)) {
            queue.sent(packet.psn);
        }
        self.packet(at, packet, Fates::Left, format!("left node {}", packet.from_node));
    }

    fn arrived(&mut self, at: Instant, packet: &PacketView<'_>, fate: Fate) {
        let to = packet.to_node;
        if let Fate::Dropped(mark) = fate {
            let why = self.why(mark, packet.from_node, to);
            self.packet(at, packet, Fates::Dropped, format!("to node {to} {}{why}", words::dropped(mark)));
            return;
        }
        let told = self.packet(at, packet, Fates::Arrived, format!("arrived at node {to}"));
        let refuses = packet.opcode == Opcode::Acknowledge && words::nak(packet.syndrome).is_some();
        let through = if refuses { packet.psn.wrapping_sub(1) & 0xff_ffff } else { packet.psn };
        let answered = end(to, packet.to_qpn);
        let Some(queue) = self.queues.get_mut(&answered).filter(|_| !words::is_request(packet.opcode)) else {
            return;
        };
        let settled = queue.answered(through);
        if let Some((first, last)) = settled.filter(|_| !told && self.is_from(answered)) {
            let what = words::packet(packet.opcode);
            let text = format!("{what} of PSN {} arrived, which settles PSN {first} to {last}", packet.psn);
            self.lines.say(at, text);
        }
    }

    /// Whether the operation was submitted to this endpoint.
    fn is_from(&self, end: End) -> bool {
        self.op.is_some_and(|op| op.what.from == end)
    }

    /// A packet, if it is of the operation.
    fn packet(&mut self, at: Instant, packet: &PacketView<'_>, fate: Fates, did: String) -> bool {
        let Some(op) = self.op else { return false };
        let requester = match words::is_request(packet.opcode) {
            true => end(packet.from_node, packet.from_qpn),
            false => end(packet.to_node, packet.to_qpn),
        };
        let concerned = requester == op.what.from;
        let work =
            self.queues.get(&op.what.from).filter(|_| concerned).and_then(|queue| queue.mine(packet.psn));
        let Some(range) = work.map(|work| work.range()) else { return false };
        if let Some(nak) = words::nak(packet.syndrome).filter(|_| packet.opcode == Opcode::Acknowledge) {
            let why = if packet.syndrome == 0x62 { self.retired(&op) } else { String::new() };
            self.lines.say(at, format!("{nak}: PSN {} {did}{why}", packet.psn));
            return true;
        }
        let what = words::packet(packet.opcode);
        // A repeated READ asks only for what is missing, with a PSN of its own.
        let (psn, psns) = match packet.opcode {
            Opcode::ReadRequest => (range.0, (packet.psn, range.1)),
            _ => (packet.psn, (packet.psn, packet.psn)),
        };
        let again = fate != Fates::Dropped && !self.seen.insert((fate == Fates::Arrived, what, psn));
        let common = Common { what, did, again };
        self.lines.packet(at, common, psns, packet.payload.len() as u64);
        true
    }

    fn timed_out(&mut self, at: Instant, end: End) {
        let allowed = self.peers.get(&end).map_or(0, |(_, connected)| connected.retry_cnt);
        self.waiting(at, end, |queue| {
            queue.repetitions += 1;
            match queue.repetitions {
                n if n > u32::from(allowed) => {
                    format!("ACK timeout, and all {allowed} repetitions are spent")
                }
                n => format!("ACK timeout: repetition {n} of {allowed}"),
            }
        });
    }

    /// Something at the operation's endpoint, while works of it are under way.
    fn waiting(&mut self, at: Instant, end: End, text: impl FnOnce(&mut SendQueue) -> String) {
        let Some(queue) = self.queues.get_mut(&end) else { return };
        let text = text(queue);
        if self.op.is_some_and(|op| op.what.from == end) && queue.has_mine() {
            self.lines.say(at, text);
        }
    }

    fn completed(&mut self, at: Instant, node: u16, completion: &Completion) {
        let end = End { node, ep: completion.ep };
        let Some(queue) = self.queues.get_mut(&end) else { return };
        let Some(work) = queue.completed(completion.id) else { return };
        let status = completion.status;
        let of_op = self.op.is_some_and(|op| op.what.from == end);
        if let Some(number) = work.mine {
            self.lines.say(at, format!("completed: work {number}, {status}"));
        } else if of_op && status != Status::Success && queue.has_mine() {
            let text =
                format!("a work of another operation completed {status}: what is behind it is flushed");
            self.lines.say(at, text);
        }
    }

    fn event(&mut self, at: Instant, node: u16, event: AsyncEvent) {
        let Some(op) = self.op.filter(|op| self.touches(op)) else { return };
        let (ours, peers) = (op.what.from.node, op.peer);
        let at_ours = node == ours && words::endpoint(event).is_none_or(|ep| ep == op.what.from.ep);
        let at_peers = peers
            .is_some_and(|peer| node == peer.node && words::endpoint(event).is_none_or(|ep| ep == peer.ep));
        if at_ours || at_peers {
            self.lines.say(at, format!("event at node {node}: {}", words::event(event)));
        }
    }

    /// The fault that drops packets so.
    fn why(&self, mark: Mark, from: u16, to: u16) -> String {
        let guilty = |fault: &&Came| !fault.over && words::drops(&fault.cause, mark, from, to);
        self.faults.iter().rev().find(guilty).map_or(String::new(), Came::cite)
    }

    /// What may have retired the key that is refused.
    fn retired(&self, op: &Op) -> String {
        let Some(peer) = op.peer else { return String::new() };
        let region = op.what.target.map(|target| target.region);
        let guilty = |fault: &&Came| words::retires(&fault.cause, region, peer.node);
        let Some(fault) = self.faults.iter().rev().find(guilty) else { return String::new() };
        format!("{} at {}", fault.cite(), super::lines::since(fault.at, op.at))
    }
}

impl Op {
    /// Whether a work that is posted is one of its own: nobody else has its memory.
    fn owns(&self, end: End, work: &Work<'_>) -> bool {
        let (start, end_of) = (self.what.offset, self.what.offset.saturating_add(self.what.len));
        let Data::Pieces(pieces) = work.data else { return false };
        let within = pieces.first().map_or(self.what.len == 0, |piece| {
            let inside = piece.offset >= start && (piece.offset < end_of || piece.offset == start);
            piece.mr == self.what.mr && inside
        });
        !self.ended && end == self.what.from && within
    }

    /// Whether a cause may touch it: something of its two nodes, or its region.
    fn concerns(&self, cause: &Cause) -> bool {
        let here = |node: u16| node == self.what.from.node || self.peer.is_some_and(|peer| peer.node == node);
        match *cause {
            Cause::Link { from, to, .. } | Cause::Mend { from, to } => here(from) && here(to),
            Cause::Device { node, .. } | Cause::Host { node, .. } => here(node),
            Cause::Memory { region, .. } => self.what.target.is_some_and(|target| target.region == region),
        }
    }
}

impl Came {
    fn cite(&self) -> String {
        format!(" (fault {}: {})", self.number, self.cause)
    }
}

/// The endpoint of a queue pair number.
fn end(node: u16, qpn: u32) -> End {
    End { node, ep: EpId(qpn.wrapping_sub(queue_pair_number(EpId(0)))) }
}
