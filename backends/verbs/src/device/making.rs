//! Making and closing what a device has: completion queues, endpoints, shared receive queues.

use std::rc::Rc;

use wavetank_contract::error::{ModifyError, OpenError};
use wavetank_contract::{CqId, EndpointSpec, EpId, PdId, QpState, SrqId};

use super::VerbsDevice;
use crate::endpoint::{Endpoint, NAMED_MAX, Tally, Works};
use crate::error::system;
use crate::queue::Queue;
use crate::shared::Shared;
use crate::sys::{Cq, Qp, QpSpec, Srq};

const OUT_OF_MEMORY: &str = "fewer or shallower queues, or more locked memory (`ulimit -l`), may help";

fn within(field: &'static str, asked: u64, min: u64, max: u64) -> Result<(), OpenError> {
    if (min..=max).contains(&asked) { Ok(()) } else { Err(OpenError::OutOfRange { field, asked, min, max }) }
}

impl VerbsDevice {
    pub(crate) fn open_queue(&mut self, depth: u32) -> Result<CqId, OpenError> {
        within("completion queue depth", depth.into(), 1, self.caps.cq_depth_max.into())?;
        let number = self.queues.len();
        if number >= self.caps.cq_max as usize {
            return Err(OpenError::TooMany { what: "completion queues", limit: self.caps.cq_max });
        }
        let cq = Cq::new(&self.channel, depth, number)
            .map_err(|errno| system("ibv_create_cq(3)", errno, OUT_OF_MEMORY))?;
        self.queues.push(Queue::new(cq));
        Ok(CqId(number as u32))
    }

    fn check_spec(&self, spec: &EndpointSpec) -> Result<(), OpenError> {
        let caps = &self.caps;
        let depth = u64::from(caps.queue_depth_max);
        let receives_max = if spec.shared_receive.is_some() { 0 } else { depth };
        within("send_depth", spec.send_depth.into(), 1, depth)?;
        within("recv_depth", spec.recv_depth.into(), 0, receives_max)?;
        within("timeout", spec.timeout.into(), 0, 31)?;
        within("retry_cnt", spec.retry_cnt.into(), 0, 7)?;
        within("rnr_retry", spec.rnr_retry.into(), 0, 7)?;
        within("max_rd_atomic", spec.max_rd_atomic.into(), 0, caps.rd_atomic_max.into())?;
        within("max_dest_rd_atomic", spec.max_dest_rd_atomic.into(), 0, caps.rd_atomic_max.into())?;
        for cq in [spec.send_cq, spec.recv_cq] {
            if self.queues.get(cq.0 as usize).is_none_or(|queue| queue.broken) {
                return Err(OpenError::UnknownCq(cq));
            }
        }
        if let Some(srq) = spec.shared_receive
            && self.srq(srq).is_none_or(|shared| shared.pd != spec.pd)
        {
            return Err(OpenError::UnknownSrq(srq));
        }
        if self.open_endpoints >= caps.endpoint_max || self.endpoints.len() >= NAMED_MAX as usize {
            return Err(OpenError::TooMany { what: "endpoints", limit: caps.endpoint_max });
        }
        Ok(())
    }

    pub(crate) fn open_endpoint(&mut self, spec: &EndpointSpec) -> Result<EpId, OpenError> {
        self.check_spec(spec)?;
        let ep = EpId(self.endpoints.len() as u32);
        let qp = self.make_qp(ep, spec).map_err(|errno| system("ibv_create_qp(3)", errno, OUT_OF_MEMORY))?;
        if spec.shared_receive.is_some() {
            self.sharers.push((qp.number(), ep));
        }
        let (handshake, state) = match self.begin_handshake(ep, &qp, spec)? {
            Some(shake) => (Some(shake), QpState::Init),
            None => (None, QpState::Reset),
        };
        self.endpoints.push(Some(Box::new(Endpoint {
            handshake,
            qp,
            spec: spec.clone(),
            state,
            psn: super::connection::fresh_psn(),
            sends: Works::new(spec.send_depth),
            receives: Works::new(spec.recv_depth),
            rung: Tally::default(),
        })));
        self.open_endpoints += 1;
        Ok(ep)
    }

