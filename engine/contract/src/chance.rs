//! Chance as an argument: one oracle answers every question that has more than one legal answer.

/// A place in the code that asks for a choice.
///
/// Sites name *what* is being decided, so that a recorded run can be read and shrunk by a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Site {
    /// Extra latency of a packet on a link, in ns.
    LinkJitter,
    /// Whether a link loses this packet: the last of `bound` choices loses it.
    LinkLoss,
    /// Whether a link delivers this packet twice: the last of `bound` choices does.
    LinkDuplicate,
    /// Whether this packet is overtaken by later ones: the last of `bound` choices is.
    LinkReorder,
    /// Whether a bit of this packet flips on the way: the last of `bound` choices does.
    LinkCorrupt,
    /// Which bit.
    LinkCorruptAt,
    /// Whether this packet loses its tail: the last of `bound` choices does.
    LinkTruncate,
    /// In which order the pieces of a message are placed, where the device does not promise one.
    Placement,
    /// Between which of its bytes a placement is seen half done.
    Tear,
    /// Which of the queue pairs that share a completion queue reports first.
    CompletionOrder,
    /// Whether a fault that comes by chance comes now: the last of `bound` choices brings it.
    Fault,
    /// Whether the engine does something legal but rare.
    Buggify(Buggify),
    /// How far an ACK timeout runs past its nominal value (IBA lets it reach four times that).
    TimeoutSlack,
    /// Which of the ready nodes is turned first.
    NodeOrder,
    /// Which operation of a mix comes next.
    WorkloadOp,
    /// The size of the next operation.
    WorkloadSize,
    /// The place the next operation goes to.
    WorkloadPlace,
    /// The gap before the next arrival of an open loop.
    WorkloadArrival,
    /// What a generated run consists of.
    Swarm,
    /// How much longer something takes on a line, in ns.
    LineDelay,
    /// In how many more pieces the bytes of a line arrive.
    LinePieces,
}

/// Places in the engine that may do something legal but rare, so that whoever builds on it meets it before hardware does
/// it to them. Off everywhere but in simulations that ask for them. The word is FoundationDB's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Buggify {
    /// A batch is rung for in two parts.
    SplitBatch,
    /// A queue with works in it takes no more, though it has room.
    EarlyFull,
    /// A turn does not poll.
    DelayPoll,
    /// A poll takes a single completion.
    ShortPoll,
    /// A transfer has one work outstanding at a time.
    ShrinkWindow,
    /// Another endpoint than the first in line is served first.
    ReorderEndpoints,
    /// Free memory is given out anew instead of memory used a moment ago.
    ReorderLeases,
    /// Every send is signalled, or as few as may be.
    OtherSignals,
}

impl Buggify {
    /// All of them.
    pub const ALL: [Buggify; 8] = [
        Buggify::SplitBatch,
        Buggify::EarlyFull,
        Buggify::DelayPoll,
        Buggify::ShortPoll,
        Buggify::ShrinkWindow,
        Buggify::ReorderEndpoints,
        Buggify::ReorderLeases,
        Buggify::OtherSignals,
    ];

    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Buggify::SplitBatch => "split-batch",
            Buggify::EarlyFull => "early-full",
            Buggify::DelayPoll => "delay-poll",
            Buggify::ShortPoll => "short-poll",
            Buggify::ShrinkWindow => "shrink-window",
            Buggify::ReorderEndpoints => "reorder-endpoints",
            Buggify::ReorderLeases => "reorder-leases",
            Buggify::OtherSignals => "other-signals",
        }
    }
}

impl Site {
    /// Every site.
    pub fn all() -> impl Iterator<Item = Site> {
        let plain = [
            Site::LinkJitter,
            Site::LinkLoss,
            Site::LinkDuplicate,
            Site::LinkReorder,
            Site::LinkCorrupt,
            Site::LinkCorruptAt,
            Site::LinkTruncate,
            Site::Placement,
            Site::Tear,
            Site::CompletionOrder,
            Site::Fault,
            Site::TimeoutSlack,
            Site::NodeOrder,
            Site::WorkloadOp,
            Site::WorkloadSize,
            Site::WorkloadPlace,
            Site::WorkloadArrival,
            Site::Swarm,
        ];
        // What came later stands behind, so that the streams of the others stay theirs.
        let later = [Site::LineDelay, Site::LinePieces];
        plain.into_iter().chain(Buggify::ALL.into_iter().map(Site::Buggify)).chain(later)
    }

    /// How many there are.
    pub const COUNT: usize = 20 + Buggify::ALL.len();

