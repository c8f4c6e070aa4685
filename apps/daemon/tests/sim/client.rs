//! A client: what both of the protocols that it may speak have in common.

mod native;
mod seaweed;

use std::collections::{BTreeMap, VecDeque};

use wavetank_contract::chance::{Choices as _, Seeded, Site};
use wavetank_contract::{Instant, SharedMemory};
use wavetank_ipc::{Code, Details};

pub(crate) use self::native::Native;
pub(crate) use self::seaweed::Seaweed;
use crate::house::limits;
use crate::lie::Lie;
use crate::net::MS;
use crate::seen::Seen;
use crate::volumes::{
    DAMAGED, EXPIRED, FAR, HOME, LONG, NAMED, NEEDLES, NOBODYS, ODD, Outcome, TRANSFER_BYTES_MAX, Volumes,
    Wish, cookie,
};
use crate::wire::{Heard, Wire};

/// What answers may be late by: the way there and back, with a socket that is full a few times.
pub(crate) const MARGIN_NS: u64 = 20 * MS;

/// What a client knows of the world.
pub(crate) struct Scene<'a, 'b> {
    pub(crate) now: Instant,
    pub(crate) volumes: &'a Volumes,
    pub(crate) seen: &'a mut Seen<'b>,
    pub(crate) lie: Lie,
    /// Which life the daemon has.
    pub(crate) life: u64,
}

/// A client, whatever it speaks.
#[derive(Debug)]
pub(crate) enum Client {
    Native(Box<Native>),
    Seaweed(Box<Seaweed>),
}

/// What has to be read, one after another, and is there.
pub(crate) type Errand = Option<VecDeque<(u32, u64)>>;

/// A connection of a client's, and what it does with it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) uid: u32,
    pub(crate) dice: Seeded,
    /// The connection, if there is one.
    pub(crate) wire: Option<u64>,
    /// It does so much more of its own accord.
    pub(crate) left: u64,
    pub(crate) next_at: Instant,
    /// It reads nothing before this: what it asked for before is told later than it should be.
    pub(crate) deaf_until: Instant,
    /// It said what ends a connection, which has to be over by then.
    pub(crate) doomed: Option<Instant>,
    /// The arena, as the client sees it.
    pub(crate) view: Option<SharedMemory>,
    /// The daemon's life that it is of.
    pub(crate) life: u64,
    pub(crate) errand: Errand,
    /// What it was lent is lent no more, which it does not know yet: the engine ended its connection, or ended.
    is_void: bool,
    replies: u64,
}

/// Bytes that are lent to a client.
#[derive(Debug)]
pub(crate) struct Loan {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) crc: u32,
    pub(crate) generation: u64,
}

impl Line {
    fn new(number: u64, uid: u32, seed: u64, left: u64, errand: Errand) -> Line {
        let mut dice = Seeded::new(seed);
        let next_at = Instant(dice.choose(Site::Swarm, 10 * MS));
        Line {
            number,
            uid,
            dice,
            wire: None,
            left,
            next_at,
            deaf_until: Instant::ZERO,
            doomed: None,
            view: None,
            life: 0,
            errand,
            is_void: false,
            replies: 0,
        }
    }

    pub(crate) fn draw(&mut self, bound: u64) -> u64 {
        self.dice.choose(Site::Swarm, bound)
    }

    fn say(&mut self, now: Instant, wire: &mut Wire, bytes: &[u8]) {
        wire.up.put(now, &mut self.dice, bytes, Vec::new());
    }

