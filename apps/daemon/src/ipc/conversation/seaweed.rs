//! SeaweedFS's protocol: one reply for each request, in order.

use wavetank_contract::Instant;
use wavetank_ipc::seaweed::{
    Capabilities, Chunk, CompleteRead, CompleteReadResponse, ErrorReply, FRAME_BYTES_MAX, Frames, Message,
    Pong, StartRead, StartReadResponse, decode, encode, frame,
};
use wavetank_ipc::{Category, Code, SERVER_BYTES_MAX};

use super::{Common, Origin};
use crate::ipc::sessions::{SessionId, Unfilled, uuid_from, uuid_text};
use crate::reads::{Found, NotRead, Wanted};

#[derive(Debug)]
pub(super) struct Seaweed {
    frames: Frames,
    /// A read is under way: what was said after it waits.
    busy: bool,
}

impl Seaweed {
    pub(super) fn new(first: &[u8]) -> Seaweed {
        let mut frames = Frames::new(FRAME_BYTES_MAX);
        frames.heard(first);
        Seaweed { frames, busy: false }
    }

    pub(super) fn heard(&mut self, bytes: &[u8]) {
        self.frames.heard(bytes);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    pub(super) fn waiting(&self) -> usize {
        self.frames.waiting()
    }

    /// Whether part of a frame is here that would be looked at if it were whole.
    pub(super) fn is_half(&self) -> bool {
        self.frames.is_half() && !self.busy
    }

    pub(super) fn pump(&mut self, common: &mut Common, now: Instant) -> bool {
        let mut any = false;
        while !self.busy && common.may_go_on() {
            let Some(chunk) = self.frames.take() else { break };
            any = true;
            match chunk {
                Chunk::Body(body) => match decode(&body) {
                    Ok(message) => self.request(common, now, message),
                    Err(error) => refuse(common, Code::Malformed, error.to_string()),
                },
                Chunk::TooLong(len) => {
                    let text = format!("a request of {len} bytes; it has at most {FRAME_BYTES_MAX}");
                    refuse(common, Code::TooLong, text);
                }
            }
        }
        any
    }

    fn request(&mut self, common: &mut Common, now: Instant, message: Message) {
        let all = &common.commons.0;
        match message {
            Message::Ping(ping) => {
                all.stats.pings.add(1);
                let server_timestamp_ns = all.unix_ns(now);
                let pong = Pong {
                    client_timestamp_ns: ping.timestamp_ns,
                    server_timestamp_ns,
                    server_rtt_ns: server_timestamp_ns.saturating_sub(ping.timestamp_ns),
                };
                reply(common, &Message::Pong(pong));
            }
            Message::GetCapabilities(_) => {
                all.stats.capabilities.add(1);
                let capabilities = Message::GetCapabilitiesResponse(Box::new(capabilities(common)));
                reply(common, &capabilities);
            }
            Message::StartRead(start) => self.start(common, now, start),
            Message::CompleteRead(done) => complete(common, now, &done),
            Message::Pong(_)
            | Message::GetCapabilitiesResponse(_)
            | Message::StartReadResponse(_)
            | Message::CompleteReadResponse(_)
            | Message::Error(_) => {
                refuse(common, Code::Unsupported, "this is a reply; requests are taken here".into());
            }
        }
    }

    fn start(&mut self, common: &mut Common, now: Instant, start: StartRead) {
        let all = common.commons.0.clone();
        all.stats.reads_seaweed.add(1);
        if start.size > all.about.transfer_bytes_max {
            return refuse_read(common, &NotRead::TooLong { limit: all.about.transfer_bytes_max });
        }
        let server = start.server.filter(|server| !server.is_empty());
        if server.as_ref().is_some_and(|server| server.len() > SERVER_BYTES_MAX) {
            let text = format!("a server's name has at most {SERVER_BYTES_MAX} bytes");
            return refuse(common, Code::Malformed, text);
        }
        let limits = &all.limits;
        let asked_ns = match start.timeout_secs {
            0 => limits.session_ns,
            secs => secs.saturating_mul(1_000_000_000),
        };
        // At least 1 ms, as upstream has it, and no more than is configured.
        let expires = now + asked_ns.clamp(1_000_000, limits.session_ns_max.max(1_000_000));
        let id = all.session_id();
        if !all.sessions.borrow_mut().begin(id, common.peer.uid, expires, limits.sessions_max) {
            all.stats.error_named("TooManySessions");
            let code = format!("TooManySessions {{ max_sessions: {} }}", limits.sessions_max);
            let text = format!("{} sessions are open; complete some, or wait for them", limits.sessions_max);
            return error(common, code, text, Category::Session);
        }
        all.stats.sessions.add(1);
        all.stats.sessions_now.add(1);
        let wanted = Wanted {
            volume: start.volume_id,
            needle: start.needle_id,
            cookie: start.cookie,
            offset: start.offset,
            len: start.size,
            server,
            deadline: expires.min(now + limits.read_ns_max),
        };
        common.read(Origin::Session(id), wanted);
        self.busy = true;
    }

    pub(super) fn answered(
        &mut self,
        common: &mut Common,
        now: Instant,
        id: SessionId,
        answer: Result<Found, NotRead>,
    ) {
        self.busy = false;
        let all = common.commons.0.clone();
        let found = match answer {
            Ok(found) => found,
            Err(why) => {
                let session = all.sessions.borrow_mut().end(id);
                if let Some(session) = session {
                    all.session_over(&session);
                }
                return refuse_read(common, &why);
            }
        };
        let generation = all.loan();
        let (shm_offset, lent) = (found.offset(), u64::from(found.lease.is_some()));
        let (len, whole_length, expected_crc) = (found.len, found.whole_len, found.crc32c);
        let expires = match all.sessions.borrow().get(id) {
            Some(session) if session.expires > now => session.expires,
            _ => return expired(common, &uuid_text(id)),
        };
        let filled = all.sessions.borrow_mut().fill(id, found, common.limits().loan_bytes_max);
        match filled {
            Ok(()) => all.stats.leases_now.add(lent),
            Err(Unfilled::Gone) => return expired(common, &uuid_text(id)),
            Err(Unfilled::Full) => return self.answered(common, now, id, Err(NotRead::Busy)),
        }
        let response = StartReadResponse {
            session_id: uuid_text(id),
            local_addr: shm_offset,
            local_key: generation as u32,
            transfer_size: len,
            expected_crc,
            expires_at_ns: all.unix_ns(expires),
            shm_path: all.shm_path.clone(),
            shm_offset,
            shm_length: len,
            generation,
            simulated: all.about.simulated,
            whole_length,
        };
        reply(common, &Message::StartReadResponse(Box::new(response)));
    }
}

fn complete(common: &mut Common, now: Instant, done: &CompleteRead) {
    let all = common.commons.0.clone();
    all.stats.completes.add(1);
    let uid = common.peer.uid;
    let known = uuid_from(&done.session_id).and_then(|id| {
        let sessions = all.sessions.borrow();
        let session = sessions.get(id)?;
        // One whose bytes are not here yet has told nobody its name.
        session.found.as_ref()?;
        Some((id, session.uid, session.expires))
    });
    let Some((id, owner, expires)) = known else {
        all.stats.error_named("SessionNotFound");
        let name = shown(&done.session_id);
        let code = format!("SessionNotFound {{ session_id: {name:?} }}");
        let text = format!("there is no session {name:?}; it was completed, has expired, or never was");
        return error(common, code, text, Category::Session);
    };
    if owner != uid {
        all.stats.error_named("PermissionDenied");
        let text = format!("the session belongs to user {owner}, not to user {uid}");
        return error(common, "PermissionDenied".into(), text, Category::Security);
    }
    let session = all.sessions.borrow_mut().end(id);
    let Some(session) = session else { return };
    all.session_over(&session);
    if expires <= now {
        all.stats.sessions_expired.add(1);
        return expired(common, &done.session_id);
    }
    let Some(found) = &session.found else { return };
    let wrong = verdict(done, found);
    all.stats.completes_failed.add(u64::from(wrong.is_some()));
    all.stats.releases.add(1);
    let response = CompleteReadResponse {
        success: wrong.is_none(),
        server_crc: Some(found.crc32c),
        message: Some(wrong.unwrap_or_else(|| "the session is complete".into())),
    };
    reply(common, &Message::CompleteReadResponse(response));
}

/// What is wrong with what a client says it got.
fn verdict(done: &CompleteRead, found: &Found) -> Option<String> {
    if !done.success {
        let why = done.error_message.as_deref().map_or("no reason", shown);
        return Some(format!("the client gave up: {why}"));
    }
    if done.bytes_transferred != found.len {
        return Some(format!("{} bytes were lent, the client has {}", found.len, done.bytes_transferred));
    }
    match done.client_crc {
        Some(crc) if crc != found.crc32c => {
            Some(format!("CRC32-C of what was lent is {:08x}, the client has {crc:08x}", found.crc32c))
        }
        _ => None,
    }
}

/// As much of a client's text as is told back.
fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(64)]
}

