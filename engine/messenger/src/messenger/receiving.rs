//! Works that ended, and frames that came.

use wavetank_contract::{Instant, Lease, OpKind, Status};
use wavetank_engine::slab::Key;
use wavetank_engine::{Outcome, RdmaOps};

use super::pumping::RECEIVE;
use super::{Messenger, Whose};
use crate::connection::{Arrival, Connection, Landing, Progress, State};
use crate::event::{Cause, Event, Violation};
use crate::frame::{
    Carriage, FRONT_BYTES_MAX, FrameKind, HEADER_BYTES, Header, SINK_BYTES, SinkOnWire, Sort,
};
use crate::hello::feature;
use crate::message::Landed;
use crate::step::Step;

/// Extents that one peer may name in one life of a connection.
const EXTENTS_MAX: usize = 4096;

impl<C: RdmaOps> Messenger<C> {
    /// A work of ours ended.
    #[inline]
    pub(super) fn ended(&mut self, outcome: &Outcome, now: Instant) {
        if self.halted {
            return;
        }
        if outcome.tag & RECEIVE != 0 {
            return self.received(outcome, now);
        }
        let Some(key) = self.connections.key_at(outcome.tag as u32) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.ep != Some(outcome.ep) {
            return;
        }
        connection.in_flight = connection.in_flight.saturating_sub(1);
        let over = connection.close_posted && connection.in_flight == 0;
        match outcome.status {
            Status::Success if over && matches!(connection.state, State::Closing { .. }) => self.closed(key),
            Status::Success => {}
            status => self.fault(key, Cause::Work { status }, now),
        }
    }

    #[inline]
    fn received(&mut self, outcome: &Outcome, now: Instant) {
        let place = (outcome.tag & !RECEIVE) as u32;
        let Some(posted) = self.posted.key_at(place).and_then(|key| self.posted.remove(key)) else { return };
        let key = match posted.whose {
            Whose::Connection(key) => key,
            Whose::Shared(srq) => return self.shared_received(srq, posted.lease, outcome, now),
        };
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.ep != Some(outcome.ep) {
            return;
        }
        if outcome.status != Status::Success {
            return self.receive_failed(key, outcome.status, now);
        }
        self.stats.frames_in += 1;
        if matches!(connection.state, State::Answering { .. }) {
            self.establish_early(key, now);
        }
        let open = self.connections.get_mut(key).filter(|connection| connection.is_open());
        let came = match open.map(|connection| connection.window.take()) {
            None => Ok(()),
            Some(false) => Err(Violation::NoCredit),
            Some(true) => self.frame_came(key, posted.lease, outcome, now),
        };
        if let Err(violation) = came {
            self.violated(key, violation, now);
        }
        self.mark(key);
    }

    /// A receive that is too short for what came is the peer's doing, all else is the connection's end.
    pub(super) fn receive_failed(&mut self, key: Key, status: Status, now: Instant) {
        let cause = match status {
            Status::LocLenErr => {
                self.stats.violations += 1;
                Violation::Overlong(self.config.frame_bytes).into()
            }
            status => Cause::Work { status },
        };
        self.fault(key, cause, now);
    }

    /// A frame came that the peer had a credit for.
    pub(super) fn frame_came(
        &mut self,
        key: Key,
        frame: Lease,
        outcome: &Outcome,
        now: Instant,
    ) -> Result<(), Violation> {
        let Some(connection) = self.connections.get_mut(key).filter(|connection| connection.is_open()) else {
            return Ok(());
        };
        let len = u64::from(outcome.len);
        if outcome.kind != OpKind::Send {
            // A WRITE with immediate spends a receive and brings no frame.
            return Err(Violation::Feature("WRITE with immediate"));
        }
        // Copied before it is looked at: nothing the peer does later changes what was checked.
        let mut bytes = [0; HEADER_BYTES + SINK_BYTES];
        let head = &mut bytes[..(len as usize).min(HEADER_BYTES + SINK_BYTES)];
        frame.read(0, head);
        let header = Header::decode(head, len)?;
        connection.heard_at = now;
        let window = connection.hello.map_or(0, |hello| hello.window);
        if !connection.credits.hear(header.granted) {
            return Err(Violation::Credits { granted: header.granted, window });
        }
        if header.life != connection.peer_life as u32 {
            self.stats.duplicates += 1;
            return Ok(());
        }
        // Who was only told of credits does not tell of its own.
        connection.window.wanted |= header.starved || header.kind != FrameKind::Credit;
        if header.starved {
            self.widen(key);
        }
        self.hear_ack(key, header.acked, now)?;
        match header.kind {
            FrameKind::Message => self.message_came(key, frame, header, now),
            FrameKind::Extent => self.extent_came(key, &frame, &header),
            FrameKind::Grant => self.granted(key, &header, now),
            FrameKind::Landed => self.landed(key, header.id, now),
            FrameKind::Credit => Ok(()),
            FrameKind::Ping => self.idles(key, header.id),
            FrameKind::Close => {
                let mut text = [0; FRONT_BYTES_MAX];
                let text = &mut text[..usize::from(header.front_len)];
                frame.read(header.front_at() as u64, text);
                let text = String::from_utf8_lossy(text).into_owned();
                self.pass(Step::Closed, key, now);
                self.fault(key, Cause::ClosedByPeer(text), now);
                Ok(())
            }
        }
    }

