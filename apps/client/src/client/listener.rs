//! The task that hears the engine.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Socket;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use wavetank_ipc::native::FromEngine;
use wavetank_ipc::ring;

use super::waiting::{Reply, Waiting};
use crate::error::{ReadError, Refusal};
use crate::lent::Lent;
use crate::link::{Ear, HEAR_BYTES, Link, refused, silence};
use crate::wire::{Heard, hear};

pub(super) struct Listener {
    link: Arc<Link>,
    ear: Ear,
    waiting: Arc<Waiting>,
    blocked: Arc<Notify>,
    /// The link's own socket, as tokio watches it.
    socket: UnixStream,
    bell: Option<(UnixStream, Arc<OwnedFd>)>,
    bytes: Vec<u8>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Its runtime is gone, or its client: nobody will hear anything.
        let why = self.link.lose(ReadError::Lost("nobody listens to the engine any more".into()));
        self.waiting.lose(&why);
    }
}

fn watch(fd: &OwnedFd) -> io::Result<UnixStream> {
    UnixStream::from_std(Socket::from(fd.try_clone()?))
}

impl Listener {
    pub(super) fn new(
        link: Arc<Link>,
        ear: Ear,
        waiting: Arc<Waiting>,
        blocked: Arc<Notify>,
    ) -> io::Result<Listener> {
        let socket = watch(&link.socket)?;
        Ok(Listener { link, ear, waiting, blocked, socket, bell: None, bytes: vec![0; HEAR_BYTES] })
    }

    /// Hears until there is nobody to hear.
    pub(super) async fn run(mut self) {
        let blocked = Arc::clone(&self.blocked);
        let mut has_unsent = false;
        loop {
            let mut notified = pin!(blocked.notified());
            let heard = poll_fn(|context| {
                // Once it is ready, nobody polls it again before the next turn.
                if !has_unsent && notified.as_mut().poll(context).is_ready() {
                    has_unsent = true;
                }
                if has_unsent && self.socket.poll_write_ready(context).is_ready() {
                    let link = &self.link;
                    let sent = self.socket.try_io(Interest::WRITABLE, || match link.flush() {
                        Ok(true) => Ok(Ok(())),
                        Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
                        Err(error) => Ok(Err(error)),
                    });
                    match sent {
                        Ok(Ok(())) => has_unsent = false,
                        Ok(Err(error)) => return Poll::Ready(Err(error)),
                        // Asks once more, so that the waker is registered.
                        Err(_) => context.waker().wake_by_ref(),
                    }
                }
                if let Err(error) = self.poll_bell(context) {
                    return Poll::Ready(Err(error));
                }
                self.poll_socket(context)
            })
            .await;
            if let Err(error) = heard {
                let why = self.link.lose(error);
                return self.waiting.lose(&why);
            }
        }
    }

    fn poll_bell(&self, context: &mut Context<'_>) -> Result<(), ReadError> {
        let Some((watched, bell)) = &self.bell else { return Ok(()) };
        while watched.poll_read_ready(context).is_ready() {
            let silenced = watched.try_io(Interest::READABLE, || {
                if silence(bell) { Err::<(), _>(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            take_completions(&self.link, &self.waiting);
            if silenced.is_ok() {
                return Err(ReadError::Lost("the engine closed its ring".into()));
            }
        }
        // Something may have come between the last look and the last sound.
        take_completions(&self.link, &self.waiting);
        Ok(())
    }

    fn poll_socket(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        while self.socket.poll_read_ready(context).is_ready() {
            let (link, bytes, fds) = (&self.link, &mut self.bytes, &mut self.ear.fds);
            let heard = self.socket.try_io(Interest::READABLE, || match hear(&link.socket, bytes, fds) {
                Heard::Nothing => Err(io::ErrorKind::WouldBlock.into()),
                other => Ok(other),
            });
            match heard {
                Ok(Heard::Bytes(count)) => {
                    self.ear.frames.heard(&self.bytes[..count]);
                    if let Err(error) = self.take_messages() {
                        return Poll::Ready(Err(error));
                    }
                    return Poll::Ready(Ok(()));
                }
                Ok(Heard::End(why)) => return Poll::Ready(Err(ReadError::Lost(why))),
                Ok(Heard::Nothing) | Err(_) => {}
            }
        }
        Poll::Pending
    }

    fn take_messages(&mut self) -> Result<(), ReadError> {
        while let Some((id, message)) = self.ear.take()? {
            let answer = match message {
                FromEngine::Found(found) => Lent::new(&self.link, *found).map(Reply::Lent),
                FromEngine::Refused { code, detail, text } => {
                    let refusal = Refusal { code, detail, text };
                    if id == 0 {
                        return Err(ReadError::Lost(refusal.to_string()));
                    }
                    Err(refusal.into())
                }
                FromEngine::Ring(ring) => {
                    let bell = self.link.take_ring(&mut self.ear.fds)?;
                    let watched = watch(&bell).map_err(|error| ReadError::Lost(error.to_string()))?;
                    self.bell = Some((watched, bell));
                    // Whenever nobody spins, the engine is to ring.
                    self.link.with_ring(|link| link.ring.sleep());
                    Ok(Reply::Other(FromEngine::Ring(ring)))
                }
                other => Ok(Reply::Other(other)),
            };
            self.waiting.tell(id, answer);
        }
        Ok(())
    }
}

/// Takes what is in the ring, for everybody.
#[inline]
pub(super) fn take_completions(link: &Arc<Link>, waiting: &Waiting) {
    while let Some(completion) = link.with_ring(|link| link.ring.take()).flatten() {
        let Some(completion) = completion else {
            let why = link.lose(ReadError::Nonsense("a completion that is none".into()));
            return waiting.lose(&why);
        };
        let answer = match completion.answer {
            ring::Answer::Pong => Ok(Reply::Pong),
            ring::Answer::Found(found) => Lent::new(link, *found).map(Reply::Lent),
            ring::Answer::Refused { code, detail } => Err(refused(code, detail)),
        };
        waiting.tell(completion.name, answer);
        link.with_ring(|link| {
            if link.ring.engine_waits() {
                link.wake_engine();
            }
        });
    }
}
