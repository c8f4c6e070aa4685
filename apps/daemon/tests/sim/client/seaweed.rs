//! A client of SeaweedFS's protocol: requests as its Go client writes them, replies in order, sessions that outlive connections.

use std::collections::VecDeque;

use wavetank_contract::{Instant, SharedMemory};
use wavetank_ipc::seaweed::{
    Chunk, CompleteRead, CompleteReadResponse, ErrorReply, Frames, GetCapabilities, Message, Ping,
    REPLY_BYTES_MAX, StartRead, StartReadResponse, decode, frame, request_as_go,
};

use super::{Line, Loan, Scene, found};
use crate::house::limits;
use crate::net::MS;
use crate::rig::EPOCH_NS;
use crate::volumes::{Outcome, Wish};
use crate::wire::Wire;
use wavetank_ipc::Code;

#[derive(Debug)]
enum What {
    Start(Wish),
    /// A session of its own, and whether what it says of it is right.
    Complete {
        loan: Option<Session>,
        is_right: bool,
    },
    /// A session of somebody else's, or of nobody's.
    Strange,
    Pong(u64),
    Capabilities,
    Malformed,
}

#[derive(Debug)]
struct Asked {
    what: What,
    from: Instant,
}

/// A session with the bytes that are lent.
#[derive(Debug)]
struct Session {
    name: String,
    expires: Instant,
    life: u64,
    loan: Loan,
}

/// A client of SeaweedFS's protocol.
#[derive(Debug)]
pub(crate) struct Seaweed {
    pub(super) line: Line,
    frames: Frames,
    asked: VecDeque<Asked>,
    sessions: Vec<Session>,
    /// When the last answer came: what was asked after it had to wait for it.
    answered_at: Instant,
}

/// How long a request may take: a session's time is all that a read has.
fn may_take_ns(what: &What) -> u64 {
    let limits = limits();
    if matches!(what, What::Start(_)) { limits.session_ns_max.min(limits.read_ns_max) } else { 0 }
}

impl Seaweed {
    pub(super) fn new(line: Line) -> Seaweed {
        Seaweed {
            line,
            frames: Frames::new(REPLY_BYTES_MAX),
            asked: VecDeque::new(),
            sessions: Vec::new(),
            answered_at: Instant::ZERO,
        }
    }

    pub(super) fn forget(&mut self, _scene: &mut Scene<'_, '_>) {
        self.frames = Frames::new(REPLY_BYTES_MAX);
        self.asked.clear();
    }

    pub(super) fn arrive(&mut self, arena: &SharedMemory, scene: &Scene<'_, '_>) {
        let descriptor = arena.fd().try_clone_to_owned().unwrap();
        self.line.view = SharedMemory::attach(descriptor, 1 << 30).ok();
        self.line.life = scene.life;
        self.sessions.retain(|session| session.life == scene.life);
    }

    fn ask(&mut self, wire: &mut Wire, scene: &Scene<'_, '_>, message: &Message, what: What) {
        let body = request_as_go(message).expect("the Go client says it");
        self.asked.push_back(Asked { what, from: scene.now });
        self.line.say(scene.now, wire, &frame(&body));
    }

    pub(super) fn hear(&mut self, bytes: &[u8], scene: &mut Scene<'_, '_>) {
        self.frames.heard(bytes);
        while let Some(chunk) = self.frames.take() {
            let told = match &chunk {
                Chunk::Body(body) => decode(body).map_err(|error| error.to_string()),
                Chunk::TooLong(len) => Err(format!("a reply of {len} bytes")),
            };
            match told {
                Ok(message) => {
                    for _ in 0..self.line.times(scene.lie) {
                        self.told(message.clone(), scene);
                    }
                }
                Err(why) => scene.seen.wrong(scene.now, self.line.number, why),
            }
        }
    }

    fn since(&self, asked: &Asked) -> Instant {
        asked.from.max(self.answered_at)
    }

