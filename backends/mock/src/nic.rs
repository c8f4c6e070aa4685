//! One NIC: its tables, and what it does with packets, doorbells and timers. Knows no wire.

mod control;
mod faults;
mod life;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{AsyncEvent, Caps, Choices, EpId, Instant, QpState, SrqId};

use crate::buggify::Oracle;
use crate::endpoint::{Peer, Qp};
use crate::marks::{Mark, Marks};
use crate::memory::MrTable;
use crate::packet::Packet;
use crate::queue::Reports;
use crate::rc::placement::Disorder;
use crate::rc::{completer, requester, responder};
use crate::shared::SharedQueue;
use crate::tap::{Happening, TapSlot};
use faults::Faults;
use life::Past;

/// Queue pair number of an endpoint: never the special numbers 0 and 1.
pub(crate) const QPN_BASE: u32 = 0x11;

/// The queue pair number of an endpoint, as it stands in packets.
pub const fn queue_pair_number(ep: EpId) -> u32 {
    ep.0 + QPN_BASE
}

/// What NICs and fabric share: the clock, and who wants attention.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) now: Cell<Instant>,
    /// Nodes with something to transmit or a timer to set.
    pub(crate) kicked: RefCell<Vec<u16>>,
    /// Nodes whose host should poll.
    pub(crate) ready: RefCell<Vec<u16>>,
    pub(crate) marks: Marks,
    pub(crate) buggify: Oracle,
    pub(crate) tap: TapSlot,
}

impl Shared {
    #[inline]
    pub(crate) fn next_kicked(&self) -> Option<u16> {
        self.kicked.borrow_mut().pop()
    }
}

/// A simulated NIC.
#[derive(Debug)]
pub(crate) struct Nic {
    pub(crate) node: u16,
    pub(crate) caps: Caps,
    pub(crate) mrs: MrTable,
    pub(crate) reports: Reports,
    pub(crate) srqs: Vec<Option<Rc<RefCell<SharedQueue>>>>,
    qps: Vec<Option<Box<Qp>>>,
    open: u32,
    /// Queue pairs with something to transmit, served in turn.
    line: VecDeque<u32>,
    /// Timers to put on the agenda: endpoint and time.
    pub(crate) timers: Vec<(u32, Instant)>,
    kicked: bool,
    announced: bool,
    faults: Faults,
    /// Which of the addresses that its port has had is the one now.
    pub(crate) gid: u16,
    /// How many NICs were here before.
    incarnation: u32,
    crashed: bool,
    past: Option<Box<Past>>,
    shared: Rc<Shared>,
}

impl Nic {
    pub(crate) fn new(node: u16, caps: Caps, shared: Rc<Shared>) -> Nic {
        Nic {
            node,
            caps,
            mrs: MrTable::new(node),
            reports: Reports::new(node, Rc::clone(&shared)),
            srqs: Vec::new(),
            qps: Vec::new(),
            open: 0,
            line: VecDeque::new(),
            timers: Vec::new(),
            kicked: false,
            announced: false,
            faults: Faults::default(),
            gid: 0,
            incarnation: 0,
            crashed: false,
            past: None,
            shared,
        }
    }

    #[inline]
    pub(crate) fn qp(&self, ep: EpId) -> Option<&Qp> {
        self.qps.get(ep.0 as usize)?.as_deref()
    }

    /// A shared receive queue that is open.
    pub(crate) fn srq(&self, srq: SrqId) -> Option<&Rc<RefCell<SharedQueue>>> {
        self.srqs.get(srq.0 as usize)?.as_ref()
    }

    /// What it shares with the fabric.
    pub(crate) fn shared(&self) -> Rc<Shared> {
        Rc::clone(&self.shared)
    }

    /// The endpoint beside what it needs of the NIC.
    #[inline]
    pub(crate) fn parts(&mut self, ep: EpId) -> Option<(&mut Qp, &MrTable, &mut Reports, &Caps)> {
        let qp = self.qps.get_mut(ep.0 as usize)?.as_deref_mut()?;
        Some((qp, &self.mrs, &mut self.reports, &self.caps))
    }

