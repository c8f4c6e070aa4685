//! Messages handed over to be sent.

use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{Instant, Lease, MrId};
use wavetank_engine::RdmaOps;
use wavetank_engine::memory::Place;
use wavetank_engine::slab::Key;

use super::Messenger;
use crate::connection::{ConnectionId, Outgoing, Progress, Request, State, Unsaid};
use crate::error::{SendError, SendReason};
use crate::event::{Event, NoReply, RequestError, RequestId};
use crate::frame::{
    FRONT_BYTES_MAX, Failure, FrameKind, HEADER_BYTES, Header, PlaceOnWire, SINK_BYTES, SinkOnWire, Sort,
};
use crate::message::{Data, Message, ReplyTo};
use crate::way::{Chosen, Question};

/// Data up to so many bytes is copied behind its front: a second piece costs more.
const COPY_BYTES_MAX: u64 = 512;

/// What a message is sent as.
struct Parcel<'a> {
    key: Key,
    sort: Sort,
    id: u64,
    failed: Option<Failure>,
    message: Message<'a>,
    /// Memory for the reply, as the peer will know it.
    sink: Option<SinkOnWire>,
    /// Where the reply's requester wants the data.
    into: Option<SinkOnWire>,
}

impl<C: RdmaOps> Messenger<C> {
    /// Sends a message that nobody waits for.
    ///
    /// # Errors
    /// [`SendError`], with everything back.
    pub fn send(&mut self, now: Instant, to: ConnectionId, message: Message<'_>) -> Result<(), SendError> {
        self.enqueue(now, Parcel::new(to.0, Sort::OneWay, message)).map(drop)
    }

    /// Sends a message and tells by [`Event::Released`] when its receiver has let go of it; its data stays out until then.
    ///
    /// # Errors
    /// [`SendError`], with everything back.
    pub fn send_held(
        &mut self,
        now: Instant,
        to: ConnectionId,
        message: Message<'_>,
    ) -> Result<(), SendError> {
        self.enqueue(now, Parcel::new(to.0, Sort::Held, message)).map(drop)
    }

    /// Sends a request; its reply, or why there is none, comes as [`Event::Replied`]. With a `sink`, leased by
    /// [`expose`](Self::expose) on the same connection, longer replies are written right into it.
    ///
    /// # Errors
    /// [`SendError`], with everything back.
    pub fn request(
        &mut self,
        now: Instant,
        to: ConnectionId,
        message: Message<'_>,
        sink: Option<Lease>,
    ) -> Result<RequestId, SendError> {
        let key = to.0;
        let refuse = |reason, data, sink| Err(SendError { reason, data, sink });
        let Some(connection) = self.connections.get(key) else {
            return refuse(SendReason::Unknown(to), message.data, sink);
        };
        if connection.requests >= self.config.requests_max {
            return refuse(SendReason::TooManyRequests(self.config.requests_max), message.data, sink);
        }
        let on_wire = match &sink {
            None => None,
            Some(lease) => match connection.exposed.place(lease) {
                Some(Place { extent, offset, .. }) => {
                    let place = PlaceOnWire { extent: extent.0, offset };
                    Some(SinkOnWire { place, len: lease.len() })
                }
                None => return refuse(SendReason::Sink, message.data, sink),
            },
        };
        let (tag, deadline) = (message.tag, message.deadline);
        let sink_len = sink.as_ref().map_or(0, Lease::len);
        let (over, sink_lent, outgoing) = (false, false, None);
        let request = Request { connection: key, tag, deadline, sink, sink_len, sink_lent, over, outgoing };
        let Some(request) = self.requests.insert(request) else { unreachable!("requests_max is checked") };
        let parcel =
            Parcel { id: request.to_u64(), sink: on_wire, ..Parcel::new(key, Sort::Request, message) };
        match self.enqueue(now, parcel) {
            Ok(outgoing) => {
                if let Some(request) = self.requests.get_mut(request) {
                    request.outgoing = Some(outgoing);
                }
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.requests += 1;
                }
                if deadline < Instant::FAR {
                    self.deadlines.set(request.index, deadline);
                }
                Ok(RequestId(request))
            }
            Err(mut error) => {
                error.sink = self.requests.remove(request).and_then(|request| request.sink);
                Err(error)
            }
        }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// [`SendError`], with the data back; the requester is told that there is no reply.
    pub fn reply(&mut self, now: Instant, mut to: ReplyTo, message: Message<'_>) -> Result<(), SendError> {
        let Some(connection) = self.connections.get(to.connection.0) else {
            let reason = SendReason::Unknown(to.connection);
            return Err(SendError { reason, data: message.data, sink: None });
        };
        if connection.epoch != to.epoch {
            to.returns = None;
            self.stats.duplicates += 1;
            return Err(SendError { reason: SendReason::StaleReply, data: message.data, sink: None });
        }
        // A late reply is sent all the same: the requester keeps its memory out until it comes.
        let message = Message { deadline: Instant::FAR, ..message };
        let parcel =
            Parcel { id: to.id, into: to.sink, ..Parcel::new(to.connection.0, Sort::Reply, message) };
        self.enqueue(now, parcel)?;
        to.returns = None;
        Ok(())
    }

