//! The judge: its summary, its exit statuses, and programs in files.

use tempfile::TempDir;

use crate::program::wavetank;

const STAGE: &str = "region a node=0 pd=0 len=4096 rights=all
region b node=1 pd=0 len=4096 rights=all
connection 0 pd0=0 rights0=all pd1=0 rights1=all mtu=256 timeout=10 retry=2 rnr_retry=0 rnr_timer=12
";

fn file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("program.txt");
    std::fs::write(&path, text).expect("a file");
    let path = path.to_str().expect("UTF-8").to_owned();
    (folder, path)
}

#[test]
fn the_simulated_nic_agrees_with_itself_and_the_summary_says_on_what() {
    let json = wavetank(["judge", "--programs", "200", "--json"]).json();
    assert_eq!((&json["ok"], &json["summary"]["programs"]), (&true.into(), &200.into()), "{json}");
    for figure in ["steps", "completions", "bytes"] {
        assert!(json["summary"][figure].as_u64().is_some_and(|n| n > 200), "{figure}: {json}");
    }
    let told = wavetank(["judge", "--programs", "20", "--profile", "cx6"]).good();
    for part in ["mock/cx6 | mock/rxe", "completions compared", "bytes masked", "disagreements"] {
        assert!(told.contains(part), "{part:?} is missing:\n{told}");
    }
}

#[test]
fn one_seed_gives_one_summary_and_another_another() {
    let summary =
        |seed| wavetank(["judge", "--programs", "30", "--json", "--seed", seed]).json()["summary"].clone();
    assert_eq!(summary("7"), summary("7"));
    assert_ne!(summary("7"), summary("8"));
}

#[test]
fn a_program_is_read_from_a_file() {
    let (_folder, path) =
        file(&format!("{STAGE}write c0.0 a+0:64 at b+0\nread c0.1 b+0:8 at a+4090 # too far\n"));
    let json = wavetank(["judge", "--json", "--program", &path]).json();
    let outcomes = &json["summary"]["outcomes"];
    assert_eq!(outcomes["write SUCCESS"], 1, "{json}");
    assert_eq!(outcomes["read REM_ACCESS_ERR"], 1, "{json}");
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let (_folder, path) = file(&format!("{STAGE}jump c0.0\n"));
    wavetank(["judge", "--program", &path]).refused(&path, &["line 4", "\"jump\" is no step"]);
    wavetank(["judge", "--program", "no/such/file"]).refused("no/such/file", &["No such file"]);
    wavetank(["judge", "--profile", "cx9"]).refused("--profile cx9", &["ideal, rxe, cx6"]);
    wavetank(["judge", "--device", "rxe0"]).refused("--device", &["--against verbs"]);
    wavetank(["judge", "--protocol", "eager"]).refused("--protocol is of UCX", &["--against is mock"]);
    wavetank(["judge", "--against", "nonsense"]).misused(&["nonsense", "mock, verbs, ucx"]);
    wavetank(["judge", "--programs", "many"]).misused(&["--programs"]);
}
