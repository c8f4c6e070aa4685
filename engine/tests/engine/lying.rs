//! A backend that forwards to another and lies about it when told to.

use std::collections::VecDeque;

use wavetank_contract::error::{
    AllocError, ConnectError, DeregisterError, KeyError, ModifyError, OpenError, PostError, RegisterError,
    RingError, SystemError,
};
use wavetank_contract::{
    Access, AsyncEvent, Backend, Caps, Completion, Completions, CqId, EndpointAddress, EndpointSpec, EpId,
    MrId, OpKind, PdId, QpState, Region, RegionSpec, RemoteKey, RemoteRegion, SrqId, Wake, Work, WorkId,
};

/// What to do to a completion that comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// It is lost.
    Lose,
    /// It comes twice.
    Repeat,
    /// It and the next one change places.
    Swap,
    /// It names another work.
    Rename(WorkId),
    /// It names another endpoint.
    Move(EpId),
}

/// What went through [`Backend::post`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posted {
    pub(crate) id: WorkId,
    pub(crate) ep: EpId,
    pub(crate) kind: OpKind,
    pub(crate) signalled: bool,
    pub(crate) len: u64,
    pub(crate) imm: Option<u32>,
}

/// Forwards everything; honest until told otherwise.
#[derive(Debug)]
pub(crate) struct Lying<B> {
    inner: B,
    caps: Caps,
    /// Completions on their way up, by queue number.
    passing: Vec<VecDeque<Completion>>,
    polled: Completions,
    /// The lie, and how many completions pass unharmed before it.
    lie: Option<(usize, Lie)>,
    /// Nothing comes up while this is set: the queues below fill.
    pub(crate) silent: bool,
    /// Refuses the post after this many, once.
    pub(crate) refuse_after: Option<usize>,
    /// Takes only this many works of the next batch that has more, and says so at the doorbell.
    pub(crate) take_only: Option<u32>,
    since_ring: u32,
    /// Answered by `wake` in place of the truth.
    pub(crate) wake_as: Option<Wake>,
    /// Says EBUSY to so many more attempts to end a registration.
    pub(crate) busy: u32,
    pub(crate) posted: Vec<Posted>,
    pub(crate) rings: usize,
}

impl<B: Backend> Lying<B> {
    pub(crate) fn new(inner: B) -> Lying<B> {
        let caps = inner.caps().clone();
        Lying::with_caps(inner, caps)
    }

    /// Promises something else, which has to be less.
    pub(crate) fn with_caps(inner: B, caps: Caps) -> Lying<B> {
        Lying {
            inner,
            caps,
            passing: Vec::new(),
            polled: Completions::with_capacity(64),
            lie: None,
            silent: false,
            refuse_after: None,
            wake_as: None,
            take_only: None,
            since_ring: 0,
            busy: 0,
            posted: Vec::new(),
            rings: 0,
        }
    }

    /// Lies once, after `honest` completions.
    pub(crate) fn lie_after(&mut self, honest: usize, lie: Lie) {
        self.lie = Some((honest, lie));
    }

    /// Whether the lie has been told.
    pub(crate) fn has_lied(&self) -> bool {
        self.lie.is_none()
    }

    fn meddle(&mut self, at: usize) -> bool {
        let passing = &mut self.passing[at];
        let Some((honest, lie)) = &mut self.lie else {
            return true;
        };
        if *honest > 0 {
            *honest -= 1;
            return true;
        }
        let lie = *lie;
        if lie == Lie::Swap && passing.len() < 2 {
            // It takes two: this one waits.
            return false;
        }
        self.lie = None;
        match lie {
            Lie::Lose => drop(passing.pop_front()),
            Lie::Repeat => passing.push_front(passing[0]),
            Lie::Swap => passing.swap(0, 1),
            Lie::Rename(id) => passing[0].id = id,
            Lie::Move(ep) => passing[0].ep = ep,
        }
        true
    }

    fn purge(&mut self, ep: EpId) {
        self.passing.iter_mut().for_each(|queue| queue.retain(|completion| completion.ep != ep));
    }
}

impl<B: Backend> Backend for Lying<B> {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn allocate(&mut self, spec: &RegionSpec) -> Result<Region, AllocError> {
        self.inner.allocate(spec)
    }

    fn register(&mut self, region: &Region, pd: PdId, access: Access) -> Result<MrId, RegisterError> {
        self.inner.register(region, pd, access)
    }

