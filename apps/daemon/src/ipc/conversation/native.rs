//! Our own protocol: request ids, replies in any order, loans.

use std::collections::BTreeMap;

use wavetank_contract::{Instant, Lease};
use wavetank_ipc::native::{
    FEATURES, Frames, FromClient, FromEngine, Hello, SERVER_INDEX_MAX, VERSION_MAX, VERSION_MIN, Welcome,
};
use wavetank_ipc::ring::{ENTRIES_MAX, ENTRIES_MIN, EngineRing};
use wavetank_ipc::{Code, Found as Told};

use super::{Ask, Common, Origin, Over, ReadKey};
use crate::ipc::outbox::Passed;
use crate::reads::{Found, NotRead, Wanted};

#[derive(Debug)]
pub(super) struct Native {
    frames: Frames,
    greeted: bool,
    /// Reads under way, by the id of their request.
    requests: BTreeMap<u64, ReadKey>,
    /// What the client has, by the number of the loan.
    /// By name: where the client finds the bytes, and the memory they are in.
    loans: BTreeMap<u64, (u64, Lease)>,
    lent_bytes: u64,
    pub(super) servers: BTreeMap<u16, String>,
    /// The request for a ring that is being made.
    ring_asked: Option<u64>,
    pub(super) ring: Option<EngineRing>,
    /// Reads under way, by the name of their submission.
    pub(super) submissions: BTreeMap<u64, ReadKey>,
    /// The client sleeps, and there is something for it.
    pub(super) ring_wakes: bool,
}

impl Native {
    pub(super) fn new(first: &[u8]) -> Native {
        let mut frames = Frames::default();
        frames.heard(first);
        Native {
            frames,
            greeted: false,
            requests: BTreeMap::new(),
            loans: BTreeMap::new(),
            lent_bytes: 0,
            servers: BTreeMap::new(),
            ring_asked: None,
            ring: None,
            submissions: BTreeMap::new(),
            ring_wakes: false,
        }
    }

    pub(super) fn heard(&mut self, bytes: &[u8]) {
        self.frames.heard(bytes);
    }

    pub(super) fn is_half(&self) -> bool {
        self.frames.waiting() > 0 || !self.greeted
    }

    pub(super) fn loans(&self) -> usize {
        self.loans.len()
    }

    pub(super) fn has_ring(&self) -> bool {
        self.ring.is_some()
    }

