//! The side of an endpoint that asks: starts works in their order, and takes the answers.

use std::sync::atomic::{Ordering, fence};

use wavetank_contract::{Access, EpId, Op, OpKind, PdId, QpState, RemoteAddr, Status};

use super::State;
use crate::config::Transport;
use crate::endpoint::{Control, Endpoint, Peer, Phase, SendSlot};
use crate::frames::Use;
use crate::memory::{Import, Imports, Mrs, word_of, word_of_ep, word_of_writer};
use crate::packed::{self, Range};
use crate::status;
use crate::sys::{Body, Ep, Rkey, SendAs, Span, Started, Taken, UcsStatus, Worker};
use crate::wire::{Head, Kind, before};

/// What became of trying to start a work.
enum Start {
    Started,
    /// Something has to end first.
    NotYet,
    Failed(Status, u32),
}

impl Start {
    fn failed(why: UcsStatus) -> Start {
        Start::Failed(status::of_ucs(why), status::vendor(why))
    }
}

/// How a one-sided work goes.
enum Way<'a> {
    /// UCX reaches the memory, of this registration.
    Direct(&'a Rkey, u32),
    /// The peer is asked, and judges.
    Served,
}

impl State {
    /// Starts what may start.
    #[inline]
    pub(crate) fn start(&mut self, worker: &Worker, ep: &mut Endpoint) {
        if ep.state != QpState::Rts || ep.sends.next == ep.sends.rung {
            return;
        }
        let first = ep.sends.next;
        while ep.sends.next != ep.sends.rung && !ep.sends.failed {
            let number = ep.sends.next;
            match self.start_one(worker, ep, number) {
                Start::Started => {}
                Start::NotYet => break,
                Start::Failed(status, vendor) => end(ep, number, status, vendor),
            }
            ep.sends.next = number.wrapping_add(1);
        }
        if first != ep.sends.next {
            if self.settings.transport == Transport::Rc {
                flush_placed(worker, ep, first);
            }
            self.settle(worker, ep);
        }
    }

    fn start_one(&mut self, worker: &Worker, ep: &mut Endpoint, number: u32) -> Start {
        let (Some(link), Some(peer)) = (&ep.link, &ep.peer) else {
            return Start::Failed(Status::RetryExcErr, ep.broken.map_or(0, status::vendor));
        };
        let (reads, served) = (ep.sends.reads, ep.sends.served);
        let slot = ep.sends.at(number);
        let kind = slot.op.kind();
        let asks = kind.is_read_or_atomic();
        if slot.fence && reads > 0 || asks && reads >= u32::from(ep.spec.max_rd_atomic) {
            return Start::NotYet;
        }
        let found = find_memory(&self.mrs, slot, ep.spec.pd);
        // What an answer is for is looked at when it comes: first the peer judges.
        slot.misplaced = found.is_none();
        if slot.misplaced && !asks {
            return Start::Failed(Status::LocProtErr, 0);
        }
        let count = found.unwrap_or(0);
        let shared = self.settings.transport == Transport::Shm;
        let way = match slot.op.remote() {
            Some(remote) if self.settings.one_sided && !slot.misplaced => {
                let ours = &self.settings.control_rkey;
                way(&mut self.imports, ours, worker, link, ep.id, peer, kind, remote, slot.len, shared)
            }
            _ => Way::Served,
        };
        let Way::Direct(rkey, mr) = way else { return self.start_served(worker, ep, number, count) };
        // It would pass what the peer was asked for before.
        if served > 0 {
            return Start::NotYet;
        }
        // Shared memory is written when the call returns; an adapter says when it is.
        slot.unplaced = self.settings.transport == Transport::Rc
            && slot.len > 0
            && matches!(kind, OpKind::Write | OpKind::WriteImm);
        (slot.seq, slot.mr) = (None, mr);
        let writes = peer.control.as_ref().filter(|_| kind != OpKind::Read);
        let word = word_of_writer(peer.address.ep);
        if let Some(control) = writes {
            control.words.enter(word);
        }
        // Looked at only now: whoever takes something away after this sees that it is being written.
        let started = match is_open(peer.control.as_ref(), mr) && answers(peer) {
            true if shared => Some(through(slot, count, rkey)),
            true => Some(direct(worker, link, slot, count, rkey)),
            false => None,
        };
        if let Some(control) = writes {
            control.words.store(word, 0);
        }
        ep.ucx += slot.ucx;
        slot.phase = Phase::Sent;
        // Whoever died or revoked meanwhile may have let go of the memory: nothing of it counts.
        let closed = started == Some(Started::Done) && !is_open(peer.control.as_ref(), mr);
        let Some(started) = started.filter(|_| !closed) else {
            slot.phase = Phase::Queued;
            return match is_alive(peer.control.as_ref()) {
                false => Start::Failed(Status::RetryExcErr, 0),
                true => self.start_served(worker, ep, number, count),
            };
        };
        self.count(ep, number);
        ep.sends.reads += u32::from(asks);
        if let Started::Failed(why) = started {
            return Start::failed(why);
        }
        if kind == OpKind::WriteImm {
            return self.notice(worker, ep, number);
        }
        if started == Started::Done {
            direct_ended(ep, number);
        }
        Start::Started
    }

