//! The trace: what happened, in order, as one number.
//!
//! Every event feeds a 64-bit hash that is written here and nowhere else, so that it never changes under us. The same
//! file and seed give the same hash on every machine, in debug and release. Checkpoints let two runs that should have
//! been equal be compared down to the first event that differs.

use std::fmt;
use std::ops::Range;

use wavetank_contract::Instant;
use wavetank_mock::{Mark, Opcode, Step, StepKind};

/// Events between two checkpoints.
pub const CHECKPOINT_EVENTS: u64 = 1024;

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A user's operation was submitted. The status is the kind of operation.
    Submitted,
    /// It ended. The status is 0 for success, else the status of the completion or 255.
    Finished,
    /// A packet reached an endpoint. The status is the syndrome of an acknowledgement.
    Delivered(Opcode),
    /// A packet reached nobody.
    Unclaimed(Opcode),
    /// A packet was lost.
    Lost(Opcode),
    /// A packet was dropped for another reason.
    Dropped(Mark, Opcode),
    /// An ACK timeout passed.
    TimedOut,
    /// A wait that a receiver asked for is over.
    ReceiverWaited,
    /// The last pieces of a message were placed, which had been kept back.
    Placed,
    /// Something came on a line. The status is 0 for a call, 1 for its answer, 2 for bytes, 3 for the end.
    LineSaid,
    /// A messenger told its user something. The status says what.
    Told,
}

impl EventKind {
    fn code(self) -> u16 {
        match self {
            EventKind::Submitted => 1,
            EventKind::Finished => 2,
            EventKind::TimedOut => 3,
            EventKind::ReceiverWaited => 4,
            EventKind::Placed => 5,
            EventKind::LineSaid => 6,
            EventKind::Told => 7,
            EventKind::Delivered(opcode) => 0x100 | opcode as u16,
            EventKind::Unclaimed(opcode) => 0x200 | opcode as u16,
            EventKind::Lost(opcode) => 0x300 | opcode as u16,
            EventKind::Dropped(why, opcode) => drop_code(why) | opcode as u16,
        }
    }
}

/// Codes of the reasons to drop a packet. They stay as they are, whatever marks are added.
fn drop_code(why: Mark) -> u16 {
    match why {
        Mark::PacketCorrupted => 0x400,
        Mark::PacketTruncated => 0x500,
        Mark::PortWasDown => 0x600,
        Mark::StaleAddress => 0x700,
        Mark::NobodyThere => 0x800,
        Mark::BufferOverflow => 0x900,
        _ => 0xf00,
    }
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// Where.
    pub node: u16,
    /// To what: an operation's number, or queue pair and packet sequence number.
    pub object: u64,
    /// What.
    pub kind: EventKind,
    /// Bytes.
    pub len: u32,
    /// Digest of the payload, 0 where there is none.
    pub digest: u64,
    /// How it went.
    pub status: u8,
}

impl From<&Step> for Event {
    #[inline]
    fn from(step: &Step) -> Event {
        Event {
            at: step.at,
            node: step.node,
            object: u64::from(step.qpn) << 32 | u64::from(step.psn),
            kind: match step.kind {
                StepKind::Delivered(opcode) => EventKind::Delivered(opcode),
                StepKind::Unclaimed(opcode) => EventKind::Unclaimed(opcode),
                StepKind::Lost(opcode) => EventKind::Lost(opcode),
                StepKind::Dropped(why, opcode) => EventKind::Dropped(why, opcode),
                StepKind::TimedOut => EventKind::TimedOut,
                StepKind::ReceiverWaited => EventKind::ReceiverWaited,
                StepKind::Placed => EventKind::Placed,
            },
            len: step.len,
            digest: step.digest,
            status: step.syndrome,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { at, node, object, kind, len, digest, status } = self;
        write!(
            f,
            "{at}: node {node}, {kind:?}, object {object:#x}, {len} bytes, digest {digest:016x}, status {status}"
        )
    }
}

/// The running hash of a trace.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hash: u64,
    events: u64,
    checkpoints: Vec<u64>,
    /// Which events to keep whole, by number.
    window: Range<u64>,
    kept: Vec<Event>,
}

