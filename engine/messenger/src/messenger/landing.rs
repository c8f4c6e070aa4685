//! Data that does not travel with its message: fetched, or granted space and put.

use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{Instant, Lease, Op};
use wavetank_engine::memory::MemoryError;
use wavetank_engine::slab::Key;
use wavetank_engine::{Finished, RdmaOps, TransferSpec};

use super::{Messenger, Move, Moving};
use crate::connection::{Control, Landing, Progress};
use crate::event::{Cause, Violation};
use crate::frame::{Carriage, FrameKind, Header, PlaceOnWire, Sort};
use crate::message::{Data, Landed};
use crate::step::Step;

impl<C: RdmaOps> Messenger<C> {
    /// Gives incoming data a place, in the order of its messages, as far as limits and memory go.
    pub(super) fn land(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.connections.get_mut(key).filter(|connection| connection.wants_memory)
        else {
            return;
        };
        connection.wants_memory = false;
        let waiting: Vec<u64> = connection
            .arriving
            .iter()
            .filter(|arrival| matches!(arrival.landing, Landing::Waiting))
            .map(|arrival| arrival.sequence)
            .collect();
        for sequence in waiting {
            match self.land_one(key, sequence, now) {
                Ok(true) => {}
                // Whoever drops a message or a lease makes room; the connection is looked at again then, or by its timer.
                Ok(false) => {
                    if let Some(connection) = self.connections.get_mut(key) {
                        connection.wants_memory = true;
                    }
                    return;
                }
                Err(cause) => return self.fault(key, cause, now),
            }
        }
    }

    /// False: there is no room for it now.
    fn land_one(&mut self, key: Key, sequence: u64, now: Instant) -> Result<bool, Cause> {
        let limit = self.config.landing_bytes_max;
        let Some(connection) = self.connections.get_mut(key) else { return Ok(true) };
        let Some(arrival) = connection.arriving.iter().find(|arrival| arrival.sequence == sequence) else {
            return Ok(true);
        };
        let header = arrival.header;
        let len = header.data_len;
        if connection.landing_bytes + len > limit {
            return Ok(false);
        }
        let ep = connection.ep;
        let request = Key::from_u64(header.id);
        if header.sort == Sort::Reply && self.requests.get(request).is_some_and(|request| request.sink_lent) {
            // It came before, and a transfer of the endpoint before this one has its place until the next poll.
            return Ok(false);
        }
        let sink = self.sink_for(key, &header);
        let sink_of = sink.is_some().then_some(request);
        let lease = match (sink, header.carriage) {
            (Some(sink), _) => Ok(Some(sink)),
            (None, Carriage::Asked) => self.make_room(key, len),
            (None, _) => self.driver.lease(&mut self.landing, len).map(Some),
        };
        let lease = match lease {
            Ok(Some(lease)) => lease,
            Ok(None) => return Ok(true),
            Err(MemoryError::TooLong { .. }) if header.sort == Sort::Request => {
                return self.turn_away(key, sequence, now);
            }
            Err(_) => return Ok(false),
        };
        let Some(connection) = self.connections.get_mut(key) else { return Ok(true) };
        connection.landing_bytes += len;
        let next = match header.carriage {
            Carriage::Asked => {
                let Some(place) = connection.exposed.place(&lease) else { return Err(Cause::Device) };
                let place_on_wire = PlaceOnWire { extent: place.extent.0, offset: place.offset };
                self.announce(key, place.extent.0);
                let Some(connection) = self.connections.get_mut(key) else { return Ok(true) };
                let control =
                    Control { place: place_on_wire, len, ..Control::new(FrameKind::Grant, sequence) };
                connection.controls.push_back(control);
                Landing::Granted(lease)
            }
            _ => {
                let Some((ep, remote)) = ep.zip(connection.remote(header.place, len)) else {
                    return Err(Cause::Device);
                };
                let mr = connection.exposed.place(&lease).map_or(self.landing.mr(), |place| place.mr);
                let what = Moving::Fetch { sequence, sink_of };
                self.fetch(key, what, ep, Op::Read { remote }, lease, mr, len, now)?;
                Landing::Fetching
            }
        };
        let begun = matches!(next, Landing::Fetching);
        if let Some(connection) = self.connections.get_mut(key)
            && let Some(arrival) = connection.arriving.iter_mut().find(|arrival| arrival.sequence == sequence)
        {
            arrival.landing = next;
        }
        if begun {
            self.pass(Step::FetchData, key, now);
        }
        Ok(true)
    }

