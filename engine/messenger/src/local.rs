//! The async costume: a messenger shared by the tasks of one thread, with futures for replies, and a dispatcher.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake as Awaken, Waker};

use futures_util::stream::{FuturesUnordered, Stream as _};
use futures_util::task::AtomicWaker;
use wavetank_contract::{Instant, Lease, Wake};
use wavetank_engine::deadline::Deadlines;
use wavetank_engine::memory::MemoryError;
use wavetank_engine::slab::{Key, Slab};
use wavetank_engine::{RdmaContext, RdmaOps, TransferError};

use crate::connection::ConnectionId;
use crate::dispatcher::Dispatcher;
use crate::error::{ConnectRefused, PullError, SendError};
use crate::event::{Cause, Event, NoReply, RequestId};
use crate::message::{Data, Incoming, Message, ReplyTo};
use crate::messenger::{Messenger, Reached};
use crate::policy::Policy;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// A messenger shared by the tasks of one thread. Clones are the same messenger.
///
/// Calls take the time of the last turn; deadlines are given by [`now`](Self::now) plus what is wanted.
pub struct LocalMessenger<C: RdmaOps + 'static = RdmaContext> {
    shared: Rc<Shared<C>>,
}

struct Shared<C: RdmaOps + 'static> {
    messenger: RefCell<Messenger<C>>,
    dispatcher: RefCell<Rc<dyn Dispatcher<C>>>,
    now: Cell<Instant>,
    /// Who awaits replies and releases: the tag of their messages is the key.
    awaited: RefCell<Slab<Awaited>>,
    /// When those who sleep are woken, by their place in `awaited`.
    alarms: RefCell<Deadlines>,
    /// Who awaits connections.
    connecting: RefCell<Vec<(ConnectionId, Key)>>,
    tasks: RefCell<FuturesUnordered<Task>>,
    /// Tasks begun while the others are being polled.
    begun: RefCell<Vec<Task>>,
    woken: Arc<Woken>,
}

/// Somebody who waits, and what for.
#[derive(Debug, Default)]
struct Awaited {
    waker: Option<Waker>,
    end: Option<End>,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a box would be an allocation for every reply")]
enum End {
    Reply(Result<Incoming, Box<NoReply>>),
    Released(Option<Data>, bool),
    Connected(Result<u64, Cause>),
    Slept,
    Pulled(Result<Lease, Box<TransferError>>),
}

/// Some task has something to do.
#[derive(Debug, Default)]
struct Woken {
    flag: AtomicBool,
    /// Whoever turns the messenger and sleeps: a task may be woken by another thread, from a disk for example.
    sleeper: AtomicWaker,
}

impl Awaken for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.flag.store(true, Ordering::Release);
        self.sleeper.wake();
    }
}

impl<C: RdmaOps + 'static> Clone for LocalMessenger<C> {
    fn clone(&self) -> LocalMessenger<C> {
        LocalMessenger { shared: Rc::clone(&self.shared) }
    }
}

impl<C: RdmaOps + 'static> fmt::Debug for LocalMessenger<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shared.messenger.try_borrow() {
            Ok(messenger) => messenger.fmt(f),
            Err(_) => f.write_str("LocalMessenger(busy)"),
        }
    }
}

