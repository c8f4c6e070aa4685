//! What messengers tell, held to what may be told.

use wavetank_contract::{Choices, Instant};
use wavetank_engine::RdmaOps;
use wavetank_messenger::{ConnectionId, Data, Event, Incoming, NoReply, Policy, RequestError, RequestId};

use super::sending::REPLY;
use super::{Returned, Run, Task};
use crate::check::Check;
use crate::messenger::oracle::Written;
use crate::messenger::plan::{Letter, Sort, What};

/// How late a deadline may be told, in ns.
const SLACK_NS: u64 = 2_000_000;

impl<X: Choices + Clone + 'static> Run<'_, X> {
    /// Takes what happened at a node.
    pub(super) fn collect(&mut self, node: u16) {
        if let Some(messenger) = self.messenger(node)
            && let Some(anomaly) = messenger.driver().context().take_anomaly()
        {
            self.guilty(Check::Completion, None, || format!("node {node}: {anomaly}"));
        }
        self.hear(node);
    }

    /// Takes what a messenger has to say, and lets it carry out what it asked for.
    pub(super) fn hear(&mut self, node: u16) {
        let now = self.net.now();
        while self.guilt.is_none()
            && let Some(event) = self.messenger(node).and_then(wavetank_messenger::Messenger::take_event)
        {
            // Memory may come back with it, which is noticed with the next turn.
            if matches!(event, Event::Released { .. } | Event::Replied { .. }) {
                self.net.touch(node);
            }
            self.told(node, event);
        }
        self.net.carry(node, now);
    }

    fn told(&mut self, node: u16, event: Event) {
        match event {
            Event::Delivered(incoming) => self.delivered(node, incoming),
            Event::Replied { connection, request, tag, reply } => {
                self.replied(node, connection, request, tag, reply);
            }
            Event::Released { connection, tag, data, delivered } => {
                self.released(node, connection, tag, data, delivered);
            }
            Event::Dropped { connection, tag, why } => {
                self.say(|| format!("node {node}: dropped op {tag}: {why:?}"));
                self.count("event dropped");
                self.trace(node, tag, 0, 3);
                self.ends(node, connection, tag, "dropped");
            }
            other => self.connection_told(node, &other),
        }
    }

    fn connection_told(&mut self, node: u16, event: &Event) {
        self.say(|| format!("node {node}: {event:?}"));
        let (status, connection, word) = match event {
            Event::Accepted { connection, .. } => (4, Some(*connection), "accepted"),
            Event::Established { connection, resumed: true, .. } => (5, Some(*connection), "resumed"),
            Event::Established { connection, .. } => (6, Some(*connection), "established"),
            Event::Reconnecting { connection, .. } => (7, Some(*connection), "reconnecting"),
            Event::Reset { connection, .. } => (8, Some(*connection), "reset"),
            Event::RemoteReset { connection } => (9, Some(*connection), "remote reset"),
            Event::Refused { connection, .. } => (10, Some(*connection), "refused"),
            Event::Rejected { .. } => (11, None, "rejected"),
            _ => (12, None, "something new"),
        };
        self.trace(node, connection.map_or(0, ConnectionId::to_u64), 0, status);
        if let Event::Accepted { connection, peer } = event {
            self.count("event accepted");
            return self.accepted(node, *connection, *peer);
        }
        let Some(id) = connection else { return self.count(format!("event {word}")) };
        let Some(known) = self.hosts[usize::from(node)].known.get(&id).copied() else {
            return self
                .guilty(Check::Event, None, || format!("node {node} is told {word} of {id}, which is over"));
        };
        let plan = self.plan.connections[known.connection];
        self.count(format!("event {word} of a {}", policy_of(&plan.policy, known.end)));
        let life = self.life(node, id);
        match event {
            Event::Established { resumed, peer, .. } => {
                let at = usize::from(known.end);
                if *peer != u64::from(plan.nodes[1 - at]) + 1 {
                    self.guilty(Check::Event, None, || format!("node {node}: {id} is with {peer}"));
                }
                let silently = known.established > 0 && !known.anew && !resumed;
                let wrongly = *resumed && (known.established == 0 || known.anew);
                if silently || wrongly {
                    self.guilty(Check::Event, None, || {
                        format!("node {node}: {id} is there again, resumed: {resumed}, and it was {known:?}")
                    });
                }
                if let Some(known) = self.host(node).known.get_mut(&id) {
                    known.established += 1;
                    known.anew = false;
                }
            }
            Event::Reconnecting { .. } if !plan.policy.is_lossless() => {
                self.guilty(Check::Event, None, || format!("node {node}: {id} keeps nothing"));
            }
            Event::RemoteReset { .. } => {
                if let Some(life) = life {
                    self.lives.get_mut(life).over = true;
                }
                if let Some(known) = self.host(node).known.get_mut(&id) {
                    known.resets += 1;
                    known.anew = true;
                }
            }
            Event::Reset { .. } | Event::Refused { .. } => self.over(node, id, life),
            _ => {}
        }
    }

