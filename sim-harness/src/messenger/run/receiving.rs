//! What receivers do with what comes.

use wavetank_contract::{Choices, Instant};
use wavetank_messenger::{Incoming, Message, SendReason};

use super::sending::{MESSAGE, REPLY};
use super::{Kept, Pending, Run, State, Task};
use crate::check::Check;
use crate::messenger::oracle::Written;
use crate::messenger::plan::{Letter, Reply, Sort, What};

/// How long a reply for which there is no memory waits, in ns.
const AGAIN_NS: u64 = 200_000;

/// How often it is tried.
const TRIES_MAX: u32 = 50;

impl<X: Choices + Clone + 'static> Run<'_, X> {
    /// A message is handed over.
    pub(super) fn delivered(&mut self, node: u16, incoming: Incoming) {
        let mut front = [0; 1024];
        let written = match Written::read(incoming.front(&mut front)) {
            Ok(written) => written,
            Err(what) => return self.guilty(Check::Bytes, None, || format!("node {node}: {what}")),
        };
        // Probes come behind the plan's, whose names need not be their places.
        let op = self.ops.iter().position(|op| op.id == written.op);
        let Some((op, letter)) = op.and_then(|op| match self.ops[op].what {
            What::Send(letter) => Some((op, letter)),
            What::Close => None,
        }) else {
            return self.guilty(Check::Message, None, || format!("node {node}: {written:?}, which is none"));
        };
        self.say(|| format!("node {node}: op {} is delivered on {}", written.op, incoming.connection()));
        match self.check(node, op, letter, written, &incoming) {
            Ok(()) => {}
            Err((check, what)) => return self.guilty(check, Some(op), || format!("node {node}: {what}")),
        }
        if let Some(sent) = self.sent(op) {
            sent.delivered = true;
        }
        self.bytes_verified += incoming.data_len();
        self.trace(node, u64::from(written.op), incoming.data_len(), 0);
        self.count(match letter.sort {
            Sort::OneWay => "event delivered, one-way",
            Sort::Held => "event delivered, held",
            Sort::Request { .. } => "event delivered, request",
        });
        if letter.sort == Sort::OneWay {
            self.ended.well += 1;
        }
        self.take(node, op, letter, written, incoming);
    }

    fn check(
        &mut self,
        node: u16,
        op: usize,
        letter: Letter,
        written: Written,
        incoming: &Incoming,
    ) -> Result<(), (Check, String)> {
        let now = self.net.now();
        let Some(receiver) = self.life(node, incoming.connection()) else {
            return Err((Check::Message, format!("it comes on {}, which is over", incoming.connection())));
        };
        let (states, ops) = (&self.states, &self.ops);
        let State::Sent(sent) = &states[op] else {
            return Err((Check::Message, "it was never sent".to_owned()));
        };
        if written != (Written { op: ops[op].id, reply: false, by: sent.incarnation }) {
            return Err((Check::Message, format!("it is {written:?}")));
        }
        // What has ended, or was too late, may be missing.
        let excused = |number: usize| match &states[number] {
            State::Sent(sent) => sent.ended.is_some() || sent.deadline <= now,
            _ => true,
        };
        let came = self.lives.deliver(receiver, sent, excused);
        came.map_err(|what| (Check::Message, what))?;
        if incoming.r#type() != MESSAGE
            || incoming.is_request() != matches!(letter.sort, Sort::Request { .. })
        {
            return Err((Check::Message, format!("it is of type {}", incoming.r#type())));
        }
        let due = incoming.deadline();
        let late = if sent.deadline == Instant::FAR { due != Instant::FAR } else { due < sent.deadline };
        if late || due <= now {
            let what = format!("its deadline is {due} at {now}, and was {} when it was sent", sent.deadline);
            return Err((Check::Deadline, what));
        }
        written.is_in(incoming, letter.load.len).map_err(|what| (Check::Bytes, what))
    }

    /// Does with a message what its plan says.
    fn take(&mut self, node: u16, op: usize, letter: Letter, written: Written, mut incoming: Incoming) {
        if let Sort::Request { reply, .. } = letter.sort
            && let Some(reply_to) = incoming.take_reply_to()
        {
            self.next += 1;
            let number = self.next;
            self.pending.insert(number, Pending { node, op, reply_to, tries: 0 });
            match reply {
                Reply::Never if !self.healed => {}
                Reply::Never => self.answer(number),
                Reply::Drops(ns) | Reply::After(ns, _) => self.after(ns, Task::Answer(number)),
            }
        }
        let keep_ns = if self.healed { 0 } else { letter.keep_ns };
        self.keep(node, op, written, letter.load.len, incoming, keep_ns);
    }

    /// Keeps a message for a while.
    pub(super) fn keep(
        &mut self,
        node: u16,
        op: usize,
        written: Written,
        len: u32,
        incoming: Incoming,
        ns: u64,
    ) {
        self.next += 1;
        self.kept.insert(self.next, Kept { node, op, written, len, incoming });
        self.after(ns, Task::LetGo(self.next));
    }

    /// A message that was kept is dropped; its data is as it was.
    pub(super) fn let_go(&mut self, number: u64) {
        let Some(Kept { node, op, written, len, incoming }) = self.kept.remove(&number) else { return };
        // The sink was taken out of a reply.
        if incoming.data().is_some()
            && let Err(what) = written.is_in(&incoming, len)
        {
            self.guilty(Check::Bytes, Some(op), || format!("node {node}, while it was kept: {what}"));
        }
        if !written.reply
            && let Some(sent) = self.sent(op)
        {
            sent.let_go = true;
        }
        drop(incoming);
        self.net.touch(node);
    }

    /// A request is answered, or let go of.
    pub(super) fn answer(&mut self, number: u64) {
        let Some(Pending { node, op, reply_to, tries }) = self.pending.remove(&number) else { return };
        let now = self.net.now();
        let What::Send(Letter { sort: Sort::Request { reply, .. }, .. }) = self.ops[op].what else { return };
        self.net.touch(node);
        let connection = reply_to.connection();
        let load = match reply {
            Reply::After(_, load) if tries < TRIES_MAX => load,
            _ => return self.unanswered(op),
        };
        let by = self.hosts[usize::from(node)].incarnation;
        let written = Written { op: self.ops[op].id, reply: true, by };
        let data = match self.data(node, connection, load, written) {
            Ok(data) => data,
            Err(SendReason::Unknown(_)) => return self.unanswered(op),
            Err(_) => {
                self.pending.insert(number, Pending { node, op, reply_to, tries: tries + 1 });
                return self.after(AGAIN_NS, Task::Answer(number));
            }
        };
        let front = written.front(load.front_len);
        let mut message = Message::new(REPLY, &front, Instant::FAR);
        if let Some(data) = data {
            message = message.with(data).by(load.way);
        }
        let Some(messenger) = self.messenger(node) else { return };
        match messenger.reply(now, reply_to, message) {
            Ok(()) => {
                self.say(|| format!("node {node} replies to op {}: {load:?}", written.op));
                if let Some(sent) = self.sent(op) {
                    sent.reply = Some((load.len, by));
                }
            }
            Err(error) => {
                self.say(|| format!("node {node} cannot reply to op {}: {error}", written.op));
                self.count(match error.reason {
                    SendReason::StaleReply | SendReason::Unknown(_) => "reply too late for its connection",
                    _ => "reply refused",
                });
                self.unanswered(op);
            }
        }
        self.hear(node);
    }

    fn unanswered(&mut self, op: usize) {
        if let Some(sent) = self.sent(op) {
            sent.unanswered = true;
        }
    }
}
