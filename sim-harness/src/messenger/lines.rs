//! Lines between nodes: streams that keep their order, and take as long as chance says.

use std::collections::BTreeMap;

use wavetank_contract::{Choices, Instant, Site};
use wavetank_messenger::LineId;

/// The most pieces that bytes said at once arrive in.
const PIECES_MAX: u64 = 3;

/// The lines of a network.
#[derive(Debug, Default)]
pub(super) struct Lines {
    base_ns: u64,
    jitter_ns: u64,
    wires: BTreeMap<u64, Wire>,
    /// Which wire, and which of its ends.
    ends: BTreeMap<(u16, LineId), (u64, usize)>,
    due: BTreeMap<(Instant, u64), Said>,
    /// What waits until two nodes reach each other again.
    held: BTreeMap<u64, Said>,
    /// Pairs of nodes that do not reach each other, until when.
    cut: Vec<([u16; 2], Instant)>,
    next: u64,
}

#[derive(Debug)]
struct Wire {
    nodes: [u16; 2],
    /// `None`: not there yet, or not there any more.
    lines: [Option<LineId>; 2],
    /// When the last thing comes to either end: nothing overtakes.
    last: [Instant; 2],
    silent: bool,
}

/// Something on its way.
#[derive(Debug)]
pub(super) struct Said {
    wire: u64,
    /// To which end.
    to: usize,
    pub(super) what: Word,
}

/// What it is.
#[derive(Debug)]
pub(super) enum Word {
    /// A call.
    Call,
    /// Its answer.
    Up,
    /// Bytes.
    Bytes(Vec<u8>),
    /// The end.
    Down(&'static str),
}

/// What a node is to be told.
#[derive(Debug)]
pub(super) enum Heard {
    /// It is called; [`Lines::answered`] wants to know the line.
    Call { node: u16, wire: u64 },
    /// One of its lines has something to say.
    Line { node: u16, line: LineId, what: Word },
}

impl Lines {
    pub(super) fn new(base_ns: u64, jitter_ns: u64) -> Lines {
        Lines { base_ns, jitter_ns, ..Lines::default() }
    }

    /// When something comes next.
    pub(super) fn next_at(&self) -> Instant {
        let due = self.due.keys().next().map_or(Instant::FAR, |(at, _)| *at);
        let mended = if self.held.is_empty() { None } else { self.cut.iter().map(|(_, until)| *until).min() };
        due.min(mended.unwrap_or(Instant::FAR))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.wires.len()
    }

    fn say(&mut self, wire: u64, to: usize, what: Word, now: Instant, choices: &mut impl Choices) {
        let delay = self.base_ns + choices.choose(Site::LineDelay, self.jitter_ns + 1);
        let Some(known) = self.wires.get_mut(&wire) else { return };
        let at = (now + delay).max(known.last[to]);
        known.last[to] = at;
        self.next += 1;
        self.due.insert((at, self.next), Said { wire, to, what });
    }

    /// A node calls another.
    pub(super) fn dial(&mut self, now: Instant, nodes: [u16; 2], line: LineId, choices: &mut impl Choices) {
        self.next += 1;
        let wire = self.next;
        let known = Wire { nodes, lines: [Some(line), None], last: [now; 2], silent: false };
        self.wires.insert(wire, known);
        self.ends.insert((nodes[0], line), (wire, 0));
        self.say(wire, 1, Word::Call, now, choices);
    }

    /// A call was taken.
    pub(super) fn answered(&mut self, now: Instant, wire: u64, line: LineId, choices: &mut impl Choices) {
        let Some(known) = self.wires.get_mut(&wire) else { return };
        known.lines[1] = Some(line);
        self.ends.insert((known.nodes[1], line), (wire, 1));
        self.say(wire, 0, Word::Up, now, choices);
    }

    /// Nobody is there to take a call.
    pub(super) fn refused(&mut self, now: Instant, wire: u64, choices: &mut impl Choices) {
        self.say(wire, 0, Word::Down("connection refused"), now, choices);
    }

    /// A node says something.
    pub(super) fn send(
        &mut self,
        now: Instant,
        node: u16,
        line: LineId,
        bytes: Vec<u8>,
        choices: &mut impl Choices,
    ) {
        let Some((wire, end)) = self.ends.get(&(node, line)).copied() else { return };
        let pieces = 1 + choices.choose(Site::LinePieces, PIECES_MAX) as usize;
        let len = bytes.len().div_ceil(pieces).max(1);
        for piece in bytes.chunks(len) {
            self.say(wire, 1 - end, Word::Bytes(piece.to_vec()), now, choices);
        }
    }

