//! The calls between a reader and an exporter, as they travel. `docs/exchange.md` has them in tables.

mod admitting;
mod needle;

pub(crate) use admitting::PAGE_VOLUMES_MAX;
pub use admitting::{
    Catalogue, CataloguePage, Challenge, ChallengeReply, Hello, Prove, Standing, VERSION_MAX, VERSION_MIN,
};
pub use needle::{
    About, Grant, NeedleCall, NeedleFound, NeedleReply, ReachSegment, ReadNeedle, SegmentReply, Ungranted,
    Which,
};

/// Message types of the exchange: `ex`, and which. No other service of the same messenger has them.
const TYPES: u16 = 0x7800;
