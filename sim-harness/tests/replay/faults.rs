//! Replays that are disturbed: what succeeds is right, what fails is explained, and what does not pass ends the run.

use std::path::Path;

use wavetank_harness::fault::schedule::{Names, Schedule};
use wavetank_harness::report::{Spent, Toll};
use wavetank_harness::{Check, Replay, Report, Workload};

use crate::support::{failed, load, op, reads, tell, two_nodes, two_nodes_with};

/// READs, WRITEs and messages over two connections.
fn busy(count: u32) -> Workload {
    let small = |kind, region| op(kind, region, "4KiB") + "align = \"8B\"\n";
    let send = "[[op]]\nkind = \"send\"\nfrom = \"client\"\nto = \"storage\"\nsize = \"1KiB\"\n";
    let rest = small("read", "pages") + &small("write", "pages") + &small("write_imm", "log") + send;
    two_nodes_with("queue_pairs = 2", &(rest + &load(8, count)))
}

/// Runs a workload with faults.
fn disturbed(mut workload: Workload, faults: &str) -> (Report, Toll) {
    let names = Names::of(&workload);
    let schedule = Schedule::parse(Path::new("faults.toml"), faults.as_bytes(), &names);
    let schedule = schedule.unwrap_or_else(|error| panic!("{error}"));
    workload.settings.patience = schedule.patience;
    let mut replay = Replay::prepare(workload).expect("it is set up");
    replay.disturb(schedule, None).expect("the simulated network can do it");
    let mut report = replay.run(&mut |_| ());
    let toll = report.toll.take().expect("a disturbed run has a toll");
    (report, toll)
}

/// Wants every check to hold though all faults came.
#[track_caller]
fn survives(workload: Workload, faults: &str) -> (Report, Toll) {
    let (report, toll) = disturbed(workload, faults);
    assert!(report.ok(), "{}\n{toll:?}", tell(&report));
    assert!(toll.came.iter().all(|came| came.times > 0), "{toll:?}");
    (report, toll)
}

#[test]
fn what_does_not_kill_a_connection_costs_no_operation() {
    let faults = [
        "between = ['client', 'storage']\nlose = { one_in = 50 }",
        "between = ['client', 'storage']\nlose = { one_in = 300, burst = 4 }",
        "between = ['client', 'storage']\nduplicate = { one_in = 20 }",
        "between = ['client', 'storage']\nreorder = { one_in = 50, by = '10us' }",
        "between = ['client', 'storage']\ncorrupt = { one_in = 50 }",
        "between = ['client', 'storage']\ntruncate = { one_in = 50 }",
        "between = ['client', 'storage']\ndelay = '1ms'\nfor = '20ms'",
        "between = ['client', 'storage']\nthrottle = 10",
        "between = ['client', 'storage']\ncut = true\nfor = '30ms'",
        "from = 'client'\nto = 'storage'\nlose_nth = 4",
        "from = 'storage'\nto = 'client'\ncut = true\nfor = '30ms'",
        "node = 'storage'\ndevice = 'port-down'\nfor = '5ms'",
        "node = 'client'\ndevice = 'pause'\nfor = '5ms'",
        "node = 'client'\nhost = 'pause'\nfor = '3ms'",
        "node = 'storage'\ndevice = 'place-out-of-order'",
        "node = 'client'\ndevice = 'shuffle-completions'",
    ];
    for fault in faults {
        let (report, toll) = survives(busy(400), &format!("[[fault]]\nat = '20us'\n{fault}"));
        assert_eq!((report.ops, toll.failed_ops(), toll.renewed), (400, 0, 0), "{fault}: {toll:?}");
    }
}

#[test]
fn a_connection_that_dies_is_made_anew_and_the_run_goes_on() {
    let (report, toll) = survives(
        busy(2000),
        "[[fault]]\nat = '100us'\nbetween = ['client', 'storage']\ncut = true\nfor = '1s'",
    );
    assert_eq!(report.ops, 2000);
    assert!(toll.failed.contains_key("RETRY_EXC_ERR"), "{toll:?}");
    assert!((2..=8).contains(&toll.renewed), "two connections, each a few times: {toll:?}");
    assert!(toll.failed_ops() >= 8, "everything in flight: {toll:?}");
    assert_eq!(report.to_json(&Spent::default())["faults"], serde_json::Value::Null, "taken out above");
}

#[test]
fn one_answer_lost_for_good_leaves_a_write_that_is_there_or_not() {
    // Requests arrive and answers do not: WRITEs are in place, and their posters hear RETRY_EXC_ERR.
    let writes =
        op("write", "pages", "4KiB") + "align = \"8B\"\n" + &op("read", "pages", "8KiB") + &load(8, 3000);
    let faults = "[connection]\ntimeout = 5\nretry_cnt = 1\n\
                  [[fault]]\none_in = 100\nfrom = 'storage'\nto = 'client'\ncut = true\nfor = '2ms'";
    let (report, toll) = survives(two_nodes(&writes), faults);
    assert_eq!(report.ops, 3000);
    assert!(toll.renewed > 3 && toll.failed_ops() > 3, "{toll:?}");
}

