//! The port: what every backend gets around it, so that none can forget it. Credits, the ledger of outstanding
//! works, the signalling policy, and the check that a device completes each work once and in order.

mod shared;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

use wavetank_contract::error::{
    AllocError, ConnectError, DeregisterError, KeyError, ModifyError, OpenError, PostError, RegisterError,
    RingError, WindowError,
};
use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{
    Access, AsyncEvent, Backend, Buggify, Caps, Completion, Completions, CqId, Data, EndpointAddress,
    EndpointSpec, EpId, Hold, MrId, Op, OpKind, PdId, QpState, Region, RegionSpec, RemoteKey, RemoteRegion,
    Sge, SrqId, Status, Wake, WindowId, Work,
};

use crate::context::RdmaOps;
use crate::ledger::{Anomaly, Entry, Home, Ledger, Queue};
use shared::SharedQueue;

/// Local pieces of one order, at most.
pub const PIECES_MAX: usize = 4;

/// Completions taken from one queue at a time.
const POLL_BATCH: usize = 64;

/// Anomalies kept for whoever asks; the first ones tell the story.
const ANOMALIES_KEPT: usize = 16;

/// A work on its way to a device.
#[derive(Debug)]
pub struct Order {
    /// The caller's name for it; comes back in its [`Outcome`].
    pub tag: u64,
    /// What to do.
    pub op: Op,
    /// Local memory; the first `piece_count` entries.
    pub pieces: [Sge; PIECES_MAX],
    /// How many pieces there are.
    pub piece_count: u8,
    /// Keeps that memory in place until the device is done.
    pub hold: Option<Hold>,
    /// Wait for earlier READs and atomics.
    pub fence: bool,
}

impl Order {
    /// An order with one piece.
    #[inline]
    pub fn new(tag: u64, op: Op, piece: Sge, hold: Option<Hold>) -> Order {
        Order { tag, op, pieces: [piece; PIECES_MAX], piece_count: 1, hold, fence: false }
    }

    fn pieces(&self) -> &[Sge] {
        &self.pieces[..usize::from(self.piece_count).min(PIECES_MAX)]
    }

    fn len_bytes(&self) -> u64 {
        self.pieces().iter().map(|piece| u64::from(piece.len)).sum()
    }

    /// Whether a device with these promises takes it as a send, as far as can be told without asking.
    fn is_takeable_send(&self, caps: &Caps) -> bool {
        let (kind, len) = (self.op.kind(), self.len_bytes());
        kind != OpKind::Recv
            && self.pieces().len() <= caps.sge_max as usize
            && len <= u64::from(caps.message_bytes_max)
            && (caps.immediate || self.op.imm().is_none())
            && (!kind.is_atomic() || caps.atomics && len == 8 && self.piece_count == 1)
    }
}

/// The endpoint of an outcome that has none: a receive of a shared queue that nobody took.
pub const NO_ENDPOINT: EpId = EpId(u32::MAX);

/// Orders for one endpoint, posted with one doorbell.
pub type Batch = VecDeque<Order>;

/// How one order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The order's tag.
    pub tag: u64,
    /// Its endpoint; of a receive of a shared queue the one that took it, or [`NO_ENDPOINT`].
    pub ep: EpId,
    /// What it was.
    pub kind: OpKind,
    /// How it ended.
    pub status: Status,
    /// The vendor's code for a failure.
    pub vendor: u32,
    /// Bytes moved; for a receive, bytes received. 0 on failure.
    pub len: u32,
    /// The immediate of a receive.
    pub imm: Option<u32>,
}

/// An order the device refused; the ones before it in the batch were posted.
#[derive(Debug)]
pub struct Refused {
    /// Its place in the batch, counting from 0.
    pub index: usize,
    /// The order, back with its hold.
    pub order: Order,
    /// Why.
    pub error: PostError,
}

/// Policy of a port.
#[derive(Clone, Copy, Debug)]
pub struct PortConfig {
    /// Within a batch, every n-th send is signalled, and the last always. 1 signals all.
    pub signal_every: u32,
}

impl Default for PortConfig {
    fn default() -> PortConfig {
        PortConfig { signal_every: 1 }
    }
}

/// Works posted to one queue since the last doorbell.
#[derive(Clone, Copy)]
struct Run {
    receives: bool,
    works: u32,
}

