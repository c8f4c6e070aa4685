//! What must be true of messages, told from what users of messengers see: who sent what in which life, and who got it.
//!
//! A *life* is what one side has of a connection until it is told that it was reset, or closes it, or dies. Lives of the two
//! sides go together in pairs: what is sent in one life is delivered in one life of the peer and no other, at most once, in
//! order, and without a hole.

use std::collections::BTreeMap;

use wavetank_contract::{Instant, Lease, Region};
use wavetank_messenger::{Incoming, RequestId};

use super::plan::FRONT_BYTES_MIN;
use crate::pattern::{self, Tag};

/// Whose a life is: node, incarnation, connection, and how often it was told that its peer began anew.
pub(super) type Whose = (u16, u32, u64, u32);

/// One side's part of a connection.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) connection: usize,
    pub(super) end: u8,
    /// What was sent, by its number.
    pub(super) sent: Vec<usize>,
    /// The life of the peer that what is sent goes to.
    to: Option<usize>,
    /// The life of the peer that what comes is from.
    from: Option<usize>,
    /// The number of the next that comes.
    next: usize,
    /// It was told to be over, or its host died.
    pub(super) over: bool,
}

/// All lives of a run.
#[derive(Debug, Default)]
pub(super) struct Lives {
    all: Vec<Life>,
    by: BTreeMap<Whose, usize>,
}

/// A message that a messenger has taken.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) life: usize,
    pub(super) number: usize,
    pub(super) node: u16,
    pub(super) incarnation: u32,
    pub(super) connection: u64,
    pub(super) deadline: Instant,
    pub(super) request: Option<RequestId>,
    pub(super) sink: Option<(u64, u64)>,
    pub(super) cancelled: bool,
    pub(super) delivered: bool,
    /// The receiver has dropped it.
    pub(super) let_go: bool,
    /// The receiver has dropped what it would have answered by.
    pub(super) unanswered: bool,
    /// The reply that was sent: its length, and who sent it.
    pub(super) reply: Option<(u32, u32)>,
    /// How it ended for its sender.
    pub(super) ended: Option<&'static str>,
}

impl Lives {
    /// The life of this side.
    pub(super) fn of(&mut self, whose: Whose, connection: usize, end: u8) -> usize {
        let Lives { all, by } = self;
        *by.entry(whose).or_insert_with(|| {
            let sent = Vec::new();
            all.push(Life { connection, end, sent, to: None, from: None, next: 0, over: false });
            all.len() - 1
        })
    }

    pub(super) fn get(&self, life: usize) -> &Life {
        &self.all[life]
    }

    pub(super) fn get_mut(&mut self, life: usize) -> &mut Life {
        &mut self.all[life]
    }

    /// A host died, and with it all its lives.
    pub(super) fn bury(&mut self, node: u16) {
        for (_, life) in self.by.iter().filter(|((at, ..), _)| *at == node) {
            self.all[*life].over = true;
        }
    }

    /// A message has come to a life. `excused` says whether another may be missing.
    pub(super) fn deliver(
        &mut self,
        receiver: usize,
        sent: &Sent,
        excused: impl Fn(usize) -> bool,
    ) -> Result<(), String> {
        if sent.delivered {
            return Err("it is delivered for the second time".to_owned());
        }
        let sender = sent.life;
        let (from, to) = (&self.all[sender], &self.all[receiver]);
        if (from.connection, from.end) != (to.connection, 1 - to.end) {
            return Err("it is of another connection".to_owned());
        }
        if from.to.is_some_and(|life| life != receiver) || to.from.is_some_and(|life| life != sender) {
            return Err("it is of a life that is over".to_owned());
        }
        if sent.number < to.next {
            return Err(format!("it is number {} and comes behind number {}", sent.number, to.next - 1));
        }
        if let Some(hole) = (to.next..sent.number).find(|number| !excused(from.sent[*number])) {
            return Err(format!(
                "it is number {} and comes where number {hole} is missing, which is operation {}",
                sent.number, from.sent[hole]
            ));
        }
        self.all[receiver].from = Some(sender);
        self.all[receiver].next = sent.number + 1;
        self.all[sender].to = Some(receiver);
        Ok(())
    }
}

/// Who wrote the bytes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// The operation.
    pub(super) op: u32,
    /// Whether it is its reply.
    pub(super) reply: bool,
    /// The incarnation of the node that wrote it.
    pub(super) by: u32,
}

impl Written {
    fn tag(self, front: bool) -> Tag {
        let bits = u32::from(self.reply) << 31 | u32::from(front) << 30;
        Tag { region: self.op | bits, generation: self.by }
    }

    /// The front of such a message.
    pub(super) fn front(self, len: u16) -> Vec<u8> {
        let mut front = Vec::with_capacity(len.into());
        front.extend_from_slice(&self.op.to_le_bytes());
        front.extend_from_slice(&u32::from(self.reply).to_le_bytes());
        front.extend_from_slice(&self.by.to_le_bytes());
        front.extend_from_slice(&u32::from(len).to_le_bytes());
        let rest = front.len() as u64..len.into();
        front.extend(rest.map(|at| self.tag(true).byte(at)));
        front
    }

    /// Who wrote a front, if it is whole.
    pub(super) fn read(front: &[u8]) -> Result<Written, String> {
        let word = |at: usize| {
            front.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(u32::MAX, u32::from_le_bytes)
        };
        let written = Written { op: word(0), reply: word(4) == 1, by: word(8) };
        let len = u16::try_from(front.len()).unwrap_or(u16::MAX);
        if len < FRONT_BYTES_MIN || written.front(len) != front {
            return Err(format!("a front of {} bytes that nobody wrote: {front:02x?}", front.len()));
        }
        Ok(written)
    }

    /// Writes data.
    pub(super) fn fill(self, lease: &Lease, len: u32) {
        pattern::fill(lease.region(), lease.offset(), len as usize, self.tag(false), 0);
    }

    /// Whether data is as it was written.
    pub(super) fn holds(self, memory: &Region, at: u64, len: u64) -> Result<(), String> {
        let tag = self.tag(false);
        match pattern::first_foreign(memory, at, len as usize, tag.region, &[tag.generation], 0) {
            None => Ok(()),
            Some(byte) => {
                let mut found = [0; 8];
                let count = (len as usize - byte).min(8);
                memory.read(at + byte as u64, &mut found[..count]);
                Err(format!("byte {byte} of {len} is not what was sent: found {:02x?}", &found[..count]))
            }
        }
    }

    /// Whether the data of a message is as it was written, and as long.
    pub(super) fn is_in(self, incoming: &Incoming, len: u32) -> Result<(), String> {
        if incoming.data_len() != u64::from(len) {
            return Err(format!("it has {} bytes of data, {len} were sent", incoming.data_len()));
        }
        match incoming.data() {
            Some((lease, start)) if len > 0 => {
                self.holds(lease.region(), lease.offset() + start, u64::from(len))
            }
            None if len > 0 => Err("its data is nowhere".to_owned()),
            _ => Ok(()),
        }
    }
}
