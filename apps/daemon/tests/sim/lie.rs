//! What is planted to see that it is found.

/// A lie of the engine's, or of whatever stands between it and a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    Nothing,
    /// A byte of what is lent is another.
    FlipsByte,
    /// The same, and the checksum is of the wrong bytes.
    FlipsByteAndSum,
    /// Half of what is lent is zero, and the checksum is of that: as of a needle that is read while it is written.
    TearsBytes,
    /// The whole length is one more.
    LengthensWhole,
    /// Another ETag.
    ChangesDetails,
    /// What is lent is written to after it was lent.
    WritesIntoLoans,
    /// A needle that was deleted is served as it was: exporters keep their seals.
    KeepsSeals,
    /// A needle that is there is said to be missing.
    DeniesNeedles,
    /// Our own fault is told to a client.
    BlamesItself,
    /// A reply never comes.
    LosesReply,
    /// A reply comes twice.
    SaysTwice,
    /// A reply bears an id that nobody used.
    SaysOtherId,
    /// Replies come long after their time.
    AnswersLate,
    /// Clients that sleep are not woken for their ring.
    LosesBell,
    /// Memory of a read is never given back.
    KeepsMemory,
    /// Sessions whose time is over stay.
    KeepsSessions,
    /// Connections that are over stay.
    KeepsConversations,
    /// Reads of connections that are over go on.
    KeepsReads,
}

impl Lie {
    pub(crate) const ALL: [Lie; 18] = [
        Lie::FlipsByte,
        Lie::FlipsByteAndSum,
        Lie::TearsBytes,
        Lie::LengthensWhole,
        Lie::ChangesDetails,
        Lie::WritesIntoLoans,
        Lie::KeepsSeals,
        Lie::DeniesNeedles,
        Lie::BlamesItself,
        Lie::LosesReply,
        Lie::SaysTwice,
        Lie::SaysOtherId,
        Lie::AnswersLate,
        Lie::LosesBell,
        Lie::KeepsMemory,
        Lie::KeepsSessions,
        Lie::KeepsConversations,
        Lie::KeepsReads,
    ];

    /// What is said when it is found.
    pub(crate) fn is_told_as(self) -> &'static str {
        match self {
            Lie::Nothing => "nothing",
            Lie::FlipsByte => "a checksum that is not the bytes'",
            Lie::FlipsByteAndSum
            | Lie::TearsBytes
            | Lie::LengthensWhole
            | Lie::ChangesDetails
            | Lie::KeepsSeals => "bytes that were not there",
            Lie::WritesIntoLoans => "what was lent is not what it was",
            Lie::DeniesNeedles => "it was there all the time",
            Lie::BlamesItself => "INTERNAL, which is not to be said of a read",
            Lie::LosesReply | Lie::LosesBell => "no answer by its time",
            Lie::SaysTwice | Lie::SaysOtherId => "an answer to what was not asked",
            Lie::AnswersLate => "by its time",
            Lie::KeepsMemory => "memory that is not back",
            Lie::KeepsSessions => "sessions that are not over",
            Lie::KeepsConversations => "connections that are not over",
            Lie::KeepsReads => "reads that go on",
        }
    }
}
