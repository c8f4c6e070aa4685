//! The same workload and seed give the same run in debug and in release; another seed gives another.

use serde_json::Value;

use crate::released::Released;
use crate::step::Failure;
use crate::workspace::Workspace;

/// What must not depend on how the program was built. `ok` must be true besides.
const KEYS: [&str; 4] = ["ok", "trace_hash", "virtual_ns", "bytes_verified"];

/// A seed that no workload has as its own.
const OTHER_SEED: &str = "2";

/// The values of [`KEYS`] in one replay's `--json`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict([Value; 4]);

impl Verdict {
    fn parse(json: &str) -> Result<Verdict, String> {
        let value: Value = serde_json::from_str(json).map_err(|e| format!("not JSON: {e}"))?;
        let mut values = [const { Value::Null }; 4];
        for (slot, key) in values.iter_mut().zip(KEYS) {
            *slot = value.get(key).filter(|v| !v.is_null()).ok_or_else(|| format!("no key {key:?}"))?.clone();
        }
        Ok(Verdict(values))
    }

    fn ok(&self) -> bool {
        self.0[0] == Value::Bool(true)
    }

    fn hash(&self) -> &Value {
        &self.0[1]
    }
}

/// Replays `workloads/*.toml` in both profiles and compares.
pub(crate) fn check(released: &Released<'_>) -> Result<(), Failure> {
    let workspace = released.workspace();
    let workloads = workloads(workspace)?;
    // Of the default members, as the step `build` and people build it: of its package alone it would be another build.
    workspace.cargo(&["build", "--bin", "wavetank"]).run()?;
    released.build()?;
    let wrong: Vec<String> = workloads
        .iter()
        .flat_map(|w| match replays(released, w) {
            Ok([debug, release, other]) => {
                println!("    {w}: {} in debug and {} in release", debug.hash(), release.hash());
                println!("    {w}: {} with --seed {OTHER_SEED}", other.hash());
                compare(&debug, &release, &other).into_iter().map(|why| format!("{w}: {why}")).collect()
            }
            Err(Failure(why)) => vec![format!("{w}: {why}")],
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(Failure(wrong.join("\n  "))) }
}

/// Names of the workloads, relative to the root. None at all is a failure: nothing was compared.
fn workloads(workspace: &Workspace) -> Result<Vec<String>, Failure> {
    let folder = workspace.root().join("workloads");
    let entries = folder.read_dir().map_err(|e| Failure(format!("workloads/ cannot be read: {e}")))?;
    let mut names: Vec<String> = entries
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|n| n.ends_with(".toml"))
        .map(|n| format!("workloads/{n}"))
        .collect();
    names.sort();
    if names.is_empty() { Err(Failure("workloads/ holds no .toml to replay".into())) } else { Ok(names) }
}

/// In debug, in release, and in release with another seed.
fn replays(released: &Released<'_>, workload: &str) -> Result<[Verdict; 3], Failure> {
    let words = ["replay", workload, "--json"];
    let args = [&["run", "--quiet", "--bin", "wavetank", "--"], &words[..]].concat();
    let call = released.workspace().cargo(&args);
    let (succeeded, stdout) = call.read()?;
    Ok([
        verdict_of((succeeded, stdout, call.to_string()))?,
        verdict_of(released.read(&words)?)?,
        verdict_of(released.read(&[&words[..], &["--seed", OTHER_SEED]].concat())?)?,
    ])
}

/// What a replay came to: whether it succeeded, what it printed, and its command.
fn verdict_of((succeeded, stdout, call): (bool, String, String)) -> Result<Verdict, Failure> {
    let verdict = Verdict::parse(&stdout);
    match verdict {
        Ok(verdict) if succeeded && verdict.ok() => Ok(verdict),
        Ok(_) => {
            println!("{stdout}");
            Err(Failure(format!("`{call}` found something wrong: its --json is above")))
        }
        Err(why) => {
            println!("{stdout}");
            Err(Failure(format!("`{call}` printed no verdict ({why}): its output is above")))
        }
    }
}

/// What is wrong with three replays of a workload, the third with another seed.
fn compare(debug: &Verdict, release: &Verdict, other: &Verdict) -> Vec<String> {
    let mut wrong = Vec::new();
    for (i, key) in KEYS.iter().enumerate() {
        if debug.0[i] != release.0[i] {
            wrong.push(format!("{key} is {} in debug and {} in release", debug.0[i], release.0[i]));
        }
    }
    if release.hash() == other.hash() {
        let hash = other.hash();
        wrong.push(format!(
            "trace_hash is {hash} with --seed {OTHER_SEED} too: the seed is not used, or it is the file's own"
        ));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(hash: &str, virtual_ns: u64, bytes: u64) -> Verdict {
        let json = format!(
            r#"{{"ok": true, "trace_hash": "{hash}", "virtual_ns": {virtual_ns}, "bytes_verified": {bytes}, "ops": 3}}"#
        );
        Verdict::parse(&json).expect("all keys are there")
    }

    #[test]
    fn equal_runs_with_a_different_hash_for_another_seed_pass() {
        let run = verdict("a", 10, 4096);
        assert!(compare(&run, &run, &verdict("b", 10, 4096)).is_empty());
    }

    #[test]
    fn each_key_that_differs_between_profiles_is_named_with_both_values() {
        let (run, other) = (verdict("a", 10, 4096), verdict("b", 10, 4096));
        let differing = [
            (verdict("c", 10, 4096), "trace_hash is \"a\" in debug and \"c\" in release"),
            (verdict("a", 11, 4096), "virtual_ns is 10 in debug and 11 in release"),
            (verdict("a", 10, 4095), "bytes_verified is 4096 in debug and 4095 in release"),
        ];
        for (release, why) in differing {
            assert_eq!(compare(&run, &release, &other), [why]);
        }
    }

    #[test]
    fn a_seed_that_changes_nothing_is_found() {
        let run = verdict("a", 10, 4096);
        let wrong = compare(&run, &run, &verdict("a", 11, 4096));
        assert!(wrong.len() == 1 && wrong[0].contains("the seed is not used"), "{wrong:?}");
    }

    #[test]
    fn a_hash_above_2_to_53_is_compared_exactly() {
        let of = |hash: u64| {
            Verdict::parse(&format!(
                r#"{{"ok": true, "trace_hash": {hash}, "virtual_ns": 1, "bytes_verified": 1}}"#
            ))
        };
        assert_ne!(of(u64::MAX), of(u64::MAX - 1));
    }

    #[test]
    fn a_verdict_without_a_key_or_without_json_is_refused() {
        let why = Verdict::parse(r#"{"ok": true, "trace_hash": "a", "virtual_ns": 1}"#);
        assert_eq!(why, Err("no key \"bytes_verified\"".into()));
        assert!(Verdict::parse("replayed 3 operations").is_err());
        assert!(!Verdict([false.into(), "a".into(), 1.into(), 1.into()]).ok());
    }
}
