//! The face for tokio.

mod listener;
mod waiting;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use wavetank_ipc::native::{FromClient, FromEngine, Ring, Welcome};
use wavetank_ipc::ring::{Submission, Task};
use wavetank_ipc::{Code, Wanted};

use self::listener::{Listener, take_completions};
use self::waiting::{Pending, Reply, Waiting};
use crate::error::{ConnectError, ReadError};
use crate::lent::Lent;
use crate::link::{Link, reading, refused};
use crate::options::Options;
use crate::time::{GRACE, now_ns};

/// A connection to an engine, for any number of tasks. Clones are the same connection.
///
/// A task of the runtime on which it was made hears the engine. Calls may be made on any other.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    link: Arc<Link>,
    waiting: Arc<Waiting>,
    /// The socket has no room: whoever listens sends what is left.
    blocked: Arc<Notify>,
    options: Options,
    listening: AbortHandle,
    has_ring: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} under way)", self.inner.waiting.len())
    }
}

impl Client {
    /// Connects to the engine that listens there. After an engine's restart: once more.
    ///
    /// # Errors
    /// See [`ConnectError`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub async fn connect(path: impl AsRef<Path>, options: &Options) -> Result<Client, ConnectError> {
        let path = path.as_ref().to_owned();
        let dialled = options.clone();
        let place = path.clone();
        // A hello takes microseconds, but nobody promises it.
        let connected = tokio::task::spawn_blocking(move || Link::connect(&place, &dialled)).await;
        let lost = |why: String| ConnectError::NotAnEngine { path: path.clone(), why };
        let (link, ear) = connected.map_err(|error| lost(error.to_string()))??;
        let (waiting, blocked) = (Arc::new(Waiting::default()), Arc::new(Notify::new()));
        let listener = Listener::new(Arc::clone(&link), ear, Arc::clone(&waiting), Arc::clone(&blocked));
        let listener = listener.map_err(|error| lost(error.to_string()))?;
        let listening = tokio::spawn(listener.run()).abort_handle();
        let options = options.clone();
        let mut inner = Inner { link, waiting, blocked, options, listening, has_ring: false };
        if let Some(entries) = inner.options.ring {
            let reply = inner.ask(&FromClient::GetRing(Ring { entries })).await;
            match reply {
                Ok(FromEngine::Ring(_)) => inner.has_ring = true,
                Ok(other) => return Err(lost(format!("{other:?} instead of a ring"))),
                Err(ReadError::Refused(refusal)) => return Err(ConnectError::Refused(refusal)),
                Err(ReadError::TimedOut { .. }) => return Err(ConnectError::TimedOut { path }),
                Err(other) => return Err(lost(other.to_string())),
            }
        }
        Ok(Client { inner: Arc::new(inner) })
    }

    /// What the engine said of itself.
    pub fn welcome(&self) -> &Welcome {
        &self.inner.link.welcome
    }

    /// Whether a ring is in use.
    pub fn has_ring(&self) -> bool {
        self.inner.has_ring
    }

    /// Whether it is of no more use, so that [`connect`](Self::connect) is due.
    pub fn is_lost(&self) -> bool {
        self.inner.link.check().is_err()
    }

    /// Reads a range. Dropping the future cancels it, and whatever came of it goes back.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, wanted: Wanted) -> Result<Lent, ReadError> {
        let inner = &self.inner;
        inner.link.check()?;
        let limit = match wanted.timeout_ns {
            0 => inner.options.read,
            ns => Duration::from_nanos(ns),
        };
        let timeout_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let wanted = Wanted { timeout_ns, ..wanted };
        let id = inner.link.id();
        let mut pending = None;
        if inner.has_ring
            && let Some(server) = inner.server(wanted.server.as_deref()).await?
        {
            let waits = Pending::new(&inner.link, &inner.waiting, id, true)?;
            if inner.submit(Submission { name: id, task: reading(&wanted, server) }) {
                inner.spin(&waits);
                pending = Some(waits);
            } else {
                waits.never_asked();
            }
        }
        let pending = match pending {
            Some(pending) => pending,
            None => {
                let id = inner.link.id();
                let waits = Pending::new(&inner.link, &inner.waiting, id, false)?;
                inner.say(id, &FromClient::Read(wanted))?;
                waits
            }
        };
        match inner.within(pending, limit.saturating_add(GRACE)).await? {
            Reply::Lent(lent) => Ok(lent),
            Reply::Other(other) => Err(inner.link.lose(ReadError::Nonsense(format!("{other:?}")))),
            Reply::Pong => Err(inner.link.lose(ReadError::Nonsense("a pong for a read".into()))),
        }
    }

    /// Asks for a sign of life over the socket.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn ping(&self) -> Result<(), ReadError> {
        match self.inner.ask(&FromClient::Ping(0)).await? {
            FromEngine::Pong(_) => Ok(()),
            other => Err(self.inner.link.lose(ReadError::Nonsense(format!("{other:?}")))),
        }
    }

    /// Asks for a sign of life through the ring.
    ///
    /// # Errors
    /// See [`ReadError`]; [`Code::Unsupported`] where there is no ring, [`Code::Busy`] where that is full.
    pub async fn ping_ring(&self) -> Result<(), ReadError> {
        let inner = &self.inner;
        if !inner.has_ring {
            return Err(refused(Code::Unsupported, 0));
        }
        let id = inner.link.id();
        let pending = Pending::new(&inner.link, &inner.waiting, id, true)?;
        if !inner.submit(Submission { name: id, task: Task::Ping }) {
            pending.never_asked();
            return Err(refused(Code::Busy, 0));
        }
        inner.spin(&pending);
        match inner.within(pending, inner.options.answer).await? {
            Reply::Pong => Ok(()),
            _ => Err(inner.link.lose(ReadError::Nonsense("bytes for a ping".into()))),
        }
    }

    /// What the engine can do now.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn capabilities(&self) -> Result<Welcome, ReadError> {
        match self.inner.ask(&FromClient::GetCapabilities).await? {
            FromEngine::Capabilities(welcome) => Ok(*welcome),
            other => Err(self.inner.link.lose(ReadError::Nonsense(format!("{other:?}")))),
        }
    }
}

