//! The side of an endpoint that is asked: carries out requests in the order in which they were made, and judges each.

use wavetank_contract::{AsyncEvent, OpKind, Sge, Status};

use super::State;
use crate::endpoint::{Content, Endpoint, Flight, Held, Received, RnrWait};
use crate::frames::{SGE_MAX, Use};
use crate::sys::{Body, Desc, SendAs, Span, Started, Taken, UcsStatus, Worker};
use crate::wire::{Head, Kind, before};

/// Bytes of requests that wait for a receive or for their turn, at most: a peer that sends more is cut off.
const HELD_BYTES_MAX: usize = 64 << 20;

/// Requests that wait, at most: more than any send queue is deep.
const HELD_MAX: usize = 1 << 16;

/// How often a peer is told that its message still waits for a receive, at most.
const WAIT_TOLD_NS: u64 = 20_000_000;

/// What is to become of a request.
enum Verdict {
    Run,
    /// Something that was asked for before has to end.
    NotYet,
    /// There is no receive.
    NoReceive,
    Refused(Status),
}

impl State {
    /// A request arrived.
    #[inline]
    pub(super) fn request(
        &mut self,
        worker: &Worker,
        ep: &mut Endpoint,
        head: Head,
        body: Body<'_>,
    ) -> Taken {
        if !ep.responds() || before(head.seq, ep.responder.expected) {
            return Taken::Used;
        }
        if head.seq == ep.responder.expected && ep.responder.held.is_empty() {
            match self.verdict(ep, &head, body.len()) {
                Verdict::Run => return self.run(worker, ep, &head, body),
                Verdict::Refused(status) => {
                    self.refuse(worker, ep, &head, status);
                    return Taken::Used;
                }
                Verdict::NoReceive => self.wait_for_receive(worker, ep),
                Verdict::NotYet => {}
            }
        }
        self.hold(worker, ep, head, body)
    }

    /// Keeps a request for later, in order.
    fn hold(&mut self, worker: &Worker, ep: &mut Endpoint, head: Head, body: Body<'_>) -> Taken {
        let responder = &mut ep.responder;
        let bytes = if let Body::Eager(bytes) = &body { bytes.len() } else { 0 };
        if responder.held.len() >= HELD_MAX || responder.held_bytes + bytes > HELD_BYTES_MAX {
            self.refuse(worker, ep, &head, Status::RnrRetryExcErr);
            return Taken::Used;
        }
        let at = responder.held.partition_point(|held| before(held.head.seq, head.seq));
        if responder.held.get(at).is_some_and(|held| held.head.seq == head.seq) {
            return Taken::Used;
        }
        responder.held_bytes += bytes;
        let (content, taken) = match body {
            Body::Eager(bytes) => (Content::Copied(bytes.to_vec()), Taken::Used),
            Body::Rendezvous(desc) => (Content::Desc(desc), Taken::Kept),
        };
        responder.held.insert(at, Held { head, content });
        taken
    }

    /// Carries out what waited, as far as it can be now.
    pub(crate) fn run_held(&mut self, worker: &Worker, ep: &mut Endpoint) {
        while let Some(held) = ep.responder.held.front() {
            if held.head.seq != ep.responder.expected || !ep.responds() {
                return;
            }
            let head = held.head;
            match self.verdict(ep, &head, held.content.len()) {
                Verdict::NotYet => return,
                Verdict::NoReceive => {
                    self.wait_for_receive(worker, ep);
                    return;
                }
                Verdict::Refused(status) => {
                    self.refuse(worker, ep, &head, status);
                    return;
                }
                Verdict::Run => {}
            }
            let Some(held) = ep.responder.held.pop_front() else { return };
            ep.responder.rnr = None;
            match held.content {
                Content::Copied(bytes) => {
                    ep.responder.held_bytes = ep.responder.held_bytes.saturating_sub(bytes.len());
                    self.run(worker, ep, &head, Body::Eager(&bytes));
                }
                Content::Desc(desc) => {
                    let again = desc.again();
                    if self.run(worker, ep, &head, Body::Rendezvous(desc)) == Taken::Used {
                        worker.release(again);
                    }
                }
            }
            // It was put back: what is on its way before it ends first, and comes here again.
            if ep.responder.expected == head.seq {
                return;
            }
        }
    }

