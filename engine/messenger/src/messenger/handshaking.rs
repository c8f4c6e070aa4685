//! Connections being made: lines, hellos, who goes on with what, and which of two calls stands.

use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{Instant, QpState};
use wavetank_engine::RdmaOps;
use wavetank_engine::bootstrap::{BootstrapError, Handshake, Offer, RefusalCode, Role};
use wavetank_engine::memory::MemoryError;
use wavetank_engine::slab::Key;

use super::Messenger;
use crate::connection::{Connection, State};
use crate::credit::{Credits, Window};
use crate::event::{Cause, Event};
use crate::hello::{BUSY, BadHello, Fate, Hello, RACED, VERSIONS};
use crate::line::{Line, LineAsk, LineId};
use crate::policy::Policy;
use crate::step::Step;

/// How often an endpoint that shakes hands is looked at.
const LOOK_NS: u64 = 1_000_000;

impl<C: RdmaOps> Messenger<C> {
    /// A peer has come on a line of its own.
    pub fn line_came(&mut self, now: Instant) -> LineId {
        let deadline = now + self.config.connect_ns;
        let full = self.lines.len() >= self.config.connections_max.saturating_mul(2);
        let line = Line::new(Handshake::new(Role::Listener, self.us.clone()), None, deadline);
        let Some(key) = self.lines.insert(line) else { unreachable!("lines are far fewer than 2^32") };
        self.line_timers.set(key.index, deadline);
        if full {
            // As many as there may be connections may be strangers.
            self.line_failed(key, Cause::TooMany(self.config.connections_max), now);
        }
        LineId(key)
    }

    /// A line that was asked for is there.
    pub fn line_up(&mut self, now: Instant, line: LineId) {
        if !self.halted {
            self.progress(line.0, now);
        }
    }

    /// Bytes of the peer came on a line, cut anywhere.
    pub fn line_heard(&mut self, now: Instant, line: LineId, bytes: &[u8]) {
        let Some(known) = self.lines.get_mut(line.0).filter(|_| !self.halted) else { return };
        if known.established && known.handshake.is_established() {
            // Nothing is said on a line that did its work; who speaks all the same is not listened to.
            return;
        }
        let heard = known.handshake.receive(bytes);
        match heard {
            Ok(()) => self.progress(line.0, now),
            Err(error) => self.line_failed(line.0, error.into(), now),
        }
    }

    /// A line has ended, or was not to be had.
    pub fn line_down(&mut self, now: Instant, line: LineId, why: &str) {
        let Some(known) = self.lines.get_mut(line.0).filter(|_| !self.halted) else { return };
        let cause = match known.established {
            true => Cause::LineClosed,
            false if known.handshake.peer().is_none() && known.connection.is_some() => {
                Cause::Unreached(why.to_owned())
            }
            false => match known.handshake.end() {
                Err(error) => error.into(),
                Ok(()) => Cause::LineClosed,
            },
        };
        self.line_failed(line.0, cause, now);
    }

    /// Dials the peer of a connection.
    pub(super) fn dial(&mut self, key: Key, now: Instant) {
        let deadline = now + self.config.connect_ns;
        let handshake = Handshake::new(Role::Dialer, self.us.clone());
        let Some(line) = self.lines.insert(Line::new(handshake, Some(key), deadline)) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        let to = connection.address.clone().unwrap_or_default();
        connection.state = State::Dialing { line };
        connection.attempts = connection.attempts.saturating_add(1);
        self.timers.remove(key.index);
        self.line_timers.set(line.index, deadline);
        self.pass(Step::Dial, key, now);
        self.ask(LineAsk::Dial { line: LineId(line), to });
    }

    pub(super) fn ask(&mut self, ask: LineAsk) {
        if !self.halted {
            self.asks.push_back(ask);
        }
    }

    /// Hands on what the handshake has to say.
    fn say(&mut self, line: Key) {
        let Some(known) = self.lines.get_mut(line) else { return };
        let bytes = known.handshake.to_send().to_vec();
        known.handshake.sent(bytes.len());
        if !bytes.is_empty() {
            self.ask(LineAsk::Send { line: LineId(line), bytes });
        }
    }

    /// Closes a line; nothing more is heard of it.
    pub(super) fn drop_line(&mut self, line: Key) {
        if self.lines.remove(line).is_some() {
            self.line_timers.remove(line.index);
            self.ask(LineAsk::Close { line: LineId(line) });
        }
    }

    /// Takes a handshake as far as it goes by itself.
    fn progress(&mut self, line: Key, now: Instant) {
        if let Err(cause) = self.try_progress(line, now) {
            self.line_failed(line, cause, now);
        }
    }

