//! The same replay in real time: every check, no virtual clock, and no wait without an end.

mod loopback;

use std::rc::Rc;

use wavetank_contract::OpKind;
use wavetank_engine::Port;
use wavetank_harness::bench::DevicePair;
use wavetank_harness::report::Spent;
use wavetank_harness::world::Waiting;
use wavetank_harness::{Check, Replay, Report, Trace, Workload};

use crate::support::{failed, failed_only, load, op, reads, run_ok, tell, two_nodes, two_nodes_with};
use loopback::{Cable, Loopback};

const MS: u64 = 1_000_000;

fn prepare(workload: Workload, cable: &Rc<Cable>, waiting: Waiting) -> Replay<Port<Loopback>> {
    let context = |_, config| Ok(Port::new(cable.device(), config));
    Replay::prepare_on(workload, Trace::default(), waiting, context).unwrap()
}

fn run(workload: Workload) -> Report {
    prepare(workload, &Cable::new(), Waiting::default()).run(&mut |_| ())
}

fn everything() -> Workload {
    let text = op("read", "pages", "4KiB")
        + &op("write", "log", "3000")
        + &op("write_imm", "log", "1KiB")
        + "[[op]]\nkind = \"send\"\nfrom = \"client\"\nto = \"storage\"\nsize = { uniform = [1, 900] }\n"
        + "[[region]]\nname = \"cells\"\nnode = \"storage\"\nsize = \"1KiB\"\n"
        + "[[op]]\nkind = \"fetch_add\"\nfrom = \"client\"\nregion = \"cells\"\n"
        + &load(8, 600);
    two_nodes_with("chunk = \"1KiB\"\nqueue_pairs = 2", &text)
}

#[test]
fn everything_is_replayed_and_checked_as_in_virtual_time() {
    let (real, again, simulated) = (run(everything()), run(everything()), run_ok(everything()));
    assert!(real.ok() && again.ok(), "{}", tell(&real));
    assert_eq!((real.ops, real.mismatches, real.bytes_swept), (600, 0, simulated.bytes_swept));
    assert_eq!(real.bytes_verified, again.bytes_verified, "a seed is the same operations every time");
    let told = real.to_json(&Spent::default());
    assert_eq!((&told["simulated"], &told["trace_hash"]), (&false.into(), &serde_json::Value::Null));
    assert!(told["elapsed_ns"].as_u64() > Some(0) && told["bytes_per_s"].as_u64() > Some(0));
    assert!(told.get("virtual_ns").is_none());
    let told = simulated.to_json(&Spent::default());
    assert_eq!(told["simulated"], true);
}

#[test]
fn a_world_of_more_devices_than_usual_is_waited_for_too() {
    let mut text = "profile = \"cx6\"\n[[node]]\nname = \"storage\"\n".to_owned();
    text += "[[region]]\nname = \"pages\"\nnode = \"storage\"\nsize = \"64KiB\"\n";
    for client in 0..20 {
        text += &format!("[[node]]\nname = \"c{client}\"\n");
        text += &format!("[[op]]\nkind = \"read\"\nfrom = \"c{client}\"\nregion = \"pages\"\nsize = 512\n");
    }
    let report = run(crate::support::parse(&(text + &load(7, 500))));
    assert!(report.ok() && report.ops == 500, "{}", tell(&report));
}

#[test]
fn a_device_that_falls_silent_fails_the_operations_by_their_deadline() {
    let cable = Cable::new();
    cable.deaf_after.set(9);
    let waiting = Waiting { deadline_ns: 40 * MS, ..Waiting::default() };
    let report = prepare(two_nodes(&reads(1, 100)), &cable, waiting).run(&mut |_| ());
    failed_only(&report, Check::Success, &["operation 9 (test.toml:15)", "was not done by its deadline"]);
    assert!((40 * MS..4000 * MS).contains(&report.elapsed_ns), "{}", report.elapsed_ns);
    assert_eq!(report.ops, 10);
}

