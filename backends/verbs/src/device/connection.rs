//! Connecting endpoints, and moving them between states.

use rustix::rand::{GetRandomFlags, getrandom};
use wavetank_contract::error::{ConnectError, ModifyError};
use wavetank_contract::{Access, EndpointAddress, EpId, Mtu, QpState};

use super::VerbsDevice;
use crate::address::{Address, FORMAT, MASK_24, RcAddress};
use crate::error::system;
use crate::memory::access_flags;
use crate::status;
use crate::sys::{InitAttr, Qp, RtrAttr, RtsAttr};

const MODIFY: &str = "ibv_modify_qp(3)";

/// A first PSN that a peer's stale packets are unlikely to fit. From the kernel's entropy: queue pair numbers of a process that
/// died are used again at once, and a counter would begin where its predecessor did.
pub(crate) fn fresh_psn() -> u32 {
    fresh() as u32 & MASK_24
}

/// A number that earlier lives of this machine's endpoints are unlikely to have had.
pub(crate) fn fresh() -> u64 {
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::NONBLOCK) {
        Ok(8) => u64::from_le_bytes(bytes),
        // Early after boot, or a kernel without: the process number still differs between lives.
        _ => u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16,
    }
}

/// Takes a queue pair from RESET or INIT to RTS.
fn begin(qp: &Qp, from: QpState, init: &InitAttr, rtr: &RtrAttr, rts: &RtsAttr) -> Result<(), i32> {
    if from == QpState::Reset {
        qp.to_init(init)?;
    }
    qp.to_rtr(rtr)?;
    qp.to_rts(rts)
}

impl VerbsDevice {
    /// The MTU an endpoint can use on our side of the wire.
    fn mtu(&self, asked: Mtu) -> Mtu {
        let active = status::mtu(self.port.info.active_mtu).unwrap_or(Mtu::B256);
        asked.min(active)
    }

    pub(crate) fn announce(&self, ep: EpId) -> Option<EndpointAddress> {
        let endpoint = self.endpoint(ep)?;
        if let (Some(cm), Some(shake)) = (&self.cm, &endpoint.handshake) {
            return Address::Iwarp(cm.address(shake)).encode();
        }
        let address = Address::Rc(RcAddress {
            qpn: endpoint.qp.number(),
            psn: endpoint.psn,
            gid: self.port.gid.gid,
            lid: self.port.info.lid,
            mtu: self.mtu(endpoint.spec.mtu),
            ethernet: self.port.ethernet,
            max_dest_rd_atomic: endpoint.spec.max_dest_rd_atomic,
        });
        address.encode()
    }

    pub(crate) fn init_attr(&self, access: Access) -> InitAttr {
        let access = access_flags(access, self.caps.atomics);
        InitAttr { port: self.port.number, pkey_index: self.config.pkey_index, access }
    }

    pub(crate) fn connect_endpoint(&mut self, ep: EpId, peer: &EndpointAddress) -> Result<(), ConnectError> {
        let bytes = peer.as_bytes();
        let malformed = ConnectError::Malformed { len_bytes: bytes.len(), expected: FORMAT };
        let address = Address::decode(bytes).ok_or(malformed)?;
        let state = self.endpoint_state(ep).ok_or(ConnectError::Unknown(ep))?;
        if !matches!(state, QpState::Reset | QpState::Init) {
            return Err(ConnectError::WrongState { ep, state });
        }
        match (address, self.cm.is_some()) {
            (Address::Rc(peer), false) => self.connect_rc(ep, state, &peer),
            (Address::Iwarp(peer), true) => self.connect_iwarp(ep, peer),
            (Address::Iwarp(_), false) => {
                Err(ConnectError::Unreachable("the peer speaks iWARP, this device does not"))
            }
            (Address::Rc(_), true) => {
                Err(ConnectError::Unreachable("this device speaks iWARP, the peer does not"))
            }
        }
    }

