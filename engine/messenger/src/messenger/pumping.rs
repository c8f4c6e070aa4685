//! What may be posted is posted: receives, control frames, messages, as credits allow.

use wavetank_contract::{Instant, Op, Sge};
use wavetank_engine::memory::MemoryError;
use wavetank_engine::slab::Key;
use wavetank_engine::{Order, RdmaOps, TransferSpec};

use super::{Messenger, Move, Moving, Posted, Whose};
use crate::connection::{Connection, ConnectionId, Control, Progress, Starving, State};
use crate::event::{Cause, DropReason, Event, RequestError, Violation};
use crate::frame::{Carriage, Failure, FrameKind, HEADER_BYTES, Header, PlaceOnWire, SinkOnWire, Sort};
use crate::hello::feature;
use crate::step::Step;
use crate::way::{Chosen, Way};

/// How soon memory that was short is looked for again.
pub(super) const TRY_AGAIN_NS: u64 = 1_000_000;

/// Tags of receives have this bit; those of sends name their connection's place.
pub(super) const RECEIVE: u64 = 1 << 31;

impl<C: RdmaOps> Messenger<C> {
    pub(super) fn pump_dirty(&mut self, now: Instant) {
        // What is marked on the way gets its turn as well; nothing marks itself for ever.
        let mut at = 0;
        while at < self.dirty.len() {
            let key = self.dirty[at];
            at += 1;
            if let Some(connection) = self.connections.get_mut(key) {
                connection.dirty = false;
                self.pump(key, now);
            }
        }
        self.dirty.clear();
    }

