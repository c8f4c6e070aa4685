//! How a work ended, in InfiniBand's words.

use core::fmt;

/// The status of a completion: `enum ibv_wc_status` of `libibverbs/verbs.h`, one to one, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Status {
    /// The work was done. For a WRITE: its bytes are placed at the remote side.
    Success = 0,
    /// A local buffer was too small for what arrived, or a message too long for the device.
    LocLenErr,
    /// The device met an internal consistency error while executing the work.
    LocQpOpErr,
    /// The end-to-end context is inconsistent (reliable datagram only).
    LocEecOpErr,
    /// A local key, its bounds, its rights or its protection domain did not allow the access.
    LocProtErr,
    /// The queue pair went to ERR before this work was done.
    WrFlushErr,
    /// A memory window could not be bound.
    MwBindErr,
    /// The responder answered with something that cannot be an answer.
    BadRespErr,
    /// A local buffer of an incoming WRITE with immediate was not accessible.
    LocAccessErr,
    /// The responder refused the request: not enabled on its queue pair, malformed, misaligned or too long.
    RemInvReqErr,
    /// The responder refused the key, its bounds, its rights or its protection domain.
    RemAccessErr,
    /// The responder could not carry the request out.
    RemOpErr,
    /// The responder never acknowledged, however often the request was repeated.
    RetryExcErr,
    /// The responder never had a receive ready.
    RnrRetryExcErr,
    /// A reliable-datagram domain was violated.
    LocRddViolErr,
    /// The responder refused a reliable-datagram request.
    RemInvRdReqErr,
    /// The responder aborted the operation.
    RemAbortErr,
    /// The end-to-end context number is invalid.
    InvEecnErr,
    /// The end-to-end context is in the wrong state.
    InvEecStateErr,
    /// The device is broken beyond this work.
    FatalErr,
    /// The response did not come in time (reliable datagram only).
    RespTimeoutErr,
    /// Anything else; the vendor code says more.
    GeneralErr,
}

/// What a status means for whoever has to decide what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Done.
    Success,
    /// The peer is there but was not ready: the same operation may be sent again on a fresh connection.
    Retry,
    /// The peer does not answer. Another path or replica may.
    PeerGone,
    /// The peer said no. Asking again will not help; asking for something else may.
    PeerRefused,
    /// We asked for something impossible. A bug on this side.
    LocalBug,
    /// Collateral of an earlier failure; look there for the cause.
    Flushed,
    /// The device is gone or broken: nothing on it will work until it is opened again.
    DeviceGone,
}

impl Status {
    /// Every status, in the order of `enum ibv_wc_status`.
    pub const ALL: [Status; 22] = [
        Status::Success,
        Status::LocLenErr,
        Status::LocQpOpErr,
        Status::LocEecOpErr,
        Status::LocProtErr,
        Status::WrFlushErr,
        Status::MwBindErr,
        Status::BadRespErr,
        Status::LocAccessErr,
        Status::RemInvReqErr,
        Status::RemAccessErr,
        Status::RemOpErr,
        Status::RetryExcErr,
        Status::RnrRetryExcErr,
        Status::LocRddViolErr,
        Status::RemInvRdReqErr,
        Status::RemAbortErr,
        Status::InvEecnErr,
        Status::InvEecStateErr,
        Status::FatalErr,
        Status::RespTimeoutErr,
        Status::GeneralErr,
    ];

    /// What to make of it. Total: every status has exactly one class.
    pub const fn class(self) -> Class {
        match self {
            Status::Success => Class::Success,
            Status::RnrRetryExcErr => Class::Retry,
            Status::RetryExcErr | Status::RespTimeoutErr | Status::RemAbortErr => Class::PeerGone,
            Status::RemInvReqErr | Status::RemAccessErr | Status::RemOpErr | Status::RemInvRdReqErr => {
                Class::PeerRefused
            }
            Status::LocLenErr
            | Status::LocQpOpErr
            | Status::LocEecOpErr
            | Status::LocProtErr
            | Status::MwBindErr
            | Status::LocAccessErr
            | Status::LocRddViolErr
            | Status::InvEecnErr
            | Status::InvEecStateErr => Class::LocalBug,
            Status::WrFlushErr => Class::Flushed,
            Status::BadRespErr | Status::FatalErr | Status::GeneralErr => Class::DeviceGone,
        }
    }

