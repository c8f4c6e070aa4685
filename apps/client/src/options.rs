//! What a client may be told.

use std::time::Duration;

/// What a client may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whatever it calls itself, for the engine's log.
    pub name: String,
    /// A ring of about so many submissions. `None`: the socket only.
    pub ring: Option<u32>,
    /// How long to poll a ring before sleeping. A wake-up costs some 20 us and two system calls.
    pub spin: Duration,
    /// How long the engine may take to answer a hello, and whatever is no read.
    pub answer: Duration,
    /// How long a read may take that does not say.
    pub read: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            name: String::new(),
            ring: None,
            spin: Duration::from_micros(20),
            answer: Duration::from_secs(5),
            read: Duration::from_secs(5),
        }
    }
}
