//! Completion queues, and whoever polls them.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use wavetank_contract::error::SystemError;
use wavetank_contract::{AsyncEvent, Completion, EpId};

use crate::watch::{epoll_instance, event_counter, watch_fd};

/// A completion, and the number of its work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) completion: Completion,
    pub(crate) number: u32,
    pub(crate) receive: bool,
}

/// A completion queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) owner: usize,
    depth: usize,
    items: VecDeque<Item>,
    /// It overran and takes nothing more.
    pub(crate) dead: bool,
}

/// Completions a queue has room for without allocating, at most: a deep one is mostly empty.
const ROOM: usize = 1024;

impl Queue {
    pub(crate) fn new(owner: usize, depth: u32) -> Queue {
        let depth = depth as usize;
        Queue { owner, depth, items: VecDeque::with_capacity(depth.min(ROOM)), dead: false }
    }

    /// False: it overran, with this one.
    #[inline]
    pub(crate) fn push(&mut self, item: Item) -> bool {
        if self.dead {
            return false;
        }
        self.dead = self.items.len() >= self.depth;
        if !self.dead {
            self.items.push_back(item);
        }
        !self.dead
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Item> {
        self.items.pop_front()
    }

    /// Forgets the completions of an endpoint. How many.
    pub(crate) fn forget(&mut self, ep: EpId) -> usize {
        let before = self.items.len();
        self.items.retain(|item| item.completion.ep != ep);
        before - self.items.len()
    }
}

/// Who polls: one of the handles of a device.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) events: VecDeque<AsyncEvent>,
    /// Completions and events that were not polled yet.
    pub(crate) pending: usize,
    /// Wants to be woken.
    pub(crate) armed: bool,
    /// Readable once notified.
    bell: OwnedFd,
    /// Readable for the bell, and for whatever UCX has to do.
    notifier: OwnedFd,
    notified: bool,
}

/// Events kept for whoever asks.
const EVENTS_KEPT: usize = 1024;

impl Owner {
    /// Somebody who polls a worker whose descriptor is this.
    pub(crate) fn new(worker: Option<BorrowedFd<'_>>) -> Result<Owner, SystemError> {
        let bell = event_counter()?;
        let notifier = epoll_instance()?;
        watch_fd(&notifier, bell.as_fd())?;
        if let Some(worker) = worker {
            watch_fd(&notifier, worker)?;
        }
        Ok(Owner { events: VecDeque::new(), pending: 0, armed: false, bell, notifier, notified: false })
    }

    pub(crate) fn tell(&mut self, event: AsyncEvent) {
        if self.events.len() == EVENTS_KEPT {
            self.events.pop_front();
            self.pending -= 1;
        }
        self.events.push_back(event);
        self.pending += 1;
    }

    /// Wakes whoever waits, if there is a reason.
    pub(crate) fn notify(&mut self) {
        if self.armed && self.pending > 0 && !self.notified {
            self.notified = rustix::io::write(&self.bell, &1u64.to_ne_bytes()).is_ok();
        }
    }

    /// Whoever waited is awake.
    pub(crate) fn hush(&mut self) {
        if self.notified {
            let mut count = [0; 8];
            // Nonblocking; there is something to read, since it was written.
            let _ = rustix::io::read(&self.bell, &mut count);
            self.notified = false;
        }
    }

    pub(crate) fn notifier(&self) -> BorrowedFd<'_> {
        self.notifier.as_fd()
    }
}