    fn pump(&mut self, key: Key, now: Instant) {
        if self.halted {
            return;
        }
        match self.connections.get(key).map(|connection| connection.state) {
            Some(State::Open { .. }) => {
                // Without memory the peer has fewer credits for a while, and what it has said is heard all the same.
                let posted = self.post_receives(key).is_ok();
                self.land(key, now);
                let said = self.say_unsaid(key, now);
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.short = !posted || !said || connection.wants_memory;
                }
                while self.post_next(key, now) {}
                self.post_alone(key, now);
                self.try_again(key, now);
            }
            Some(State::Closing { .. }) => {
                let posted = self.connections.get(key).is_some_and(|connection| connection.close_posted);
                if !posted && let Some(control) = self.next_control(key) {
                    let posted = self.post_control(key, control, now);
                    if let Some(connection) = self.connections.get_mut(key) {
                        connection.close_posted = posted;
                    }
                }
            }
            _ => {}
        }
    }

    /// Memory was short: whoever lets go of some tells nobody, so it is tried again.
    fn try_again(&mut self, key: Key, now: Instant) {
        let may_say = |connection: &Connection| connection.muted || connection.credits.left() <= 2;
        if self.connections.get(key).is_some_and(may_say) {
            // A sign of life may be possible that was not before.
            self.set_timer(key, now);
        }
        let short =
            self.connections.get(key).is_some_and(|connection| connection.short && connection.is_open());
        let at = now + TRY_AGAIN_NS;
        if short && self.timers.get(key.index).is_none_or(|set| at < set) {
            self.timers.set(key.index, at);
        }
    }

    /// Posts receives up to the window, less what is held.
    pub(super) fn post_receives(&mut self, key: Key) -> Result<(), MemoryError> {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.weigh(self.config.queue_messages_max);
        }
        self.post_missing(key)
    }

    pub(super) fn post_missing(&mut self, key: Key) -> Result<(), MemoryError> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        let Some(ep) = connection.ep else { return Ok(()) };
        if let Some(place) = connection.shared {
            return self.promise_missing(key, place);
        }
        let mr = self.receives.mr();
        for _ in 0..connection.window.missing() {
            let lease = self.receives.acquire(u64::from(self.config.frame_bytes))?;
            let piece = Sge { mr, len: self.config.frame_bytes, offset: lease.offset() };
            let hold = Some(lease.hold());
            let Some(posted) = self.posted.insert(Posted { whose: Whose::Connection(key), lease }) else {
                break;
            };
            self.driver.order(ep, Order::new(RECEIVE | u64::from(posted.index), Op::Recv, piece, hold));
            connection.window.post(1);
        }
        Ok(())
    }

    fn next_control(&mut self, key: Key) -> Option<Control> {
        let connection = self.connections.get_mut(key)?;
        let credit = match connection.state {
            // The last frame may take the last credit.
            State::Closing { .. } => connection.credits.left(),
            // So may any that brings credits, as good as a frame that does nothing else: two sides short of credits could go on
            // telling each other so with the one that each has, and never get to what they wait for.
            _ if connection.window.owed() > 0 => connection.credits.left(),
            _ => connection.credits.for_answers(),
        };
        if credit == 0 { None } else { connection.controls.pop_front() }
    }

    /// Posts the next frame. False: there is none, or no credit for it.
    fn post_next(&mut self, key: Key, now: Instant) -> bool {
        if self.halted {
            return false;
        }
        if let Some(control) = self.next_control(key) {
            return self.post_control(key, control, now);
        }
        let Some(connection) = self.connections.get_mut(key).filter(|connection| connection.is_open()) else {
            return false;
        };
        // What is sent again has its sequence already: nothing may come before it.
        let again = connection
            .queue
            .front()
            .is_some_and(|out| self.outgoing.get(*out).is_some_and(|outgoing| outgoing.header.sequence != 0));
        let (from, credits, what) = if again {
            (&mut connection.queue, connection.credits.for_answers(), Starving::Answers)
        } else if !connection.answers.is_empty() {
            (&mut connection.answers, connection.credits.for_answers(), Starving::Answers)
        } else {
            (&mut connection.queue, connection.credits.for_work(), Starving::Work)
        };
        if !connection.controls.is_empty() {
            connection.starving = Starving::Answers;
            return false;
        }
        if from.is_empty() {
            (connection.starving, connection.cried) = (Starving::No, Starving::No);
            return false;
        }
        if credits == 0 {
            connection.starving = what;
            return false;
        }
        match from.pop_front() {
            Some(out) => self.post_message(key, out, now),
            None => false,
        }
    }

    /// A message stands first again.
    pub(super) fn put_back(&mut self, key: Key, out: Key) {
        let header = self.outgoing.get(out).map(|outgoing| outgoing.header);
        if let (Some(connection), Some(header)) = (self.connections.get_mut(key), header) {
            match header.sort {
                Sort::Reply | Sort::Release if header.sequence == 0 => connection.answers.push_front(out),
                _ => connection.queue.push_front(out),
            }
        }
    }

    /// Sends a queued message on its way. False: it has to wait, and stands first in the queue again.
    fn post_message(&mut self, key: Key, out: Key, now: Instant) -> bool {
        let Some(outgoing) = self.outgoing.get(out) else { return true };
        let (sort, progress, deadline) = (outgoing.header.sort, outgoing.progress, outgoing.deadline);
        let (len, front_len) = (outgoing.data_len(), usize::from(outgoing.header.front_len));
        let fresh = outgoing.header.sequence == 0;
        if fresh && deadline <= now && !matches!(sort, Sort::Reply | Sort::Release) {
            self.drop_unsent(key, out, None);
            return true;
        }
        if outgoing.lent.is_some() {
            // A transfer of the endpoint before this one has its memory until the next poll.
            self.put_back(key, out);
            return false;
        }
        let Some(connection) = self.connections.get(key) else { return true };
        let (features, max) =
            (connection.features, connection.hello.map_or(u64::MAX, |hello| hello.message_bytes_max));
        if len > max && fresh {
            self.drop_unsent(key, out, Some((len, max)));
            return true;
        }
        // What is sent again may be there already, and its sink with whoever asked: it may not be written any more.
        // On an endpoint that came after a break, the peer has not given the key again: it was checked with the request.
        let in_sight = |sink: &SinkOnWire| connection.remote(sink.place, sink.len).is_some();
        let sink = outgoing.sink.filter(in_sight).map(|sink| sink.len);
        let sink = sink.filter(|_| fresh && features & feature::SINK != 0);
        let in_reach = outgoing.place.is_some() && features & feature::READ != 0;
        let Some(mut question) = self.question(key, len, front_len, in_reach, sink) else { return true };
        question.asked = outgoing.asked;
        // A way that cannot be with this peer gives way to one that can.
        let chosen = question.answer().or_else(|| crate::way::Question { asked: None, ..question }.answer());
        let Some(Chosen { way, .. }) = chosen else { return true };
        if progress == Progress::Queued {
            *chosen.map_or(&mut 0, |chosen| self.chosen.entry(chosen).or_default()) += 1;
        }
        let announce = [
            outgoing.place.as_ref().filter(|_| way == Way::Read).map(|place| place.extent.0),
            outgoing.header.sink.map(|sink| sink.place.extent),
        ];
        for extent in announce.into_iter().flatten() {
            if self.announce(key, extent) {
                // The key goes first, with a credit of its own.
                self.put_back(key, out);
                return true;
            }
        }
        match (way, progress) {
            (Way::Sink, Progress::Queued) => return self.fill(key, out, now),
            (Way::Sink, Progress::Filling) => {
                // One that is sent again keeps its turn.
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.queue.push_front(out);
                }
                return false;
            }
            (Way::Sink, _) => self.post_frame(key, out, Carriage::InSink, chosen, now),
            (Way::Eager, _) => self.post_frame(key, out, Carriage::Inside, chosen, now),
            (Way::Read, _) => self.post_frame(key, out, Carriage::Offered, chosen, now),
            (Way::Write, _) => self.post_frame(key, out, Carriage::Asked, chosen, now),
        }
        true
    }

    /// Lets the peer have the key to an extent, unless it has it. True: the key waits to be sent.
    pub(super) fn announce(&mut self, key: Key, extent: u32) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        if connection.announced.contains(&extent) {
            return false;
        }
        let Some(bytes) = connection.exposed.key(wavetank_engine::memory::ExtentId(extent)) else {
            return false;
        };
        let control =
            Control { front: bytes.as_bytes().into(), ..Control::new(FrameKind::Extent, extent.into()) };
        connection.announced.push(extent);
        connection.controls.push_back(control);
        true
    }

    /// A message that was never sent will not be.
    fn drop_unsent(&mut self, key: Key, out: Key, too_long: Option<(u64, u64)>) {
        let Some(outgoing) = self.outgoing.get(out) else { return };
        let (sort, tag, id, deadline) =
            (outgoing.header.sort, outgoing.tag, outgoing.header.id, outgoing.deadline);
        let connection = ConnectionId(key);
        if sort == Sort::Request {
            let why = match too_long {
                Some((len, max)) => RequestError::TooLong { len, max },
                None => RequestError::Deadline(deadline),
            };
            return self.give_up(Key::from_u64(id), &why);
        }
        let Some(outgoing) = self.outgoing.remove(out) else { return };
        match sort {
            Sort::Held => {
                let data = outgoing.data;
                self.events.push_back(Event::Released { connection, tag, data, delivered: false });
            }
            Sort::Reply => self.reply_failed(key, id, Failure::Unanswered, Instant::ZERO),
            _ => {
                let why = too_long.map_or(DropReason::Deadline, |(_, max)| DropReason::TooLong { max });
                self.events.push_back(Event::Dropped { connection, tag, why });
            }
        }
    }

    /// Begins to write a reply's data to where its request wants it. False: its frame has its sequence already, and whatever is
    /// behind it waits.
    fn fill(&mut self, key: Key, out: Key, now: Instant) -> bool {
        let Some(outgoing) = self.outgoing.get_mut(out) else { return true };
        let (len, again) = (outgoing.data_len(), outgoing.header.sequence != 0);
        let Some((connection, sink)) = self.connections.get_mut(key).zip(outgoing.sink) else { return true };
        let (PlaceOnWire { extent, offset }, at) = (sink.place, connection.remote(sink.place, len));
        // In a list at every moment: what a fault does not find there is lost.
        match again {
            true => connection.queue.push_front(out),
            false => connection.filling.push(out),
        }
        let Some(remote) = at else {
            self.violated(key, Violation::Place { extent, offset, len }, now);
            return false;
        };
        match self.put(key, out, remote, Moving::Fill { outgoing: out }, now) {
            Ok(()) => {
                if let Some(outgoing) = self.outgoing.get_mut(out) {
                    outgoing.progress = Progress::Filling;
                }
                self.pass(Step::FillSink, key, now);
                !again
            }
            Err(cause) => {
                self.fault(key, cause, now);
                false
            }
        }
    }

    /// Begins to write a message's data to the peer.
    pub(super) fn put(
        &mut self,
        key: Key,
        out: Key,
        remote: wavetank_contract::RemoteAddr,
        what: Moving,
        now: Instant,
    ) -> Result<(), Cause> {
        let (Some(connection), Some(outgoing)) = (self.connections.get_mut(key), self.outgoing.get_mut(out))
        else {
            return Err(Cause::Device);
        };
        let (Some(ep), Some(mr), Some(data)) = (connection.ep, outgoing.mr, outgoing.data.take()) else {
            return Err(Cause::Device);
        };
        let Some(moving) = self.moves.insert(Move { connection: key, what }) else {
            return Err(Cause::Device);
        };
        let spec = TransferSpec {
            ep,
            op: Op::Write { remote, imm: None },
            len: data.len,
            lease: data.lease,
            mr,
            // Its connection keeps an eye on it: a transfer that is given up keeps its memory.
            deadline: Instant::FAR,
            session: None,
            tag: moving.to_u64(),
        };
        match self.driver.submit(now, spec) {
            Ok(_) => {
                outgoing.lent = Some((data.len, data.mr));
                if connection.moving == 0 {
                    connection.moved_at = now;
                }
                connection.moving += 1;
                Ok(())
            }
            Err(error) => {
                self.moves.discard(moving);
                outgoing.data =
                    Some(crate::message::Data { lease: *error.lease, len: data.len, mr: data.mr });
                Err(Cause::Unreached(error.reason.to_string()))
            }
        }
    }

    /// Posts a message's frame; it has its sequence from here on.
    fn post_frame(&mut self, key: Key, out: Key, carriage: Carriage, chosen: Option<Chosen>, now: Instant) {
        let (Some(connection), Some(outgoing)) = (self.connections.get_mut(key), self.outgoing.get_mut(out))
        else {
            return;
        };
        let Some(ep) = connection.ep else { return };
        if outgoing.header.sequence == 0 {
            connection.sequence += 1;
            outgoing.header.sequence = connection.sequence;
            connection.sent.push_back(out);
        } else {
            connection.stats.replayed += 1;
            self.stats.replayed += 1;
        }
        outgoing.header.carriage = carriage;
        outgoing.chosen = chosen;
        outgoing.header.budget_ns = match outgoing.deadline {
            Instant::FAR => 0,
            deadline => deadline.since_ns(now).max(1),
        };
        if let Some(place) = outgoing.place.as_ref().filter(|_| carriage == Carriage::Offered) {
            outgoing.header.place = PlaceOnWire { extent: place.extent.0, offset: place.offset };
        }
        // Told in time, it need not be told by a frame of its own.
        let soon = !connection.queue.is_empty() && connection.credits.for_work() <= 1;
        connection.starving = if soon { Starving::Work } else { Starving::No };
        connection.cried = Starving::No;
        stamp(&mut outgoing.header, connection);
        let bytes = outgoing.header.encode();
        let front_at = outgoing.header.front_at();
        outgoing.frame.write(0, &bytes[..front_at]);
        let inside = carriage == Carriage::Inside;
        // A copy that travels another way stays behind.
        let frame_len = match (inside, outgoing.copied) {
            (false, true) => outgoing.header.data_at() as u32,
            _ => outgoing.frame_len,
        };
        let piece = Sge { mr: self.frames.mr(), len: frame_len, offset: outgoing.frame.offset() };
        let tag = u64::from(key.index);
        let mut order = Order::new(tag, Op::Send { imm: None }, piece, Some(outgoing.frame.hold()));
        if let (true, false, Some(data), Some(mr)) = (inside, outgoing.copied, &outgoing.data, outgoing.mr) {
            order.pieces[1] = Sge { mr, len: data.len as u32, offset: data.lease.offset() };
            order.piece_count = 2;
        }
        outgoing.progress = if carriage == Carriage::Asked { Progress::Asked } else { Progress::Posted };
        connection.credits.spend();
        connection.in_flight += 1;
        connection.said_at = now;
        connection.stats.messages_out += 1;
        self.stats.messages_out += 1;
        self.stats.frames_out += 1;
        let step = match (carriage, outgoing.header.sort) {
            (Carriage::Offered, _) => Step::OfferData,
            (Carriage::Asked, _) => Step::AskForSpace,
            (_, Sort::Reply) => Step::SendReply,
            (_, Sort::Release) => Step::Release,
            _ => Step::SendEager,
        };
        self.driver.order(ep, order);
        self.pass(step, key, now);
    }

    /// False: there is no memory for its frame.
    fn post_control(&mut self, key: Key, control: Control, now: Instant) -> bool {
        let Control { kind, id, place, len, r#type, front } = control;
        let header =
            Header { r#type, front_len: front.len() as u16, id, data_len: len, place, ..Header::new(kind) };
        let posted = self.post_bare(key, header, &front, now);
        if !posted && let Some(connection) = self.connections.get_mut(key) {
            connection.controls.push_front(Control { kind, id, place, len, r#type, front });
            connection.short = true;
        }
        posted
    }

    /// Posts a frame that is no message. False: there is no memory for it.
    fn post_bare(&mut self, key: Key, mut header: Header, front: &[u8], now: Instant) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return true };
        let Some(ep) = connection.ep else { return true };
        let len = HEADER_BYTES + front.len();
        let Ok(frame) = self.bare.acquire(len as u64) else { return false };
        stamp(&mut header, connection);
        frame.write(0, &header.encode()[..HEADER_BYTES]);
        frame.write(HEADER_BYTES as u64, front);
        let piece = Sge { mr: self.bare.mr(), len: len as u32, offset: frame.offset() };
        let order = Order::new(u64::from(key.index), Op::Send { imm: None }, piece, Some(frame.hold()));
        connection.credits.spend();
        connection.in_flight += 1;
        connection.said_at = now;
        self.stats.frames_out += 1;
        self.driver.order(ep, order);
        match header.kind {
            FrameKind::Grant => self.pass(Step::GrantSpace, key, now),
            FrameKind::Landed => self.pass(Step::DataPut, key, now),
            FrameKind::Credit => self.pass(Step::Credit, key, now),
            FrameKind::Ping => self.pass(Step::Ping, key, now),
            _ => {}
        }
        true
    }

    /// Credits, acknowledgements and signs of life travel by themselves when nothing else goes that way.
    fn post_alone(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.connections.get_mut(key).filter(|connection| connection.is_open()) else {
            return;
        };
        let keepalive_ns = connection.keepalive_ns(self.config.keepalive_ns);
        if !connection.can_say() {
            return;
        }
        let window = &connection.window;
        let credits = window.is_due() || connection.starving > connection.cried || connection.feeds();
        let ack = connection.ack_at.is_some_and(|at| at <= now)
            || connection.received - connection.told >= u64::from(window.size / 2).max(1) * 2;
        let ping = connection.said_at + keepalive_ns <= now;
        let kind = match (credits || ack, ping) {
            (true, _) => FrameKind::Credit,
            (false, true) => FrameKind::Ping,
            (false, false) => return,
        };
        // Who is idle keeps what idle connections have, once the ping itself is paid for.
        let idle = connection.hello.map_or(u32::MAX, |hello| hello.credits);
        let back = match kind == FrameKind::Ping && connection.features & feature::GIVE_BACK != 0 {
            true => (connection.credits.left() - 1).saturating_sub(idle),
            false => 0,
        };
        if self.post_bare(key, Header { id: back.into(), ..Header::new(kind) }, &[], now) {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.credits.give_back(back);
            }
            self.set_timer(key, now);
        }
    }

    /// Lines up again what the peer has not got.
    pub(super) fn replay(&mut self, key: Key, received: u64, now: Instant) {
        self.acknowledged(key, received, now);
        let Some(connection) = self.connections.get_mut(key) else { return };
        // Those that were to be sent again when it broke once more are in the queue already.
        let is_new =
            |out: &Key| self.outgoing.get(*out).is_some_and(|outgoing| outgoing.header.sequence == 0);
        connection.queue.retain(is_new);
        // They keep their sequences and stand in their order before everything that has none.
        for out in connection.sent.iter().rev() {
            connection.queue.push_front(*out);
        }
        self.pass(Step::Replay, key, now);
    }
}

/// Fills in what every frame tells.
fn stamp(header: &mut Header, connection: &mut Connection) {
    header.granted = connection.window.tell();
    header.acked = connection.received as u32;
    header.life = connection.life as u32;
    // A sign of life says it again: those of both sides at once may have used up what the first cry brought.
    let again = header.kind == FrameKind::Ping && connection.starving > Starving::No;
    header.starved = connection.starving > connection.cried || again;
    connection.cried = connection.cried.max(connection.starving);
    connection.told = connection.received;
    connection.ack_at = None;
}
