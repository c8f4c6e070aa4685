//! Messages: what is handed over to be sent, and what is delivered.

use std::cell::RefCell;
use std::rc::Rc;

use wavetank_contract::{Instant, Lease, MrId};

use crate::connection::ConnectionId;
use crate::frame::FRONT_BYTES_MAX;
use crate::way::Way;

/// Data of a message: the first `len` bytes of a lease. It is not copied unless it is small.
#[derive(Debug)]
pub struct Data {
    /// The memory. It stays with the messenger until the peer has the bytes.
    pub lease: Lease,
    /// Bytes, from the start of the lease on; at least 1.
    pub len: u64,
    /// The registration of the lease's region, where it is neither of the messenger's pool nor exposed: of a buffer of the
    /// user's own, from a registration cache.
    pub mr: Option<MrId>,
}

impl Data {
    /// All of a lease of the messenger's own memory.
    pub fn all(lease: Lease) -> Data {
        Data { len: lease.len(), lease, mr: None }
    }

    /// The first bytes of one.
    pub fn first(lease: Lease, len: u64) -> Data {
        Data { lease, len, mr: None }
    }
}

/// A message to be sent.
#[derive(Debug)]
pub struct Message<'a> {
    /// The application's type.
    pub r#type: u16,
    /// A few bytes that travel with it, at most [`FRONT_BYTES_MAX`]. Copied at once.
    pub front: &'a [u8],
    /// Any number of bytes.
    pub data: Option<Data>,
    /// When nobody is interested any more. Travels as the time that is left.
    pub deadline: Instant,
    /// How the data is to travel; `None` lets the messenger choose.
    pub way: Option<Way>,
    /// The caller's name for it.
    pub tag: u64,
}

impl<'a> Message<'a> {
    /// A message without data.
    pub fn new(r#type: u16, front: &'a [u8], deadline: Instant) -> Message<'a> {
        Message { r#type, front, data: None, deadline, way: None, tag: 0 }
    }

    /// With data.
    #[must_use]
    pub fn with(mut self, data: Data) -> Message<'a> {
        self.data = Some(data);
        self
    }

    /// With a name.
    #[must_use]
    pub fn tagged(mut self, tag: u64) -> Message<'a> {
        self.tag = tag;
        self
    }

    /// By a way of the caller's choice.
    #[must_use]
    pub fn by(mut self, way: Option<Way>) -> Message<'a> {
        self.way = way;
        self
    }
}

/// Whom a reply goes to: one request, in one life of its connection. Dropped, it tells the requester that there is no reply.
#[derive(Debug)]
pub struct ReplyTo {
    pub(crate) connection: ConnectionId,
    /// The life of the connection in which it came.
    pub(crate) epoch: u32,
    /// As the requester named it.
    pub(crate) id: u64,
    pub(crate) deadline: Instant,
    pub(crate) sink: Option<crate::frame::SinkOnWire>,
    /// `None` once it was answered.
    pub(crate) returns: Option<Returns>,
}

impl ReplyTo {
    /// The connection it came on.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Bytes that the requester has room for, if it gave memory.
    pub fn sink_len(&self) -> Option<u64> {
        self.sink.map(|sink| sink.len)
    }

    /// When the requester loses interest.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        if let Some(returns) = self.returns.take() {
            let (connection, epoch) = (self.connection, self.epoch);
            returns.put(Return { connection, epoch, what: Returned::Unanswered { id: self.id } });
        }
    }
}

/// What a delivered message is to its receiver.
#[derive(Debug)]
pub enum Kind {
    /// Nobody waits.
    OneWay,
    /// The sender waits until this message is dropped.
    Held,
    /// The sender waits for a reply.
    Request(ReplyTo),
    /// The reply to a request of ours.
    Reply,
}

/// Where delivered data is.
#[derive(Debug)]
pub(crate) enum Landed {
    Nothing,
    /// In the receive buffer.
    Inside,
    /// In a lease of its own.
    Own(Lease),
    /// In the lease that the request gave.
    Sink(Lease),
}

/// A message that has come. While it is there it counts against its connection's window; drop it when it is done with.
#[derive(Debug)]
pub struct Incoming {
    pub(crate) connection: ConnectionId,
    pub(crate) epoch: u32,
    pub(crate) sequence: u64,
    pub(crate) r#type: u16,
    pub(crate) kind: Kind,
    /// We wait for it: it counts for nothing.
    pub(crate) asked: bool,
    pub(crate) frame: Option<Lease>,
    pub(crate) front_at: u64,
    pub(crate) front_len: usize,
    pub(crate) data_len: u64,
    pub(crate) landed: Landed,
    pub(crate) deadline: Instant,
    /// Bytes it counts for until it is dropped.
    pub(crate) landing_bytes: u64,
    pub(crate) returns: Returns,
}