    /// Local memory of a work is in use from now on.
    fn count(&mut self, ep: &mut Endpoint, number: u32) {
        let slot = ep.sends.at(number);
        slot.counted = true;
        let (pieces, count) = (slot.pieces, slot.piece_count);
        self.mrs.uses(pieces[..count].iter().map(|piece| piece.mr.0), true);
    }

    /// Asks the peer to carry out a work.
    fn start_served(&mut self, worker: &Worker, ep: &mut Endpoint, number: u32, count: usize) -> Start {
        let slot = ep.sends.look(number);
        let (op, len, asks) = (slot.op, slot.len, slot.op.kind().is_read_or_atomic());
        let kind = match op.kind() {
            OpKind::Send | OpKind::Recv => Kind::Send,
            OpKind::Write | OpKind::WriteImm => Kind::Write,
            OpKind::Read => Kind::Read,
            OpKind::CompareSwap => Kind::CompareSwap,
            OpKind::FetchAdd => Kind::FetchAdd,
        };
        let Some(mut head) = self.header(ep, kind) else { return Start::Failed(Status::RetryExcErr, 0) };
        head.imm = op.imm();
        if let Some(remote) = op.remote() {
            (head.addr, head.len) = (remote.addr, len as u32);
            // A key of nobody is judged by the peer, which knows that it gave none like it.
            head.mr = self.imports.get_mut(remote.rkey).filter(|i| i.ep == ep.id).map_or(0, |i| i.key.mr);
        }
        match op {
            Op::CompareSwap { compare, swap, .. } => (head.a, head.b) = (compare, swap),
            Op::FetchAdd { add, .. } => head.a = add,
            _ => {}
        }
        // A message with nothing in it has nothing to be fetched.
        let send_as = if asks || len == 0 { SendAs::Eager } else { self.settings.send_as };
        let started = send_request(worker, ep, number, head, if asks { 0 } else { count }, send_as);
        let slot = ep.sends.at(number);
        slot.phase = Phase::Sent;
        slot.serves = kind != Kind::Send;
        ep.sends.served += u32::from(kind != Kind::Send);
        ep.sends.reads += u32::from(asks);
        self.count(ep, number);
        started
    }

    /// Tells the peer of a WRITE that was placed without it.
    fn notice(&mut self, worker: &Worker, ep: &mut Endpoint, number: u32) -> Start {
        let Some(mut head) = self.header(ep, Kind::Notice) else {
            return Start::Failed(Status::RetryExcErr, 0);
        };
        let slot = ep.sends.look(number);
        (head.imm, head.len) = (slot.op.imm(), slot.len as u32);
        // Not before the bytes.
        match worker.fence() {
            Err(why) => Start::failed(why),
            Ok(()) => send_request(worker, ep, number, head, 0, SendAs::Eager),
        }
    }