    /// Its place in [`all`](Site::all), for tables with an entry per site.
    pub const fn index(self) -> usize {
        match self {
            Site::LinkJitter => 0,
            Site::LinkLoss => 1,
            Site::LinkDuplicate => 2,
            Site::LinkReorder => 3,
            Site::LinkCorrupt => 4,
            Site::LinkCorruptAt => 5,
            Site::LinkTruncate => 6,
            Site::Placement => 7,
            Site::Tear => 8,
            Site::CompletionOrder => 9,
            Site::Fault => 10,
            Site::TimeoutSlack => 11,
            Site::NodeOrder => 12,
            Site::WorkloadOp => 13,
            Site::WorkloadSize => 14,
            Site::WorkloadPlace => 15,
            Site::WorkloadArrival => 16,
            Site::Swarm => 17,
            Site::Buggify(buggify) => 18 + buggify as usize,
            Site::LineDelay => 18 + Buggify::ALL.len(),
            Site::LinePieces => 19 + Buggify::ALL.len(),
        }
    }

    /// Whether it asks for a yes, which is the last of `bound` choices, and takes all others for a no.
    pub const fn is_one_in(self) -> bool {
        matches!(
            self,
            Site::LinkLoss
                | Site::LinkDuplicate
                | Site::LinkReorder
                | Site::LinkCorrupt
                | Site::LinkTruncate
                | Site::Fault
        )
    }

    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Site::LinkJitter => "link-jitter",
            Site::LinkLoss => "link-loss",
            Site::LinkDuplicate => "link-duplicate",
            Site::LinkReorder => "link-reorder",
            Site::LinkCorrupt => "link-corrupt",
            Site::LinkCorruptAt => "link-corrupt-at",
            Site::LinkTruncate => "link-truncate",
            Site::Placement => "placement",
            Site::Tear => "tear",
            Site::CompletionOrder => "completion-order",
            Site::Fault => "fault",
            Site::Buggify(buggify) => buggify.name(),
            Site::TimeoutSlack => "timeout-slack",
            Site::NodeOrder => "node-order",
            Site::WorkloadOp => "workload-op",
            Site::WorkloadSize => "workload-size",
            Site::WorkloadPlace => "workload-place",
            Site::WorkloadArrival => "workload-arrival",
            Site::Swarm => "swarm",
            Site::LineDelay => "line-delay",
            Site::LinePieces => "line-pieces",
        }
    }

    /// The site of this name.
    pub fn from_name(name: &str) -> Option<Site> {
        Site::all().find(|site| site.name() == name)
    }
}

/// The one source of chance. No other entropy exists in simulated code.
///
/// **Zero is always the quiet choice**: no fault, the shortest delay, the first in order. Shrinking and replay
/// depend on it: a run whose choices are all zero is the dullest legal run.
pub trait Choices {
    /// Picks a number below `bound`. A `bound` of 0 or 1 leaves no choice and must answer 0 without consuming
    /// anything.
    fn choose(&mut self, site: Site, bound: u64) -> u64;
}

impl<C: Choices + ?Sized> Choices for &mut C {
    #[inline]
    fn choose(&mut self, site: Site, bound: u64) -> u64 {
        (**self).choose(site, bound)
    }
}

/// Always the quiet choice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Choices for Quiet {
    fn choose(&mut self, _site: Site, _bound: u64) -> u64 {
        0
    }
}

/// Choices drawn from a seed by SplitMix64 (Steele, Lea, Flood 2014): the same on every machine.
#[derive(Clone, Debug)]
pub struct Seeded {
    state: u64,
    draws: u64,
}

impl Seeded {
    /// Every seed is good, 0 included.
    pub fn new(seed: u64) -> Seeded {
        Seeded { state: seed, draws: 0 }
    }

    /// How many choices have been drawn: two runs that disagree here took different paths.
    pub fn draws(&self) -> u64 {
        self.draws
    }

    fn next(&mut self) -> u64 {
        self.draws += 1;
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix64(self.state)
    }
}

impl Choices for Seeded {
    fn choose(&mut self, _site: Site, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        // Lemire's multiply-shift: no division, and a bias below 2^-64 * bound that no workload can see.
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// SplitMix64's finaliser: a bijection on 64 bits in which every input bit reaches every output bit.
pub const fn mix64(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_site_is_found_by_its_name_and_no_two_share_one() {
        assert!(Site::all().all(|site| Site::from_name(site.name()) == Some(site)));
        assert_eq!(Site::from_name("weather"), None);
        assert!(Site::all().map(Site::index).eq(0..Site::COUNT));
    }

    #[test]
    fn a_seed_gives_the_published_splitmix64_sequence() {
        // First outputs for seed 1234567, from the reference implementation by S. Vigna.
        let mut s = Seeded::new(1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| s.next()).collect();
        assert_eq!(drawn, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn choices_stay_below_their_bound_and_no_choice_draws_nothing() {
        let mut s = Seeded::new(7);
        assert!((0..1000).all(|_| s.choose(Site::LinkJitter, 10) < 10));
        let before = s.draws();
        assert_eq!((s.choose(Site::LinkJitter, 0), s.choose(Site::LinkJitter, 1)), (0, 0));
        assert_eq!(s.draws(), before);
    }
}