impl Incoming {
    /// The connection it came on.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// The application's type.
    pub fn r#type(&self) -> u16 {
        self.r#type
    }

    /// When its sender loses interest, by our clock.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether a reply is expected.
    pub fn is_request(&self) -> bool {
        matches!(self.kind, Kind::Request(_))
    }

    /// Whom to reply to. Once.
    pub fn take_reply_to(&mut self) -> Option<ReplyTo> {
        match std::mem::replace(&mut self.kind, Kind::OneWay) {
            Kind::Request(reply_to) => Some(reply_to),
            other => {
                self.kind = other;
                None
            }
        }
    }

    /// Bytes of its front.
    pub fn front_len(&self) -> usize {
        self.front_len
    }

    /// Its front, copied: whoever sent it could change it meanwhile.
    pub fn front<'b>(&self, buffer: &'b mut [u8; FRONT_BYTES_MAX]) -> &'b [u8] {
        let front = &mut buffer[..self.front_len];
        if let Some(frame) = self.frame.as_ref().filter(|_| !front.is_empty()) {
            frame.read(self.front_at, front);
        }
        front
    }

    /// Bytes of its data.
    pub fn data_len(&self) -> u64 {
        self.data_len
    }

    /// The lease its data is in, and where it begins there.
    pub fn data(&self) -> Option<(&Lease, u64)> {
        match &self.landed {
            Landed::Nothing => None,
            Landed::Inside => self.frame.as_ref().map(|frame| (frame, self.front_at + self.front_len as u64)),
            Landed::Own(lease) | Landed::Sink(lease) => Some((lease, 0)),
        }
    }

    /// Copies data out. False when the range is not inside.
    pub fn read(&self, offset: u64, to: &mut [u8]) -> bool {
        let inside = offset.checked_add(to.len() as u64).is_some_and(|end| end <= self.data_len);
        match self.data() {
            Some((lease, start)) if inside => {
                lease.read(start + offset, to);
                true
            }
            _ => inside,
        }
    }

    /// The request gave memory for the data: short data is copied there, so that it is where it was asked for.
    pub(crate) fn settle_into(&mut self, sink: Lease) {
        let landed = match std::mem::replace(&mut self.landed, Landed::Nothing) {
            Landed::Nothing => Landed::Sink(sink),
            Landed::Inside if self.data_len <= sink.len() => {
                let mut block = [0; 1024];
                let mut at = 0;
                while at < self.data_len {
                    let len = (self.data_len - at).min(block.len() as u64) as usize;
                    if let Some(frame) = &self.frame {
                        frame.read(self.front_at + self.front_len as u64 + at, &mut block[..len]);
                    }
                    sink.write(at, &block[..len]);
                    at += len as u64;
                }
                Landed::Sink(sink)
            }
            other => other,
        };
        self.landed = landed;
    }

    /// Takes the memory that the data is in, if that is not a receive buffer: a lease of its own, or the sink of the request,
    /// whether there is data in it or not.
    pub fn take_lease(&mut self) -> Option<Lease> {
        match std::mem::replace(&mut self.landed, Landed::Nothing) {
            Landed::Own(lease) | Landed::Sink(lease) => Some(lease),
            other => {
                self.landed = other;
                None
            }
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let held = matches!(self.kind, Kind::Held);
        let (connection, epoch) = (self.connection, self.epoch);
        let (sequence, bytes, asked) = (self.sequence, self.landing_bytes, self.asked);
        let what = Returned::Message { sequence, bytes, held, asked };
        self.returns.put(Return { connection, epoch, what });
    }
}

/// What users let go of, for the messenger to notice: dropping needs no reference to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Returns(Rc<RefCell<Vec<Return>>>);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Return {
    pub(crate) connection: ConnectionId,
    pub(crate) epoch: u32,
    pub(crate) what: Returned,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Returned {
    Message { sequence: u64, bytes: u64, held: bool, asked: bool },
    Unanswered { id: u64 },
}

impl Returns {
    fn put(&self, one: Return) {
        self.0.borrow_mut().push(one);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Swaps with a buffer of the caller's, which is empty.
    #[inline]
    pub(crate) fn take(&self, buffer: &mut Vec<Return>) {
        std::mem::swap(&mut *self.0.borrow_mut(), buffer);
    }
}
