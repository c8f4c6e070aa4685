//! Queue pairs: state, work queues, and the requester's and responder's memory of the conversation.

mod sent;
mod work_queue;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use wavetank_contract::error::PostError;
use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{
    AsyncEvent, Caps, Completion, Data, EndpointSpec, EpId, Instant, OpKind, QpState, Sge, Status, Work,
    WorkId,
};

use crate::packet::Syndrome;
use crate::queue::{Entry, Reports, Side};
use crate::rc::placement::Kept;
use crate::shared::SharedQueue;
use crate::tap::Happening;
use sent::Sent;
use work_queue::SendQueue;
pub(crate) use work_queue::{RecvQueue, SendWqe};

/// What fields of a failed completion hold, so that nobody comes to rely on them.
pub(crate) const POISON: u32 = 0xdead_beef;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) node: u16,
    pub(crate) qpn: u32,
    /// The first PSN the peer sends.
    pub(crate) psn: u32,
}

/// A reliable-connected queue pair.
#[derive(Debug)]
pub(crate) struct Qp {
    pub(crate) ep: EpId,
    pub(crate) state: QpState,
    pub(crate) spec: EndpointSpec,
    pub(crate) peer: Option<Peer>,
    /// How often it was reset. Each life has other PSNs, so that packets of an earlier one are not taken for new.
    pub(crate) life: u32,
    /// Whether the NIC's transmit scheduler has it in line.
    pub(crate) in_line: bool,
    pub(crate) sq: SendQueue,
    /// With a shared queue, this one holds what the message in progress took from there.
    pub(crate) rq: RecvQueue,
    pub(crate) shared: Option<Rc<RefCell<SharedQueue>>>,
    pub(crate) req: Requester,
    pub(crate) resp: Responder,
}

/// The sending half's protocol state.
#[derive(Debug)]
pub(crate) struct Requester {
    /// PSN of the next new packet.
    pub(crate) next_psn: u32,
    /// PSN of the oldest packet that is not acknowledged.
    pub(crate) una: u32,
    /// READs and atomics sent and not answered.
    pub(crate) rd_outstanding: u8,
    pub(crate) retry_left: u8,
    /// Sending started again because of a hole, and nothing has come of it yet.
    pub(crate) started_again: bool,
    pub(crate) rnr_left: u8,
    /// Packets sent since the peer was last asked to acknowledge.
    pub(crate) unasked: u32,
    /// When silence counts as loss. FAR: nothing is outstanding.
    pub(crate) ack_deadline: Instant,
    /// Whether the slack of this deadline was drawn already.
    pub(crate) slack_drawn: bool,
    /// Until when the peer asked us to wait. ZERO: it did not.
    pub(crate) rnr_until: Instant,
    /// When the timer event on the agenda fires. FAR: there is none.
    pub(crate) timer_at: Instant,
    /// SQD was asked for and its event not sent yet.
    pub(crate) draining: bool,
    /// Of the answer to a READ.
    pub(crate) kept: Kept,
    /// What the latest packets carried when they were sent first.
    pub(crate) sent: Sent,
}

/// The answering half's protocol state.
#[derive(Debug)]
pub(crate) struct Responder {
    /// PSN expected next.
    pub(crate) psn: u32,
    /// Requests done: whole messages, 24 bits (IBA 9.7.7.1).
    pub(crate) msn: u32,
    /// A sequence NAK is out; say nothing more until the sequence is right again.
    pub(crate) nak_sent: bool,
    /// The message whose middle we are in.
    pub(crate) message: Option<Incoming>,
    /// Answers waiting for the wire, in PSN order.
    pub(crate) answers: VecDeque<Answer>,
    /// READs and atomics among them.
    pub(crate) rd_pending: u8,
    /// The latest READs and atomics granted, the oldest first, for repeated requests: as many as are served at a time.
    pub(crate) granted: VecDeque<Granted>,
    /// Of a WRITE.
    pub(crate) kept: Kept,
    /// The last packet of a WRITE whose pieces are kept back.
    pub(crate) ending: Option<Ending>,
}

/// What is still to be done with a message whose last packet has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) psn: u32,
    pub(crate) imm: Option<u32>,
    pub(crate) ack_requested: bool,
}

/// A READ or atomic that was granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted {
    pub(crate) psn: u32,
    pub(crate) psns: u32,
    pub(crate) what: Grant,
}

/// What is known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Grant {
    Read { rkey: u32, addr: u64, len: u32 },
    Atomic { former: u64 },
}

/// A message of several packets, partly received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    pub(crate) is_send: bool,
    pub(crate) rkey: u32,
    pub(crate) addr: u64,
    /// Of the whole message; for a SEND, of the receive that takes it.
    pub(crate) len: u32,
    pub(crate) done: u32,
}

/// Something to send back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Ack {
        psn: u32,
        syndrome: Syndrome,
    },
    /// `fresh` is false for a repeated request, which takes no READ resource.
    Atomic {
        psn: u32,
        former: u64,
        fresh: bool,
    },
    /// READ data still to be sent.
    Read {
        psn: u32,
        rkey: u32,
        addr: u64,
        left: u32,
        begun: bool,
        fresh: bool,
    },
}