impl<C: RdmaOps + 'static> LocalMessenger<C> {
    /// Shares a messenger, and tells this dispatcher of what comes.
    pub fn new(messenger: Messenger<C>, dispatcher: impl Dispatcher<C>) -> LocalMessenger<C> {
        let dispatcher: Rc<dyn Dispatcher<C>> = Rc::new(dispatcher);
        LocalMessenger {
            shared: Rc::new(Shared {
                messenger: RefCell::new(messenger),
                dispatcher: RefCell::new(dispatcher),
                now: Cell::new(Instant::ZERO),
                awaited: RefCell::default(),
                alarms: RefCell::new(Deadlines::new()),
                connecting: RefCell::default(),
                tasks: RefCell::default(),
                begun: RefCell::default(),
                woken: Arc::new(Woken::default()),
            }),
        }
    }

    /// The time of the last turn.
    pub fn now(&self) -> Instant {
        self.shared.now.get()
    }

    /// Calls the messenger directly. Calling it again from inside panics, as a `RefCell` does.
    pub fn with<R>(&self, call: impl FnOnce(&mut Messenger<C>) -> R) -> R {
        call(&mut self.shared.messenger.borrow_mut())
    }

    /// The same for what has to be done by a turn: whoever turns the messenger and sleeps is woken.
    fn ask<R>(&self, call: impl FnOnce(&mut Messenger<C>) -> R) -> R {
        let answer = self.with(call);
        self.shared.woken.sleeper.wake();
        answer
    }

    /// Accepts peers from now on, with this policy.
    pub fn bind(&self, policy: Option<Policy>) {
        self.with(|messenger| messenger.bind(policy));
    }

    /// Connects to a peer, and answers a future of who it is. The connection is there at once, and messages may be lined up.
    ///
    /// # Errors
    /// As [`Messenger::connect`].
    pub fn connect(
        &self,
        address: &str,
        peer: Option<u64>,
        policy: Policy,
    ) -> Result<(ConnectionId, Connecting<C>), ConnectRefused> {
        let connection = self.ask(|messenger| messenger.connect(self.now(), address, peer, policy))?;
        let key = self.await_something();
        let there = self.with(|m| m.is_established(connection).then(|| m.peer(connection)).flatten());
        match (there, self.shared.awaited.borrow_mut().get_mut(key)) {
            (Some(peer), Some(awaited)) => awaited.end = Some(End::Connected(Ok(peer))),
            _ => self.shared.connecting.borrow_mut().push((connection, key)),
        }
        Ok((connection, Connecting { wait: Wait { messenger: self.clone(), key } }))
    }

    /// Sends a message that nobody waits for. Its tag is the caller's.
    ///
    /// # Errors
    /// As [`Messenger::send`].
    pub fn send(&self, to: ConnectionId, message: Message<'_>) -> Result<(), SendError> {
        self.ask(|messenger| messenger.send(self.now(), to, message))
    }

    /// Sends a message and answers a future of its release. Its tag is used by the future.
    ///
    /// # Errors
    /// As [`Messenger::send_held`].
    pub fn send_held(&self, to: ConnectionId, message: Message<'_>) -> Result<Releasing<C>, SendError> {
        let wait = self.wait();
        let message = message.tagged(wait.key.to_u64());
        self.ask(|messenger| messenger.send_held(self.now(), to, message))?;
        Ok(Releasing { wait })
    }

    /// Sends a request and answers a future of its reply. Its tag is used by the future; dropping that cancels the request.
    ///
    /// # Errors
    /// As [`Messenger::request`].
    pub fn request(
        &self,
        to: ConnectionId,
        message: Message<'_>,
        sink: Option<Lease>,
    ) -> Result<Requesting<C>, SendError> {
        let wait = self.wait();
        let message = message.tagged(wait.key.to_u64());
        let request = self.ask(|messenger| messenger.request(self.now(), to, message, sink))?;
        Ok(Requesting { wait, request: Some(request) })
    }

    /// Answers a request.
    ///
    /// # Errors
    /// As [`Messenger::reply`].
    pub fn reply(&self, to: ReplyTo, message: Message<'_>) -> Result<(), SendError> {
        self.ask(|messenger| messenger.reply(self.now(), to, message))
    }

    /// As [`Messenger::lease`].
    ///
    /// # Errors
    /// No memory.
    pub fn lease(&self, len_bytes: u64) -> Result<Lease, MemoryError> {
        self.with(|messenger| messenger.lease(len_bytes))
    }

    /// As [`Messenger::expose`].
    ///
    /// # Errors
    /// No memory.
    pub fn expose(&self, connection: ConnectionId, len_bytes: u64) -> Result<Option<Lease>, MemoryError> {
        self.with(|messenger| messenger.expose(connection, len_bytes))
    }

    /// READs a peer's memory and answers a future of its end.
    ///
    /// # Errors
    /// As [`Messenger::pull`].
    pub fn pull(
        &self,
        from: &Reached,
        offset: u64,
        lease: Lease,
        len_bytes: u64,
        deadline: Instant,
    ) -> Result<Pulling<C>, PullError> {
        let wait = self.wait();
        let tag = wait.key.to_u64();
        self.ask(|messenger| messenger.pull(self.now(), from, offset, lease, len_bytes, deadline, tag))?;
        Ok(Pulling { wait })
    }

    /// Closes a connection.
    pub fn close(&self, connection: ConnectionId, text: &str) -> bool {
        self.ask(|messenger| messenger.close(self.now(), connection, text))
    }

    /// Runs a task among the dispatcher's.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.begin(Box::pin(task));
    }

    /// Drops every task, wherever it waits. A task that has a clone of the messenger keeps it, and the messenger keeps the task:
    /// whoever ends a messenger that has such tasks ends these first. From inside of a task it does nothing.
    pub fn drop_tasks(&self) {
        let tasks = self.shared.tasks.try_borrow_mut().map(|mut tasks| std::mem::take(&mut *tasks));
        if let Ok(tasks) = tasks {
            let begun = std::mem::take(&mut *self.shared.begun.borrow_mut());
            // What they hold may come back in here.
            drop((tasks, begun));
        }
    }

    /// Turns the messenger, tells of what came, and lets tasks go on. Says when to be turned again.
    pub fn turn(&self, now: Instant) -> Wake {
        self.shared.now.set(now);
        let wake = self.with(|messenger| messenger.turn(now));
        let any = self.ring(now) | self.tell();
        if self.run_tasks() || any { Wake::Now } else { sooner(wake, self.next_alarm()) }
    }

    /// The same for whoever comes back at once. Answers whether anything happened.
    #[inline]
    pub fn spin(&self, now: Instant) -> bool {
        self.shared.now.set(now);
        let worked = self.with(|messenger| messenger.spin(now));
        let told = self.ring(now) | self.tell();
        let ran = self.run_tasks();
        if told || ran {
            self.with(|messenger| messenger.flush(now));
        }
        worked || told || ran
    }

    /// A future that is over with the first turn at this time or later.
    pub fn sleep_until(&self, at: Instant) -> Sleeping<C> {
        let key = self.await_something();
        if at < Instant::FAR {
            self.shared.alarms.borrow_mut().set(key.index, at);
            self.shared.woken.sleeper.wake();
        }
        Sleeping { wait: Wait { messenger: self.clone(), key } }
    }

    /// When the next sleeper is to be woken: a turn is due then.
    pub fn next_alarm(&self) -> Instant {
        self.shared.alarms.borrow().first().map_or(Instant::FAR, |(at, _)| at)
    }

    /// Whether a task has something to do, so that a turn is due now. If not, whoever asks is woken when one has, from
    /// whatever thread.
    pub fn is_woken(&self, context: &Context<'_>) -> bool {
        self.shared.woken.sleeper.register(context.waker());
        self.shared.woken.flag.load(Ordering::Acquire)
    }

    /// Wakes those who have slept long enough. Answers whether there were any.
    #[inline]
    fn ring(&self, now: Instant) -> bool {
        let mut any = false;
        loop {
            let due = self.shared.alarms.borrow_mut().pop_due(now);
            let Some(place) = due else { return any };
            any = true;
            let key = self.shared.awaited.borrow().key_at(place);
            if let Some(key) = key {
                self.end(key, End::Slept);
            }
        }
    }

    /// Hands events on. Answers whether there were any.
    fn tell(&self) -> bool {
        let mut any = false;
        loop {
            let event = self.shared.messenger.borrow_mut().take_event();
            let Some(event) = event else { return any };
            any = true;
            let dispatcher = Rc::clone(&self.shared.dispatcher.borrow());
            match event {
                Event::Delivered(message) => {
                    if let Some(message) = dispatcher.fast(self, message) {
                        let messenger = self.clone();
                        self.begin(Box::pin(async move { dispatcher.deliver(messenger, message).await }));
                    }
                }
                Event::Replied { tag, reply, .. } => self.end(Key::from_u64(tag), End::Reply(reply)),
                Event::Released { tag, data, delivered, .. } => {
                    self.end(Key::from_u64(tag), End::Released(data, delivered));
                }
                Event::Pulled { tag, result, .. } => self.end(Key::from_u64(tag), End::Pulled(result)),
                Event::Accepted { connection, peer } => dispatcher.accepted(self, connection, peer),
                Event::Established { connection, peer, resumed } => {
                    dispatcher.established(self, connection, peer, resumed);
                    self.connected(connection, || Ok(peer));
                }
                Event::Reconnecting { connection, cause } => {
                    dispatcher.reconnecting(self, connection, &cause);
                }
                Event::Reset { connection, cause } => {
                    dispatcher.reset(self, connection, &cause);
                    self.connected(connection, || Err(cause));
                }
                Event::Refused { connection, cause } => {
                    dispatcher.refused(self, connection, &cause);
                    self.connected(connection, || Err(cause));
                }
                Event::RemoteReset { connection } => dispatcher.remote_reset(self, connection),
                Event::Rejected { cause } => dispatcher.rejected(self, &cause),
                Event::Dropped { connection, why, .. } => dispatcher.dropped(self, connection, why),
            }
        }
    }

    fn connected(&self, connection: ConnectionId, end: impl FnOnce() -> Result<u64, Cause>) {
        let mut connecting = self.shared.connecting.borrow_mut();
        if let Some(at) = connecting.iter().position(|(waiting, _)| *waiting == connection) {
            let (_, key) = connecting.swap_remove(at);
            drop(connecting);
            self.end(key, End::Connected(end()));
        }
    }

    fn end(&self, key: Key, end: End) {
        // Nobody may be waiting any more; what has come is dropped outside of every borrow.
        let mut unwanted = Some(end);
        let waker = self.shared.awaited.borrow_mut().get_mut(key).and_then(|awaited| {
            awaited.end = unwanted.take();
            awaited.waker.take()
        });
        drop(unwanted);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn begin(&self, task: Task) {
        match self.shared.tasks.try_borrow_mut() {
            Ok(tasks) => tasks.push(task),
            Err(_) => self.shared.begun.borrow_mut().push(task),
        }
        self.shared.woken.flag.store(true, Ordering::Release);
    }

    /// Polls tasks that have something to do. Answers whether there were any.
    fn run_tasks(&self) -> bool {
        if !self.shared.woken.flag.swap(false, Ordering::AcqRel) {
            return false;
        }
        let Ok(mut tasks) = self.shared.tasks.try_borrow_mut() else { return false };
        let waker = Waker::from(Arc::clone(&self.shared.woken));
        let mut context = Context::from_waker(&waker);
        while let Poll::Ready(Some(())) = Pin::new(&mut *tasks).poll_next(&mut context) {}
        for task in self.shared.begun.borrow_mut().drain(..) {
            tasks.push(task);
        }
        true
    }

    fn await_something(&self) -> Key {
        let key = self.shared.awaited.borrow_mut().insert(Awaited::default());
        let Some(key) = key else { unreachable!("2^32 - 1 futures do not fit into memory") };
        key
    }

    fn wait(&self) -> Wait<C> {
        Wait { messenger: self.clone(), key: self.await_something() }
    }
}

