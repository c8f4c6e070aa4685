//! Messages that are all here are handed over: in order, but for replies.

use wavetank_contract::Instant;
use wavetank_contract::planted::{self, Bug};
use wavetank_engine::RdmaOps;
use wavetank_engine::slab::Key;

use super::Messenger;
use crate::connection::{Arrival, ConnectionId, Landing};
use crate::event::{Event, NoReply, RequestError, RequestId, Violation};
use crate::frame::{Carriage, Failure, Sort};
use crate::message::{Incoming, Kind, Landed, ReplyTo, Return, Returned};

impl<C: RdmaOps> Messenger<C> {
    /// A message has come, perhaps without its data.
    #[inline]
    pub(super) fn arrived(&mut self, key: Key, mut arrival: Arrival, now: Instant) -> Result<(), Violation> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        if connection.arriving.is_empty() && matches!(arrival.landing, Landing::Complete(_)) {
            connection.received = arrival.sequence;
            self.owe(key, now);
            return self.hand_over(key, &mut arrival, now);
        }
        connection.wants_memory |= matches!(arrival.landing, Landing::Waiting);
        connection.arriving.push_back(arrival);
        self.deliver_ready(key, now)
    }

    /// Hands over what is complete: from the front in order, and replies wherever they stand.
    pub(super) fn deliver_ready(&mut self, key: Key, now: Instant) -> Result<(), Violation> {
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
            let Some(first) = connection.arriving.front() else { break };
            if !matches!(first.landing, Landing::Complete(_) | Landing::Gone | Landing::TurnedAway) {
                break;
            }
            let Some(mut arrival) = connection.arriving.pop_front() else { break };
            connection.received = arrival.sequence;
            self.owe(key, now);
            match arrival.landing {
                Landing::Complete(_) => self.hand_over(key, &mut arrival, now)?,
                Landing::TurnedAway => self.reply_failed(key, arrival.header.id, Failure::NoMemory, now),
                _ => {}
            }
        }
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        for at in 0..connection.arriving.len() {
            let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
            let Some(arrival) = connection.arriving.get_mut(at) else { break };
            if arrival.header.sort != Sort::Reply || !matches!(arrival.landing, Landing::Complete(_)) {
                continue;
            }
            let landing = std::mem::replace(&mut arrival.landing, Landing::Gone);
            let (frame, header) = (arrival.frame.take(), arrival.header);
            let mut taken =
                Arrival { frame, header, landing, sequence: arrival.sequence, deadline: arrival.deadline };
            self.hand_over(key, &mut taken, now)?;
        }
        Ok(())
    }

    fn hand_over(&mut self, key: Key, arrival: &mut Arrival, now: Instant) -> Result<(), Violation> {
        let Arrival { sequence, header, frame, deadline, landing } = arrival;
        let Landing::Complete(landed) = std::mem::replace(landing, Landing::Gone) else { return Ok(()) };
        let (sequence, deadline) = (*sequence, *deadline);
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        let far = matches!(header.carriage, Carriage::Offered | Carriage::Asked);
        let landing_bytes = if far { header.data_len } else { 0 };
        let id = ConnectionId(key);
        let mut incoming = Incoming {
            connection: id,
            epoch: connection.epoch,
            sequence,
            r#type: header.r#type,
            kind: Kind::OneWay,
            asked: matches!(header.sort, Sort::Reply | Sort::Release),
            frame: frame.take(),
            front_at: header.front_at() as u64,
            front_len: usize::from(header.front_len),
            data_len: header.data_len,
            landed,
            deadline,
            landing_bytes,
            returns: self.returns.clone(),
        };
        if !matches!(header.sort, Sort::Reply | Sort::Release) {
            connection.window.held += 1;
        }
        match header.sort {
            Sort::Release => return self.released(key, header.id, !header.failed, now),
            Sort::Reply => return self.replied(key, header.id, header.failed, header.carriage, incoming),
            Sort::OneWay => {}
            Sort::Held => incoming.kind = Kind::Held,
            Sort::Request => {
                let returns = Some(self.returns.clone());
                let (epoch, sink) = (connection.epoch, header.sink);
                incoming.kind =
                    Kind::Request(ReplyTo { connection: id, epoch, id: header.id, deadline, sink, returns });
            }
        }
        if deadline <= now {
            self.stats.expired += 1;
            connection.stats.expired += 1;
            if let Some(mut reply_to) = incoming.take_reply_to() {
                reply_to.returns = None;
                self.reply_failed(key, reply_to.id, Failure::Expired, now);
            } else if matches!(incoming.kind, Kind::Held) {
                // Nobody here has had it.
                incoming.kind = Kind::OneWay;
                self.release(key, sequence, Some(Failure::Expired), now);
            }
            return Ok(());
        }
        connection.stats.messages_in += 1;
        self.stats.messages_in += 1;
        self.events.push_back(Event::Delivered(incoming));
        Ok(())
    }

    /// A reply is here.
    fn replied(
        &mut self,
        key: Key,
        id: u64,
        failed: bool,
        carriage: Carriage,
        mut incoming: Incoming,
    ) -> Result<(), Violation> {
        let mut name = Key::from_u64(id);
        if planted::is(Bug::ReplyToAnother) {
            let other =
                self.requests.iter().find(|(other, request)| *other != name && request.connection == key);
            name = other.map_or(name, |(other, _)| other);
        }
        let known = self.requests.get(name).is_some_and(|request| request.connection == key);
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        if !known {
            if incoming.sequence > connection.tolerated {
                return Err(Violation::Reply(id));
            }
            self.stats.duplicates += 1;
            connection.stats.duplicates += 1;
            return Ok(());
        }
        let Some(mut request) = self.requests.remove(name) else { return Ok(()) };
        self.deadlines.remove(name.index);
        connection.requests = connection.requests.saturating_sub(1);
        if request.over {
            return Ok(());
        }
        let tag = request.tag;
        let connection_id = ConnectionId(key);
        let request_id = RequestId(name);
        if failed {
            let why = Failure::from_number(incoming.r#type).unwrap_or(Failure::Unanswered);
            let reply = Err(Box::new(NoReply { why: RequestError::Failed(why), sink: request.sink }));
            self.events.push_back(Event::Replied {
                connection: connection_id,
                request: request_id,
                tag,
                reply,
            });
            return Ok(());
        }
        if carriage == Carriage::InSink {
            let room = request.sink_len;
            match request.sink.take().filter(|_| incoming.data_len <= room) {
                Some(sink) => incoming.landed = Landed::Sink(sink),
                None => {
                    // The request is answered with nothing that could be used.
                    let why = RequestError::Reset("the reply names memory that was not given".to_owned());
                    let reply = Err(Box::new(NoReply { why, sink: None }));
                    self.events.push_back(Event::Replied {
                        connection: connection_id,
                        request: request_id,
                        tag,
                        reply,
                    });
                    return Err(Violation::Sink { len: incoming.data_len, room });
                }
            }
        } else if let Some(sink) = request.sink.take() {
            incoming.settle_into(sink);
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.stats.messages_in += 1;
        }
        self.stats.messages_in += 1;
        let reply = Ok(incoming);
        self.events.push_back(Event::Replied { connection: connection_id, request: request_id, tag, reply });
        Ok(())
    }

    /// Notices what users have let go of.
    #[inline]
    pub(super) fn settle_returns(&mut self, now: Instant) {
        while !self.returns.is_empty() && !self.halted {
            let mut returned = std::mem::take(&mut self.returned);
            self.returns.take(&mut returned);
            for one in returned.drain(..) {
                self.came_back(one, now);
            }
            self.returned = returned;
        }
    }

    fn came_back(&mut self, one: Return, now: Instant) {
        let key = one.connection.0;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let current = connection.epoch == one.epoch;
        match one.what {
            Returned::Message { sequence, bytes, held, asked } => {
                connection.window.held = connection.window.held.saturating_sub(u32::from(!asked));
                connection.window.wanted = true;
                connection.landing_bytes = connection.landing_bytes.saturating_sub(bytes);
                if held && current {
                    self.release(key, sequence, None, now);
                }
            }
            Returned::Unanswered { id } if current => self.reply_failed(key, id, Failure::Unanswered, now),
            Returned::Unanswered { .. } => self.stats.duplicates += 1,
        }
        self.mark(key);
    }
}
