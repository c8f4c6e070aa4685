//! A client of our own protocol, over the socket and through a ring.

mod acting;
mod ring;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;

use wavetank_contract::{Instant, SharedMemory};
use wavetank_ipc::native::{Frames, FromClient, FromEngine, Hello, MAGIC, VERSION_MAX, VERSION_MIN};
use wavetank_ipc::ring::ClientRing;
use wavetank_ipc::{Code, Found};

use super::{Line, Loan, Scene, found};
use crate::lie::Lie;
use crate::volumes::{Outcome, Wish};
use crate::wire::Wire;

#[derive(Debug)]
enum What {
    Read(Wish),
    Pong(u64),
    Capabilities,
    Ring,
    Named,
    /// Nothing but a refusal.
    Refusal(Code),
}

#[derive(Debug)]
struct Asked {
    what: What,
    from: Instant,
    may_take_ns: u64,
    cancelled: bool,
    /// How often its id was used: each time is answered.
    times: u32,
}

/// A client of our own protocol.
#[derive(Debug)]
pub(crate) struct Native {
    pub(super) line: Line,
    frames: Frames,
    descriptors: VecDeque<OwnedFd>,
    greeted: bool,
    wants_ring: bool,
    next_id: u64,
    asked: BTreeMap<u64, Asked>,
    submitted: BTreeMap<u64, Asked>,
    loans: Vec<Loan>,
    ring: Option<ClientRing>,
}

impl Native {
    pub(super) fn new(line: Line, wants_ring: bool) -> Native {
        Native {
            line,
            frames: Frames::default(),
            descriptors: VecDeque::new(),
            greeted: false,
            wants_ring,
            next_id: 1,
            asked: BTreeMap::new(),
            submitted: BTreeMap::new(),
            loans: Vec::new(),
            ring: None,
        }
    }

    pub(super) fn forget(&mut self) {
        self.frames = Frames::default();
        self.descriptors.clear();
        self.greeted = false;
        self.asked.clear();
        self.submitted.clear();
        self.loans.clear();
        self.ring = None;
        self.line.view = None;
    }

    pub(super) fn greet(&mut self, wire: &mut Wire, scene: &mut Scene<'_, '_>) {
        let mut bytes = MAGIC.to_vec();
        let is_strange = self.line.errand.is_none() && self.line.draw(16) == 0;
        let (version_min, version_max) = if is_strange { (7, 9) } else { (VERSION_MIN, VERSION_MAX) };
        let hello = Hello { version_min, version_max, features: u64::MAX, name: "sim".into() };
        FromClient::Hello(hello).encode(0, &mut bytes);
        self.line.say(scene.now, wire, &bytes);
        if is_strange {
            self.line.doom(scene.now);
        }
    }

    fn say(&mut self, wire: &mut Wire, scene: &Scene<'_, '_>, id: u64, message: &FromClient) {
        let mut bytes = Vec::new();
        message.encode(id, &mut bytes);
        self.line.say(scene.now, wire, &bytes);
    }

    fn ask(
        &mut self,
        wire: &mut Wire,
        scene: &Scene<'_, '_>,
        message: &FromClient,
        what: What,
        may_take_ns: u64,
    ) {
        let id = self.next_id;
        self.next_id += 1;
        self.asked.insert(id, Asked { what, from: scene.now, may_take_ns, cancelled: false, times: 1 });
        self.say(wire, scene, id, message);
    }

    pub(super) fn hear(
        &mut self,
        bytes: &[u8],
        descriptors: Vec<OwnedFd>,
        wire: &mut Wire,
        scene: &mut Scene<'_, '_>,
    ) {
        self.descriptors.extend(descriptors);
        self.frames.heard(bytes);
        loop {
            let frame = match self.frames.take() {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(long) => {
                    return scene.seen.wrong(
                        scene.now,
                        self.line.number,
                        format_args!("a frame of {long:?}"),
                    );
                }
            };
            match FromEngine::decode(&frame) {
                Ok(message) => {
                    let times =
                        if self.asked.contains_key(&frame.id) { self.line.times(scene.lie) } else { 1 };
                    let id = if scene.lie == Lie::SaysOtherId && frame.id > 3 {
                        frame.id | 1 << 40
                    } else {
                        frame.id
                    };
                    for _ in 0..times {
                        self.told(id, message.clone(), wire, scene);
                    }
                }
                Err(error) => scene.seen.wrong(scene.now, self.line.number, error),
            }
        }
    }