/// Somebody who waits. Dropped, nobody does.
struct Wait<C: RdmaOps + 'static> {
    messenger: LocalMessenger<C>,
    key: Key,
}

impl<C: RdmaOps + 'static> Wait<C> {
    fn poll(&self, context: &Context<'_>) -> Poll<End> {
        let mut all = self.messenger.shared.awaited.borrow_mut();
        let Some(awaited) = all.get_mut(self.key) else { return Poll::Pending };
        let Some(end) = awaited.end.take() else {
            let former = match &awaited.waker {
                Some(waker) if waker.will_wake(context.waker()) => None,
                _ => awaited.waker.replace(context.waker().clone()),
            };
            drop(all);
            // Dropping a waker may drop a task, which may come back in here.
            drop(former);
            return Poll::Pending;
        };
        Poll::Ready(end)
    }
}

impl<C: RdmaOps + 'static> Drop for Wait<C> {
    fn drop(&mut self) {
        let awaited = self.messenger.shared.awaited.borrow_mut().remove(self.key);
        drop(awaited);
    }
}

macro_rules! future {
    ($(#[$doc:meta])* $name:ident => $output:ty, $end:pat => $value:expr) => {
        impl<C: RdmaOps + 'static> Future for $name<C> {
            type Output = $output;

            fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<$output> {
                match self.wait.poll(context) {
                    Poll::Ready($end) => {
                        self.is_over();
                        Poll::Ready($value)
                    }
                    // Each future waits for one sort of end, under a name of its own.
                    _ => Poll::Pending,
                }
            }
        }

        impl<C: RdmaOps + 'static> fmt::Debug for $name<C> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.wait.key)
            }
        }
    };
}