    fn connect_rc(&mut self, ep: EpId, state: QpState, peer: &RcAddress) -> Result<(), ConnectError> {
        if peer.ethernet != self.port.ethernet {
            return Err(ConnectError::Unreachable("one side is on Ethernet, the other on InfiniBand"));
        }
        let spec = &self.endpoint(ep).ok_or(ConnectError::Unknown(ep))?.spec;
        let (init, own_mtu) = (self.init_attr(spec.access), self.mtu(spec.mtu));
        let port = &self.port;
        // On Ethernet every packet is routed; inside an InfiniBand subnet the LID is enough.
        let routed = port.ethernet || peer.lid == 0 || port.info.grh_required;
        let route = routed.then_some((port.gid.index as u8, peer.gid.0, self.config.traffic_class));
        let (number, service_level) = (port.number, self.config.service_level);
        let endpoint = self.endpoint_mut(ep).ok_or(ConnectError::Unknown(ep))?;
        let spec = &endpoint.spec;
        let rtr = RtrAttr {
            port: number,
            mtu: status::mtu_number(own_mtu.min(peer.mtu)).into(),
            dest_qpn: peer.qpn,
            rq_psn: peer.psn,
            max_dest_rd_atomic: spec.max_dest_rd_atomic,
            min_rnr_timer: spec.min_rnr_timer.code(),
            dlid: peer.lid,
            service_level,
            route,
        };
        let rts = RtsAttr {
            sq_psn: endpoint.psn,
            timeout: spec.timeout,
            retry_cnt: spec.retry_cnt,
            rnr_retry: spec.rnr_retry,
            // A peer that serves none is asked once, and says so: waiting for ever to ask would tell nobody anything.
            max_rd_atomic: spec.max_rd_atomic.min(peer.max_dest_rd_atomic.max(1)),
        };
        let unreachable =
            "`ip route get` and `rdma link` at both ends show whether the peer's address can be reached";
        let connected = begin(&endpoint.qp, state, &init, &rtr, &rts);
        match connected {
            Ok(()) => {
                endpoint.state = QpState::Rts;
                Ok(())
            }
            Err(errno) => {
                // A refused call changes nothing; from INIT there is no way back that would keep the receives posted.
                if state == QpState::Reset {
                    let _ = endpoint.qp.move_to(status::qp_state_number(QpState::Reset));
                }
                Err(system(MODIFY, errno, unreachable).into())
            }
        }
    }

    pub(crate) fn endpoint_state(&self, ep: EpId) -> Option<QpState> {
        let endpoint = self.endpoint(ep)?;
        // The device moves it to ERR by itself; only asking tells.
        let said = endpoint.qp.state().map_or(endpoint.state, status::qp_state);
        Some(match &endpoint.handshake {
            None => said,
            // An iWARP device names its own states; ours are what they mean for the connection.
            Some(_) if matches!(said, QpState::Err | QpState::Sqd) => QpState::Err,
            Some(_) => endpoint.state,
        })
    }

    pub(crate) fn move_endpoint(&mut self, ep: EpId, to: QpState) -> Result<(), ModifyError> {
        let from = self.endpoint_state(ep).ok_or(ModifyError::Unknown(ep))?;
        if self.cm.is_some() && to != QpState::Err {
            return Err(ModifyError::Unsupported);
        }
        let to = from.transition(to)?;
        let init = self.init_attr(self.endpoint(ep).ok_or(ModifyError::Unknown(ep))?.spec.access);
        // What waits for the doorbell was posted before this.
        if to != QpState::Reset {
            self.doorbell.ring(ep, &mut self.endpoints);
        }
        let is_rxe = self.is_rxe;
        let endpoint = self.endpoint_mut(ep).ok_or(ModifyError::Unknown(ep))?;
        let qp = &endpoint.qp;
        let moved = match to {
            QpState::Rtr => return Err(ModifyError::NoPeer(ep)),
            QpState::Init => qp.to_init(&init),
            // Asked again, the kernel refuses to announce the end of the same draining twice.
            QpState::Sqd if from == QpState::Sqd => Ok(()),
            QpState::Sqd => qp.to_sqd(),
            QpState::Reset | QpState::Rts | QpState::Err => qp.move_to(status::qp_state_number(to)),
        };
        moved.map_err(|errno| system(MODIFY, errno, ""))?;
        if from == QpState::Sqd && to == QpState::Rts && is_rxe {
            // rxe: works that waited for RTS are looked at with the next doorbell only.
            qp.kick_rxe();
        }
        endpoint.state = to;
        if self.cm.is_some() {
            self.end_handshake(ep);
            return Ok(());
        }
        if to == QpState::Reset {
            self.forget(ep);
        }
        Ok(())
    }

    /// Forgets what an endpoint has outstanding: it was reset.
    fn forget(&mut self, ep: EpId) {
        self.doorbell.forget(ep);
        let Some(endpoint) = self.endpoint_mut(ep) else { return };
        endpoint.sends.forget();
        endpoint.receives.forget();
        endpoint.rung = Default::default();
        endpoint.psn = fresh_psn();
        let (spec, number) = (endpoint.spec.clone(), endpoint.qp.number());
        self.purge(ep, &spec);
        if spec.shared_receive.is_some() {
            self.sharers.push((number, ep));
        }
    }
}
