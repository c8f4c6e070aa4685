//! What users do: call, send, give up, close.

use wavetank_contract::{Choices, Instant, Lease};
use wavetank_messenger::{ConnectRefused, ConnectionId, Data, Message, SendError, SendReason};

use super::{Run, State, Task};
use crate::check::Check;
use crate::messenger::oracle::{Sent, Written};
use crate::messenger::plan::{Letter, Load, Place, Sort, What};

/// How long whoever cannot send waits, in ns.
const AGAIN_NS: u64 = 150_000;

/// How long it is tried, in ns.
const PATIENCE_NS: u64 = 30_000_000;

/// The type of a message and of a reply.
pub(super) const MESSAGE: u16 = 0x11;
pub(super) const REPLY: u16 = 0x22;

/// What an empty sink holds.
pub(super) const POISON: u8 = 0xc3;

impl<X: Choices + Clone + 'static> Run<'_, X> {
    /// A side calls.
    pub(super) fn dial(&mut self, connection: usize, end: u8) {
        let plan = self.plan.connections[connection];
        let (node, to) = (plan.nodes[usize::from(end)], plan.nodes[usize::from(1 - end)]);
        let host = &self.hosts[usize::from(node)];
        if host.outage.is_some() || end == 0 && host.current[connection].is_some() {
            return;
        }
        let now = self.net.now();
        let Some(messenger) = self.messenger(node) else { return };
        match messenger.connect(now, &to.to_string(), Some(u64::from(to) + 1), plan.policy) {
            Ok(id) => {
                self.say(|| format!("node {node} connects to {to} as a {}: {id}", plan.policy));
                self.know(node, id, connection, end);
            }
            Err(ConnectRefused::Twice(_)) => {}
            Err(ConnectRefused::TooMany(_)) if self.healed => {}
            Err(ConnectRefused::TooMany(_)) => self.after(AGAIN_NS, Task::Dial { connection, end }),
            Err(error) => self.guilty(Check::Expectation, None, || format!("node {node}: {error}")),
        }
        self.hear(node);
    }

    /// A connection has a name at a node from now on.
    pub(super) fn know(&mut self, node: u16, id: ConnectionId, connection: usize, end: u8) {
        let host = self.host(node);
        host.current[connection] = Some(id);
        host.known.entry(id).or_insert(super::hosts::Known {
            connection,
            end,
            resets: 0,
            established: 0,
            anew: false,
        });
    }

    /// The life that a connection of a node is in.
    pub(super) fn life(&mut self, node: u16, id: ConnectionId) -> Option<usize> {
        let host = &self.hosts[usize::from(node)];
        let known = host.known.get(&id)?;
        let whose = (node, host.incarnation, id.to_u64(), known.resets);
        Some(self.lives.of(whose, known.connection, known.end))
    }

    /// An operation begins.
    pub(super) fn begin(&mut self, op: usize) {
        let plan = self.ops[op];
        if !matches!(self.states[op], State::Waiting) {
            return;
        }
        let node = self.sender_of(op);
        let current = self.hosts[usize::from(node)].current[usize::from(plan.connection)];
        let waited = self.net.now().since_ns(Instant(plan.at_ns));
        let Some(id) = current else {
            let gone = self.healed || waited > PATIENCE_NS;
            return if gone { self.not_begun(op) } else { self.after(AGAIN_NS, Task::Op(op)) };
        };
        match plan.what {
            What::Close => {
                self.close(node, id);
                self.states[op] = State::NotBegun;
            }
            What::Send(letter) => match self.send(op, node, id, letter) {
                Ok(()) => {}
                Err(SendReason::Unknown(_)) => {
                    self.guilty(Check::Message, Some(op), || {
                        format!("node {node} was not told that {id} is gone")
                    });
                }
                Err(reason) if is_for_good(&reason) => {
                    self.say(|| format!("op {}: not sent: {reason}", plan.id));
                    self.not_begun(op);
                }
                Err(_) if waited > PATIENCE_NS => self.not_begun(op),
                Err(_) => self.after(AGAIN_NS, Task::Op(op)),
            },
        }
        self.hear(node);
    }

    fn not_begun(&mut self, op: usize) {
        self.states[op] = State::NotBegun;
        self.ended.not_begun += 1;
        self.count("operation not begun");
    }

    /// A side closes a connection.
    pub(super) fn close(&mut self, node: u16, id: ConnectionId) {
        let now = self.net.now();
        self.say(|| format!("node {node} closes {id}"));
        let life = self.life(node, id);
        let Some(messenger) = self.messenger(node) else { return };
        let closed = messenger.close(now, id, "enough");
        if !closed {
            self.guilty(Check::Message, None, || format!("node {node} was not told that {id} is gone"));
        }
        self.count("event closed by this side");
        // What it ends is told at once, and nothing after it.
        self.hear(node);
        self.over(node, id, life);
    }

