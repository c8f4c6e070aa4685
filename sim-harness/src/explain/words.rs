//! Words for what a story is made of.

use wavetank_contract::{AsyncEvent, EpId, RnrTimer};
use wavetank_mock::{Mark, Opcode};

use crate::lab::{Cause, DeviceFault, HostFault, LinkFault, MemoryFault};
use crate::workload::units::Nanos;

/// Whether a packet goes from requester to responder.
pub(super) fn is_request(opcode: Opcode) -> bool {
    opcode <= Opcode::ReadRequest || opcode >= Opcode::CompareSwap
}

/// What a packet is.
pub(super) fn packet(opcode: Opcode) -> &'static str {
    use Opcode::*;
    match opcode {
        SendFirst | SendMiddle | SendLast | SendLastImm | SendOnly | SendOnlyImm => "SEND",
        WriteFirst | WriteMiddle | WriteLast | WriteLastImm | WriteOnly | WriteOnlyImm => "WRITE",
        ReadRequest => "READ request",
        ReadResponseFirst | ReadResponseMiddle | ReadResponseLast | ReadResponseOnly => "READ response",
        Acknowledge => "ACK",
        AtomicAcknowledge => "atomic response",
        CompareSwap => "compare-and-swap",
        FetchAdd => "fetch-and-add",
    }
}

/// What an acknowledgement says if it is none (IBA table 44).
pub(super) fn nak(syndrome: u8) -> Option<String> {
    Some(match syndrome {
        0x00..0x20 => return None,
        0x20..0x40 => {
            let wait_ns = RnrTimer::new(syndrome & 31).map_or(0, RnrTimer::wait_ns);
            format!("NAK: receiver not ready, try again in {}", Nanos(wait_ns))
        }
        0x60 => "NAK: a packet is missing, start again from here".to_owned(),
        0x61 => "NAK: invalid request".to_owned(),
        0x62 => "NAK: remote access error: key, range or rights do not allow it".to_owned(),
        0x63 => "NAK: remote operational error".to_owned(),
        other => format!("NAK of syndrome {other:#04x}"),
    })
}

/// Why a packet was dropped.
pub(super) fn dropped(mark: Mark) -> String {
    match mark {
        Mark::PacketLost => "was lost".to_owned(),
        Mark::PacketCorrupted => "was dropped: its ICRC did not fit".to_owned(),
        Mark::PacketTruncated => "was dropped: its tail was missing".to_owned(),
        Mark::PortWasDown => "was dropped: a port was down".to_owned(),
        Mark::StaleAddress => "was dropped: its receiver no longer has that address".to_owned(),
        Mark::NobodyThere => "was dropped: nobody is there".to_owned(),
        Mark::SilentDrop => {
            "was dropped without a word: no such queue pair, not ready, or another peer's".to_owned()
        }
        Mark::BufferOverflow => "was dropped: the switch's buffer was full".to_owned(),
        Mark::RepeatTooLate => "was dropped: so late that nothing is known of it any more".to_owned(),
        other => format!("was dropped ({})", other.name()),
    }
}

/// Whether this cause drops packets from one node to another with this mark.
pub(super) fn drops(cause: &Cause, mark: Mark, from: u16, to: u16) -> bool {
    use {DeviceFault::*, LinkFault::*};
    let there = |node: u16| node == from || node == to;
    match *cause {
        Cause::Link { from: f, to: t, fault } if (f, t) == (from, to) => match mark {
            Mark::PacketLost => matches!(fault, Cut | LoseNth { .. } | LoseOneIn { .. }),
            Mark::PacketCorrupted => matches!(fault, CorruptOneIn { .. }),
            Mark::PacketTruncated => matches!(fault, TruncateOneIn { .. }),
            _ => false,
        },
        Cause::Device { node, fault } if there(node) => match mark {
            Mark::PortWasDown => fault == PortDown,
            Mark::StaleAddress => fault == ChangeGid,
            Mark::NobodyThere | Mark::SilentDrop => fault == Remove,
            Mark::BufferOverflow => matches!(fault, ShallowBuffer { .. }),
            _ => false,
        },
        Cause::Host { node, fault } if there(node) => {
            let died = matches!(fault, HostFault::Crash | HostFault::Restart { .. });
            died && matches!(mark, Mark::NobodyThere | Mark::SilentDrop)
        }
        _ => false,
    }
}

/// Whether a cause may make a responder refuse a region.
pub(super) fn retires(cause: &Cause, region: Option<u16>, peer: u16) -> bool {
    match *cause {
        Cause::Memory { region: of, fault } => Some(of) == region && fault != MemoryFault::ChangeSource,
        Cause::Host { node, fault } => node == peer && matches!(fault, HostFault::Restart { .. }),
        Cause::Device { node, fault } => node == peer && fault == DeviceFault::Remove,
        _ => false,
    }
}

/// What an event is about; `None` for the whole device.
pub(super) fn endpoint(event: AsyncEvent) -> Option<EpId> {
    match event {
        AsyncEvent::QpFatal(ep)
        | AsyncEvent::QpReqErr(ep)
        | AsyncEvent::QpAccessErr(ep)
        | AsyncEvent::CommEst(ep)
        | AsyncEvent::SqDrained(ep)
        | AsyncEvent::LastWqeReached(ep) => Some(ep),
        _ => None,
    }
}

/// What an event says.
pub(super) fn event(event: AsyncEvent) -> &'static str {
    match event {
        AsyncEvent::CqErr(_) => "a completion queue overran",
        AsyncEvent::QpFatal(_) => "the endpoint died for a reason that no work explains",
        AsyncEvent::QpReqErr(_) => "the peer sent a request that the endpoint does not allow; it is in ERR",
        AsyncEvent::QpAccessErr(_) => "the peer violated memory rights; the endpoint is in ERR",
        AsyncEvent::CommEst(_) => "the first packet came before the connection was declared ready",
        AsyncEvent::SqDrained(_) => "the send queue is drained",
        AsyncEvent::SrqLimitReached(_) => "few receives are left in a shared queue",
        AsyncEvent::SrqErr(_) => "a shared receive queue is broken",
        AsyncEvent::LastWqeReached(_) => "the endpoint took its last receive from its shared queue",
        AsyncEvent::GidChange => "the port's addresses changed",
        AsyncEvent::PortErr => "the link went down",
        AsyncEvent::PortActive => "the link is up",
        AsyncEvent::DeviceFatal => "the device is gone",
        _ => "an event without a name",
    }
}
