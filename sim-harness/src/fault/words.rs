//! The words for causes, the same in schedules and in lines of text.

use crate::lab::{Cause, DeviceFault, HostFault, LinkFault, MemoryFault};

/// What happens to devices, but for what needs a number.
pub(super) const DEVICE: [DeviceFault; 8] = [
    DeviceFault::PortDown,
    DeviceFault::PortUp,
    DeviceFault::Remove,
    DeviceFault::ChangeGid,
    DeviceFault::LoseNotification,
    DeviceFault::PlaceOutOfOrder,
    DeviceFault::ShuffleCompletions,
    DeviceFault::MarkCongestion,
];

/// The others, which need a number.
pub(super) const DEVICE_NUMBERED: [&str; 3] = ["fail-registration", "pause", "shallow-buffer"];

/// What happens to hosts.
pub(super) const HOST: [HostFault; 6] = [
    HostFault::Pause,
    HostFault::Resume,
    HostFault::Crash,
    HostFault::Restart { same: false },
    HostFault::Restart { same: true },
    HostFault::ClientDeath,
];

/// What owners do to their memory.
pub(super) const MEMORY: [MemoryFault; 4] =
    [MemoryFault::Deregister, MemoryFault::RollKey, MemoryFault::RevokeWindow, MemoryFault::ChangeSource];

/// A cause without where it happens and without its numbers.
pub(super) fn short(cause: Cause) -> &'static str {
    match cause {
        Cause::Link { fault, .. } => match fault {
            LinkFault::Cut => "cut",
            LinkFault::LoseNth { .. } => "lose_nth",
            LinkFault::LoseOneIn { .. } => "lose",
            LinkFault::DuplicateOneIn { .. } => "duplicate",
            LinkFault::ReorderOneIn { .. } => "reorder",
            LinkFault::Delay { .. } => "delay",
            LinkFault::CorruptOneIn { .. } => "corrupt",
            LinkFault::TruncateOneIn { .. } => "truncate",
            LinkFault::Throttle { .. } => "throttle",
        },
        Cause::Mend { .. } => "mend",
        Cause::Device { fault, .. } => device(fault),
        Cause::Host { fault, .. } => host(fault),
        Cause::Memory { fault, .. } => memory(fault),
    }
}

pub(super) fn device(fault: DeviceFault) -> &'static str {
    match fault {
        DeviceFault::PortDown => "port-down",
        DeviceFault::PortUp => "port-up",
        DeviceFault::Remove => "remove",
        DeviceFault::ChangeGid => "change-gid",
        DeviceFault::LoseNotification => "lose-notification",
        DeviceFault::FailRegistration { .. } => "fail-registration",
        DeviceFault::PlaceOutOfOrder => "place-out-of-order",
        DeviceFault::ShuffleCompletions => "shuffle-completions",
        DeviceFault::Pause { .. } => "pause",
        DeviceFault::ShallowBuffer { .. } => "shallow-buffer",
        DeviceFault::MarkCongestion => "mark-congestion",
    }
}

pub(super) fn host(fault: HostFault) -> &'static str {
    match fault {
        HostFault::Pause => "pause",
        HostFault::Resume => "resume",
        HostFault::Crash => "crash",
        HostFault::Restart { same: false } => "restart",
        HostFault::Restart { same: true } => "restart-same",
        HostFault::ClientDeath => "client-death",
    }
}

pub(super) fn memory(fault: MemoryFault) -> &'static str {
    match fault {
        MemoryFault::Deregister => "deregister",
        MemoryFault::RollKey => "roll-key",
        MemoryFault::RevokeWindow => "revoke-window",
        MemoryFault::ChangeSource => "change-source",
    }
}

/// Whichever of `all` is named like this; the error says how they are all named.
pub(super) fn find<T: Copy>(
    all: &[T],
    name: impl Fn(T) -> &'static str,
    also: &[&str],
    word: &str,
) -> Result<T, String> {
    all.iter().copied().find(|one| name(*one) == word).ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|one| name(*one)).chain(also.iter().copied()).collect();
        format!("wanted one of {}", words.join(", "))
    })
}
