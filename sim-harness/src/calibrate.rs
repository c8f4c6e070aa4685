//! Fitting a latency profile to a recorded run, and holding a profile against one.
//!
//! The run is issued again on the simulated network, with the same operations in flight, and the profile is changed until the
//! median and the 99th percentile of how long operations take are those of the recording, for every kind and size at once.
//! A profile has five numbers; the search is a descent along each of them, and along the two pairs that make up for each
//! other. How good the numbers are, another recording tells: [`measure`] holds a profile against a run it was not fitted to.

mod rows;
mod search;
mod sketch;

use thiserror::Error;
use wavetank_mock::Profile;

use crate::record::RecordedRun;
use crate::replay::{Replay, SetupError};
use crate::workload::{Workload, WorkloadError};

pub use rows::Row;
use rows::{Class, Percentiles};
use search::Search;

/// Operations that one step of the search replays.
const OPS_EACH: usize = 2000;

/// Operations with which a fit is measured in the end.
const OPS_MEASURED: usize = 50_000;

/// Where the search begins: delays that are common, rare, and very rare.
const SHAPES: [u32; 3] = [1, 32, 1024];

/// Operations of one kind and size below which their percentiles say nothing.
const COUNT_MIN: usize = 30;

/// A run that no profile can be fitted to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// Too few operations ended well.
    #[error(
        "{} operations of one kind and size ended well at most, in a run of {ops}; at least {COUNT_MIN} are needed: record \
         a longer run, or one that does not fail", .most
    )]
    TooFew {
        /// Of the commonest kind and size.
        most: usize,
        /// Operations in all.
        ops: usize,
    },
    /// What was in flight does not fit.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// It cannot be issued again.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

/// A profile, and how far it is from a run.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The profile.
    pub profile: Profile,
    /// Kind by kind, size by size.
    pub rows: Vec<Row>,
    /// The typical factor between device and mock, less one: 0.1 is ten percent, either way.
    pub error: f64,
    /// Runs of the mock that were needed.
    pub steps: u32,
}

/// Fits a profile of this name to a run. `progress` is told the error of each step that was better than all before.
///
/// # Errors
/// See [`CalibrateError`].
pub fn calibrate(
    run: &RecordedRun,
    name: &str,
    progress: &mut dyn FnMut(u32, f64),
) -> Result<Fit, CalibrateError> {
    let sketch = sketch::of(run, OPS_EACH);
    let target = target(run, &sketch)?;
    let mut failed = None;
    let mut error = |profile: &Profile| match mock(&sketch, profile) {
        Ok(mock) => rows::error(&target, &mock),
        Err(error) => {
            failed.get_or_insert(error);
            f64::INFINITY
        }
    };
    let guesses = SHAPES.map(|shape| guess(&target, name, shape));
    let search = Search::best_of(guesses, &mut error, progress);
    let fitted = search.map(|mut search| (search.descend(&mut error, progress), search.steps()));
    match (failed, fitted) {
        (Some(error), _) => Err(error),
        (None, Some((profile, steps))) => Ok(Fit { steps, ..measure(run, &profile)? }),
        (None, None) => unreachable!("there are guesses"),
    }
}

/// Holds a profile against a run.
///
/// # Errors
/// See [`CalibrateError`].
pub fn measure(run: &RecordedRun, profile: &Profile) -> Result<Fit, CalibrateError> {
    let sketch = sketch::of(run, OPS_MEASURED);
    let target = target(run, &sketch)?;
    // Another seed than the search had: what fits only one order of chance does not fit.
    let mut sketch = sketch;
    sketch.settings.seed = sketch.settings.seed.wrapping_add(1);
    let mock = mock(&sketch, profile)?;
    let (rows, error) = (rows::rows(&target, &mock), rows::error(&target, &mock));
    Ok(Fit { profile: profile.clone(), rows, error: error.exp() - 1.0, steps: 1 })
}

/// What the recording says, of as many operations as its sketch has.
fn target(run: &RecordedRun, sketch: &RecordedRun) -> Result<Percentiles, CalibrateError> {
    let ops = sketch.submits().count();
    let target = Percentiles::of(&sketch.services(), Class::all(&run.services()));
    let most = target.most();
    if most < COUNT_MIN { Err(CalibrateError::TooFew { most, ops }) } else { Ok(target) }
}

/// What the mock has to say to the same operations under a profile.
fn mock(sketch: &RecordedRun, profile: &Profile) -> Result<Percentiles, CalibrateError> {
    let mut workload = Workload::of_run("a sketch of the run".as_ref(), sketch.clone())?;
    workload.settings.profile = profile.clone();
    let report = Replay::prepare(workload)?.run(&mut |_| ());
    let services = report.recorded.map(|run| run.services()).unwrap_or_default();
    Ok(Percentiles::of(&services, Class::all(&sketch.services())))
}

/// Where the search begins: what the quickest and the longest operations suggest.
fn guess(target: &Percentiles, name: &str, jitter_shape: u32) -> Profile {
    let (least, longest) = (target.least_ns(), target.longest());
    let spread = longest.p99_ns.saturating_sub(longest.p50_ns);
    Profile {
        name: name.to_owned().into(),
        base_ns: (least / 3).max(1),
        packet_ns: (least / 20).max(1),
        byte_ps: (longest.p50_ns.saturating_sub(least) * 1000 / u64::from(longest.bytes.max(1)) / 4).max(1),
        jitter_ns: (spread / 2).max(1),
        jitter_shape,
    }
}
