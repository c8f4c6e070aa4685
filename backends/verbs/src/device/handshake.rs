//! The iWARP handshake of endpoints: what `cm.rs` does for them, and the greeting that ends it.

use wavetank_contract::error::{ConnectError, OpenError};
use wavetank_contract::region::PAGE_BYTES;
use wavetank_contract::{Access, Completion, EndpointSpec, EpId, PdId, QpState, Region, RegionSpec, Status};

use super::VerbsDevice;
use super::connection::fresh;
use crate::address::IwarpAddress;
use crate::cm::News;
use crate::doorbell::NOWHERE;
use crate::endpoint::{Posted, WorkName};
use crate::error::system;
use crate::handshake::{Handshake, Phase, Witness};
use crate::memory::access_flags;
use crate::status;
use crate::sys::{Mr, Piece, Qp, RecvChain, SendChain, SendWork, Verb};

impl VerbsDevice {
    /// Makes a new queue pair of an iWARP device ready to take receives, the first of which is for the peer's greeting.
    pub(crate) fn begin_handshake(
        &mut self,
        ep: EpId,
        qp: &Qp,
        spec: &EndpointSpec,
    ) -> Result<Option<Handshake>, OpenError> {
        if self.cm.is_none() {
            return Ok(None);
        }
        let witness = self.witness(spec.pd)?;
        // The peer READs its confirmations here.
        let access = Access { remote_read: true, ..spec.access };
        qp.to_init(&self.init_attr(access)).map_err(|errno| system("ibv_modify_qp(3)", errno, ""))?;
        let mut chain = RecvChain::new(1, 1);
        chain.push(WorkName::Hello(ep).encode(), std::iter::once(NOWHERE));
        chain.submit(qp).map_err(|partly| system("ibv_post_recv(3)", partly.errno, ""))?;
        // A queue pair in ERR is buried by us, and burying allocates nothing.
        for cq in [spec.send_cq, spec.recv_cq] {
            if let Some(queue) = self.queues.get_mut(cq.0 as usize) {
                let works = (spec.send_depth + spec.recv_depth) as usize;
                queue.stash.reserve(works);
                queue.late.reserve(works);
            }
        }
        let rd_atomic = (spec.max_rd_atomic, spec.max_dest_rd_atomic);
        Ok(Some(Handshake::new(qp.number(), rd_atomic, fresh(), witness)))
    }

    /// The words of a protection domain that confirmations READ from and into.
    fn witness(&mut self, pd: PdId) -> Result<Witness, OpenError> {
        if !self.witnesses.contains_key(&pd.0) {
            let refused = |errno| system("ibv_reg_mr(3)", errno, "a page for iWARP's confirmations");
            let domain = self.pd(pd).map_err(|errno| system("ibv_alloc_pd(3)", errno, ""))?;
            let region = Region::allocate(&RegionSpec::new(PAGE_BYTES)).map_err(|_| refused(libc::ENOMEM))?;
            let access = Access { local_write: true, remote_read: true, ..Access::default() };
            let mr = Mr::new(&domain, &region, access_flags(access, false)).map_err(refused)?;
            self.witnesses.insert(pd.0, mr);
        }
        let mr = &self.witnesses[&pd.0];
        // The first word is shown, the last is where the peer's lands.
        let sink = Piece { addr: mr.addr() + PAGE_BYTES - 8, len: 8, lkey: mr.lkey() };
        Ok(Witness { shown: (mr.addr(), mr.rkey()), sink })
    }

    pub(crate) fn connect_iwarp(&mut self, ep: EpId, peer: IwarpAddress) -> Result<(), ConnectError> {
        let (Some(cm), Some(Some(endpoint))) = (&mut self.cm, self.endpoints.get_mut(ep.0 as usize)) else {
            return Err(ConnectError::Unknown(ep));
        };
        let state = endpoint.state;
        let Some(shake) = endpoint.handshake.as_mut().filter(|shake| shake.phase == Phase::Idle) else {
            return Err(ConnectError::WrongState { ep, state });
        };
        if cm.address(shake) == peer {
            return Err(ConnectError::Unreachable("an iWARP endpoint cannot be its own peer"));
        }
        Ok(cm.connect(ep, shake, peer)?)
    }