#[derive(Debug)]
struct Endpoint {
    send: Queue,
    recv: Queue,
    send_depth: u32,
    recv_depth: u32,
    send_cq: CqId,
    recv_cq: CqId,
    unsignalled: u32,
    /// Where it takes its receives, if that is no queue of its own.
    shared: Option<SrqId>,
}

/// A backend with its credits, ledger and policies.
#[derive(Debug)]
pub struct Port<B> {
    backend: B,
    config: PortConfig,
    ledger: Ledger,
    /// By endpoint number.
    endpoints: Vec<Option<Endpoint>>,
    /// By the number of the shared receive queue.
    shared: Vec<Option<SharedQueue>>,
    cqs: Vec<CqId>,
    polled: Completions,
    /// Works ended by us rather than by the device: their endpoint was closed or reset.
    flushed: VecDeque<Outcome>,
    anomalies: Vec<Anomaly>,
    /// A context is born on a thread and stays there, whatever the backend: features change no auto trait.
    _not_send: PhantomData<*const ()>,
}

impl<B: Backend> Port<B> {
    /// Wraps a backend.
    pub fn new(backend: B, config: PortConfig) -> Port<B> {
        Port {
            backend,
            config,
            ledger: Ledger::new(),
            endpoints: Vec::new(),
            shared: Vec::new(),
            cqs: Vec::new(),
            polled: Completions::with_capacity(POLL_BATCH),
            flushed: VecDeque::new(),
            anomalies: Vec::new(),
            _not_send: PhantomData,
        }
    }

    fn anomaly(&mut self, anomaly: Anomaly) {
        if self.anomalies.len() < ANOMALIES_KEPT {
            self.anomalies.push(anomaly);
        }
    }

    /// Settles one completion: its own work, and every unsignalled one before it.
    #[inline]
    fn settle(&mut self, completion: &Completion, out: &mut Vec<Outcome>) {
        let Some(found) = self.ledger.find(completion.id) else {
            self.anomaly(Anomaly::UnknownWork { id: completion.id, ep: completion.ep });
            return;
        };
        let (kind, seq) = (found.kind, found.seq);
        let ep = match found.home {
            Home::Endpoint(ep) => ep,
            Home::Shared(srq) => return self.settle_shared(srq, seq, completion, out),
        };
        if ep != completion.ep {
            self.anomaly(Anomaly::WrongEndpoint { posted: ep, completed: completion.ep, seq });
            return;
        }
        let Some(Some(endpoint)) = self.endpoints.get_mut(ep.0 as usize) else {
            return;
        };
        let queue = if kind == OpKind::Recv { &mut endpoint.recv } else { &mut endpoint.send };
        let mut overtaken = None;
        while let Some(entry) = self.ledger.retire_head(queue) {
            let own = entry.seq == seq;
            if !own && entry.signalled && overtaken.is_none() {
                let (missing_kind, missing_seq) = (entry.kind, entry.seq);
                overtaken = Some(Anomaly::Overtaken { ep, kind, seq, missing_kind, missing_seq });
            }
            let status = match (own, entry.signalled) {
                (true, _) => completion.status,
                // In order, so those before it are done.
                (false, false) => Status::Success,
                // Its own word never came. Whatever it would have said, it is not ours to call it a success.
                (false, true) => Status::GeneralErr,
            };
            if !own && planted::is(Bug::SettleOneOnly) {
                continue;
            }
            if status == Status::WrFlushErr && planted::is(Bug::LeakCredit) {
                queue.len += 1;
            }
            let success = status == Status::Success;
            let received = own && kind == OpKind::Recv;
            out.push(Outcome {
                tag: entry.tag,
                ep,
                // What a receive met is the device's to say; everything else we know better.
                kind: if received && success { completion.kind } else { entry.kind },
                status,
                vendor: if own && !success { completion.vendor } else { 0 },
                len: match (success, received) {
                    (false, _) => 0,
                    (true, true) => completion.len,
                    (true, false) => entry.len,
                },
                imm: completion.imm.filter(|_| received && success),
            });
            if own {
                break;
            }
        }
        if let Some(overtaken) = overtaken {
            self.anomaly(overtaken);
        }
    }

