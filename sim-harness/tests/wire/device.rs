//! The faults on a real cable. Each leaves its mark in a counter of the device, or it was no fault.
//!
//! Run one a process (`--exact`): what one does to the cable, the next would meet.

use wavetank_contract::{AsyncEvent, Instant, RkeyId, Status};
use wavetank_engine::RdmaOps;
use wavetank_harness::lab::{DeviceLab, Lab};
use wavetank_verbs::VerbsDevice;

use crate::cable::{Cable, counter};
use crate::peer::{self, Peer};
use crate::stream::{DEADLINE_NS, Outcome, PATIENT, QUICK, Storage, Stream, run};

pub(crate) fn devices() -> [String; 2] {
    let names = std::env::var("WAVETANK_DEVICES").expect("WAVETANK_DEVICES names two, as in `rxe0,rxe1`");
    let (a, b) = names.split_once(',').expect("WAVETANK_DEVICES names two, as in `rxe0,rxe1`");
    [a.to_owned(), b.to_owned()]
}

/// Node 0 is the client on the first device, node 1 the storage node on the second.
pub(crate) fn lab() -> DeviceLab<VerbsDevice> {
    let devices = devices();
    DeviceLab::new(
        "verbs",
        Box::new(move |node| peer::open(&devices[usize::from(node)]).map_err(|error| error.to_string())),
    )
}

/// What a device counts when it had to ask again, or was asked again (rxe_hw_counters.c).
const REPEATS: [&str; 4] = ["rcvd_seq_err", "out_of_seq_request", "completer_retry_err", "duplicate_request"];

/// A stream whose packets `netem` disturbs from the start. The counter must move.
fn disturbed(how: &str, ops: u64, marks: &[&str]) -> Outcome {
    let cable = Cable::grasp();
    let [client, storage] = devices();
    let left = || marks.iter().map(|mark| counter(&client, mark) + counter(&storage, mark)).sum::<u64>();
    let before = left();
    let mut begun = false;
    let outcome = run(&mut lab(), QUICK, ops, |_, _, _| {
        if !std::mem::replace(&mut begun, true) {
            cable.disturb(how);
        }
    });
    assert!(left() > before, "`{how}` left no mark in {marks:?}: {outcome:?}");
    outcome
}

#[test]
#[ignore = "needs two devices and their cable"]
fn an_undisturbed_stream_brings_every_byte() {
    run(&mut lab(), PATIENT, 1000, |_, _, _| {}).assert_recovered(1000);
}

#[test]
#[ignore = "needs two devices and their cable"]
fn lost_packets_are_recovered_from() {
    disturbed("loss 3%", 200, &REPEATS).assert_recovered(200);
}

#[test]
#[ignore = "needs two devices and their cable"]
fn corrupted_packets_are_recovered_from() {
    disturbed("corrupt 2%", 200, &REPEATS).assert_recovered(200);
}

#[test]
#[ignore = "needs two devices and their cable"]
fn duplicated_packets_are_recovered_from() {
    disturbed("duplicate 10%", 400, &["duplicate_request"]).assert_recovered(400);
}

#[test]
#[ignore = "needs two devices and their cable"]
fn reordered_packets_are_recovered_from() {
    // Mildly, and without a mark in any counter: rxe drops a response that is ahead of its turn in silence (rxe_comp.c,
    // check_psn). When most packets are out of order, Linux 6.12 was seen to tell success of READs whose bytes were wrong;
    // docs/soft-roce.md has the recipe.
    let cable = Cable::grasp();
    cable.disturb("delay 1ms reorder 90% 50%");
    let packets = cable.delayed_packets();
    run(&mut lab(), QUICK, 100, |_, _, _| {}).assert_recovered(100);
    assert!(cable.delayed_packets() > packets + 1000, "the stream did not pass the disturbed cable");
}

