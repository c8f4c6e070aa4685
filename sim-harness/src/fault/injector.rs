//! When faults come and end: told of the time and of operations that begin, answers with what to do now.
//!
//! ```text
//! before an operation begins:  begin_op(...)        chance decides, counts are compared
//! until nothing is due:        while let Some(step) = due(now) { do step.cause }
//! let time pass until:         next_at()
//! at the end:                  for cause in heal() { do cause }
//! ```
//!
//! A fault that lasts is undone by a cause too. Where several faults keep something broken (a port that two of them took
//! down), it is whole again when the last one ends; where a link has several, it is mended and the others done again.

use std::collections::VecDeque;

use wavetank_contract::{Choices, Instant, Site};

use super::{Fault, When};
use crate::lab::{Cause, DeviceFault, HostFault, LinkFault};

/// Says when which cause is to be done.
#[derive(Clone, Debug)]
pub struct Injector {
    faults: Vec<Fault>,
    /// Faults with a time that have not come yet, the next one last.
    timed: Vec<(u64, usize)>,
    /// What has been done and will be undone, in the order in which it was done.
    lasting: Vec<Lasting>,
    /// What is to be done now.
    due: VecDeque<Step>,
    /// How often each fault came.
    came: Vec<u64>,
    healed: bool,
}

/// Something to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub cause: Cause,
    /// The fault it is of, by its place in the schedule.
    pub fault: usize,
    /// Whether that fault comes or ends.
    pub part: Part,
}

/// The part of a fault that a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It comes.
    Comes,
    /// It ends, and its undoing is done.
    Ends,
    /// It goes on: it was undone with another and is done again.
    GoesOn,
}

/// An operation that begins, by its numbers in the plan of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begins {
    /// Among all operations, from 0.
    pub op: u32,
    /// Its connection.
    pub connection: u16,
    /// Among those of its connection, from 0.
    pub op_of_connection: u32,
}

#[derive(Clone, Copy, Debug)]
struct Lasting {
    cause: Cause,
    fault: usize,
    /// FAR: until it is healed.
    until: Instant,
}

impl Injector {
    /// Faults in the order of their schedule; what is due at one time comes in that order.
    pub fn new(faults: Vec<Fault>) -> Injector {
        let at = |(index, fault): (usize, &Fault)| match fault.when {
            When::At(ns) => Some((ns, index)),
            _ => None,
        };
        let mut timed: Vec<(u64, usize)> = faults.iter().enumerate().filter_map(at).collect();
        timed.sort_unstable_by(|a, b| b.cmp(a));
        let came = vec![0; faults.len()];
        Injector { faults, timed, lasting: Vec::new(), due: VecDeque::new(), came, healed: false }
    }

    /// When something is due next; [`Instant::FAR`] when nothing is, unless an operation brings it.
    pub fn next_at(&self) -> Instant {
        if !self.due.is_empty() {
            return Instant::ZERO;
        }
        let comes = self.timed.last().map_or(Instant::FAR, |(ns, _)| Instant(*ns));
        self.lasting.iter().map(|lasting| lasting.until).fold(comes, Instant::min)
    }

    /// An operation is about to begin. What it brings is [`due`](Self::due) at once.
    ///
    /// Draws once for each fault that comes by chance, and nothing where there is none; the last choice is the fault.
    pub fn begin_op(&mut self, now: Instant, begins: Begins, choices: &mut (impl Choices + ?Sized)) {
        if self.healed {
            return;
        }
        for index in 0..self.faults.len() {
            let comes = match self.faults[index].when {
                When::At(_) => false,
                When::Op { connection: None, op } => op == begins.op,
                When::Op { connection: Some(connection), op } => {
                    (connection, op) == (begins.connection, begins.op_of_connection)
                }
                When::EachOp { one_in: 0 } => false,
                When::EachOp { one_in: 1 } => true,
                When::EachOp { one_in } => {
                    let one_in = u64::from(one_in);
                    choices.choose(Site::Fault, one_in) == one_in - 1
                }
            };
            if comes {
                self.come(now, index);
            }
        }
    }