    /// Tells a requester that there is no reply.
    pub(super) fn reply_failed(&mut self, key: Key, id: u64, why: Failure, now: Instant) {
        let message = Message::new(why as u16, &[], Instant::FAR);
        let parcel = Parcel { id, failed: Some(why), ..Parcel::new(key, Sort::Reply, message) };
        if let Err(error) = self.enqueue(now, parcel) {
            self.put_off(key, &error.reason, Unsaid::Failed { id, why });
        }
    }

    /// Tells the sender of a held message that it was let go of, or why nobody has had it.
    pub(super) fn release(&mut self, key: Key, sequence: u64, failed: Option<Failure>, now: Instant) {
        if planted::is(Bug::DropRelease) {
            return;
        }
        let message = Message::new(failed.map_or(0, |why| why as u16), &[], Instant::FAR);
        let parcel = Parcel { id: sequence, failed, ..Parcel::new(key, Sort::Release, message) };
        if let Err(error) = self.enqueue(now, parcel) {
            self.put_off(key, &error.reason, Unsaid::Release { sequence, failed });
        }
    }

    /// The peer waits for it, perhaps for ever: it is said once there is memory for its frame.
    fn put_off(&mut self, key: Key, reason: &SendReason, unsaid: Unsaid) {
        if let (SendReason::Memory(_), Some(connection)) = (reason, self.connections.get_mut(key)) {
            // Not marked: it would be looked at again at once, and for ever. Whoever came here will look, and a timer.
            connection.unsaid.push_back(unsaid);
        }
    }

    /// Says what could not be said before. False: there is still no memory.
    pub(super) fn say_unsaid(&mut self, key: Key, now: Instant) -> bool {
        let count = self.connections.get(key).map_or(0, |connection| connection.unsaid.len());
        for left in (0..count).rev() {
            let Some(connection) = self.connections.get_mut(key) else { return true };
            match connection.unsaid.pop_front() {
                Some(Unsaid::Failed { id, why }) => self.reply_failed(key, id, why, now),
                Some(Unsaid::Release { sequence, failed }) => self.release(key, sequence, failed, now),
                None => return true,
            }
            if self.connections.get(key).is_some_and(|connection| connection.unsaid.len() > left) {
                return false;
            }
        }
        true
    }

    /// Gives a request up: it fails as cancelled. False when it has ended already.
    pub fn cancel(&mut self, request: RequestId) -> bool {
        let there = self.requests.get(request.0).is_some_and(|request| !request.over);
        if there {
            self.give_up(request.0, &RequestError::Cancelled);
        }
        there
    }

    /// Tells that a request has no reply. Its sink stays out while the peer may write it.
    pub(super) fn give_up(&mut self, key: Key, why: &RequestError) {
        self.deadlines.remove(key.index);
        let Some(request) = self.requests.get_mut(key).filter(|request| !request.over) else { return };
        request.over = true;
        let (tag, owner, outgoing) = (request.tag, request.connection, request.outgoing);
        let unsent = outgoing.is_some_and(|out| {
            // In the queue again after a break, it was sent before if it has a sequence.
            let queued = |o: &Outgoing| o.progress == Progress::Queued && o.header.sequence == 0;
            self.outgoing.get(out).is_some_and(queued)
        });
        let mut sink = None;
        if unsent {
            sink = self.requests.remove(key).and_then(|request| request.sink);
            if let Some(out) = outgoing {
                self.outgoing.discard(out);
                if let Some(connection) = self.connections.get_mut(owner) {
                    connection.queue.retain(|queued| *queued != out);
                    connection.requests = connection.requests.saturating_sub(1);
                }
            }
        }
        let reply = Err(Box::new(NoReply { why: why.clone(), sink }));
        let connection = ConnectionId(owner);
        self.events.push_back(Event::Replied { connection, request: RequestId(key), tag, reply });
    }