    /// A connection of a node is no more.
    pub(super) fn over(&mut self, node: u16, id: ConnectionId, life: Option<usize>) {
        if let Some(life) = life {
            self.lives.get_mut(life).over = true;
        }
        let Some(known) = self.host(node).known.remove(&id) else { return };
        let connection = known.connection;
        let current = &mut self.host(node).current[connection];
        if *current != Some(id) {
            return;
        }
        *current = None;
        let plan = self.plan.connections[connection];
        let calls = plan.dials_ns[usize::from(known.end)].is_some();
        if let Some(ns) = plan.redial_ns.filter(|_| calls && !self.healed) {
            self.after(ns, Task::Dial { connection, end: known.end });
        }
    }

    /// Memory with data in it.
    pub(super) fn data(
        &mut self,
        node: u16,
        id: ConnectionId,
        load: Load,
        written: Written,
    ) -> Result<Option<Data>, SendReason> {
        if load.len == 0 {
            return Ok(None);
        }
        let len = u64::from(load.len);
        if load.place == Place::Own {
            let Some((lease, mr)) = self.own_lease(node, len) else {
                return Err(SendReason::Memory(wavetank_engine::memory::MemoryError::Empty));
            };
            written.fill(&lease, load.len);
            return Ok(Some(Data { lease, len, mr: Some(mr) }));
        }
        let Some(messenger) = self.messenger(node) else { return Err(SendReason::Unknown(id)) };
        let lease = match load.place {
            Place::Exposed => messenger.expose(id, len)?.ok_or(SendReason::Unknown(id))?,
            _ => messenger.lease(len)?,
        };
        written.fill(&lease, load.len);
        Ok(Some(Data::all(lease)))
    }

    fn send(&mut self, op: usize, node: u16, id: ConnectionId, letter: Letter) -> Result<(), SendReason> {
        let (now, plan) = (self.net.now(), self.ops[op]);
        let incarnation = self.hosts[usize::from(node)].incarnation;
        let written = Written { op: plan.id, reply: false, by: incarnation };
        let data = self.data(node, id, letter.load, written)?;
        let front = written.front(letter.load.front_len);
        let deadline = letter.deadline_ns.map_or(Instant::FAR, |ns| now + ns);
        let tag = op as u64;
        let mut message = Message::new(MESSAGE, &front, deadline).tagged(tag);
        if let Some(data) = data {
            message = message.with(data).by(letter.load.way);
        }
        let Some(life) = self.life(node, id) else { return Err(SendReason::Unknown(id)) };
        let Some(messenger) = self.messenger(node) else { return Err(SendReason::Unknown(id)) };
        let mut request = None;
        let mut given = None;
        let refused = |error: SendError| error.reason;
        match letter.sort {
            Sort::OneWay => messenger.send(now, id, message).map_err(refused)?,
            Sort::Held => messenger.send_held(now, id, message).map_err(refused)?,
            Sort::Request { sink, .. } => {
                let sink = match sink {
                    None => None,
                    Some(len) => messenger.expose(id, u64::from(len))?,
                };
                if let Some(lease) = &sink {
                    poison(lease);
                    given = Some((lease.offset(), lease.len()));
                }
                request = Some(messenger.request(now, id, message, sink).map_err(refused)?);
            }
        }
        let sent = &mut self.lives.get_mut(life).sent;
        let number = sent.len();
        sent.push(op);
        self.states[op] = State::Sent(Box::new(Sent {
            life,
            number,
            node,
            incarnation,
            connection: id.to_u64(),
            deadline,
            request,
            sink: given,
            cancelled: false,
            delivered: false,
            let_go: false,
            unanswered: false,
            reply: None,
            ended: None,
        }));
        self.say(|| {
            format!("node {node} sends op {} as number {number} of life {life} on {id}: {letter:?}", plan.id)
        });
        if let Sort::Request { cancel_ns: Some(ns), .. } = letter.sort {
            self.after(ns, Task::Cancel(op));
        }
        Ok(())
    }

    /// A request is given up.
    pub(super) fn cancel(&mut self, op: usize) {
        let node = self.sender_of(op);
        let incarnation = self.hosts[usize::from(node)].incarnation;
        let Some(sent) = self.sent(op) else { return };
        let Some(request) = sent.request.filter(|_| sent.incarnation == incarnation) else { return };
        let ended = sent.ended.is_some();
        sent.cancelled |= !ended;
        let Some(messenger) = self.messenger(node) else { return };
        let was_there = messenger.cancel(request);
        if was_there == ended {
            self.guilty(Check::Message, Some(op), || {
                format!("it had ended: {ended}, and the messenger gave it up: {was_there}")
            });
        }
        self.hear(node);
    }
}

/// Fills memory with what nobody sends.
pub(super) fn poison(lease: &Lease) {
    lease.region().cells(lease.offset(), lease.len() as usize).iter().for_each(|cell| cell.set(POISON));
}

/// Whether waiting does not help.
fn is_for_good(reason: &SendReason) -> bool {
    !matches!(
        reason,
        SendReason::QueueFull(_)
            | SendReason::TooManyRequests(_)
            | SendReason::Memory(_)
            | SendReason::Closing(_)
            | SendReason::Unknown(_)
    )
}
