//! A connection to an engine, as what was lent and whoever reads have it in common.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, recv, send};
use wavetank_contract::SharedMemory;
use wavetank_contract::region::REGION_BYTES_MAX;
use wavetank_ipc::native::{
    FEATURES, Frames, FromClient, FromEngine, Hello, MAGIC, VERSION_MAX, VERSION_MIN, Welcome,
};
use wavetank_ipc::ring::{ClientRing, Submission, Task};
use wavetank_ipc::{Found, Wanted};

use crate::error::{ConnectError, ReadError, Refusal};
use crate::options::Options;
use crate::time::Deadline;
use crate::wire::{Heard, dial, hear, wait};

/// Bytes of a ring that is attached, at most.
const RING_BYTES_MAX: u64 = 64 << 20;

/// Bytes heard at a time.
pub(crate) const HEAR_BYTES: usize = 32 << 10;

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) socket: OwnedFd,
    pub(crate) arena: SharedMemory,
    pub(crate) welcome: Welcome,
    ids: AtomicU64,
    /// Bytes that the socket had no room for.
    out: Mutex<Vec<u8>>,
    /// Why it is of no more use.
    lost: Mutex<Option<ReadError>>,
    ring: Mutex<Option<RingLink>>,
    /// Servers that have a number, which is their place and one.
    servers: Mutex<Vec<String>>,
}

/// A ring, and what to wake its engine by.
#[derive(Debug)]
pub(crate) struct RingLink {
    pub(crate) ring: ClientRing,
    bell: Arc<OwnedFd>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whatever a thread was doing when it panicked, each of these is whole between two calls.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is heard of an engine.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    pub(crate) frames: Frames,
    pub(crate) fds: Vec<OwnedFd>,
}

impl Ear {
    /// The next message, if it is here.
    pub(crate) fn take(&mut self) -> Result<Option<(u64, FromEngine)>, ReadError> {
        let nonsense = |text: String| ReadError::Nonsense(text);
        let frame = self.frames.take().map_err(|long| nonsense(format!("a frame of {} bytes", long.len)))?;
        let Some(frame) = frame else { return Ok(None) };
        let message = FromEngine::decode(&frame).map_err(|error| nonsense(error.to_string()))?;
        Ok(Some((frame.id, message)))
    }
}