    /// Whether a request may be carried out.
    fn verdict(&self, ep: &Endpoint, head: &Head, len: usize) -> Verdict {
        let responder = &ep.responder;
        if let Some(status) = self.judge(ep, head, len) {
            // What was asked for before ends well first.
            return if responder.flights.is_empty() { Verdict::Refused(status) } else { Verdict::NotYet };
        }
        let range = (head.addr, head.addr.saturating_add(u64::from(head.len)));
        let meets = |other: (u64, u64)| other.0 < range.1 && range.0 < other.1;
        let waits = match head.kind {
            // READs see what was written before.
            Kind::Read | Kind::CompareSwap | Kind::FetchAdd => responder.flights.iter().any(|f| !f.done),
            // Nothing is written under an answer that still reads it, nor before what comes before it.
            Kind::Write => {
                responder.flights.iter().any(|f| !f.done && meets(f.range))
                    || responder.reading.iter().any(|f| self.frames.get(*f).is_some_and(|f| meets(f.range)))
            }
            _ => false,
        };
        if waits {
            return Verdict::NotYet;
        }
        let receives =
            head.kind == Kind::Send || head.imm.is_some() && matches!(head.kind, Kind::Write | Kind::Notice);
        match receives && ep.receives.next().is_none() {
            true => Verdict::NoReceive,
            false => Verdict::Run,
        }
    }

    /// Why a request is refused, if it is (IBA 9.7.4.1, in its order: operation, length, key, bounds, rights, domain).
    fn judge(&self, ep: &Endpoint, head: &Head, len: usize) -> Option<Status> {
        let access = ep.spec.access;
        let (of_ep, writes) = match head.kind {
            Kind::Read => (access.remote_read, false),
            Kind::Write => (access.remote_write, true),
            Kind::CompareSwap | Kind::FetchAdd => (access.remote_atomic, true),
            _ => return None,
        };
        let atomic = matches!(head.kind, Kind::CompareSwap | Kind::FetchAdd);
        let fits = head.kind != Kind::Write || len as u64 == u64::from(head.len);
        if !of_ep || !fits || atomic && head.len != 8 {
            return Some(Status::RemInvReqErr);
        }
        // Nothing is nowhere: no key is looked at (IBA 9.7.4.1.5, and `check_rkey` of rxe_resp.c).
        if head.len == 0 {
            return None;
        }
        let allowed = self.mrs.get(head.mr).is_some_and(|mr| {
            let right = match head.kind {
                Kind::Read => mr.access.remote_read,
                Kind::Write => mr.access.remote_write,
                _ => mr.access.remote_atomic,
            };
            let offset = head.addr.checked_sub(mr.memory.addr());
            let inside = offset.is_some_and(|offset| mr.memory.contains(offset, u64::from(head.len)));
            right && inside && mr.pd == ep.spec.pd && (mr.access.local_write || !writes)
        });
        match allowed {
            false => Some(Status::RemAccessErr),
            true if atomic && !head.addr.is_multiple_of(8) => Some(Status::RemInvReqErr),
            true => None,
        }
    }

    /// Refuses a request, and everything after it.
    fn refuse(&mut self, worker: &Worker, ep: &mut Endpoint, head: &Head, status: Status) {
        self.send_control(worker, ep, Kind::Nak, |nak| {
            (nak.seq, nak.imm) = (head.seq, Some(status as u32));
        });
        ep.responder.dead = true;
        self.drop_held(worker, ep);
        match status {
            // The peer ends; this side did nothing wrong and lives.
            Status::RnrRetryExcErr => return,
            Status::RemAccessErr => self.tell(ep.owner, AsyncEvent::QpAccessErr(ep.id)),
            // Of a message, the receive tells.
            _ if head.kind != Kind::Send => self.tell(ep.owner, AsyncEvent::QpReqErr(ep.id)),
            _ => {}
        }
        self.die(worker, ep);
    }