#[test]
#[ignore = "needs two devices and their cable"]
fn a_blackout_of_200_ms_is_ridden_out() {
    let cable = Cable::grasp();
    let mut mend_at = None;
    let outcome = run(&mut lab(), PATIENT, 300, |lab, _, ended| match mend_at {
        None if ended >= 50 => {
            cable.cut();
            mend_at = Some(lab.now() + 200_000_000);
        }
        Some(at) if lab.now() >= at => {
            mend_at = Some(Instant::FAR);
            cable.mend();
        }
        _ => {}
    });
    assert!(outcome.longest_ns >= 200_000_000, "nothing was cut: {outcome:?}");
    outcome.assert_recovered(300);
}

#[test]
#[ignore = "needs two devices and their cable"]
fn a_blackhole_ends_in_retries_exceeded() {
    let cable = Cable::grasp();
    let mut cut = false;
    let outcome = run(&mut lab(), PATIENT, 100_000, |_, _, ended| {
        if ended >= 50 && !std::mem::replace(&mut cut, true) {
            cable.cut();
        }
    });
    outcome.assert_ended_in(&[Status::RetryExcErr]);
}

/// A flush can be the first failure: nothing was refused, the port is simply gone (measured on rxe).
fn link_down(end: usize) {
    let cable = Cable::grasp();
    let mut down = false;
    let outcome = run(&mut lab(), PATIENT, 100_000, |_, _, ended| {
        if ended >= 50 && !std::mem::replace(&mut down, true) {
            cable.take_down(end);
        }
    });
    outcome.assert_ended_in(&[Status::WrFlushErr, Status::RetryExcErr]);
    assert!(outcome.events.contains(&AsyncEvent::PortErr), "{outcome:?}");
}

#[test]
#[ignore = "needs two devices and their cable"]
fn our_link_that_goes_down_ends_the_stream_and_says_so() {
    link_down(0);
}

#[test]
#[ignore = "needs two devices and their cable"]
fn the_peers_link_that_goes_down_ends_the_stream_and_says_so() {
    link_down(1);
}

#[test]
#[ignore = "needs two devices and their cable"]
fn a_wrong_key_ends_in_remote_access_refused() {
    let mut lab = lab();
    let mut storage = Storage::new(lab.open(1).expect("a device"), PATIENT);
    let mut stream = Stream::new(lab.open(0).expect("a device"), &storage.offer(), PATIENT);
    let address = stream.address();
    storage.port.connect(storage.ep, &address).expect("an address");
    stream.forge(|source| source.rkey = RkeyId(source.rkey.0 ^ 0x1100));
    stream.run(&mut lab, 20, |_, _| {}).assert_ended_in(&[Status::RemAccessErr]);
}

#[test]
#[ignore = "needs two devices and their cable"]
fn a_region_deregistered_under_way_ends_in_remote_access_refused() {
    let mut gone = false;
    let outcome = run(&mut lab(), PATIENT, 100_000, |_, storage, ended| {
        if ended >= 50 && !std::mem::replace(&mut gone, true) {
            storage.port.deregister(storage.source_mr).expect("nobody leases it");
        }
    });
    outcome.assert_ended_in(&[Status::RemAccessErr]);
}

#[test]
#[ignore = "needs two devices and their cable"]
fn a_killed_peer_ends_in_retries_exceeded() {
    let [client, storage] = devices();
    let mut peer = Peer::start(&storage);
    let mut lab = lab();
    let mut stream = Stream::new(peer::open(&client).expect("a device"), peer.offer(), PATIENT);
    peer.connect(&stream.address());
    let mut killed_at = None;
    let outcome = stream.run(&mut lab, 100_000, |lab, ended| {
        if ended >= 50 && killed_at.is_none() {
            peer.kill();
            killed_at = Some(lab.now());
        }
    });
    outcome.assert_ended_in(&[Status::RetryExcErr]);
    let took = lab.now().since_ns(killed_at.expect("it was killed"));
    assert!(took < DEADLINE_NS, "{took} ns after the peer died");
}