    /// A peer has connected.
    fn accepted(&mut self, node: u16, id: ConnectionId, peer: u64) {
        let from = peer.wrapping_sub(1);
        let place = self.plan.connections.iter().position(|plan| {
            let nodes = plan.nodes.map(u64::from);
            nodes == [from, u64::from(node)]
                || plan.policy == Policy::LosslessPeer && nodes == [u64::from(node), from]
        });
        let known = self.hosts[usize::from(node)].known.contains_key(&id);
        let Some(connection) = place.filter(|_| !known) else {
            return self.guilty(Check::Event, None, || {
                format!("node {node} accepted {peer} as {id}, which is known: {known}")
            });
        };
        let end = u8::from(u64::from(self.plan.connections[connection].nodes[0]) == from);
        self.know(node, id, connection, end);
        if let Some(known) = self.host(node).known.get_mut(&id) {
            known.established = 1;
        }
    }

    fn letter(&self, op: usize) -> Option<Letter> {
        match self.ops.get(op)?.what {
            What::Send(letter) => Some(letter),
            What::Close => None,
        }
    }

    /// Notes that something sent has ended. False, and somebody is guilty: it had not been sent, or had ended.
    fn ends(&mut self, node: u16, connection: ConnectionId, tag: u64, how: &'static str) -> bool {
        let op = tag as usize;
        let known = self.hosts[usize::from(node)].known.contains_key(&connection);
        let incarnation = self.hosts[usize::from(node)].incarnation;
        let Some(sent) = self.sent(op) else {
            self.guilty(Check::Message, Some(op), || format!("node {node}: it is {how}, and was never sent"));
            return false;
        };
        let ours = sent.node == node
            && sent.incarnation == incarnation
            && sent.connection == connection.to_u64()
            && known;
        match sent.ended {
            None if ours => {
                sent.ended = Some(how);
                true
            }
            ended => {
                self.guilty(Check::Message, Some(op), || {
                    format!(
                        "node {node}: it is {how} on {connection}, known: {known}; it had ended: {ended:?}"
                    )
                });
                false
            }
        }
    }

    fn replied(
        &mut self,
        node: u16,
        connection: ConnectionId,
        request: RequestId,
        tag: u64,
        reply: Result<Incoming, Box<NoReply>>,
    ) {
        let op = tag as usize;
        let now = self.net.now();
        let how = if reply.is_ok() { "replied" } else { "failed" };
        self.say(|| match &reply {
            Ok(incoming) => format!("node {node}: op {tag} has its reply of {} bytes", incoming.data_len()),
            Err(no) => format!("node {node}: op {tag} has no reply: {}", no.why),
        });
        let Some(letter) = self.letter(op) else {
            return self.guilty(Check::Message, None, || format!("node {node}: a reply to {tag}"));
        };
        let runs_since = self.hosts[usize::from(node)].runs_since;
        if !self.ends(node, connection, tag, how) {
            return;
        }
        let Some(sent) = self.sent(op) else { return };
        let (deadline, named) = (sent.deadline, sent.request);
        if named != Some(request) {
            return self.guilty(Check::Message, Some(op), || "it has another request's name".to_owned());
        }
        if deadline < Instant::FAR && now > deadline.max(runs_since) + SLACK_NS {
            return self
                .guilty(Check::Deadline, Some(op), || format!("it ended at {now}, due at {deadline}"));
        }
        let wrong = match reply {
            Ok(incoming) => self.reply_came(node, op, letter, incoming),
            Err(no) => self.no_reply(node, op, *no),
        };
        if let Err(what) = wrong {
            self.guilty(Check::Message, Some(op), || what);
        }
    }