#[test]
fn messages_that_fail_arrive_once_or_not_at_all() {
    let send = "[[op]]\nkind = \"send\"\nfrom = \"client\"\nto = \"storage\"\nsize = \"1KiB\"\n";
    let imm = op("write_imm", "log", "4KiB");
    for (from, to) in [("client", "storage"), ("storage", "client")] {
        let faults = format!(
            "[connection]\ntimeout = 5\nretry_cnt = 1\n\
             [[fault]]\none_in = 100\nfrom = '{from}'\nto = '{to}'\ncut = true\nfor = '2ms'"
        );
        let (report, toll) = survives(two_nodes(&(send.to_owned() + &imm + &load(8, 3000))), &faults);
        assert_eq!(report.ops, 3000);
        assert!(toll.renewed > 3, "{toll:?}");
    }
}

#[test]
fn atomics_that_fail_are_done_or_not() {
    let add = "[[region]]\nname = \"cells\"\nnode = \"storage\"\nsize = \"64B\"\n".to_owned()
        + &op("fetch_add", "cells", "8B")
        + &load(4, 1000);
    let faults = "[connection]\ntimeout = 5\nretry_cnt = 1\n\
                  [[fault]]\nop = 300\nfrom = 'storage'\nto = 'client'\ncut = true\nfor = '2ms'";
    let (_, toll) = survives(two_nodes(&add), faults);
    assert!(toll.renewed >= 1, "{toll:?}");
}

#[test]
fn a_key_that_is_rolled_under_way_breaks_what_is_under_way_only() {
    let (report, toll) =
        survives(two_nodes(&reads(8, 500)), "[[fault]]\nop = 100\nregion = 'pages'\nmemory = 'roll-key'");
    assert_eq!(report.ops, 500);
    assert!(toll.failed.contains_key("REM_ACCESS_ERR") && toll.failed_ops() <= 8, "{toll:?}");
    assert_eq!(toll.renewed, 1);
}

#[test]
fn a_fault_that_does_not_pass_ends_the_run_and_says_which() {
    for fault in ["between = ['client', 'storage']\ncut = true", "node = 'storage'\ndevice = 'port-down'"] {
        let (report, toll) = disturbed(busy(400), &format!("[[fault]]\nop = 50\n{fault}"));
        assert!(!report.ok() && report.ops < 400, "{fault}: {} {toll:?}", tell(&report));
        failed(
            &report,
            Check::Success,
            &["operation", "client -> storage", "RETRY_EXC_ERR", "broke 9 times", "faults.toml:1: "],
        );
        assert!(toll.renewed > 0);
    }
}

#[test]
fn what_no_fault_explains_is_held_against_the_run() {
    // A key is rolled; nothing was lost, so that silence would be no excuse.
    let mut workload = two_nodes(&reads(8, 500));
    workload.settings.deadline_ns = Some(1);
    let (report, _) = disturbed(workload, "[[fault]]\nop = 0\nregion = 'pages'\nmemory = 'roll-key'");
    failed(&report, Check::Success, &["was not done by its deadline"]);
}

#[test]
fn a_fault_whose_time_does_not_come_is_told() {
    let faults = "[[fault]]\nat = '10s'\nnode = 'client'\nhost = 'pause'\n[[fault]]\nop = 3\nnode = 'client'\nhost = 'pause'\nfor = '1us'";
    let (report, toll) = disturbed(two_nodes(&reads(8, 100)), faults);
    assert!(report.ok(), "{}", tell(&report));
    let told: Vec<String> =
        toll.came.iter().map(|came| format!("{} {} {}", came.place, came.fault, came.times)).collect();
    assert_eq!(
        told,
        ["faults.toml:1 at 10000000000 host 0 pause 0", "faults.toml:5 op 3 for 1000 host 0 pause 1"]
    );
}

#[test]
fn a_schedule_that_never_comes_changes_nothing() {
    let calm = Replay::prepare(busy(300)).expect("it is set up").run(&mut |_| ());
    let never = "[connection]\ntimeout = 18\n[[fault]]\nop = 4000000\nnode = 'client'\nhost = 'pause'";
    let (report, _) = disturbed(busy(300), never);
    assert_eq!(report.trace.hash(), calm.trace.hash());
}

#[test]
fn the_same_seed_has_the_same_faults() {
    let faults =
        "[[fault]]\none_in = 50\nfrom = 'client'\nto = 'storage'\nlose = { one_in = 3 }\nfor = '100us'";
    let run = |seed| {
        let mut workload = busy(400);
        workload.settings.seed = seed;
        let (report, toll) = disturbed(workload, faults);
        assert!(report.ok(), "{}", tell(&report));
        (report.trace.hash(), toll.came[0].times)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn what_a_replay_cannot_do_is_refused_with_its_line() {
    let refused = [
        (
            "node = 'client'\nhost = 'crash'",
            "faults.toml:3: at 0 host 0 crash: a replay does not outlive its hosts",
        ),
        (
            "region = 'log'\nmemory = 'deregister'",
            "faults.toml:3: at 0 memory 1 deregister: a replay needs all",
        ),
    ];
    for (fault, said) in refused {
        let workload = two_nodes(&reads(1, 1));
        let text = format!("\n\n[[fault]]\nat = '0s'\n{fault}");
        let schedule = Schedule::parse(Path::new("faults.toml"), text.as_bytes(), &Names::of(&workload));
        let mut replay = Replay::prepare(workload).expect("it is set up");
        let error = replay.disturb(schedule.expect("a schedule"), None).expect_err("refused").to_string();
        assert!(error.contains(said), "{error}");
    }
}
