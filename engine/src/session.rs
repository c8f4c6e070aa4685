//! Sessions: what a peer has with us while it is there, and what comes back when it is not.
//!
//! A session has a deadline that every sign of life pushes out, and it *holds* things on behalf of its peer: leases,
//! registrations, transfers in flight, an endpoint. However it ends, all of them come out with it, for the driver to
//! return.
//!
//! * `table`: the sessions, by key and by deadline.
//! * `ledger`: what a session holds, in figures.
//! * `holding`: what sessions hold, in one slab threaded with lists: a session that holds nothing pays nothing.

mod holding;
mod ledger;
mod table;

pub use holding::{Holding, HoldingId, HoldingKind, Holdings};
pub use ledger::SessionLedger;
pub use table::{EndReason, Ended, SessionError, SessionKey, SessionSpec, Sessions};