    /// A reply came.
    fn told(&mut self, id: u64, message: FromEngine, wire: &mut Wire, scene: &mut Scene<'_, '_>) {
        if id == 0 {
            return self.told_of_connection(&message, scene);
        }
        let Some(asked) = self.asked.remove(&id) else {
            let what = format_args!("an answer to what was not asked: {id}, {message:?}");
            return scene.seen.wrong(scene.now, self.line.number, what);
        };
        self.look_at_time(&asked, id, scene);
        match (&asked.what, message) {
            (_, FromEngine::Refused { code: Code::WrongName, .. }) if asked.times > 1 => {
                scene.seen.tell("native: id that was in use");
            }
            (What::Read(wish), FromEngine::Found(told)) => {
                let (wish, from) = (wish.clone(), asked.from);
                self.lent(&wish, from, *told, scene);
            }
            (What::Read(wish), FromEngine::Refused { code, detail, .. }) => {
                self.refused(&wish.clone(), &asked, code, detail, scene);
            }
            (What::Pong(word), FromEngine::Pong(told)) if *word == told => scene.seen.tell("native: pong"),
            (What::Capabilities, FromEngine::Capabilities(_)) => scene.seen.tell("native: capabilities"),
            (What::Named, FromEngine::Named) => scene.seen.tell("native: named"),
            (What::Ring, FromEngine::Ring(_)) if self.ring.is_none() => {
                let memory =
                    self.descriptors.pop_front().and_then(|fd| SharedMemory::attach(fd, 1 << 24).ok());
                self.ring = memory.and_then(ClientRing::attach);
                if self.ring.is_none() {
                    scene.seen.wrong(scene.now, self.line.number, "a ring without its memory");
                }
                scene.seen.tell("native: ring");
                self.take_ring(wire, scene);
            }
            (What::Ring, FromEngine::Refused { code: Code::WrongName, .. }) => {
                scene.seen.tell("native: second ring");
            }
            (What::Refusal(code), FromEngine::Refused { code: told, .. }) if *code == told => {
                scene.seen.tell(&format!("native: refused {code}"));
            }
            (_, message) => {
                scene.seen.wrong(scene.now, self.line.number, format_args!("{asked:?} was told {message:?}"));
            }
        }
        if asked.times > 1 {
            self.asked.insert(id, Asked { times: asked.times - 1, ..asked });
        }
    }

    fn told_of_connection(&mut self, message: &FromEngine, scene: &mut Scene<'_, '_>) {
        match message {
            FromEngine::Welcome(_) if !self.greeted => {
                self.greeted = true;
                self.line.view =
                    self.descriptors.pop_front().and_then(|fd| SharedMemory::attach(fd, 1 << 30).ok());
                self.line.life = scene.life;
                if self.line.view.is_none() {
                    scene.seen.wrong(scene.now, self.line.number, "a welcome without the arena");
                }
            }
            FromEngine::Refused { code, .. } if self.line.doomed.is_some() => {
                scene.seen.tell(&format!("native: ended for {code}"));
            }
            other => {
                scene.seen.wrong(scene.now, self.line.number, format_args!("of the connection: {other:?}"))
            }
        }
    }

    fn look_at_time(&self, asked: &Asked, id: u64, scene: &mut Scene<'_, '_>) {
        if self.line.is_overdue(scene.now, asked.from, asked.may_take_ns) {
            let what = format_args!("an answer, but not by its time: {id}, {asked:?}");
            scene.seen.wrong(scene.now, self.line.number, what);
        }
    }

    fn lent(&mut self, wish: &Wish, from: Instant, told: Found, scene: &mut Scene<'_, '_>) {
        let Found { offset, len, generation, whole_len, crc32c, path, details } = told;
        scene.seen.tell(&format!("path: {path:?}"));
        let Some(bytes) = self.line.look(offset, len) else {
            let what = format_args!("{len} bytes at {offset}, which are not in the arena");
            return scene.seen.wrong(scene.now, self.line.number, what);
        };
        self.line.judge(scene, wish, from, &found(bytes, crc32c, whole_len, Some(details)));
        if (generation == 0) != (len == 0) {
            scene.seen.wrong(scene.now, self.line.number, format_args!("loan {generation} of {len} bytes"));
        }
        if generation > 0 {
            if !scene.seen.is_new(format!("loan {} {generation}", self.line.life)) {
                scene.seen.wrong(scene.now, self.line.number, format_args!("loan {generation}, once more"));
            }
            self.loans.push(Loan { offset, len, crc: crc32c, generation });
        }
    }

    fn refused(&mut self, wish: &Wish, asked: &Asked, code: Code, detail: u64, scene: &mut Scene<'_, '_>) {
        if code == Code::Cancelled && asked.cancelled {
            scene.seen.tell("read: CANCELLED");
            return scene.seen.line(scene.now, self.line.number, format_args!("cancelled"));
        }
        self.line.judge(scene, wish, asked.from, &Outcome::Refused { code, detail });
    }

    /// What should have come by now. Answers when the next thing should have.
    pub(super) fn look_at_clock(&mut self, scene: &mut Scene<'_, '_>) -> Instant {
        let Native { line, asked, submitted, .. } = self;
        let mut next = Instant::FAR;
        for all in [asked, submitted] {
            all.retain(|id, asked| {
                if line.is_overdue(scene.now, asked.from, asked.may_take_ns) {
                    scene.seen.wrong(
                        scene.now,
                        line.number,
                        format_args!("no answer by its time: {id}, {asked:?}"),
                    );
                    return false;
                }
                next = next.min(line.overdue_at(asked.from, asked.may_take_ns));
                true
            });
        }
        next
    }
}
