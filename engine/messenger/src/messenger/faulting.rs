//! What becomes of a connection that breaks, is closed, or was never made.

use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{AsyncEvent, Class, EpId, Instant};
use wavetank_engine::RdmaOps;
use wavetank_engine::bootstrap::Role;
use wavetank_engine::memory::Exposed;
use wavetank_engine::slab::Key;

use super::Messenger;
use crate::connection::{Arrival, Connection, ConnectionId, Control, Landing, Progress, Starving, State};
use crate::event::{Cause, Event, NoReply, RequestError, Violation};
use crate::frame::{Carriage, FRONT_BYTES_MAX, FrameKind, Sort};
use crate::step::Step;

/// How long a peer is given to take the news that a connection is closed.
const CLOSE_NS: u64 = 1_000_000_000;

/// Backoff doubles so often.
const DOUBLINGS_MAX: u32 = 5;

impl<C: RdmaOps> Messenger<C> {
    /// Closes a connection. What was not acknowledged is lost, and requests fail; the peer is told, with a text of at most 1024
    /// bytes. False: there is no such connection.
    pub fn close(&mut self, now: Instant, connection: ConnectionId, text: &str) -> bool {
        let key = connection.0;
        let Some(there) = self.connections.get(key) else { return false };
        match there.state {
            State::Closing { .. } => {}
            State::Open { line } => {
                self.discard(key, &RequestError::Closed, true);
                self.say_goodbye(key, line, text, now);
            }
            _ => {
                self.discard_all(key, &RequestError::Closed);
                self.take_apart(key);
                self.remove(key);
            }
        }
        true
    }