    /// The bytes of a loan, as they are now.
    fn look(&self, offset: u64, len: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len as usize];
        if len > 0 {
            let view = self.view.as_ref()?;
            offset.checked_add(len).filter(|end| *end <= view.len())?;
            view.read(offset, &mut bytes);
        }
        Some(bytes)
    }

    /// Holds that what is lent is what it was when it was lent.
    fn check_loan(&self, scene: &mut Scene<'_, '_>, loan: &Loan) {
        if self.is_void {
            return;
        }
        let is = self.look(loan.offset, loan.len).map(|bytes| crc32c::crc32c(&bytes));
        if is != Some(loan.crc) {
            scene.seen.wrong(
                scene.now,
                self.number,
                format_args!("what was lent is not what it was: {loan:?}"),
            );
        }
        scene.seen.tell("client: loan looked at again");
    }

    /// Draws what is wanted, and for how long.
    fn wish(&mut self) -> Wish {
        let volume = [FAR, FAR, FAR, FAR, HOME, HOME, ODD, NOBODYS][self.draw(8) as usize];
        let needle = match volume {
            ODD => [DAMAGED, EXPIRED, LONG, NAMED, NAMED][self.draw(5) as usize],
            HOME | FAR if self.draw(24) == 0 => LONG,
            // Some more often than others, so that they are granted; and one that never was.
            _ => 1 + self.draw(NEEDLES + 1).min(self.draw(NEEDLES + 1)),
        };
        let wrong = u32::from(self.draw(16) == 0);
        let (offset, len) = match self.draw(10) {
            0..=4 => (0, 0),
            5..=6 => (self.draw(400), 1 + self.draw(5000)),
            7..=8 => (self.draw(20_000), self.draw(300)),
            _ => (0, TRANSFER_BYTES_MAX - 1 + self.draw(3)),
        };
        Wish { volume, needle, cookie: cookie(volume, needle) ^ wrong, offset, len }
    }

    /// The next needle of an errand.
    fn errand_wish(&mut self) -> Option<Wish> {
        let (volume, needle) = self.errand.as_ref()?.front().copied()?;
        Some(Wish { volume, needle, cookie: cookie(volume, needle), offset: 0, len: 0 })
    }

    /// Holds what was told of a wish against the truth.
    fn judge(&mut self, scene: &mut Scene<'_, '_>, wish: &Wish, from: Instant, outcome: &Outcome) {
        let Scene { now, volumes, seen, .. } = scene;
        if let Outcome::Found { bytes, crc, .. } = outcome
            && self.is_void
            && *crc != crc32c::crc32c(bytes)
        {
            // Which the checksum says: it asks again elsewhere.
            return seen.tell("client: told of what is lent no more");
        }
        let (what, sum) = match outcome {
            Outcome::Found { bytes, crc, .. } => (format!("found {}", bytes.len()), *crc),
            Outcome::Refused { code, .. } => (format!("refused {code}"), 0),
        };
        seen.line(*now, self.number, format_args!("{wish:?} from {}: {what} {sum:08x}", from.0));
        match outcome {
            Outcome::Found { .. } => seen.tell("read: found"),
            Outcome::Refused { code, .. } => seen.tell(&format!("read: {code}")),
        }
        if let Err(why) = volumes.judge(wish, from, *now, outcome) {
            seen.wrong(*now, self.number, format_args!("{wish:?} from {from}: {why}"));
        }
        if let Some(errand) = &mut self.errand {
            errand.pop_front();
            let there = volumes.len_now(wish.volume, wish.needle);
            let fits = match outcome {
                Outcome::Found { whole_len, .. } => there == Some(*whole_len),
                Outcome::Refused { code: Code::Missing | Code::Deleted, .. } => there.is_none(),
                Outcome::Refused { .. } => false,
            };
            if fits {
                seen.tell("healed: as it is");
            } else {
                seen.wrong(*now, self.number, format_args!("after all was healed {wish:?}: {outcome:?}"));
            }
        }
    }

    /// How often a reply is to be heard, after whatever is planted.
    fn times(&mut self, lie: Lie) -> usize {
        self.replies += 1;
        match (lie, self.replies % 5) {
            (Lie::LosesReply, 4) => 0,
            (Lie::SaysTwice, 4) => 2,
            _ => 1,
        }
    }

    /// Whether something is overdue that was told at `from` and may take so long.
    fn is_overdue(&self, now: Instant, from: Instant, may_take_ns: u64) -> bool {
        from.max(self.deaf_until) + (may_take_ns + MARGIN_NS) < now
    }

    /// When it is.
    fn overdue_at(&self, from: Instant, may_take_ns: u64) -> Instant {
        from.max(self.deaf_until) + (may_take_ns + MARGIN_NS + 1)
    }

    /// It says what ends a connection, at once or when nothing follows. It has to hear of that, so it must not be deaf.
    fn doom(&mut self, now: Instant) {
        self.doomed = Some(now.max(self.deaf_until) + (limits().half_frame_ns + MARGIN_NS));
    }

    /// The connection is over.
    fn lose(&mut self, scene: &mut Scene<'_, '_>) {
        scene.seen.tell(if self.doomed.is_some() {
            "client: ended as it should be"
        } else {
            "client: ended"
        });
        self.wire = None;
        self.doomed = None;
        self.next_at = scene.now + (1 + self.draw(8)) * MS;
    }

    /// The client goes.
    fn leave(&mut self, now: Instant, wire: &mut Wire) {
        wire.up.close(now);
        wire.client_gone = true;
        self.wire = None;
        self.doomed = None;
        self.next_at = now + (1 + self.draw(8)) * MS;
    }
}

impl Client {
    pub(crate) fn native(number: u64, seed: u64, left: u64, ring: bool, errand: Errand) -> Client {
        Client::Native(Box::new(Native::new(Line::new(number, 1000, seed, left, errand), ring)))
    }

    pub(crate) fn seaweed(number: u64, seed: u64, left: u64, errand: Errand) -> Client {
        let uid = 1000 + number as u32;
        Client::Seaweed(Box::new(Seaweed::new(Line::new(number, uid, seed, left, errand))))
    }