    /// A message waits for a receive, as long as the peer asks for.
    fn wait_for_receive(&mut self, worker: &Worker, ep: &mut Endpoint) {
        if ep.responder.rnr.is_some() {
            return;
        }
        let now = crate::watch::now_ns();
        let retries = ep.peer.as_ref().map_or(0, |peer| peer.rnr_retry);
        let until_ns = match retries {
            7.. => u64::MAX,
            n => now.saturating_add(ep.spec.min_rnr_timer.wait_ns() * u64::from(n)),
        };
        ep.responder.rnr = Some(RnrWait { until_ns, tell_ns: 0 });
        self.look_after_wait(worker, ep, now);
    }

    /// Ends a wait for a receive that took too long, or tells the peer that it goes on.
    pub(super) fn look_after_wait(&mut self, worker: &Worker, ep: &mut Endpoint, now: u64) {
        let Some(wait) = ep.responder.rnr else { return };
        if now >= wait.until_ns {
            let expected = ep.responder.expected;
            let head = Head { seq: expected, ..Head::new(Kind::Send, 0, 0) };
            self.refuse(worker, ep, &head, Status::RnrRetryExcErr);
        } else if now >= wait.tell_ns {
            let patience = ep.peer.as_ref().map_or(u64::MAX, |peer| peer.patience_ns);
            let tell_ns = now.saturating_add(WAIT_TOLD_NS.min(patience / 4));
            ep.responder.rnr = Some(RnrWait { tell_ns, ..wait });
            self.next_tick_ns = self.next_tick_ns.min(tell_ns.min(wait.until_ns));
            self.send_control(worker, ep, Kind::Wait, |_| {});
        }
    }

    /// Carries out a request that may be.
    #[inline]
    fn run(&mut self, worker: &Worker, ep: &mut Endpoint, head: &Head, body: Body<'_>) -> Taken {
        match head.kind {
            Kind::Send => self.run_send(worker, ep, head, body),
            Kind::Write => self.run_write(worker, ep, head, body),
            Kind::Notice => {
                let received = Received {
                    status: Status::Success,
                    kind: OpKind::WriteImm,
                    len: head.len,
                    imm: head.imm,
                };
                let gated = self.meet(ep, received);
                self.done(ep, head, true, gated);
                Taken::Used
            }
            Kind::Read => {
                self.run_read(worker, ep, head);
                Taken::Used
            }
            _ => {
                self.run_atomic(worker, ep, head);
                Taken::Used
            }
        }
    }

    /// The next receive has met a message that is complete. Its number, if it has to wait for what came before.
    fn meet(&mut self, ep: &mut Endpoint, received: Received) -> Option<u32> {
        let (number, _) = ep.receives.next()?;
        let gated = !ep.responder.flights.is_empty();
        if let Some(receive) = ep.receives.at(number) {
            (receive.ended, receive.gated) = (Some(received), gated);
        }
        ep.receives.met += 1;
        self.settle_receives(ep);
        gated.then_some(number)
    }

