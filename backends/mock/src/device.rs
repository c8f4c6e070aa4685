//! The simulated NIC as the contract sees it.

use std::cell::RefCell;
use std::rc::Rc;

use wavetank_contract::chance::mix64;
use wavetank_contract::error::{
    AllocError, ConnectError, DeregisterError, KeyError, ModifyError, OpenError, PostError, RegisterError,
    RingError, WindowError,
};
use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{
    Access, AsyncEvent, Backend, Buggify, Caps, Completions, CqId, EndpointAddress, EndpointSpec, EpId, MrId,
    PdId, QpState, Region, RegionSpec, RemoteKey, RemoteRegion, SrqId, Wake, WindowId, Work,
};

use crate::endpoint::Peer;
use crate::marks::Mark;
use crate::memory::MrTable;
use crate::nic::{Nic, QPN_BASE, Shared};
use crate::psn;
use crate::queue::Side;

const ADDRESS_MAGIC: &[u8; 4] = b"WTM1";
const ADDRESS_FORMAT: &str = "16 bytes that begin with WTM1";

/// One node's handle to its simulated NIC. The NIC itself lives in a [`Fabric`](crate::Fabric), which moves it.
#[derive(Debug)]
pub struct MockNic {
    nic: Rc<RefCell<Nic>>,
    caps: Caps,
    shared: Rc<Shared>,
}

impl MockNic {
    pub(crate) fn new(nic: Rc<RefCell<Nic>>) -> MockNic {
        let (caps, shared) = (nic.borrow().caps.clone(), nic.borrow().shared());
        MockNic { nic, caps, shared }
    }

    /// The node this NIC is in.
    pub fn node(&self) -> u16 {
        self.nic.borrow().node
    }
}

/// First PSN of one life of an endpoint: spread over the whole space, so that numbers wrap in ordinary runs too.
fn first_psn(node: u16, ep: EpId, life: u32) -> u32 {
    let life = if planted::is(Bug::RepeatFirstPsn) { 0 } else { life };
    let of_ep = mix64(u64::from(node) << 32 | u64::from(ep.0));
    mix64(of_ep.wrapping_add(u64::from(life))) as u32 & psn::MASK
}

fn parse_address(bytes: &[u8]) -> Option<Peer> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (node, rest) = rest.split_first_chunk::<2>()?;
    let (qpn, rest) = rest.split_first_chunk::<4>()?;
    let (psn, rest) = rest.split_first_chunk::<4>()?;
    let (gid, rest) = rest.split_first_chunk::<2>()?;
    let peer = Peer {
        node: u16::from_le_bytes(*node),
        qpn: u32::from_le_bytes(*qpn),
        psn: u32::from_le_bytes(*psn),
        gid: u16::from_le_bytes(*gid),
        own_gid: 0,
    };
    (magic == ADDRESS_MAGIC && rest.is_empty() && peer.psn <= psn::MASK && peer.qpn <= psn::MASK)
        .then_some(peer)
}

impl Backend for MockNic {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn allocate(&mut self, spec: &RegionSpec) -> Result<Region, AllocError> {
        Region::allocate(spec)
    }

    fn register(&mut self, region: &Region, pd: PdId, access: Access) -> Result<MrId, RegisterError> {
        self.nic.borrow_mut().register(region, pd, access)
    }

    fn deregister(&mut self, mr: MrId) -> Result<(), DeregisterError> {
        self.nic.borrow_mut().mrs.deregister(mr)
    }

    fn export(&self, mr: MrId) -> Result<RemoteKey, KeyError> {
        let nic = self.nic.borrow();
        nic.present("ibv_reg_mr(3)")?;
        nic.mrs.export(mr)
    }

    fn import(&mut self, _ep: EpId, key: &RemoteKey) -> Result<RemoteRegion, KeyError> {
        self.nic.borrow().present("ibv_query_device(3)")?;
        MrTable::import(key)
    }

    fn open_window(
        &mut self,
        mr: MrId,
        offset: u64,
        len: u64,
        access: Access,
    ) -> Result<(WindowId, RemoteKey), WindowError> {
        self.nic.borrow_mut().open_window(mr, offset, len, access)
    }

    fn close_window(&mut self, window: WindowId) -> Result<(), WindowError> {
        self.nic.borrow_mut().mrs.close_window(window)
    }

    fn open_cq(&mut self, depth: u32) -> Result<CqId, OpenError> {
        self.nic.borrow_mut().open_cq(depth)
    }

    fn open(&mut self, spec: &EndpointSpec) -> Result<EpId, OpenError> {
        self.nic.borrow_mut().open(spec)
    }

    fn address(&self, ep: EpId) -> Option<EndpointAddress> {
        let nic = self.nic.borrow();
        nic.present("ibv_query_qp(3)").ok()?;
        let life = nic.qp(ep)?.life;
        let mut bytes = Vec::with_capacity(16);
        bytes.extend_from_slice(ADDRESS_MAGIC);
        bytes.extend_from_slice(&nic.node.to_le_bytes());
        bytes.extend_from_slice(&(ep.0 + QPN_BASE).to_le_bytes());
        bytes.extend_from_slice(&first_psn(nic.node, ep, life).to_le_bytes());
        bytes.extend_from_slice(&nic.gid.to_le_bytes());
        EndpointAddress::from_bytes(&bytes)
    }

