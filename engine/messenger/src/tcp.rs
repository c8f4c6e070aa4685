//! Lines over TCP, and a loop that turns a messenger among the tasks of a thread.
//!
//! Nothing is authenticated or encrypted: see `wavetank_engine::bootstrap`.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{sleep, timeout};
use wavetank_contract::{Instant, Wake};
use wavetank_engine::{RdmaContext, RdmaOps};

use crate::line::{LineAsk, LineId};
use crate::local::LocalMessenger;

/// Bytes read at a time.
const READ_BYTES: usize = 4096;

/// The longest sleep: should a wake-up be lost, no longer than this.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Turns between two looks at sockets and other tasks, while there is something to do.
const TURNS: u32 = 64;

/// The same in time: with some devices a turn is a system call or more.
const TURNS_NS: u64 = 5_000;

/// Who polls in vain for so long lets whoever else wants this processor have it, in nanoseconds: it may be just the one who is waited
/// for. `sched_yield(2)` costs a fraction of that where nobody does.
pub const ALONE_NS: u64 = 4_000;

/// Looks at what is beside the messenger for each turn of that: it costs less than a device.
const BESIDE_TURNS: u32 = 4;

/// Lines of strangers that wait to be looked at. The system keeps others back.
const ARRIVALS_MAX: usize = 64;

/// Policy of a [`TcpCarrier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpConfig {
    /// How long a peer may take to answer a call.
    pub dial: Duration,
    /// How long to poll without sleeping after something happened. Waking an idle CPU costs about 20 us.
    pub spin_ns: u64,
    /// Lines at a time, theirs and ours.
    pub lines_max: usize,
}

impl Default for TcpConfig {
    fn default() -> TcpConfig {
        TcpConfig { dial: Duration::from_secs(5), spin_ns: 50_000, lines_max: 4096 }
    }
}

/// Carries a messenger's lines over TCP and turns it. Addresses are `HOST:PORT`.
pub struct TcpCarrier<C: RdmaOps + 'static = RdmaContext> {
    messenger: LocalMessenger<C>,
    config: TcpConfig,
    news: Rc<News>,
    lines: BTreeMap<LineId, Carried>,
    listening: Option<(SocketAddr, AbortHandle)>,
    notifier: Option<AsyncFd<OwnedFd>>,
}

/// A line's task, and what it is to send.
struct Carried {
    out: mpsc::UnboundedSender<Vec<u8>>,
    task: AbortHandle,
}

/// What tasks have to tell.
#[derive(Default)]
struct News {
    items: RefCell<VecDeque<Item>>,
    bell: Bell,
}

enum Item {
    Came(TcpStream),
    Up(LineId),
    Heard(LineId, Vec<u8>),
    Down(LineId, String),
}

impl News {
    fn tell(&self, item: Item) {
        self.items.borrow_mut().push_back(item);
        self.bell.ring();
    }
}

/// Something that is turned together with the messenger, by the same loop: rings in shared memory, for example.
pub trait Beside {
    /// Looks for something to do, and does it. Called several times for each turn of the messenger, so that looking in vain has to
    /// be cheap. Answers whether there was anything.
    fn turn(&mut self, now: Instant) -> bool;

    /// The loop is about to sleep until a [`Bell`] rings, or something else happens. Answers whether it may. Whether or not,
    /// [`wake`](Self::wake) comes next.
    fn sleep(&mut self) -> bool;

    /// The loop does not sleep any more.
    fn wake(&mut self);

    /// Whether another task of this thread waits for what the messenger brings: as long as one does, tasks have their turn with each
    /// of the loop's, which costs a look at all descriptors.
    #[inline]
    fn has_tasks(&self) -> bool {
        false
    }
}

/// Nothing.
impl Beside for () {
    #[inline]
    fn turn(&mut self, _: Instant) -> bool {
        false
    }

    #[inline]
    fn sleep(&mut self) -> bool {
        true
    }

    #[inline]
    fn wake(&mut self) {}
}

/// Wakes a loop that sleeps. Clones are the same.
#[derive(Clone, Default)]
pub struct Bell(Rc<Notify>);

impl Bell {
    /// Rings: the loop turns at once, or does not fall asleep.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Waits until it rings, or has rung since somebody waited last.
    pub async fn rung(&self) {
        self.0.notified().await;
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bell")
    }
}

impl<C: RdmaOps + 'static> fmt::Debug for TcpCarrier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpCarrier({} lines, listening on {:?})", self.lines.len(), self.address())
    }
}

