//! Seeds: jobs, shards, canaries, and what becomes of a job that is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::program::{Ended, command, replay, wavetank};

/// `sim ARGS` with failures left in a folder of its own.
fn sim(folder: &Path, args: &[&str]) -> Ended {
    let out = folder.join("failures").display().to_string();
    wavetank(["sim", "--out", &out].iter().chain(args))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Without what is of this machine.
fn plain(mut json: Value) -> Value {
    for key in ["core_ns", "wall_s", "seeds_per_core_s", "ops_per_core_s"] {
        json[key] = Value::Null;
    }
    json
}

/// Keeps what shards print.
fn kept(folder: &Path, name: &str, args: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let args = [args, &["--json"]].concat();
    fs::write(&path, sim(folder, &args).stdout).expect("written");
    path
}

#[test]
fn seeds_come_to_the_same_whatever_the_jobs_and_shards() {
    let folder = folder();
    let whole = sim(folder.path(), &["--seeds", "50", "--jobs", "1", "--json"]).json();
    assert_eq!((&whole["ok"], &whole["runs"]), (&true.into(), &50.into()));
    assert!(whole["ops"]["well"].as_u64() > Some(100) && whole["marks"]["packet-lost"].as_u64() > Some(0));
    let jobs = sim(folder.path(), &["--seeds", "50", "--jobs", "3", "--json"]).json();
    assert_eq!(plain(jobs), plain(whole.clone()));
    let shard = |shard| {
        kept(folder.path(), "shard.json", &["--seeds", "50", "--shard", shard]).with_file_name("shard.json")
    };
    let names = ["1/2", "0/2"].map(|index| {
        let path = folder.path().join(index.replace('/', "-"));
        fs::rename(shard(index), &path).expect("renamed");
        path.display().to_string()
    });
    let merged = wavetank(["sim", "--merge", &names[0], &names[1], "--json"]).json();
    assert_eq!(plain(merged), plain(whole));
    wavetank(["sim", "--merge", &names[0]]).refused("seed 3 is in no file", &["24 of the 49"]);
    wavetank(["sim", "--merge", &names[0], &names[0]])
        .refused("seed 2 is in ", &["each may be counted once"]);
    fs::write(&names[1], "{\n}").expect("written");
    wavetank(["sim", "--merge", &names[0], &names[1]]).refused(&format!("{}:", names[1]), &["missing field"]);
    let other = sim(folder.path(), &["--seeds", "50", "--start", "51", "--json"]).json();
    assert_ne!(other["hash"], plain(sim(folder.path(), &["--seeds", "50", "--json"]).json())["hash"]);
}

#[test]
fn canaries_are_told_through_the_whole_chain() {
    let folder = folder();
    let args = ["--start", "99", "--seeds", "110", "--jobs", "2", "--canary", "--keep-going"];
    let shards = ["0/2", "1/2"].map(|shard| {
        kept(folder.path(), &shard.replace('/', "-"), &[&args[..], &["--shard", shard]].concat())
    });
    let names = shards.map(|path| path.display().to_string());
    let (report, first) = wavetank(["sim", "--merge", &names[0], &names[1], "--json"]).missed();
    assert_eq!(report["failed"], serde_json::json!({ "canary": 2 }), "seeds 100 and 200, and no other");
    assert!(first.starts_with("seed 100: canary check failed at "), "{first}");
    for seed in [100, 200] {
        let file = folder.path().join(format!("failures/seed-{seed}.sim"));
        let again = report["failures"][seed / 100 - 1]["again"].as_str().expect("a command");
        assert_eq!(again, format!("wavetank replay {}", file.display()));
        // It fails as it should.
        assert!(replay(&file, &[]).good().contains("fails canary"));
        let text = fs::read_to_string(&file).expect("it is there");
        fs::write(&file, text.replace("canary\n", "\n").replace("expect fails \n", "expect fails canary\n"))
            .expect("written");
        let held = replay(&file, &["--json"]);
        assert_eq!(held.code, Some(1), "without its line it is a run that holds: {held:?}");
        assert!(held.stderr.contains("it should end as: fails canary"), "{held:?}");
    }
    let held = sim(folder.path(), &["--start", "99", "--seeds", "3"]).good();
    assert!(held.contains("failed") && !held.contains("canary"), "{held}");
}

#[test]
fn without_being_told_to_go_on_it_stops_at_a_failure() {
    let folder = folder();
    let (report, _) = sim(folder.path(), &["--start", "1", "--seeds", "500", "--canary", "--json"]).missed();
    assert_eq!((&report["runs"], &report["seeds"]), (&100.into(), &serde_json::json!([[1, 1, 100]])));
}

#[test]
fn what_is_asked_for_has_to_make_sense() {
    wavetank(["sim", "--shard", "2/2"]).misused(&["2/2", "I below N"]);
    wavetank(["sim", "--seeds", "0"]).misused(&["0", "--seeds"]);
    wavetank(["sim", "--start", "0x10"]).misused(&["0x10", "a commit"]);
    wavetank(["sim", "--merge", "a.json", "--seeds", "3"]).misused(&["--merge", "cannot be used with"]);
    wavetank(["sim", "--start", "18446744073709551615", "--seeds", "2"]).refused("--start 184", &["64 bits"]);
    wavetank(["sim", "--merge", "no/such.json"]).refused("no/such.json: cannot be read", &[]);
}

/// More seeds than anybody waits for.
fn endless(folder: &Path, more: &[&str]) -> Child {
    let out = folder.join("failures").display().to_string();
    let mut command = command();
    command.args(["sim", "--seeds", "1000000000", "--out", &out]).args(more);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

fn signal(name: &str, process: &str) {
    // It may be gone already.
    let _ = Command::new("kill").args([name, process]).stderr(Stdio::null()).status();
}

/// Whether a child of the program is a job by now that is at a seed: until it has its own program, its parent waits for it
/// inside the kernel, and waits for ever if it is stopped there; and before it has said at which seed it is, no seed is to blame.
fn is_job(process: &str) -> bool {
    let words = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything: utime and stime, in hundredths of a second (proc_pid_stat(5)).
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 =
        fields.split_ascii_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    words.split('\0').any(|word| word == "--worker") && ticks >= 5
}

/// Sends a signal to the jobs of a process until it has ended.
fn haunt(name: &str, mut parent: Child) -> Ended {
    let id = parent.id();
    while parent.try_wait().expect("it is ours").is_none() {
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_ascii_whitespace().filter(|child| is_job(child)).for_each(|job| signal(name, job));
    }
    parent.wait_with_output().expect("it is ours").into()
}

#[test]
fn a_job_that_dies_is_a_failure_of_the_seed_it_was_at() {
    let folder = folder();
    let ended = haunt("-KILL", endless(folder.path(), &["--json"]));
    let (report, first) = ended.missed();
    assert_eq!(report["failed"], serde_json::json!({ "died": 1 }));
    let seed = report["failures"][0]["seed"].as_u64().expect("a seed");
    assert_eq!(report["failures"][0]["again"], format!("wavetank sim --start {seed} --seeds 1"));
    assert!(
        first.starts_with(&format!("seed {seed}: died check failed its process ended with signal: 9")),
        "{first}"
    );
}

#[test]
fn a_job_that_hangs_is_given_up_with_its_seed() {
    let folder = folder();
    let (report, first) =
        haunt("-STOP", endless(folder.path(), &["--json", "--seed-timeout", "300ms"])).missed();
    assert_eq!(report["failed"], serde_json::json!({ "hung": 1 }));
    assert!(first.contains("hung check failed it was not over after 300ms"), "{first}");
}

#[test]
fn an_interrupted_fleet_tells_what_it_had() {
    let folder = folder();
    let parent = endless(folder.path(), &["--jobs", "2"]);
    let id = parent.id();
    // Once it has jobs, it listens.
    while fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default().is_empty() {}
    signal("-INT", &id.to_string());
    let ended: Ended = parent.wait_with_output().expect("it is ours").into();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("hash over all") && ended.stderr.contains("interrupted"), "{ended:?}");
}