    pub(crate) fn close(&mut self, ep: EpId) {
        if let Some(slot) = self.qps.get_mut(ep.0 as usize)
            && let Some(mut qp) = slot.take()
        {
            self.open -= 1;
            qp.forsake();
            self.reports.purge(&qp);
        }
    }

    /// Puts an endpoint in line for transmission.
    #[inline]
    pub(crate) fn kick(&mut self, ep: EpId) {
        if let Some(Some(qp)) = self.qps.get_mut(ep.0 as usize)
            && !qp.in_line
        {
            qp.in_line = true;
            self.line.push_back(ep.0);
            self.attend();
        }
    }

    fn attend(&mut self) {
        if !self.kicked {
            self.kicked = true;
            self.shared.kicked.borrow_mut().push(self.node);
        }
    }

    /// The fabric has seen the kick.
    pub(crate) fn attended(&mut self) {
        self.kicked = false;
    }

    pub(crate) fn has_line(&self) -> bool {
        !self.line.is_empty()
    }

    /// Builds the next packet of this NIC, its queue pairs taking turns. False when nothing is to be sent now.
    #[inline]
    pub(crate) fn transmit(&mut self, now: Instant, out: &mut Packet) -> bool {
        while let Some(ep) = self.line.pop_front() {
            let Some(qp) = self.qps[ep as usize].as_deref_mut() else {
                continue;
            };
            qp.in_line = false;
            let answers = !qp.resp.answers.is_empty();
            let built = answers && responder::next_answer(qp, &self.mrs, &mut self.reports, out)
                || requester::next_request(qp, &self.mrs, &mut self.reports, now, out);
            if built && let Some(peer) = qp.peer {
                (out.from_node, out.to_node, out.to_qpn) = (self.node, peer.node, peer.qpn);
                (out.from_gid, out.to_gid, out.from_qpn) = (peer.own_gid, peer.gid, ep + QPN_BASE);
                if !qp.resp.answers.is_empty() || qp.sq.cursor != qp.sq.posted {
                    qp.in_line = true;
                    self.line.push_back(ep);
                }
            }
            self.set_timer(EpId(ep));
            self.settle();
            if built {
                return true;
            }
        }
        false
    }

    /// The state of the queue pair that a packet is for.
    #[inline]
    pub(crate) fn claims(&self, packet: &Packet) -> Option<QpState> {
        // rxe: rxe_recv.c hdr_check. Unknown number or wrong sender: dropped without a word.
        self.qp(EpId(packet.to_qpn.wrapping_sub(QPN_BASE)))
            .filter(|qp| {
                let known = |peer: Peer| peer.node == packet.from_node && peer.gid == packet.from_gid;
                qp.peer.is_some_and(|peer| known(peer) || planted::is(Bug::SkipPeerCheck))
            })
            .map(|qp| qp.state)
    }

    /// A packet that an endpoint [`claims`](Self::claims) arrived.
    #[inline]
    pub(crate) fn receive(&mut self, now: Instant, packet: &Packet, choices: &mut dyn Choices) {
        let ep = EpId(packet.to_qpn.wrapping_sub(QPN_BASE));
        let mut disorder = self.faults.out_of_order.then_some(Disorder { now, choices: &mut *choices });
        let Some((qp, mrs, reports, _)) = self.parts(ep) else {
            return;
        };
        if packet.opcode.is_request() {
            responder::handle(qp, mrs, reports, packet, disorder.as_mut());
            let due = qp.resp.kept.due;
            if !qp.resp.answers.is_empty() {
                self.kick(ep);
            }
            if due != Instant::FAR {
                self.set_timer(ep);
            }
        } else if completer::handle(qp, mrs, reports, now, packet, disorder.as_mut()) {
            if qp.sq.cursor < qp.sq.posted {
                self.kick(ep);
            }
            self.set_timer(ep);
        }
        if self.faults.shuffle && self.reports.fresh {
            self.reports.shuffle(choices);
        }
        self.settle();
    }