/// A request under way. Dropping it cancels the request.
pub struct Requesting<C: RdmaOps + 'static = RdmaContext> {
    wait: Wait<C>,
    request: Option<RequestId>,
}

impl<C: RdmaOps + 'static> Requesting<C> {
    fn is_over(&mut self) {
        self.request = None;
    }
}

future!(Requesting => Result<Incoming, Box<NoReply>>, End::Reply(reply) => reply);

impl<C: RdmaOps + 'static> Drop for Requesting<C> {
    fn drop(&mut self) {
        // Where somebody is inside the messenger, the request ends by itself and nobody hears of it.
        if let Some(request) = self.request.take()
            && let Ok(mut messenger) = self.wait.messenger.shared.messenger.try_borrow_mut()
        {
            messenger.cancel(request);
        }
    }
}

/// A held message under way: its data, back, and whether the receiver had it.
pub struct Releasing<C: RdmaOps + 'static = RdmaContext> {
    wait: Wait<C>,
}

impl<C: RdmaOps + 'static> Releasing<C> {
    #[allow(clippy::unused_self, clippy::needless_pass_by_ref_mut)] // as its siblings
    fn is_over(&mut self) {}
}

future!(Releasing => (Option<Data>, bool), End::Released(data, delivered) => (data, delivered));