    pub(super) fn pump(&mut self, common: &mut Common, now: Instant) -> bool {
        let mut any = false;
        while common.may_go_on() {
            let frame = match self.frames.take() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(long) => {
                    let text = format!(
                        "a frame of {} bytes; it has at most {}",
                        long.len,
                        wavetank_ipc::native::BODY_BYTES_MAX
                    );
                    fatal(common, Code::TooLong, 0, text);
                    break;
                }
            };
            any = true;
            match FromClient::decode(&frame) {
                Ok(message) => self.request(common, now, frame.id, message),
                Err(error) if self.greeted => refuse(common, frame.id, Code::Malformed, 0, error.to_string()),
                Err(error) => fatal(common, Code::Malformed, 0, error.to_string()),
            }
        }
        any
    }

    fn request(&mut self, common: &mut Common, now: Instant, id: u64, message: FromClient) {
        if self.greeted == matches!(message, FromClient::Hello(_)) {
            let text = "a connection begins with one hello, and has no other".into();
            return fatal(common, Code::Malformed, 0, text);
        }
        let stats = common.commons.stats();
        match message {
            FromClient::Hello(hello) => self.greet(common, id, &hello),
            FromClient::Read(wanted) => {
                stats.reads_native.add(1);
                if self.requests.contains_key(&id) {
                    let text = format!("request {id} is under way already; give each another id");
                    return refuse(common, id, Code::WrongName, 0, text);
                }
                let deadline = common.deadline(now, wanted.timeout_ns);
                let wanted = Wanted {
                    volume: wanted.volume,
                    needle: wanted.needle,
                    cookie: wanted.cookie,
                    offset: wanted.offset,
                    len: wanted.len,
                    server: wanted.server,
                    deadline,
                };
                match self.admit(common, &wanted) {
                    Ok(()) => {
                        let key = common.read(Origin::Request(id), wanted);
                        self.requests.insert(id, key);
                    }
                    Err((why, detail)) => refuse(common, id, why.code(), detail, why.to_string()),
                }
            }
            FromClient::Cancel => {
                if let Some(key) = self.requests.get(&id).copied() {
                    self.cancel(common, key);
                }
            }
            FromClient::Release { offset, generation } => self.release(common, offset, generation),
            FromClient::Ping(word) => {
                stats.pings.add(1);
                reply(common, id, None, &FromEngine::Pong(word));
            }
            FromClient::GetCapabilities => {
                stats.capabilities.add(1);
                let welcome = welcome(common, VERSION_MAX, FEATURES);
                reply(common, id, None, &FromEngine::Capabilities(Box::new(welcome)));
            }
            FromClient::GetRing(ring) => {
                if self.ring.is_some() || self.ring_asked.is_some() {
                    let text = "this connection has its ring already".into();
                    return refuse(common, id, Code::WrongName, 0, text);
                }
                let limits = common.limits();
                let entries = ring.entries.min(limits.ring_entries_max).clamp(ENTRIES_MIN, ENTRIES_MAX);
                // At most what was asked for, a power of two.
                let entries =
                    if entries.is_power_of_two() { entries } else { entries.next_power_of_two() / 2 };
                self.ring_asked = Some(id);
                common.asks.push_back(Ask::Ring { entries });
            }
            FromClient::NameServer { index, server } => {
                if index == 0 || index > SERVER_INDEX_MAX {
                    let text = format!("a server's number is from 1 to {SERVER_INDEX_MAX}, not {index}");
                    return refuse(common, id, Code::WrongName, u64::from(SERVER_INDEX_MAX), text);
                }
                self.servers.insert(index, server);
                reply(common, id, None, &FromEngine::Named);
            }
        }
    }

    fn greet(&mut self, common: &mut Common, id: u64, hello: &Hello) {
        let version = hello.version_max.min(VERSION_MAX);
        if version < hello.version_min.max(VERSION_MIN) {
            let text = format!(
                "the client speaks versions {} to {}, the engine {VERSION_MIN} to {VERSION_MAX}",
                hello.version_min, hello.version_max
            );
            let detail = u64::from(VERSION_MAX) << 16 | u64::from(VERSION_MIN);
            return fatal(common, Code::UnknownVersion, detail, text);
        }
        self.greeted = true;
        let welcome = welcome(common, version, hello.features & FEATURES);
        reply(common, id, Some(Passed::Arena), &FromEngine::Welcome(Box::new(welcome)));
    }

    /// Whether one more read may be under way, or why not, and a number to that.
    pub(super) fn admit(&self, common: &Common, wanted: &Wanted) -> Result<(), (NotRead, u64)> {
        let (limits, limit) = (common.limits(), common.commons.0.about.transfer_bytes_max);
        if wanted.len > limit {
            return Err((NotRead::TooLong { limit }, limit));
        }
        let under_way = common.reads.len();
        if under_way >= limits.requests_max as usize {
            return Err((NotRead::Busy, u64::from(limits.requests_max)));
        }
        // Each read that is under way may become a loan.
        if under_way + self.loans.len() >= limits.leases_max as usize {
            return Err((NotRead::Busy, u64::from(limits.leases_max)));
        }
        Ok(())
    }

    /// Ends a read that its asker wants no more, and says so.
    pub(super) fn cancel(&mut self, common: &mut Common, key: ReadKey) {
        let Some(origin) = common.end_read(key) else { return };
        common.commons.stats().cancels.add(1);
        common.asks.push_back(Ask::Cancel { key });
        match origin {
            Origin::Request(id) => self.answered(common, id, Err(NotRead::Cancelled)),
            Origin::Submission(name) => self.ring_answered(common, name, Err(NotRead::Cancelled)),
            Origin::Session(_) => {}
        }
    }

    /// A loan that the client does not have is none of anybody else's: loans are looked up among its own.
    pub(super) fn release(&mut self, common: &Common, offset: u64, generation: u64) {
        let stats = common.commons.stats();
        if self.loans.get(&generation).is_some_and(|(lent, _)| *lent == offset) {
            let lent = self.loans.remove(&generation);
            self.lent_bytes -= lent.map_or(0, |(_, lease)| lease.len());
            stats.leases_now.sub(1);
            stats.releases.add(1);
        } else {
            stats.error(Code::WrongName);
        }
    }

    /// Lends what was found, and says where it lies; unless the client keeps too much already.
    pub(super) fn lend(&mut self, common: &Common, found: Found) -> Result<Told, NotRead> {
        let offset = found.offset();
        let Found { lease, len, whole_len, crc32c, path, details, .. } = found;
        let mut generation = 0;
        if let Some(lease) = lease {
            let lent_bytes = self.lent_bytes + lease.len();
            if self.lent_bytes > 0 && lent_bytes > common.limits().loan_bytes_max {
                return Err(NotRead::Busy);
            }
            self.lent_bytes = lent_bytes;
            generation = common.commons.0.loan();
            common.commons.stats().leases_now.add(1);
            self.loans.insert(generation, (offset, lease));
        }
        Ok(Told { offset, len, generation, whole_len, crc32c, path, details })
    }

    pub(super) fn answered(&mut self, common: &mut Common, id: u64, answer: Result<Found, NotRead>) {
        self.requests.remove(&id);
        match answer.and_then(|found| self.lend(common, found)) {
            Ok(told) => {
                reply(common, id, None, &FromEngine::Found(Box::new(told)));
            }
            Err(why) => refuse(common, id, why.code(), why.detail(), why.to_string()),
        }
    }

    pub(super) fn ring_made(&mut self, common: &mut Common, ring: Result<EngineRing, String>) {
        let Some(id) = self.ring_asked.take() else { return };
        match ring {
            Ok(ring) => {
                let entries = ring.entries();
                common.commons.stats().rings.add(1);
                common.commons.stats().rings_now.add(1);
                self.ring = Some(ring);
                let given = FromEngine::Ring(wavetank_ipc::native::Ring { entries });
                reply(common, id, Some(Passed::Ring), &given);
            }
            Err(text) => refuse(common, id, Code::Busy, 0, text),
        }
    }
}

fn welcome(common: &Common, version: u16, features: u64) -> Welcome {
    let all = &common.commons.0;
    Welcome {
        version,
        features,
        simulated: all.about.simulated,
        arena_bytes: all.arena_bytes,
        transfer_bytes_max: all.about.transfer_bytes_max,
        leases_max: all.limits.leases_max,
        requests_max: all.limits.requests_max,
        device: all.about.device.clone(),
        backend: all.about.backend.clone(),
        engine: env!("CARGO_PKG_VERSION").into(),
    }
}

fn reply(common: &mut Common, id: u64, passed: Option<Passed>, message: &FromEngine) {
    common.outbox.put(passed, |to| message.encode(id, to));
}

fn refuse(common: &mut Common, id: u64, code: Code, detail: u64, text: String) {
    common.commons.stats().error(code);
    reply(common, id, None, &FromEngine::Refused { code, detail, text });
}

/// Says what is wrong, and that nothing more is heard.
pub(super) fn fatal(common: &mut Common, code: Code, detail: u64, text: String) {
    refuse(common, 0, code, detail, text.clone());
    common.end(Over::Protocol(text));
}