    /// A timer fired. `slack` draws how much longer than its nominal value an ACK timeout lasts.
    pub(crate) fn timer(
        &mut self,
        ep: EpId,
        now: Instant,
        slack: &mut dyn FnMut(u64) -> u64,
    ) -> TimerOutcome {
        let Some((qp, mrs, reports, _)) = self.parts(ep) else {
            return TimerOutcome::Stale;
        };
        if qp.req.timer_at != now {
            return TimerOutcome::Stale;
        }
        qp.req.timer_at = Instant::FAR;
        let mut outcome = TimerOutcome::Stale;
        // Whatever time brings, what has arrived completely comes before it.
        if qp.resp.kept.due <= now {
            responder::finish(qp, mrs, reports);
            outcome = TimerOutcome::Placed;
        }
        if qp.req.kept.due <= now || qp.req.kept.due != Instant::FAR && qp.req.ack_deadline <= now {
            completer::finish(qp, mrs, reports, now);
            outcome = TimerOutcome::Placed;
        }
        if qp.req.rnr_until != Instant::ZERO && qp.req.rnr_until <= now {
            reports.tell(|node| Happening::ReceiverWaited { node, ep });
            qp.req.rnr_until = Instant::ZERO;
            outcome = TimerOutcome::ReceiverWaited;
        } else if qp.req.ack_deadline <= now {
            // IBA 9.7.6.1.3 lets the timer run up to four times its nominal value.
            let extra =
                if qp.req.slack_drawn { 0 } else { slack(3 * requester::timeout_ns(qp.spec.timeout) + 1) };
            if extra > 0 {
                qp.req.slack_drawn = true;
                qp.req.ack_deadline = now + extra;
            } else {
                reports.tell(|node| Happening::TimedOut { node, ep });
                requester::retry(qp, reports);
                outcome = TimerOutcome::TimedOut;
            }
        }
        self.kick(ep);
        self.set_timer(ep);
        self.settle();
        outcome
    }

    /// Makes sure that a timer event is on the agenda no later than the endpoint needs it.
    #[inline]
    pub(crate) fn set_timer(&mut self, ep: EpId) {
        let Some(Some(qp)) = self.qps.get_mut(ep.0 as usize) else {
            return;
        };
        let rnr = if qp.req.rnr_until == Instant::ZERO { Instant::FAR } else { qp.req.rnr_until };
        let kept = qp.req.kept.due.min(qp.resp.kept.due);
        let at = rnr.min(qp.req.ack_deadline).min(kept);
        if at < qp.req.timer_at {
            qp.req.timer_at = at;
            self.timers.push((ep.0, at));
            self.attend();
        }
    }

    /// Deals with what reporting brought about: endpoints of an overrun queue die, the host is told to look.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if self.reports.fresh {
            self.settle_fresh();
        }
    }

    fn settle_fresh(&mut self) {
        while let Some(cq) = self.reports.overrun.pop() {
            for qp in self.qps.iter_mut().flatten() {
                if (qp.spec.send_cq == cq || qp.spec.recv_cq == cq) && qp.state != QpState::Err {
                    self.reports.event(AsyncEvent::QpFatal(qp.ep));
                    qp.fail(&mut self.reports);
                }
            }
        }
        if !self.announced {
            // A notification is one-shot: a lost one counts as given, until the host looks by itself.
            self.announced = true;
            if std::mem::take(&mut self.faults.lose_notification) {
                self.shared.marks.pass(Mark::NotificationLost);
            } else {
                self.shared.ready.borrow_mut().push(self.node);
            }
        }
        self.reports.fresh = false;
    }

    /// The host is about to look.
    pub(crate) fn looked_at(&mut self) {
        self.announced = false;
    }
}

/// What a timer event brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerOutcome {
    /// Nothing: the deadline had moved.
    Stale,
    /// The ACK deadline passed.
    TimedOut,
    /// The wait that the receiver asked for is over.
    ReceiverWaited,
    /// What was kept back of a message is placed.
    Placed,
}