    fn reply_came(
        &mut self,
        node: u16,
        op: usize,
        letter: Letter,
        mut incoming: Incoming,
    ) -> Result<(), String> {
        let mut front = [0; 1024];
        let written = Written::read(incoming.front(&mut front))?;
        let id = self.ops[op].id;
        let Some(sent) = self.sent(op) else { return Ok(()) };
        let (reply, sink) = (sent.reply, sent.sink);
        let Some((len, by)) = reply else { return Err("it has a reply that nobody sent".to_owned()) };
        if written != (Written { op: id, reply: true, by }) || incoming.r#type() != REPLY {
            return Err(format!("its reply is {written:?} of type {}", incoming.r#type()));
        }
        written.is_in(&incoming, len)?;
        self.bytes_verified += u64::from(len);
        self.ended.well += 1;
        self.count("event replied");
        self.trace(node, u64::from(id), u64::from(len), 1);
        if let Some((offset, sink_len)) = sink
            && u64::from(len) <= sink_len
            && incoming.take_lease().map(|lease| lease.offset()) != Some(offset)
        {
            return Err(format!("its reply of {len} bytes is not in the {sink_len} bytes it gave"));
        }
        if letter.keep_ns > 0 && incoming.data().is_some() {
            self.keep(node, op, written, len, incoming, letter.keep_ns);
        }
        Ok(())
    }

    fn no_reply(&mut self, node: u16, op: usize, no: NoReply) -> Result<(), String> {
        use wavetank_messenger::frame::Failure;
        let now = self.net.now();
        let NoReply { why, sink } = no;
        let Some(sent) = self.sent(op) else { return Ok(()) };
        let explained = match &why {
            RequestError::Deadline(deadline) => *deadline == sent.deadline && *deadline <= now,
            RequestError::Failed(Failure::Expired) => sent.deadline <= now,
            RequestError::Failed(Failure::Unanswered) => sent.unanswered,
            RequestError::Cancelled => sent.cancelled,
            _ => true,
        };
        let (given, word) = (sent.sink, word_of(&why));
        self.ended.failed += 1;
        self.count(format!("event no reply: {word}"));
        self.trace(node, op as u64, 0, 2);
        if !explained {
            return Err(format!("it has no reply because \"{why}\", and that is not so"));
        }
        if let Some(lease) = sink {
            if given != Some((lease.offset(), lease.len())) {
                return Err("other memory came back than it gave".to_owned());
            }
            // Nobody may write it any more.
            super::sending::poison(&lease);
            self.next += 1;
            self.returned.insert(self.next, Returned { node, op, lease });
            self.after(3_000_000, Task::Sink(self.next));
        }
        Ok(())
    }

    /// Memory that came back without a reply is as it was then.
    pub(super) fn look_at_sink(&mut self, number: u64) {
        let Some(Returned { op, lease, .. }) = self.returned.remove(&number) else { return };
        let cells = lease.region().cells(lease.offset(), lease.len() as usize);
        if let Some(byte) = cells.iter().position(|cell| cell.get() != super::sending::POISON) {
            self.guilty(Check::Bytes, Some(op), || {
                format!("byte {byte} of the memory it gave for its reply was written after it had come back")
            });
        }
    }

    fn released(
        &mut self,
        node: u16,
        connection: ConnectionId,
        tag: u64,
        data: Option<Data>,
        delivered: bool,
    ) {
        let op = tag as usize;
        self.say(|| format!("node {node}: op {tag} is released, delivered: {delivered}"));
        let Some(letter) = self.letter(op).filter(|letter| letter.sort == Sort::Held) else {
            return self.guilty(Check::Message, None, || format!("node {node}: {tag} is released"));
        };
        if !self.ends(node, connection, tag, "released") {
            return;
        }
        self.count(if delivered { "event released" } else { "event released, not delivered" });
        self.trace(node, tag, 0, if delivered { 13 } else { 14 });
        let id = self.ops[op].id;
        let Some(sent) = self.sent(op) else { return };
        if delivered && !(sent.delivered && sent.let_go) {
            let what = format!("it was delivered: {}, and let go of: {}", sent.delivered, sent.let_go);
            return self.guilty(Check::Message, Some(op), || what);
        }
        let written = Written { op: id, reply: false, by: sent.incarnation };
        let held = match &data {
            // It was on its way when the connection ended.
            None if letter.load.len > 0 && delivered => Err("its data did not come back".to_owned()),
            None => Ok(()),
            Some(data) if data.len != u64::from(letter.load.len) => {
                Err(format!("{} bytes of data came back", data.len))
            }
            Some(data) => written.holds(data.lease.region(), data.lease.offset(), data.len),
        };
        match held {
            Ok(()) => self.ended.well += 1,
            Err(what) => self.guilty(Check::Bytes, Some(op), || format!("as it is released: {what}")),
        }
    }
}

/// The policy of an end, as the caller's says.
fn policy_of(policy: &Policy, end: u8) -> &'static str {
    match (policy, end) {
        (Policy::LossyClient, 1) => Policy::StatelessServer.name(),
        (Policy::LosslessClient, 1) => Policy::StatefulServer.name(),
        (policy, _) => policy.name(),
    }
}

fn word_of(why: &RequestError) -> &'static str {
    match why {
        RequestError::Deadline(_) => "deadline",
        RequestError::Failed(_) => "failed at the peer",
        RequestError::Reset(_) => "reset",
        RequestError::RemoteReset => "remote reset",
        RequestError::Closed => "closed",
        RequestError::Cancelled => "cancelled",
        RequestError::TooLong { .. } => "too long",
        _ => "something new",
    }
}