impl Trace {
    /// A trace that keeps the events of `window` whole; an empty window keeps none.
    pub fn keeping(window: Range<u64>) -> Trace {
        Trace { window, ..Trace::default() }
    }

    /// Adds an event.
    #[inline]
    pub fn push(&mut self, event: &Event) {
        self.hash = mix(self.hash, event);
        if self.window.contains(&self.events) {
            self.kept.push(*event);
        }
        self.events += 1;
        if self.events.is_multiple_of(CHECKPOINT_EVENTS) {
            self.checkpoints.push(self.hash);
        }
    }

    /// The hash of everything so far; the number of events is part of it.
    pub fn hash(&self) -> u64 {
        fold(self.hash ^ 0xa076_1d64_78bd_642f, self.events ^ 0xe703_7ed1_a0b4_28db)
    }

    /// How many events.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The hash after every [`CHECKPOINT_EVENTS`] events.
    pub fn checkpoints(&self) -> &[u64] {
        &self.checkpoints
    }

    /// The events of the window that [`keeping`](Self::keeping) was given.
    pub fn kept(&self) -> &[Event] {
        &self.kept
    }

    /// The numbers of the events among which two traces first differ; `None` when they are equal.
    pub fn differs_within(&self, other: &Trace) -> Option<Range<u64>> {
        if self.hash() == other.hash() {
            return None;
        }
        let equal =
            self.checkpoints.iter().zip(&other.checkpoints).take_while(|(a, b)| a == b).count() as u64;
        let first = equal * CHECKPOINT_EVENTS;
        Some(first..first + CHECKPOINT_EVENTS)
    }

    /// Of two traces that kept the same window: the number of the first event that differs, and what each had there.
    pub fn first_difference(&self, other: &Trace) -> Option<(u64, Option<Event>, Option<Event>)> {
        (0..self.kept.len().max(other.kept.len()))
            .map(|i| (self.window.start + i as u64, self.kept.get(i).copied(), other.kept.get(i).copied()))
            .find(|(_, a, b)| a != b)
    }
}

/// Feeds all fields of an event into the hash: two folded multiplications, each of 128 bits of input.
#[inline]
fn mix(hash: u64, event: &Event) -> u64 {
    let Event { at, node, object, kind, len, digest, status } = event;
    // Kind has 12 bits, status 8, node 10 (a fabric has at most 1024 nodes), length 32: all fit one word.
    let packed =
        u64::from(*len) << 32 | u64::from(kind.code()) << 20 | u64::from(*node) << 8 | u64::from(*status);
    let hash = fold(hash ^ at.0 ^ 0x2d35_8dcc_aa6c_78a5, packed ^ 0x8bb8_4b93_962e_acc9).wrapping_add(hash);
    fold(hash ^ object ^ 0x4b33_a62e_d433_d4a3, digest ^ 0x4d5a_2da5_1de1_aa47).wrapping_add(hash)
}

