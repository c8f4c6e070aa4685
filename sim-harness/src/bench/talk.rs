//! Requests and replies between two processes, each a messenger over one device, with a stream between the two for a line.
//! Both poll, and neither ever sleeps.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};
use wavetank_contract::Instant;
use wavetank_engine::bootstrap::InstanceId;
use wavetank_engine::{BackendKind, Driver, DriverConfig, RdmaContext};
use wavetank_messenger::{ConnectionId, Event, LineAsk, LineId, Message, Messenger, MessengerConfig, Policy};

use super::across::Side;
use super::median;
use super::pair::PairError;
use crate::lab::RealTime;

/// Turns between two looks at clock and stream.
const PATIENT_TURNS: u32 = 256;

/// What is measured: both sides are told the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Talk {
    /// Bytes of each request and of each reply, in their fronts.
    pub bytes: u16,
    /// Requests under way at a time.
    pub depth: u32,
    /// Requests that count.
    pub count: u32,
    /// Requests before the clock counts.
    pub warm_up: u32,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TalkFigures {
    /// The median of round trips.
    pub median_ns: f64,
    /// Round trips in a second.
    pub per_s: f64,
}

/// A messenger and its one line.
struct Talker {
    messenger: Messenger,
    stream: UnixStream,
    line: Option<LineId>,
    time: RealTime,
    limit: Instant,
    over: bool,
}

impl Talker {
    fn new(
        context: RdmaContext,
        backend: BackendKind,
        side: Side,
        stream: UnixStream,
        patience_ns: u64,
    ) -> Result<Talker, PairError> {
        let time = RealTime::start();
        stream.set_nonblocking(true)?;
        let name = if side == Side::Client { 1 } else { 2 };
        let Some(instance) = InstanceId::new(name) else { unreachable!("neither is 0") };
        let config = MessengerConfig { credits: 64, window: 512, ..MessengerConfig::new(name, backend) };
        let driver = Driver::new(context, DriverConfig::default());
        let messenger = Messenger::new(driver, backend, instance, config).map_err(|error| said(&error))?;
        Ok(Talker { messenger, stream, line: None, time, limit: time.now() + patience_ns, over: false })
    }

    /// What is said on the line, and whether there is time left.
    fn carry(&mut self) -> Result<(), PairError> {
        let now = self.time.now();
        if now >= self.limit {
            return Err(PairError("it was not over in time".to_owned()));
        }
        while let Some(ask) = self.messenger.take_ask() {
            match ask {
                LineAsk::Dial { line, .. } => {
                    self.line = Some(line);
                    self.messenger.line_up(now, line);
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
                self.messenger.line_down(now, line, "closed");
            }
            (Ok(0), None) => return Err(PairError("the peer never came".to_owned())),
            (Ok(count), Some(line)) => self.messenger.line_heard(now, line, &bytes[..count]),
            (Ok(count), None) => {
                let line = self.messenger.line_came(now);
                self.line = Some(line);
                self.messenger.line_heard(now, line, &bytes[..count]);
            }
            (Err(error), _) if error.kind() == ErrorKind::WouldBlock => {}
            (Err(error), _) if error.kind() == ErrorKind::ConnectionReset => self.over = true,
            (Err(error), _) => return Err(error.into()),
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<ConnectionId, PairError> {
        let now = self.time.now();
        let connection =
            self.messenger.connect(now, "", None, Policy::LossyClient).map_err(|error| said(&error))?;
        while !self.messenger.is_established(connection) {
            self.messenger.spin(self.time.now());
            self.carry()?;
            if let Some(Event::Refused { cause, .. } | Event::Reset { cause, .. }) =
                self.messenger.take_event()
            {
                return Err(said(&cause));
            }
        }
        while self.messenger.take_event().is_some() {}
        Ok(connection)
    }

    /// Sends requests, and waits for all of their replies.
    fn ask(&mut self, to: ConnectionId, talk: &Talk, count: u32) -> Result<TalkFigures, PairError> {
        let front = vec![0x5a; usize::from(talk.bytes)];
        let (mut asked, mut done, mut idle) = (0, 0, 0);
        let mut took_ns = Vec::with_capacity(count as usize);
        let started = self.time.now();
        let mut now = started;
        while done < count {
            while asked < count && asked - done < talk.depth {
                let message = Message::new(1, &front, Instant::FAR).tagged(now.0);
                self.messenger.request(now, to, message, None).map_err(|error| said(&error))?;
                asked += 1;
            }
            self.messenger.spin(now);
            now = self.time.now();
            idle += 1;
            if idle == PATIENT_TURNS {
                idle = 0;
                self.carry()?;
            }
            while let Some(event) = self.messenger.take_event() {
                match event {
                    Event::Replied { reply: Ok(reply), tag, .. } => {
                        if reply.front_len() != front.len() {
                            return Err(PairError("a reply is not what was sent".to_owned()));
                        }
                        took_ns.push(now.0.saturating_sub(tag) as f64);
                        done += 1;
                    }
                    other => return Err(PairError(format!("{other:?}"))),
                }
            }
        }
        let per_s = f64::from(count) * 1e9 / now.since_ns(started).max(1) as f64;
        Ok(TalkFigures { median_ns: median(took_ns), per_s })
    }

    fn answer(&mut self) -> Result<(), PairError> {
        let mut idle = 0;
        let mut now = self.time.now();
        while !self.over {
            if !self.messenger.spin(now) {
                idle += 1;
            }
            if idle == PATIENT_TURNS {
                idle = 0;
                now = self.time.now();
                self.carry()?;
            }
            while let Some(event) = self.messenger.take_event() {
                if let Event::Delivered(mut incoming) = event
                    && let Some(reply_to) = incoming.take_reply_to()
                {
                    let mut bytes = [0; 1024];
                    let message = Message::new(2, incoming.front(&mut bytes), Instant::FAR);
                    drop(self.messenger.reply(now, reply_to, message));
                }
            }
            self.messenger.flush(now);
        }
        Ok(())
    }
}

/// Asks, or answers one that does. `patience_ns` is how long the whole of it may take.
///
/// # Errors
/// Whatever fails, and time that is up.
pub fn talk(
    context: RdmaContext,
    backend: BackendKind,
    side: Side,
    talk: &Talk,
    stream: UnixStream,
    patience_ns: u64,
) -> Result<Option<TalkFigures>, PairError> {
    let mut talker = Talker::new(context, backend, side, stream, patience_ns)?;
    if side == Side::Server {
        talker.messenger.bind(Some(Policy::StatelessServer));
        while talker.line.is_none() {
            talker.messenger.spin(talker.time.now());
            talker.carry()?;
        }
        talker.answer()?;
        return Ok(None);
    }
    let to = talker.connect()?;
    talker.ask(to, talk, talk.warm_up.max(1))?;
    let figures = talker.ask(to, talk, talk.count.max(1))?;
    let now = talker.time.now();
    talker.messenger.close(now, to, "done");
    while !talker.over {
        talker.messenger.spin(talker.time.now());
        talker.carry()?;
    }
    Ok(Some(figures))
}

fn said(error: &dyn std::fmt::Display) -> PairError {
    PairError(error.to_string())
}