    /// UCX is done with something of a work: its memory, or all of it.
    pub(super) fn send_ended(&mut self, worker: &Worker, ep: &mut Endpoint, place: u32, why: UcsStatus) {
        ep.ucx = ep.ucx.saturating_sub(1);
        // The place names the work: it is not used again before UCX is done with it.
        let Some(number) = ep.sends.in_place(place) else { return };
        let slot = ep.sends.at(number);
        slot.ucx = slot.ucx.saturating_sub(1);
        let idle = slot.ucx == 0;
        if why != UcsStatus::OK {
            if slot.phase == Phase::Sent {
                end(ep, number, status::of_ucs(why), status::vendor(why));
            }
        } else if idle && slot.flushes {
            // Its flush is the last thing of it that ends.
            placed(ep, number);
        } else if idle && slot.seq.is_some() {
            served_ended(ep, number);
        } else if idle {
            direct_ended(ep, number);
        }
        self.settle(worker, ep);
        self.start(worker, ep);
    }

    /// The peer has done everything before `ack`.
    pub(super) fn acknowledged(&mut self, worker: &Worker, ep: &mut Endpoint, ack: u32) {
        // Nobody acknowledges what was not asked for.
        if before(ep.sends.seq, ack) || !before(ep.sends.acked, ack) {
            return;
        }
        while ep.sends.acked != ack {
            let seq = ep.sends.acked;
            ep.sends.acked = seq.wrapping_add(1);
            let Some(number) = ep.sends.find(seq) else { continue };
            // READs and atomics end with their answer.
            if !ep.sends.look(number).op.kind().is_read_or_atomic() {
                ep.sends.at(number).acked = true;
                served_ended(ep, number);
            }
        }
        self.settle(worker, ep);
        self.start(worker, ep);
    }

    /// Something that is not a request.
    pub(super) fn answer(
        &mut self,
        worker: &Worker,
        ep: &mut Endpoint,
        head: &Head,
        body: Body<'_>,
    ) -> Taken {
        match head.kind {
            Kind::Nak => {
                let status = head.imm.and_then(|n| Status::ALL.get(n as usize).copied());
                let status = status.filter(|s| *s != Status::Success).unwrap_or(Status::BadRespErr);
                if let Some(number) = ep.sends.find(head.seq)
                    && ep.sends.look(number).phase == Phase::Sent
                {
                    end(ep, number, status, 0);
                    self.settle(worker, ep);
                }
                Taken::Used
            }
            Kind::AtomicReply => {
                if let Some(number) = asked(ep, head.seq, true) {
                    let slot = ep.sends.look(number);
                    let piece = slot.pieces[0];
                    if slot.misplaced {
                        end(ep, number, Status::LocProtErr, 0);
                        self.settle(worker, ep);
                        return Taken::Used;
                    }
                    let landed = self
                        .mrs
                        .get(piece.mr.0)
                        .is_some_and(|mr| mr.memory.write(piece.offset, &head.a.to_le_bytes()));
                    self.answered(worker, ep, number, landed);
                }
                Taken::Used
            }
            Kind::ReadReply => self.read_reply(worker, ep, head.seq, body),
            // An acknowledgement was looked at before; a wait is a sign of life and nothing else.
            _ => Taken::Used,
        }
    }

    fn read_reply(&mut self, worker: &Worker, ep: &mut Endpoint, seq: u32, body: Body<'_>) -> Taken {
        let Some(number) = asked(ep, seq, false) else { return Taken::Used };
        let slot = ep.sends.look(number);
        if slot.misplaced {
            end(ep, number, Status::LocProtErr, 0);
            self.settle(worker, ep);
            return Taken::Used;
        }
        if body.len() as u64 != slot.len {
            self.answered(worker, ep, number, false);
            return Taken::Used;
        }
        match body {
            Body::Eager(mut bytes) => {
                let mut landed = true;
                for piece in &slot.pieces[..slot.piece_count] {
                    let (now, rest) = bytes.split_at((piece.len as usize).min(bytes.len()));
                    landed &= piece.len == 0
                        || self.mrs.get(piece.mr.0).is_some_and(|mr| mr.memory.write(piece.offset, now));
                    bytes = rest;
                }
                self.answered(worker, ep, number, landed);
                Taken::Used
            }
            Body::Rendezvous(desc) => {
                let place = ep.sends.place(number);
                let frame = self.frames.take(worker, Use::Data { ep: ep.index, slot: place });
                if let Some(to) = self.frames.get_mut(frame) {
                    // The slot counts its registrations itself, and completes only after this.
                    (to.spans, to.span_count) = (slot.spans, slot.piece_count);
                }
                ep.sends.at(number).ucx += 1;
                match self.fetch(worker, ep, frame, desc) {
                    Started::Pending => {}
                    Started::Done => self.data_came(worker, ep, place, UcsStatus::OK),
                    Started::Failed(why) => self.data_came(worker, ep, place, why),
                }
                Taken::Kept
            }
        }
    }

