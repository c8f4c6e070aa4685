//! One client: its socket, its reads, its end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future as _, poll_fn};
use std::io::{ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};
use tokio::io::{AsyncRead as _, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Sleep, sleep};
use wavetank_contract::Instant;

use super::Shared;
use super::rings::RingBell;
use crate::ipc::conversation::{Ask, Conversation, ReadKey};
use crate::ipc::outbox::Passed;
use crate::reads::{Found, NotRead, Reads};

/// Bytes read at a time.
const READ_BYTES: usize = 32 << 10;

/// A client's side of the shell.
pub(super) struct Client {
    pub(super) number: u64,
    writer: OwnedWriteHalf,
    /// `None`: it is over.
    conversation: RefCell<Option<Conversation>>,
    /// Reads that have a task.
    reads: RefCell<BTreeMap<ReadKey, AbortHandle>>,
    /// Rouses the task that serves it.
    rouse: Notify,
    task: RefCell<Option<AbortHandle>>,
    pub(super) ring_bell: RefCell<Option<RingBell>>,
    /// Bytes wait for room in the socket.
    blocked: Cell<bool>,
}

impl Client {
    pub(super) fn new(
        number: u64,
        stream: UnixStream,
        conversation: Conversation,
    ) -> (OwnedReadHalf, Client) {
        let (reader, writer) = stream.into_split();
        let client = Client {
            number,
            writer,
            conversation: RefCell::new(Some(conversation)),
            reads: RefCell::default(),
            rouse: Notify::new(),
            task: RefCell::default(),
            ring_bell: RefCell::default(),
            blocked: Cell::new(false),
        };
        (reader, client)
    }

    pub(super) fn serving(&self, task: AbortHandle) {
        // Its task cannot have run yet: both are on this thread.
        *self.task.borrow_mut() = Some(task);
    }

    /// Calls its conversation, if there still is one.
    #[inline]
    pub(super) fn with<T>(&self, call: impl FnOnce(&mut Conversation) -> T) -> Option<T> {
        self.conversation.borrow_mut().as_mut().map(call)
    }

    /// The same for a question, whose answer is no where there is none.
    #[inline]
    pub(super) fn is(&self, ask: impl FnOnce(&mut Conversation) -> bool) -> bool {
        self.with(ask).unwrap_or(false)
    }

    pub(super) fn end(&self) {
        for (_, read) in std::mem::take(&mut *self.reads.borrow_mut()) {
            read.abort();
        }
        let conversation = self.conversation.borrow_mut().take();
        drop(conversation);
        *self.ring_bell.borrow_mut() = None;
        if let Some(task) = self.task.borrow_mut().take() {
            task.abort();
        }
    }

    /// Sends what waits, as far as there is room.
    fn send(&self, now: Instant, arena: BorrowedFd<'_>) {
        self.with(|conversation| {
            self.blocked.set(false);
            while let Some((passed, bytes)) = conversation.to_send() {
                match self.send_part(passed, bytes, arena) {
                    Ok(count) => conversation.sent(now, count),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return self.blocked.set(true),
                    Err(_) => return conversation.left(),
                }
            }
        });
    }

    fn send_part(&self, passed: Option<Passed>, bytes: &[u8], arena: BorrowedFd<'_>) -> Result<usize, Errno> {
        let stream: &UnixStream = self.writer.as_ref();
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let Some(passed) = passed else { return send(stream, bytes, flags) };
        let mut bell = self.ring_bell.borrow_mut();
        let ring = bell.as_ref().and_then(|bell| Some([bell.memory.fd(), bell.theirs.as_ref()?.as_fd()]));
        let fds: &[BorrowedFd<'_>] = match (passed, &ring) {
            (Passed::Arena, _) => &[arena],
            (Passed::Ring, Some(ring)) => ring,
            (Passed::Ring, None) => return Err(Errno::BADF),
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(fds));
        let sent = sendmsg(stream, &[IoSlice::new(bytes)], &mut control, flags)?;
        if passed == Passed::Ring
            && let Some(bell) = bell.as_mut()
        {
            // The client has it; ours would keep the pair open after the client's end.
            bell.theirs = None;
        }
        Ok(sent)
    }
}

impl<R: Reads> Shared<R> {
    /// Does what a conversation asks for, and sends what it has to say.
    pub(super) fn drive(self: &Rc<Self>, client: &Rc<Client>) {
        while let Some(ask) = client.with(Conversation::take_ask).flatten() {
            self.ask(client, ask);
        }
        if client.is(|conversation| conversation.to_send().is_some()) {
            client.send(self.now(), self.reads.arena().fd());
            // What was sent made room, and may have let the next request be looked at.
            while let Some(ask) = client.with(Conversation::take_ask).flatten() {
                self.ask(client, ask);
            }
        }
        self.ring_client(client);
        if client.blocked.get() || client.is(|conversation| conversation.is_over().is_some()) {
            client.rouse.notify_one();
        }
    }