impl<C: RdmaOps + 'static> TcpCarrier<C> {
    /// For a messenger. Everything runs on a `LocalSet`.
    ///
    /// # Errors
    /// The device's descriptor cannot be watched.
    pub fn new(messenger: LocalMessenger<C>, config: TcpConfig) -> io::Result<TcpCarrier<C>> {
        let notifier = messenger
            .with(|messenger| {
                messenger.driver().context().notifier().map(|notifier| notifier.try_clone_to_owned())
            })
            .transpose()?;
        #[expect(
            deprecated,
            reason = "an OwnedFd stays the descriptor it is, which is all that its successor asks for"
        )]
        let watch = |notifier| AsyncFd::with_interest(notifier, Interest::READABLE);
        let notifier = notifier.map(watch).transpose()?;
        let news = Rc::new(News::default());
        Ok(TcpCarrier { messenger, config, news, lines: BTreeMap::new(), listening: None, notifier })
    }

    /// The messenger.
    pub fn messenger(&self) -> &LocalMessenger<C> {
        &self.messenger
    }

    /// Lets peers dial. Port 0 lets the system choose. The messenger has to be bound to accept anybody.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let news = Rc::clone(&self.news);
        let task = spawn_local(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => news.tell(Item::Came(stream)),
                    // Of one connection, or no descriptors now: others may come.
                    Err(_) => sleep(Duration::from_millis(10)).await,
                }
                while news.items.borrow().len() > ARRIVALS_MAX {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        });
        if let Some((_, former)) = self.listening.replace((address, task.abort_handle())) {
            former.abort();
        }
        Ok(address)
    }

    /// Where peers dial.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listening.as_ref().map(|(address, _)| *address)
    }

    /// Wakes this carrier's loop from another task.
    pub fn bell(&self) -> Bell {
        self.news.bell.clone()
    }

    /// Turns the messenger and carries its lines until a future is over. `now` is the time, from any beginning on.
    ///
    /// # Errors
    /// The device's descriptor cannot be watched any more.
    pub async fn run<T>(
        &mut self,
        now: impl Fn() -> Instant,
        until: impl Future<Output = T>,
    ) -> io::Result<T> {
        self.run_beside(now, &mut (), until).await
    }

    /// The same, and turns something beside the messenger: what happens there keeps the loop from sleeping as a message does.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_beside<T>(
        &mut self,
        now: impl Fn() -> Instant,
        beside: &mut impl Beside,
        until: impl Future<Output = T>,
    ) -> io::Result<T> {
        let mut until = pin!(until);
        let (mut busy_until, mut last) = (Instant::ZERO, Instant::ZERO);
        let mut turns = 0;
        let mut looked = Instant::ZERO;
        loop {
            let time = now();
            let mut any = self.messenger.spin(time);
            any |= self.carry();
            for _ in 0..BESIDE_TURNS {
                any |= beside.turn(time);
            }
            let over = poll_fn(|context| Poll::Ready(until.as_mut().poll(context))).await;
            if let Poll::Ready(value) = over {
                self.messenger.with(|messenger| messenger.flush(now()));
                self.carry();
                return Ok(value);
            }
            if any {
                (busy_until, last) = (time + self.config.spin_ns, time);
            }
            turns += 1;
            if time < busy_until {
                if time.since_ns(last) >= ALONE_NS {
                    std::thread::yield_now();
                }
                if turns >= TURNS || time.since_ns(looked) >= TURNS_NS || beside.has_tasks() {
                    (turns, looked) = (0, time);
                    tokio::task::yield_now().await;
                }
                continue;
            }
            turns = 0;
            let wake = match self.messenger.turn(now()) {
                Wake::Now => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Wake::At(at) | Wake::Notified { until: at } => at,
                Wake::Idle => Instant::FAR,
            };
            if self.carry() {
                continue;
            }
            let rest = Duration::from_nanos(wake.since_ns(now())).min(SLEEP_MAX);
            let over = match beside.sleep() {
                true => self.rest(wake, rest, until.as_mut()).await,
                false => Ok(None),
            };
            beside.wake();
            if let Some(value) = over? {
                return Ok(value);
            }
        }
    }

    /// Waits until the device, a line or a task has something to say, or the future is over.
    async fn rest<T>(
        &self,
        wake: Instant,
        rest: Duration,
        mut until: Pin<&mut impl Future<Output = T>>,
    ) -> io::Result<Option<T>> {
        let mut slept = pin!(sleep(rest));
        let mut told = pin!(self.news.bell.rung());
        let mut first = true;
        poll_fn(|context| {
            if let Poll::Ready(value) = until.as_mut().poll(context) {
                return Poll::Ready(Ok(Some(value)));
            }
            if let Some(notifier) = &self.notifier {
                // An edge may have been seen before: what counts is the level.
                if is_readable(notifier.get_ref()) {
                    return Poll::Ready(Ok(None));
                }
                match notifier.poll_read_ready(context) {
                    Poll::Ready(Ok(mut ready)) => {
                        ready.clear_ready();
                        // Registered again by the next poll.
                        context.waker().wake_by_ref();
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {}
                }
            }
            let over = slept.as_mut().poll(context).is_ready() | told.as_mut().poll(context).is_ready();
            // The future may have asked for something in here, which no turn has seen.
            let asked = self.messenger.with(|messenger| messenger.has_work())
                || self.messenger.next_alarm() < wake
                || self.messenger.is_woken(context);
            if over || asked || !std::mem::take(&mut first) { Poll::Ready(Ok(None)) } else { Poll::Pending }
        })
        .await
    }

    /// Does what the messenger asks for, and tells it what came. Answers whether there was anything.
    fn carry(&mut self) -> bool {
        let mut any = false;
        loop {
            let ask = self.messenger.with(|messenger| messenger.take_ask());
            if let Some(ask) = ask {
                self.ask(ask);
                any = true;
                continue;
            }
            let item = self.news.items.borrow_mut().pop_front();
            let Some(item) = item else { return any };
            any = true;
            self.hear(item);
        }
    }

    fn ask(&mut self, ask: LineAsk) {
        match ask {
            LineAsk::Dial { line, to } => {
                let (out, sends) = mpsc::unbounded_channel();
                let (news, limit) = (Rc::clone(&self.news), self.config.dial);
                let task = spawn_local(async move {
                    match timeout(limit, TcpStream::connect(&*to)).await {
                        Ok(Ok(stream)) => {
                            news.tell(Item::Up(line));
                            speak(line, stream, sends, news).await;
                        }
                        Ok(Err(error)) => news.tell(Item::Down(line, format!("{to}: {error}"))),
                        Err(_) => {
                            let why = format!("{to}: no answer within {} ms", limit.as_millis());
                            news.tell(Item::Down(line, why));
                        }
                    }
                });
                self.lines.insert(line, Carried { out, task: task.abort_handle() });
            }
            LineAsk::Send { line, bytes } => {
                if let Some(carried) = self.lines.get(&line) {
                    // A task that has ended has told so.
                    let _ = carried.out.send(bytes);
                }
            }
            // Its task sends what is left, and ends when nobody can tell it more.
            LineAsk::Close { line } => drop(self.lines.remove(&line)),
        }
    }

    fn hear(&mut self, item: Item) {
        let now = self.messenger.now();
        match item {
            Item::Came(stream) if self.lines.len() < self.config.lines_max => {
                let line = self.messenger.with(|messenger| messenger.line_came(now));
                let (out, sends) = mpsc::unbounded_channel();
                let task = spawn_local(speak(line, stream, sends, Rc::clone(&self.news)));
                self.lines.insert(line, Carried { out, task: task.abort_handle() });
            }
            // One too many is closed at once.
            Item::Came(_) => {}
            Item::Up(line) => self.messenger.with(|messenger| messenger.line_up(now, line)),
            Item::Heard(line, bytes) => {
                self.messenger.with(|messenger| messenger.line_heard(now, line, &bytes));
            }
            Item::Down(line, why) => {
                self.lines.remove(&line);
                self.messenger.with(|messenger| messenger.line_down(now, line, &why));
            }
        }
    }
}

