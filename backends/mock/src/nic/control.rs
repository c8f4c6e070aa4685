//! The control plane of a NIC: what is made, and which limits it meets.

use std::cell::RefCell;
use std::rc::Rc;

use wavetank_contract::error::{ModifyError, OpenError, PostError, RegisterError, WindowError};
use wavetank_contract::{Access, CqId, EndpointSpec, EpId, MrId, PdId, Region, RemoteKey, SrqId, WindowId};

use super::{Nic, QPN_BASE};
use crate::endpoint::Qp;
use crate::marks::Mark;
use crate::shared::SharedQueue;

impl Nic {
    pub(crate) fn register(
        &mut self,
        region: &Region,
        pd: PdId,
        access: Access,
    ) -> Result<MrId, RegisterError> {
        use RegisterError::{TooLong, TooMany};
        self.present("ibv_reg_mr(3)")?;
        let checked = self.mrs.check(region, access, &self.caps);
        self.note_limit(&checked, |error| matches!(error, TooMany(_) | TooLong { .. }));
        checked?;
        self.lock_memory()?;
        self.mrs.register(region, pd, access, &self.caps)
    }

    pub(crate) fn open_window(
        &mut self,
        mr: MrId,
        offset: u64,
        len: u64,
        access: Access,
    ) -> Result<(WindowId, RemoteKey), WindowError> {
        self.present("ibv_bind_mw(3)")?;
        let opened = self.mrs.open_window(mr, offset, len, access, &self.caps);
        self.note_limit(&opened, |error| matches!(error, WindowError::TooMany(_)));
        opened
    }

    pub(crate) fn open_cq(&mut self, depth: u32) -> Result<CqId, OpenError> {
        let opened = self.try_open_cq(depth);
        self.note_limit(&opened, is_limit);
        opened
    }

    fn try_open_cq(&mut self, depth: u32) -> Result<CqId, OpenError> {
        self.present("ibv_create_cq(3)")?;
        let max = self.caps.cq_depth_max;
        if depth == 0 || depth > max {
            let (asked, max) = (depth.into(), max.into());
            return Err(OpenError::OutOfRange { field: "completion queue depth", asked, min: 1, max });
        }
        if self.reports.cqs.len() as u32 >= self.caps.cq_max {
            return Err(OpenError::TooMany { what: "completion queues", limit: self.caps.cq_max });
        }
        Ok(self.reports.open_cq(depth))
    }

    pub(crate) fn open_srq(&mut self, pd: PdId, depth: u32) -> Result<SrqId, OpenError> {
        self.present("ibv_create_srq(3)")?;
        let open = self.srqs.iter().flatten().count();
        let opened = SharedQueue::open(open, self.srqs.len() as u32, pd, depth, &self.caps);
        self.note_limit(&opened, is_limit);
        let (id, queue) = opened?;
        self.srqs.push(Some(Rc::new(RefCell::new(queue))));
        Ok(id)
    }

    pub(crate) fn close_srq(&mut self, srq: SrqId) -> Result<(), ModifyError> {
        // Closing is legal on a device that is gone.
        let slot = self.srqs.get_mut(srq.0 as usize).ok_or(ModifyError::UnknownSrq(srq))?;
        let queue = slot.as_ref().ok_or(ModifyError::UnknownSrq(srq))?;
        // One is the NIC's own, each other one an endpoint's.
        match Rc::strong_count(queue) as u32 - 1 {
            0 => *slot = None,
            endpoints => return Err(ModifyError::SrqInUse { srq, endpoints }),
        }
        Ok(())
    }

    pub(crate) fn open(&mut self, spec: &EndpointSpec) -> Result<EpId, OpenError> {
        let opened = self.try_open(spec);
        self.note_limit(&opened, is_limit);
        opened
    }

    fn try_open(&mut self, spec: &EndpointSpec) -> Result<EpId, OpenError> {
        self.present("ibv_create_qp(3)")?;
        let caps = &self.caps;
        let within = |field, asked: u64, min: u64, max: u64| {
            if (min..=max).contains(&asked) {
                Ok(())
            } else {
                Err(OpenError::OutOfRange { field, asked, min, max })
            }
        };
        let depth = u64::from(caps.queue_depth_max);
        within("send_depth", spec.send_depth.into(), 1, depth)?;
        let own = if spec.shared_receive.is_some() { 0 } else { depth };
        within("recv_depth", spec.recv_depth.into(), 0, own)?;
        within("timeout", spec.timeout.into(), 0, 31)?;
        within("retry_cnt", spec.retry_cnt.into(), 0, 7)?;
        within("rnr_retry", spec.rnr_retry.into(), 0, 7)?;
        within("max_rd_atomic", spec.max_rd_atomic.into(), 0, caps.rd_atomic_max.into())?;
        within("max_dest_rd_atomic", spec.max_dest_rd_atomic.into(), 0, caps.rd_atomic_max.into())?;
        for cq in [spec.send_cq, spec.recv_cq] {
            if !self.reports.is_open(cq) {
                return Err(OpenError::UnknownCq(cq));
            }
        }
        let shared = match spec.shared_receive {
            Some(srq) => Some(self.srq_of(srq, spec.pd).ok_or(OpenError::UnknownSrq(srq))?),
            None => None,
        };
        // Endpoint numbers are never used again; they and the queue pair numbers made of them fit 24 bits.
        if self.open >= caps.endpoint_max || self.qps.len() >= (1 << 24) - QPN_BASE as usize {
            return Err(OpenError::TooMany { what: "endpoints", limit: caps.endpoint_max });
        }
        let ep = EpId(self.qps.len() as u32);
        // Each life of a NIC begins its conversations elsewhere, though it may give out the numbers of another one.
        let life = self.incarnation << 16;
        self.qps.push(Some(Box::new(Qp { life, ..Qp::new(ep, spec, shared, caps) })));
        self.open += 1;
        Ok(ep)
    }

    /// A shared receive queue, if endpoints of this protection domain may use it.
    fn srq_of(&self, srq: SrqId, pd: PdId) -> Option<Rc<RefCell<SharedQueue>>> {
        self.srq(srq).filter(|shared| shared.borrow().pd == pd).cloned()
    }

    /// Notes that a work was refused, if a limit was the reason.
    #[cold]
    pub(crate) fn note_refused(&self, error: &PostError) {
        use PostError::{InlineTooLong, MessageTooLong, QueueFull, TooManyPieces};
        let limits = matches!(
            error,
            QueueFull { .. } | TooManyPieces { .. } | InlineTooLong { .. } | MessageTooLong { .. }
        );
        if limits {
            self.shared.marks.pass(Mark::LimitHit);
        }
    }

    fn note_limit<T, E>(&self, result: &Result<T, E>, is_limit: impl Fn(&E) -> bool) {
        if result.as_ref().is_err_and(is_limit) {
            self.shared.marks.pass(Mark::LimitHit);
        }
    }
}

fn is_limit(error: &OpenError) -> bool {
    matches!(error, OpenError::TooMany { .. } | OpenError::OutOfRange { .. })
}
