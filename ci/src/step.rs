//! The table of steps.

use crate::workspace::Workspace;
use crate::{determinism, tidy};

/// Why a step failed, in one or more lines for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) String);

/// One thing a change must pass.
#[derive(Debug)]
pub(crate) struct Step {
    /// `cargo ci NAME`.
    pub(crate) name: &'static str,
    /// What passing it means.
    pub(crate) about: &'static str,
    /// The step without which this one cannot say anything new.
    pub(crate) needs: Option<&'static str>,
    /// Does it. Output goes straight to the terminal.
    pub(crate) run: fn(&Workspace) -> Result<(), Failure>,
}

/// Every step, in the order of `cargo ci test`: what answers soonest comes first.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "Every file is formatted as rustfmt.toml says",
        needs: None,
        run: |w| w.cargo(&["fmt", "--all", "--check"]).run(),
    },
    Step {
        name: "clippy",
        about: "No lint fires anywhere, tests and benches included",
        needs: None,
        run: |w| w.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).run(),
    },
    Step {
        name: "build",
        about: "The default members build alone: what a laptop without native libraries runs",
        needs: None,
        run: |w| w.cargo(&["build"]).run(),
    },
    Step {
        name: "unit",
        about: "Unit, integration and documentation tests of every crate pass",
        needs: Some("build"),
        run: |w| w.cargo(&["test", "--workspace", "--no-fail-fast"]).run(),
    },
    Step {
        name: "docs",
        about: "The documentation builds without a warning",
        needs: Some("build"),
        run: |w| w.cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings").run(),
    },
    Step {
        name: "determinism",
        about: "Each workload gives one trace hash in debug and release, and another with another seed",
        needs: Some("build"),
        run: determinism::check,
    },
    Step {
        name: "tidy",
        about: "What is committed is finished: no leftovers, no stray unsafe, no path of one machine",
        needs: None,
        run: tidy::check,
    },
];

/// The step of that name.
pub(crate) fn named(name: &str) -> Option<&'static Step> {
    STEPS.iter().find(|s| s.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_needs_name_an_earlier_step() {
        for (i, step) in STEPS.iter().enumerate() {
            let earlier = &STEPS[..i];
            assert!(earlier.iter().all(|s| s.name != step.name), "{} twice", step.name);
            assert!(step.needs.is_none_or(|n| earlier.iter().any(|s| s.name == n)), "{}", step.name);
        }
    }
}
