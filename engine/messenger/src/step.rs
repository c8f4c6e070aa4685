//! The steps of the protocol, as breakpoints: a test can stop a messenger at each and see what becomes of its peer.
//!
//! The list is the code's own: a step is passed where it is named, and the no-hang matrix fails for one that is never
//! passed.

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// A place in the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Step {
            $($(#[$doc])* $name,)*
        }

        impl Step {
            /// Every step.
            pub const ALL: &'static [Step] = &[$(Step::$name),*];

            /// Its name in tables.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Step::$name => $text,)*
                }
            }
        }
    };
}

steps! {
    /// A line to the peer is asked for.
    Dial = "dial",
    /// A line of a peer has come.
    Answer = "answer",
    /// The dialer says where its endpoint is.
    OfferEndpoint = "offer endpoint",
    /// The listener says where its endpoint is.
    AnswerEndpoint = "answer endpoint",
    /// Our endpoint can send, and the peer is told.
    Ready = "ready",
    /// Both sides know that both can send.
    Established = "established",
    /// What was not acknowledged is lined up again.
    Replay = "replay",
    /// A message that carries all its bytes is posted.
    SendEager = "send eager",
    /// A message that carries all its bytes has come.
    ReceiveEager = "receive eager",
    /// A message whose data is to be read is posted.
    OfferData = "offer data",
    /// The READ of a message's data begins.
    FetchData = "fetch data",
    /// It is done.
    Fetched = "fetched",
    /// The sender hears that the receiver has everything of a message.
    Acknowledged = "acknowledged",
    /// A message whose data is to be written is posted.
    AskForSpace = "ask for space",
    /// The receiver says where the data may be written.
    GrantSpace = "grant space",
    /// The WRITE of a message's data begins.
    PutData = "put data",
    /// It is done, and the receiver is told.
    DataPut = "data put",
    /// The receiver hears that it has the data.
    DataLanded = "data landed",
    /// The WRITE of a reply into the requester's memory begins.
    FillSink = "fill sink",
    /// It is done, and the reply follows.
    SinkFilled = "sink filled",
    /// A reply is posted.
    SendReply = "send reply",
    /// A reply has come.
    ReceiveReply = "receive reply",
    /// The receiver lets go of a message whose sender waits for that.
    Release = "release",
    /// The sender hears of it.
    Released = "released",
    /// Credits and acknowledgements travel by themselves.
    Credit = "credit",
    /// A sign of life.
    Ping = "ping",
    /// The connection is closed, and the peer is told.
    Close = "close",
    /// The peer has closed.
    Closed = "closed",
    /// A connection broke.
    Fault = "fault",
    /// The peer is dialled again.
    Redial = "redial",
}

/// What to do at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// Go on.
    On,
    /// Do nothing any more, as if the process had ended here: what was posted before this step is out, and nothing behind it is.
    Halt,
}
