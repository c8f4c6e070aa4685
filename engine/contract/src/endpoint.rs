//! Endpoints (queue pairs) and completion queues: names, attributes, states.

use crate::error::ModifyError;

/// An endpoint of one backend. Never reused for another endpoint while the backend lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpId(pub u32);

/// A completion queue of one backend; several endpoints may share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CqId(pub u32);

/// A receive queue that several endpoints of one backend share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SrqId(pub u32);

/// A protection domain: endpoints and regions of different domains do not see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PdId(pub u16);

/// Path MTU: the payload of one packet, in bytes (`enum ibv_mtu`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
#[allow(missing_docs)] // the names are the values
pub enum Mtu {
    B256 = 256,
    B512 = 512,
    B1024 = 1024,
    B2048 = 2048,
    B4096 = 4096,
}

impl Mtu {
    /// The MTU of exactly this many bytes, if there is one.
    pub fn from_bytes(bytes: u64) -> Option<Mtu> {
        [Mtu::B256, Mtu::B512, Mtu::B1024, Mtu::B2048, Mtu::B4096]
            .into_iter()
            .find(|m| u64::from(m.bytes()) == bytes)
    }

    /// Payload bytes of a full packet.
    pub const fn bytes(self) -> u32 {
        self as u16 as u32
    }
}

/// What peers may do to memory: the rights of a region, and the rights of a queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Access {
    /// The device may write here on behalf of the owner (READ results, receives, atomic results).
    pub local_write: bool,
    /// Peers may READ.
    pub remote_read: bool,
    /// Peers may WRITE.
    pub remote_write: bool,
    /// Peers may use atomics.
    pub remote_atomic: bool,
}

impl Access {
    /// Local use only.
    pub const LOCAL: Access =
        Access { local_write: true, remote_read: false, remote_write: false, remote_atomic: false };
    /// Everything.
    pub const ALL: Access =
        Access { local_write: true, remote_read: true, remote_write: true, remote_atomic: true };
    /// Peers may READ and nothing else: what an exported file needs.
    pub const REMOTE_READ: Access =
        Access { local_write: false, remote_read: true, remote_write: false, remote_atomic: false };
}

/// The 5-bit code of a responder's RNR timer, 0 to 31 (IBA table 45; `rnr_nak_timer` of rxe).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RnrTimer(u8);

impl RnrTimer {
    /// `None` for codes above 31.
    pub const fn new(code: u8) -> Option<RnrTimer> {
        if code < 32 { Some(RnrTimer(code)) } else { None }
    }

    /// 0.64 ms, code 12: what survives a receive storm on soft-RoCE; 0.01 ms livelocks it.
    pub const DEFAULT: RnrTimer = RnrTimer(12);

    /// The code as it travels in the AETH.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// How long a requester waits before it tries again, in nanoseconds.
    pub const fn wait_ns(self) -> u64 {
        // Hundredths of a millisecond. Code 0 is the longest.
        const TABLE: [u32; 32] = [
            65_536, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1_024, 1_536,
            2_048, 3_072, 4_096, 6_144, 8_192, 12_288, 16_384, 24_576, 32_768, 49_152,
        ];
        TABLE[self.0 as usize] as u64 * 10_000
    }
}

/// What an endpoint is asked to be. Every limit is checked against the backend's [`Caps`](crate::Caps).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSpec {
    /// Where sends complete.
    pub send_cq: CqId,
    /// Where receives complete; may be the same queue.
    pub recv_cq: CqId,
    /// The protection domain.
    pub pd: PdId,
    /// Send queue depth, in works.
    pub send_depth: u32,
    /// Receive queue depth, in works.
    pub recv_depth: u32,
    /// Take receives from here, instead of from a queue of its own (`recv_depth` is then 0).
    pub shared_receive: Option<SrqId>,
    /// What peers may do through this endpoint at all.
    pub access: Access,
    /// Payload of one packet.
    pub mtu: Mtu,
    /// ACK timeout code: `4.096 us * 2^timeout`; 0 waits for ever. At most 31.
    pub timeout: u8,
    /// How often a request is repeated without an answer. At most 7; on rxe 7 never gives up, so the default is 6.
    pub retry_cnt: u8,
    /// How often a request is repeated after "receiver not ready"; 7 never gives up.
    pub rnr_retry: u8,
    /// How long *our* peers wait when we have no receive posted.
    pub min_rnr_timer: RnrTimer,
    /// READs and atomics we may have outstanding.
    pub max_rd_atomic: u8,
    /// READs and atomics we serve at a time.
    pub max_dest_rd_atomic: u8,
}