    fn ask(self: &Rc<Self>, client: &Rc<Client>, ask: Ask) {
        match ask {
            Ask::Read { key, wanted } => {
                let reads = Rc::clone(&self.reads);
                let mut reading = Box::pin(async move { reads.read(wanted).await });
                match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(answer) => {
                        client.with(|conversation| conversation.answered(self.now(), key, answer));
                    }
                    Poll::Pending => {
                        let (shared, asker) = (Rc::clone(self), Rc::clone(client));
                        let counted = Counted::new(&self.tasks);
                        let task = spawn_local(async move {
                            let _counted = counted;
                            let answer = reading.await;
                            shared.answered(&asker, key, answer);
                        });
                        client.reads.borrow_mut().insert(key, task.abort_handle());
                        // Its task has to know of another deadline.
                        client.rouse.notify_one();
                    }
                }
            }
            Ask::Cancel { key } => {
                if let Some(task) = client.reads.borrow_mut().remove(&key) {
                    task.abort();
                }
            }
            Ask::Ring { entries } => self.give_ring(client, entries),
        }
    }

    fn answered(self: &Rc<Self>, client: &Rc<Client>, key: ReadKey, answer: Result<Found, NotRead>) {
        client.reads.borrow_mut().remove(&key);
        client.with(|conversation| conversation.answered(self.now(), key, answer));
        self.drive(client);
        // It may want bytes again.
        client.rouse.notify_one();
    }

    /// Serves a client until it is over.
    pub(super) async fn serve(self: Rc<Self>, client: Rc<Client>, mut reader: OwnedReadHalf) {
        let mut buffer = vec![0; READ_BYTES];
        let mut alarm = Alarm::default();
        loop {
            let looked = client.with(|conversation| {
                (conversation.is_over().is_some(), conversation.wants_bytes(), conversation.wake())
            });
            let Some((false, wants, wake)) = looked else { break };
            alarm.set(wake, self.now());
            let mut roused = pin!(client.rouse.notified());
            let event = poll_fn(|context| {
                if wants {
                    let mut bytes = ReadBuf::new(&mut buffer);
                    if let Poll::Ready(read) = Pin::new(&mut reader).poll_read(context, &mut bytes) {
                        return Poll::Ready(Event::Read(read.map_or(0, |()| bytes.filled().len())));
                    }
                }
                if client.blocked.get() && is_writable(client.writer.as_ref(), context) {
                    return Poll::Ready(Event::Writable);
                }
                if alarm.poll(context) {
                    return Poll::Ready(Event::Alarm);
                }
                roused.as_mut().poll(context).map(|()| Event::Roused)
            })
            .await;
            let now = self.now();
            client.with(|conversation| match event {
                Event::Read(0) => conversation.left(),
                Event::Read(count) => conversation.heard(now, &buffer[..count]),
                Event::Alarm => conversation.tick(now),
                Event::Writable | Event::Roused => {}
            });
            // Who was roused for want of room tries again when there is some.
            if !(matches!(event, Event::Roused) && client.blocked.get()) {
                self.drive(&client);
            }
        }
        // Not to be aborted by its own end.
        client.task.borrow_mut().take();
        self.end(&client);
    }
}

/// Whether there may be room in the socket. What tokio believes is compared with what is: we send past it.
fn is_writable(stream: &UnixStream, context: &mut Context<'_>) -> bool {
    while let Poll::Ready(ready) = stream.poll_write_ready(context) {
        let room = stream.try_io(Interest::WRITABLE, || {
            let mut watched = [PollFd::new(stream, PollFlags::OUT)];
            match poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
                Ok(0) => Err(ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        });
        if ready.is_err() || room.is_ok() {
            return true;
        }
    }
    false
}

#[derive(Clone, Copy)]
enum Event {
    Read(usize),
    Writable,
    Alarm,
    Roused,
}

/// A timer that is touched only when it has to ring sooner than before.
#[derive(Default)]
struct Alarm {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    fn set(&mut self, wake: Instant, now: Instant) {
        if wake == Instant::FAR || self.at.is_some_and(|at| at <= wake) {
            return;
        }
        let rest = Duration::from_nanos(wake.since_ns(now));
        self.at = Some(wake);
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(tokio::time::Instant::now() + rest),
            None => self.timer = Some(Box::pin(sleep(rest))),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        let Some(timer) = self.timer.as_mut().filter(|_| self.at.is_some()) else { return false };
        let rings = timer.as_mut().poll(context).is_ready();
        if rings {
            self.at = None;
        }
        rings
    }
}

/// A task that reads, counted until it ends or is aborted.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(tasks: &Rc<Cell<usize>>) -> Counted {
        tasks.set(tasks.get() + 1);
        Counted(Rc::clone(tasks))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
