//! The wire between NICs, and the clock: a discrete-event simulation in virtual nanoseconds.
//!
//! Each node has a port that sends and receives at the profile's bandwidth; each ordered pair of nodes has a link
//! that keeps packets in order. Contention shows where it arises: packets queue at the port they leave and at the
//! port they enter.

mod agenda;
mod link;
mod port;
mod step;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use wavetank_contract::{Buggify, Choices, EpId, Instant, QpState, Site};

use crate::caps::caps;
use crate::device::MockNic;
use crate::marks::Mark;
use crate::nic::{Nic, QPN_BASE, Shared, TimerOutcome};
use crate::packet::{Opcode, Packet, PacketPool};
use crate::profile::Profile;
use crate::tap::{Fate, Happening, Tap};
use agenda::{Agenda, Event};
pub use link::LinkFaults;
use link::{InFlight, Link};
use port::Port;
pub use step::{Step, StepKind};

/// How far ahead of the wire a NIC fetches and frames packets: payload is read this long before it leaves, at most.
const FETCH_AHEAD_NS: u64 = 500;

/// Nodes of one fabric, at most.
pub const NODES_MAX: usize = 1024;

/// The simulated network: owns time, NICs, links and the agenda of what happens next.
#[derive(Debug)]
pub struct Fabric {
    profile: Profile,
    shared: Rc<Shared>,
    nics: Vec<Rc<RefCell<Nic>>>,
    ports: Vec<Port>,
    /// By sender, then receiver.
    links: Vec<Vec<Link>>,
    agenda: Agenda,
    pool: PacketPool,
    steps: u64,
}

impl Fabric {
    /// A network with no nodes yet.
    pub fn new(profile: Profile) -> Fabric {
        Fabric {
            profile,
            shared: Rc::new(Shared::default()),
            nics: Vec::new(),
            ports: Vec::new(),
            links: Vec::new(),
            agenda: Agenda::default(),
            pool: PacketPool::default(),
            steps: 0,
        }
    }

    /// Adds a node with one NIC; nodes are numbered from 0.
    ///
    /// # Panics
    /// Beyond [`NODES_MAX`]: whoever reads a number of nodes from a file checks it first.
    pub fn add_node(&mut self) -> MockNic {
        assert!(self.nics.len() < NODES_MAX, "a fabric has at most {NODES_MAX} nodes");
        let nic = Nic::new(self.nics.len() as u16, caps(&self.profile), Rc::clone(&self.shared));
        let nic = Rc::new(RefCell::new(nic));
        self.nics.push(Rc::clone(&nic));
        self.ports.push(Port::default());
        self.links.push(Vec::new());
        let nodes = self.nics.len();
        self.links.iter_mut().for_each(|row| row.resize_with(nodes, Link::default));
        MockNic::new(nic)
    }

