//! Completions on the bench: each is held against the work it is for, and asked for in order.

use wavetank_contract::{AsyncEvent, Backend, Completion, CqId, OpKind, Status};

use super::{Bench, DEADLINE_NS, End, Posted, side_name};
use crate::kit::stop::{Ended, Stop, ensure, fail};
use crate::lab::Lab;

/// Works that a failure names, at most.
const NAMED_MAX: usize = 4;

fn list(ends: &[(u64, Status)]) -> String {
    let named = ends.iter().take(NAMED_MAX).map(|(id, status)| format!("{id} {status}"));
    more(named.collect(), ends.len())
}

/// The first few of many.
fn more(named: Vec<String>, count: usize) -> String {
    match count - named.len() {
        0 if named.is_empty() => "nothing".to_owned(),
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

impl<L: Lab> Bench<'_, L> {
    /// Polls everything that is polled. Whether anything came.
    pub(in crate::kit) fn pump(&mut self) -> Result<bool, Stop> {
        let mut came = false;
        for at in 0..self.sides.len() {
            if !self.sides[at].polled {
                continue;
            }
            for cq in self.sides[at].cqs.clone() {
                came |= self.poll(at, cq)? > 0;
            }
            let side = &mut self.sides[at];
            let mut told = 0;
            while let Some(event) = side.device.poll_event() {
                came = true;
                told += 1;
                ensure!(told < 10_000, "{}: events without end", side_name(at));
                // Harmless, and not told by every device.
                if !matches!(event, AsyncEvent::CommEst(_)) {
                    side.events.push(event);
                }
            }
        }
        Ok(came)
    }

    /// Polls one queue until it is empty. How many completions came.
    pub(in crate::kit) fn poll(&mut self, at: usize, cq: CqId) -> Result<usize, Stop> {
        let mut total = 0;
        loop {
            self.scratch.clear();
            self.sides[at].device.poll(cq, &mut self.scratch);
            let polled: Vec<Completion> = self.scratch.as_slice().to_vec();
            for completion in &polled {
                self.accept(at, completion)?;
            }
            total += polled.len();
            if polled.is_empty() {
                return Ok(total);
            }
        }
    }

    /// Holds a completion against the works that are outstanding.
    fn accept(&mut self, at: usize, completion: &Completion) -> Ended {
        let (id, status) = (completion.id.0, completion.status);
        let name = self.ep_name(at, completion.ep);
        let side = &mut self.sides[at];
        let Some(index) = side.posted.iter().position(|posted| posted.id == id) else {
            fail!("{name}: a completion of work {id} with {status}, which is not outstanding");
        };
        let posted = side.posted.remove(index);
        let kind = posted.kind.name();
        if let Some(ep) = posted.ep {
            ensure!(ep == completion.ep, "{name}: {kind} {id} was posted to another endpoint");
            let same_queue = |other: &Posted| other.ep == Some(ep) && other.is_recv() == posted.is_recv();
            let passed = side.posted[..index].iter().find(|other| same_queue(other) && other.signalled);
            if let Some(passed) = passed {
                fail!(
                    "{name}: {kind} {id} completed before {} {}, with {status}",
                    passed.kind.name(),
                    passed.id
                );
            }
            // Silent ones before it are done; those that failed would have spoken.
            let mut place = 0;
            side.posted.retain(|other| {
                place += 1;
                place > index || !same_queue(other)
            });
        }
        if status == Status::Success {
            check_success(&name, &posted, completion)?;
        }
        side.done.push((posted, *completion));
        Ok(())
    }

    /// The next completions of an endpoint's sends are these, in this order.
    pub(in crate::kit) fn sends(&mut self, end: End, expected: &[(u64, Status)]) -> Ended {
        self.completions(end, false, expected).map(drop)
    }

    /// The next completions of an endpoint's receives are these, in this order.
    pub(in crate::kit) fn receives(&mut self, end: End, expected: &[(u64, Status)]) -> Ended {
        self.completions(end, true, expected).map(drop)
    }

    /// The next sends end well, in this order.
    pub(in crate::kit) fn good(&mut self, end: End, ids: impl IntoIterator<Item = u64>) -> Ended {
        let expected: Vec<_> = ids.into_iter().map(|id| (id, Status::Success)).collect();
        self.sends(end, &expected)
    }

    /// The next receive ends well and met this.
    pub(in crate::kit) fn meets(
        &mut self,
        end: End,
        id: u64,
        kind: OpKind,
        len: u32,
        imm: Option<u32>,
    ) -> Ended {
        let got = self.completions(end, true, &[(id, Status::Success)])?;
        let told = |kind: OpKind, len, imm| format!("a {} of {len} bytes, immediate {imm:x?}", kind.name());
        for Completion { kind: got_kind, len: got_len, imm: got_imm, .. } in got {
            let (got, expected) = (told(got_kind, got_len, got_imm), told(kind, len, imm));
            ensure!(got == expected, "{}: recv {id} met {got}; expected {expected}", self.name(end));
        }
        Ok(())
    }

    fn completions(
        &mut self,
        end: End,
        receives: bool,
        expected: &[(u64, Status)],
    ) -> Result<Vec<Completion>, Stop> {
        let deadline = self.now() + DEADLINE_NS;
        let is_mine = |(posted, completion): &(Posted, Completion)| {
            completion.ep == end.ep && posted.is_recv() == receives
        };
        loop {
            let mine = self.sides[end.side].done.iter().filter(|done| is_mine(done)).take(expected.len());
            let got: Vec<(u64, Status)> = mine.map(|(_, c)| (c.id.0, c.status)).collect();
            if let Some((expected, got)) = expected.iter().zip(&got).find(|(expected, got)| expected != got) {
                fail!("{}: expected {}; got {}", self.name(end), list(&[*expected]), list(&[*got]));
            }
            if got.len() == expected.len() {
                break;
            }
            if !self.turn(deadline)? {
                let (name, missing) = (self.name(end), list(&expected[got.len()..]));
                fail!("{name}: never got {missing}; outstanding: {}", self.outstanding());
            }
        }
        let (name, mut taken, mut lines) = (self.name(end), Vec::new(), Vec::new());
        self.sides[end.side].done.retain(|done| {
            if taken.len() == expected.len() || !is_mine(done) {
                return true;
            }
            lines.push(line(&name, &done.0, &done.1));
            taken.push(done.1);
            false
        });
        lines.into_iter().for_each(|line| self.note(line));
        Ok(taken)
    }

    /// What is owed, for whoever has to find out why.
    pub(in crate::kit) fn outstanding(&self) -> String {
        let owed = self.sides.iter().enumerate().flat_map(|(at, side)| {
            let owed = side.posted.iter().filter(|posted| posted.signalled);
            owed.map(move |posted| format!("{} {} {}", side_name(at), posted.kind.name(), posted.id))
        });
        let mut owed: Vec<_> = owed.collect();
        let count = owed.len();
        owed.truncate(NAMED_MAX);
        more(owed, count)
    }

    /// Whether nothing is owed but what is silent.
    pub(in crate::kit) fn is_idle(&self) -> bool {
        self.sides.iter().all(|side| side.posted.iter().all(|posted| !posted.signalled))
    }
}

fn check_success(name: &str, posted: &Posted, completion: &Completion) -> Ended {
    let (kind, id) = (posted.kind.name(), posted.id);
    let Completion { kind: met, len, imm, vendor, .. } = *completion;
    ensure!(posted.signalled, "{name}: {kind} {id} was to be silent and spoke");
    ensure!(vendor == 0, "{name}: {kind} {id} succeeded with a vendor's code");
    if posted.is_recv() {
        let is_message = matches!(met, OpKind::Send | OpKind::WriteImm);
        ensure!(is_message, "{name}: recv {id} met a {}", met.name());
    } else {
        ensure!(met == posted.kind, "{name}: {kind} {id} completed as a {}", met.name());
        ensure!(len == posted.len, "{name}: {kind} {id} of {} bytes completed with {len}", posted.len);
        ensure!(imm.is_none(), "{name}: {kind} {id} completed with an immediate");
    }
    Ok(())
}

/// A completion as it is written down: of a failure only what is valid.
fn line(name: &str, posted: &Posted, completion: &Completion) -> String {
    let (kind, id, status) = (posted.kind.name(), posted.id, completion.status);
    let mut line = format!("{name}: {kind} {id} {status}");
    if status == Status::Success {
        line += &format!(" {} bytes", completion.len);
        if posted.is_recv() {
            line += &format!(" of a {}", completion.kind.name());
        }
        if let Some(imm) = completion.imm {
            line += &format!(" with {imm:#x}");
        }
    }
    line
}
