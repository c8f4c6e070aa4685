//! Explaining: the story of one operation, each event that touched it in order and in words.
//!
//! Use: make an [`Explainer`] of the operation's number, give [`Explainer::watch`] to the runner, run, print
//! [`Explainer::told`].

use std::cell::RefCell;
use std::rc::Rc;

use wavetank_contract::Instant;
use wavetank_mock::{Happening, Tap};

use crate::lab::Cause;
use crate::watch::{Connected, Ending, Submitted, Watch, Watcher};

/// The story of one operation, as it is told. Clones tell the same story.
#[derive(Clone, Debug)]
pub struct Explainer(Rc<RefCell<Story>>);

#[derive(Debug)]
struct Story {
    op: u64,
}

impl Explainer {
    /// Of the operation of this number (see [`Submitted::op`]).
    pub fn of(op: u64) -> Explainer {
        Explainer(Rc::new(RefCell::new(Story { op })))
    }

    /// What the runner is to be watched with.
    pub fn watch(&self) -> Watch {
        Watch { tap: Some(Box::new(self.clone())), watcher: Some(Box::new(self.clone())) }
    }

    /// What happened to the operation, a line each; `None`: it was never submitted.
    pub fn told(&self) -> Option<String> {
        let _ = self.0.borrow().op;
        None
    }
}

impl Tap for Explainer {
    fn see(&mut self, _at: Instant, _happening: &Happening<'_>) {}
}

impl Watcher for Explainer {
    fn connected(&mut self, _at: Instant, _connected: &Connected) {}
    fn submitted(&mut self, _at: Instant, _op: &Submitted) {}
    fn cancelled(&mut self, _at: Instant, _op: u64) {}
    fn ended(&mut self, _at: Instant, _op: u64, _how: &Ending<'_>) {}
    fn blamed(&mut self, _at: Instant, _op: u64, _what: &str) {}
    fn fault(&mut self, _at: Instant, _number: u32, _cause: &Cause) {}
    fn over(&mut self, _at: Instant, _number: u32) {}
    fn healed(&mut self, _at: Instant) {}
}
