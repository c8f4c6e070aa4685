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
    /// A reply was waited for in vain, and may come yet: whoever asks next would take it for his own.
    out_of_step: bool,
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
        Ok(Client {
            stream,
            frames: Frames::new(REPLY_BYTES_MAX),
            heard: VecDeque::new(),
            out_of_step: false,
        })
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
    /// The system's; `UnexpectedEof` at the end of the connection, `InvalidData` for what is no message. After any of them replies
    /// are nobody's: what is called then is `NotConnected`.
    pub fn receive(&mut self) -> io::Result<Message> {
        if self.out_of_step {
            let why = "an earlier reply did not come, and might be taken for this one's; connect again";
            return Err(io::Error::new(io::ErrorKind::NotConnected, why));
        }
        let received = self.next();
        self.out_of_step = received.is_err();
        received
    }

    fn next(&mut self) -> io::Result<Message> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(message) = self.heard.pop_front() {
                return Ok(message);
            }
            let count = match self.stream.read(&mut bytes) {
                // A process that was stopped and goes on hears this of a socket with a timeout (signal(7)), and waits on.
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn after_a_reply_that_did_not_come_no_other_is_taken_for_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("engine");
        let listener = UnixListener::bind(&path).expect("it is free");
        let mut client = Client::connect(&path).expect("somebody listens");
        let (mut engine, _) = listener.accept().expect("it calls");
        client.stream.set_read_timeout(Some(Duration::from_millis(1))).expect("not zero");
        let late = client.ping().expect_err("nobody answers");
        assert!(matches!(late.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{late}");
        // The first ping's, too late.
        let pong = Message::Pong(wavetank_ipc::seaweed::Pong::default());
        let body = wavetank_ipc::seaweed::encode(&pong);
        engine.write_all(&frame(&body)).expect("there is room");
        assert_eq!(client.ping().expect_err("whose would it be?").kind(), io::ErrorKind::NotConnected);
    }
}
