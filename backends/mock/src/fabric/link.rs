//! Links: where packets are under way.

use std::collections::VecDeque;

use wavetank_contract::{Choices, Instant, Site};

use crate::marks::{Mark, Marks};
use crate::packet::{Packet, PacketPool};

/// What is wrong with one direction between two nodes. All zero: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFaults {
    /// One packet in this many is lost: 0 none, 1 all.
    pub loss_one_in: u64,
    /// How many packets are lost at a time; 0 counts as 1.
    pub loss_burst: u32,
    /// Lose one packet after this many more.
    pub lose_after: Option<u64>,
    /// One packet in this many arrives twice: 0 none.
    pub duplicate_one_in: u64,
    /// One packet in this many is overtaken: 0 none.
    pub reorder_one_in: u64,
    /// How much later those arrive, in ns.
    pub reorder_ns: u64,
    /// How much later every packet arrives, in ns.
    pub delay_ns: u64,
    /// A bit flips in one packet in this many: 0 none.
    pub corrupt_one_in: u64,
    /// One packet in this many loses its tail: 0 none.
    pub truncate_one_in: u64,
    /// What is left of the bandwidth, in a hundred: 0 and 100 are all of it. What leaves for this link takes the port of its
    /// sender so much longer.
    pub bandwidth_percent: u8,
}

/// One direction between two nodes. Keeps packets in order, unless it is told to let some be overtaken.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// By arrival.
    packets: VecDeque<InFlight>,
    /// When the event for the first packet is due. An event at another time is of a packet that was first no longer when
    /// it came.
    pub(crate) planned: Instant,
    pub(crate) last_arrival: Instant,
    faults: LinkFaults,
    /// Somebody may have changed the faults: they are looked at before the next packet.
    disturbed: bool,
    /// What is still to be lost of a burst.
    burst_left: u32,
}

/// A packet under way.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) arrives: Instant,
    /// It will never arrive, and this is why.
    pub(crate) lost: Option<Mark>,
    /// The receiving port has set time aside for it: it is taken in when its event comes again.
    pub(crate) admitted: bool,
    /// A later one was put before it.
    pub(crate) overtaken: bool,
    /// It is the second of its kind.
    pub(crate) copy: bool,
    pub(crate) packet: Box<Packet>,
}

impl InFlight {
    #[inline]
    pub(crate) fn new(arrives: Instant, packet: Box<Packet>) -> InFlight {
        InFlight { arrives, lost: None, admitted: false, overtaken: false, copy: false, packet }
    }
}

impl Link {
    /// What is wrong with it, to be changed.
    pub(crate) fn faults_mut(&mut self) -> &mut LinkFaults {
        self.disturbed = true;
        &mut self.faults
    }

    /// Makes it whole.
    pub(crate) fn mend(&mut self) {
        (self.faults, self.disturbed, self.burst_left) = (LinkFaults::default(), false, 0);
    }

    /// Whether packets need [`disturb`](Self::disturb).
    #[inline]
    pub(crate) fn is_disturbed(&self) -> bool {
        self.disturbed
    }

    /// How long a packet takes its port that would take it `ns` on a whole link.
    pub(crate) fn throttled_ns(&self, ns: u64, marks: &Marks) -> u64 {
        match self.faults.bandwidth_percent {
            0 | 100.. => ns,
            percent => {
                marks.pass(Mark::PacketThrottled);
                ns.saturating_mul(100) / u64::from(percent)
            }
        }
    }

    /// Puts a packet on the link behind all others. True when it is the first.
    #[inline]
    pub(crate) fn carry(&mut self, arrives: Instant, packet: Box<Packet>) -> bool {
        let arrives = arrives.max(self.last_arrival);
        self.last_arrival = arrives;
        self.push(InFlight::new(arrives, packet))
    }