    /// Looks what came of the handshakes under way.
    pub(crate) fn shake_hands(&mut self) {
        loop {
            let Some(cm) = &mut self.cm else { return };
            let Some(news) = cm.next(&mut self.endpoints) else { return };
            match news {
                News::Agreed(ep) => {
                    // The caller speaks first.
                    if self.handshake(ep).is_some_and(|shake| shake.is_caller) {
                        self.greet(ep);
                    }
                }
                News::Over(ep) => self.end_handshake(ep),
                News::Tick => {
                    for number in 0..self.endpoints.len() as u32 {
                        let ep = EpId(number);
                        if self.handshake(ep).is_some_and(Handshake::one_second_less) {
                            self.end_handshake(ep);
                        }
                    }
                }
            }
        }
    }

    fn handshake(&mut self, ep: EpId) -> Option<&mut Handshake> {
        self.endpoint_mut(ep)?.handshake.as_mut()
    }

    /// Sends the empty message.
    fn greet(&mut self, ep: EpId) {
        let Some(endpoint) = self.endpoint(ep) else { return };
        let mut chain = SendChain::new(2, 2, 0);
        let wr_id = WorkName::Hello(ep).encode();
        let hello = SendWork { wr_id, verb: Verb::Send { imm: None }, signalled: false, fence: false };
        chain.push(&hello, std::iter::once(NOWHERE));
        if chain.submit(&endpoint.qp).is_err() {
            self.end_handshake(ep);
        }
    }

    /// The peer's empty message arrived, or never will.
    pub(crate) fn greeted(&mut self, ep: EpId, arrived: bool) {
        let Some(shake) = self.handshake(ep) else { return };
        if !arrived || !matches!(shake.phase, Phase::Awaiting | Phase::Greeting) {
            self.end_handshake(ep);
            return;
        }
        let answer = !shake.is_caller;
        shake.phase = Phase::Ready;
        self.settle(ep, QpState::Rts);
        if answer {
            self.greet(ep);
        }
    }

    /// The connection came to nothing, or to an end.
    pub(crate) fn end_handshake(&mut self, ep: EpId) {
        if let Some(shake) = self.handshake(ep) {
            shake.phase = Phase::Failed;
        }
        self.settle(ep, QpState::Err);
        self.bury(ep);
    }

    /// Ends what an endpoint in ERR has outstanding. The device flushes what it had when it entered ERR, and siw looks at no
    /// work that comes later (siw_qp.c, siw_qp_modify: nothing leads out of ERROR). Such works end here, after everything that
    /// the device reports.
    pub(crate) fn bury(&mut self, ep: EpId) {
        let Some(endpoint) = self.endpoint_mut(ep) else { return };
        // When this returns the device has flushed; from TERMINATE, too.
        let _ = endpoint.qp.move_to(status::qp_state_number(QpState::Err));
        endpoint.state = QpState::Err;
        let (send_cq, recv_cq) = (endpoint.spec.send_cq, endpoint.spec.recv_cq);
        self.stash_queue(send_cq);
        if recv_cq != send_cq {
            self.stash_queue(recv_cq);
        }
        let Some(Some(endpoint)) = self.endpoints.get_mut(ep.0 as usize) else { return };
        for (works, cq) in [(&mut endpoint.sends, send_cq), (&mut endpoint.receives, recv_cq)] {
            let Some(queue) = self.queues.get_mut(cq.0 as usize) else { continue };
            while let Some(Posted { id, kind, .. }) = works.next_outstanding() {
                let status = Status::WrFlushErr;
                queue.late.push_back(Completion { id, ep, status, vendor: 0, kind, len: 0, imm: None });
            }
            queue.has_more.set(queue.has_more.get() || !queue.late.is_empty());
        }
    }

    /// A handshake is over, one way or the other.
    fn settle(&mut self, ep: EpId, state: QpState) {
        let Some(Some(endpoint)) = self.endpoints.get_mut(ep.0 as usize) else { return };
        endpoint.state = state;
        if let (Some(cm), Some(shake)) = (&mut self.cm, &mut endpoint.handshake) {
            cm.ended(shake);
        }
    }
}