    fn told(&mut self, message: Message, scene: &mut Scene<'_, '_>) {
        let Some(asked) = self.asked.pop_front() else {
            let what = format_args!("an answer to what was not asked: {message:?}");
            return scene.seen.wrong(scene.now, self.line.number, what);
        };
        if self.line.is_overdue(scene.now, self.since(&asked), may_take_ns(&asked.what)) {
            scene.seen.wrong(
                scene.now,
                self.line.number,
                format_args!("an answer, but not by its time: {asked:?}"),
            );
        }
        self.answered_at = scene.now;
        match (asked.what, message) {
            (What::Start(wish), Message::StartReadResponse(told)) => {
                self.lent(&wish, asked.from, *told, scene)
            }
            (What::Start(wish), Message::Error(error)) => self.refused(&wish, asked.from, &error, scene),
            (What::Complete { loan, is_right }, Message::CompleteReadResponse(told)) => {
                self.completed(loan, is_right, &told, scene);
            }
            (What::Complete { loan, .. }, Message::Error(error)) => {
                // Its time may be over when the engine hears of it, and is when nobody had it any more.
                let over = loan.is_none_or(|session| session.expires <= scene.now);
                let known =
                    ["SessionNotFound", "SessionExpired"].iter().any(|name| error.code.starts_with(name));
                scene.seen.tell("seaweed: session was over");
                if !over || !known {
                    scene.seen.wrong(
                        scene.now,
                        self.line.number,
                        format_args!("a session of its own: {error:?}"),
                    );
                }
            }
            (What::Strange, Message::Error(error)) => {
                let known = ["SessionNotFound", "PermissionDenied"]
                    .iter()
                    .find(|name| error.code.starts_with(**name));
                match known {
                    Some(name) => scene.seen.tell(&format!("seaweed: {name}")),
                    None => {
                        scene.seen.wrong(scene.now, self.line.number, format_args!("not its own: {error:?}"))
                    }
                }
            }
            (What::Pong(word), Message::Pong(told)) if told.client_timestamp_ns == word => {
                scene.seen.tell("seaweed: pong");
            }
            (What::Capabilities, Message::GetCapabilitiesResponse(told)) => {
                scene.seen.tell("seaweed: capabilities");
                if told.active_sessions > told.max_sessions {
                    scene.seen.wrong(scene.now, self.line.number, "more sessions than there may be");
                }
            }
            (What::Malformed, Message::Error(error)) if error.code == Code::Malformed.name() => {
                scene.seen.tell("seaweed: refused MALFORMED");
            }
            (what, message) => {
                scene.seen.wrong(scene.now, self.line.number, format_args!("{what:?} was told {message:?}"));
            }
        }
    }

    fn lent(&mut self, wish: &Wish, from: Instant, told: StartReadResponse, scene: &mut Scene<'_, '_>) {
        let StartReadResponse {
            session_id,
            shm_offset,
            shm_length,
            expected_crc,
            whole_length,
            generation,
            ..
        } = told;
        let consistent = told.transfer_size == shm_length
            && told.local_addr == shm_offset
            && told.local_key == generation as u32
            && told.shm_path == "arena";
        let expires = Instant(told.expires_at_ns.saturating_sub(EPOCH_NS));
        if !consistent || expires < from || expires > scene.now + limits().session_ns_max {
            scene.seen.wrong(
                scene.now,
                self.line.number,
                format_args!("a reply that makes no sense: {session_id}"),
            );
        }
        scene.seen.tell("seaweed: found");
        // Who hears of it late may find the place lent to somebody else.
        if expires > scene.now {
            match self.line.look(shm_offset, shm_length) {
                Some(bytes) => {
                    self.line.judge(scene, wish, from, &found(bytes, expected_crc, whole_length, None));
                }
                None => scene.seen.wrong(scene.now, self.line.number, "bytes that are not in the arena"),
            }
        }
        if !scene.seen.is_new(format!("session {session_id}")) {
            scene.seen.wrong(scene.now, self.line.number, format_args!("session {session_id}, once more"));
        }
        scene.seen.sessions.push((self.line.uid, session_id.clone()));
        let loan = Loan { offset: shm_offset, len: shm_length, crc: expected_crc, generation };
        self.sessions.push(Session { name: session_id, expires, life: self.line.life, loan });
    }

    fn refused(&mut self, wish: &Wish, from: Instant, error: &ErrorReply, scene: &mut Scene<'_, '_>) {
        if let Some(code) = Code::ALL.iter().find(|code| code.name() == error.code) {
            return self.line.judge(scene, wish, from, &Outcome::Refused { code: *code, detail: 0 });
        }
        let ours = self.line.errand.is_none();
        match ["TooManySessions", "SessionExpired"].iter().find(|name| error.code.starts_with(**name)) {
            Some(name) if ours => scene.seen.tell(&format!("seaweed: {name}")),
            _ => scene.seen.wrong(scene.now, self.line.number, format_args!("{wish:?}: {error:?}")),
        }
        scene.seen.line(scene.now, self.line.number, format_args!("{}", error.code));
    }

    fn completed(
        &mut self,
        loan: Option<Session>,
        is_right: bool,
        told: &CompleteReadResponse,
        scene: &mut Scene<'_, '_>,
    ) {
        let crc = loan.map(|session| session.loan.crc);
        if told.success != is_right || told.server_crc != crc {
            let what = format_args!("completed with {crc:?}, right: {is_right}: {told:?}");
            scene.seen.wrong(scene.now, self.line.number, what);
        }
        scene.seen.tell(if is_right {
            "seaweed: completed"
        } else {
            "seaweed: completed with what is wrong"
        });
    }