    fn connect(&mut self, ep: EpId, peer: &EndpointAddress) -> Result<(), ConnectError> {
        let len_bytes = peer.as_bytes().len();
        self.nic.borrow().present("ibv_modify_qp(3)")?;
        let peer = parse_address(peer.as_bytes())
            .ok_or(ConnectError::Malformed { len_bytes, expected: ADDRESS_FORMAT })?;
        let mut nic = self.nic.borrow_mut();
        let (node, own_gid) = (nic.node, nic.gid);
        let (qp, ..) = nic.parts(ep).ok_or(ConnectError::Unknown(ep))?;
        if !matches!(qp.state, QpState::Reset | QpState::Init) {
            return Err(ConnectError::WrongState { ep, state: qp.state });
        }
        qp.begin(first_psn(node, ep, qp.life), Peer { own_gid, ..peer });
        qp.state = QpState::Rts;
        Ok(())
    }

    fn modify(&mut self, ep: EpId, to: QpState) -> Result<(), ModifyError> {
        let mut nic = self.nic.borrow_mut();
        nic.present("ibv_modify_qp(3)")?;
        let (qp, _, reports, _) = nic.parts(ep).ok_or(ModifyError::Unknown(ep))?;
        let to = qp.state.transition(to)?;
        match to {
            QpState::Rtr if qp.peer.is_none() => return Err(ModifyError::NoPeer(ep)),
            QpState::Err => qp.fail(reports),
            QpState::Reset => {
                qp.reset();
                reports.purge(qp);
            }
            QpState::Rts => {
                qp.state = to;
                // Whoever goes on before the queue was drained no longer waits for it.
                qp.req.draining = false;
            }
            QpState::Sqd if qp.state != QpState::Sqd => {
                qp.state = to;
                qp.req.draining = true;
                // A work that has not begun waits for RTS.
                qp.check_drained(reports);
            }
            _ => qp.state = to,
        }
        nic.kick(ep);
        nic.settle();
        Ok(())
    }

    fn state(&self, ep: EpId) -> Option<QpState> {
        self.nic.borrow().qp(ep).map(|qp| qp.state)
    }

    fn close(&mut self, ep: EpId) {
        self.nic.borrow_mut().close(ep);
    }

    #[inline]
    fn post(&mut self, ep: EpId, work: &Work<'_>) -> Result<(), PostError> {
        let mut nic = self.nic.borrow_mut();
        if nic.is_removed() {
            return Err(PostError::Gone("the device"));
        }
        let (qp, _, reports, caps) = nic.parts(ep).ok_or(PostError::Unknown(ep))?;
        if let Err(error) = qp.post(work, caps, reports) {
            nic.note_refused(&error);
            return Err(error);
        }
        if reports.fresh {
            nic.settle();
        }
        Ok(())
    }

    #[inline]
    fn ring(&mut self, ep: EpId) -> Result<(), RingError> {
        let mut nic = self.nic.borrow_mut();
        if nic.is_removed() {
            // What was posted before is flushed, so all of it counts as taken.
            return Err(RingError { taken: u32::MAX, error: PostError::Gone("the device") });
        }
        nic.kick(ep);
        Ok(())
    }

    fn open_srq(&mut self, pd: PdId, depth: u32) -> Result<SrqId, OpenError> {
        self.nic.borrow_mut().open_srq(pd, depth)
    }

    fn post_shared(&mut self, srq: SrqId, work: &Work<'_>) -> Result<(), PostError> {
        let nic = self.nic.borrow();
        if nic.is_removed() {
            return Err(PostError::Gone("the device"));
        }
        let shared = nic.srq(srq).ok_or(PostError::Gone("the shared receive queue"))?;
        shared.borrow_mut().post(work, &self.caps)
    }

    fn arm_srq(&mut self, srq: SrqId, limit: u32) -> Result<(), ModifyError> {
        let nic = self.nic.borrow();
        nic.present("ibv_modify_srq(3)")?;
        let shared = nic.srq(srq).ok_or(ModifyError::UnknownSrq(srq))?;
        shared.borrow_mut().arm(limit)
    }

    fn close_srq(&mut self, srq: SrqId) -> Result<(), ModifyError> {
        self.nic.borrow_mut().close_srq(srq)
    }

    #[inline]
    fn poll(&mut self, cq: CqId, out: &mut Completions) -> usize {
        let mut nic = self.nic.borrow_mut();
        nic.looked_at();
        let mut polled = 0;
        while out.room() > 0 {
            let Some(entry) = nic.reports.pop(cq) else { break };
            if let Some((qp, ..)) = nic.parts(entry.completion.ep) {
                match entry.side {
                    Side::Send => qp.sq.freed = entry.seq + 1,
                    Side::Recv => {
                        qp.rq.freed = entry.seq + 1;
                        if let Some(shared) = &qp.shared {
                            shared.borrow_mut().free(1);
                        }
                    }
                }
            }
            out.push(entry.completion);
            polled += 1;
        }
        polled
    }

    fn poll_event(&mut self) -> Option<AsyncEvent> {
        let mut nic = self.nic.borrow_mut();
        nic.looked_at();
        nic.reports.events.pop_front()
    }

    #[inline]
    fn buggify(&self, site: Buggify) -> bool {
        let says = self.shared.buggify.says(site);
        if says {
            self.shared.marks.pass(Mark::Buggified);
        }
        says
    }

    fn wake(&self) -> Wake {
        if self.nic.borrow().reports.is_empty() { Wake::Idle } else { Wake::Now }
    }
}