    fn enqueue(&mut self, now: Instant, parcel: Parcel<'_>) -> Result<Key, SendError> {
        let Parcel { key, sort, id, failed, message, sink, into } = parcel;
        let Message { r#type, front, data, deadline, way, tag } = message;
        match self.compose(now, key, sort, front, data.as_ref(), deadline, sink.is_some()) {
            Ok(Composed { frame, frame_len, copied, mr, place }) => {
                let header = Header {
                    sort,
                    failed: failed.is_some(),
                    r#type,
                    front_len: front.len() as u16,
                    id,
                    data_len: data.as_ref().map_or(0, |data| data.len),
                    sink,
                    ..Header::new(FrameKind::Message)
                };
                let outgoing = Outgoing {
                    header,
                    frame,
                    frame_len,
                    copied,
                    data,
                    lent: None,
                    mr,
                    place,
                    deadline,
                    tag,
                    asked: way,
                    chosen: None,
                    sink: into,
                    progress: Progress::Queued,
                };
                let Some(out) = self.outgoing.insert(outgoing) else { unreachable!("queues have limits") };
                if let Some(connection) = self.connections.get_mut(key) {
                    match sort {
                        Sort::Reply | Sort::Release => connection.answers.push_back(out),
                        _ => connection.queue.push_back(out),
                    }
                }
                self.mark(key);
                Ok(out)
            }
            Err(reason) => Err(SendError { reason, data, sink: None }),
        }
    }

    /// Checks a message and writes its front, and its data if that is short, into a frame.
    #[allow(clippy::too_many_arguments)] // one use, right above
    fn compose(
        &mut self,
        now: Instant,
        key: Key,
        sort: Sort,
        front: &[u8],
        data: Option<&Data>,
        deadline: Instant,
        has_sink: bool,
    ) -> Result<Composed, SendReason> {
        let id = ConnectionId(key);
        let connection = self.connections.get(key).ok_or(SendReason::Unknown(id))?;
        if matches!(connection.state, State::Closing { .. }) {
            return Err(SendReason::Closing(id));
        }
        // What answers the peer is bounded by what it asked.
        let answers = matches!(sort, Sort::Reply | Sort::Release);
        if !answers && connection.backlog() >= self.config.queue_messages_max as usize {
            return Err(SendReason::QueueFull(self.config.queue_messages_max));
        }
        if front.len() > FRONT_BYTES_MAX {
            return Err(SendReason::Front(front.len()));
        }
        if deadline <= now {
            return Err(SendReason::DeadlinePassed { deadline, now });
        }
        let mut composed_mr: (Option<MrId>, Option<Place>) = (None, None);
        let mut copied = 0;
        if let Some(Data { lease, len, mr }) = data {
            if *len == 0 || *len > lease.len() {
                return Err(SendReason::Data { len: *len, lease_len: lease.len() });
            }
            let max = connection.hello.map_or(self.config.message_bytes_max, |hello| hello.message_bytes_max);
            if *len > max {
                return Err(SendReason::TooLong { len: *len, max });
            }
            let place = connection.exposed.place(lease);
            let known = match (mr, &place) {
                (Some(mr), _) => *mr,
                (None, Some(place)) => place.mr,
                (None, None) if self.pool.region().same_as(lease.region()) => self.pool.mr(),
                (None, None) if self.landing.region().same_as(lease.region()) => self.landing.mr(),
                (None, None) => return Err(SendReason::Foreign),
            };
            composed_mr = (Some(known), place);
            if *len <= COPY_BYTES_MAX {
                copied = *len as usize;
            }
        }
        let front_at = HEADER_BYTES + if has_sink { SINK_BYTES } else { 0 };
        let frame_len = front_at + front.len() + copied;
        let frame = self.driver.lease(&mut self.frames, frame_len as u64)?;
        frame.write(front_at as u64, front);
        if let Some(data) = data.filter(|_| copied > 0) {
            let mut bytes = [0; COPY_BYTES_MAX as usize];
            data.lease.read(0, &mut bytes[..copied]);
            frame.write((front_at + front.len()) as u64, &bytes[..copied]);
        }
        let (mr, place) = composed_mr;
        Ok(Composed { frame, frame_len: frame_len as u32, copied: copied > 0, mr, place })
    }

    /// How data of this length would travel on a connection, and why. `None`: there is no such connection, or it cannot travel.
    pub fn choose(
        &self,
        connection: ConnectionId,
        len: u64,
        in_reach: bool,
        sink: Option<u64>,
    ) -> Option<Chosen> {
        self.question(connection.0, len, 0, in_reach, sink)?.answer()
    }

    pub(super) fn question(
        &self,
        key: Key,
        len: u64,
        front_len: usize,
        in_reach: bool,
        sink: Option<u64>,
    ) -> Option<Question> {
        let connection = self.connections.get(key)?;
        let frame_bytes = connection.hello.map_or(self.config.frame_bytes, |hello| hello.frame_bytes);
        Some(Question {
            len,
            asked: None,
            room: u64::from(frame_bytes).saturating_sub((HEADER_BYTES + SINK_BYTES + front_len) as u64),
            eager_bytes_max: self.config.thresholds.eager_bytes_max,
            prefer_write: self.config.thresholds.prefer_write,
            in_reach,
            sink,
        })
    }
}

/// A frame with everything in it but its header.
struct Composed {
    frame: Lease,
    frame_len: u32,
    copied: bool,
    mr: Option<MrId>,
    place: Option<Place>,
}

impl<'a> Parcel<'a> {
    fn new(key: Key, sort: Sort, message: Message<'a>) -> Parcel<'a> {
        Parcel { key, sort, id: 0, failed: None, message, sink: None, into: None }
    }
}
