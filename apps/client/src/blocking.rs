//! The face for threads.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use wavetank_ipc::native::{FromClient, FromEngine, Ring, Welcome};
use wavetank_ipc::ring::{Answer, Submission, Task};
use wavetank_ipc::{Code, Wanted};

use crate::error::{ConnectError, ReadError, Refusal};
use crate::lent::Lent;
use crate::link::{Ear, HEAR_BYTES, Link, reading, refused, silence, unwanted};
use crate::options::Options;
use crate::time::{Deadline, GRACE, now_ns};
use crate::wire::{Heard, hear, wait};

/// Who polls in vain for so long lets whoever else wants this processor have it, in nanoseconds: it may be the engine.
const ALONE_NS: u64 = 4_000;

/// A read that was begun.
#[derive(Debug)]
#[must_use = "what is read is lent until it is finished"]
pub struct Ticket {
    id: u64,
    by_ring: bool,
    deadline: Deadline,
    limit: Duration,
}

/// A connection to an engine, for one thread at a time.
#[derive(Debug)]
pub struct Client {
    link: Arc<Link>,
    ear: Ear,
    options: Options,
    bytes: Vec<u8>,
    bell: Option<Arc<OwnedFd>>,
    /// Replies to what is waited for later. Whatever was lent is in them as what goes back by itself.
    replies: BTreeMap<u64, Reply>,
    /// Those that nobody waits for any more.
    dropped: Vec<u64>,
}

#[derive(Debug)]
enum Reply {
    Lent(Result<Lent, ReadError>),
    Other(FromEngine),
    Pong,
}

