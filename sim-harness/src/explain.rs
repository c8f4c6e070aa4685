//! Explaining: the story of one operation, each event that touched it in order and in words.
//!
//! Use: make an [`Explainer`] of the operation's number, give [`Explainer::watch`] to the runner, run, print
//! [`Explainer::told`]. Which event touched the operation is not guessed: its works are known by their memory, which nobody
//! else has meanwhile, and packets by the PSNs that the works take, in the order in which they were posted.

mod lines;
mod queue;
mod story;
mod words;

use std::cell::RefCell;
use std::rc::Rc;

use wavetank_contract::Instant;
use wavetank_mock::{Happening, Tap};

use crate::fault::Step;
use crate::watch::{Connected, Ending, Submitted, Watch, Watcher};
use story::Story;

/// The story of one operation, as it is told. Clones tell the same story.
#[derive(Clone, Debug)]
pub struct Explainer(Rc<RefCell<Story>>);

impl Explainer {
    /// Of the operation of this number (see [`Submitted::op`]).
    pub fn of(op: u64) -> Explainer {
        Explainer(Rc::new(RefCell::new(Story::of(op))))
    }

    /// What the runner is to be watched with.
    pub fn watch(&self) -> Watch {
        Watch { tap: Some(Box::new(self.clone())), watcher: Some(Box::new(self.clone())), ..Watch::default() }
    }

    /// What happened to the operation, a line each, with times since it was submitted; `None`: it never was.
    pub fn told(&self) -> Option<String> {
        self.0.borrow().told()
    }
}

impl Tap for Explainer {
    fn see(&mut self, at: Instant, happening: &Happening<'_>) {
        self.0.borrow_mut().see(at, happening);
    }
}

impl Watcher for Explainer {
    fn connected(&mut self, at: Instant, connected: &Connected) {
        self.0.borrow_mut().connected(at, connected);
    }

    fn submitted(&mut self, at: Instant, op: &Submitted) {
        self.0.borrow_mut().submitted(at, op);
    }

    fn cancelled(&mut self, at: Instant, op: u64) {
        self.0.borrow_mut().cancelled(at, op);
    }

    fn ended(&mut self, at: Instant, op: u64, how: &Ending<'_>) {
        self.0.borrow_mut().ended(at, op, how);
    }

    fn blamed(&mut self, at: Instant, op: u64, what: &str) {
        self.0.borrow_mut().blamed(at, op, what);
    }

    fn fault(&mut self, at: Instant, step: &Step) {
        self.0.borrow_mut().fault(at, step);
    }

    fn healed(&mut self, at: Instant) {
        self.0.borrow_mut().healed(at);
    }
}