    /// The data of a READ was fetched.
    pub(super) fn data_came(&mut self, worker: &Worker, ep: &mut Endpoint, place: u32, why: UcsStatus) {
        let Some(number) = ep.sends.in_place(place) else { return };
        let slot = ep.sends.at(number);
        slot.ucx = slot.ucx.saturating_sub(1);
        if why != UcsStatus::OK && slot.phase == Phase::Sent {
            end(ep, number, status::of_ucs(why), status::vendor(why));
        }
        self.answered(worker, ep, number, true);
    }

    /// The answer to a READ or an atomic is here, in its memory.
    fn answered(&mut self, worker: &Worker, ep: &mut Endpoint, number: u32, landed: bool) {
        if ep.sends.look(number).phase == Phase::Sent {
            match landed {
                true => {
                    ep.sends.at(number).acked = true;
                    served_ended(ep, number);
                }
                false => end(ep, number, Status::BadRespErr, 0),
            }
        }
        self.settle(worker, ep);
        self.start(worker, ep);
    }
}

/// Where the local memory of a work is, now that it is needed. How many pieces; `None` if it may not be used like that.
fn find_memory(mrs: &Mrs, slot: &mut SendSlot, pd: PdId) -> Option<usize> {
    if let Some(len) = slot.inline_len {
        slot.spans[0] = Span::of(&slot.inline[..len]);
        return Some(1);
    }
    let fills = slot.op.kind().fills_local();
    for (span, piece) in slot.spans.iter_mut().zip(&slot.pieces[..slot.piece_count]) {
        // Nothing is nowhere.
        *span = if piece.len == 0 { Span::NONE } else { mrs.local(piece, pd, fills)? };
    }
    Some(slot.piece_count)
}

/// A work has ended, well or not. It completes when its turn comes.
pub(super) fn end(ep: &mut Endpoint, number: u32, status: Status, vendor: u32) {
    let slot = ep.sends.at(number);
    let was_sent = slot.phase == Phase::Sent;
    let (asks, serves) = (slot.op.kind().is_read_or_atomic(), std::mem::take(&mut slot.serves));
    slot.phase = Phase::Ended(status, vendor);
    if was_sent && asks {
        ep.sends.reads = ep.sends.reads.saturating_sub(1);
    }
    if serves {
        ep.sends.served = ep.sends.served.saturating_sub(1);
    }
    ep.sends.failed |= status != Status::Success;
}

/// A work that the peer serves has ended if both the peer and UCX say so.
fn served_ended(ep: &mut Endpoint, number: u32) {
    let slot = ep.sends.look(number);
    if slot.phase == Phase::Sent && slot.acked && slot.ucx == 0 && !slot.unplaced {
        end(ep, number, Status::Success, 0);
    }
}

/// UCX is done with a one-sided work.
fn direct_ended(ep: &mut Endpoint, number: u32) {
    let slot = ep.sends.look(number);
    if slot.phase != Phase::Sent || slot.unplaced || slot.seq.is_some() && !slot.acked {
        return;
    }
    let control = ep.peer.as_ref().and_then(|peer| peer.control.as_ref());
    let status = match is_open(control, slot.mr) {
        true => Status::Success,
        false if is_alive(control) => Status::RemAccessErr,
        false => Status::RetryExcErr,
    };
    end(ep, number, status, 0);
}

