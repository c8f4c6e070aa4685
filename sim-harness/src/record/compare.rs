//! Two runs of the same operations, held against each other: how each operation ended and what each receive met.
//!
//! Times are not compared, nor in which order operations of different connections ended: devices differ in both. Within a
//! connection messages keep their order, and a WRITE is told by its immediate.

use std::collections::BTreeMap;
use std::fmt;

use wavetank_contract::OpKind;

use super::{End, Event, RecordedRun, Submit};

/// Something that two runs did not agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is about.
    pub what: String,
    /// The line of the recording that says otherwise; 0 where there is none.
    pub line: u32,
    /// How it was recorded.
    pub recorded: String,
    /// How it was now.
    pub now: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { what, recorded, now, .. } = self;
        write!(f, "{what}: recorded as {recorded}, now {now}")
    }
}

/// What a run did, by what it was asked.
#[derive(Debug, Default)]
struct Ends<'r> {
    submits: Vec<&'r Submit>,
    /// By operation.
    finished: BTreeMap<u64, Ended>,
    /// By connection, messages in order.
    messages: BTreeMap<(u32, usize), Ended>,
    /// By connection and immediate.
    writes: BTreeMap<(u32, u32), Ended>,
}

/// An end, and the line that says so.
#[derive(Clone, Copy, Debug)]
struct Ended {
    end: End,
    len: u64,
    line: u32,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.end.name(), self.len)
    }
}

impl<'r> Ends<'r> {
    fn of(run: &'r RecordedRun) -> Ends<'r> {
        let mut ends = Ends::default();
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for (event, index) in run.events.iter().zip(0u32..) {
            let line = if run.first_line == 0 { 0 } else { run.first_line.saturating_add(index) };
            match *event {
                Event::Submit(ref submit) => ends.submits.push(submit),
                Event::Finish { serial, end, len, .. } => {
                    ends.finished.insert(serial, Ended { end, len, line });
                }
                Event::Receive { connection, end, len, imm: Some(imm), .. } => {
                    ends.writes.insert((connection, imm), Ended { end, len, line });
                }
                Event::Receive { connection, end, len, imm: None, .. } => {
                    let count = counts.entry(connection).or_default();
                    ends.messages.insert((connection, *count), Ended { end, len, line });
                    *count += 1;
                }
                Event::Async { .. } => {}
            }
        }
        ends
    }
}

/// Compares a recording with a run of its operations. Differences come in the order of operations, then of receives. An
/// operation or receive that had not ended when the recording did is compared with nothing.
pub fn compare(recorded: &RecordedRun, now: &RecordedRun) -> Vec<Difference> {
    let (recorded_ends, now_ends) = (Ends::of(recorded), Ends::of(now));
    let mut found = Vec::new();
    let mut differ = |what: String, was: &Ended, is: Option<&Ended>| {
        if is.is_none_or(|is| (is.end, is.len) != (was.end, was.len)) {
            let now = is.map_or("never ended".to_owned(), ToString::to_string);
            found.push(Difference { what, line: was.line, recorded: was.to_string(), now });
        }
    };
    for (serial, was) in &recorded_ends.finished {
        let submit = recorded_ends.submits.get(*serial as usize);
        differ(story(recorded, *serial, submit.copied()), was, now_ends.finished.get(serial));
    }
    for ((connection, number), was) in &recorded_ends.messages {
        // A receive that was flushed met nothing: which of them those are depends on how many were posted.
        if was.end == End::SUCCESS {
            let what = format!("message {number} of connection {connection}");
            differ(what, was, now_ends.messages.get(&(*connection, *number)));
        }
    }
    for ((connection, imm), was) in &recorded_ends.writes {
        let what = format!("the receive of immediate {imm:#x} on connection {connection}");
        differ(what, was, now_ends.writes.get(&(*connection, *imm)));
    }
    found
}

fn story(run: &RecordedRun, serial: u64, submit: Option<&Submit>) -> String {
    let Some(Submit { kind, from, to, region, offset, len, .. }) = submit else {
        return format!("operation {serial}");
    };
    let name = |node: &u16| run.nodes.get(*node as usize).map_or("?", |node| node.name.as_str());
    let target = match region.and_then(|id| run.regions.get(id as usize)) {
        Some(region) => format!("region {} at offset {offset}", region.name),
        None if *kind == OpKind::Send => "a message".to_owned(),
        None => "no region".to_owned(),
    };
    let (kind, from, to) = (kind.name(), name(from), name(to));
    format!("operation {serial}, {kind} of {len} bytes, {from} -> {to}, {target}")
}