    /// Settles everything that a completion queue has.
    #[inline]
    fn poll_queue(&mut self, cq: CqId, out: &mut Vec<Outcome>) {
        loop {
            let mut polled = std::mem::replace(&mut self.polled, Completions::with_capacity(0));
            polled.clear();
            let count = self.backend.poll(cq, &mut polled);
            for completion in polled.as_slice() {
                self.settle(completion, out);
            }
            self.polled = polled;
            if count < POLL_BATCH {
                break;
            }
        }
    }

    /// Rings for a run of works. Those that the device takes back out of the doorbell end at once: they never began.
    #[inline]
    fn ring(&mut self, ep: EpId, run: Run) {
        if run.works == 0 {
            return;
        }
        let Err(RingError { taken, .. }) = self.backend.ring(ep) else { return };
        let Some(Some(endpoint)) = self.endpoints.get_mut(ep.0 as usize) else { return };
        let queue = if run.receives { &mut endpoint.recv } else { &mut endpoint.send };
        let first = self.flushed.len();
        for _ in taken..run.works {
            let Some(entry) = self.ledger.withdraw_tail(queue) else { break };
            let (tag, kind) = (entry.tag, entry.kind);
            let status = Status::LocQpOpErr;
            self.flushed.insert(first, Outcome { tag, ep, kind, status, vendor: 0, len: 0, imm: None });
        }
    }

    /// Ends every work of an endpoint that the device no longer has.
    fn flush(&mut self, ep: EpId) {
        let Some(Some(endpoint)) = self.endpoints.get_mut(ep.0 as usize) else {
            return;
        };
        for queue in [&mut endpoint.send, &mut endpoint.recv] {
            while let Some(entry) = self.ledger.retire_head(queue) {
                let (tag, kind) = (entry.tag, entry.kind);
                let status = Status::WrFlushErr;
                self.flushed.push_back(Outcome { tag, ep, kind, status, vendor: 0, len: 0, imm: None });
            }
        }
    }
}

impl<B: Backend> RdmaOps for Port<B> {
    fn caps(&self) -> &Caps {
        self.backend.caps()
    }

    fn allocate(&mut self, spec: &RegionSpec) -> Result<Region, AllocError> {
        self.backend.allocate(spec)
    }

    fn register(&mut self, region: &Region, pd: PdId, access: Access) -> Result<MrId, RegisterError> {
        self.backend.register(region, pd, access)
    }

    fn deregister(&mut self, mr: MrId) -> Result<(), DeregisterError> {
        self.backend.deregister(mr)
    }

    fn export(&self, mr: MrId) -> Result<RemoteKey, KeyError> {
        self.backend.export(mr)
    }

    fn import(&mut self, ep: EpId, key: &RemoteKey) -> Result<RemoteRegion, KeyError> {
        self.backend.import(ep, key)
    }

    fn open_window(
        &mut self,
        mr: MrId,
        offset: u64,
        len: u64,
        access: Access,
    ) -> Result<(WindowId, RemoteKey), WindowError> {
        self.backend.open_window(mr, offset, len, access)
    }

    fn close_window(&mut self, window: WindowId) -> Result<(), WindowError> {
        self.backend.close_window(window)
    }

    fn open_cq(&mut self, depth: u32) -> Result<CqId, OpenError> {
        let cq = self.backend.open_cq(depth)?;
        self.cqs.push(cq);
        Ok(cq)
    }

    fn open(&mut self, spec: &EndpointSpec) -> Result<EpId, OpenError> {
        let ep = self.backend.open(spec)?;
        let index = ep.0 as usize;
        if self.endpoints.len() <= index {
            self.endpoints.resize_with(index + 1, || None);
        }
        self.endpoints[index] = Some(Endpoint {
            send: Queue::default(),
            recv: Queue::default(),
            send_depth: spec.send_depth,
            recv_depth: if spec.shared_receive.is_some() { 0 } else { spec.recv_depth },
            send_cq: spec.send_cq,
            recv_cq: spec.recv_cq,
            unsignalled: 0,
            shared: spec.shared_receive,
        });
        Ok(ep)
    }

    fn address(&self, ep: EpId) -> Option<EndpointAddress> {
        self.backend.address(ep)
    }

