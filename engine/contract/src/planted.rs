//! Planted bugs: wrong on purpose, to see that the suite finds them.
//!
//! Only the feature `planted` makes them reachable, and only the mutation drill (`cargo ci mutants`) builds with it: there the
//! variable `WAVETANK_PLANT` names the bug of a process. Without the feature [`is`] is a constant that compiles to nothing.

macro_rules! bugs {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// A bug that somebody could write.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Bug {
            $($(#[doc = $doc])* $name,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Bug] = &[$(Bug::$name,)*];

            /// Its name on the command line.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Bug::$name => $text,)*
                }
            }
        }
    };
}

bugs! {
    /// A key is accepted whatever its rolling part: a retired one opens the slot's next region.
    SkipKeyCheck = "skip-key-check",
    /// A range may run past the end of its registration, as far as memory goes.
    SkipBoundsCheck = "skip-bounds-check",
    /// The rights of a registration are not looked at.
    SkipRightsCheck = "skip-rights-check",
    /// A slot's next registration gets the key of the one before.
    ReuseKey = "reuse-key",
    /// A window that was revoked still opens.
    KeepRevokedWindow = "keep-revoked-window",
    /// A READ completes with its first packet.
    CompleteBeforeData = "complete-before-data",
    /// A WRITE is acknowledged with its first packet.
    AckFirstPacket = "ack-first-packet",
    /// A packet behind a hole is taken as if nothing were missing.
    AckDroppedPacket = "ack-dropped-packet",
    /// A packet whose checksum does not fit is taken.
    SkipIcrc = "skip-icrc",
    /// A SEND seen before is delivered again.
    RepeatSend = "repeat-send",
    /// An atomic seen before is done again.
    RepeatAtomic = "repeat-atomic",
    /// A repeated READ begins a packet too early.
    ResumeReadEarly = "resume-read-early",
    /// A flush forgets the youngest work.
    LoseFlush = "lose-flush",
    /// A completion is reported twice.
    CompleteTwice = "complete-twice",
    /// An error on an unsignalled work is not told.
    SwallowUnsignalledError = "swallow-unsignalled-error",
    /// Retry budgets are not made whole by progress.
    KeepRetriesSpent = "keep-retries-spent",
    /// A "receiver not ready" is counted as a loss.
    CountRnrAsLoss = "count-rnr-as-loss",
    /// After a loss the oldest missing packet is not among those sent again.
    GoBackShort = "go-back-short",
    /// A queue pair that was reset begins with the sequence numbers of its earlier life.
    RepeatFirstPsn = "repeat-first-psn",
    /// A queue pair listens to whoever names its number.
    SkipPeerCheck = "skip-peer-check",
    /// A compare-and-swap swaps whatever it finds.
    SwapAlways = "swap-always",
    /// Memory of a cancelled transfer goes back while the device may still write to it.
    ReturnLeaseEarly = "return-lease-early",
    /// A credit is not given back when a work is flushed.
    LeakCredit = "leak-credit",
    /// A completion settles its own work only, not the unsignalled ones before it.
    SettleOneOnly = "settle-one-only",
    /// Deadlines are never looked at.
    IgnoreDeadlines = "ignore-deadlines",
    /// A session that ends lets its transfers go on.
    KeepTransfersOfSession = "keep-transfers-of-session",
    /// Every chunk of a transfer goes to where the first one went.
    ChunkAtStart = "chunk-at-start",
    /// A receive reports the length that was posted, not the length that came.
    ReportPostedLength = "report-posted-length",
    /// What came last before a connection broke is asked for, and delivered, once more.
    DeliverReplayTwice = "deliver-replay-twice",
    /// What would come next after a connection broke counts as there.
    LoseOnResume = "lose-on-resume",
    /// A held message that is let go of is not released.
    DropRelease = "drop-release",
    /// A reply goes to another request.
    ReplyToAnother = "reply-to-another",
    /// A credit is not given back.
    KeepCredit = "keep-credit",
    /// The receiver is told that data is there when it begins to be put.
    LandBeforeData = "land-before-data",
    /// Deadlines of requests are never looked at.
    IgnoreRequestDeadlines = "ignore-request-deadlines",
    /// What was lined up for a peer's former life goes to its next one.
    KeepQueueOfOldLife = "keep-queue-of-old-life",
}

impl Bug {
    /// The bug of this name.
    pub fn from_name(name: &str) -> Option<Bug> {
        Bug::ALL.iter().copied().find(|bug| bug.name() == name)
    }
}

/// The bug of this process: the one that the variable `WAVETANK_PLANT` names.
#[cfg(feature = "planted")]
static PLANTED: std::sync::LazyLock<Option<Bug>> =
    std::sync::LazyLock::new(|| std::env::var("WAVETANK_PLANT").ok().and_then(|name| Bug::from_name(&name)));

/// Whether this bug is planted.
#[cfg(feature = "planted")]
#[inline]
pub fn is(bug: Bug) -> bool {
    *PLANTED == Some(bug)
}

/// Whether this bug is planted: never.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_is_found_by_its_name_and_no_two_share_one() {
        assert!(Bug::ALL.iter().all(|bug| Bug::from_name(bug.name()) == Some(*bug)));
        assert_eq!(Bug::from_name("millennium"), None);
    }

    #[cfg(not(feature = "planted"))]
    #[test]
    fn nothing_is_planted_in_a_normal_build() {
        assert!(Bug::ALL.iter().all(|bug| !is(*bug)));
    }
}