    /// Puts a packet on a link that may lose, copy, hold back or damage it. `doomed`: it is lost whatever the link does.
    /// True when it is the first. A whole link draws nothing.
    #[cold]
    pub(crate) fn disturb<C: Choices + ?Sized>(
        &mut self,
        arrives: Instant,
        doomed: Option<Mark>,
        mut packet: Box<Packet>,
        pool: &mut PacketPool,
        marks: &Marks,
        choices: &mut C,
    ) -> bool {
        let faults = self.faults;
        self.disturbed = faults != LinkFaults::default();
        let lost = self.loses(choices).then_some(Mark::PacketLost);
        if faults.delay_ns > 0 {
            marks.pass(Mark::PacketDelayed);
        }
        let arrives = (arrives + faults.delay_ns).max(self.last_arrival);
        self.last_arrival = arrives;
        if let Some(mark) = doomed.or(lost) {
            return self.push(InFlight { lost: Some(mark), ..InFlight::new(arrives, packet) });
        }
        packet.seal();
        let copy = one_in(choices, Site::LinkDuplicate, faults.duplicate_one_in).then(|| pool.copy(&packet));
        let mut first = self.send_damaged(InFlight::new(arrives, packet), choices);
        if let Some(copy) = copy {
            let copy = InFlight { copy: true, ..InFlight::new(arrives, copy) };
            first |= self.send_damaged(copy, choices);
        }
        first
    }

    /// Holds a packet back, or damages it, as the link is told to.
    fn send_damaged<C: Choices + ?Sized>(&mut self, mut in_flight: InFlight, choices: &mut C) -> bool {
        let faults = &self.faults;
        if one_in(choices, Site::LinkReorder, faults.reorder_one_in) {
            in_flight.arrives = in_flight.arrives + faults.reorder_ns;
        }
        let packet = &mut in_flight.packet;
        if one_in(choices, Site::LinkCorrupt, faults.corrupt_one_in) {
            packet.flip(choices.choose(Site::LinkCorruptAt, packet.bits()));
        }
        if one_in(choices, Site::LinkTruncate, faults.truncate_one_in) {
            packet.truncate();
        }
        self.push(in_flight)
    }

    fn loses<C: Choices + ?Sized>(&mut self, choices: &mut C) -> bool {
        if let Some(left) = &mut self.faults.lose_after {
            if *left == 0 {
                self.faults.lose_after = None;
                return true;
            }
            *left -= 1;
        }
        if self.faults.loss_one_in == 0 {
            self.burst_left = 0;
        } else if self.burst_left > 0 {
            self.burst_left -= 1;
            return true;
        }
        let lost = one_in(choices, Site::LinkLoss, self.faults.loss_one_in);
        if lost {
            self.burst_left = self.faults.loss_burst.saturating_sub(1);
        }
        lost
    }

    /// Puts a packet where its arrival says. True when it is the first.
    #[inline]
    fn push(&mut self, in_flight: InFlight) -> bool {
        let arrives = in_flight.arrives;
        if self.packets.back().is_some_and(|last| last.arrives > arrives) {
            return self.overtake(in_flight);
        }
        self.packets.push_back(in_flight);
        let first = self.packets.len() == 1;
        if first {
            self.planned = arrives;
        }
        first
    }

    #[cold]
    fn overtake(&mut self, in_flight: InFlight) -> bool {
        let arrives = in_flight.arrives;
        let place = self.packets.partition_point(|other| other.arrives <= arrives);
        if in_flight.lost.is_none() && !in_flight.copy {
            self.packets.range_mut(place..).for_each(|other| other.overtaken = true);
        }
        self.packets.insert(place, in_flight);
        if place == 0 {
            self.planned = arrives;
        }
        place == 0
    }

    #[inline]
    pub(crate) fn head(&mut self) -> Option<&mut InFlight> {
        self.packets.front_mut()
    }

    /// Takes the first packet off, and says when the next one arrives: now, or later.
    #[inline]
    pub(crate) fn pop(&mut self, now: Instant) -> (Option<InFlight>, Option<Instant>) {
        let popped = self.packets.pop_front();
        let next = self.packets.front().map(|next| next.arrives.max(now));
        if let Some(at) = next {
            self.planned = at;
        }
        (popped, next)
    }
}

/// Whether it happens, which it does once in `n`: never for 0, always for 1.
fn one_in<C: Choices + ?Sized>(choices: &mut C, site: Site, n: u64) -> bool {
    match n {
        0 => false,
        1 => true,
        // Zero is quiet: it happens on the last of the n choices.
        n => choices.choose(site, n) == n - 1,
    }
}