    fn try_progress(&mut self, line: Key, now: Instant) -> Result<(), Cause> {
        let Some(known) = self.lines.get_mut(line) else { return Ok(()) };
        let (role, is_introduced, offered) =
            (known.handshake.role(), known.handshake.peer().is_some(), known.ep.is_some());
        match (role, known.connection) {
            (Role::Dialer, Some(key)) if is_introduced && !offered => {
                self.offer(line, key, Fate::Open)?;
                self.pass(Step::OfferEndpoint, key, now);
            }
            (Role::Listener, None) => {
                if let Some(offer) = known.handshake.heard_offer() {
                    let hello = Hello::decode(&offer.blob)?;
                    let (key, fate) = self.meet(line, &hello, now)?;
                    self.pass(Step::Answer, key, now);
                    self.offer(line, key, fate)?;
                    self.pass(Step::AnswerEndpoint, key, now);
                }
            }
            _ => {}
        }
        let Some(known) = self.lines.get_mut(line) else { return Ok(()) };
        if let (Some(key), Some(offer)) = (known.connection, known.handshake.take_offer()) {
            self.join(line, key, &offer, now)?;
        }
        self.become_ready(line, now)?;
        self.say(line);
        let Some(known) = self.lines.get_mut(line) else { return Ok(()) };
        if let (Some(key), true, false) =
            (known.connection, known.handshake.is_established(), known.established)
        {
            self.establish(line, key, now);
        }
        Ok(())
    }

    /// Says who we are and where our endpoint is.
    fn offer(&mut self, line: Key, key: Key, fate: Fate) -> Result<(), Cause> {
        let ep = self.open_endpoint(key)?;
        let Some(address) = self.driver.context().address(ep) else {
            return Err(Cause::Device);
        };
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        let hello = Hello {
            versions: VERSIONS,
            policy: connection.policy,
            fate,
            features: self.us.features,
            name: self.config.name,
            life: connection.life,
            peer_life: connection.peer_life,
            received: planted_received(connection.received),
            credits: self.config.credits,
            window: self.config.window,
            frame_bytes: self.config.frame_bytes,
            message_bytes_max: self.config.message_bytes_max,
            silence_ns: self.config.silence_ns,
        };
        let offer = Offer { endpoints: vec![address], keys: Vec::new(), blob: hello.encode() };
        let Some(known) = self.lines.get_mut(line) else { return Ok(()) };
        known.ep = Some(ep);
        known.fate = fate;
        known.handshake.offer(&offer)?;
        self.say(line);
        Ok(())
    }

    /// The connection with this lossless peer.
    pub(super) fn lossless_peer(&self, name: u64) -> Option<Key> {
        let found = |c: &Connection| {
            // One that is being closed is nobody's any more.
            let closing = matches!(c.state, State::Closing { .. });
            c.policy == Policy::LosslessPeer && c.peer == Some(name) && !closing
        };
        self.connections.iter().find(|(_, connection)| found(connection)).map(|(key, _)| key)
    }

    /// A peer says who it is: which connection of ours that is, and whether both go on where they were.
    fn meet(&mut self, line: Key, hello: &Hello, now: Instant) -> Result<(Key, Fate), Cause> {
        let policy = self.accepts.ok_or(Cause::NotBound)?;
        if !policy.fits(hello.policy) {
            return Err(BadHello::Policy { ours: policy, theirs: hello.policy }.into());
        }
        if hello.name == self.config.name && policy == Policy::LosslessPeer {
            return Err(Cause::SameName(hello.name));
        }
        let mut known = match policy {
            Policy::LosslessPeer => self.lossless_peer(hello.name),
            Policy::StatefulServer => {
                let same = |c: &Connection| c.peer == Some(hello.name) && c.peer_life == hello.life;
                self.connections.iter().find(|(_, connection)| same(connection)).map(|(key, _)| key)
            }
            _ => None,
        };
        if let Some(key) = known.filter(|key| self.is_closing(*key)) {
            // Whoever calls again has heard it, or need not hear it any more.
            self.closed(key);
            known = None;
        }
        let forgotten = if hello.peer_life == 0 { Fate::Open } else { Fate::Forgotten };
        let (key, fate) = match known {
            Some(key) => (key, self.meet_again(key, hello, now)?.unwrap_or(forgotten)),
            None => {
                let answering = State::Answering { line };
                let key = self
                    .new_connection(policy, answering, now)
                    .ok_or(Cause::TooMany(self.config.connections_max))?;
                (key, forgotten)
            }
        };
        self.timers.remove(key.index);
        let (Some(connection), Some(known)) = (self.connections.get_mut(key), self.lines.get_mut(line))
        else {
            return Err(Cause::Device);
        };
        connection.state = State::Answering { line };
        connection.peer = Some(hello.name);
        known.connection = Some(key);
        Ok((key, fate))
    }

