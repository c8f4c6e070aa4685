//! What sessions hold.

use core::fmt;

use wavetank_contract::{Lease, MrId};

use crate::memory::Exposed;
use crate::slab::{Key, NOWHERE, Slab};

/// Something that belongs to a session and has to be returned when the session ends.
#[derive(Debug)]
#[non_exhaustive]
pub enum Holding {
    /// Memory. Returned by dropping it; works that still use it keep it out until they complete.
    Lease(Lease),
    /// A registration, to be ended.
    Registration(MrId),
    /// A transfer in flight by its owner's name for it, to be cancelled.
    Transfer(u64),
    /// What the session exposes to its peer. Its keys die with the session; its memory goes back to its pool, which
    /// [sweeps](crate::memory::ExtentPool::sweep) it in.
    Exposed(Box<Exposed>),
}

/// What sort of thing a [`Holding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // see `Holding`
pub enum HoldingKind {
    Lease,
    Registration,
    Transfer,
    Exposed,
}

impl fmt::Display for HoldingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HoldingKind::Lease => "lease",
            HoldingKind::Registration => "registration",
            HoldingKind::Transfer => "transfer",
            HoldingKind::Exposed => "piece of exposed memory",
        })
    }
}

impl Holding {
    /// What sort of thing it is.
    pub const fn kind(&self) -> HoldingKind {
        match self {
            Holding::Lease(_) => HoldingKind::Lease,
            Holding::Registration(_) => HoldingKind::Registration,
            Holding::Transfer(_) => HoldingKind::Transfer,
            Holding::Exposed(_) => HoldingKind::Exposed,
        }
    }
}

/// The name of something a session holds. Never valid twice, and with its own session only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldingId(pub(super) Key);

impl HoldingId {
    /// As one number, for a peer to keep. Never 0.
    pub const fn to_u64(self) -> u64 {
        self.0.to_u64()
    }

    /// From a number that a peer sent. Any number will do: one that names nothing is refused where it is used.
    pub const fn from_u64(bits: u64) -> HoldingId {
        HoldingId(Key::from_u64(bits))
    }
}

impl fmt::Display for HoldingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.0.index, self.0.generation)
    }
}

impl fmt::Debug for HoldingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HoldingId({self})")
    }
}

/// A holding as a link of its session's list.
#[derive(Debug)]
struct Link {
    holding: Holding,
    /// The place of its session.
    owner: u32,
    before: u32,
    after: u32,
}

/// The holdings of all sessions. A list is named by its first place, which the session keeps.
#[derive(Debug)]
pub(super) struct Belongings {
    links: Slab<Link>,
}

impl Belongings {
    pub(super) const fn new() -> Belongings {
        Belongings { links: Slab::new() }
    }

    pub(super) fn len(&self) -> u32 {
        self.links.len()
    }

    pub(super) fn bytes_in_use(&self) -> usize {
        self.links.bytes_in_use()
    }

    /// Puts a holding at the front of a list. `None` when no place is left.
    pub(super) fn push(&mut self, owner: u32, first: &mut u32, holding: Holding) -> Option<HoldingId> {
        let link = Link { holding, owner, before: NOWHERE, after: *first };
        let key = self.links.insert(link)?;
        if let Some(after) = self.links.at_mut(*first) {
            after.before = key.index;
        }
        *first = key.index;
        Some(HoldingId(key))
    }

    pub(super) fn get(&self, owner: u32, id: HoldingId) -> Option<&Holding> {
        let link = self.links.get(id.0)?;
        (link.owner == owner).then_some(&link.holding)
    }

    pub(super) fn get_mut(&mut self, owner: u32, id: HoldingId) -> Option<&mut Holding> {
        let link = self.links.get_mut(id.0)?;
        (link.owner == owner).then_some(&mut link.holding)
    }

    /// Takes a holding out of the list it is in, which is that of `owner`, or nothing happens.
    pub(super) fn take(&mut self, owner: u32, first: &mut u32, id: HoldingId) -> Option<Holding> {
        self.get(owner, id)?;
        let link = self.links.remove(id.0)?;
        match self.links.at_mut(link.before) {
            Some(before) => before.after = link.after,
            None => *first = link.after,
        }
        if let Some(after) = self.links.at_mut(link.after) {
            after.before = link.before;
        }
        Some(link.holding)
    }

    pub(super) fn iter(&self, first: u32) -> impl Iterator<Item = (HoldingId, &Holding)> {
        let mut next = first;
        core::iter::from_fn(move || {
            let key = self.links.key_at(next)?;
            let link = self.links.get(key)?;
            next = link.after;
            Some((HoldingId(key), &link.holding))
        })
    }

    /// Takes a whole list.
    pub(super) fn drain(&mut self, first: u32) -> Holdings<'_> {
        Holdings { belongings: self, next: first }
    }
}

/// Takes out what an ended session held, the latest first.
///
/// Whatever is not taken is dropped with this: memory goes back, but the names of registrations and transfers are
/// forgotten, so take all of them.
#[derive(Debug)]
pub struct Holdings<'a> {
    belongings: &'a mut Belongings,
    next: u32,
}

impl Iterator for Holdings<'_> {
    type Item = Holding;

    fn next(&mut self) -> Option<Holding> {
        let key = self.belongings.links.key_at(self.next)?;
        let link = self.belongings.links.remove(key)?;
        self.next = link.after;
        Some(link.holding)
    }
}

impl Drop for Holdings<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.next != NOWHERE {
            self.for_each(drop);
        }
    }
}