    /// A peer that has more to send gets more receives, while there is memory.
    fn widen(&mut self, key: Key) {
        let (spoken_bytes, slot_bytes) = self.receives_spoken_for();
        let (free_bytes, total_bytes) = (self.receive_bytes_free(), self.receives.stats().total_bytes);
        let depth = self.window_max(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        // What one may come to have is there whatever others have, and a quarter is left to those who begin: receives that wait
        // for their data's arrival would keep the very frame from coming that says it is there.
        let size = (connection.window.size * 2).min(depth).max(connection.window.size);
        let more_bytes = u64::from(size - connection.window.size) * slot_bytes;
        if spoken_bytes + more_bytes <= total_bytes / 4 * 3 && free_bytes > total_bytes / 4 {
            connection.window.size = size;
        }
    }

    /// Bytes of receives that connections may have at most, and of one of them.
    pub(super) fn receives_spoken_for(&self) -> (u64, u64) {
        let slot_bytes = u64::from(self.config.frame_bytes.next_power_of_two());
        // Two are posted beside a window that is full.
        let most = |connection: &Connection| u64::from(connection.window.size + 2) * slot_bytes;
        let with_endpoint = self.connections.iter().filter(|(_, connection)| connection.ep.is_some());
        (with_endpoint.map(|(_, connection)| most(connection)).sum(), slot_bytes)
    }

    fn hear_ack(&mut self, key: Key, acked: u32, now: Instant) -> Result<(), Violation> {
        let Some(connection) = self.connections.get(key) else { return Ok(()) };
        let more = acked.wrapping_sub(connection.acked as u32);
        if more == 0 {
            return Ok(());
        }
        let acked = connection.acked + u64::from(more);
        if acked > connection.sequence {
            return Err(Violation::Acked { acked, sent: connection.sequence });
        }
        // What waits to be granted space or is being put cannot be there.
        for out in &connection.sent {
            let Some(outgoing) = self.outgoing.get(*out) else { continue };
            if outgoing.header.sequence > acked {
                break;
            }
            if matches!(outgoing.progress, Progress::Asked | Progress::Putting) {
                let sequence = outgoing.header.sequence;
                return Err(Violation::Control { what: "an acknowledgement", sequence });
            }
        }
        self.acknowledged(key, acked, now);
        Ok(())
    }

    /// The peer has everything up to a sequence: lets go of it.
    pub(super) fn acknowledged(&mut self, key: Key, acked: u64, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.acked = connection.acked.max(acked);
        let mut any = false;
        while let Some(out) = connection.sent.front().copied() {
            match self.outgoing.get_mut(out) {
                Some(outgoing) if outgoing.header.sequence > acked => break,
                Some(outgoing) if outgoing.header.sort == Sort::Held => {
                    outgoing.progress = Progress::Held;
                    connection.held.push((outgoing.header.sequence, out));
                }
                Some(outgoing) => {
                    if outgoing.header.sort == Sort::Request
                        && let Some(request) = self.requests.get_mut(Key::from_u64(outgoing.header.id))
                    {
                        request.outgoing = None;
                    }
                    self.outgoing.discard(out);
                }
                None => {}
            }
            connection.sent.pop_front();
            any = true;
        }
        if any {
            self.pass(Step::Acknowledged, key, now);
        }
    }

    fn message_came(
        &mut self,
        key: Key,
        frame: Lease,
        header: Header,
        now: Instant,
    ) -> Result<(), Violation> {
        let max = self.config.message_bytes_max;
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        let due = connection.newest + 1;
        if header.sequence != due {
            return Err(Violation::Sequence { came: header.sequence, due });
        }
        if header.data_len > max {
            return Err(Violation::TooLong { len: header.data_len, max });
        }
        // Who keeps to its credits never has so much here: what is held when it is stopped, what it was granted before, and that
        // once more after a break.
        connection.weigh(self.config.queue_messages_max);
        let begins = !matches!(header.sort, Sort::Reply | Sort::Release);
        let (load, answers) = (connection.window.load(), connection.waiting_answers());
        let most = self.config.queue_messages_max as usize + 4 * self.config.window as usize;
        if begins && (load > 4 * self.config.window || answers > most) {
            return Err(Violation::NoCredit);
        }
        let needs = match header.carriage {
            Carriage::Inside => (0, ""),
            Carriage::Offered => (feature::READ, "data to be read"),
            Carriage::Asked => (feature::WRITE, "data to be written"),
            Carriage::InSink => (feature::SINK, "sinks"),
        };
        if connection.features & needs.0 != needs.0 {
            return Err(Violation::Feature(needs.1));
        }
        if header.carriage == Carriage::Offered && connection.remote(header.place, header.data_len).is_none()
        {
            let (extent, offset) = (header.place.extent, header.place.offset);
            return Err(Violation::Place { extent, offset, len: header.data_len });
        }
        if let Some(SinkOnWire { place, len }) = header.sink
            && connection.remote(place, len).is_none()
        {
            return Err(Violation::Place { extent: place.extent, offset: place.offset, len });
        }
        if matches!(header.carriage, Carriage::Offered | Carriage::Asked) && header.data_len == 0 {
            return Err(Violation::TooLong { len: 0, max });
        }
        connection.newest = due;
        let deadline = match header.budget_ns {
            0 => Instant::FAR,
            budget_ns => now + budget_ns,
        };
        let landing = match header.carriage {
            Carriage::Inside if header.data_len == 0 => Landing::Complete(Landed::Nothing),
            Carriage::Inside => Landing::Complete(Landed::Inside),
            Carriage::InSink => Landing::Complete(Landed::Nothing),
            Carriage::Offered | Carriage::Asked => Landing::Waiting,
        };
        let arrival = Arrival { sequence: due, header, frame: Some(frame), deadline, landing };
        let step = if header.sort == Sort::Reply { Step::ReceiveReply } else { Step::ReceiveEager };
        self.pass(step, key, now);
        self.arrived(key, arrival, now)
    }

    fn extent_came(&mut self, key: Key, frame: &Lease, header: &Header) -> Result<(), Violation> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        let extent = header.id as u32;
        let known = connection.extents.iter().any(|(known, _)| *known == extent);
        if known || u64::from(extent) != header.id || connection.extents.len() >= EXTENTS_MAX {
            return Err(Violation::Extent(extent));
        }
        let mut bytes = [0; FRONT_BYTES_MAX];
        let bytes = &mut bytes[..usize::from(header.front_len)];
        frame.read(header.front_at() as u64, bytes);
        let (Some(remote), Some(ep)) = (wavetank_contract::RemoteKey::from_bytes(bytes), connection.ep)
        else {
            return Err(Violation::Extent(extent));
        };
        let region = self.driver.context().import(ep, &remote)?;
        connection.extents.push((extent, region));
        Ok(())
    }

    /// The receiver has let go of a held message.
    pub(super) fn released(
        &mut self,
        key: Key,
        sequence: u64,
        delivered: bool,
        now: Instant,
    ) -> Result<(), Violation> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        let Some(at) = connection.held.iter().position(|(held, _)| *held == sequence) else {
            return Err(Violation::Control { what: "a release", sequence });
        };
        let (_, out) = connection.held.swap_remove(at);
        if let Some(outgoing) = self.outgoing.remove(out) {
            let (connection, tag, data) = (crate::ConnectionId(key), outgoing.tag, outgoing.data);
            self.events.push_back(Event::Released { connection, tag, data, delivered });
        }
        self.pass(Step::Released, key, now);
        Ok(())
    }
}