impl Link {
    /// Connects and says hello.
    pub(crate) fn connect(path: &Path, options: &Options) -> Result<(Arc<Link>, Ear), ConnectError> {
        let deadline = Deadline::after(options.answer);
        let socket = dial(path, deadline)?;
        let hello = FromClient::Hello(Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            features: FEATURES,
            name: options.name.clone(),
        });
        let mut first = MAGIC.to_vec();
        hello.encode(0, &mut first);
        let closed = || ConnectError::Closed { path: path.to_owned() };
        // A fresh socket has room for a hello.
        if send(&socket, &first, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) != Ok(first.len()) {
            return Err(closed());
        }
        let stranger = |why: String| ConnectError::NotAnEngine { path: path.to_owned(), why };
        let mut ear = Ear::default();
        let mut bytes = vec![0; 4096];
        loop {
            match ear.take().map_err(|error| stranger(error.to_string()))? {
                None => {}
                Some((_, FromEngine::Welcome(welcome))) => {
                    let fd = ear.fds.pop().ok_or_else(|| stranger("a welcome without an arena".into()))?;
                    let arena =
                        SharedMemory::attach(fd, REGION_BYTES_MAX).map_err(|e| stranger(e.to_string()))?;
                    if arena.is_writable() {
                        return Err(stranger("an arena that clients may write".into()));
                    }
                    let link = Link::new(socket, arena, *welcome);
                    return Ok((Arc::new(link), ear));
                }
                Some((_, FromEngine::Refused { code, detail, text })) => {
                    return Err(ConnectError::Refused(Refusal { code, detail, text }));
                }
                Some((_, other)) => return Err(stranger(format!("{other:?} instead of a welcome"))),
            }
            match hear(&socket, &mut bytes, &mut ear.fds) {
                Heard::Bytes(count) => ear.frames.heard(&bytes[..count]),
                Heard::Nothing if wait(&socket, PollFlags::IN, deadline) => {}
                Heard::Nothing => return Err(ConnectError::TimedOut { path: path.to_owned() }),
                Heard::End(_) => return Err(closed()),
            }
        }
    }

    fn new(socket: OwnedFd, arena: SharedMemory, welcome: Welcome) -> Link {
        Link {
            socket,
            arena,
            welcome,
            ids: AtomicU64::new(1),
            out: Mutex::default(),
            lost: Mutex::default(),
            ring: Mutex::default(),
            servers: Mutex::default(),
        }
    }

    /// A name for a request or a submission.
    pub(crate) fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Says something. Answers whether all of it is on its way: if not, [`flush`](Self::flush) when the socket has room.
    pub(crate) fn say(&self, id: u64, message: &FromClient) -> Result<bool, ReadError> {
        self.check()?;
        let mut out = lock(&self.out);
        message.encode(id, &mut out);
        self.flush_locked(&mut out)
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&self) -> Result<bool, ReadError> {
        self.flush_locked(&mut lock(&self.out))
    }

    fn flush_locked(&self, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        let mut sent = 0;
        while sent < out.len() {
            match send(&self.socket, &out[sent..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(self.lose(ReadError::Lost(errno.to_string()))),
            }
        }
        out.drain(..sent);
        Ok(out.is_empty())
    }

    /// Whether it is still of use.
    pub(crate) fn check(&self) -> Result<(), ReadError> {
        lock(&self.lost).clone().map_or(Ok(()), Err)
    }

    /// It is of no more use. The first reason stays.
    pub(crate) fn lose(&self, why: ReadError) -> ReadError {
        lock(&self.lost).get_or_insert(why).clone()
    }

    /// Gives bytes back.
    pub(crate) fn release(&self, offset: u64, generation: u64) {
        let task = Task::Release { offset, generation };
        if self.submit(Submission { name: 0, task }) != Some(true) {
            // Where the connection is lost, the engine has taken everything back already.
            let _ = self.say(0, &FromClient::Release { offset, generation });
        }
    }

    /// Takes a ring into use.
    pub(crate) fn take_ring(&self, fds: &mut Vec<OwnedFd>) -> Result<Arc<OwnedFd>, ReadError> {
        let nonsense = |text: String| ReadError::Nonsense(text);
        let (Some(bell), Some(memory)) = (fds.pop(), fds.pop()) else {
            return Err(nonsense("a ring without its descriptors".into()));
        };
        let memory =
            SharedMemory::attach(memory, RING_BYTES_MAX).map_err(|error| nonsense(error.to_string()))?;
        let ring = ClientRing::attach(memory).ok_or_else(|| nonsense("a ring of another version".into()))?;
        let bell = Arc::new(bell);
        *lock(&self.ring) = Some(RingLink { ring, bell: Arc::clone(&bell) });
        Ok(bell)
    }

    /// Calls the ring, if there is one.
    #[inline]
    pub(crate) fn with_ring<T>(&self, call: impl FnOnce(&mut RingLink) -> T) -> Option<T> {
        lock(&self.ring).as_mut().map(call)
    }

    /// Submits something. `None`: there is no ring; `Some(false)`: there is no room.
    #[inline]
    pub(crate) fn submit(&self, submission: Submission) -> Option<bool> {
        self.with_ring(|link| match link.ring.submit(submission) {
            Ok(sleeps) => {
                if sleeps {
                    link.wake_engine();
                }
                true
            }
            Err(_) => false,
        })
    }

    /// The number of a server; `Err` says that it has none so far.
    pub(crate) fn server(&self, server: Option<&str>) -> Result<u16, ()> {
        let Some(server) = server else { return Ok(0) };
        let servers = lock(&self.servers);
        servers.iter().position(|known| known == server).map(|at| at as u16 + 1).ok_or(())
    }

    /// The next number for a server, if there is one left.
    pub(crate) fn next_server(&self) -> Option<u16> {
        let next = lock(&self.servers).len() + 1;
        u16::try_from(next).ok().filter(|index| *index <= wavetank_ipc::native::SERVER_INDEX_MAX)
    }

    /// The engine knows it now by the number that was next.
    pub(crate) fn named(&self, index: u16, server: &str) {
        let mut servers = lock(&self.servers);
        if servers.len() + 1 == usize::from(index) {
            servers.push(server.to_owned());
        }
    }
}

impl RingLink {
    pub(crate) fn wake_engine(&self) {
        // Where there is no room, enough wake-ups are under way.
        let _ = send(&self.bell, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
}

/// Forgets how often the engine rang. `false`: it is gone.
pub(crate) fn silence(bell: &OwnedFd) -> bool {
    let mut bytes = [0u8; 256];
    loop {
        match recv(bell, &mut bytes, rustix::net::RecvFlags::DONTWAIT) {
            Ok((0, _)) => return false,
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return true,
            Err(_) => return false,
        }
    }
}

/// A submission that reads.
pub(crate) fn reading(wanted: &Wanted, server: u16) -> Task {
    Task::Read {
        volume: wanted.volume,
        needle: wanted.needle,
        cookie: wanted.cookie,
        offset: wanted.offset,
        len: wanted.len,
        timeout_ns: wanted.timeout_ns,
        server,
    }
}

/// What a ring's completion, or a reply, is worth.
pub(crate) fn refused(code: wavetank_ipc::Code, detail: u64) -> ReadError {
    ReadError::Refused(Refusal { code, detail, text: "see the code".into() })
}

/// Gives back what nobody waits for.
pub(crate) fn unwanted(link: &Arc<Link>, found: &Found) {
    if found.generation != 0 {
        link.release(found.offset, found.generation);
    }
}