fn expired(common: &mut Common, name: &str) {
    common.commons.stats().error_named("SessionExpired");
    let name = shown(name);
    let code = format!("SessionExpired {{ session_id: {name:?} }}");
    error(common, code, format!("the time of session {name:?} is over; start again"), Category::Session);
}

fn capabilities(common: &Common) -> Capabilities {
    let all = &common.commons.0;
    let about = &all.about;
    Capabilities {
        device_name: about.device.clone(),
        vendor_id: about.vendor_id,
        max_transfer_size: about.transfer_bytes_max,
        max_sessions: all.limits.sessions_max as u64,
        active_sessions: all.sessions.borrow().len() as u64,
        port_gid: about.port_gid.clone(),
        port_lid: about.port_lid,
        supported_auth: vec!["peercred".into()],
        version: env!("CARGO_PKG_VERSION").into(),
        real_rdma: !about.simulated,
        simulated: about.simulated,
        backend: about.backend.clone(),
    }
}

fn reply(common: &mut Common, message: &Message) {
    let framed = frame(&encode(message));
    common.outbox.put(None, |to| to.extend(framed));
}

fn refuse_read(common: &mut Common, why: &NotRead) {
    refuse(common, why.code(), why.to_string());
}

fn refuse(common: &mut Common, code: Code, text: String) {
    common.commons.stats().error(code);
    error(common, code.name().into(), text, code.category());
}

fn error(common: &mut Common, code: String, message: String, category: Category) {
    let (recoverable, category) = (category.is_recoverable(), category.name().into());
    reply(common, &Message::Error(ErrorReply { code, message, category, recoverable }));
}