    fn make_qp(&mut self, ep: EpId, spec: &EndpointSpec) -> Result<Qp, i32> {
        let pd = self.pd(spec.pd)?;
        let (cq, iwarp) = (|id: CqId| &self.queues[id.0 as usize].cq, self.cm.is_some());
        let qp_spec = QpSpec {
            send_cq: cq(spec.send_cq),
            recv_cq: cq(spec.recv_cq),
            srq: spec.shared_receive.and_then(|srq| self.srq(srq)).map(|shared| &shared.srq),
            send_depth: if iwarp { 2 * spec.send_depth + 1 } else { spec.send_depth },
            recv_depth: if iwarp { spec.recv_depth + 1 } else { spec.recv_depth },
            sges: self.caps.sge_max,
            inline_bytes: self.caps.inline_bytes_max,
            token: ep.0 as usize,
        };
        Qp::new(&pd, &qp_spec)
    }

    pub(crate) fn close_endpoint(&mut self, ep: EpId) {
        self.doorbell.forget(ep);
        let Some(mut endpoint) = self.endpoints.get_mut(ep.0 as usize).and_then(Option::take) else { return };
        self.open_endpoints -= 1;
        if let (Some(cm), Some(shake)) = (&mut self.cm, &mut endpoint.handshake) {
            cm.ended(shake);
            cm.forget(shake.nonce);
        }
        let spec = endpoint.spec.clone();
        drop(endpoint);
        self.purge(ep, &spec);
    }

    /// Forgets completions of an endpoint that were taken out of the device's queues. Works of its own queues that are still
    /// in there are named, and recognised when they come. Those of a shared queue are not: they are taken out while the queue
    /// pair's number still means this endpoint, because the device may give it to the next one.
    pub(crate) fn purge(&mut self, ep: EpId, spec: &EndpointSpec) {
        if spec.shared_receive.is_some() {
            self.stash_queue(spec.recv_cq);
            self.sharers.retain(|(_, sharer)| *sharer != ep);
        }
        for cq in [spec.send_cq, spec.recv_cq] {
            if let Some(queue) = self.queues.get_mut(cq.0 as usize) {
                queue.stash.retain(|completion| completion.ep != ep);
                queue.late.retain(|completion| completion.ep != ep);
            }
        }
    }

    pub(crate) fn open_shared(&mut self, pd: PdId, depth: u32) -> Result<SrqId, OpenError> {
        let depth_max = self.caps.shared_receive_depth_max;
        if depth_max == 0 {
            return Err(OpenError::NotPromised("shared receive queues"));
        }
        within("shared receive queue depth", depth.into(), 1, depth_max.into())?;
        let number = self.shared.len();
        if number >= NAMED_MAX as usize {
            return Err(OpenError::TooMany { what: "shared receive queues", limit: NAMED_MAX });
        }
        let domain = self.pd(pd).map_err(|errno| system("ibv_alloc_pd(3)", errno, ""))?;
        let srq = Srq::new(&domain, depth, self.caps.sge_max, number)
            .map_err(|errno| system("ibv_create_srq(3)", errno, OUT_OF_MEMORY))?;
        self.shared.push(Some(Shared::new(Rc::clone(&srq), pd, depth, self.caps.sge_max)));
        Ok(SrqId(number as u32))
    }

    pub(crate) fn arm_shared(&mut self, srq: SrqId, limit: u32) -> Result<(), ModifyError> {
        if self.caps.shared_receive_depth_max == 0 {
            return Err(ModifyError::Unsupported);
        }
        let shared = self.srq(srq).ok_or(ModifyError::UnknownSrq(srq))?;
        let advice = "the limit is at most the depth of the queue";
        if limit > shared.depth {
            return Err(ModifyError::System(system("ibv_modify_srq(3)", libc::EINVAL, advice)));
        }
        shared.srq.arm(limit).map_err(|errno| system("ibv_modify_srq(3)", errno, advice).into())
    }

    /// Queue pairs keep a hold on theirs: what is dropped here ends at once, unless one still uses it.
    pub(crate) fn close_shared(&mut self, srq: SrqId) -> Result<(), ModifyError> {
        if self.caps.shared_receive_depth_max == 0 {
            return Err(ModifyError::Unsupported);
        }
        let shared = self.srq(srq).ok_or(ModifyError::UnknownSrq(srq))?;
        let endpoints = Rc::strong_count(&shared.srq) as u32 - 1;
        if endpoints > 0 {
            return Err(ModifyError::SrqInUse { srq, endpoints });
        }
        self.shared[srq.0 as usize] = None;
        Ok(())
    }
}
