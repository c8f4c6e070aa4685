//! Every cause there is, and faults drawn at random.

use proptest::prelude::*;
use wavetank_harness::fault::{Fault, When};
use wavetank_harness::lab::{Cause, DeviceFault, HostFault, LinkFault, MemoryFault};

/// Every kind of link fault.
pub(crate) const LINKS: [LinkFault; 9] = [
    LinkFault::Cut,
    LinkFault::LoseNth { nth: 4 },
    LinkFault::LoseOneIn { n: 100, burst: 3 },
    LinkFault::DuplicateOneIn { n: 10 },
    LinkFault::ReorderOneIn { n: 20, by_ns: 7_000 },
    LinkFault::Delay { ns: 5_000_000 },
    LinkFault::CorruptOneIn { n: 50 },
    LinkFault::TruncateOneIn { n: 60 },
    LinkFault::Throttle { percent: 25 },
];

/// Every kind of device fault.
pub(crate) const DEVICES: [DeviceFault; 11] = [
    DeviceFault::PortDown,
    DeviceFault::PortUp,
    DeviceFault::Remove,
    DeviceFault::ChangeGid,
    DeviceFault::LoseNotification,
    DeviceFault::FailRegistration { nth: 2 },
    DeviceFault::PlaceOutOfOrder,
    DeviceFault::ShuffleCompletions,
    DeviceFault::Pause { ns: 9_000 },
    DeviceFault::ShallowBuffer { bytes: 65_536 },
    DeviceFault::MarkCongestion,
];

/// Every kind of host fault.
pub(crate) const HOSTS: [HostFault; 6] = [
    HostFault::Pause,
    HostFault::Resume,
    HostFault::Crash,
    HostFault::Restart { same: false },
    HostFault::Restart { same: true },
    HostFault::ClientDeath,
];

/// Every kind of memory fault.
pub(crate) const MEMORIES: [MemoryFault; 4] =
    [MemoryFault::Deregister, MemoryFault::RollKey, MemoryFault::RevokeWindow, MemoryFault::ChangeSource];

/// Every cause, on nodes and regions below 3.
pub(crate) fn causes() -> Vec<Cause> {
    let links = LINKS.map(|fault| Cause::Link { from: 0, to: 1, fault });
    let devices = DEVICES.map(|fault| Cause::Device { node: 2, fault });
    let hosts = HOSTS.map(|fault| Cause::Host { node: 1, fault });
    let memories = MEMORIES.map(|fault| Cause::Memory { region: 2, fault });
    let mend = Cause::Mend { from: 1, to: 0 };
    links.into_iter().chain(devices).chain(hosts).chain(memories).chain([mend]).collect()
}

/// Any cause, with any numbers in their bounds.
pub(crate) fn any_cause() -> impl Strategy<Value = Cause> {
    let (rare, ns) = (1..=u32::MAX, 1..=1_000_000_000_000u64);
    (prop::sample::select(causes()), rare, 1..=u32::MAX, ns, 1..=99u8).prop_map(
        |(cause, n, burst, ns, percent)| match cause {
            Cause::Link { from, to, fault } => {
                let fault = match fault {
                    LinkFault::LoseNth { .. } => LinkFault::LoseNth { nth: ns },
                    LinkFault::LoseOneIn { .. } => LinkFault::LoseOneIn { n, burst },
                    LinkFault::DuplicateOneIn { .. } => LinkFault::DuplicateOneIn { n },
                    LinkFault::ReorderOneIn { .. } => LinkFault::ReorderOneIn { n, by_ns: ns },
                    LinkFault::Delay { .. } => LinkFault::Delay { ns },
                    LinkFault::CorruptOneIn { .. } => LinkFault::CorruptOneIn { n },
                    LinkFault::TruncateOneIn { .. } => LinkFault::TruncateOneIn { n },
                    LinkFault::Throttle { .. } => LinkFault::Throttle { percent },
                    other => other,
                };
                Cause::Link { from, to, fault }
            }
            Cause::Device { node, fault } => {
                let fault = match fault {
                    DeviceFault::FailRegistration { .. } => DeviceFault::FailRegistration { nth: n },
                    DeviceFault::Pause { .. } => DeviceFault::Pause { ns },
                    DeviceFault::ShallowBuffer { .. } => DeviceFault::ShallowBuffer { bytes: n },
                    other => other,
                };
                Cause::Device { node, fault }
            }
            other => other,
        },
    )
}

/// Any time.
pub(crate) fn any_when() -> impl Strategy<Value = When> {
    prop_oneof![
        (0..=1_000_000_000_000u64).prop_map(When::At),
        (prop::option::of(any::<u16>()), any::<u32>())
            .prop_map(|(connection, op)| When::Op { connection, op }),
        (1..=u32::MAX).prop_map(|one_in| When::EachOp { one_in }),
    ]
}

/// Any fault.
pub(crate) fn any_fault() -> impl Strategy<Value = Fault> {
    (any_when(), any_cause(), prop::option::of(1..=1_000_000_000_000u64))
        .prop_map(|(when, cause, lasts_ns)| Fault { when, cause, lasts_ns })
}