    pub(super) fn look_at_clock(&mut self, scene: &mut Scene<'_, '_>) -> Instant {
        let Some(first) = self.asked.front() else { return Instant::FAR };
        let (since, may_take_ns) = (self.since(first), may_take_ns(&first.what));
        if self.line.is_overdue(scene.now, since, may_take_ns) {
            scene.seen.wrong(scene.now, self.line.number, format_args!("no answer by its time: {first:?}"));
            self.asked.clear();
            return Instant::FAR;
        }
        self.line.overdue_at(since, may_take_ns)
    }

    fn start(&mut self, wish: Wish, wire: &mut Wire, scene: &Scene<'_, '_>) {
        let start = StartRead {
            volume_id: wish.volume,
            needle_id: wish.needle,
            cookie: wish.cookie,
            offset: wish.offset,
            size: wish.len,
            timeout_secs: self.line.draw(3),
            ..StartRead::default()
        };
        self.ask(wire, scene, &Message::StartRead(start), What::Start(wish));
    }

    /// Gives back what it has, and says what it has of it.
    fn complete(&mut self, place: usize, wire: &mut Wire, scene: &mut Scene<'_, '_>) {
        let session = self.sessions.swap_remove(place);
        if session.expires > scene.now {
            self.line.check_loan(scene, &session.loan);
        }
        let Loan { len, crc, .. } = session.loan;
        let mut done = CompleteRead {
            session_id: session.name.clone(),
            success: true,
            bytes_transferred: len,
            client_crc: Some(crc),
            error_message: None,
        };
        let mut is_right = true;
        match self.line.draw(8) {
            0 => (done.client_crc, is_right) = (Some(crc ^ 1), false),
            1 => (done.bytes_transferred, is_right) = (len + 1, false),
            2 => (done.success, is_right) = (false, false),
            3 => done.client_crc = None,
            _ => {}
        }
        self.ask(wire, scene, &Message::CompleteRead(done), What::Complete { loan: Some(session), is_right });
    }

    pub(super) fn act(&mut self, wire: &mut Wire, scene: &mut Scene<'_, '_>) {
        self.line.next_at = scene.now + self.line.draw(9) * MS + 1;
        if self.line.doomed.is_some() {
            return;
        }
        if self.line.errand.is_some() {
            if !self.asked.is_empty() {
            } else if !self.sessions.is_empty() {
                self.complete(0, wire, scene);
            } else if let Some(wish) = self.line.errand_wish() {
                self.start(wish, wire, scene);
            }
            return;
        }
        self.line.left -= 1;
        match self.line.draw(20) {
            0..=8 => {
                let wish = self.line.wish();
                self.start(wish, wire, scene);
            }
            9..=12 => {
                if !self.sessions.is_empty() {
                    let place = self.line.draw(self.sessions.len() as u64) as usize;
                    self.complete(place, wire, scene);
                }
            }
            13 => {
                let word = self.line.draw(u64::MAX);
                self.ask(
                    wire,
                    scene,
                    &Message::Ping(Ping { timestamp_ns: word, client_id: None }),
                    What::Pong(word),
                );
                let get = Message::GetCapabilities(GetCapabilities::default());
                self.ask(wire, scene, &get, What::Capabilities);
            }
            14 | 15 => {
                let others: Vec<&String> = scene
                    .seen
                    .sessions
                    .iter()
                    .filter(|(uid, _)| *uid != self.line.uid)
                    .map(|(_, name)| name)
                    .collect();
                let name = others.last().map_or_else(|| "no-such-session".to_owned(), |name| (*name).clone());
                let done = CompleteRead { session_id: name, success: true, ..CompleteRead::default() };
                self.ask(wire, scene, &Message::CompleteRead(done), What::Strange);
            }
            16 => {
                self.asked.push_back(Asked { what: What::Malformed, from: scene.now });
                self.line.say(scene.now, wire, &frame(b"\x93\x01\x02\x03"));
            }
            17 => {
                if self.asked.is_empty() {
                    scene.seen.tell("client: half a frame");
                    self.line.doom(scene.now);
                    self.line.say(scene.now, wire, &[200, 0, 0, 0, 1]);
                }
            }
            18 => {
                scene.seen.tell("client: deaf for a while");
                self.line.deaf_until = scene.now + (5 + self.line.draw(70)) * MS;
            }
            _ => {
                if self.line.draw(2) == 0 {
                    scene.seen.tell("client: died");
                    self.line.leave(scene.now, wire);
                    self.forget(scene);
                }
            }
        }
    }
}