impl Qp {
    pub(crate) fn new(
        ep: EpId,
        spec: &EndpointSpec,
        shared: Option<Rc<RefCell<SharedQueue>>>,
        caps: &Caps,
    ) -> Qp {
        Qp {
            ep,
            state: QpState::Reset,
            spec: spec.clone(),
            peer: None,
            life: 0,
            in_line: false,
            sq: SendQueue::new(spec.send_depth, caps),
            rq: RecvQueue::new(spec.recv_depth, caps),
            shared,
            req: Requester::new(0, spec),
            resp: Responder::new(0),
        }
    }

    /// Starts the conversation: our PSNs from `psn` on, the peer's from its own.
    pub(crate) fn begin(&mut self, psn: u32, peer: Peer) {
        self.req = Requester::new(psn, &self.spec);
        self.resp = Responder::new(peer.psn);
        self.peer = Some(peer);
    }

    /// Forgets everything, reporting nothing.
    pub(crate) fn reset(&mut self) {
        self.state = QpState::Reset;
        self.peer = None;
        self.life += 1;
        self.forsake();
        let (sq, rq) = (&mut self.sq, &mut self.rq);
        (sq.cursor, sq.acked, sq.freed) = (sq.posted, sq.posted, sq.posted);
        (rq.taken, rq.freed) = (rq.posted, rq.posted);
        self.req = Requester::new(0, &self.spec);
        self.resp = Responder::new(0);
    }

    /// Takes a work, or says why not. In ERR it is taken and flushed at once.
    #[inline]
    pub(crate) fn post(
        &mut self,
        work: &Work<'_>,
        caps: &Caps,
        reports: &mut Reports,
    ) -> Result<(), PostError> {
        let kind = work.op.kind();
        let pieces = match work.data {
            Data::Pieces(sges) if sges.len() > caps.sge_max as usize => {
                return Err(PostError::TooManyPieces { asked: sges.len(), max: caps.sge_max });
            }
            Data::Pieces(sges) => sges,
            Data::Inline(bytes) if bytes.len() > caps.inline_bytes_max as usize => {
                return Err(PostError::InlineTooLong { asked: bytes.len(), max: caps.inline_bytes_max });
            }
            Data::Inline(_) if kind.fills_local() => return Err(PostError::InlineNotSending),
            Data::Inline(_) => &[],
        };
        let asked_bytes = work.data.len_bytes();
        if asked_bytes > u64::from(caps.message_bytes_max) {
            return Err(PostError::MessageTooLong { asked_bytes, max_bytes: caps.message_bytes_max });
        }
        let len = asked_bytes as u32;
        if kind.is_atomic() && (pieces.len() != 1 || len != 8) {
            return Err(PostError::AtomicShape { pieces: pieces.len(), len_bytes: asked_bytes });
        }
        if kind == OpKind::Recv {
            return self.post_recv(work, pieces, len, reports);
        }
        if !self.state.accepts_sends() {
            return Err(PostError::WrongState { ep: self.ep, state: self.state });
        }
        if self.sq.posted - self.sq.freed >= u64::from(self.sq.depth) {
            return Err(PostError::QueueFull { ep: self.ep, depth: self.sq.depth });
        }
        self.sq.post(work, len);
        reports.tell(|node| Happening::Posted { node, ep: self.ep, work });
        if self.state == QpState::Err {
            self.flush(reports);
        }
        Ok(())
    }

    fn post_recv(
        &mut self,
        work: &Work<'_>,
        pieces: &[Sge],
        len: u32,
        reports: &mut Reports,
    ) -> Result<(), PostError> {
        if !self.state.accepts_receives() {
            return Err(PostError::WrongState { ep: self.ep, state: self.state });
        }
        if self.shared.is_some() {
            return Err(PostError::NotPromised(
                "receives of its own to an endpoint that shares a receive queue",
            ));
        }
        if self.rq.is_full() {
            return Err(PostError::QueueFull { ep: self.ep, depth: self.rq.depth });
        }
        self.rq.post(work.id, pieces, len);
        reports.tell(|node| Happening::Posted { node, ep: self.ep, work });
        if self.state == QpState::Err {
            self.flush(reports);
        }
        Ok(())
    }

    /// Ends the oldest work of the send queue.
    #[inline]
    pub(crate) fn complete_send(&mut self, status: Status, reports: &mut Reports) {
        let seq = self.sq.acked;
        let wqe = self.sq.wqe(seq);
        let told = status != Status::Success && !planted::is(Bug::SwallowUnsignalledError);
        if wqe.signalled || told {
            let completion = match status {
                Status::Success => Completion {
                    id: wqe.id,
                    ep: self.ep,
                    status,
                    vendor: 0,
                    kind: wqe.op.kind(),
                    len: wqe.len,
                    imm: None,
                },
                _ => self.failure(wqe.id, status),
            };
            reports.complete(self.spec.send_cq, Entry { completion, side: Side::Send, seq });
            if planted::is(Bug::CompleteTwice) {
                reports.complete(self.spec.send_cq, Entry { completion, side: Side::Send, seq });
            }
        }
        self.sq.acked += 1;
    }

