//! The lock around a device, and the thread that stands in for whoever does not poll.
//!
//! A worker of UCX moves only while somebody calls it. Whoever polls does it on the way, without a hop between threads; a millisecond
//! after the last poll the progress thread takes over, so that peers are served, and deaths noticed, whatever the user's thread does.
//! It polls for a configured time, then arms UCX's descriptor and sleeps on it. Users sleep on that descriptor too, so that what comes
//! wakes them at once; the thread then waits a millisecond for them to look after it themselves.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use wavetank_contract::error::SystemError;

use crate::state::{State, TICK_NS};
use crate::sys::{SharedWords, Worker};
use crate::watch::{epoll_instance, event_counter, now_ns, sleep, watch_fd};

/// After this long without a poll nobody polls.
const ATTENTION_NS: u64 = 1_000_000;

/// What is behind the lock. The worker goes first: it may still speak of what the state holds, and nothing in a state that was shut
/// down is the worker's.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) worker: Worker,
    pub(crate) state: State,
}

impl Core {
    /// Both halves.
    #[inline]
    pub(crate) fn halves(&mut self) -> (&mut State, &Worker) {
        (&mut self.state, &self.worker)
    }
}

/// A device, as its handles and its thread share it.
#[derive(Debug)]
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// Counts polls.
    beat: AtomicU64,
    /// The thread sleeps, or will before it takes the lock again. Changed under the lock.
    parked: AtomicBool,
    stop: AtomicBool,
    kick: OwnedFd,
    /// Readable for a kick or a death.
    calls: OwnedFd,
    /// Readable for those and for whatever UCX has to do.
    all: OwnedFd,
}

impl Shared {
    pub(crate) fn new(core: Core) -> Result<Shared, SystemError> {
        let kick = event_counter()?;
        let (calls, all) = (epoll_instance()?, epoll_instance()?);
        watch_fd(&calls, kick.as_fd())?;
        watch_fd(&calls, core.state.watch.fd())?;
        watch_fd(&all, calls.as_fd())?;
        if let Ok(fd) = core.worker.event_fd() {
            watch_fd(&all, fd)?;
        }
        Ok(Shared {
            core: Mutex::new(core),
            beat: AtomicU64::new(0),
            parked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            kick,
            calls,
            all,
        })
    }

    /// The device, for whoever looks or changes something.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic under the lock leaves a state that was consistent between two events.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The device, for whoever polls.
    #[inline]
    pub(crate) fn attend(&self) -> MutexGuard<'_, Core> {
        self.beat.store(self.beat.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        // Whoever polls takes what would have woken the thread; what it leaves undone when it stops polling is for the thread.
        self.lock_and_rouse()
    }

    /// The device, for whoever changes what the progress thread has to look after: should it sleep, it has to look again.
    #[inline]
    pub(crate) fn lock_and_rouse(&self) -> MutexGuard<'_, Core> {
        let core = self.lock();
        if self.parked.load(Ordering::Relaxed) {
            self.parked.store(false, Ordering::Relaxed);
            self.kick();
        }
        core
    }

    /// Wakes the progress thread.
    pub(crate) fn kick(&self) {
        // A counter that is full is readable all the same.
        let _ = rustix::io::write(&self.kick, &1u64.to_ne_bytes());
    }

    fn calm(&self) {
        let mut count = [0; 8];
        // Nonblocking; nothing to read is as good.
        let _ = rustix::io::read(&self.kick, &mut count);
    }

    /// What the progress thread does until it is stopped.
    fn stand_in(&self, spin_ns: u64) {
        let mut beat = self.beat.load(Ordering::Relaxed).wrapping_sub(1);
        let mut idle_since = None;
        while !self.stop.load(Ordering::Acquire) {
            let now = self.beat.load(Ordering::Relaxed);
            if now != beat {
                beat = now;
                sleep(self.calls.as_fd(), Some(ATTENTION_NS));
                self.calm();
                continue;
            }
            let mut core = self.lock();
            let (state, worker) = core.halves();
            let busy = state.turn(worker);
            let now = now_ns();
            if !busy {
                state.next_tick_ns = 0;
            }
            state.tick(worker, now);
            for owner in &mut state.owners {
                owner.notify();
            }
            if busy || state.has_to_tell() {
                idle_since = None;
                continue;
            }
            if now.saturating_sub(*idle_since.get_or_insert(now)) < spin_ns {
                drop(core);
                std::thread::yield_now();
                continue;
            }
            let timeout = state.is_waiting().then_some(TICK_NS);
            // Whatever comes after this makes the descriptor readable, so nothing is slept through.
            if worker.arm() == Ok(true) {
                self.parked.store(true, Ordering::Relaxed);
                drop(core);
                sleep(self.all.as_fd(), timeout);
                self.parked.store(false, Ordering::Relaxed);
                self.calm();
                // Whoever sleeps on the same descriptor is woken too, and comes first.
                beat = self.beat.load(Ordering::Relaxed).wrapping_sub(1);
            }
            idle_since = None;
        }
    }
}

/// The progress thread. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Understudy {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Understudy {
    /// Starts it. `life`: words that tell peers whether this process lives.
    ///
    /// # Errors
    /// No thread, or no lock for life.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        spin_ns: u64,
        life: Option<SharedWords>,
    ) -> Result<Understudy, SystemError> {
        let (tell, told) = channel();
        let of_thread = shared.clone();
        let body = move || run(&of_thread, spin_ns, life, &tell);
        let builder = std::thread::Builder::new().name("ucx-progress".to_owned());
        let refused = |call| move |errno| SystemError { call, errno, advice: "" };
        let thread = builder
            .spawn(body)
            .map_err(|e| refused("pthread_create(3)")(e.raw_os_error().unwrap_or(libc::EAGAIN)))?;
        let understudy = Understudy { shared: shared.clone(), thread: Some(thread) };
        match told.recv() {
            Ok(true) => Ok(understudy),
            _ => Err(refused("pthread_mutex_lock(3) of a robust mutex")(libc::ENOTRECOVERABLE)),
        }
    }
}

fn run(shared: &Shared, spin_ns: u64, life: Option<SharedWords>, tell: &Sender<bool>) {
    let locked = life.is_none_or(|words| words.lock_for_life(0));
    if tell.send(locked).is_err() || !locked {
        return;
    }
    shared.stand_in(spin_ns);
    if let Some(words) = life {
        words.unlock(0);
    }
}

impl Drop for Understudy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.kick();
        if let Some(thread) = self.thread.take() {
            // A panic of it was its own, and told by the panic hook.
            let _ = thread.join();
        }
    }
}