    /// The stable name, as `ibv_wc_status` spells it without its prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Success => "SUCCESS",
            Status::LocLenErr => "LOC_LEN_ERR",
            Status::LocQpOpErr => "LOC_QP_OP_ERR",
            Status::LocEecOpErr => "LOC_EEC_OP_ERR",
            Status::LocProtErr => "LOC_PROT_ERR",
            Status::WrFlushErr => "WR_FLUSH_ERR",
            Status::MwBindErr => "MW_BIND_ERR",
            Status::BadRespErr => "BAD_RESP_ERR",
            Status::LocAccessErr => "LOC_ACCESS_ERR",
            Status::RemInvReqErr => "REM_INV_REQ_ERR",
            Status::RemAccessErr => "REM_ACCESS_ERR",
            Status::RemOpErr => "REM_OP_ERR",
            Status::RetryExcErr => "RETRY_EXC_ERR",
            Status::RnrRetryExcErr => "RNR_RETRY_EXC_ERR",
            Status::LocRddViolErr => "LOC_RDD_VIOL_ERR",
            Status::RemInvRdReqErr => "REM_INV_RD_REQ_ERR",
            Status::RemAbortErr => "REM_ABORT_ERR",
            Status::InvEecnErr => "INV_EECN_ERR",
            Status::InvEecStateErr => "INV_EEC_STATE_ERR",
            Status::FatalErr => "FATAL_ERR",
            Status::RespTimeoutErr => "RESP_TIMEOUT_ERR",
            Status::GeneralErr => "GENERAL_ERR",
        }
    }

    /// The likely reason and what to do about it, in a sentence for the person who reads the log.
    pub const fn advice(self) -> &'static str {
        match self {
            Status::Success => "nothing to do",
            Status::RetryExcErr => {
                "the peer never acknowledged: it is dead, cut off, or its queue pair is gone; reconnect"
            }
            Status::RnrRetryExcErr => {
                "the peer posted no receive in time: raise its receive depth or rnr_retry"
            }
            Status::RemAccessErr => {
                "the peer refused the key, range or rights: the region was retired, or the range is past its end"
            }
            Status::RemInvReqErr => {
                "the peer's queue pair does not allow this request, or the message was longer than its receive"
            }
            Status::RemOpErr => "the peer could not place the message: its own receive buffer was not valid",
            Status::LocProtErr => {
                "a local buffer was not registered, or the range is past its end, when it was used"
            }
            Status::LocLenErr => {
                "a message was longer than the buffer posted for it, or than the device allows"
            }
            Status::WrFlushErr => {
                "an earlier failure or a close ended this queue pair: look for the first cause"
            }
            Status::FatalErr | Status::GeneralErr | Status::BadRespErr => {
                "the device is broken: open it again"
            }
            _ => "a request the device cannot carry out: see the vendor code",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_the_numbers_of_ibv_wc_status() {
        assert!(Status::ALL.iter().enumerate().all(|(i, s)| *s as usize == i));
        assert_eq!(Status::RemAccessErr as u8, 10);
        assert_eq!(Status::RetryExcErr as u8, 12);
        assert_eq!(Status::WrFlushErr as u8, 5);
    }

    #[test]
    fn only_success_has_the_class_of_success() {
        let good: Vec<_> = Status::ALL.iter().filter(|s| s.class() == Class::Success).collect();
        assert_eq!(good, [&Status::Success]);
    }
}