/// Both halves of the 128-bit product, so that high bits of the input reach low bits of the output.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let kind = EventKind::Delivered(Opcode::ReadRequest);
        Event { at: Instant(1000), node: 1, object: 17 << 32 | 5, kind, len: 4096, digest: 99, status: 0 }
    }

    fn hash_of(events: &[Event]) -> u64 {
        let mut trace = Trace::default();
        events.iter().for_each(|e| trace.push(e));
        trace.hash()
    }

    #[test]
    fn changing_any_field_of_any_event_changes_the_hash() {
        let base: Vec<Event> = (0..5).map(|i| Event { at: Instant(i * 100), ..event() }).collect();
        let whole = hash_of(&base);
        let mutations: [fn(&mut Event); 16] = [
            |e| e.at.0 += 1,
            |e| e.at.0 ^= 1 << 63,
            |e| e.node += 1,
            |e| e.node ^= 1 << 9,
            |e| e.object += 1,
            |e| e.object ^= 1 << 63,
            |e| e.kind = EventKind::Delivered(Opcode::ReadResponseOnly),
            |e| e.kind = EventKind::Lost(Opcode::ReadRequest),
            |e| e.kind = EventKind::Finished,
            |e| e.kind = EventKind::Dropped(Mark::PacketCorrupted, Opcode::ReadRequest),
            |e| e.kind = EventKind::Dropped(Mark::NobodyThere, Opcode::ReadRequest),
            |e| e.len += 1,
            |e| e.len ^= 1 << 31,
            |e| e.digest ^= 1,
            |e| e.digest ^= 1 << 63,
            |e| e.status ^= 0x80,
        ];
        for (number, mutate) in mutations.iter().enumerate() {
            for at in 0..base.len() {
                let mut other = base.clone();
                mutate(&mut other[at]);
                assert_ne!(hash_of(&other), whole, "mutation {number} of event {at}");
            }
        }
    }

    #[test]
    fn fields_do_not_stand_in_for_each_other() {
        // Each pair moves a one from one field to its neighbour in the packed word.
        let with = |change: fn(&mut Event)| {
            let mut e = Event {
                at: Instant(0),
                node: 0,
                object: 0,
                kind: EventKind::TimedOut,
                len: 0,
                digest: 0,
                status: 0,
            };
            change(&mut e);
            hash_of(&[e])
        };
        let hashes = [
            with(|_| ()),
            with(|e| e.status = 1),
            with(|e| e.node = 1),
            with(|e| e.node = 256),
            with(|e| e.kind = EventKind::ReceiverWaited),
            with(|e| e.len = 1),
            with(|e| e.object = 1),
            with(|e| e.digest = 1),
            with(|e| e.at = Instant(1)),
        ];
        for (i, a) in hashes.iter().enumerate() {
            assert!(hashes[i + 1..].iter().all(|b| a != b), "{i}");
        }
    }

    #[test]
    fn reasons_to_drop_a_packet_are_told_apart() {
        let reasons = [
            Mark::PacketCorrupted,
            Mark::PacketTruncated,
            Mark::PortWasDown,
            Mark::StaleAddress,
            Mark::NobodyThere,
            Mark::BufferOverflow,
        ];
        let last = Opcode::FetchAdd;
        let mut codes: Vec<u16> = reasons.map(|why| EventKind::Dropped(why, last).code()).to_vec();
        codes.extend(
            [EventKind::Delivered(last), EventKind::Unclaimed(last), EventKind::Lost(last)]
                .map(EventKind::code),
        );
        let distinct: std::collections::BTreeSet<u16> = codes.iter().copied().collect();
        assert_eq!(distinct.len(), codes.len(), "{codes:x?}");
        assert!(codes.iter().all(|code| *code < 1 << 12), "{codes:x?}");
    }

    #[test]
    fn order_repetition_and_loss_change_the_hash() {
        let (a, b) = (event(), Event { len: 1, ..event() });
        let hashes = [hash_of(&[a, b]), hash_of(&[b, a]), hash_of(&[a, a, b]), hash_of(&[a]), hash_of(&[])];
        for (i, one) in hashes.iter().enumerate() {
            assert!(hashes[i + 1..].iter().all(|other| one != other));
        }
    }

    #[test]
    fn the_hash_is_the_same_on_every_machine() {
        assert_eq!(hash_of(&[event()]), 13_203_342_574_203_964_569, "pinned");
    }

    #[test]
    fn the_first_different_event_is_named() {
        let run = |odd: u64, window| {
            let mut trace = Trace::keeping(window);
            for i in 0..5000 {
                trace.push(&Event { len: if i == odd { 1 } else { 0 }, at: Instant(i), ..event() });
            }
            trace
        };
        let (a, b) = (run(3000, 0..0), run(u64::MAX, 0..0));
        assert_eq!(a.differs_within(&a.clone()), None);
        let window = a.differs_within(&b).expect("they differ");
        assert_eq!(window, 2048..3072);
        let (a, b) = (run(3000, window.clone()), run(u64::MAX, window));
        let (number, one, other) = a.first_difference(&b).expect("they differ");
        assert_eq!((number, one.map(|e| e.len), other.map(|e| e.len)), (3000, Some(1), Some(0)));
    }
}
