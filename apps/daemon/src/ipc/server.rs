//! The shell around conversations: sockets, descriptors, tasks and timers of the engine's thread.

mod client;
mod rings;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::sleep;
use wavetank_contract::Instant;
use wavetank_messenger::Bell;

use self::client::Client;
pub use self::rings::Rings;
use super::commons::Commons;
use super::conversation::Conversation;
use super::door::{Door, DoorConfig, DoorError};
use super::limits::ClientLimits;
use super::peer::{Admitted, Peer};
use super::stats::Stats;
use crate::reads::Reads;

/// How often sessions are looked through. Completing one looks at its time by itself.
const SWEEP: Duration = Duration::from_millis(100);

/// What a server is made of.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    /// Where it listens.
    pub door: DoorConfig,
    /// Who is let in.
    pub admitted: Admitted,
    /// What clients may have.
    pub limits: ClientLimits,
}

/// Serves clients on the engine's thread. Dropping it ends all of them.
pub struct Server<R: Reads> {
    shared: Rc<Shared<R>>,
    door: Door,
    tasks: [AbortHandle; 2],
}

/// What tasks share.
struct Shared<R: Reads> {
    reads: Rc<R>,
    commons: Commons,
    admitted: RefCell<Admitted>,
    clock: Box<dyn Fn() -> Instant>,
    clients: RefCell<BTreeMap<u64, Rc<Client>>>,
    /// Those with a ring.
    rings: RefCell<Vec<Rc<Client>>>,
    /// Whether a loop polls the rings, and whether that loop sleeps.
    polled: Cell<bool>,
    asleep: Cell<bool>,
    /// Tasks that read.
    tasks: Rc<Cell<usize>>,
    bell: RefCell<Option<Bell>>,
}

impl<R: Reads> fmt::Debug for Server<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({} clients at {})", self.shared.clients.borrow().len(), self.door.path().display())
    }
}

impl<R: Reads> Server<R> {
    /// Opens the door. To be called on a `LocalSet`.
    ///
    /// `clock` is the time, `unix_ns_at_zero` the Unix time at its zero; `chance` gives random words that nobody can guess.
    ///
    /// # Errors
    /// See [`DoorError`].
    pub fn start(
        reads: Rc<R>,
        config: ServerConfig,
        clock: impl Fn() -> Instant + 'static,
        unix_ns_at_zero: u64,
        chance: impl FnMut() -> u64 + 'static,
    ) -> Result<Server<R>, DoorError> {
        let (door, listener) = Door::open(&config.door)?;
        let path = door.path().to_owned();
        let system = |source| DoorError::System { call: "watching", path, source };
        listener.set_nonblocking(true).and_then(|()| UnixListener::from_std(listener)).map_err(system).map(
            |listener| {
                let shared = Rc::new(Shared::new(reads, config, clock, unix_ns_at_zero, chance));
                let accepting = spawn_local(Rc::clone(&shared).accept(listener)).abort_handle();
                let sweeping = spawn_local(Rc::clone(&shared).sweep()).abort_handle();
                Server { shared, door, tasks: [accepting, sweeping] }
            },
        )
    }

    /// Lets others in from now on. Who is in stays.
    pub fn admit(&self, admitted: Admitted) {
        *self.shared.admitted.borrow_mut() = admitted;
    }

    /// Where it listens.
    pub fn path(&self) -> PathBuf {
        self.door.path().to_owned()
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        self.shared.commons.stats()
    }

    /// The rings, for a loop that polls them and is woken by this bell. Without one, rings are looked at when clients ring.
    pub fn rings(&self, bell: Bell) -> Rings<R> {
        *self.shared.bell.borrow_mut() = Some(bell);
        Rings::new(Rc::clone(&self.shared))
    }
}

impl<R: Reads> Server<R> {
    /// Lets nobody in any more, and ends all clients: what they had comes back.
    pub fn close(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        let clients = std::mem::take(&mut *self.shared.clients.borrow_mut());
        for client in clients.into_values() {
            self.shared.end(&client);
        }
        self.shared.commons.shut();
    }
}

impl<R: Reads> Drop for Server<R> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<R: Reads> Shared<R> {
    fn new(
        reads: Rc<R>,
        config: ServerConfig,
        clock: impl Fn() -> Instant + 'static,
        unix_ns_at_zero: u64,
        chance: impl FnMut() -> u64 + 'static,
    ) -> Shared<R> {
        let arena = reads.arena();
        let shm_path = format!("/proc/{}/fd/{}", std::process::id(), arena.fd().as_raw_fd());
        let commons =
            Commons::new(reads.about(), arena.len(), config.limits, shm_path, unix_ns_at_zero, chance);
        Shared {
            reads,
            commons,
            admitted: RefCell::new(config.admitted),
            clock: Box::new(clock),
            clients: RefCell::default(),
            rings: RefCell::default(),
            polled: Cell::new(false),
            asleep: Cell::new(false),
            tasks: Rc::default(),
            bell: RefCell::default(),
        }
    }

    fn now(&self) -> Instant {
        (self.clock)()
    }

    async fn accept(self: Rc<Self>, listener: UnixListener) {
        let mut number = 0;
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Of one connection, or no descriptors now: others may come.
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            let Ok(peer) = peer_of(&stream) else { continue };
            let stats = self.commons.stats();
            if !self.admitted.borrow().admits(peer) {
                stats.refused_by_credentials.add(1);
                continue;
            }
            if self.clients.borrow().len() >= self.commons.limits().connections_max {
                stats.refused_by_number.add(1);
                continue;
            }
            let conversation = Conversation::new(self.commons.clone(), peer);
            let (reader, client) = Client::new(number, stream, conversation);
            let client = Rc::new(client);
            self.clients.borrow_mut().insert(number, Rc::clone(&client));
            number += 1;
            let serving = spawn_local(Rc::clone(&self).serve(Rc::clone(&client), reader));
            client.serving(serving.abort_handle());
        }
    }

    async fn sweep(self: Rc<Self>) {
        loop {
            sleep(SWEEP).await;
            self.commons.expire(self.now());
        }
    }

    /// Ends a client: whatever it had goes back now.
    fn end(&self, client: &Rc<Client>) {
        self.clients.borrow_mut().remove(&client.number);
        self.rings.borrow_mut().retain(|other| !Rc::ptr_eq(other, client));
        client.end();
    }
}

fn peer_of(stream: &tokio::net::UnixStream) -> io::Result<Peer> {
    let credentials = stream.peer_cred()?;
    Ok(Peer { pid: credentials.pid().unwrap_or(0), uid: credentials.uid(), gid: credentials.gid() })
}
