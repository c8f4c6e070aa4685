//! Blame: which errors the faults so far explain. An error that nothing explains is a failure of its own.

use wavetank_contract::Status;

use crate::lab::{Cause, DeviceFault, HostFault, LinkFault};

/// What was done to a connection, by the trouble it can make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blame(u8);

impl Blame {
    /// Nothing was done.
    pub const NONE: Blame = Blame(0);
    /// Packets may be lost or late for longer than anybody retries.
    pub const SILENCE: Blame = Blame(1);
    /// A host may be too slow to post receives.
    pub const SLOW: Blame = Blame(2);
    /// A key may be stale.
    pub const MEMORY: Blame = Blame(4);
    /// A device may be gone.
    pub const DEVICE: Blame = Blame(8);
    /// The other end of the connection has failed.
    pub const PEER: Blame = Blame(16);
    /// This end of the connection has failed before.
    pub const OWN: Blame = Blame(32);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Blame) -> Blame {
        Blame(self.0 | other.0)
    }

    /// Whether any of these was done.
    pub const fn has(self, any: Blame) -> bool {
        self.0 & any.0 != 0
    }

    /// What a cause can do to the connections it touches.
    pub const fn of(cause: &Cause) -> Blame {
        match cause {
            Cause::Link { fault: LinkFault::DuplicateOneIn { .. }, .. } | Cause::Mend { .. } => Blame::NONE,
            Cause::Link { .. } => Blame::SILENCE,
            Cause::Device { fault, .. } => match fault {
                DeviceFault::PortDown
                | DeviceFault::Pause { .. }
                | DeviceFault::ChangeGid
                | DeviceFault::ShallowBuffer { .. }
                | DeviceFault::MarkCongestion => Blame::SILENCE,
                DeviceFault::Remove => Blame::SILENCE.and(Blame::DEVICE),
                // A receive is complete when the last of its pieces is in place, which may be late.
                DeviceFault::LoseNotification | DeviceFault::PlaceOutOfOrder => Blame::SLOW,
                DeviceFault::PortUp
                | DeviceFault::FailRegistration { .. }
                | DeviceFault::ShuffleCompletions => Blame::NONE,
            },
            Cause::Host { fault, .. } => match fault {
                HostFault::Pause => Blame::SLOW,
                HostFault::Crash | HostFault::Restart { .. } => Blame::SILENCE,
                HostFault::Resume | HostFault::ClientDeath => Blame::NONE,
            },
            Cause::Memory { .. } => Blame::MEMORY,
        }
    }

    /// Whether this explains that an operation, or a receive, ended with such a status.
    pub const fn explains(self, status: Status) -> bool {
        let causes = match status {
            Status::Success => return true,
            Status::RetryExcErr => Blame::SILENCE.and(Blame::PEER),
            Status::RnrRetryExcErr => Blame::SLOW.and(Blame::PEER),
            Status::RemAccessErr => Blame::MEMORY,
            // Collateral: the queue pair died of something else. Of a refused request its responder dies first, and of the
            // peer's failure never.
            Status::WrFlushErr => Blame::OWN.and(Blame::MEMORY).and(Blame::DEVICE),
            Status::LocQpOpErr | Status::FatalErr => Blame::DEVICE,
            _ => Blame::NONE,
        };
        self.has(causes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::MemoryFault;

    #[test]
    fn nothing_explains_an_error_where_nothing_was_done() {
        for status in Status::ALL {
            assert_eq!(Blame::NONE.explains(status), status == Status::Success, "{status}");
        }
    }

    #[test]
    fn each_cause_explains_its_own_errors_and_no_others() {
        let explained = |cause: Cause| -> Vec<Status> {
            Status::ALL.into_iter().filter(|status| Blame::of(&cause).explains(*status)).collect()
        };
        let cut = Cause::Link { from: 0, to: 1, fault: LinkFault::Cut };
        assert_eq!(explained(cut), [Status::Success, Status::RetryExcErr]);
        let roll = Cause::Memory { region: 0, fault: MemoryFault::RollKey };
        assert_eq!(explained(roll), [Status::Success, Status::WrFlushErr, Status::RemAccessErr]);
        let pause = Cause::Host { node: 0, fault: HostFault::Pause };
        assert_eq!(explained(pause), [Status::Success, Status::RnrRetryExcErr]);
        let twice = Cause::Link { from: 0, to: 1, fault: LinkFault::DuplicateOneIn { n: 2 } };
        assert_eq!(explained(twice), [Status::Success], "a duplicate does no harm");
    }

    #[test]
    fn no_fault_explains_a_bug() {
        let everything = Blame(u8::MAX);
        let never: Vec<Status> =
            Status::ALL.into_iter().filter(|status| !everything.explains(*status)).collect();
        for status in [Status::LocProtErr, Status::LocLenErr, Status::BadRespErr, Status::RemOpErr] {
            assert!(never.contains(&status), "{status}");
        }
    }
}