/// Everything up to a work is placed.
fn placed(ep: &mut Endpoint, last: u32) {
    for number in ep.sends.numbers() {
        let slot = ep.sends.at(number);
        if std::mem::take(&mut slot.unplaced) && slot.ucx == 0 {
            match slot.seq {
                Some(_) => served_ended(ep, number),
                None => direct_ended(ep, number),
            }
        }
        if number == last {
            break;
        }
    }
}

/// One flush for all WRITEs started since `first` that are placed only when it says so.
fn flush_placed(worker: &Worker, ep: &mut Endpoint, first: u32) {
    let count = ep.sends.next.wrapping_sub(first);
    let unplaced = |n: &u32| ep.sends.look(*n).unplaced && ep.sends.look(*n).phase == Phase::Sent;
    let last = (0..count).rev().map(|n| first.wrapping_add(n)).find(unplaced);
    let (Some(last), Some(link)) = (last, &ep.link) else { return };
    match worker.flush(link, &ep.sends.look(last).ticket) {
        Started::Done => placed(ep, last),
        Started::Pending => {
            let slot = ep.sends.at(last);
            (slot.ucx, slot.flushes) = (slot.ucx + 1, true);
            ep.ucx += 1;
        }
        Started::Failed(why) => end(ep, last, status::of_ucs(why), status::vendor(why)),
    }
}

/// Numbers a request and sends it.
fn send_request(
    worker: &Worker,
    ep: &mut Endpoint,
    number: u32,
    mut head: Head,
    count: usize,
    send_as: SendAs,
) -> Start {
    head.seq = ep.sends.number(number);
    let Some(link) = &ep.link else { return Start::Failed(Status::RetryExcErr, 0) };
    let slot = ep.sends.at(number);
    slot.acked = false;
    let header_len = head.write(&mut slot.header);
    match worker.send(link, &slot.header[..header_len], &slot.spans[..count], send_as, &slot.ticket) {
        Started::Failed(why) => Start::failed(why),
        Started::Done => Start::Started,
        Started::Pending => {
            slot.ucx += 1;
            ep.ucx += 1;
            Start::Started
        }
    }
}

/// The READ or atomic that an answer is for.
fn asked(ep: &Endpoint, seq: u32, atomic: bool) -> Option<u32> {
    let number = ep.sends.find(seq)?;
    let slot = ep.sends.look(number);
    let kind = slot.op.kind();
    let fits = kind.is_read_or_atomic() && kind.is_atomic() == atomic;
    (fits && slot.phase == Phase::Sent && !slot.acked && slot.ucx <= 1).then_some(number)
}

/// What a work does to the peer's memory.
fn allows(access: Access, kind: OpKind) -> bool {
    match kind {
        OpKind::Read => access.remote_read,
        OpKind::Write | OpKind::WriteImm => access.remote_write,
        _ => access.remote_atomic,
    }
}

/// The process at the other end lives, as far as can be seen from here.
fn is_alive(control: Option<&Control>) -> bool {
    control.is_none_or(|control| control.words.is_alive(0))
}

/// It lives, and so does its registration.
fn is_open(control: Option<&Control>, mr: u32) -> bool {
    control.is_none_or(|control| control.words.load(word_of(mr)) == mr && control.words.is_alive(0))
}

/// So does the endpoint at the other end, in the life that we know.
fn answers(peer: &Peer) -> bool {
    let word = word_of_ep(peer.address.ep);
    peer.control.as_ref().is_none_or(|control| control.words.load(word) == peer.life)
}

