//! Lies a device can tell, and the liar that all devices of a replay share, so that a lie can reach the memory of both
//! sides.

#[path = "lying/device.rs"]
mod device;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use wavetank_contract::{Op, OpKind, Region};

pub(crate) use device::Lying;

/// What to lie about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing: the honest twin goes through the same wrapper.
    Nothing,
    /// One bit of a READ's destination is flipped, this many bytes from its start.
    FlipRead(usize),
    /// A READ brings the bytes from 8 further on.
    ShiftRead,
    /// A READ brings what its target held before the run.
    StaleRead,
    /// The second half of a READ is from before the run.
    TornRead,
    /// A READ brings the same offset of another region.
    ForeignRead,
    /// A READ leaves its destination as it was.
    EmptyRead,
    /// The second half of a READ never arrives.
    HalfRead,
    /// The last bytes of a READ, this many, never arrive.
    EmptyTail(usize),
    /// One bit of a WRITE's target is flipped.
    DamageWrite,
    /// The second half of a WRITE is not placed.
    TearWrite,
    /// A WRITE is not placed at all.
    LoseWrite,
    /// A byte of this region (in the order of their addresses) changes while nobody writes it.
    Stray { region: usize, offset: u64 },
    /// A completion comes twice.
    Duplicate,
    /// A completion never comes.
    Drop,
    /// A completion comes after the next one of its endpoint.
    Swap,
    /// A completion that names no work.
    Forge,
    /// A completion names another endpoint than its work's.
    WrongEndpoint,
    /// A work that was done is said to have failed.
    Fail,
    /// Each of these READs is complete as soon as it is posted, bytes and all.
    CompleteAtOnce,
    /// A post is refused.
    Refuse,
    /// Registrations never end.
    KeepRegistered,
    /// All of these READs are damaged, and the last one is said to have failed as well.
    FlipThenFail,
    /// The device reports an event nobody caused.
    Event,
    /// One bit of a received message is flipped, this many bytes from its start.
    CorruptMessage(usize),
    /// A message is received short by a byte.
    ShortenMessage,
    /// A message is received, and the receiver is not told.
    LoseMessage,
    /// A receive is said to have failed.
    FailReceive,
    /// An immediate arrives changed.
    WrongImmediate,
    /// An atomic returns another value than it found.
    WrongAtomic,
    /// A fetch-and-add adds twice.
    AtomicTwice,
    /// No doorbell is ever rung.
    NeverRing,
}

impl Lie {
    /// Whether it can be told about such a work.
    fn suits(self, op: &Op) -> bool {
        let kind = op.kind();
        match self {
            Lie::Nothing | Lie::KeepRegistered | Lie::NeverRing | Lie::Refuse => false,
            Lie::FlipRead(_)
            | Lie::ShiftRead
            | Lie::StaleRead
            | Lie::TornRead
            | Lie::ForeignRead
            | Lie::EmptyRead
            | Lie::HalfRead
            | Lie::EmptyTail(_)
            | Lie::FlipThenFail
            | Lie::CompleteAtOnce => kind == OpKind::Read,
            Lie::DamageWrite | Lie::TearWrite | Lie::LoseWrite => kind == OpKind::Write,
            Lie::CorruptMessage(_)
            | Lie::ShortenMessage
            | Lie::LoseMessage
            | Lie::FailReceive
            | Lie::WrongImmediate => kind == OpKind::Recv,
            Lie::WrongAtomic => kind.is_atomic(),
            Lie::AtomicTwice => kind == OpKind::FetchAdd,
            Lie::Duplicate
            | Lie::Drop
            | Lie::Swap
            | Lie::Forge
            | Lie::WrongEndpoint
            | Lie::Fail
            | Lie::Stray { .. }
            | Lie::Event => kind != OpKind::Recv,
        }
    }
}

/// The plan of the lie, and what all devices need to tell it.
#[derive(Debug)]
pub(crate) struct Liar {
    lie: Lie,
    /// Tell it about the works of its kind with these numbers.
    from: u64,
    times: u64,
    seen: u64,
    /// How often it was told.
    pub(crate) told: u64,
    /// Exported memory by its address, with what it held then.
    targets: BTreeMap<u64, (Region, Vec<u8>)>,
    by_key: BTreeMap<Vec<u8>, Region>,
}

impl Liar {
    /// Tells `lie` about `times` works, from number `from` of its kind on.
    pub(crate) fn new(lie: Lie, from: u64, times: u64) -> Rc<RefCell<Liar>> {
        let (targets, by_key) = (BTreeMap::new(), BTreeMap::new());
        Rc::new(RefCell::new(Liar { lie, from, times, seen: 0, told: 0, targets, by_key }))
    }

    /// Works so far that it could be told about.
    #[allow(dead_code)] // not in every test
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    fn is_done(&self) -> bool {
        self.told == self.times
    }

    /// Exported memory, in the order of addresses.
    pub(crate) fn exported(&self, number: usize) -> Region {
        self.targets.values().nth(number).unwrap().0.clone()
    }

    /// Whether this is the time to lie about a work.
    fn strikes(&mut self, op: &Op) -> bool {
        if !self.lie.suits(op) {
            return false;
        }
        let number = self.seen;
        self.seen += 1;
        let now = (self.from..self.from + self.times).contains(&number);
        self.told += u64::from(now);
        now
    }

    /// The memory behind a remote address, the offset in it, and what it held when it was exported.
    fn target(&self, op: &Op) -> (&Region, u64, &[u8]) {
        let addr = op.remote().unwrap().addr;
        let (base, (region, snapshot)) = self.targets.range(..=addr).next_back().unwrap();
        (region, addr - base, snapshot)
    }

    fn target_bytes(&self, op: &Op, len: usize) -> Vec<u8> {
        let (region, offset, _) = self.target(op);
        bytes(region, offset, len)
    }
}

fn bytes(region: &Region, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    region.read(offset, &mut bytes);
    bytes
}

fn flip(region: &Region, offset: u64) {
    let cell = &region.cells(offset, 1)[0];
    cell.set(cell.get() ^ 0x10);
}