    fn connect(&mut self, ep: EpId, peer: &EndpointAddress) -> Result<(), ConnectError> {
        self.backend.connect(ep, peer)
    }

    fn modify(&mut self, ep: EpId, to: QpState) -> Result<(), ModifyError> {
        if to == QpState::Reset {
            self.drain_shared(ep);
        }
        self.backend.modify(ep, to)?;
        if to == QpState::Reset {
            self.flush(ep);
        }
        Ok(())
    }

    fn is_open(&self, ep: EpId) -> bool {
        matches!(self.endpoints.get(ep.0 as usize), Some(Some(_)))
    }

    fn state(&self, ep: EpId) -> Option<QpState> {
        self.backend.state(ep)
    }

    fn close(&mut self, ep: EpId) {
        self.drain_shared(ep);
        self.backend.close(ep);
        self.flush(ep);
        if let Some(slot) = self.endpoints.get_mut(ep.0 as usize) {
            *slot = None;
        }
    }

    fn post(&mut self, ep: EpId, batch: &mut Batch) -> Result<usize, Box<Refused>> {
        let mut posted = 0;
        let mut run = Run { receives: false, works: 0 };
        let mut refused = None;
        if !self.is_open(ep) {
            return match batch.pop_front() {
                Some(order) => Err(Box::new(Refused { index: 0, order, error: PostError::Unknown(ep) })),
                None => Ok(0),
            };
        }
        let mut split = batch.len() > 1 && self.backend.buggify(Buggify::SplitBatch);
        while let Some(order) = batch.front() {
            let kind = order.op.kind();
            let receives = kind == OpKind::Recv;
            // A doorbell answers for one queue.
            if run.receives != receives {
                self.ring(ep, run);
                run = Run { receives, works: 0 };
            }
            let Some(Some(endpoint)) = self.endpoints.get_mut(ep.0 as usize) else { break };
            let (queue, depth) = match receives {
                true => (&mut endpoint.recv, endpoint.recv_depth),
                false => (&mut endpoint.send, endpoint.send_depth),
            };
            // A credit is a free slot. Without one the order waits in the batch; that is no error, unless there will
            // never be one.
            if queue.len >= depth {
                if depth == 0
                    && let Some(order) = batch.pop_front()
                {
                    let error = match endpoint.shared {
                        Some(_) => PostError::NotPromised(
                            "receives of its own to an endpoint that shares a receive queue",
                        ),
                        None => PostError::QueueFull { ep, depth },
                    };
                    refused = Some(Box::new(Refused { index: posted, order, error }));
                }
                break;
            }
            // Not behind a work that needs a signalled one to follow it.
            if queue.len > 0
                && (receives || endpoint.unsignalled == 0)
                && self.backend.buggify(Buggify::EarlyFull)
            {
                break;
            }
            let mut signal_every = self.config.signal_every;
            if self.backend.buggify(Buggify::OtherSignals) {
                signal_every = if signal_every > 1 { 1 } else { u32::MAX };
            }
            let unsignalled = endpoint.unsignalled + 1;
            // A work may only go unsignalled if a signalled one is sure to follow it in this very batch and queue:
            // not a receive, and none that the device will refuse.
            let signalled = receives
                || unsignalled >= signal_every.min(depth / 2).max(1)
                || queue.len + 1 >= depth
                || !batch.get(1).is_some_and(|next| next.is_takeable_send(self.backend.caps()));
            let Some(order) = batch.front_mut() else { break };
            let hold = order.hold.take().filter(|_| !planted::is(Bug::ReturnLeaseEarly));
            let len = u32::try_from(order.len_bytes()).unwrap_or(u32::MAX);
            let entry = Entry::new(order.tag, Home::Endpoint(ep), kind, len, signalled, hold);
            let Some(id) = self.ledger.enter(queue, entry) else {
                unreachable!("queues are far shorter than 2^32")
            };
            let work =
                Work { id, op: order.op, data: Data::Pieces(order.pieces()), signalled, fence: order.fence };
            let answer = self.backend.post(ep, &work);
            // Not before now: it is posted from where it lies.
            let order = batch.pop_front();
            if let Err(error) = answer {
                let hold = self.ledger.withdraw_tail(queue).and_then(|entry| entry.hold);
                refused = order
                    .map(|order| Box::new(Refused { index: posted, order: Order { hold, ..order }, error }));
                break;
            }
            if !receives {
                endpoint.unsignalled = if signalled { 0 } else { unsignalled };
            }
            posted += 1;
            run.works += 1;
            if split {
                split = false;
                self.ring(ep, run);
                run.works = 0;
            }
        }
        self.ring(ep, run);
        match refused {
            Some(refused) => Err(refused),
            None => Ok(posted),
        }
    }

