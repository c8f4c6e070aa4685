//! Marks: counters that prove that a cause took effect. A fault whose mark stays at zero was not tested.

use std::cell::Cell;

macro_rules! marks {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// Something a simulated network, NIC or host does only when a fault made it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Mark {
            $($(#[doc = $doc])* $name,)*
        }

        impl Mark {
            /// All of them.
            pub const ALL: &'static [Mark] = &[$(Mark::$name,)*];

            /// Its name in reports and files.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Mark::$name => $text,)*
                }
            }
        }
    };
}

marks! {
    /// A packet was lost on a link.
    PacketLost = "packet-lost",
    /// A packet was delivered twice.
    PacketDuplicated = "packet-duplicated",
    /// A packet arrived after one that left later.
    PacketReordered = "packet-reordered",
    /// A packet took longer because its link was told to delay.
    PacketDelayed = "packet-delayed",
    /// A packet was dropped by its receiver because its ICRC did not fit.
    PacketCorrupted = "packet-corrupted",
    /// A packet was dropped by its receiver because its tail was missing.
    PacketTruncated = "packet-truncated",
    /// A packet left slower because its link had less bandwidth.
    PacketThrottled = "packet-throttled",
    /// A packet was dropped because a port was down.
    PortWasDown = "port-was-down",
    /// A packet went to an address that its receiver no longer has.
    StaleAddress = "stale-address",
    /// A packet reached a node whose device is gone, or that crashed.
    NobodyThere = "nobody-there",
    /// A packet for a queue pair that does not exist, is not ready, or has another peer was dropped without a word.
    SilentDrop = "silent-drop",
    /// A request seen before was answered again and not done again.
    RequestRepeated = "request-repeated",
    /// A READ seen before was read again from memory.
    ReadRepeated = "read-repeated",
    /// An atomic seen before was answered from its saved result.
    AtomicRepeated = "atomic-repeated",
    /// A repeated request was so late that nothing is known of it any more; it was dropped.
    RepeatTooLate = "repeat-too-late",
    /// A sequence NAK was sent.
    SequenceNak = "sequence-nak",
    /// An "RNR" NAK was sent.
    RnrNak = "rnr-nak",
    /// An ACK timeout passed.
    AckTimeout = "ack-timeout",
    /// A requester gave up after its last repetition.
    RetriesSpent = "retries-spent",
    /// A requester gave up after its last wait for a receiver.
    RnrRetriesSpent = "rnr-retries-spent",
    /// A completion queue overran.
    CqOverrun = "cq-overrun",
    /// A notification was not given.
    NotificationLost = "notification-lost",
    /// A device was removed.
    DeviceRemoved = "device-removed",
    /// A device's address changed.
    GidChanged = "gid-changed",
    /// A port went down.
    PortDown = "port-down",
    /// A port came up.
    PortUp = "port-up",
    /// A registration failed because it was told to.
    RegistrationFailed = "registration-failed",
    /// A device refused something because its limit was reached.
    LimitHit = "limit-hit",
    /// A message stopped in its middle because its region was deregistered.
    DeregisteredInFlight = "deregistered-in-flight",
    /// A retired key was used.
    StaleKey = "stale-key",
    /// A revoked memory window was used.
    WindowRevoked = "window-revoked",
    /// A packet was sent again with other bytes than before: its source had changed meanwhile.
    SourceChanged = "source-changed",
    /// The pieces of a message were placed out of order.
    PlacedOutOfOrder = "placed-out-of-order",
    /// A packet's bytes were placed in two halves with time in between: whoever reads meanwhile sees it half done.
    Torn = "torn",
    /// Completions of different queue pairs changed places in their shared queue.
    CompletionsShuffled = "completions-shuffled",
    /// A node crashed.
    Crashed = "crashed",
    /// A node came back with queue pair numbers and keys it had not used before.
    RestartedNew = "restarted-new",
    /// A node came back and gave out the queue pair numbers and keys of its earlier life again.
    RestartedSame = "restarted-same",
    /// A port was paused by its peer (PFC). Modelled, not validated.
    PfcPaused = "pfc-paused",
    /// A packet was marked on its way through a congested port (ECN). Modelled, not validated.
    EcnMarked = "ecn-marked",
    /// A sender slowed down because it was told that its packets met congestion (DCQCN). Modelled, not validated.
    RateCut = "rate-cut",
    /// A packet was dropped because the buffer before a port was full (incast). Modelled, not validated.
    BufferOverflow = "buffer-overflow",
    /// The engine did something legal but rare.
    Buggified = "buggified",
}

/// How often each mark was passed.
#[derive(Debug)]
pub(crate) struct Marks(Box<[Cell<u64>]>);

impl Default for Marks {
    fn default() -> Marks {
        Marks(Mark::ALL.iter().map(|_| Cell::new(0)).collect())
    }
}

impl Marks {
    #[inline]
    pub(crate) fn pass(&self, mark: Mark) {
        let count = &self.0[mark as usize];
        count.set(count.get() + 1);
    }

    pub(crate) fn get(&self, mark: Mark) -> u64 {
        self.0[mark as usize].get()
    }
}
