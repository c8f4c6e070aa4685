//! The events of a recorded run, each held against what it can be.

use std::io::BufRead;

use wavetank_contract::{Instant, OpKind};

use super::Result;
use super::lines::{Line, Lines};
use crate::record::{EVENTS_MAX, End, Event, Submit};
use crate::workload::limits::{ATOMIC_BYTES, MAX_OP_BYTES, MAX_SEND_BYTES};
use crate::workload::{Node, Region};

/// What has been read so far.
#[derive(Debug)]
pub(super) struct Events<'r> {
    nodes: &'r [Node],
    regions: &'r [Region],
    /// By operation: its bytes, until it has ended.
    open: Vec<Option<u32>>,
    /// By region: whether atomics work on it, once something does.
    atomic: Vec<Option<bool>>,
    last_at: u64,
    events: Vec<Event>,
}

impl<'r> Events<'r> {
    pub(super) fn new(nodes: &'r [Node], regions: &'r [Region]) -> Events<'r> {
        let atomic = vec![None; regions.len()];
        Events { nodes, regions, open: Vec::new(), atomic, last_at: 0, events: Vec::new() }
    }

    pub(super) fn read<R: BufRead>(mut self, lines: &mut Lines<'_, R>) -> Result<Vec<Event>> {
        while let Some(line) = lines.next()? {
            if line.word == "end" {
                line.number(&line.rest, self.events.len() as u64..=self.events.len() as u64)?;
                if let Some(more) = lines.next()? {
                    return Err(more.invalid("nothing comes after the end"));
                }
                if self.open.is_empty() {
                    return Err(line.invalid("there is no operation in this run"));
                }
                return Ok(self.events);
            }
            if self.events.len() == EVENTS_MAX {
                return Err(line.invalid(format!("a run has at most {EVENTS_MAX} events")));
            }
            let event = match line.word.as_str() {
                "submit" => self.submit(&line)?,
                "finish" => self.finish(&line)?,
                "receive" => self.receive(&line)?,
                "event" => self.reported(&line)?,
                _ => return Err(line.invalid("wanted submit, finish, receive, event or end")),
            };
            self.events.push(event);
        }
        Err(lines.here("end", "the file is cut: `end` and the number of events come last"))
    }

    /// A time, which never runs backwards.
    fn at(&mut self, line: &Line, text: &str) -> Result<Instant> {
        self.last_at = line.number(text, self.last_at..=u64::MAX - 1)?;
        Ok(Instant(self.last_at))
    }

    fn submit(&mut self, line: &Line) -> Result<Event> {
        let [serial, at, kind, from, to, region, offset, len, connection] = line.fields()?;
        let number = self.open.len() as u64;
        line.number(serial, number..=number)?;
        let at = self.at(line, at)?;
        let kind = kind_of(line, kind)?;
        let last = self.nodes.len() as u64 - 1;
        let (from, to) = (line.number(from, 0..=last)? as u16, line.number(to, 0..=last)? as u16);
        if from == to {
            return Err(line.invalid(format!("node {from} would work on itself")));
        }
        let most = if kind == OpKind::Send { MAX_SEND_BYTES } else { MAX_OP_BYTES };
        let len = line.number(len, 1..=most)? as u32;
        let offset = line.number(offset, 0..=u64::MAX)?;
        let region = match (kind, region) {
            (OpKind::Send, "-") if offset == 0 => None,
            (OpKind::Send, _) => return Err(line.invalid("a send has no region: wanted - and offset 0")),
            (_, region) => Some(self.region(line, kind, to, region, offset, len)?),
        };
        let connection = line.number(connection, 0..=u64::from(u32::MAX))? as u32;
        self.open.push(Some(len));
        Ok(Event::Submit(Submit { at, kind, from, to, region, offset, len, connection }))
    }

    fn region(
        &mut self,
        line: &Line,
        kind: OpKind,
        to: u16,
        text: &str,
        offset: u64,
        len: u32,
    ) -> Result<u32> {
        let Some(last) = self.regions.len().checked_sub(1) else {
            return Err(line.invalid("this run has no regions"));
        };
        let id = line.number(text, 0..=last as u64)? as u32;
        let region = &self.regions[id as usize];
        let inside = offset.checked_add(len.into()).is_some_and(|end| end <= region.bytes);
        if region.node.0 != to || !inside {
            let (bytes, node) = (region.bytes, region.node.0);
            return Err(line.invalid(format!(
                "{len} bytes at {offset} of node {to} are not inside region {id}: {bytes} bytes of node {node}"
            )));
        }
        if kind.is_atomic() && (len != ATOMIC_BYTES || !offset.is_multiple_of(ATOMIC_BYTES.into())) {
            return Err(line.invalid(format!("an atomic works on {ATOMIC_BYTES} aligned bytes")));
        }
        if *self.atomic[id as usize].get_or_insert(kind.is_atomic()) != kind.is_atomic() {
            return Err(
                line.invalid(format!("region {id} has atomics and other operations: neither can be checked"))
            );
        }
        Ok(id)
    }

    fn finish(&mut self, line: &Line) -> Result<Event> {
        let [serial, at, end, len] = line.fields()?;
        let Some(last) = self.open.len().checked_sub(1) else {
            return Err(line.invalid("nothing was submitted yet"));
        };
        let serial = line.number(serial, 0..=last as u64)?;
        let at = self.at(line, at)?;
        let end = end_of(line, end)?;
        let Some(most) = self.open[serial as usize].take() else {
            return Err(line.invalid(format!("operation {serial} has ended before")));
        };
        Ok(Event::Finish { serial, at, end, len: line.number(len, 0..=most.into())? })
    }

    fn receive(&mut self, line: &Line) -> Result<Event> {
        let [connection, at, kind, end, len, imm] = line.fields()?;
        let connection = line.number(connection, 0..=u64::from(u32::MAX))? as u32;
        let at = self.at(line, at)?;
        let kind = if kind == OpKind::Recv.name() { OpKind::Recv } else { kind_of(line, kind)? };
        let end = end_of(line, end)?;
        let len = line.number(len, 0..=MAX_OP_BYTES)?;
        let imm = match imm {
            "-" => None,
            imm => Some(line.number(imm, 0..=u64::from(u32::MAX))? as u32),
        };
        Ok(Event::Receive { connection, at, kind, end, len, imm })
    }

    fn reported(&mut self, line: &Line) -> Result<Event> {
        let mut parts = line.rest.splitn(3, ' ');
        let (Some(node), Some(at), Some(what)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(line.invalid("wanted a node, a time and what was reported"));
        };
        let node = line.number(node, 0..=self.nodes.len() as u64 - 1)? as u16;
        Ok(Event::Async { node, at: self.at(line, at)?, what: what.to_owned() })
    }
}

fn kind_of(line: &Line, name: &str) -> Result<OpKind> {
    let posted = OpKind::ALL.into_iter().filter(|kind| *kind != OpKind::Recv);
    let found = posted.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| line.invalid(format!("{} is no operation", crate::workload::quoted(name))))
}

fn end_of(line: &Line, name: &str) -> Result<End> {
    End::named(name).ok_or_else(|| line.invalid(format!("{} is no status", crate::workload::quoted(name))))
}