    fn run_send(&mut self, worker: &Worker, ep: &mut Endpoint, head: &Head, body: Body<'_>) -> Taken {
        let Some((number, receive)) = ep.receives.next() else { return Taken::Used };
        let len = body.len();
        let room: u64 = receive.pieces().iter().map(|piece| u64::from(piece.len)).sum();
        let (mut unfit, theirs) = match len as u64 > room {
            true => (Some(Status::LocLenErr), Status::RemInvReqErr),
            false => (None, Status::RemOpErr),
        };
        // Where it lands: a receive is looked at only as far as it is used.
        let (mut spans, mut mrs, mut count) = ([Span::NONE; SGE_MAX], [0; SGE_MAX], 0);
        let mut left = len;
        for piece in receive.pieces() {
            if left == 0 || unfit.is_some() {
                break;
            }
            if piece.len == 0 {
                continue;
            }
            let used = Sge { len: (piece.len).min(left as u32), ..*piece };
            match self.mrs.local(&used, ep.spec.pd, true) {
                Some(span) => (spans[count], mrs[count], count) = (span, piece.mr.0, count + 1),
                None => unfit = Some(Status::LocProtErr),
            }
            left -= used.len as usize;
        }
        if let Some(status) = unfit {
            if !ep.responder.flights.is_empty() {
                // What was asked for before ends well first.
                return self.hold(worker, ep, *head, body);
            }
            self.meet(ep, Received::failed(status));
            self.refuse(worker, ep, head, theirs);
            return Taken::Used;
        }
        let received =
            Received { status: Status::Success, kind: OpKind::Send, len: len as u32, imm: head.imm };
        match body {
            Body::Eager(bytes) => {
                let mut rest = bytes;
                for span in &spans[..count] {
                    let (now, later) = rest.split_at(span.len().min(rest.len()));
                    span.fill(now);
                    rest = later;
                }
                let gated = self.meet(ep, received);
                self.done(ep, head, false, gated);
                Taken::Used
            }
            Body::Rendezvous(desc) => {
                if let Some(receive) = ep.receives.at(number) {
                    (receive.ended, receive.filling, receive.gated) = (Some(received), true, true);
                }
                ep.receives.met += 1;
                let uses = Use::Fill { ep: ep.index, seq: head.seq, receive: Some(number) };
                let frame = self.frames.take(worker, uses);
                if let Some(to) = self.frames.get_mut(frame) {
                    (to.spans, to.span_count) = (spans, count);
                    (to.mrs, to.mr_count) = (mrs, count);
                }
                self.fly(worker, ep, head, frame, desc, Some(number), (0, 0));
                Taken::Kept
            }
        }
    }

    fn run_write(&mut self, worker: &Worker, ep: &mut Endpoint, head: &Head, body: Body<'_>) -> Taken {
        let received =
            Received { status: Status::Success, kind: OpKind::WriteImm, len: head.len, imm: head.imm };
        let place = self.mrs.get(head.mr).map(|mr| (mr.memory, head.addr.wrapping_sub(mr.memory.addr())));
        match body {
            Body::Eager(bytes) => {
                if let Some((memory, offset)) = place {
                    memory.write(offset, bytes);
                }
                let gated = if head.imm.is_some() { self.meet(ep, received) } else { None };
                self.done(ep, head, true, gated);
                Taken::Used
            }
            Body::Rendezvous(desc) => {
                let mut number = None;
                if head.imm.is_some()
                    && let Some((next, _)) = ep.receives.next()
                {
                    number = Some(next);
                    if let Some(receive) = ep.receives.at(next) {
                        (receive.ended, receive.filling, receive.gated) = (Some(received), true, true);
                    }
                    ep.receives.met += 1;
                }
                let uses = Use::Fill { ep: ep.index, seq: head.seq, receive: number };
                let frame = self.frames.take(worker, uses);
                if let Some(to) = self.frames.get_mut(frame)
                    && let Some((memory, offset)) = place
                    && let Some(span) = memory.span(offset, desc.len())
                {
                    (to.spans[0], to.span_count) = (span, 1);
                    (to.mrs[0], to.mr_count) = (head.mr, 1);
                }
                let range = (head.addr, head.addr.saturating_add(u64::from(head.len)));
                self.fly(worker, ep, head, frame, desc, number, range);
                Taken::Kept
            }
        }
    }

    /// Fetches the data of a request; it is done when the data is here.
    #[expect(clippy::too_many_arguments, reason = "a request in pieces")]
    fn fly(
        &mut self,
        worker: &Worker,
        ep: &mut Endpoint,
        head: &Head,
        frame: u32,
        desc: Desc,
        receive: Option<u32>,
        range: (u64, u64),
    ) {
        ep.responder.expected = head.seq.wrapping_add(1);
        ep.responder.flights.push_back(Flight { seq: head.seq, done: false, range, receive });
        match self.fetch(worker, ep, frame, desc) {
            Started::Pending => {}
            Started::Done => self.filled(worker, ep, head.seq, receive, UcsStatus::OK),
            Started::Failed(why) => self.filled(worker, ep, head.seq, receive, why),
        }
    }

