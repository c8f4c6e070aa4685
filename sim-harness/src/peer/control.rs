//! What two processes say to each other once they are connected, over the stream of the bootstrap.
//!
//! ```text
//!   client                              memory server
//!          ◄─────────────────────────── WELCOME     every region is filled
//!     ASK DIGESTS ────────────────────►             once nothing is under way any more
//!          ◄─────────────────────────── DIGESTS     what the memory holds
//!     BYE ────────────────────────────►
//!          ◄─────────────────────────── BYE         everything was given back
//! ```
//!
//! A frame is its kind, a zero, the length of its body, a CRC-32 of all that, and the body.

use std::io::{self, ErrorKind};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::Need;

const HEAD_BYTES: usize = 8;

/// Longest body.
const BODY_BYTES_MAX: usize = 8 * Need::REGIONS_MAX;

/// Something one side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Come in.
    Welcome,
    /// What do your regions hold?
    AskDigests,
    /// This, region by region.
    Digests(Vec<u64>),
    /// It is over.
    Bye,
}

impl Message {
    fn kind(&self) -> u8 {
        match self {
            Message::Welcome => 1,
            Message::AskDigests => 2,
            Message::Digests(_) => 3,
            Message::Bye => 4,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Message::Welcome => "WELCOME",
            Message::AskDigests => "ASK DIGESTS",
            Message::Digests(_) => "DIGESTS",
            Message::Bye => "BYE",
        }
    }
}

/// Why nothing more is said.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// It went away.
    #[error("it closed its control connection")]
    Closed,
    /// It is silent.
    #[error("it has said nothing for {} ms on its control connection", .0.as_millis())]
    Silent(Duration),
    /// The system says why.
    #[error("its control connection failed: {0}")]
    Io(io::Error),
    /// Bytes that are no message.
    #[error("it sent {0} on its control connection")]
    Garbage(&'static str),
    /// A message out of turn.
    #[error("it said {got} on its control connection, where {wanted} was to be expected")]
    Unexpected {
        /// What it said.
        got: &'static str,
        /// What was its turn.
        wanted: &'static str,
    },
}

impl ControlError {
    pub(super) fn unexpected(got: &Message, wanted: &'static str) -> ControlError {
        ControlError::Unexpected { got: got.name(), wanted }
    }
}

impl From<io::Error> for ControlError {
    fn from(error: io::Error) -> ControlError {
        match error.kind() {
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe => ControlError::Closed,
            _ => ControlError::Io(error),
        }
    }
}

/// One end of the connection.
#[derive(Debug)]
pub(super) struct Control<S> {
    stream: S,
}

fn sum(head: [u8; 4], body: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&head);
    sum.update(body);
    sum.finalize()
}

impl<S: AsyncRead + AsyncWrite + Unpin> Control<S> {
    pub(super) fn new(stream: S) -> Control<S> {
        Control { stream }
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// Says something; the other side has `limit` to take it.
    pub(super) async fn say(&mut self, message: &Message, limit: Duration) -> Result<(), ControlError> {
        let body: Vec<u8> = match message {
            Message::Digests(digests) => digests.iter().flat_map(|digest| digest.to_le_bytes()).collect(),
            _ => Vec::new(),
        };
        let [low, high] = (body.len() as u16).to_le_bytes();
        let head = [message.kind(), 0, low, high];
        let frame = [&head[..], &sum(head, &body).to_le_bytes(), &body].concat();
        timeout(limit, self.stream.write_all(&frame)).await.map_err(|_| ControlError::Silent(limit))??;
        Ok(())
    }

    /// What the other side says within `limit`.
    pub(super) async fn hear(&mut self, limit: Duration) -> Result<Message, ControlError> {
        timeout(limit, self.listen()).await.map_err(|_| ControlError::Silent(limit))?
    }

    /// What the other side says, whenever that is.
    pub(super) async fn listen(&mut self) -> Result<Message, ControlError> {
        let mut frame = [0; HEAD_BYTES];
        self.stream.read_exact(&mut frame).await?;
        let [kind, zero, low, high, told @ ..] = frame;
        let len = usize::from(u16::from_le_bytes([low, high]));
        if zero != 0 || len > BODY_BYTES_MAX {
            return Err(ControlError::Garbage("no message"));
        }
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).await?;
        if sum([kind, zero, low, high], &body) != u32::from_le_bytes(told) {
            return Err(ControlError::Garbage("a message that was damaged on the way"));
        }
        let (digests, rest) = body.as_chunks::<8>();
        match (kind, digests, rest) {
            (1, [], []) => Ok(Message::Welcome),
            (2, [], []) => Ok(Message::AskDigests),
            (3, digests, []) => {
                Ok(Message::Digests(digests.iter().map(|digest| u64::from_le_bytes(*digest)).collect()))
            }
            (4, [], []) => Ok(Message::Bye),
            _ => Err(ControlError::Garbage("a message that nobody knows")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn run<T>(talk: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(talk)
    }

    #[test]
    fn what_is_said_is_heard() {
        let digests = Message::Digests((0..Need::REGIONS_MAX as u64).collect());
        let all = [Message::Welcome, Message::AskDigests, digests, Message::Bye];
        run(async {
            let (a, b) = tokio::io::duplex(7);
            let (mut a, mut b) = (Control::new(a), Control::new(b));
            for message in all {
                let (said, heard) = tokio::join!(a.say(&message, LIMIT), b.hear(LIMIT));
                said.expect("there is somebody");
                assert_eq!(heard.expect("a message"), message);
            }
            drop(a);
            assert!(matches!(b.hear(LIMIT).await, Err(ControlError::Closed)));
        });
    }

    #[test]
    fn damage_is_seen_wherever_it_is() {
        run(async {
            let (mut wire, said) = tokio::io::duplex(4096);
            Control::new(said).say(&Message::Digests(vec![7, 9]), LIMIT).await.expect("there is room");
            let mut frame = Vec::new();
            wire.read_to_end(&mut frame).await.expect("the end");
            for at in 0..frame.len() {
                let mut damaged = frame.clone();
                damaged[at] ^= 1;
                let (mut wire, heard) = tokio::io::duplex(4096);
                wire.write_all(&damaged).await.expect("there is room");
                drop(wire);
                let heard = Control::new(heard).hear(LIMIT).await;
                assert!(heard.is_err(), "byte {at}: {heard:?}");
            }
        });
    }

    #[test]
    fn silence_has_an_end() {
        run(async {
            let (_silent, heard) = tokio::io::duplex(64);
            let limit = Duration::from_millis(20);
            let error = Control::new(heard).hear(limit).await.expect_err("nothing is said");
            assert_eq!(error.to_string(), "it has said nothing for 20 ms on its control connection");
        });
    }
}