/// A connection being made: the peer's name, once it is.
pub struct Connecting<C: RdmaOps + 'static = RdmaContext> {
    wait: Wait<C>,
}

impl<C: RdmaOps + 'static> Connecting<C> {
    #[allow(clippy::unused_self, clippy::needless_pass_by_ref_mut)] // as its siblings
    fn is_over(&mut self) {}
}

future!(Connecting => Result<u64, Cause>, End::Connected(end) => end);

/// A READ under way. Dropped, nobody waits for its end, and its memory goes back by itself.
pub struct Pulling<C: RdmaOps + 'static = RdmaContext> {
    wait: Wait<C>,
}

impl<C: RdmaOps + 'static> Pulling<C> {
    #[allow(clippy::unused_self, clippy::needless_pass_by_ref_mut)] // as its siblings
    fn is_over(&mut self) {}
}

future!(Pulling => Result<Lease, Box<TransferError>>, End::Pulled(end) => end);

/// Somebody who sleeps until some time.
pub struct Sleeping<C: RdmaOps + 'static = RdmaContext> {
    wait: Wait<C>,
}

impl<C: RdmaOps + 'static> Sleeping<C> {
    #[allow(clippy::unused_self, clippy::needless_pass_by_ref_mut)] // as its siblings
    fn is_over(&mut self) {}
}

future!(Sleeping => (), End::Slept => ());

impl<C: RdmaOps + 'static> Drop for Sleeping<C> {
    fn drop(&mut self) {
        // Its place goes to somebody else, who may not want to be woken.
        let there = self.wait.messenger.shared.awaited.borrow().get(self.wait.key).is_some();
        if there {
            self.wait.messenger.shared.alarms.borrow_mut().remove(self.wait.key.index);
        }
    }
}

/// The sooner of when a messenger wants to be turned, and a time.
fn sooner(wake: Wake, alarm: Instant) -> Wake {
    match wake {
        Wake::Now => Wake::Now,
        Wake::At(at) => Wake::At(at.min(alarm)),
        Wake::Notified { until } => Wake::Notified { until: until.min(alarm) },
        Wake::Idle if alarm < Instant::FAR => Wake::At(alarm),
        Wake::Idle => Wake::Idle,
    }
}
