//! The faults on the simulated network.

use wavetank_contract::{Instant, RkeyId, Status};
use wavetank_engine::RdmaOps;
use wavetank_harness::lab::{Lab, MockLab};
use wavetank_mock::Profile;

use crate::stream::{OP_BYTES, PATIENT, QUICK, run};

/// The nodes, in the order in which a stream opens them.
const STORAGE: u16 = 0;
const CLIENT: u16 = 1;

fn lab() -> MockLab {
    MockLab::new(Profile::RXE, 1)
}

#[test]
fn an_undisturbed_stream_brings_every_byte() {
    run(&mut lab(), PATIENT, 400, |_, _, _| {}).assert_recovered(400);
}

#[test]
fn a_byte_that_is_not_the_owners_is_noticed() {
    let outcome = run(&mut lab(), PATIENT, 40, |_, storage, ended| {
        if ended == 10 {
            storage.source.write(5 * OP_BYTES + 77, &[0x5a]);
        }
    });
    assert_eq!((outcome.failures.len(), outcome.wrong > 0), (0, true), "{outcome:?}");
}

#[test]
fn a_written_byte_that_changes_is_noticed() {
    let outcome = run(&mut lab(), PATIENT, 32, |_, storage, ended| {
        if ended == 31 {
            storage.sink.write(3 * OP_BYTES, &[0x5a]);
        }
    });
    assert_eq!(outcome.wrong, 1, "{outcome:?}");
}

#[test]
fn lost_packets_are_recovered_from() {
    let mut disturbed = false;
    let outcome = run(&mut lab(), QUICK, 400, |lab, _, _| {
        if !disturbed {
            disturbed = true;
            lab.fabric().link(STORAGE, CLIENT).loss_one_in = 20;
            lab.fabric().link(CLIENT, STORAGE).loss_one_in = 20;
        }
    });
    outcome.assert_recovered(400);
    let calm = run(&mut lab(), QUICK, 400, |_, _, _| {});
    assert!(outcome.longest_ns > 4 * calm.longest_ns, "nothing was lost: {outcome:?}");
}

#[test]
fn a_blackout_of_200_ms_is_ridden_out() {
    let mut mend_at = None;
    let outcome = run(&mut lab(), PATIENT, 200, |lab, _, ended| match mend_at {
        None if ended >= 50 => {
            mend_at = Some(lab.now() + 200_000_000);
            lab.fabric().link(CLIENT, STORAGE).loss_one_in = 1;
            lab.fabric().link(STORAGE, CLIENT).loss_one_in = 1;
        }
        Some(at) if lab.now() >= at => {
            mend_at = Some(Instant::FAR);
            lab.fabric().mend(CLIENT, STORAGE);
            lab.fabric().mend(STORAGE, CLIENT);
        }
        _ => {}
    });
    assert!(outcome.longest_ns >= 200_000_000, "nothing was cut: {outcome:?}");
    outcome.assert_recovered(200);
}

#[test]
fn a_blackhole_ends_in_retries_exceeded() {
    let outcome = run(&mut lab(), PATIENT, 200, |lab, _, ended| {
        if ended == 50 {
            lab.fabric().link(CLIENT, STORAGE).loss_one_in = 1;
        }
    });
    outcome.assert_ended_in(&[Status::RetryExcErr]);
}

#[test]
fn a_wrong_key_ends_in_remote_access_refused() {
    let mut lab = lab();
    let mut storage = crate::stream::Storage::new(lab.open(1).expect("a device"), PATIENT);
    let offer = storage.offer();
    let mut stream = crate::stream::Stream::new(lab.open(0).expect("a device"), &offer, PATIENT);
    let address = stream.address();
    storage.port.connect(storage.ep, &address).expect("an address");
    stream.forge(|source| source.rkey = RkeyId(source.rkey.0 ^ 0x1100));
    stream.run(&mut lab, 20, |_, _| {}).assert_ended_in(&[Status::RemAccessErr]);
}

#[test]
fn a_region_deregistered_under_way_ends_in_remote_access_refused() {
    let mut gone = false;
    let outcome = run(&mut lab(), PATIENT, 200, |_, storage, ended| {
        if ended >= 50 && !gone {
            gone = true;
            storage.port.deregister(storage.source_mr).expect("nobody leases it");
        }
    });
    outcome.assert_ended_in(&[Status::RemAccessErr]);
}
