//! Asynchronous events in the contract's words.

use wavetank_contract::{AsyncEvent, CqId, EpId, SrqId};

use crate::sys::RawEvent;

/// What to make of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// To be told.
    Told(AsyncEvent),
    /// Known, and of no concern: path migration, partition keys, subnet managers.
    Ignored,
    /// A type that this library does not know.
    Unknown,
}

/// Translates a number of `enum ibv_event_type`. Objects carry their own number as context.
pub(crate) fn meaning(event: RawEvent) -> Meaning {
    let Ok(number) = u32::try_from(event.token) else { return Meaning::Unknown };
    let (cq, ep, srq) = (CqId(number), EpId(number), SrqId(number));
    Meaning::Told(match event.kind {
        0 => AsyncEvent::CqErr(cq),
        1 => AsyncEvent::QpFatal(ep),
        2 => AsyncEvent::QpReqErr(ep),
        3 => AsyncEvent::QpAccessErr(ep),
        4 => AsyncEvent::CommEst(ep),
        5 => AsyncEvent::SqDrained(ep),
        8 => AsyncEvent::DeviceFatal,
        9 => AsyncEvent::PortActive,
        10 => AsyncEvent::PortErr,
        14 => AsyncEvent::SrqErr(srq),
        15 => AsyncEvent::SrqLimitReached(srq),
        16 => AsyncEvent::LastWqeReached(ep),
        // A LID is an address as a GID is.
        11 | 18 => AsyncEvent::GidChange,
        6 | 7 | 12 | 13 | 17 | 19 => return Meaning::Ignored,
        _ => return Meaning::Unknown,
    })
}

/// The endpoint an event is about.
pub(crate) fn endpoint(event: &AsyncEvent) -> Option<EpId> {
    match event {
        AsyncEvent::QpFatal(ep)
        | AsyncEvent::QpReqErr(ep)
        | AsyncEvent::QpAccessErr(ep)
        | AsyncEvent::CommEst(ep)
        | AsyncEvent::SqDrained(ep)
        | AsyncEvent::LastWqeReached(ep) => Some(*ep),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdma_sys::ibv_event_type as E;

    #[test]
    fn every_known_number_has_a_meaning_and_the_rest_is_counted() {
        let told = |kind: E, token| meaning(RawEvent { kind: kind as u32, token });
        assert_eq!(told(E::IBV_EVENT_CQ_ERR, 3), Meaning::Told(AsyncEvent::CqErr(CqId(3))));
        assert_eq!(told(E::IBV_EVENT_QP_FATAL, 4), Meaning::Told(AsyncEvent::QpFatal(EpId(4))));
        assert_eq!(told(E::IBV_EVENT_QP_REQ_ERR, 4), Meaning::Told(AsyncEvent::QpReqErr(EpId(4))));
        assert_eq!(told(E::IBV_EVENT_QP_ACCESS_ERR, 4), Meaning::Told(AsyncEvent::QpAccessErr(EpId(4))));
        assert_eq!(told(E::IBV_EVENT_COMM_EST, 4), Meaning::Told(AsyncEvent::CommEst(EpId(4))));
        assert_eq!(told(E::IBV_EVENT_SQ_DRAINED, 4), Meaning::Told(AsyncEvent::SqDrained(EpId(4))));
        assert_eq!(
            told(E::IBV_EVENT_QP_LAST_WQE_REACHED, 4),
            Meaning::Told(AsyncEvent::LastWqeReached(EpId(4)))
        );
        assert_eq!(told(E::IBV_EVENT_SRQ_ERR, 5), Meaning::Told(AsyncEvent::SrqErr(SrqId(5))));
        assert_eq!(
            told(E::IBV_EVENT_SRQ_LIMIT_REACHED, 5),
            Meaning::Told(AsyncEvent::SrqLimitReached(SrqId(5)))
        );
        assert_eq!(told(E::IBV_EVENT_DEVICE_FATAL, 0), Meaning::Told(AsyncEvent::DeviceFatal));
        assert_eq!(told(E::IBV_EVENT_PORT_ACTIVE, 0), Meaning::Told(AsyncEvent::PortActive));
        assert_eq!(told(E::IBV_EVENT_PORT_ERR, 0), Meaning::Told(AsyncEvent::PortErr));
        assert_eq!(told(E::IBV_EVENT_GID_CHANGE, 0), Meaning::Told(AsyncEvent::GidChange));
        assert_eq!(told(E::IBV_EVENT_LID_CHANGE, 0), Meaning::Told(AsyncEvent::GidChange));
        for ignored in
            [E::IBV_EVENT_PATH_MIG, E::IBV_EVENT_PKEY_CHANGE, E::IBV_EVENT_SM_CHANGE, E::IBV_EVENT_WQ_FATAL]
        {
            assert_eq!(told(ignored, 0), Meaning::Ignored);
        }
        for kind in [20, 99, u32::MAX] {
            assert_eq!(meaning(RawEvent { kind, token: 0 }), Meaning::Unknown);
        }
    }
}