    /// A request whose data no memory of ours will ever hold gets no further. It is answered in its turn: an answer before its
    /// acknowledgement would be given twice if the connection breaks in between.
    fn turn_away(&mut self, key: Key, sequence: u64, now: Instant) -> Result<bool, Cause> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(true) };
        if let Some(arrival) = connection.arriving.iter_mut().find(|arrival| arrival.sequence == sequence) {
            arrival.landing = Landing::TurnedAway;
        }
        self.deliver_ready(key, now).map_err(Cause::from)?;
        Ok(true)
    }

    /// The sink of the request that a reply is for, if it holds the data.
    fn sink_for(&mut self, key: Key, header: &Header) -> Option<Lease> {
        if header.sort != Sort::Reply {
            return None;
        }
        let request = self.requests.get_mut(Key::from_u64(header.id))?;
        let fits = request.connection == key && !request.over && header.data_len <= request.sink_len;
        request.sink_lent |= fits && request.sink.is_some();
        if fits { request.sink.take() } else { None }
    }

    /// The reply that was to land there has not, and will come again.
    pub(super) fn give_sink_back(&mut self, key: Key, request: Key, lease: Lease) {
        if let Some(request) = self.requests.get_mut(request)
            && request.connection == key
            && std::mem::take(&mut request.sink_lent)
        {
            request.sink = Some(lease);
        }
    }

    #[allow(clippy::too_many_arguments)] // one use, right above
    fn fetch(
        &mut self,
        key: Key,
        what: Moving,
        ep: wavetank_contract::EpId,
        op: Op,
        lease: Lease,
        mr: wavetank_contract::MrId,
        len: u64,
        now: Instant,
    ) -> Result<(), Cause> {
        let moving = Move { connection: key, what };
        let Some(moving) = self.moves.insert(moving) else { return Err(Cause::Device) };
        let tag = moving.to_u64();
        let spec = TransferSpec { ep, op, lease, mr, len, deadline: Instant::FAR, session: None, tag };
        if let Err(error) = self.driver.submit(now, spec) {
            self.moves.discard(moving);
            return Err(Cause::Unreached(error.reason.to_string()));
        }
        if let Some(connection) = self.connections.get_mut(key) {
            if connection.moving == 0 {
                connection.moved_at = now;
            }
            connection.moving += 1;
        }
        self.set_timer(key, now);
        Ok(())
    }

    /// The peer says where a message's data may be written.
    pub(super) fn granted(&mut self, key: Key, header: &Header, now: Instant) -> Result<(), Violation> {
        let sequence = header.id;
        let Some(out) = self.sent_as(key, sequence).filter(|out| {
            self.outgoing.get(*out).is_some_and(|outgoing| outgoing.progress == Progress::Asked)
        }) else {
            return Err(Violation::Control { what: "a grant", sequence });
        };
        let len = self.outgoing.get(out).map_or(0, |outgoing| outgoing.data_len());
        let PlaceOnWire { extent, offset } = header.place;
        let remote = self.connections.get(key).and_then(|connection| connection.remote(header.place, len));
        let Some(remote) = remote.filter(|_| header.data_len == len) else {
            return Err(Violation::Place { extent, offset, len });
        };
        match self.put(key, out, remote, Moving::Put { outgoing: out }, now) {
            Ok(()) => {
                if let Some(outgoing) = self.outgoing.get_mut(out) {
                    outgoing.progress = Progress::Putting;
                }
                if planted::is(Bug::LandBeforeData)
                    && let Some(connection) = self.connections.get_mut(key)
                {
                    connection.controls.push_back(Control::new(FrameKind::Landed, sequence));
                    self.mark(key);
                }
                self.set_timer(key, now);
                self.pass(Step::PutData, key, now);
            }
            Err(cause) => self.fault(key, cause, now),
        }
        Ok(())
    }

    /// The message of a sequence, if the peer has not acknowledged it.
    fn sent_as(&self, key: Key, sequence: u64) -> Option<Key> {
        let connection = self.connections.get(key)?;
        let of = |out: &Key| self.outgoing.get(*out).map_or(0, |outgoing| outgoing.header.sequence);
        let at = connection.sent.binary_search_by_key(&sequence, of).ok()?;
        connection.sent.get(at).copied()
    }

    /// The peer has written the data of a message.
    pub(super) fn landed(&mut self, key: Key, sequence: u64, now: Instant) -> Result<(), Violation> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        let arrival = connection.arriving.iter_mut().find(|arrival| arrival.sequence == sequence);
        let Some(arrival) = arrival.filter(|arrival| matches!(arrival.landing, Landing::Granted(_))) else {
            return Err(Violation::Control { what: "data", sequence });
        };
        if let Landing::Granted(lease) = std::mem::replace(&mut arrival.landing, Landing::Gone) {
            arrival.landing = Landing::Complete(Landed::Own(lease));
        }
        self.pass(Step::DataLanded, key, now);
        self.deliver_ready(key, now)
    }

    /// A READ or WRITE of data ended.
    pub(super) fn moved(&mut self, finished: Finished, now: Instant) {
        let Some(Move { connection: key, what }) = self.moves.remove(Self::finished_key(&finished)) else {
            return;
        };
        let current = self.connections.get(key).is_some_and(|connection| connection.ep == Some(finished.ep));
        if let Some(connection) = self.connections.get_mut(key).filter(|_| current) {
            connection.moving = connection.moving.saturating_sub(1);
            connection.moved_at = now;
        }
        if let Moving::Pull { tag } = what {
            return self.pulled(key, tag, finished, current, now);
        }
        let mut lease = finished.lease;
        match what {
            Moving::Pull { .. } => {}
            Moving::Put { outgoing } | Moving::Fill { outgoing } => {
                if let Some(outgoing) = self.outgoing.get_mut(outgoing)
                    && let Some((len, mr)) = outgoing.lent.take()
                {
                    outgoing.data = lease.take().map(|lease| Data { lease, len, mr });
                }
            }
            Moving::Fetch { sequence, .. } if current && finished.result.is_ok() => {
                if let Some(lease) = lease.take() {
                    self.fetched(key, sequence, lease, now);
                }
                return;
            }
            Moving::Fetch { sink_of, .. } => {
                if let (Some(request), Some(lease)) = (sink_of, lease.take()) {
                    self.give_sink_back(key, request, lease);
                }
            }
        }
        if !current {
            // The endpoint is gone; a message that is to be sent again has its data back now.
            return self.mark(key);
        }
        if let Err(error) = finished.result {
            return self.fault(key, Cause::Transfer(error), now);
        }
        match what {
            Moving::Put { outgoing } => {
                let Some(outgoing) = self.outgoing.get_mut(outgoing) else { return };
                outgoing.progress = Progress::Posted;
                let sequence = outgoing.header.sequence;
                if let Some(connection) = self.connections.get_mut(key)
                    && !planted::is(Bug::LandBeforeData)
                {
                    connection.controls.push_back(Control::new(FrameKind::Landed, sequence));
                }
            }
            Moving::Fill { outgoing: out } => {
                if let Some(outgoing) = self.outgoing.get_mut(out) {
                    outgoing.progress = Progress::Filled;
                }
                if let Some(connection) = self.connections.get_mut(key)
                    && let Some(at) = connection.filling.iter().position(|filling| *filling == out)
                {
                    connection.filling.remove(at);
                    self.put_back(key, out);
                }
                self.pass(Step::SinkFilled, key, now);
            }
            Moving::Fetch { .. } | Moving::Pull { .. } => {}
        }
        self.mark(key);
    }

    fn fetched(&mut self, key: Key, sequence: u64, lease: Lease, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(arrival) = connection.arriving.iter_mut().find(|arrival| arrival.sequence == sequence)
        else {
            return;
        };
        arrival.landing = Landing::Complete(Landed::Own(lease));
        self.pass(Step::Fetched, key, now);
        self.mark(key);
        if let Err(violation) = self.deliver_ready(key, now) {
            self.violated(key, violation, now);
        }
    }
}