impl Client {
    /// Connects to the engine that listens there. After an engine's restart: once more.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(path: impl AsRef<Path>, options: &Options) -> Result<Client, ConnectError> {
        let path = path.as_ref();
        let (link, ear) = Link::connect(path, options)?;
        let mut client = Client {
            link,
            ear,
            options: options.clone(),
            bytes: vec![0; HEAR_BYTES],
            bell: None,
            replies: BTreeMap::new(),
            dropped: Vec::new(),
        };
        if let Some(entries) = options.ring {
            client.ask_ring(entries).map_err(|error| match error {
                ReadError::Refused(refusal) => ConnectError::Refused(refusal),
                ReadError::TimedOut { .. } => ConnectError::TimedOut { path: path.to_owned() },
                other => ConnectError::NotAnEngine { path: path.to_owned(), why: other.to_string() },
            })?;
        }
        Ok(client)
    }

    /// What the engine said of itself.
    pub fn welcome(&self) -> &Welcome {
        &self.link.welcome
    }

    /// Whether a ring is in use.
    pub fn has_ring(&self) -> bool {
        self.bell.is_some()
    }

    /// Reads a range.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&mut self, wanted: &Wanted) -> Result<Lent, ReadError> {
        let ticket = self.start(wanted)?;
        self.finish(ticket)
    }

    /// Begins a read. Many may be under way.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn start(&mut self, wanted: &Wanted) -> Result<Ticket, ReadError> {
        self.link.check()?;
        let limit = match wanted.timeout_ns {
            0 => self.options.read,
            ns => Duration::from_nanos(ns),
        };
        // The engine's answer that it took too long is better than none.
        let deadline = Deadline::after(limit.saturating_add(GRACE));
        let timeout_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let wanted = Wanted { timeout_ns, ..wanted.clone() };
        let id = self.link.id();
        if self.has_ring() {
            let server = self.server(wanted.server.as_deref())?;
            if let Some(server) = server
                && self.submit(Submission { name: id, task: reading(&wanted, server) })
            {
                return Ok(Ticket { id, by_ring: true, deadline, limit });
            }
        }
        self.say(id, &FromClient::Read(wanted), deadline, limit)?;
        Ok(Ticket { id, by_ring: false, deadline, limit })
    }

    /// Waits for a read.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn finish(&mut self, ticket: Ticket) -> Result<Lent, ReadError> {
        match self.wait(&ticket)? {
            Reply::Lent(lent) => lent,
            Reply::Other(other) => Err(self.nonsense(&other)),
            Reply::Pong => Err(self.link.lose(ReadError::Nonsense("a pong for a read".into()))),
        }
    }

    /// Wants a read no more. Whatever comes of it goes back.
    pub fn cancel(&mut self, ticket: Ticket) {
        if self.replies.remove(&ticket.id).is_none() {
            self.forget(&ticket);
        }
    }

    /// Asks for a sign of life over the socket.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn ping(&mut self) -> Result<(), ReadError> {
        match self.ask(&FromClient::Ping(0))? {
            FromEngine::Pong(_) => Ok(()),
            other => Err(self.nonsense(&other)),
        }
    }

    /// Asks for a sign of life through the ring.
    ///
    /// # Errors
    /// See [`ReadError`]; [`Code::Unsupported`] where there is no ring, [`Code::Busy`] where that is full.
    pub fn ping_ring(&mut self) -> Result<(), ReadError> {
        if !self.has_ring() {
            return Err(refused(Code::Unsupported, 0));
        }
        let id = self.link.id();
        if !self.submit(Submission { name: id, task: Task::Ping }) {
            return Err(refused(Code::Busy, 0));
        }
        let limit = self.options.answer;
        match self.wait(&Ticket { id, by_ring: true, deadline: Deadline::after(limit), limit })? {
            Reply::Pong => Ok(()),
            _ => Err(self.link.lose(ReadError::Nonsense("bytes for a ping".into()))),
        }
    }

    /// What the engine can do now.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn capabilities(&mut self) -> Result<Welcome, ReadError> {
        match self.ask(&FromClient::GetCapabilities)? {
            FromEngine::Capabilities(welcome) => Ok(*welcome),
            other => Err(self.nonsense(&other)),
        }
    }

    fn ask_ring(&mut self, entries: u32) -> Result<(), ReadError> {
        match self.ask(&FromClient::GetRing(Ring { entries }))? {
            FromEngine::Ring(_) => {
                let bell = self.link.take_ring(&mut self.ear.fds);
                self.bell = Some(bell.map_err(|error| self.link.lose(error))?);
                Ok(())
            }
            other => Err(self.nonsense(&other)),
        }
    }

    /// The number of a server, which it is given here if there is one left.
    fn server(&mut self, server: Option<&str>) -> Result<Option<u16>, ReadError> {
        if let Ok(index) = self.link.server(server) {
            return Ok(Some(index));
        }
        let (Some(index), Some(server)) = (self.link.next_server(), server) else { return Ok(None) };
        match self.ask(&FromClient::NameServer { index, server: server.to_owned() })? {
            FromEngine::Named => self.link.named(index, server),
            other => return Err(self.nonsense(&other)),
        }
        Ok(Some(index))
    }

    /// Asks something that is no read, over the socket.
    fn ask(&mut self, question: &FromClient) -> Result<FromEngine, ReadError> {
        let (id, limit) = (self.link.id(), self.options.answer);
        let deadline = Deadline::after(limit);
        self.say(id, question, deadline, limit)?;
        match self.wait(&Ticket { id, by_ring: false, deadline, limit })? {
            Reply::Other(reply) => Ok(reply),
            Reply::Lent(Err(error)) => Err(error),
            Reply::Lent(Ok(_)) | Reply::Pong => {
                Err(self.link.lose(ReadError::Nonsense("bytes that nobody asked for".into())))
            }
        }
    }

    fn say(&self, id: u64, message: &FromClient, until: Deadline, limit: Duration) -> Result<(), ReadError> {
        let mut all = self.link.say(id, message)?;
        while !all {
            if !wait(&self.link.socket, PollFlags::OUT, until) {
                return Err(timed_out(limit));
            }
            all = self.link.flush()?;
        }
        Ok(())
    }

    fn submit(&mut self, submission: Submission) -> bool {
        match self.link.submit(submission) {
            Some(true) => true,
            // Completions that wait to be taken may be what there is no room for.
            Some(false) => {
                self.take_completions();
                self.link.submit(submission) == Some(true)
            }
            None => false,
        }
    }

    fn wait(&mut self, ticket: &Ticket) -> Result<Reply, ReadError> {
        let reply = if ticket.by_ring { self.wait_for_ring(ticket) } else { self.wait_for_socket(ticket) };
        if reply.is_err() {
            self.forget(ticket);
        }
        reply
    }

    fn wait_for_socket(&mut self, ticket: &Ticket) -> Result<Reply, ReadError> {
        loop {
            if let Some(reply) = self.replies.remove(&ticket.id) {
                return Ok(reply);
            }
            self.link.check()?;
            if !self.hear()? && !wait(&self.link.socket, PollFlags::IN, ticket.deadline) {
                return Err(timed_out(ticket.limit));
            }
        }
    }

    fn wait_for_ring(&mut self, ticket: &Ticket) -> Result<Reply, ReadError> {
        let spin_ns = u64::try_from(self.options.spin.as_nanos()).unwrap_or(u64::MAX);
        let begun = now_ns();
        let spin_until = begun.saturating_add(spin_ns);
        loop {
            for _ in 0..64 {
                self.take_completions();
                if let Some(reply) = self.replies.remove(&ticket.id) {
                    return Ok(reply);
                }
                std::hint::spin_loop();
            }
            let now = now_ns();
            if now < spin_until {
                if now.saturating_sub(begun) >= ALONE_NS {
                    std::thread::yield_now();
                }
                continue;
            }
            let Some(bell) = self.bell.clone() else { return Err(refused(Code::Unsupported, 0)) };
            let may_sleep = self.link.with_ring(|link| link.ring.sleep()).unwrap_or(false);
            let in_time = !may_sleep || wait(&bell, PollFlags::IN, ticket.deadline);
            self.link.with_ring(|link| link.ring.wake());
            if !in_time {
                return Err(timed_out(ticket.limit));
            }
            if may_sleep && !silence(&bell) {
                // What was completed before it went is still there.
                self.take_completions();
                let reply = self.replies.remove(&ticket.id);
                return reply
                    .ok_or_else(|| self.link.lose(ReadError::Lost("the engine closed its ring".into())));
            }
        }
    }

    #[inline]
    fn take_completions(&mut self) {
        while let Some(completion) = self.link.with_ring(|link| link.ring.take()).flatten() {
            let Some(completion) = completion else {
                self.link.lose(ReadError::Nonsense("a completion that is none".into()));
                return;
            };
            let reply = match completion.answer {
                Answer::Pong => Reply::Pong,
                Answer::Found(found) => Reply::Lent(Lent::new(&self.link, *found)),
                Answer::Refused { code, detail } => Reply::Lent(Err(refused(code, detail))),
            };
            self.keep(completion.name, reply);
            self.link.with_ring(|link| {
                if link.ring.engine_waits() {
                    link.wake_engine();
                }
            });
        }
    }

    /// Hears what is there. Answers whether anything was.
    fn hear(&mut self) -> Result<bool, ReadError> {
        match hear(&self.link.socket, &mut self.bytes, &mut self.ear.fds) {
            Heard::Bytes(count) => self.ear.frames.heard(&self.bytes[..count]),
            Heard::Nothing => return Ok(false),
            Heard::End(why) => return Err(self.link.lose(ReadError::Lost(why))),
        }
        loop {
            let message = self.ear.take().map_err(|error| self.link.lose(error))?;
            let Some((id, message)) = message else { return Ok(true) };
            let reply = match message {
                FromEngine::Found(found) => Reply::Lent(Lent::new(&self.link, *found)),
                FromEngine::Refused { code, detail, text } => {
                    let error = ReadError::Refused(Refusal { code, detail, text });
                    if id == 0 {
                        return Err(self.link.lose(ReadError::Lost(error.to_string())));
                    }
                    Reply::Lent(Err(error))
                }
                other => Reply::Other(other),
            };
            self.keep(id, reply);
        }
    }

    /// Keeps a reply until it is asked for; one that nobody waits for goes back as it is dropped.
    fn keep(&mut self, id: u64, reply: Reply) {
        match self.dropped.iter().position(|dropped| *dropped == id) {
            Some(at) => drop(self.dropped.swap_remove(at)),
            None => drop(self.replies.insert(id, reply)),
        }
    }

    fn forget(&mut self, ticket: &Ticket) {
        if self.link.check().is_err() {
            return;
        }
        self.dropped.push(ticket.id);
        let by_ring = Submission { name: 0, task: Task::Cancel { name: ticket.id } };
        if ticket.by_ring {
            self.submit(by_ring);
        } else {
            // Where it is lost there is nothing to cancel.
            let _ = self.link.say(ticket.id, &FromClient::Cancel);
        }
    }

    fn nonsense(&self, other: &FromEngine) -> ReadError {
        if let FromEngine::Found(found) = other {
            unwanted(&self.link, found);
        }
        self.link.lose(ReadError::Nonsense(format!("{other:?}")))
    }
}

fn timed_out(limit: Duration) -> ReadError {
    ReadError::TimedOut { waited_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) }
}