    fn open_srq(&mut self, pd: PdId, depth: u32) -> Result<SrqId, OpenError> {
        self.make_shared(pd, depth)
    }

    fn post_shared(&mut self, srq: SrqId, batch: &mut Batch) -> Result<usize, Box<Refused>> {
        self.post_receives(srq, batch)
    }

    fn arm_srq(&mut self, srq: SrqId, limit: u32) -> Result<(), ModifyError> {
        self.backend.arm_srq(srq, limit)
    }

    fn close_srq(&mut self, srq: SrqId) -> Result<(), ModifyError> {
        self.end_shared(srq)
    }

    fn bytes_in_use(&self) -> usize {
        self.ledger.bytes_in_use()
            + self.endpoints.capacity() * size_of::<Option<Endpoint>>()
            + self.flushed.capacity() * size_of::<Outcome>()
    }

    fn poll(&mut self, out: &mut Vec<Outcome>) {
        out.extend(self.flushed.drain(..));
        for index in 0..self.cqs.len() {
            let cq = self.cqs[index];
            if self.backend.buggify(Buggify::ShortPoll) {
                // The rest is still there, and the device says so.
                let mut polled = Completions::with_capacity(1);
                self.backend.poll(cq, &mut polled);
                polled.as_slice().iter().for_each(|completion| self.settle(completion, out));
                continue;
            }
            self.poll_queue(cq, out);
        }
    }

    fn poll_event(&mut self) -> Option<AsyncEvent> {
        let event = self.backend.poll_event()?;
        if let AsyncEvent::CqErr(cq) = event {
            // Completions were lost: what is outstanding on this queue will never be heard of again.
            let hit = |e: &Endpoint| e.send_cq == cq || e.recv_cq == cq;
            let eps: Vec<_> = (0u32..)
                .zip(&self.endpoints)
                .filter(|(_, e)| e.as_ref().is_some_and(hit))
                .map(|(index, _)| EpId(index))
                .collect();
            for ep in eps {
                self.close(ep);
            }
        }
        Some(event)
    }

    fn wake(&self) -> Wake {
        if self.flushed.is_empty() { self.backend.wake() } else { Wake::Now }
    }

    fn notifier(&self) -> Option<BorrowedFd<'_>> {
        self.backend.notifier()
    }

    fn outstanding(&self) -> usize {
        self.ledger.outstanding() + self.flushed.len()
    }

    fn describe_outstanding(&self, out: &mut String) {
        for entry in self.ledger.entries() {
            let Entry { tag, home, kind, len, seq, .. } = entry;
            // Writing to a String cannot fail.
            let ep = match home {
                Home::Endpoint(ep) => ep,
                Home::Shared(srq) => {
                    let _ = writeln!(
                        out,
                        "  recv of {len} bytes, number {seq} of shared queue {}, tag {tag:#x}",
                        srq.0
                    );
                    continue;
                }
            };
            let state = self.backend.state(*ep);
            let _ = writeln!(
                out,
                "  {} of {len} bytes, number {seq} of endpoint {} ({state:?}), tag {tag:#x}",
                kind.name(),
                ep.0
            );
        }
        for Outcome { tag, ep, kind, .. } in &self.flushed {
            let _ =
                writeln!(out, "  {} of endpoint {}, flushed and not polled, tag {tag:#x}", kind.name(), ep.0);
        }
    }

    #[inline]
    fn buggify(&self, site: Buggify) -> bool {
        self.backend.buggify(site)
    }

    fn take_anomaly(&mut self) -> Option<Anomaly> {
        if self.anomalies.is_empty() { None } else { Some(self.anomalies.remove(0)) }
    }
}

impl<B: Backend> Port<B> {
    /// The backend, for labs that inject causes. Works posted behind the port's back are anomalies.
    pub fn backend_mut(&mut self) -> &mut B {
        &mut self.backend
    }
}
