//! Statuses, states and sizes in the library's numbers.

use wavetank_contract::{Mtu, QpState, Status};

/// The status behind a number of `enum ibv_wc_status`, and the vendor code to report with it. Numbers the contract has no
/// word for (tag matching, and what is still to come) are GENERAL_ERR with the number itself as the code.
pub(crate) fn status(number: u32, vendor: u32) -> (Status, u32) {
    match Status::ALL.get(number as usize) {
        Some(Status::Success) => (Status::Success, 0),
        Some(status) => (*status, vendor),
        None => (Status::GeneralErr, number),
    }
}

/// The state behind a number of `enum ibv_qp_state`. SQE exists for unreliable services only; a reliable queue pair that
/// claims it is as good as dead.
pub(crate) fn qp_state(number: u32) -> QpState {
    match number {
        0 => QpState::Reset,
        1 => QpState::Init,
        2 => QpState::Rtr,
        3 => QpState::Rts,
        4 => QpState::Sqd,
        _ => QpState::Err,
    }
}

/// The number of a state in `enum ibv_qp_state`.
pub(crate) const fn qp_state_number(state: QpState) -> u32 {
    match state {
        QpState::Reset => 0,
        QpState::Init => 1,
        QpState::Rtr => 2,
        QpState::Rts => 3,
        QpState::Sqd => 4,
        QpState::Err => 6,
    }
}

/// The number of an MTU in `enum ibv_mtu`.
pub(crate) const fn mtu_number(mtu: Mtu) -> u8 {
    match mtu {
        Mtu::B256 => 1,
        Mtu::B512 => 2,
        Mtu::B1024 => 3,
        Mtu::B2048 => 4,
        Mtu::B4096 => 5,
    }
}

/// The MTU behind a number of `enum ibv_mtu`.
pub(crate) const fn mtu(number: u32) -> Option<Mtu> {
    match number {
        1 => Some(Mtu::B256),
        2 => Some(Mtu::B512),
        3 => Some(Mtu::B1024),
        4 => Some(Mtu::B2048),
        5 => Some(Mtu::B4096),
        _ => None,
    }
}

/// The name of a state in `enum ibv_port_state`.
pub(crate) const fn port_state_name(number: u32) -> &'static str {
    match number {
        0 => "NOP",
        1 => "DOWN",
        2 => "INIT",
        3 => "ARMED",
        PORT_ACTIVE => "ACTIVE",
        5 => "ACTIVE_DEFER",
        _ => "unknown",
    }
}

/// `IBV_PORT_ACTIVE`.
pub(crate) const PORT_ACTIVE: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use rdma_sys::{ibv_mtu, ibv_port_state, ibv_qp_state, ibv_wc_status};

    #[test]
    fn every_number_has_a_status_and_known_ones_their_own() {
        for (number, expected) in (0u32..).zip(Status::ALL) {
            assert_eq!(status(number, 7).0, expected);
        }
        assert_eq!(status(ibv_wc_status::IBV_WC_REM_ACCESS_ERR, 7), (Status::RemAccessErr, 7));
        assert_eq!(status(ibv_wc_status::IBV_WC_RETRY_EXC_ERR, 0), (Status::RetryExcErr, 0));
        assert_eq!(status(ibv_wc_status::IBV_WC_SUCCESS, 9), (Status::Success, 0));
        for number in [ibv_wc_status::IBV_WC_TM_ERR, 23, 24, 1000, u32::MAX] {
            assert_eq!(status(number, 5), (Status::GeneralErr, number));
        }
    }

    #[test]
    fn states_and_sizes_have_the_numbers_of_verbs_h() {
        for state in QpState::ALL {
            assert_eq!(qp_state(qp_state_number(state)), state);
        }
        assert_eq!(qp_state_number(QpState::Err), ibv_qp_state::IBV_QPS_ERR);
        assert_eq!(qp_state(ibv_qp_state::IBV_QPS_SQE), QpState::Err);
        for m in [Mtu::B256, Mtu::B512, Mtu::B1024, Mtu::B2048, Mtu::B4096] {
            assert_eq!(mtu(mtu_number(m).into()), Some(m));
        }
        assert_eq!(u32::from(mtu_number(Mtu::B4096)), ibv_mtu::IBV_MTU_4096);
        assert_eq!(PORT_ACTIVE, ibv_port_state::IBV_PORT_ACTIVE);
        assert_eq!(mtu(0), None);
    }
}