impl EndpointSpec {
    /// Defaults that behave on every backend, with both directions on one completion queue.
    pub fn new(cq: CqId) -> EndpointSpec {
        EndpointSpec {
            send_cq: cq,
            recv_cq: cq,
            pd: PdId::default(),
            send_depth: 128,
            recv_depth: 128,
            shared_receive: None,
            access: Access::ALL,
            mtu: Mtu::B4096,
            timeout: 14,
            retry_cnt: 6,
            rnr_retry: 6,
            min_rnr_timer: RnrTimer::DEFAULT,
            max_rd_atomic: 16,
            max_dest_rd_atomic: 16,
        }
    }
}

/// The states of a reliable-connected queue pair (IBA section 10.3.1). SQE exists for unreliable services only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QpState {
    /// Just made, or wiped.
    Reset,
    /// Receives may be posted; nothing is sent or accepted.
    Init,
    /// Ready to receive.
    Rtr,
    /// Ready to send.
    Rts,
    /// Send queue drained: works begun are finished, no new one starts.
    Sqd,
    /// Everything posted is flushed.
    Err,
}

impl QpState {
    /// Every state.
    pub const ALL: [QpState; 6] =
        [QpState::Reset, QpState::Init, QpState::Rtr, QpState::Rts, QpState::Sqd, QpState::Err];

    /// Checks a transition asked for by software against the table of `ibv_modify_qp(3)` (IBA table 91), as the kernel keeps it
    /// (`qp_state_table` of `drivers/infiniband/core/verbs.c`): a queue pair in RESET has nothing to flush and does not go to
    /// ERR.
    ///
    /// # Errors
    /// [`ModifyError::IllegalTransition`] naming both states.
    pub fn transition(self, to: QpState) -> Result<QpState, ModifyError> {
        use QpState::{Err, Init, Reset, Rtr, Rts, Sqd};
        match (self, to) {
            (_, Reset)
            | (Init | Rtr | Rts | Sqd | Err, Err)
            | (Reset | Init, Init)
            | (Init, Rtr)
            | (Rtr | Rts | Sqd, Rts)
            | (Rts | Sqd, Sqd) => Ok(to),
            _ => Result::Err(ModifyError::IllegalTransition { from: self, to }),
        }
    }

    /// Whether a send may be posted: in RTS and SQD it is queued, in ERR it is flushed.
    pub fn accepts_sends(self) -> bool {
        matches!(self, QpState::Rts | QpState::Sqd | QpState::Err)
    }

    /// Whether a receive may be posted.
    pub fn accepts_receives(self) -> bool {
        self != QpState::Reset
    }

    /// Whether requests of the peer are looked at; in every other state they are dropped without a word.
    pub fn responds(self) -> bool {
        matches!(self, QpState::Rtr | QpState::Rts | QpState::Sqd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rnr_table_has_the_published_corners() {
        assert_eq!(RnrTimer::new(0).map(RnrTimer::wait_ns), Some(655_360_000));
        assert_eq!(RnrTimer::new(1).map(RnrTimer::wait_ns), Some(10_000));
        assert_eq!(RnrTimer::DEFAULT.wait_ns(), 640_000);
        assert_eq!(RnrTimer::new(31).map(RnrTimer::wait_ns), Some(491_520_000));
        assert_eq!(RnrTimer::new(32), None);
    }

    #[test]
    fn exactly_the_legal_transitions_are_allowed() {
        use QpState::*;
        let legal = [
            (Reset, Init),
            (Init, Init),
            (Init, Rtr),
            (Rtr, Rts),
            (Rts, Rts),
            (Rts, Sqd),
            (Sqd, Rts),
            (Sqd, Sqd),
        ];
        for from in QpState::ALL {
            for to in QpState::ALL {
                let always = to == Reset || to == Err && from != Reset;
                let expected = always || legal.contains(&(from, to));
                assert_eq!(from.transition(to).is_ok(), expected, "{from:?} -> {to:?}");
            }
        }
    }
}
