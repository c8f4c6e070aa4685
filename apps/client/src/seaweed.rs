//! A client of the upstream protocol, which says what SeaweedFS's Go client says byte for byte: for tests and comparisons.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

pub use wavetank_ipc::seaweed::{Capabilities, Message, StartRead};
use wavetank_ipc::seaweed::{
    Chunk, CompleteRead, Frames, GetCapabilities, Ping, REPLY_BYTES_MAX, decode, frame, request_as_go,
};

/// How long the Go client waits where nobody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A connection on which one request waits for its reply.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    frames: Frames,
    heard: VecDeque<Message>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<Client> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Client { stream, frames: Frames::new(REPLY_BYTES_MAX), heard: VecDeque::new() })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The system's; `InvalidInput` for what the Go client never says.
    pub fn send(&mut self, message: &Message) -> io::Result<()> {
        let body = request_as_go(message).ok_or(io::ErrorKind::InvalidInput)?;
        self.stream.write_all(&frame(&body))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The system's.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` at the end of the connection, `InvalidData` for what is no message.
    pub fn receive(&mut self) -> io::Result<Message> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(message) = self.heard.pop_front() {
                return Ok(message);
            }
            let count = self.stream.read(&mut bytes)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.frames.heard(&bytes[..count]);
            while let Some(chunk) = self.frames.take() {
                let Chunk::Body(body) = chunk else { return Err(io::ErrorKind::InvalidData.into()) };
                self.heard
                    .push_back(decode(&body).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?);
            }
        }
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// As [`send`](Self::send) and [`receive`](Self::receive).
    pub fn call(&mut self, message: &Message) -> io::Result<Message> {
        self.send(message)?;
        self.receive()
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn ping(&mut self) -> io::Result<Message> {
        self.call(&Message::Ping(Ping { timestamp_ns: 1, client_id: Some("wavetank".into()) }))
    }

    /// Asks what the engine can do.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn capabilities(&mut self) -> io::Result<Message> {
        self.call(&Message::GetCapabilities(GetCapabilities::default()))
    }

    /// Begins a session.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn start_read(&mut self, start: StartRead) -> io::Result<Message> {
        self.call(&Message::StartRead(start))
    }

    /// Ends one.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn complete_read(&mut self, done: CompleteRead) -> io::Result<Message> {
        self.call(&Message::CompleteRead(done))
    }
}
