//! Completion queues.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use wavetank_contract::Completion;

use crate::sys::Cq;

/// One completion queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) cq: Rc<Cq>,
    /// Completions taken out of the device's queue before they were asked for. Empty but after a close.
    pub(crate) stash: VecDeque<Completion>,
    /// Completions that come after everything the device has: works that iWARP devices in ERR never look at.
    pub(crate) late: VecDeque<Completion>,
    /// Whether the device will notify of the next completion.
    pub(crate) armed: Cell<bool>,
    /// Whether the last poll may have left something.
    pub(crate) has_more: Cell<bool>,
    /// It overran, or the device refuses to be polled: nothing new completes here.
    pub(crate) broken: bool,
}

impl Queue {
    pub(crate) fn new(cq: Rc<Cq>) -> Queue {
        Queue {
            cq,
            stash: VecDeque::new(),
            late: VecDeque::new(),
            armed: Cell::new(false),
            has_more: Cell::new(false),
            broken: false,
        }
    }
}