    /// The next thing to do now, if any. Call it until there is none.
    pub fn due(&mut self, now: Instant) -> Option<Step> {
        loop {
            if let Some(step) = self.due.pop_front() {
                return Some(step);
            }
            let comes = self.timed.last().map_or(Instant::FAR, |(ns, _)| Instant(*ns));
            let ends = self.lasting.iter().map(|lasting| lasting.until).fold(Instant::FAR, Instant::min);
            if comes.min(ends) > now || comes.min(ends) == Instant::FAR {
                return None;
            }
            // What ends makes room for what comes at the same time.
            if ends <= comes {
                self.end(ends);
            } else if let Some((ns, index)) = self.timed.pop() {
                self.come(Instant(ns), index);
            }
        }
    }

    /// Ends everything: nothing comes any more, and this undoes what lasts.
    pub fn heal(&mut self) -> Vec<Cause> {
        self.healed = true;
        self.timed.clear();
        self.due.clear();
        let mut undone: Vec<Cause> = Vec::new();
        for lasting in std::mem::take(&mut self.lasting) {
            if let Some(undo) = lasting.cause.undone_by()
                && !undone.contains(&undo)
            {
                undone.push(undo);
            }
        }
        undone
    }

    /// How often each fault has come, in the order of the schedule.
    pub fn came(&self) -> &[u64] {
        &self.came
    }

    /// The faults, in the order of the schedule.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    fn come(&mut self, now: Instant, fault: usize) {
        let Fault { cause, lasts_ns, .. } = self.faults[fault];
        self.came[fault] += 1;
        // A cause that undoes others ends them, whenever they were to end.
        self.lasting.retain(|lasting| lasting.cause.undone_by() != Some(undoing(cause)));
        let mut again = false;
        if let Some(undo) = cause.undone_by() {
            // What is down stays down; a link is disturbed once more by another fault of its own kind.
            again = self.lasting.iter().any(|lasting| match lasting.cause {
                Cause::Link { .. } => lasting.cause == cause,
                _ => lasting.cause.undone_by() == Some(undo),
            });
            let until = lasts_ns.map_or(Instant::FAR, |ns| now + ns);
            match self.lasting.iter_mut().find(|lasting| lasting.fault == fault) {
                Some(lasting) => lasting.until = lasting.until.max(until),
                None => self.lasting.push(Lasting { cause, fault, until }),
            }
        }
        if !again {
            self.due.push_back(Step { cause, fault, part: Part::Comes });
        }
    }

    /// Ends the first of those that last until `until`.
    fn end(&mut self, until: Instant) {
        let Some(place) = self.lasting.iter().position(|lasting| lasting.until == until) else { return };
        let Lasting { cause, fault, .. } = self.lasting.remove(place);
        let Some(undo) = cause.undone_by() else { return };
        let others = self.lasting.iter().filter(|other| other.cause.undone_by() == Some(undo));
        if let Cause::Link { .. } = cause {
            let others: Vec<Lasting> = others.copied().collect();
            self.due.push_back(Step { cause: undo, fault, part: Part::Ends });
            let again = |other: Lasting| Step { cause: other.cause, fault: other.fault, part: Part::GoesOn };
            self.due.extend(others.into_iter().map(again));
        } else if others.count() == 0 {
            self.due.push_back(Step { cause: undo, fault, part: Part::Ends });
        }
    }
}

/// What a cause ends, as that would be undone: a restart of either kind ends a crash.
fn undoing(cause: Cause) -> Cause {
    match cause {
        Cause::Host { node, fault: HostFault::Restart { .. } } => {
            Cause::Host { node, fault: HostFault::Restart { same: false } }
        }
        other => other,
    }
}

impl Cause {
    /// What ends it; `None` for what is over at once, or never.
    ///
    /// A mended link is whole: whatever else disturbs it has to be done again. A crashed host comes back with other queue pairs
    /// and keys.
    pub fn undone_by(self) -> Option<Cause> {
        match self {
            // It is over with its packet.
            Cause::Link { fault: LinkFault::LoseNth { .. }, .. } => None,
            Cause::Link { from, to, .. } => Some(Cause::Mend { from, to }),
            Cause::Device { node, fault: DeviceFault::PortDown } => {
                Some(Cause::Device { node, fault: DeviceFault::PortUp })
            }
            Cause::Host { node, fault: HostFault::Pause } => {
                Some(Cause::Host { node, fault: HostFault::Resume })
            }
            Cause::Host { node, fault: HostFault::Crash } => {
                Some(Cause::Host { node, fault: HostFault::Restart { same: false } })
            }
            _ => None,
        }
    }
}