    /// The latency profile.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Virtual time.
    #[inline]
    pub fn now(&self) -> Instant {
        self.shared.now.get()
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What is wrong with the link from one node to another; to be changed.
    ///
    /// # Panics
    /// When a node does not exist, as for all other faults.
    pub fn link(&mut self, from: u16, to: u16) -> &mut LinkFaults {
        self.links[from as usize][to as usize].faults_mut()
    }

    /// Makes a link whole again.
    pub fn mend(&mut self, from: u16, to: u16) {
        self.links[from as usize][to as usize].mend();
    }

    /// Takes a node's port down, or up.
    pub fn set_port(&mut self, _node: u16, _up: bool) {}

    /// Removes a node's device. Its host opens another one with [`restart`](Self::restart).
    pub fn remove_device(&mut self, node: u16) {
        self.nics[node as usize].borrow_mut().remove();
    }

    /// Gives a node's port another address.
    pub fn change_gid(&mut self, _node: u16) {}

    /// Keeps a node's next notification from its host.
    pub fn lose_notification(&mut self, node: u16) {
        self.nics[node as usize].borrow_mut().lose_notification();
    }

    /// Lets the `nth` registration of a node from now on fail for want of memory.
    pub fn fail_registration(&mut self, node: u16, nth: u32) {
        self.nics[node as usize].borrow_mut().fail_registration(nth);
    }

    /// Lets a node's device place the pieces of a message in any order, and be seen half way.
    pub fn place_out_of_order(&mut self, node: u16, on: bool) {
        self.nics[node as usize].borrow_mut().place_out_of_order(on);
    }

    /// Lets completions of different queue pairs change places in a queue they share.
    pub fn shuffle_completions(&mut self, node: u16, on: bool) {
        self.nics[node as usize].borrow_mut().shuffle_completions(on);
    }

    /// Pauses a node's port: nothing leaves it for `ns`. Modelled, not validated.
    pub fn pause_port(&mut self, _node: u16, _ns: u64) {}

    /// Puts a buffer of so many bytes before a node's port: what does not fit is dropped. Modelled, not validated.
    pub fn shallow_buffer(&mut self, _node: u16, _bytes: Option<u32>) {}

    /// Marks packets that queue before a node's port, so that their senders slow down. Modelled, not validated.
    pub fn mark_congestion(&mut self, _node: u16, _on: bool) {}

    /// A node dies: its device forgets everything and answers nobody.
    pub fn crash(&mut self, _node: u16) {}

    /// A crashed node, or one whose device was removed, gets a device again. `same`: queue pair numbers and keys of the
    /// earlier life are given out again.
    pub fn restart(&mut self, node: u16, _same: bool) -> MockNic {
        MockNic::new(Rc::clone(&self.nics[node as usize]))
    }

    /// Undoes whatever can be undone: links are mended, ports come up, switches are deep again.
    pub fn heal(&mut self) {
        self.links.iter_mut().flatten().for_each(Link::mend);
    }

    /// Lets somebody see everything from now on, or nobody.
    pub fn set_tap(&mut self, tap: Option<Box<dyn Tap>>) {
        self.shared.tap.set(tap);
    }

    /// Lets engines over these NICs do what is legal but rare, at these sites, by these choices.
    pub fn set_buggify(&mut self, sites: BTreeSet<Buggify>, choices: Box<dyn Choices>) {
        self.shared.buggify.set(sites, choices);
    }

    /// How often a mark was passed.
    pub fn passed(&self, mark: Mark) -> u64 {
        self.shared.marks.get(mark)
    }

    /// Hands out the nodes whose hosts have something to poll, in the order in which it came up.
    #[inline]
    pub fn take_ready(&mut self, out: &mut Vec<u16>) {
        let mut ready = self.shared.ready.borrow_mut();
        if !ready.is_empty() {
            out.append(&mut ready);
        }
    }

    /// When the next event is due, with everything that was posted put on the wire. `None`: nothing is scheduled.
    #[inline]
    pub fn next_at<C: Choices + ?Sized>(&mut self, choices: &mut C) -> Option<Instant> {
        self.attend(choices);
        self.agenda.next_at()
    }

    /// Lets time pass up to `at`, short of the next event.
    ///
    /// # Panics
    /// When that would skip an event or turn time back.
    pub fn advance_to(&mut self, at: Instant) {
        assert!(at >= self.now(), "time runs forward: {at} is before {}", self.now());
        assert!(self.agenda.next_at().is_none_or(|next| at <= next), "an event before {at} would be skipped");
        self.shared.now.set(at);
    }

    /// Handles events up to the next one worth telling. `None` when nothing is scheduled any more.
    ///
    /// What only moves a packet on or finds a deadline moved is not told: time may pass well beyond
    /// [`next_at`](Self::next_at). Whoever has plans of their own for a later time uses
    /// [`step_until`](Self::step_until).
    #[inline]
    pub fn step<C: Choices + ?Sized>(&mut self, choices: &mut C) -> Option<Step> {
        self.step_until(Instant::FAR, choices)
    }

    /// Handles events up to the next one worth telling, none later than `limit`. `None` when there is none up to
    /// then; [`advance_to`](Self::advance_to) may then go to `limit`.
    #[inline]
    pub fn step_until<C: Choices + ?Sized>(&mut self, limit: Instant, choices: &mut C) -> Option<Step> {
        loop {
            self.attend(choices);
            if self.agenda.next_at()? > limit {
                return None;
            }
            if let Some(step) = self.step_one(choices) {
                return Some(step);
            }
        }
    }

    /// Handles the one event that [`next_at`](Self::next_at) just spoke of, told or not.
    #[inline]
    pub fn step_one<C: Choices + ?Sized>(&mut self, choices: &mut C) -> Option<Step> {
        let (at, event) = self.agenda.pop()?;
        self.shared.now.set(at);
        let step = match event {
            Event::Arrival { from, to } => self.deliver(at, from, to, choices),
            Event::PortFree { node } => {
                self.ports[node as usize].waiting = false;
                self.pump(node, choices);
                None
            }
            Event::Timer { node, ep } => self.timer(at, node, ep, choices),
        };
        self.steps += u64::from(step.is_some());
        step
    }

    /// Serves every NIC that asked for it.
    #[inline]
    fn attend<C: Choices + ?Sized>(&mut self, choices: &mut C) {
        while let Some(node) = self.shared.next_kicked() {
            self.nics[node as usize].borrow_mut().attended();
            self.pump(node, choices);
        }
    }

    /// Puts packets of a node on the wire until its port is busy or it has none left.
    fn pump<C: Choices + ?Sized>(&mut self, node: u16, choices: &mut C) {
        let now = self.shared.now.get();
        let mut nic = self.nics[node as usize].borrow_mut();
        let port = &mut self.ports[node as usize];
        while nic.has_line() && port.sends_free <= now + FETCH_AHEAD_NS {
            let mut packet = self.pool.take();
            if !nic.transmit(now, &mut packet) {
                self.pool.give(packet);
                break;
            }
            let Some(link) = self.links[node as usize].get_mut(packet.to_node as usize) else {
                // An address of another fabric: nobody is there.
                self.pool.give(packet);
                continue;
            };
            let mut serialise_ns = self.profile.serialise_ns(u64::from(packet.wire_bytes()));
            if link.is_disturbed() {
                serialise_ns = link.throttled_ns(serialise_ns, &self.shared.marks);
            }
            let sent = port.sends_free.max(now) + serialise_ns;
            port.sends_free = sent;
            if self.shared.tap.is_on() {
                self.shared.tap.tell(sent, &Happening::Sent(packet.view()));
            }
            let jitter = choices.choose(Site::LinkJitter, self.profile.jitter_ns + 1);
            let arrives = sent + self.profile.base_ns + jitter;
            let to = packet.to_node;
            let first = if link.is_disturbed() {
                link.disturb(arrives, None, packet, &mut self.pool, &self.shared.marks, choices)
            } else {
                link.carry(arrives, packet)
            };
            if first {
                self.agenda.push(link.planned, Event::Arrival { from: node, to });
            }
        }
        for (ep, at) in nic.timers.drain(..) {
            self.agenda.push(at, Event::Timer { node, ep });
        }
        if nic.has_line() && !port.waiting {
            port.waiting = true;
            self.agenda.push(port.sends_free - FETCH_AHEAD_NS, Event::PortFree { node });
        }
    }

    /// The first packet of a link arrives.
    #[inline]
    fn deliver<C: Choices + ?Sized>(
        &mut self,
        at: Instant,
        from: u16,
        to: u16,
        choices: &mut C,
    ) -> Option<Step> {
        let link = &mut self.links[from as usize][to as usize];
        if link.planned != at {
            return None;
        }
        let port = &mut self.ports[to as usize];
        let head = link.head()?;
        if head.lost.is_none() && !head.admitted {
            // The receiving port takes packets no faster than its bandwidth, in the order in which they come: time
            // is set aside when a packet has to wait, so that no sender is overtaken for ever by another.
            let ready = port.receives_free + self.profile.serialise_ns(u64::from(head.packet.wire_bytes()));
            port.receives_free = ready.max(at);
            if at < ready {
                head.admitted = true;
                link.planned = ready;
                self.agenda.push(ready, Event::Arrival { from, to });
                return None;
            }
        }
        let (in_flight, next) = link.pop(at);
        if let Some(next) = next {
            self.agenda.push(next, Event::Arrival { from, to });
        }
        Some(self.take_in(at, to, in_flight?, choices))
    }

    /// A packet is there, or would be.
    #[inline]
    fn take_in<C: Choices + ?Sized>(
        &mut self,
        at: Instant,
        to: u16,
        in_flight: InFlight,
        mut choices: &mut C,
    ) -> Step {
        let packet = in_flight.packet;
        let opcode = packet.opcode;
        let met = in_flight.lost.map_or_else(|| self.admits(to, &packet), Err);
        if self.shared.tap.is_on() {
            self.shared.tap.tell(at, &Happening::Arrived(packet.view(), fate(met, opcode)));
        }
        let (kind, state) = match met {
            Ok(state) => {
                if in_flight.overtaken {
                    self.shared.marks.pass(Mark::PacketReordered);
                }
                if in_flight.copy {
                    self.shared.marks.pass(Mark::PacketDuplicated);
                }
                self.nics[to as usize].borrow_mut().receive(at, &packet, &mut choices);
                (StepKind::Delivered(opcode), Some(state))
            }
            Err(why) => {
                self.shared.marks.pass(why);
                (StepKind::dropped(why, opcode), None)
            }
        };
        let step = Step {
            at,
            node: to,
            kind,
            qpn: packet.to_qpn,
            state,
            psn: packet.psn,
            len: packet.len,
            digest: packet.digest,
            syndrome: if opcode == Opcode::Acknowledge { packet.syndrome.wire() } else { 0 },
        };
        self.pool.give(packet);
        step
    }

    /// Whether a packet gets as far as a queue pair: the state that one is in, or why not.
    #[inline]
    fn admits(&self, to: u16, packet: &Packet) -> Result<QpState, Mark> {
        packet.check()?;
        self.nics[to as usize].borrow().claims(packet).ok_or(Mark::SilentDrop)
    }

    fn timer<C: Choices + ?Sized>(
        &mut self,
        at: Instant,
        node: u16,
        ep: u32,
        choices: &mut C,
    ) -> Option<Step> {
        let mut slack = |bound| choices.choose(Site::TimeoutSlack, bound);
        let mut nic = self.nics[node as usize].borrow_mut();
        let state = nic.qp(EpId(ep)).map(|qp| qp.state);
        let outcome = nic.timer(EpId(ep), at, &mut slack);
        let kind = match outcome {
            TimerOutcome::Stale => return None,
            TimerOutcome::TimedOut => {
                self.shared.marks.pass(Mark::AckTimeout);
                StepKind::TimedOut
            }
            TimerOutcome::ReceiverWaited => StepKind::ReceiverWaited,
            TimerOutcome::Placed => StepKind::Placed,
        };
        Some(Step { at, node, kind, qpn: ep + QPN_BASE, state, psn: 0, len: 0, digest: 0, syndrome: 0 })
    }
}

/// What became of a packet that met a queue pair in this state, or none.
fn fate(met: Result<QpState, Mark>, opcode: Opcode) -> Fate {
    match met {
        Err(why) => Fate::Dropped(why),
        Ok(state) if state.responds() || !opcode.is_request() && state == QpState::Sqd => Fate::Taken,
        // rxe: rxe_recv.c check_type_state
        Ok(_) => Fate::Dropped(Mark::SilentDrop),
    }
}
