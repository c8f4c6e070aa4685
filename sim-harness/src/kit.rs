//! The conformance kit: what every backend promises, tried on whatever a [`Lab`] opens.
//!
//! The bodies are the same for every lab: simulated, soft-RoCE, iWARP, UCX, hardware. Each case opens fresh devices, waits by
//! wake-ups and never without a deadline, and writes down what it saw: two labs can be compared beyond pass and fail.
//!
//! * [`Case`], [`Group`], [`Need`]: what is tried, and what has to be promised for it.
//! * [`run`](fn@run), [`Plan`]: trying it.
//! * [`Outcome`], [`Report`]: what came of it.
//! * [`Quirks`]: deviations that are known, with a reason and an expiry.
//! * [`Difference`]: where two labs part.
//!
//! A case fails when a promise is broken; each has a twin in `tests/kit` where a lying device breaks just that one.

mod atomic;
mod bench;
mod cancel;
mod case;
mod data;
mod date;
mod difference;
mod engines;
mod error;
mod event;
mod failure;
mod form;
mod group;
mod key;
mod limit;
mod need;
mod opening;
mod order;
mod quirk;
mod report;
mod run;
mod shared;
mod state;
mod stop;
mod teardown;
mod wire;
mod work;

use crate::lab::Lab;

pub use case::Case;
pub use date::{Date, DateError};
pub use difference::{CaseDifference, Difference};
pub use group::Group;
pub use need::Need;
pub use quirk::{BUILT_IN, BuiltIn, Expect, Quirk, QuirkError, Quirks};
pub use report::{CaseReport, Counts, Outcome, Report, ReportError};
pub use run::{Plan, run};

/// Every case, in the order in which they run.
pub fn cases<L: Lab>() -> Vec<Case<L>> {
    let mut cases = Vec::new();
    for of_file in [
        data::cases,
        form::cases,
        atomic::cases,
        order::cases,
        error::cases,
        failure::cases,
        wire::cases,
        state::cases,
        event::cases,
        limit::cases,
        opening::cases,
        key::cases,
        shared::cases,
        teardown::cases,
        cancel::cases,
    ] {
        cases.extend(of_file());
    }
    // Files are by subject, and a subject may belong to two groups.
    cases.sort_by_key(Case::group);
    cases
}