impl Inner {
    fn say(&self, id: u64, message: &FromClient) -> Result<(), ReadError> {
        if !self.link.say(id, message)? {
            self.blocked.notify_one();
        }
        Ok(())
    }

    /// Asks something that is no read, over the socket.
    async fn ask(&self, question: &FromClient) -> Result<FromEngine, ReadError> {
        let id = self.link.id();
        let pending = Pending::new(&self.link, &self.waiting, id, false)?;
        self.say(id, question)?;
        match self.within(pending, self.options.answer).await? {
            Reply::Other(reply) => Ok(reply),
            Reply::Lent(_) | Reply::Pong => {
                Err(self.link.lose(ReadError::Nonsense("bytes that nobody asked for".into())))
            }
        }
    }

    /// The number of a server, which it is given here if there is one left.
    async fn server(&self, server: Option<&str>) -> Result<Option<u16>, ReadError> {
        if let Ok(index) = self.link.server(server) {
            return Ok(Some(index));
        }
        let (Some(index), Some(server)) = (self.link.next_server(), server) else { return Ok(None) };
        match self.ask(&FromClient::NameServer { index, server: server.to_owned() }).await? {
            FromEngine::Named => self.link.named(index, server),
            other => return Err(self.link.lose(ReadError::Nonsense(format!("{other:?}")))),
        }
        // Another task may have named another server meanwhile, under the same number.
        Ok(self.link.server(Some(server)).ok())
    }

    fn submit(&self, submission: Submission) -> bool {
        if self.link.submit(submission) == Some(true) {
            return true;
        }
        // Completions that wait to be taken may be what there is no room for.
        take_completions(&self.link, &self.waiting);
        self.link.submit(submission) == Some(true)
    }

    /// Polls the ring for a while, for everybody, before the task sleeps.
    fn spin(&self, pending: &Pending) {
        self.link.with_ring(|link| link.ring.wake());
        let spin_ns = u64::try_from(self.options.spin.as_nanos()).unwrap_or(u64::MAX);
        let until = now_ns().saturating_add(spin_ns);
        'spinning: while now_ns() < until {
            for _ in 0..32 {
                take_completions(&self.link, &self.waiting);
                if pending.is_over() {
                    break 'spinning;
                }
                std::hint::spin_loop();
            }
        }
        // From here on the engine rings, and the listener takes what is there.
        let may_sleep = self.link.with_ring(|link| link.ring.sleep()).unwrap_or(true);
        if !may_sleep {
            take_completions(&self.link, &self.waiting);
        }
    }

    async fn within(&self, mut pending: Pending, limit: Duration) -> Result<Reply, ReadError> {
        let waited_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        // What is there already costs no timer.
        if let Some(reply) = pending.take() {
            return reply;
        }
        timeout(limit, pending.reply()).await.unwrap_or(Err(ReadError::TimedOut { waited_ms }))
    }
}

/// What a task waits for.
type Answer = Result<Reply, ReadError>;
type Sender = oneshot::Sender<Answer>;
