//! The table of groups: what is run on real drivers, each group in a guest of its own.
//!
//! A new group is a new line. A group is as small as can be repeated alone, and as large as is worth the 5 s of a boot.

use super::net::Net;

/// The step whose groups run on soft-RoCE.
pub(crate) const RXE: &str = "rxe";

/// The step whose groups run on soft-iWARP.
pub(crate) const SIW: &str = "siw";

/// A crate of the workspace, and the feature that makes it speak to devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    /// As cargo knows it.
    pub(crate) name: &'static str,
    /// Of this crate, if it has one for it. Packages are built one by one, so that no feature of another leaks in.
    pub(crate) feature: Option<&'static str>,
}

/// What a group runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "the first groups run the drivers' own tools"))]
pub(crate) enum Run {
    /// A script of `ci/guest/checks`.
    Check(&'static str),
    /// A binary of a package, built in release, in the workspace's root.
    Program { package: Package, name: &'static str, args: &'static [&'static str] },
    /// A test binary of a package, built in release, in the package's folder. `target` is the file in `tests`, or the
    /// library's name for its own tests; `filter` is what follows `cargo test --`.
    Tests { package: Package, target: &'static str, filter: &'static [&'static str] },
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// The step it belongs to.
    pub(crate) step: &'static str,
    /// `cargo ci STEP --only NAME`.
    pub(crate) name: &'static str,
    /// What passing it means.
    pub(crate) about: &'static str,
    /// The network it runs on.
    pub(crate) net: Net,
    /// What it runs.
    pub(crate) run: Run,
    /// Set for it.
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// How long it may take in a guest, without booting.
    pub(crate) seconds: u64,
}

/// The crate that speaks to libibverbs, which has no feature for that.
const VERBS: Package = Package { name: "wavetank-verbs", feature: None };

/// Every group, in the order in which they run: what tells most about the others' failures comes first.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        step: RXE,
        name: "smoke",
        about: "The drivers' own tools see two devices and ping-pong across the cable, contents checked",
        net: Net::TwoRxe,
        run: Run::Check("rxe.sh"),
        env: &[],
        seconds: 60,
    },
    Group {
        step: RXE,
        name: "device",
        about: "The verbs backend keeps the contract, one promise at a time",
        net: Net::TwoRxe,
        run: Run::Tests { package: VERBS, target: "device", filter: &["--ignored", "--test-threads=1"] },
        env: &[("WAVETANK_DEVICES", "rxe0,rxe1")],
        seconds: 120,
    },
    Group {
        step: SIW,
        name: "smoke",
        about: "The drivers' own tools connect by rdma_cm and READ and WRITE through one device, contents checked",
        net: Net::Siw,
        run: Run::Check("siw.sh"),
        env: &[],
        seconds: 60,
    },
    Group {
        step: SIW,
        name: "cable",
        about: "The same between two devices, across the cable",
        net: Net::TwoSiw,
        run: Run::Check("two-siw.sh"),
        env: &[],
        seconds: 60,
    },
];

/// The groups of a step.
pub(crate) fn of(step: &str) -> impl Iterator<Item = &'static Group> + '_ {
    GROUPS.iter().filter(move |g| g.step == step)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::step::STEPS;

    #[test]
    fn each_group_belongs_to_a_step_and_is_named_once_in_it() {
        for (i, group) in GROUPS.iter().enumerate() {
            assert!(STEPS.iter().any(|s| s.name == group.step && s.guest), "{} has no step", group.name);
            let same = |g: &&Group| g.step == group.step && g.name == group.name;
            assert!(!GROUPS[..i].iter().any(|g| same(&g)), "{} {} twice", group.step, group.name);
            assert!(
                !group.name.contains(',') && !group.name.contains(' '),
                "{:?} cannot be chosen",
                group.name
            );
        }
    }

    #[test]
    fn each_check_is_a_script_that_is_there() {
        for group in GROUPS {
            if let Run::Check(script) = group.run {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest/checks").join(script);
                assert!(path.is_file(), "{}", path.display());
            }
        }
    }
}