    fn deregister(&mut self, mr: MrId) -> Result<(), DeregisterError> {
        if let Some(left) = self.busy.checked_sub(1) {
            self.busy = left;
            return Err(SystemError { call: "ucp_mem_unmap", errno: 16, advice: "" }.into());
        }
        self.inner.deregister(mr)
    }

    fn export(&self, mr: MrId) -> Result<RemoteKey, KeyError> {
        self.inner.export(mr)
    }

    fn import(&mut self, ep: EpId, key: &RemoteKey) -> Result<RemoteRegion, KeyError> {
        self.inner.import(ep, key)
    }

    fn open_cq(&mut self, depth: u32) -> Result<CqId, OpenError> {
        self.inner.open_cq(depth)
    }

    fn open(&mut self, spec: &EndpointSpec) -> Result<EpId, OpenError> {
        self.inner.open(spec)
    }

    fn address(&self, ep: EpId) -> Option<EndpointAddress> {
        self.inner.address(ep)
    }

    fn connect(&mut self, ep: EpId, peer: &EndpointAddress) -> Result<(), ConnectError> {
        self.inner.connect(ep, peer)
    }

    fn modify(&mut self, ep: EpId, to: QpState) -> Result<(), ModifyError> {
        self.inner.modify(ep, to)?;
        if to == QpState::Reset {
            self.purge(ep);
        }
        Ok(())
    }

    fn state(&self, ep: EpId) -> Option<QpState> {
        self.inner.state(ep)
    }

    fn close(&mut self, ep: EpId) {
        self.inner.close(ep);
        self.purge(ep);
    }

    fn post(&mut self, ep: EpId, work: &Work<'_>) -> Result<(), PostError> {
        match &mut self.refuse_after {
            Some(0) => {
                self.refuse_after = None;
                return Err(PostError::NotPromised("that work"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let (asked_bytes, max_bytes) = (work.data.len_bytes(), self.caps.message_bytes_max);
        if asked_bytes > u64::from(max_bytes) {
            return Err(PostError::MessageTooLong { asked_bytes, max_bytes });
        }
        self.since_ring += 1;
        if self.take_only.is_some_and(|taken| self.since_ring > taken) {
            return Ok(());
        }
        self.inner.post(ep, work)?;
        let Work { id, op, data, signalled, .. } = work;
        let (kind, len, imm) = (op.kind(), data.len_bytes(), op.imm());
        self.posted.push(Posted { id: *id, ep, kind, signalled: *signalled, len, imm });
        Ok(())
    }

    fn ring(&mut self, ep: EpId) -> Result<(), RingError> {
        self.rings += 1;
        self.inner.ring(ep)?;
        let since_ring = std::mem::take(&mut self.since_ring);
        match self.take_only {
            Some(taken) if since_ring > taken => {
                self.take_only = None;
                Err(RingError { taken, error: PostError::QueueFull { ep, depth: taken } })
            }
            _ => Ok(()),
        }
    }

    fn open_srq(&mut self, pd: PdId, depth: u32) -> Result<SrqId, OpenError> {
        self.inner.open_srq(pd, depth)
    }

    fn post_shared(&mut self, srq: SrqId, work: &Work<'_>) -> Result<(), PostError> {
        self.inner.post_shared(srq, work)
    }

    fn arm_srq(&mut self, srq: SrqId, limit: u32) -> Result<(), ModifyError> {
        self.inner.arm_srq(srq, limit)
    }

    fn close_srq(&mut self, srq: SrqId) -> Result<(), ModifyError> {
        self.inner.close_srq(srq)
    }

    fn poll(&mut self, cq: CqId, out: &mut Completions) -> usize {
        if self.silent {
            return 0;
        }
        let at = cq.0 as usize;
        if self.passing.len() <= at {
            self.passing.resize_with(at + 1, VecDeque::new);
        }
        self.polled.clear();
        self.inner.poll(cq, &mut self.polled);
        self.passing[at].extend(self.polled.drain());
        let before = out.room();
        while out.room() > 0 && !self.passing[at].is_empty() && self.meddle(at) {
            if let Some(completion) = self.passing[at].pop_front() {
                out.push(completion);
            }
        }
        before - out.room()
    }

    fn poll_event(&mut self) -> Option<AsyncEvent> {
        self.inner.poll_event()
    }

    fn wake(&self) -> Wake {
        self.wake_as.unwrap_or_else(|| if self.silent { Wake::Idle } else { self.inner.wake() })
    }
}