    fn is_closing(&self, key: Key) -> bool {
        self.connections.get(key).is_some_and(|connection| matches!(connection.state, State::Closing { .. }))
    }

    /// A peer comes that we know. `None`: it does not go on where we were.
    fn meet_again(&mut self, key: Key, hello: &Hello, now: Instant) -> Result<Option<Fate>, Cause> {
        let Some(connection) = self.connections.get(key) else { return Ok(None) };
        let resumes = hello.peer_life == connection.life && hello.life == connection.peer_life;
        let unheard =
            hello.peer_life == 0 && (connection.peer_life == 0 || connection.peer_life == hello.life);
        match connection.state {
            // Both call. The smaller name's call stands, whichever is heard first.
            State::Dialing { line } => {
                if self.config.name < hello.name {
                    return Err(Cause::Raced);
                }
                self.close_endpoint(key);
                self.drop_line(line);
            }
            // It called before it heard that its other call, or ours, was answered.
            State::Open { .. } if unheard => return Err(Cause::Raced),
            State::Closing { .. } => return Ok(None),
            // It noticed first that the connection is broken.
            State::Open { .. } | State::Answering { .. } => self.break_off(key, now),
            State::Waiting { .. } | State::Standby { .. } => {}
        }
        if resumes {
            return Ok(Some(Fate::Resume));
        }
        if !unheard {
            self.remote_reset(key);
        }
        Ok(None)
    }