    /// A node closes a line: the other end hears of it behind everything that was said.
    pub(super) fn close(&mut self, now: Instant, node: u16, line: LineId, choices: &mut impl Choices) {
        let Some((wire, end)) = self.ends.remove(&(node, line)) else { return };
        self.say(wire, 1 - end, Word::Down("the peer closed the connection"), now, choices);
        self.drop_end(wire, end);
    }

    fn drop_end(&mut self, wire: u64, end: usize) {
        let Some(known) = self.wires.get_mut(&wire) else { return };
        if let Some(line) = known.lines[end].take() {
            self.ends.remove(&(known.nodes[end], line));
        }
        if known.lines == [None, None] && (known.silent || !self.is_under_way(wire)) {
            self.wires.remove(&wire);
        }
    }

    fn is_under_way(&self, wire: u64) -> bool {
        self.due.values().chain(self.held.values()).any(|said| said.wire == wire)
    }

    /// A node is gone. Its kernel closes its lines, unless that is gone as well.
    pub(super) fn die(&mut self, now: Instant, node: u16, closes: bool, choices: &mut impl Choices) {
        let all: Vec<u64> = self.wires.keys().copied().collect();
        for wire in all {
            let Some(known) = self.wires.get_mut(&wire) else { continue };
            let Some(end) = known.nodes.iter().position(|at| *at == node) else { continue };
            known.silent |= !closes;
            if closes {
                self.say(wire, 1 - end, Word::Down("connection reset by peer"), now, choices);
            }
            self.drop_end(wire, end);
        }
    }

    /// Two nodes do not reach each other for a while.
    pub(super) fn cut(&mut self, nodes: [u16; 2], until: Instant) {
        self.cut.push((nodes, until));
    }

    /// The lines that are there between two nodes carry nothing any more.
    pub(super) fn silence(&mut self, nodes: [u16; 2]) {
        for wire in self.wires.values_mut().filter(|wire| is_between(wire.nodes, nodes)) {
            wire.silent = true;
        }
    }

    /// The lines that are there between two nodes end at both ends.
    pub(super) fn reset(&mut self, now: Instant, nodes: [u16; 2], choices: &mut impl Choices) {
        let all: Vec<u64> = self
            .wires
            .iter()
            .filter(|(_, wire)| is_between(wire.nodes, nodes))
            .map(|(wire, _)| *wire)
            .collect();
        for wire in all {
            for end in 0..2 {
                self.say(wire, end, Word::Down("connection reset"), now, choices);
            }
        }
    }

    /// All nodes reach each other again.
    pub(super) fn heal(&mut self, now: Instant) {
        self.cut.iter_mut().for_each(|(_, until)| *until = now);
    }

    /// What comes now. `is_deaf` nodes hear it later.
    pub(super) fn take(&mut self, now: Instant, is_deaf: impl Fn(u16) -> bool) -> Option<Heard> {
        if self.cut.iter().any(|(_, until)| *until <= now) {
            self.cut.retain(|(_, until)| *until > now);
            for (number, said) in std::mem::take(&mut self.held) {
                self.due.insert((now, number), said);
            }
        }
        while let Some(entry) = self.due.first_entry() {
            let (at, number) = *entry.key();
            if at > now {
                return None;
            }
            let said = entry.remove();
            let Some(wire) = self.wires.get_mut(&said.wire) else { continue };
            let node = wire.nodes[said.to];
            let cut = self.cut.iter().any(|(nodes, _)| is_between(wire.nodes, *nodes));
            if wire.silent {
                continue;
            }
            if cut || is_deaf(node) {
                // Numbers keep the order.
                self.held.insert(number, said);
                continue;
            }
            let Said { wire: number, to, what } = said;
            if matches!(what, Word::Call) {
                return Some(Heard::Call { node, wire: number });
            }
            let Some(line) = wire.lines[to] else {
                self.drop_end(number, to);
                continue;
            };
            if matches!(what, Word::Down(_)) {
                self.drop_end(number, to);
            }
            return Some(Heard::Line { node, line, what });
        }
        None
    }

    /// A node listens again.
    pub(super) fn listen(&mut self, now: Instant) {
        for (number, said) in std::mem::take(&mut self.held) {
            self.due.insert((now, number), said);
        }
    }
}

fn is_between(one: [u16; 2], other: [u16; 2]) -> bool {
    one == other || one == [other[1], other[0]]
}