/// Whether UCX may reach the peer's memory for this work: only if everything that is known of it allows it. Whatever is not allowed
/// is for the peer to judge, which then knows of it.
#[expect(clippy::too_many_arguments, reason = "everything that is known")]
fn way<'a>(
    imports: &'a mut Imports,
    ours: &[u8],
    worker: &Worker,
    link: &Ep,
    ep: EpId,
    peer: &Peer,
    kind: OpKind,
    remote: RemoteAddr,
    len: u64,
    shared: bool,
) -> Way<'a> {
    let Some(Import { ep: of, key, rkey }) = imports.get_mut(remote.rkey) else { return Way::Served };
    let inside = remote.addr.checked_sub(key.addr).and_then(|offset| offset.checked_add(len));
    let allowed = *of == ep
        && !key.packed.is_empty()
        && key.pd == peer.pd
        && allows(key.access, kind)
        && allows(peer.access, kind)
        && inside.is_some_and(|end| end <= key.len)
        && (!kind.is_atomic() || remote.addr.is_multiple_of(8))
        && (peer.control.is_some() || !shared);
    if !allowed {
        return Way::Served;
    }
    let unpack = || {
        let owner = shared.then_some(peer.address.process.pid);
        packed::check_key(ours, &key.packed, Range { addr: key.addr, len: key.len, owner })?;
        worker.unpack(link, &key.packed).ok()
    };
    match rkey.get_or_insert_with(unpack) {
        Some(rkey) => Way::Direct(rkey, key.mr),
        None => Way::Served,
    }
}

/// Does a one-sided work in memory that is mapped here. UCX would copy too, but newer versions ask the peer to.
fn through(slot: &mut SendSlot, count: usize, rkey: &Rkey) -> Started {
    slot.ucx = 0;
    if slot.len == 0 {
        return Started::Done;
    }
    let mapped = slot.op.remote().and_then(|remote| rkey.mapped(remote.addr, slot.len));
    let Some(theirs) = mapped else { return Started::Failed(UcsStatus::UNREACHABLE) };
    if slot.op.kind().is_atomic() {
        let former = match slot.op {
            Op::FetchAdd { add, .. } => theirs.fetch_add(0, add),
            Op::CompareSwap { compare, swap, .. } => theirs.compare_swap(0, compare, swap),
            _ => None,
        };
        let Some(former) = former else { return Started::Failed(UcsStatus::UNREACHABLE) };
        slot.spans[0].put_word(former);
        return Started::Done;
    }
    let mut at = 0;
    for span in &slot.spans[..count] {
        let Some(other) = theirs.span(at, span.len()) else { return Started::Failed(UcsStatus::UNREACHABLE) };
        match slot.op {
            Op::Read { .. } => other.copy_to(*span),
            _ => span.copy_to(other),
        }
        at += span.len() as u64;
    }
    // Whether the memory was still theirs is looked at after the bytes.
    fence(Ordering::Acquire);
    Started::Done
}

/// Starts a one-sided work, piece by piece, and counts what UCX has under way of it.
fn direct(worker: &Worker, link: &Ep, slot: &mut SendSlot, count: usize, rkey: &Rkey) -> Started {
    let Some(RemoteAddr { addr: mut at, .. }) = slot.op.remote() else {
        return Started::Failed(UcsStatus::NO_RESOURCE);
    };
    match slot.op {
        Op::FetchAdd { add, .. } => slot.operand = add,
        Op::CompareSwap { compare, swap, .. } => {
            slot.operand = compare;
            // What is to be swapped in lies where the former value will.
            slot.spans[0].put_word(swap);
        }
        _ => {}
    }
    slot.ucx = 0;
    for span in slot.spans[..count].iter().filter(|span| span.len() > 0) {
        let started = match slot.op {
            Op::Read { .. } => worker.get(link, *span, at, rkey, &slot.ticket),
            Op::Write { .. } => worker.put(link, *span, at, rkey, &slot.ticket),
            Op::FetchAdd { .. } => worker.fetch_add(link, &slot.operand, *span, at, rkey, &slot.ticket),
            Op::CompareSwap { .. } => worker.compare_swap(link, &slot.operand, *span, at, rkey, &slot.ticket),
            Op::Recv | Op::Send { .. } => Started::Done,
        };
        match started {
            Started::Done => {}
            Started::Pending => slot.ucx += 1,
            Started::Failed(_) => return started,
        }
        at += span.len() as u64;
    }
    if slot.ucx > 0 { Started::Pending } else { Started::Done }
}