    /// The data of a request was fetched.
    pub(super) fn filled(
        &mut self,
        worker: &Worker,
        ep: &mut Endpoint,
        seq: u32,
        receive: Option<u32>,
        why: UcsStatus,
    ) {
        let died = ep.responder.dead;
        if let Some(receive) = receive.and_then(|number| ep.receives.at(number)) {
            receive.filling = false;
            if died {
                receive.ended = Some(Received::failed(Status::WrFlushErr));
            } else if why != UcsStatus::OK {
                // It stays a receive, which nothing will meet any more.
                (receive.ended, receive.gated) = (None, false);
            }
        }
        if why != UcsStatus::OK {
            // The peer is gone in the middle of it. Whoever is asked learns nothing of that; our own works will.
            if !died {
                ep.responder.dead = true;
                self.drop_held(worker, ep);
                self.break_off(worker, ep, why);
            }
            self.settle(worker, ep);
            return;
        }
        if let Some(flight) = ep.responder.flights.iter_mut().find(|flight| flight.seq == seq) {
            flight.done = true;
        }
        self.land(ep);
        self.run_held(worker, ep);
    }

    /// Counts what is done without a gap.
    fn land(&mut self, ep: &mut Endpoint) {
        while let Some(flight) = ep.responder.flights.front().filter(|flight| flight.done) {
            let (seq, receive) = (flight.seq, flight.receive);
            ep.responder.completed = seq.wrapping_add(1);
            ep.responder.flights.pop_front();
            if let Some(receive) = receive.and_then(|number| ep.receives.at(number)) {
                receive.gated = false;
            }
        }
        self.settle_receives(ep);
        ep.responder.tell_now = true;
        self.list(ep);
    }

    /// A request is done. `now`: its sender waits for nothing but that.
    #[inline]
    fn done(&mut self, ep: &mut Endpoint, head: &Head, now: bool, receive: Option<u32>) {
        let responder = &mut ep.responder;
        responder.expected = head.seq.wrapping_add(1);
        if responder.flights.is_empty() {
            responder.completed = responder.expected;
        } else {
            responder.flights.push_back(Flight { seq: head.seq, done: true, range: (0, 0), receive });
        }
        responder.tell_now |= now;
        self.list(ep);
    }

    fn run_read(&mut self, worker: &Worker, ep: &mut Endpoint, head: &Head) {
        self.done(ep, head, false, None);
        let span = self
            .mrs
            .get(head.mr)
            .filter(|_| head.len > 0)
            .and_then(|mr| mr.memory.span(head.addr.wrapping_sub(mr.memory.addr()), head.len as usize));
        let Some(answer) = self.header(ep, Kind::ReadReply) else { return };
        let answer = Head { seq: head.seq, ..answer };
        let frame = self.frames.take(worker, Use::Reply(ep.index));
        let send_as = if head.len == 0 { SendAs::Eager } else { self.settings.send_as };
        let Some(place) = self.frames.get_mut(frame) else { return };
        place.header_len = answer.write(&mut place.header);
        place.range = (head.addr, head.addr.saturating_add(u64::from(head.len)));
        place.body.clear();
        if let Some(span) = span {
            (place.spans[0], place.span_count) = (span, 1);
            (place.mrs[0], place.mr_count) = (head.mr, 1);
        }
        let Some(link) = &ep.link else {
            self.frames.give_back(frame);
            return;
        };
        match worker.send(link, place.header(), place.spans(), send_as, &place.ticket) {
            Started::Done => self.frames.give_back(frame),
            Started::Pending => {
                let mrs = place.mrs();
                ep.ucx += 1;
                ep.responder.reading.push(frame);
                self.mrs.uses(mrs, true);
            }
            Started::Failed(why) => {
                self.frames.give_back(frame);
                self.break_off(worker, ep, why);
            }
        }
    }

    fn run_atomic(&mut self, worker: &Worker, ep: &mut Endpoint, head: &Head) {
        self.done(ep, head, false, None);
        let Some(mr) = self.mrs.get(head.mr) else { return };
        let offset = head.addr.wrapping_sub(mr.memory.addr());
        let former = match head.kind {
            Kind::FetchAdd => mr.memory.fetch_add(offset, head.a),
            _ => mr.memory.compare_swap(offset, head.a, head.b),
        };
        if let Some(former) = former {
            self.send_control(worker, ep, Kind::AtomicReply, |answer| {
                (answer.seq, answer.a) = (head.seq, former);
            });
        }
    }
}