    pub(crate) fn line(&self) -> &Line {
        match self {
            Client::Native(native) => &native.line,
            Client::Seaweed(seaweed) => &seaweed.line,
        }
    }

    pub(crate) fn line_mut(&mut self) -> &mut Line {
        match self {
            Client::Native(native) => &mut native.line,
            Client::Seaweed(seaweed) => &mut seaweed.line,
        }
    }

    /// Whether it wants a connection now.
    pub(crate) fn calls(&self, now: Instant) -> bool {
        let line = self.line();
        let wants = line.left > 0 || line.errand.as_ref().is_some_and(|errand| !errand.is_empty());
        line.wire.is_none() && wants && line.next_at <= now
    }

    /// Whether it has done all it wanted.
    pub(crate) fn is_done(&self) -> bool {
        let line = self.line();
        line.left == 0 && line.errand.as_ref().is_none_or(VecDeque::is_empty)
    }

    /// It is let in. `arena` is what it can open by its path.
    pub(crate) fn connect(
        &mut self,
        number: u64,
        wire: &mut Wire,
        arena: &SharedMemory,
        scene: &mut Scene<'_, '_>,
    ) {
        self.line_mut().wire = Some(number);
        self.line_mut().deaf_until = Instant::ZERO;
        scene.seen.tell("client: connected");
        match self {
            Client::Native(native) => native.greet(wire, scene),
            Client::Seaweed(seaweed) => seaweed.arrive(arena, scene),
        }
    }

    /// It goes, whatever it has.
    pub(crate) fn leave(&mut self, wires: &mut BTreeMap<u64, Wire>, scene: &mut Scene<'_, '_>) {
        if let Some(wire) = self.line().wire.and_then(|number| wires.get_mut(&number)) {
            self.line_mut().leave(scene.now, wire);
        }
        self.forget(scene);
    }

    fn forget(&mut self, scene: &mut Scene<'_, '_>) {
        match self {
            Client::Native(native) => native.forget(),
            Client::Seaweed(seaweed) => seaweed.forget(scene),
        }
    }

    /// Lets it hear and do what is due. Answers when to come back.
    pub(crate) fn turn(&mut self, wires: &mut BTreeMap<u64, Wire>, scene: &mut Scene<'_, '_>) -> Instant {
        let now = scene.now;
        let Some(wire) = self.line().wire.and_then(|number| wires.get_mut(&number)) else {
            return if self.is_done() { Instant::FAR } else { self.line().next_at };
        };
        let (is_closed, is_deaf) = (wire.down.is_closed(), self.line().deaf_until > now);
        let (life, is_native) = (scene.life, matches!(self, Client::Native(_)));
        let line = self.line_mut();
        // Sessions outlive connections.
        line.is_void = line.life != life || (is_native && is_closed);
        while !is_deaf && let Some(heard) = wire.down.hear(now) {
            match heard {
                Heard::Bytes(bytes, descriptors) => match self {
                    Client::Native(native) => native.hear(&bytes, descriptors, wire, scene),
                    Client::Seaweed(seaweed) => seaweed.hear(&bytes, scene),
                },
                Heard::End => {
                    wire.up.close(now);
                    wire.client_gone = true;
                    self.line_mut().lose(scene);
                    self.forget(scene);
                    return self.line().next_at;
                }
            }
        }
        let overdue = match self {
            Client::Native(native) => {
                if !is_deaf {
                    native.hear_bell(wire, scene);
                }
                native.look_at_clock(scene)
            }
            Client::Seaweed(seaweed) => seaweed.look_at_clock(scene),
        };
        let line = self.line_mut();
        if let Some(at) = line.doomed.filter(|at| *at < now) {
            line.doomed = None;
            scene.seen.wrong(now, line.number, format_args!("the connection was to be over by {at}"));
        }
        if !self.is_done() && self.line().next_at <= now {
            match self {
                Client::Native(native) => native.act(wire, scene),
                Client::Seaweed(seaweed) => seaweed.act(wire, scene),
            }
        }
        let line = self.line();
        let heard = match self {
            _ if is_deaf => line.deaf_until,
            Client::Native(_) => wire.down.next_at().min(wire.bell_down.unwrap_or(Instant::FAR)),
            Client::Seaweed(_) => wire.down.next_at(),
        };
        let acts = if self.is_done() { Instant::FAR } else { line.next_at };
        let doomed = line.doomed.map_or(Instant::FAR, |at| at + 1);
        heard.min(acts).min(doomed).min(overdue)
    }
}

/// What was found, as it is to be held against the truth.
fn found(bytes: Vec<u8>, crc: u32, whole_len: u64, details: Option<Details>) -> Outcome {
    Outcome::Found { bytes, crc, whole_len, details }
}
