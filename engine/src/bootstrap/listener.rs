//! The exchange over TCP: the side that listens.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::{BootstrapError, Introduction, Role, Step, StreamBootstrap, TcpBootstrap};

/// Connections the system keeps while nobody accepts.
const BACKLOG: u32 = 1024;

/// Rejections kept for whoever asks; the oldest are dropped.
const REJECTED_KEPT: usize = 64;

/// Policy of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// How long one handshake may take, from the connection on.
    pub limit: Duration,
    /// Connections whose peer has not introduced itself yet, at most 65536. One more, and the oldest is dropped: a peer that
    /// means it is through in a round trip.
    pub pending_max: usize,
}

impl Default for ListenerConfig {
    fn default() -> ListenerConfig {
        ListenerConfig { limit: Duration::from_secs(10), pending_max: 64 }
    }
}

/// A connection that did not become a peer.
#[derive(Debug)]
pub struct Rejected {
    /// Whose.
    pub from: SocketAddr,
    /// Why. `None`: it was the oldest of too many.
    pub error: Option<BootstrapError>,
}

/// What a listener heard.
#[derive(Debug)]
pub enum Heard {
    /// A peer that introduced itself and fits.
    Peer(Box<TcpBootstrap>, SocketAddr),
    /// A connection that did not become one.
    Rejected(Rejected),
}

type Introduced = (SocketAddr, Result<TcpBootstrap, BootstrapError>);

/// Where peers dial. No peer keeps another waiting: each is met on a task of its own, and only those that fit are answered
/// by [`accept`](Self::accept). Connections are taken while somebody waits there, and wait in the system's queue otherwise.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    us: Introduction,
    config: ListenerConfig,
    meeting: JoinSet<Introduced>,
    /// The same in the order in which they came; some have ended.
    order: VecDeque<(SocketAddr, AbortHandle)>,
    rejected: VecDeque<Rejected>,
    rejected_total: u64,
}

impl Listener {
    /// Listens. Port 0 lets the system choose. A port whose last owner has just ended can be had.
    ///
    /// # Errors
    /// [`BootstrapError::Bind`]: the port is taken, or the address is not of this machine.
    pub fn bind(
        address: SocketAddr,
        us: Introduction,
        config: ListenerConfig,
    ) -> Result<Listener, BootstrapError> {
        let listener = listen(address).map_err(|source| BootstrapError::Bind { address, source })?;
        let config = ListenerConfig { pending_max: config.pending_max.clamp(1, 1 << 16), ..config };
        Ok(Listener {
            listener,
            us,
            config,
            meeting: JoinSet::new(),
            order: VecDeque::new(),
            rejected: VecDeque::new(),
            rejected_total: 0,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> Result<SocketAddr, BootstrapError> {
        self.listener.local_addr().map_err(|source| BootstrapError::Io { step: Step::Dial, source })
    }

    /// The next peer that introduced itself and fits. May be dropped and called again.
    ///
    /// # Errors
    /// The system has no descriptors or memory for another connection; the listener goes on when called again. Never what a
    /// peer did: see [`take_rejected`](Self::take_rejected).
    pub async fn accept(&mut self) -> Result<(TcpBootstrap, SocketAddr), BootstrapError> {
        loop {
            if let Some(introduced) = self.step().await? {
                return Ok(introduced);
            }
        }
    }

    /// The next peer, as [`accept`](Self::accept), or the next connection that did not become one: for whoever tells of both
    /// as they come. May be dropped and called again.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub async fn hear(&mut self) -> Result<Heard, BootstrapError> {
        loop {
            if let Some(rejected) = self.take_rejected() {
                return Ok(Heard::Rejected(rejected));
            }
            if let Some((bootstrap, from)) = self.step().await? {
                return Ok(Heard::Peer(Box::new(bootstrap), from));
            }
        }
    }

    /// The next connection that did not become a peer, for the log. The last 64 are kept.
    pub fn take_rejected(&mut self) -> Option<Rejected> {
        self.rejected.pop_front()
    }

    /// How many connections did not become peers.
    pub fn rejected_total(&self) -> u64 {
        self.rejected_total
    }

    /// Takes what comes next: a peer that is through, or something that is none.
    async fn step(&mut self) -> Result<Option<(TcpBootstrap, SocketAddr)>, BootstrapError> {
        match self.next().await {
            Next::Met(met) => match *met {
                (from, Ok(bootstrap)) => return Ok(Some((bootstrap, from))),
                (from, Err(error)) => self.reject(from, Some(error)),
            },
            Next::Came(stream, from) => self.meet(stream, from),
            Next::Failed(error) if is_the_peer_s(&error) => {}
            Next::Failed(source) => return Err(BootstrapError::Io { step: Step::Dial, source }),
        }
        Ok(None)
    }

    // Who is through comes first, so that those who wait for us are fewer than those we let in.
    async fn next(&mut self) -> Next {
        let Listener { listener, meeting, .. } = self;
        std::future::poll_fn(|cx| {
            use std::task::Poll::{Pending, Ready};
            while let Ready(Some(ended)) = meeting.poll_join_next(cx) {
                // Those that were dropped for others are told already.
                if let Ok(met) = ended {
                    return Ready(Next::Met(Box::new(met)));
                }
            }
            match listener.poll_accept(cx) {
                Ready(Ok((stream, from))) => Ready(Next::Came(stream, from)),
                Ready(Err(error)) => Ready(Next::Failed(error)),
                Pending => Pending,
            }
        })
        .await
    }

    fn meet(&mut self, stream: TcpStream, from: SocketAddr) {
        self.order.retain(|(_, task)| !task.is_finished());
        while self.order.len() >= self.config.pending_max {
            if let Some((from, oldest)) = self.order.pop_front() {
                oldest.abort();
                self.reject(from, None);
            }
        }
        let (us, limit) = (self.us.clone(), self.config.limit);
        let task = self.meeting.spawn(async move {
            // It may fail on a connection that is gone again, and then only costs time.
            let _ = stream.set_nodelay(true);
            (from, StreamBootstrap::new(stream, Role::Listener, us, limit).await)
        });
        self.order.push_back((from, task));
    }

    fn reject(&mut self, from: SocketAddr, error: Option<BootstrapError>) {
        if self.rejected.len() == REJECTED_KEPT {
            self.rejected.pop_front();
        }
        self.rejected.push_back(Rejected { from, error });
        self.rejected_total += 1;
    }
}

enum Next {
    Met(Box<Introduced>),
    Came(TcpStream, SocketAddr),
    Failed(io::Error),
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Errors of one connection that `accept(2)` passes on, and that say nothing of the next.
fn is_the_peer_s(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | HostUnreachable | NetworkDown | NetworkUnreachable | TimedOut
    )
}
