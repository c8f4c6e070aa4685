//! The command line: what is refused, and what the help teaches.

use crate::files::{GOOD, file};
use crate::program::{replay, wavetank};

/// Backends of devices, and whether they are in this build.
const OPTIONAL: [(&str, bool); 2] = [("verbs", cfg!(feature = "verbs")), ("ucx", cfg!(feature = "ucx"))];

#[test]
fn a_backend_that_is_not_built_is_refused_with_its_feature_and_nothing_stands_in_for_it() {
    let (_folder, path) = file("work.toml", GOOD);
    for (name, _) in OPTIONAL.into_iter().filter(|(_, built)| !built) {
        let (start, feature) =
            (format!("the {name} backend is not in this build"), format!("cargo feature `{name}`"));
        replay(&path, &["--backend", name]).refused(&start, &[&feature]);
        for args in [["kit", "--backend"], ["judge", "--against"]] {
            wavetank(args.into_iter().chain([name, "--device", "any"])).refused(&start, &[&feature]);
        }
        wavetank(["bench", "device", "--backend", name]).refused(&start, &[&feature]);
    }
}

#[test]
fn a_backend_that_does_not_exist_is_refused_with_those_that_do() {
    let (_folder, path) = file("work.toml", GOOD);
    replay(&path, &["--backend", "nonsense"]).misused(&["nonsense", "mock, verbs, ucx"]);
}

#[test]
fn no_arguments_show_what_there_is() {
    wavetank([""; 0]).misused(&["Usage: wavetank <COMMAND>", "replay", "bench"]);
    wavetank(["replay"]).misused(&["<FILE|--volume <DAT>>"]);
    wavetank(["bench"]).misused(&["<WHAT>"]);
}

#[test]
fn a_file_and_a_volume_together_are_refused() {
    wavetank(["replay", "a.toml", "--volume", "1.dat"]).misused(&["FILE", "--volume", "cannot be used with"]);
}

#[test]
fn a_seed_is_a_whole_number_of_64_bits() {
    for seed in ["-1", "18446744073709551616", "1.5", "one", ""] {
        wavetank(["replay", "a.toml", "--seed", seed]).misused(&["invalid value", seed, "--seed <SEED>"]);
    }
}

#[test]
fn an_unknown_command_flag_or_benchmark_is_refused() {
    wavetank(["repaly"]).misused(&["repaly", "replay"]);
    wavetank(["replay", "a.toml", "--sede", "3"]).misused(&["--sede", "--seed"]);
    wavetank(["bench", "sessoins"]).misused(&["sessoins", "sessions"]);
}

#[test]
fn the_help_has_examples_and_exit_statuses() {
    let pages: [(&[&str], &[&str]); 7] = [
        (
            &["serve-memory", "--help"],
            &["--listen", "--clients-max", "--once", "replay", "--peer", "--canary"],
        ),
        (&["sim", "--help"], &["--shard 0/2", "--merge 0.json 1.json", "seed-8117.sim", "--seed-timeout"]),
        (&["shrink", "--help"], &["wavetank shrink sim-failures/seed-8117.sim", "--record"]),
        (&["--help"], &["wavetank replay workloads/pgbench-8k.toml", "stdout", "stderr", "--json"]),
        (&["replay", "--help"], &["--volume", "iolog", "SeaweedFS", "--check-determinism", "TOML"]),
        (&["calibrate", "--help"], &["--validate", "replay --profile", "--with rxe"]),
        (&["bench", "--help"], &["wavetank bench sim", "post-poll", "sessions", "dispatch"]),
    ];
    for (args, parts) in pages {
        let page = wavetank(args).good();
        for part in parts.iter().chain(&["Examples:\n", "Exit status:\n  0  ", "\n  1  ", "\n  2  "]) {
            assert!(page.contains(part), "{args:?} should say {part:?}:\n{page}");
        }
        let widest = page.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{args:?}: {widest:?}");
    }
}

#[test]
fn the_version_is_the_package_s() {
    assert_eq!(wavetank(["--version"]).good(), format!("wavetank {}\n", env!("CARGO_PKG_VERSION")));
}
