//! The lies: each breaks one promise.

/// What a device does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lie {
    /// Nothing.
    Honest,
    /// Nothing, but it promises little and refuses the rest.
    Modest,
    /// It promises little and takes the rest all the same.
    ModestTaker,
    /// Nothing, and it tells when a peer closes.
    PeerCloseTeller,
    /// It tells when a peer closes, and did not promise to.
    PeerCloseTattler,
    /// It promises to tell when a peer closes, and does not.
    PeerCloseHider,

    // Bytes.
    /// The last byte of a WRITE is wrong.
    FlipsWritten,
    /// The last byte of a READ is wrong.
    FlipsRead,
    /// The first byte of a message is wrong.
    FlipsReceived,
    /// A byte behind the target of a WRITE changes.
    FlipsBeside,
    /// A byte behind what a READ brought changes.
    FlipsBesideRead,
    /// A byte of a receive behind the message changes.
    FlipsBehindMessage,
    /// A byte of what was sent changes.
    FlipsSource,
    /// Inline bytes are looked at after the post.
    ReadsInlineLate,
    /// All local pieces are taken from the first region.
    KnowsOneRegion,
    /// Pieces are taken from the last to the first.
    ReversesPieces,
    /// The last byte of a WRITE is placed before the others.
    PlacesLastByteFirst,
    /// An addition is done twice.
    AddsTwice,
    /// A swap is done whatever was there.
    SwapsAnyway,
    /// One-sided works complete when the target was polled.
    NeedsTargetPolled,

    // Completions.
    /// Two completions change places.
    SwapsCompletions,
    /// A completion names another endpoint.
    NamesOtherEndpoint,
    /// Receives go by each other's names.
    SwapsReceives,
    /// A WRITE waits until something else went before it.
    DelaysWrites,
    /// An immediate is wrong.
    WrongImmediate,
    /// Fences are not heeded.
    IgnoresFences,
    /// Silent works speak.
    SpeaksForSilent,
    /// Silent works never give their slots back.
    KeepsSilentSlots,
    /// Receives complete where sends do.
    UsesOneQueue,
    /// Works complete before they are done.
    CompletesEarly,
    /// What a READ brought is placed again after it completed.
    WritesLate,

    // Failures.
    /// Every failure is a success.
    ClaimsSuccess,
    /// Flushed works never complete.
    LosesFlushes,
    /// Silent works fail in silence.
    FailsSilently,
    /// One endpoint's failure is every endpoint's.
    SpreadsFailure,
    /// Works for a dead endpoint are refused.
    RefusesForDead,
    /// Any key opens the memory it points into.
    TakesAnyKey,
    /// What leaves a region is moved inside.
    MovesInside,
    /// Every registration has every right.
    GrantsMemory,
    /// Every endpoint has every right.
    GrantsEndpoints,
    /// There is one protection domain.
    KnowsOneDomain,
    /// Atomics are moved to where they fit.
    AlignsAtomics,
    /// Receives are longer than they were posted.
    StretchesReceives,
    /// Whoever has no receive is asked for ever.
    NeverGivesUp,
    /// One try has to do.
    TriesOnce,
    /// Local memory that nobody registered is some that somebody did.
    TakesAnyPiece,

    // States and events.
    /// ERR is said and not entered.
    PretendsErr,
    /// SQD is said and not entered.
    PretendsSqd,
    /// Moves that do not exist are made.
    MakesAnyMove,
    /// Works are taken in any state, and lost.
    TakesInAnyState,
    /// Receives posted before connecting are lost.
    LosesEarlyReceives,
    /// What was complete before a reset is told after it.
    RemembersOverReset,
    /// An endpoint's address is that of its first life.
    KeepsFirstAddress,
    /// Nothing is told unasked.
    TellsNoEvents,
    /// Something is told that did not happen.
    TellsTales,
    /// Its host is not woken every time.
    LosesWakeUps,
    /// Its host never sleeps.
    WakesForNothing,

    // Limits.
    /// Queues are one deeper than they were asked to be.
    OpensDeeper,
    /// Completion queues are one shallower than they were asked to be.
    OpensShallower,
    /// Promises one piece and one byte more than there are.
    PromisesMore,
    /// Promises numbers of nothing.
    PromisesNothing,
    /// Deep queues cannot be had.
    RefusesDepth,
    /// Long messages are refused.
    RefusesLength,
    /// Of everything there are few.
    HasFew,
    /// Serves one READ at a time.
    ServesOneRead,
    /// What cannot be carried out is taken, and lost.
    TakesAnyWork,
    /// A refused work takes those before it along.
    DropsPrefix,
    /// Numbers out of range are moved inside.
    OpensAnything,

    // Memory, connecting and closing.
    /// Registrations do not end.
    KeepsRegistrations,
    /// All registrations of a region end with one.
    EndsTwins,
    /// A key leads a word past its region's start.
    ShiftsKeys,
    /// Whatever is wrong with memory or a key is overlooked.
    OverlooksMemory,
    /// Whatever is wrong with an address is overlooked.
    ConnectsAnywhere,
    /// Closing does nothing.
    ClosesNothing,
    /// Closing ends what is said, and not what is done.
    ClosesInName,
    /// What was complete before a close is told after it.
    RemembersOverClose,
    /// Closing empties the whole queue.
    EmptiesQueueOnClose,
}
