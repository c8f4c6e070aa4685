//! A conversation that is driven by hand.

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wavetank_contract::{Instant, Others, Pages, SharedMemory};
use wavetank_daemon::bench::Pattern;
use wavetank_daemon::ipc::{Ask, ClientLimits, Commons, Conversation, Passed, Peer, ReadKey};
use wavetank_daemon::reads::{Reads as _, Wanted};
use wavetank_ipc::native::{Frames, FromClient, FromEngine, Hello, MAGIC, VERSION_MAX, VERSION_MIN};
use wavetank_ipc::ring::{ClientRing, EngineRing, ring_bytes};
use wavetank_ipc::seaweed::{self, Chunk, Message, REPLY_BYTES_MAX, decode, frame, request_as_go};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const UNIX_NS: u64 = 1_700_000_000_000_000_000;

/// An engine's half that answers what is ready and keeps what is not.
pub(crate) struct House {
    pub(crate) commons: Commons,
    pub(crate) pattern: Pattern,
}

impl House {
    pub(crate) fn new(limits: ClientLimits) -> House {
        let pattern = Pattern::new(8, true).unwrap();
        let mut word = 0u64;
        let chance = move || {
            word += 1;
            word.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        let arena = pattern.arena().len();
        let commons = Commons::new(pattern.about(), arena, limits, "/proc/1/fd/3".into(), UNIX_NS, chance);
        House { commons, pattern }
    }

    pub(crate) fn talk(&self, uid: u32) -> Talk<'_> {
        let peer = Peer { pid: 1, uid, gid: uid };
        Talk {
            house: self,
            conversation: Conversation::new(self.commons.clone(), peer),
            kept: BTreeMap::new(),
            ring: None,
            said: Vec::new(),
            native: Frames::default(),
            passed: Vec::new(),
        }
    }

    /// Loans that are counted, and memory that is out.
    pub(crate) fn out(&self) -> (u64, u32) {
        (self.commons.stats().leases_now.get(), self.pattern.leases())
    }
}

pub(crate) struct Talk<'a> {
    house: &'a House,
    pub(crate) conversation: Conversation,
    /// Reads that were not ready.
    pub(crate) kept: BTreeMap<ReadKey, Wanted>,
    pub(crate) ring: Option<ClientRing>,
    /// Bytes that the engine said and nobody has looked at.
    pub(crate) said: Vec<u8>,
    native: Frames,
    pub(crate) passed: Vec<Passed>,
}

impl Talk<'_> {
    /// Says bytes, and lets the engine do what is ready.
    pub(crate) fn hear(&mut self, at: u64, bytes: &[u8]) {
        self.conversation.heard(Instant(at), bytes);
        self.drive(at);
    }

    pub(crate) fn asks(&mut self, at: u64) {
        while let Some(ask) = self.conversation.take_ask() {
            match ask {
                Ask::Read { key, wanted } => {
                    // Late volumes and the one that never answers are kept.
                    if wanted.volume >= 1_000 {
                        self.kept.insert(key, wanted);
                        continue;
                    }
                    self.answer(at, key, wanted);
                }
                Ask::Cancel { key } => drop(self.kept.remove(&key)),
                Ask::Ring { entries } => {
                    let bytes = ring_bytes(entries).unwrap();
                    let memory = SharedMemory::create("ring", bytes, Others::Write, Pages::Plain).unwrap();
                    let fd = memory.fd().try_clone_to_owned().unwrap();
                    self.conversation.ring_made(Ok(EngineRing::create(memory, entries).unwrap()));
                    self.ring = ClientRing::attach(SharedMemory::attach(fd, 1 << 30).unwrap());
                }
            }
        }
    }

    pub(crate) fn drive(&mut self, at: u64) {
        self.asks(at);
        while let Some((passed, bytes)) = self.conversation.to_send() {
            self.passed.extend(passed);
            self.said.extend_from_slice(bytes);
            let count = bytes.len();
            self.conversation.sent(Instant(at), count);
            self.asks(at);
        }
    }

    pub(crate) fn answer(&mut self, at: u64, key: ReadKey, wanted: Wanted) {
        let wanted = Wanted { volume: 3, ..wanted };
        let reading = pin!(self.house.pattern.read(wanted));
        let mut reading = reading;
        let Poll::Ready(answer) = reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("what the pattern has is ready")
        };
        self.conversation.answered(Instant(at), key, answer);
    }

    pub(crate) fn tick(&mut self, at: u64) {
        self.conversation.tick(Instant(at));
        self.drive(at);
    }

    /// What the engine said in the upstream protocol.
    pub(crate) fn messages(&mut self) -> Vec<Message> {
        let mut frames = seaweed::Frames::new(REPLY_BYTES_MAX);
        frames.heard(&std::mem::take(&mut self.said));
        let mut all = Vec::new();
        while let Some(chunk) = frames.take() {
            let Chunk::Body(body) = chunk else { panic!("a reply that is too long") };
            all.push(decode(&body).unwrap());
        }
        assert!(!frames.is_half());
        all
    }

    /// A request of the upstream protocol, and its reply.
    pub(crate) fn call(&mut self, at: u64, message: &Message) -> Message {
        self.hear(at, &frame(&request_as_go(message).unwrap()));
        let mut replies = self.messages();
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies.remove(0)
    }

    /// Says hello in our own protocol.
    pub(crate) fn greet(&mut self, at: u64) -> FromEngine {
        let hello = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            features: u64::MAX,
            name: "test".into(),
        };
        let mut bytes = MAGIC.to_vec();
        FromClient::Hello(hello).encode(0, &mut bytes);
        self.hear(at, &bytes);
        self.replies().remove(0).1
    }

    pub(crate) fn say(&mut self, at: u64, id: u64, message: &FromClient) {
        let mut bytes = Vec::new();
        message.encode(id, &mut bytes);
        self.hear(at, &bytes);
    }

    pub(crate) fn replies(&mut self) -> Vec<(u64, FromEngine)> {
        self.native.heard(&std::mem::take(&mut self.said));
        let mut all = Vec::new();
        while let Some(frame) = self.native.take().unwrap() {
            all.push((frame.id, FromEngine::decode(&frame).unwrap()));
        }
        all
    }

    pub(crate) fn turn_ring(&mut self, at: u64) {
        self.conversation.turn_ring(Instant(at));
        self.drive(at);
    }
}
