//! A client of our own protocol, over the socket and through a ring.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;

use wavetank_contract::{Instant, SharedMemory};
use wavetank_ipc::native::{
    Frames, FromClient, FromEngine, Hello, MAGIC, Ring, SERVER_INDEX_MAX, VERSION_MAX, VERSION_MIN,
};
use wavetank_ipc::ring::{Answer, ClientRing, Completion, Submission, Task};
use wavetank_ipc::{Code, Found, Wanted};

use super::{Line, Loan, Scene, found};
use crate::house::limits;
use crate::lie::Lie;
use crate::net::MS;
use crate::volumes::{Outcome, Wish};
use crate::wire::{Wire, ring, rings};

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

    pub(super) fn hear_bell(&mut self, wire: &mut Wire, scene: &mut Scene<'_, '_>) {
        if rings(&mut wire.bell_down, scene.now) {
            scene.seen.tell("ring: the client was woken");
            self.take_ring(wire, scene);
        }
    }

    /// Takes what is in the ring, and sleeps when there is nothing.
    fn take_ring(&mut self, wire: &mut Wire, scene: &mut Scene<'_, '_>) {
        loop {
            let Some(there) = &mut self.ring else { return };
            there.wake();
            let mut completions = Vec::new();
            while let Some(completion) = there.take() {
                completions.push(completion);
            }
            if there.engine_waits() {
                ring(&mut wire.bell_up, scene.now, &mut self.line.dice);
            }
            let sleeps = there.sleep();
            for completion in completions {
                self.completed(completion, scene);
            }
            if sleeps {
                return;
            }
        }
    }

    fn completed(&mut self, completion: Option<Completion>, scene: &mut Scene<'_, '_>) {
        let Some(Completion { name, answer }) = completion else {
            return scene.seen.wrong(scene.now, self.line.number, "a completion that makes no sense");
        };
        let Some(asked) = self.submitted.remove(&name) else {
            let what = format_args!("an answer to what was not asked: submission {name}, {answer:?}");
            return scene.seen.wrong(scene.now, self.line.number, what);
        };
        self.look_at_time(&asked, name, scene);
        match (&asked.what, answer) {
            (What::Pong(_), Answer::Pong) => scene.seen.tell("ring: pong"),
            (What::Read(wish), Answer::Found(told)) => {
                scene.seen.tell("ring: found");
                self.lent(&wish.clone(), asked.from, *told, scene);
            }
            (What::Read(wish), Answer::Refused { code, detail }) => {
                scene.seen.tell("ring: refused");
                self.refused(&wish.clone(), &asked, code, detail, scene);
            }
            (What::Refusal(code), Answer::Refused { code: told, .. }) if *code == told => {
                scene.seen.tell(&format!("ring: refused {code}"));
            }
            (_, answer) => {
                scene.seen.wrong(scene.now, self.line.number, format_args!("{asked:?} was told {answer:?}"));
            }
        }
    }

    fn submit(&mut self, wire: &mut Wire, scene: &Scene<'_, '_>, task: Task, asked: Option<(What, u64)>) {
        let Some(there) = &mut self.ring else { return };
        let name = self.next_id;
        self.next_id += 1;
        match there.submit(Submission { name, task }) {
            Ok(sleeps) => {
                if sleeps {
                    ring(&mut wire.bell_up, scene.now, &mut self.line.dice);
                }
                if let Some((what, may_take_ns)) = asked {
                    let asked = Asked { what, from: scene.now, may_take_ns, cancelled: false, times: 1 };
                    self.submitted.insert(name, asked);
                }
            }
            Err(_) => scene.seen.tell("ring: full"),
        }
    }

    /// Gives a loan back, by whichever way.
    fn release(&mut self, place: usize, wire: &mut Wire, scene: &mut Scene<'_, '_>) {
        let loan = self.loans.swap_remove(place);
        self.line.check_loan(scene, &loan);
        let Loan { offset, generation, .. } = loan;
        if self.ring.is_some() && self.line.draw(2) == 0 {
            self.submit(wire, scene, Task::Release { offset, generation }, None);
        } else {
            self.say(wire, scene, 0, &FromClient::Release { offset, generation });
        }
    }

    fn read(&mut self, wish: Wish, timeout_ns: u64, wire: &mut Wire, scene: &Scene<'_, '_>) {
        let limits = limits();
        let may_take_ns = if timeout_ns == 0 { limits.read_ns } else { timeout_ns.min(limits.read_ns_max) };
        let Wish { volume, needle, cookie, offset, len } = wish;
        if self.ring.is_some() && self.wants_ring {
            let server = if self.line.errand.is_none() && self.line.draw(16) == 0 { 77 } else { 0 };
            let task = Task::Read { volume, needle, cookie, offset, len, timeout_ns, server };
            let what = if server > 0 { What::Refusal(Code::WrongName) } else { What::Read(wish) };
            return self.submit(wire, scene, task, Some((what, may_take_ns)));
        }
        let wanted = Wanted { volume, needle, cookie, offset, len, server: None, timeout_ns };
        self.ask(wire, scene, &FromClient::Read(wanted), What::Read(wish), may_take_ns);
    }

    /// Does one thing of its own accord.
    pub(super) fn act(&mut self, wire: &mut Wire, scene: &mut Scene<'_, '_>) {
        self.line.next_at = scene.now + self.line.draw(9) * MS + 1;
        if !self.greeted || self.line.doomed.is_some() {
            return;
        }
        if self.wants_ring && self.ring.is_none() && self.asked.is_empty() {
            return self.ask(wire, scene, &FromClient::GetRing(Ring { entries: 4 }), What::Ring, 0);
        }
        if self.line.errand.is_some() {
            while !self.loans.is_empty() {
                self.release(0, wire, scene);
            }
            if self.asked.is_empty()
                && self.submitted.is_empty()
                && let Some(wish) = self.line.errand_wish()
            {
                self.read(wish, 0, wire, scene);
            }
            return;
        }
        self.line.left -= 1;
        match self.line.draw(24) {
            0..=10 => {
                for _ in 0..=self.line.draw(3) {
                    let wish = self.line.wish();
                    let timeout_ns = match self.line.draw(4) {
                        0 => 0,
                        1 => u64::MAX,
                        _ => 1 + self.line.draw(100 * MS),
                    };
                    self.read(wish, timeout_ns, wire, scene);
                }
            }
            11..=14 => {
                for _ in 0..self.loans.len() {
                    let place = self.line.draw(self.loans.len() as u64) as usize;
                    self.release(place, wire, scene);
                }
            }
            15 | 16 => self.cancel(wire, scene),
            17 => {
                let word = self.line.draw(u64::MAX);
                if self.ring.is_some() {
                    self.submit(wire, scene, Task::Ping, Some((What::Pong(0), 0)));
                    self.submit(wire, scene, Task::Unknown(99), Some((What::Refusal(Code::Unsupported), 0)));
                }
                self.ask(wire, scene, &FromClient::Ping(word), What::Pong(word), 0);
            }
            18 => self.ask(wire, scene, &FromClient::GetCapabilities, What::Capabilities, 0),
            19 => self.err(wire, scene),
            20 => {
                let index = 1 + self.line.draw(3) as u16;
                let named = FromClient::NameServer { index, server: "0:8080".into() };
                self.ask(wire, scene, &named, What::Named, 0);
                let index = SERVER_INDEX_MAX + 1;
                let nameless = FromClient::NameServer { index, server: "0:8080".into() };
                self.ask(wire, scene, &nameless, What::Refusal(Code::WrongName), 0);
                if self.ring.is_some() {
                    self.ask(wire, scene, &FromClient::GetRing(Ring { entries: 4 }), What::Ring, 0);
                }
            }
            21 => {
                // What it never had, or gave back before.
                let (offset, generation) = (self.line.draw(1 << 20), 1 + self.line.draw(1000));
                if self.loans.iter().all(|loan| loan.generation != generation) {
                    self.say(wire, scene, 0, &FromClient::Release { offset, generation });
                }
            }
            22 => {
                scene.seen.tell("client: deaf for a while");
                self.line.deaf_until = scene.now + (5 + self.line.draw(70)) * MS;
            }
            _ => {
                if self.line.draw(3) == 0 {
                    scene.seen.tell("client: died");
                    self.line.leave(scene.now, wire);
                    self.forget();
                }
            }
        }
    }

    fn cancel(&mut self, wire: &mut Wire, scene: &Scene<'_, '_>) {
        let reads = self.asked.iter().filter(|(_, asked)| matches!(asked.what, What::Read(_)));
        let ids: Vec<u64> = reads.map(|(id, _)| *id).chain(self.submitted.keys().copied()).collect();
        let id = if ids.is_empty() { 1 << 50 } else { ids[self.line.draw(ids.len() as u64) as usize] };
        if let Some(asked) = self.submitted.get_mut(&id) {
            asked.cancelled = true;
            return self.submit(wire, scene, Task::Cancel { name: id }, None);
        }
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.cancelled = true;
        }
        self.say(wire, scene, id, &FromClient::Cancel);
    }

    /// Says what is not to be said.
    fn err(&mut self, wire: &mut Wire, scene: &mut Scene<'_, '_>) {
        let header = |len: u32, kind: u16, id: u64| {
            let mut bytes = len.to_le_bytes().to_vec();
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; 2]);
            bytes.extend(id.to_le_bytes());
            bytes
        };
        match self.line.draw(6) {
            0 => {
                scene.seen.tell("client: half a frame");
                self.line.doom(scene.now);
                self.line.say(scene.now, wire, &header(20, 5, 1 << 51)[..9]);
            }
            1 => {
                scene.seen.tell("client: too long a frame");
                self.line.doom(scene.now);
                self.line.say(scene.now, wire, &header(1 << 30, 2, 1 << 52));
            }
            2 => {
                scene.seen.tell("client: second hello");
                self.line.doom(scene.now);
                let hello = Hello { version_min: 1, version_max: 1, features: 0, name: String::new() };
                self.say(wire, scene, 0, &FromClient::Hello(hello));
            }
            3 | 4 => {
                let id = self.next_id;
                self.next_id += 1;
                let what = What::Refusal(Code::Malformed);
                self.asked
                    .insert(id, Asked { what, from: scene.now, may_take_ns: 0, cancelled: false, times: 1 });
                self.line.say(scene.now, wire, &header(0, 900, id));
            }
            _ => {
                // An id that is in use.
                let asked = self.asked.iter_mut().find(|(_, asked)| matches!(asked.what, What::Read(_)));
                if let Some((id, asked)) = asked
                    && let What::Read(wish) = &asked.what
                {
                    asked.times += 1;
                    let (id, Wish { volume, needle, cookie, offset, len }) = (*id, wish.clone());
                    // What it was asked for first may be told yet: as it was then.
                    let since_ns = scene.now.since_ns(asked.from);
                    asked.may_take_ns = since_ns + asked.may_take_ns.max(limits().read_ns);
                    let wanted = Wanted { volume, needle, cookie, offset, len, server: None, timeout_ns: 0 };
                    self.say(wire, scene, id, &FromClient::Read(wanted));
                }
            }
        }
    }
}