    /// The peer has said where its endpoint is: connects ours.
    fn join(&mut self, line: Key, key: Key, offer: &Offer, now: Instant) -> Result<(), Cause> {
        let hello = Hello::decode(&offer.blob)?;
        let (Some(connection), Some(known)) = (self.connections.get_mut(key), self.lines.get_mut(line))
        else {
            return Ok(());
        };
        if !connection.policy.fits(hello.policy) {
            return Err(BadHello::Policy { ours: connection.policy, theirs: hello.policy }.into());
        }
        if known.handshake.role() == Role::Dialer {
            if let Some(wanted) = connection.peer.filter(|wanted| *wanted != hello.name) {
                return Err(Cause::WrongPeer { wanted, found: hello.name });
            }
            known.fate = hello.fate;
            if hello.fate == Fate::Resume
                && (hello.peer_life != connection.life || hello.life != connection.peer_life)
            {
                return Err(BadHello::Malformed("it goes on with a life that is not ours").into());
            }
        }
        if hello.received > connection.sequence && known.fate == Fate::Resume {
            return Err(BadHello::Malformed("it has more than was sent").into());
        }
        connection.peer = Some(hello.name);
        known.hello = Some(hello);
        let (Some(address), Some(ep)) = (offer.endpoints.first(), known.ep) else { return Ok(()) };
        known.connected = true;
        self.driver.context().connect(ep, address)?;
        let window = self.config.window.min(self.driver.context().caps().queue_depth_max);
        let held = self.connections.get(key).map_or(0, |connection| connection.window.held);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.window = Window::new(self.config.credits.min(window));
            connection.credits = Credits::new(hello.credits, hello.window);
            connection.features = hello.features & self.us.features;
            connection.hello = Some(hello);
        }
        let (spoken_bytes, _) = self.receives_spoken_for();
        let stats = self.receives.stats();
        if spoken_bytes > stats.total_bytes {
            // What those may come to have who are there already is theirs.
            return Err(Cause::Memory(MemoryError::Exhausted {
                asked_bytes: spoken_bytes,
                free_bytes: stats.free_bytes,
                largest_free_bytes: stats.free_bytes,
                leases: stats.leases,
            }));
        }
        // The peer was told of so many, whatever is held.
        self.post_missing(key)?;
        if let Some(connection) = self.connections.get_mut(key) {
            connection.window.tell();
            connection.window.held = held;
        }
        self.driver.push(now);
        Ok(())
    }

    /// Tells the peer that our endpoint can send, once it can.
    fn become_ready(&mut self, line: Key, now: Instant) -> Result<(), Cause> {
        let Some(known) = self.lines.get_mut(line) else { return Ok(()) };
        let (Some(ep), Some(key), true, false) = (known.ep, known.connection, known.connected, known.ready)
        else {
            return Ok(());
        };
        match self.driver.context().state(ep) {
            Some(QpState::Rts) => {
                known.ready = true;
                known.handshake.ready()?;
                // From here on the peer may believe that it is connected, and that we know it.
                if let (Some(connection), Some(hello)) = (self.connections.get_mut(key), known.hello)
                    && connection.stats.lives == 0
                {
                    connection.peer_life = hello.life;
                }
                self.pass(Step::Ready, key, now);
                self.say(line);
                Ok(())
            }
            Some(QpState::Err) | None => Err(BootstrapError::NotReached(ep).into()),
            Some(_) => {
                let look = (now + LOOK_NS).min(known.deadline);
                self.line_timers.set(line.index, look);
                Ok(())
            }
        }
    }

    /// A timer of a line.
    pub(super) fn look_at_line(&mut self, line: Key, now: Instant) {
        let Some(known) = self.lines.get(line) else { return };
        if known.established {
            return;
        }
        if known.deadline <= now {
            let limit = self.config.connect_ns / 1_000_000;
            return self.line_failed(line, Cause::ConnectTimeout(limit), now);
        }
        self.line_timers.set(line.index, known.deadline);
        self.progress(line, now);
    }

    /// A frame came before the last word of the handshake: the peer knows that both can send, or it would not.
    pub(super) fn establish_early(&mut self, key: Key, now: Instant) {
        if let Some(State::Answering { line }) = self.connections.get(key).map(|connection| connection.state)
            && self.lines.get(line).is_some_and(|known| known.ready)
        {
            self.establish(line, key, now);
        }
    }

    fn establish(&mut self, line: Key, key: Key, now: Instant) {
        let Some(known) = self.lines.get_mut(line) else { return };
        known.established = true;
        let (fate, role, hello) = (known.fate, known.handshake.role(), known.hello);
        self.line_timers.remove(line.index);
        let Some(hello) = hello else { return };
        // A dialer hears only now that it was forgotten; a listener has seen to it already.
        let was_known = self.connections.get(key).is_some_and(|c| c.peer_life != 0 && c.stats.lives > 0);
        if fate != Fate::Resume && role == Role::Dialer && was_known {
            self.remote_reset_to(key, false);
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.state = State::Open { line };
        connection.peer_life = hello.life;
        connection.broke_at = None;
        connection.attempts = 0;
        connection.cause = None;
        (connection.heard_at, connection.said_at) = (now, now);
        connection.announced.clear();
        connection.extents.clear();
        connection.close_posted = false;
        let first = connection.stats.lives == 0;
        connection.stats.lives += 1;
        let resumed = fate == Fate::Resume;
        let (id, peer) = (crate::ConnectionId(key), hello.name);
        if resumed {
            connection.received = planted_received(connection.received);
            connection.newest = connection.received;
            connection.told = connection.received;
        }
        let accepted = first && role == Role::Listener && connection.address.is_none();
        self.events.push_back(match accepted {
            true => Event::Accepted { connection: id, peer },
            // Also one that broke before its user ever heard of it, and was taken up again.
            false => Event::Established { connection: id, peer, resumed: resumed && !first },
        });
        if resumed {
            self.replay(key, hello.received, now);
        }
        self.set_timer(key, now);
        self.mark(key);
        self.pass(Step::Established, key, now);
    }

    /// A line came to nothing, or its end has come.
    pub(super) fn line_failed(&mut self, line: Key, cause: Cause, now: Instant) {
        let Some(known) = self.lines.get_mut(line) else { return };
        let (established, connection, role) = (known.established, known.connection, known.handshake.role());
        if !established {
            let (code, text) = match &cause {
                Cause::Raced => (RACED, cause.to_string()),
                Cause::TooMany(_) | Cause::Memory(_) => (BUSY, cause.to_string()),
                Cause::ConnectTimeout(_) => (RefusalCode::Timeout, cause.to_string()),
                // A handshake that failed by itself has told the peer why already, if there is a point in it.
                _ => (RefusalCode::Application, cause.to_string()),
            };
            known.handshake.refuse(code, &text);
            self.say(line);
        }
        let cause = match cause {
            Cause::Bootstrap(BootstrapError::Refused { code, .. }) if code == RACED => Cause::Raced,
            other => other,
        };
        match connection {
            Some(key) if established => self.fault(key, cause, now),
            Some(key) => {
                self.drop_line(line);
                self.connect_failed(key, cause, role, now);
            }
            None => {
                self.drop_line(line);
                self.events.push_back(Event::Rejected { cause });
            }
        }
    }
}

/// The newest sequence up to which everything is here: as it is, unless somebody planted a bug.
fn planted_received(received: u64) -> u64 {
    if planted::is(Bug::DeliverReplayTwice) {
        return received.saturating_sub(1);
    }
    if planted::is(Bug::LoseOnResume) { received + 1 } else { received }
}
