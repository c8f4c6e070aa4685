//! Who waits for what.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use wavetank_ipc::native::{FromClient, FromEngine};
use wavetank_ipc::ring::{Submission, Task};

use super::{Answer, Sender};
use crate::error::ReadError;
use crate::lent::Lent;
use crate::link::{Link, lock};

/// What came. A [`Lent`] that nobody takes goes back as it is dropped.
#[derive(Debug)]
pub(super) enum Reply {
    Lent(Lent),
    Other(FromEngine),
    Pong,
}

/// Everybody who waits, by the id of a request or the name of a submission.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    all: Mutex<BTreeMap<u64, Sender>>,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        lock(&self.all).len()
    }

    /// An answer came. Where nobody waits for it, it is dropped, outside of the lock.
    pub(super) fn tell(&self, id: u64, answer: Answer) {
        let waits = lock(&self.all).remove(&id);
        match waits {
            Some(waits) => drop(waits.send(answer)),
            None => drop(answer),
        }
    }

    /// The connection is lost.
    pub(super) fn lose(&self, why: &ReadError) {
        let all = std::mem::take(&mut *lock(&self.all));
        for waits in all.into_values() {
            let _ = waits.send(Err(why.clone()));
        }
    }
}

/// Somebody who waits. Dropped before the answer came, the engine is told.
#[derive(Debug)]
pub(super) struct Pending {
    link: Arc<Link>,
    waiting: Arc<Waiting>,
    id: u64,
    by_ring: bool,
    asked: bool,
    answer: oneshot::Receiver<Answer>,
}

impl Pending {
    pub(super) fn new(
        link: &Arc<Link>,
        waiting: &Arc<Waiting>,
        id: u64,
        by_ring: bool,
    ) -> Result<Pending, ReadError> {
        let (sender, answer) = oneshot::channel();
        lock(&waiting.all).insert(id, sender);
        let (link, waiting) = (Arc::clone(link), Arc::clone(waiting));
        let pending = Pending { link, waiting, id, by_ring, asked: true, answer };
        // Looked at after the place was taken: whoever loses it tells all who have one.
        pending.link.check()?;
        Ok(pending)
    }

    /// The question could not be put.
    pub(super) fn never_asked(mut self) {
        self.asked = false;
    }

    pub(super) fn is_over(&self) -> bool {
        !self.answer.is_empty()
    }

    pub(super) fn take(&mut self) -> Option<Answer> {
        self.answer.try_recv().ok()
    }

    pub(super) async fn reply(&mut self) -> Answer {
        match (&mut self.answer).await {
            Ok(answer) => answer,
            Err(_) => Err(ReadError::Lost("nobody listens to the engine any more".into())),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let still_waits = lock(&self.waiting.all).remove(&self.id).is_some();
        if !still_waits || !self.asked || self.link.check().is_err() {
            return;
        }
        let by_ring = Submission { name: 0, task: Task::Cancel { name: self.id } };
        if self.by_ring {
            // Where there is no room it goes on, and what comes of it goes back.
            let _ = self.link.submit(by_ring);
        } else {
            // Where it is lost there is nothing to cancel.
            let _ = self.link.say(self.id, &FromClient::Cancel);
        }
    }
}