#[test]
fn a_message_that_never_comes_is_not_waited_for_longer_than_anything() {
    // The receive at the storage node is never posted: its doorbell is not heard, and no more come after it.
    let cable = Cable::new();
    let workload = two_nodes(&crate::messages::sends(1, 5));
    let waiting = Waiting { deadline_ns: 40 * MS, ..Waiting::default() };
    let mut replay = prepare(workload, &cable, waiting);
    replay.world().nodes[1].receives.as_mut().unwrap();
    cable.deaf_after.set(0);
    let report = replay.run(&mut |_| ());
    failed(&report, Check::Success, &["operation 0 ", "was not done by its deadline"]);
    assert!(report.elapsed_ns < 4000 * MS);
}

#[test]
fn waiting_costs_no_polling_and_spinning_does() {
    let polls = |spin_ns| {
        let cable = Cable::new();
        let text = op("read", "pages", "512") + "[load]\narrival = \"open\"\nrate = \"200/s\"\ncount = 10\n";
        let report =
            prepare(two_nodes(&text), &cable, Waiting { spin_ns, ..Waiting::default() }).run(&mut |_| ());
        assert!(report.ok() && report.ops == 10, "{}", tell(&report));
        cable.polls.get()
    };
    let (sleeping, spinning) = (polls(0), polls(5 * MS));
    assert!(sleeping < 200, "{sleeping} polls for ten arrivals, 5 ms apart");
    assert!(spinning > 10 * sleeping, "{spinning} polls in 50 ms, {sleeping} when asleep");
}

#[test]
fn arrivals_keep_real_time() {
    let text = op("read", "pages", "512") + "[load]\narrival = \"open\"\nrate = \"1k/s\"\ncount = 30\n";
    let report = run(two_nodes(&text));
    assert!(report.ok(), "{}", tell(&report));
    assert!(report.elapsed_ns > 5 * MS, "thirty arrivals in {} ns", report.elapsed_ns);
}

#[test]
fn nothing_is_too_fast_for_a_device_and_its_expectations_are_held() {
    let text = reads(1, 20) + "[expect]\n[[expect.latency]]\nop = \"read\"\np50 = \"1ns\"\n";
    let report = run(two_nodes(&text));
    failed_only(&report, Check::Expectation, &["p50 of read is at most 1 ns"]);
}

#[test]
fn a_device_that_cannot_be_had_is_an_error_that_names_the_node() {
    let cable = Cable::new();
    let context = |node, config| match node {
        0 => Ok(Port::new(cable.device(), config)),
        _ => Err("no device rxe7".to_owned()),
    };
    let workload = two_nodes(&reads(1, 1));
    let error = Replay::<Port<Loopback>>::prepare_on(workload, Trace::default(), Waiting::default(), context);
    assert_eq!(error.expect_err("refused").to_string(), "node 1 has no device: no device rxe7");
}

#[test]
fn a_pair_of_devices_is_measured_and_its_bytes_are_checked() {
    let cable = Cable::new();
    let port = || Port::new(cable.device(), wavetank_engine::PortConfig::default());
    let mut pair = DevicePair::open([port(), port()], 5000, 4, Waiting::default()).unwrap();
    for kind in [OpKind::Read, OpKind::Write] {
        let took = pair.latencies(kind, 30).unwrap();
        assert!(took.len() == 30 && took.iter().all(|ns| *ns > 0));
        assert!(pair.together(kind, 50).unwrap() > 0);
    }
    // The twin: a device that hears no doorbell gives no figure.
    cable.deaf_after.set(0);
    let waiting = Waiting { deadline_ns: 20 * MS, ..Waiting::default() };
    let mut deaf = DevicePair::open([port(), port()], 5000, 4, waiting).unwrap();
    assert!(deaf.latencies(OpKind::Read, 1).unwrap_err().to_string().contains("nothing has ended"));
    pair.close();
}
