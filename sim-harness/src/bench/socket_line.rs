//! The one line of a messenger whose peer is at the other end of a socket.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use wavetank_contract::Instant;
use wavetank_messenger::{LineAsk, LineId, Messenger};

use super::pair::PairError;

/// A line over a socket.
pub(super) struct SocketLine {
    stream: UnixStream,
    line: Option<LineId>,
    /// Neither side has more to say.
    pub(super) over: bool,
}

impl SocketLine {
    pub(super) fn new(stream: UnixStream) -> Result<SocketLine, PairError> {
        stream.set_nonblocking(true)?;
        Ok(SocketLine { stream, line: None, over: false })
    }

    /// Whether there is a line at all.
    pub(super) fn is_there(&self) -> bool {
        self.line.is_some()
    }

    /// Carries what is said, either way.
    pub(super) fn carry(&mut self, messenger: &mut Messenger, now: Instant) -> Result<(), PairError> {
        while let Some(ask) = messenger.take_ask() {
            match ask {
                LineAsk::Dial { line, .. } => {
                    self.line = Some(line);
                    messenger.line_up(now, line);
                }
                // A few hundred bytes, once: they fit the socket's buffer.
                LineAsk::Send { bytes, .. } => self.stream.write_all(&bytes)?,
                LineAsk::Close { .. } => self.over = true,
            }
        }
        let mut bytes = [0; 4096];
        match (self.stream.read(&mut bytes), self.line) {
            (Ok(0), Some(line)) => {
                self.over = true;
                messenger.line_down(now, line, "closed");
            }
            (Ok(0), None) => return Err(PairError("the peer never came".to_owned())),
            (Ok(count), Some(line)) => messenger.line_heard(now, line, &bytes[..count]),
            (Ok(count), None) => {
                let line = messenger.line_came(now);
                self.line = Some(line);
                messenger.line_heard(now, line, &bytes[..count]);
            }
            (Err(error), _) if error.kind() == ErrorKind::WouldBlock => {}
            (Err(error), _) if error.kind() == ErrorKind::ConnectionReset => self.over = true,
            (Err(error), _) => return Err(error.into()),
        }
        Ok(())
    }
}
