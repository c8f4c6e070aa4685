//! What UCX answers, in InfiniBand's words.

use wavetank_contract::Status;

use crate::sys::UcsStatus;

/// How a work ended whose operation UCX ended like this (`ucs_status_t` of `ucs/type/status.h`). Total: what no UCX of today
/// answers is a broken device.
pub(crate) const fn of_ucs(status: UcsStatus) -> Status {
    match status.0 {
        0 => Status::Success,
        // CANCELED: its endpoint was closed under it.
        -16 => Status::WrFlushErr,
        // IO_ERROR, UNREACHABLE, TIMED_OUT, REJECTED, NOT_CONNECTED, CONNECTION_RESET, and the ranges of link (-40 to -59) and
        // endpoint failures (-60 to -89, ENDPOINT_TIMEOUT among them): the peer is not reached.
        -3 | -6 | -20 | -23 | -24 | -25 | -89..=-40 => Status::RetryExcErr,
        // MESSAGE_TRUNCATED.
        -9 => Status::LocLenErr,
        // NO_MESSAGE, NO_RESOURCE, NO_MEMORY, INVALID_PARAM, INVALID_ADDR, NOT_IMPLEMENTED, NO_PROGRESS, BUFFER_TOO_SMALL, NO_ELEM,
        // SOME_CONNECTS_FAILED, BUSY, ALREADY_EXISTS, OUT_OF_RANGE, EXCEEDS_LIMIT, UNSUPPORTED: asked wrongly, or too much.
        -1 | -2 | -4 | -5 | -7 | -8 | -10 | -11 | -12 | -13 | -15 | -18 | -19 | -21 | -22 => {
            Status::LocQpOpErr
        }
        // NO_DEVICE.
        -14 => Status::FatalErr,
        // SHMEM_SEGMENT: memory of the peer cannot be mapped.
        -17 => Status::RemOpErr,
        // INPROGRESS, and numbers of later versions.
        _ => Status::GeneralErr,
    }
}

/// The vendor's code of a completion: UCX's number without its sign.
pub(crate) const fn vendor(status: UcsStatus) -> u32 {
    status.0.unsigned_abs() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use wavetank_contract::Class;

    #[test]
    fn only_ok_is_a_success_and_a_dead_peer_is_a_peer_that_is_gone() {
        let good: Vec<i8> =
            (i8::MIN..=i8::MAX).filter(|n| of_ucs(UcsStatus(*n)) == Status::Success).collect();
        assert_eq!(good, [0]);
        for gone in [-25, -80, -3, -6] {
            assert_eq!(of_ucs(UcsStatus(gone)).class(), Class::PeerGone, "{gone}");
        }
        assert_eq!(of_ucs(UcsStatus(-16)).class(), Class::Flushed);
        assert_eq!(of_ucs(UcsStatus(-5)).class(), Class::LocalBug);
        assert_eq!(of_ucs(UcsStatus(-14)).class(), Class::DeviceGone);
    }
}