impl<C: RdmaOps + 'static> Drop for TcpCarrier<C> {
    fn drop(&mut self) {
        if let Some((_, listening)) = &self.listening {
            listening.abort();
        }
        self.lines.values().for_each(|line| line.task.abort());
    }
}

/// Speaks on one stream until either end has had enough.
async fn speak(line: LineId, stream: TcpStream, mut sends: mpsc::UnboundedReceiver<Vec<u8>>, news: Rc<News>) {
    // It may fail on a connection that is gone again, and then only costs time.
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.into_split();
    let heard = Rc::clone(&news);
    let hearing = async move {
        let mut bytes = [0; READ_BYTES];
        loop {
            match reader.read(&mut bytes).await {
                Ok(0) => return "closed by the peer".to_owned(),
                Ok(count) => heard.tell(Item::Heard(line, bytes[..count].to_vec())),
                Err(error) => return error.to_string(),
            }
        }
    };
    let sending = async move {
        while let Some(bytes) = sends.recv().await {
            if let Err(error) = writer.write_all(&bytes).await {
                return Some(error.to_string());
            }
        }
        let _ = writer.shutdown().await;
        None
    };
    let (mut hearing, mut sending) = (pin!(hearing), pin!(sending));
    let mut sent_all = false;
    let why = poll_fn(|context| {
        if !sent_all && let Poll::Ready(ended) = sending.as_mut().poll(context) {
            sent_all = true;
            if let Some(why) = ended {
                return Poll::Ready(Some(why));
            }
            // Closed by us: nobody wants to hear more.
            return Poll::Ready(None);
        }
        hearing.as_mut().poll(context).map(Some)
    })
    .await;
    if let Some(why) = why {
        news.tell(Item::Down(line, why));
    }
}

fn is_readable(notifier: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut watched = [PollFd::new(notifier, PollFlags::IN)];
    matches!(poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
}