    /// Lines up the last frame of a connection.
    fn say_goodbye(&mut self, key: Key, line: Key, text: &str, now: Instant) {
        let until = now + CLOSE_NS;
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.state = State::Closing { line, until };
        connection.controls.clear();
        // What is on its way in comes to nobody any more.
        connection.arriving.clear();
        let mut end = text.len().min(FRONT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let front = text.as_bytes()[..end].into();
        connection.controls.push_back(Control { front, ..Control::new(FrameKind::Close, 0) });
        self.timers.set(key.index, until);
        self.mark(key);
        self.pass(Step::Close, key, now);
    }

    /// The peer was told, or cannot be.
    pub(super) fn closed(&mut self, key: Key) {
        self.take_apart(key);
        self.remove(key);
    }

    /// The peer broke the protocol: it is told so, and the connection is over.
    pub(super) fn violated(&mut self, key: Key, violation: Violation, now: Instant) {
        self.stats.violations += 1;
        let Some(connection) = self.connections.get(key) else { return };
        let State::Open { line } = connection.state else {
            return self.fault(key, violation.into(), now);
        };
        let text = violation.to_string();
        self.discard(key, &RequestError::Reset(text.clone()), true);
        let connection = ConnectionId(key);
        self.events.push_back(Event::Reset { connection, cause: violation.into() });
        self.say_goodbye(key, line, &text, now);
    }

    /// A connection broke.
    pub(super) fn fault(&mut self, key: Key, cause: Cause, now: Instant) {
        let Some(connection) = self.connections.get(key) else { return };
        match connection.state {
            State::Closing { .. } => return self.closed(key),
            State::Open { .. } => {}
            State::Dialing { line } | State::Answering { line } => {
                self.drop_line(line);
                return self.connect_failed(key, cause, Role::Dialer, now);
            }
            State::Waiting { .. } | State::Standby { .. } => return,
        }
        self.stats.faults += 1;
        self.pass(Step::Fault, key, now);
        let lasting = matches!(cause, Cause::Violation(_) | Cause::ClosedByPeer(_))
            || cause.class() == Class::DeviceGone;
        let keeps = self.connections.get(key).is_some_and(|c| c.policy.is_lossless()) && !lasting;
        if !keeps {
            return self.reset(key, cause);
        }
        self.break_off(key, now);
        self.wait(key, now);
        self.events.push_back(Event::Reconnecting { connection: ConnectionId(key), cause });
    }

    /// Ends what is of one endpoint, and keeps what is to be sent again.
    pub(super) fn break_off(&mut self, key: Key, now: Instant) {
        self.take_apart(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.broke_at.get_or_insert(now);
        // A break before they came again does not make them new.
        connection.tolerated = connection.tolerated.max(connection.newest);
        let filling = std::mem::take(&mut connection.filling);
        for out in filling.into_iter().rev() {
            connection.answers.push_front(out);
        }
        for out in connection.queue.iter().chain(&connection.sent).chain(&connection.answers) {
            if let Some(outgoing) = self.outgoing.get_mut(*out) {
                outgoing.progress = Progress::Queued;
            }
        }
    }

    /// Waits to dial again, or for the peer to.
    fn wait(&mut self, key: Key, now: Instant) {
        let give_up_ns = self.config.give_up_ns;
        let backoff_ns = self.config.backoff_ns;
        let Some(connection) = self.connections.get_mut(key) else { return };
        // One that was never made waits from now on, and not anew each time.
        let give_up = *connection.broke_at.get_or_insert(now) + give_up_ns;
        let at = if connection.policy.redials() && connection.address.is_some() {
            let doublings = connection.attempts.min(DOUBLINGS_MAX);
            let until = (now + (backoff_ns << doublings)).min(give_up);
            connection.state = State::Waiting { until };
            until
        } else {
            connection.state = State::Standby { until: give_up };
            give_up
        };
        self.timers.set(key.index, at);
    }

    /// It was waited for long enough: dials again, or gives up.
    pub(super) fn waited(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.connections.get(key) else { return };
        let give_up_ns = self.config.give_up_ns;
        if connection.broke_at.unwrap_or(now) + give_up_ns <= now {
            return self.reset(key, Cause::GaveUp(give_up_ns / 1_000_000));
        }
        if connection.policy.redials() && connection.address.is_some() {
            self.pass(Step::Redial, key, now);
            self.dial(key, now);
        } else {
            self.wait(key, now);
        }
    }

    /// A connection was not made on a line, which is gone.
    pub(super) fn connect_failed(&mut self, key: Key, cause: Cause, role: Role, now: Instant) {
        self.close_endpoint(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.arriving.clear();
        let refused = matches!(cause.class(), Class::PeerRefused | Class::LocalBug);
        let new = connection.stats.lives == 0;
        let ours = connection.address.is_some();
        // A peer that was told that we are ready may come and go on with what we did not hear of.
        let told = connection.peer_life != 0 && connection.policy.is_lossless();
        if new && !ours && !told {
            // A peer that was not known before, and is not now.
            self.discard_all(key, &RequestError::Closed);
            self.take_apart(key);
            self.remove(key);
            self.events.push_back(Event::Rejected { cause });
            return;
        }
        if matches!(cause, Cause::Raced) {
            // Its call comes any moment, or ours will be made again.
            let until = now + self.config.connect_ns.min(self.config.backoff_ns << DOUBLINGS_MAX);
            connection.state = State::Standby { until };
            self.timers.set(key.index, until);
            return;
        }
        let again = connection.policy.redials() || connection.policy.is_lossless();
        if again && !(refused && role == Role::Dialer) {
            connection.cause = Some(cause);
            return self.wait(key, now);
        }
        let text = cause.to_string();
        self.discard_all(key, &RequestError::Reset(text));
        self.take_apart(key);
        self.remove(key);
        let connection = ConnectionId(key);
        self.events.push_back(match refused {
            true => Event::Refused { connection, cause },
            false => Event::Reset { connection, cause },
        });
    }

    /// A connection is over, and whoever uses it is told.
    fn reset(&mut self, key: Key, cause: Cause) {
        // Of a peer that only all but came, nobody was told.
        let known = self.connections.get(key).is_some_and(|c| c.stats.lives > 0 || c.address.is_some());
        self.discard_all(key, &RequestError::Reset(cause.to_string()));
        self.take_apart(key);
        self.remove(key);
        self.events.push_back(match known {
            true => Event::Reset { connection: ConnectionId(key), cause },
            false => Event::Rejected { cause },
        });
    }

    /// Makes room for a connection: forgets the peer that only all but came, and has not been heard of for longest.
    pub(super) fn evict(&mut self) -> bool {
        let waits = |c: &Connection| match c.state {
            State::Standby { until } if c.stats.lives == 0 && c.address.is_none() => Some(until),
            _ => None,
        };
        let waiting =
            self.connections.iter().filter_map(|(key, c)| waits(c).map(|until| (until, key.index, key)));
        let Some((_, _, key)) = waiting.min_by_key(|(until, index, _)| (*until, *index)) else {
            return false;
        };
        self.reset(key, Cause::TooMany(self.config.connections_max));
        true
    }

    /// Ends endpoint, line, transfers and arrivals of a connection.
    fn take_apart(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let line = connection.line();
        // Transfers end with their endpoint, and their memory comes back with the next poll.
        // What was handed over counts until the user lets go of it.
        let on_its_way = |arrival: &Arrival| match (arrival.header.carriage, &arrival.landing) {
            (
                Carriage::Offered | Carriage::Asked,
                Landing::Fetching | Landing::Granted(_) | Landing::Complete(_),
            ) => arrival.header.data_len,
            _ => 0,
        };
        let bytes = connection.arriving.iter().map(on_its_way).sum();
        connection.landing_bytes = connection.landing_bytes.saturating_sub(bytes);
        let arriving = std::mem::take(&mut connection.arriving);
        connection.moving = 0;
        connection.wants_memory = false;
        connection.controls.clear();
        connection.ack_at = None;
        (connection.starving, connection.cried) = (Starving::No, Starving::No);
        self.close_endpoint(key);
        for arrival in arriving {
            if let (Landing::Granted(lease), Sort::Reply) = (arrival.landing, arrival.header.sort) {
                self.give_sink_back(key, Key::from_u64(arrival.header.id), lease);
            }
        }
        if let Some(line) = line {
            self.drop_line(line);
        }
    }

    /// The peer has begun a new life, or has forgotten this one: nothing of before counts any more.
    pub(super) fn remote_reset(&mut self, key: Key) {
        self.remote_reset_to(key, true);
    }

    /// The same; a dialer has told the peer its life already, and keeps it.
    pub(super) fn remote_reset_to(&mut self, key: Key, new_life: bool) {
        let told = self.connections.get(key).is_some_and(|connection| connection.stats.lives > 0);
        // Before it was ever established nothing was sent: what is lined up is as good for the peer's next life.
        if told && !planted::is(Bug::KeepQueueOfOldLife) {
            self.discard_all(key, &RequestError::RemoteReset);
        }
        self.lives += 1;
        let life = super::life(self.us.instance, self.lives);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.begin_anew();
        connection.peer_life = 0;
        if new_life {
            connection.life = life;
        }
        if told {
            self.events.push_back(Event::RemoteReset { connection: ConnectionId(key) });
        }
    }

    /// Lets go of everything that was to be sent or waits for a reply, and says so. The peer has lost its way to our memory, or
    /// loses it before anybody hears of this.
    fn discard_all(&mut self, key: Key, why: &RequestError) {
        self.discard(key, why, false);
    }

    /// The same. `reached`: the endpoint stays for a while, and memory for replies is not given back to who could use it for
    /// something else while the peer still writes it.
    fn discard(&mut self, key: Key, why: &RequestError, reached: bool) {
        let id = ConnectionId(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let exposed = std::mem::replace(&mut connection.exposed, Exposed::new());
        let mut all: Vec<Key> = connection.held.drain(..).map(|(_, out)| out).collect();
        connection.unsaid.clear();
        let queues = [&mut connection.sent, &mut connection.queue, &mut connection.answers];
        all.extend(queues.into_iter().flat_map(|queue| queue.drain(..)));
        all.append(&mut connection.filling);
        connection.requests = 0;
        let mut told = Vec::new();
        for out in all {
            if let Some(outgoing) = self.outgoing.remove(out)
                && outgoing.header.sort == Sort::Held
            {
                told.push((outgoing.tag, outgoing.data));
            }
        }
        for (tag, data) in told {
            self.events.push_back(Event::Released { connection: id, tag, data, delivered: false });
        }
        let requests: Vec<Key> = self
            .requests
            .iter()
            .filter(|(_, request)| request.connection == key)
            .map(|(key, _)| key)
            .collect();
        for request in requests {
            self.deadlines.remove(request.index);
            let Some(ended) = self.requests.remove(request) else { continue };
            if !ended.over {
                let sink = ended.sink.filter(|_| !reached);
                let reply = Err(Box::new(NoReply { why: why.clone(), sink }));
                let request = crate::event::RequestId(request);
                self.events.push_back(Event::Replied { connection: id, request, tag: ended.tag, reply });
            }
        }
        exposed.close(&mut self.extents, self.driver.context());
    }

    /// A connection's name names nothing any more.
    fn remove(&mut self, key: Key) {
        self.timers.remove(key.index);
        self.connections.discard(key);
    }

    /// The device says something unasked.
    pub(super) fn device_said(&mut self, event: AsyncEvent, now: Instant) {
        match event {
            AsyncEvent::QpFatal(ep) | AsyncEvent::QpReqErr(ep) | AsyncEvent::QpAccessErr(ep) => {
                if let Some(key) = self.by_ep.get(&ep).copied() {
                    self.fault(key, Cause::Work { status: wavetank_contract::Status::FatalErr }, now);
                }
            }
            // An endpoint that shares has no receives of its own that would be flushed and tell.
            AsyncEvent::LastWqeReached(ep) => {
                if let Some(key) = self.by_ep.get(&ep).copied() {
                    self.fault(key, Cause::Work { status: wavetank_contract::Status::WrFlushErr }, now);
                }
            }
            AsyncEvent::SrqErr(srq) => self.queue_broke(srq, now),
            AsyncEvent::CqErr(_) => {
                // The port has closed its endpoints.
                let all: Vec<(EpId, Key)> = self.by_ep.iter().map(|(ep, key)| (*ep, *key)).collect();
                for (ep, key) in all {
                    if !self.driver.context().is_open(ep) {
                        self.fault(key, Cause::Work { status: wavetank_contract::Status::FatalErr }, now);
                    }
                }
            }
            AsyncEvent::DeviceFatal => {
                let all: Vec<Key> = self.connections.iter().map(|(key, _)| key).collect();
                for key in all {
                    if self.connections.get(key).is_some_and(|c| matches!(c.state, State::Closing { .. })) {
                        // Its user has closed it, or was told that it is over.
                        self.closed(key);
                        continue;
                    }
                    self.reset(key, Cause::Device);
                }
            }
            _ => {}
        }
    }
}
