//! What the run itself has planned: by time, ties in the order of planning.

use std::collections::BTreeMap;

use wavetank_contract::{Choices, Instant};
use wavetank_engine::RdmaOps;

use super::Run;

/// Something planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// A fault of the plan, by its place, is over.
    End(usize),
    /// The ends of a failed connection begin another life.
    Reconnect(usize),
    /// The ends of a connection are introduced to each other.
    Introduce(usize),
}

/// The agenda.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    planned: BTreeMap<(Instant, u64), Task>,
    count: u64,
}

impl Tasks {
    pub(super) fn add(&mut self, at: Instant, task: Task) {
        self.count += 1;
        self.planned.insert((at, self.count), task);
    }

    pub(super) fn next_at(&self) -> Instant {
        self.planned.first_key_value().map_or(Instant::FAR, |((at, _), _)| *at)
    }

    fn pop_due(&mut self, now: Instant) -> Option<Task> {
        let first = self.planned.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.planned.is_empty()
    }

    /// Forgets the faults: nothing else is to happen.
    pub(super) fn forget_faults(&mut self) {
        self.planned.retain(|_, task| !matches!(task, Task::End(_)));
    }
}

impl<C: RdmaOps, X: Choices + Clone + 'static> Run<'_, C, X> {
    /// Does what is due.
    pub(super) fn do_due(&mut self) {
        self.do_faults();
        while self.guilt.is_none()
            && let Some(task) = self.tasks.pop_due(self.world.now())
        {
            match task {
                Task::End(fault) => self.end_fault(fault),
                Task::Reconnect(connection) => self.reconnect(connection),
                Task::Introduce(connection) => self.introduce_again(connection),
            }
        }
    }
}
