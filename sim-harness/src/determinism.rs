//! Runs a workload twice and finds the first event that differs, if one does.

use crate::report::Report;
use crate::trace::{Event, Trace};

/// What two runs of the same workload had to say.
#[derive(Debug)]
pub enum Determinism {
    /// The same, event by event.
    Same(Box<Report>),
    /// Different things.
    Different {
        /// Number of the first event that differs, from 0.
        event: u64,
        /// What the first run had there.
        first: Option<Event>,
        /// What the second run had there.
        second: Option<Event>,
        /// What the first run found.
        report: Box<Report>,
    },
}

/// Runs twice and compares checkpoint by checkpoint. Where they differ, runs twice more, keeping the events between the
/// last equal checkpoint and the next, and names the first that differs.
///
/// # Errors
/// Those of `run`.
pub fn check<E>(mut run: impl FnMut(Trace) -> Result<Report, E>) -> Result<Determinism, E> {
    let report = run(Trace::default())?;
    let again = run(Trace::default())?;
    let Some(window) = report.trace.differs_within(&again.trace) else {
        return Ok(Determinism::Same(Box::new(report)));
    };
    let first = run(Trace::keeping(window.clone()))?;
    let second = run(Trace::keeping(window.clone()))?;
    let (event, first, second) =
        first.trace.first_difference(&second.trace).unwrap_or((window.start, None, None));
    Ok(Determinism::Different { event, first, second, report: Box::new(report) })
}
