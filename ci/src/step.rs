//! The table of steps.

use crate::guest::{boot, groups, runner, tshark};
use crate::libraries::Libraries;
use crate::options::Options;
use crate::released::Released;
use crate::workspace::Workspace;
use crate::{determinism, openapi, swarm, tidy, ucx};

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
    /// Whether it needs the guest's packages, if only for their libraries: `--no-guest` leaves it out.
    pub(crate) guest: bool,
    /// Does it. Output goes straight to the terminal.
    pub(crate) run: fn(&Workspace, &Options) -> Result<(), Failure>,
    /// How it is done where a later step runs too that does or builds most of it anyway.
    pub(crate) within: Option<Within>,
}

/// A step that does or builds most of an earlier one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Within {
    /// Its name.
    pub(crate) step: &'static str,
    /// Does the earlier one, and nothing twice.
    pub(crate) rest: fn(&Workspace) -> Result<(), Failure>,
}

/// All but the crates that are built only where there are native libraries, or their headers.
pub(crate) const NOT_NATIVE: [&str; 5] =
    ["--workspace", "--exclude", "wavetank-verbs", "--exclude", "wavetank-ucx"];

/// All crates with the features verbs, ucx and tls. All at once: each combination of features is a build of its own.
pub(crate) const NATIVE: [&str; 3] = [
    "--workspace",
    "--features",
    "wavetank-exchange/verbs,wavetank-exchange/ucx,wavetank-daemon/verbs,wavetank-daemon/ucx,wavetank-engine/verbs,wavetank-engine/ucx,wavetank-messenger/verbs,wavetank-messenger/ucx,wavetank-harness/verbs,wavetank-harness/ucx,wavetank/verbs,wavetank/ucx,wavetank-sidecar/tls",
];

/// Tests that differ without those features: what is refused then, and what waits for no device.
const WITHOUT_NATIVE: [&str; 10] = [
    "--package",
    "wavetank",
    "--package",
    "wavetank-messenger",
    "--test",
    "cli",
    "--test",
    "matrix",
    "--test",
    "races",
];

/// Every step, in the order of `cargo ci test`: what answers soonest comes first.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "Every file is formatted as rustfmt.toml says",
        needs: None,
        guest: false,
        run: |w, _| w.cargo(&["fmt", "--all", "--check"]).run(),
        within: None,
    },
    Step {
        name: "clippy",
        about: "No lint fires anywhere, tests and benches included",
        needs: None,
        guest: false,
        run: |w, _| {
            w.cargo(&[&["clippy"], &NOT_NATIVE[..], &["--all-targets", "--", "-D", "warnings"]].concat())
                .run()
        },
        within: None,
    },
    Step {
        name: "build",
        about: "The default members build alone: what a laptop without native libraries runs",
        needs: None,
        guest: false,
        run: |w, _| w.cargo(&["build"]).run(),
        within: None,
    },
    Step {
        name: "unit",
        about: "Unit, integration and documentation tests of every crate pass",
        needs: Some("build"),
        guest: false,
        run: |w, _| w.cargo(&[&["test"], &NOT_NATIVE[..], &["--no-fail-fast"]].concat()).test(),
        within: Some(Within {
            step: "native",
            rest: |w| w.cargo(&[&["test"], &WITHOUT_NATIVE[..], &["--no-fail-fast"]].concat()).test(),
        }),
    },
    Step {
        name: "docs",
        about: "The documentation builds without a warning",
        needs: Some("build"),
        guest: false,
        run: |w, _| {
            let args = [&["doc"], &NOT_NATIVE[..], &["--no-deps"]].concat();
            w.cargo(&args).env("RUSTDOCFLAGS", "-D warnings").run()
        },
        within: None,
    },
    Step {
        name: "determinism",
        about: "Each workload gives one trace hash in debug and release, and another with another seed",
        needs: Some("build"),
        guest: false,
        run: |w, _| determinism::check(&Released::plain(w)),
        within: Some(Within {
            step: groups::RXE,
            rest: |w| Released::native(w).and_then(|r| determinism::check(&r)),
        }),
    },
    Step {
        name: "swarm",
        about: "Runs that once found something, canaries and 3,000 seeds of this commit end as they should",
        needs: Some("build"),
        guest: false,
        run: |w, _| swarm::check(&Released::plain(w)),
        within: Some(Within {
            step: groups::RXE,
            rest: |w| Released::native(w).and_then(|r| swarm::check(&r)),
        }),
    },
    Step {
        name: "tidy",
        about: "What is committed is finished: no leftovers, no stray unsafe, no path of one machine",
        needs: None,
        guest: false,
        run: |w, _| tidy::check(w),
        within: None,
    },
    Step {
        name: "native",
        about: "With libibverbs and UCX: no lint fires, and every test passes that needs no device",
        needs: Some("build"),
        guest: true,
        run: |w, _| native(w),
        within: None,
    },
    Step {
        name: "tshark",
        about: "Wireshark's tshark reads every packet of a capture as it was sent",
        needs: Some("native"),
        guest: true,
        run: |w, _| tshark::check(w),
        within: None,
    },
    Step {
        name: "openapi",
        about: "Schemathesis finds that the sidecar does as its OpenAPI document says",
        needs: Some("native"),
        guest: true,
        run: |w, _| openapi::check(w),
        within: None,
    },
    Step {
        name: "ucx",
        about: "Over UCX between processes, its newest version too: the conformance kit and a workload hold",
        needs: Some("native"),
        guest: true,
        run: |w, _| ucx::check(w),
        within: None,
    },
    Step {
        name: "boot",
        about: "A guest boots, and one that fails, hangs, panics or has no kernel is never a pass",
        needs: None,
        guest: true,
        run: |w, _| boot::check(w),
        within: None,
    },
    Step {
        name: groups::RXE,
        about: "Everything holds on real soft-RoCE devices, in a guest",
        needs: Some("boot"),
        guest: true,
        run: |w, o| runner::run(groups::RXE, w, o),
        within: None,
    },
    Step {
        name: groups::SIW,
        about: "What soft-iWARP can do holds on its devices, in a guest",
        needs: Some("boot"),
        guest: true,
        run: |w, o| runner::run(groups::SIW, w, o),
        within: None,
    },
];

fn native(workspace: &Workspace) -> Result<(), Failure> {
    let libraries = Libraries::find(workspace)?;
    let clippy = [&["clippy"], &NATIVE[..], &["--all-targets", "--", "-D", "warnings"]].concat();
    workspace.cargo(&clippy).with(&libraries).run()?;
    let doc = [&["doc"], &NATIVE[..], &["--no-deps"]].concat();
    workspace.cargo(&doc).with(&libraries).env("RUSTDOCFLAGS", "-D warnings").run()?;
    let test = [&["test"], &NATIVE[..], &["--no-fail-fast"]].concat();
    workspace.cargo(&test).with(&libraries).test()
}

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
            let later = &STEPS[i..];
            assert!(step.within.is_none_or(|w| later.iter().any(|s| s.name == w.step)), "{}", step.name);
        }
    }
}
