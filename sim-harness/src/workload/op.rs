//! One entry of a mix: an `[[op]]`, checked.

use wavetank_contract::OpKind;

use super::place::Place;
use super::size::Sizes;
use super::topology::{NodeId, RegionId};

/// The kinds a workload can post, by the names it uses for them. A receive is never posted by itself: a SEND and a
/// WRITE with immediate bring their own.
pub(super) const KINDS: [(&str, OpKind); 6] = {
    const fn named(kind: OpKind) -> (&'static str, OpKind) {
        (kind.name(), kind)
    }
    [
        named(OpKind::Read),
        named(OpKind::Write),
        named(OpKind::WriteImm),
        named(OpKind::Send),
        named(OpKind::FetchAdd),
        named(OpKind::CompareSwap),
    ]
};

/// One entry of a mix.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// What it does.
    pub kind: OpKind,
    /// Who posts it.
    pub from: NodeId,
    /// Who owns the region, or receives the message. Never the poster.
    pub to: NodeId,
    /// The region it works on; none for a SEND.
    pub region: Option<RegionId>,
    /// Its share of all operations, among the weights of the mix.
    pub weight: u64,
    /// How many bytes it moves.
    pub sizes: Sizes,
    /// Where in the region it goes.
    pub place: Place,
    /// Every offset is a multiple of this power of two.
    pub align: u64,
    /// Line of its `[[op]]`.
    pub line: u32,
}

impl Op {
    /// Whether the mix ever posts `kind` with `size` (any size when none is given) because of this entry.
    pub(super) fn posts(&self, kind: OpKind, size: Option<u64>) -> bool {
        self.kind == kind && self.weight > 0 && size.is_none_or(|bytes| self.sizes.gives(bytes))
    }
}