    /// Ends the oldest receive.
    pub(crate) fn complete_recv(
        &mut self,
        status: Status,
        kind: OpKind,
        len: u32,
        imm: Option<u32>,
        reports: &mut Reports,
    ) {
        let seq = self.rq.taken;
        let id = self.rq.id(seq);
        let completion = match status {
            Status::Success => Completion { id, ep: self.ep, status, vendor: 0, kind, len, imm },
            _ => self.failure(id, status),
        };
        reports.complete(self.spec.recv_cq, Entry { completion, side: Side::Recv, seq });
        self.rq.taken += 1;
    }

    fn failure(&self, id: WorkId, status: Status) -> Completion {
        let vendor = 0x100 + status as u32;
        Completion { id, ep: self.ep, status, vendor, kind: OpKind::Recv, len: POISON, imm: Some(POISON) }
    }

    /// Whether a message finds a receive: one of its own, or the next of the shared queue.
    pub(crate) fn has_receive(&mut self, reports: &mut Reports) -> bool {
        if self.rq.left() > 0 {
            return true;
        }
        let Some(shared) = &self.shared else { return false };
        let mut shared = shared.borrow_mut();
        let taken = shared.take(reports);
        if let Some((id, len, pieces)) = taken {
            self.rq.post(id, pieces, len);
        }
        taken.is_some()
    }

    /// A receive taken from a shared queue by a message that will never be complete is lost.
    pub(crate) fn forsake(&mut self) {
        if let Some(shared) = &self.shared {
            shared.borrow_mut().free(self.rq.left());
        }
    }

    /// Moves to ERR and flushes everything outstanding, in order: sends, then receives. Those in a shared queue stay: they
    /// belong to its other endpoints as well.
    pub(crate) fn fail(&mut self, reports: &mut Reports) {
        let alive = self.state != QpState::Err;
        self.state = QpState::Err;
        self.req.ack_deadline = Instant::FAR;
        self.req.rnr_until = Instant::ZERO;
        self.req.rd_outstanding = 0;
        self.req.draining = false;
        self.resp.answers.clear();
        self.resp.rd_pending = 0;
        self.resp.message = None;
        self.resp.ending = None;
        self.resp.kept.clear();
        self.req.kept.clear();
        self.flush(reports);
        // rxe: rxe_resp.c flush_recv_queue
        if alive && self.shared.is_some() {
            reports.event(AsyncEvent::LastWqeReached(self.ep));
        }
    }

    fn flush(&mut self, reports: &mut Reports) {
        while self.sq.acked < self.sq.posted {
            if planted::is(Bug::LoseFlush) && self.sq.acked + 1 == self.sq.posted {
                self.sq.acked += 1;
                break;
            }
            self.complete_send(Status::WrFlushErr, reports);
        }
        self.sq.cursor = self.sq.posted;
        while self.rq.taken < self.rq.posted {
            self.complete_recv(Status::WrFlushErr, OpKind::Recv, 0, None, reports);
        }
    }

    /// Tells the host once the send queue has drained, if it asked.
    pub(crate) fn check_drained(&mut self, reports: &mut Reports) {
        let sq = &self.sq;
        let idle = sq.acked == sq.cursor && (sq.cursor == sq.posted || !sq.wqe(sq.cursor).numbered);
        if self.req.draining && idle {
            self.req.draining = false;
            reports.event(AsyncEvent::SqDrained(self.ep));
        }
    }
}

impl Requester {
    fn new(psn: u32, spec: &EndpointSpec) -> Requester {
        Requester {
            next_psn: psn,
            una: psn,
            rd_outstanding: 0,
            retry_left: spec.retry_cnt,
            started_again: false,
            rnr_left: spec.rnr_retry,
            unasked: 0,
            ack_deadline: Instant::FAR,
            slack_drawn: false,
            rnr_until: Instant::ZERO,
            timer_at: Instant::FAR,
            draining: false,
            kept: Kept::default(),
            sent: Sent::default(),
        }
    }
}

impl Responder {
    /// Remembers what was granted, and forgets the oldest grant beyond `keep`.
    // rxe: rxe_resp.c rxe_prepare_res, which takes the next of max_dest_rd_atomic resources whatever is in it
    #[inline]
    pub(crate) fn grant(&mut self, granted: Granted, keep: u8) {
        while self.granted.len() >= usize::from(keep.max(1)) {
            self.granted.pop_front();
        }
        self.granted.push_back(granted);
    }

    fn new(psn: u32) -> Responder {
        Responder {
            psn,
            msn: 0,
            nak_sent: false,
            message: None,
            answers: VecDeque::with_capacity(32),
            rd_pending: 0,
            granted: VecDeque::new(),
            kept: Kept::default(),
            ending: None,
        }
    }
}
