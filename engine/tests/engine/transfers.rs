//! Transfers that succeed: lengths, directions, windows, immediates, fairness.

use proptest::prelude::*;
use wavetank_contract::{Backend as _, Caps, CqId, EndpointSpec, Op, OpKind, Wake};
use wavetank_engine::{DriverConfig, Port, PortConfig};

use crate::lab::{CHUNK, KIB, Lab, Plan, lab, lying_lab};
use crate::lying::Lying;

const LENGTHS: [u64; 8] = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK, 33 * CHUNK + 17, 1000 * KIB];

#[test]
fn a_read_of_any_length_brings_the_peers_bytes() {
    for len in LENGTHS {
        let mut lab = lab(Plan::default());
        let spec = lab.read(0, 4321, len);
        let id = lab.submit(0, spec);
        assert_eq!(lab.on(0, |d| d.wake()), Wake::Now, "there is something to post");
        lab.run();
        let finished = lab.the_finished(0);
        assert_eq!((finished.id, finished.kind, finished.imm), (id, OpKind::Read, None));
        lab.assert_brought(0, &finished, 4321, len);
        drop(finished);
        lab.assert_quiet();
    }
}

#[test]
fn a_write_of_any_length_lands_at_the_peer_and_nowhere_else() {
    for len in LENGTHS {
        let mut lab = lab(Plan::default());
        let spec = lab.write(1, 777, len, None);
        lab.submit(1, spec);
        lab.run();
        let finished = lab.the_finished(1);
        assert_eq!((finished.result, finished.kind), (Ok(len), OpKind::Write));
        drop(finished.lease);
        lab.assert_written(0, 777, len);
        lab.assert_quiet();
    }
}

#[test]
fn a_write_with_an_immediate_delivers_it_once_and_after_all_bytes() {
    for len in LENGTHS {
        let mut lab = lying_lab(Plan::default());
        let receives: Vec<_> = (0..2).map(|_| lab.spec(1, Op::Recv, 8)).collect();
        for spec in receives {
            lab.submit(1, spec);
        }
        let spec = lab.write(0, 0, len, Some(0xabcd));
        lab.submit(0, spec);
        lab.run();
        assert_eq!(lab.the_finished(0).result, Ok(len));
        let received = lab.the_finished(1);
        assert_eq!((received.kind, received.imm), (OpKind::WriteImm, Some(0xabcd)));
        lab.assert_written(1, 0, len);
        let imms: Vec<_> = lab.device(0, |d| d.posted.iter().map(|p| p.imm).collect());
        assert_eq!(imms.len() as u64, len.div_ceil(CHUNK).max(1));
        assert!(imms.split_last().unwrap().1.iter().all(Option::is_none) && imms.ends_with(&[Some(0xabcd)]));
    }
}

#[test]
fn a_message_is_never_cut() {
    let mut lab = lying_lab(Plan::default());
    let recv = lab.spec(1, Op::Recv, 5 * CHUNK);
    lab.submit(1, recv);
    let send = lab.spec(0, Op::Send { imm: None }, 5 * CHUNK);
    send.lease.write(0, &[7; 5 * CHUNK as usize]);
    lab.submit(0, send);
    lab.run();
    assert_eq!(lab.the_finished(0).result, Ok(5 * CHUNK));
    let received = lab.the_finished(1);
    assert_eq!((received.result, received.kind, received.imm), (Ok(5 * CHUNK), OpKind::Send, None));
    let mut bytes = vec![0; 5 * CHUNK as usize];
    received.lease.unwrap().read(0, &mut bytes);
    assert!(bytes.iter().all(|byte| *byte == 7));
    assert_eq!(lab.device(0, |d| d.posted.len()), 1);
    lab.assert_quiet();
}

#[test]
fn an_atomic_brings_the_former_value() {
    let mut lab = lab(Plan::default());
    lab.nodes[1].exposed.write(64, &41u64.to_le_bytes());
    let remote = lab.remote(0, 64);
    for (op, former, after) in [
        (Op::FetchAdd { remote, add: 1 }, 41, 42),
        (Op::CompareSwap { remote, compare: 42, swap: 7 }, 42, 7),
        (Op::CompareSwap { remote, compare: 42, swap: 9 }, 7, 7),
    ] {
        let spec = lab.spec(0, op, 8);
        lab.submit(0, spec);
        lab.run();
        let finished = lab.the_finished(0);
        assert_eq!(finished.result, Ok(8));
        assert_eq!(finished.lease.unwrap().region().word(0).get(), former);
        assert_eq!(lab.nodes[1].exposed.word(64).get(), after);
    }
    lab.assert_quiet();
}

#[test]
fn the_window_is_filled_and_never_exceeded() {
    for window in [1, 3, 8] {
        let driver = DriverConfig { window, chunk_bytes: CHUNK as u32, ..DriverConfig::default() };
        let mut lab = lab(Plan { driver, ..Plan::default() });
        let spec = lab.read(0, 0, 40 * CHUNK);
        lab.submit(0, spec);
        lab.run();
        assert_eq!(lab.the_finished(0).result, Ok(40 * CHUNK));
        assert_eq!(lab.nodes[0].outstanding_max, window as usize);
    }
}

#[test]
fn chunks_are_never_longer_than_the_device_takes() {
    let driver = DriverConfig { chunk_bytes: u32::MAX, window: 0, ..DriverConfig::default() };
    for (message_bytes_max, works) in [(1 << 30, 1), (16 << 10, 4)] {
        let mut lab = Lab::new(Plan { driver, ..Plan::default() }, |nic, port| {
            let caps = Caps { message_bytes_max, ..nic.caps().clone() };
            Port::new(Lying::with_caps(nic, caps), port)
        });
        let spec = lab.read(0, 0, 64 * KIB);
        lab.submit(0, spec);
        lab.run();
        assert_eq!(lab.the_finished(0).result, Ok(64 * KIB));
        assert_eq!(lab.device(0, |d| d.posted.len()), works);
    }
}

#[test]
fn a_small_transfer_behind_a_huge_one_does_not_wait_for_it() {
    let endpoint = EndpointSpec { send_depth: 4, ..EndpointSpec::new(CqId(0)) };
    let mut lab = lab(Plan { endpoint, ..Plan::default() });
    let huge = lab.read(0, 0, 250 * CHUNK);
    let huge_id = lab.submit(0, huge);
    lab.run_for(10_000);
    let small = lab.read(0, 9, 100);
    let small_id = lab.submit(0, small);
    lab.run();
    let ends = lab.finished(0);
    assert_eq!(ends.iter().map(|end| end.id).collect::<Vec<_>>(), [small_id, huge_id]);
    let took = |at: usize| ends[at].finished_at.since_ns(ends[at].submitted_at);
    assert!(took(0) * 10 < took(1), "{} ns against {} ns", took(0), took(1));
    drop(ends);
    lab.assert_quiet();
}

#[test]
fn transfers_of_equal_length_share_an_endpoint_evenly() {
    let mut lab = lab(Plan::default());
    for at in 0..5 {
        let spec = lab.read(0, at * 100 * KIB, 60 * CHUNK);
        lab.submit(0, spec);
    }
    lab.run();
    let ends = lab.finished(0);
    let (first, last) = (ends[0].finished_at, ends[4].finished_at);
    assert!(last.since_ns(first) * 5 < last.0, "the last is not far behind the first: {first}, {last}");
}

#[test]
fn a_full_receive_queue_does_not_keep_sends_from_going() {
    let endpoint = EndpointSpec { recv_depth: 2, ..EndpointSpec::new(CqId(0)) };
    let mut lab = lab(Plan { endpoint, ..Plan::default() });
    for _ in 0..5 {
        let spec = lab.spec(0, Op::Recv, 8);
        lab.submit(0, spec);
    }
    let spec = lab.read(0, 0, 10 * CHUNK);
    lab.submit(0, spec);
    lab.run();
    assert_eq!(lab.the_finished(0).result, Ok(10 * CHUNK), "nobody ever sends us anything");
    for tag in 0..5 {
        let spec = lab.spec(1, Op::Send { imm: Some(tag) }, 8);
        lab.submit(1, spec);
    }
    lab.run();
    let imms: Vec<_> = lab.finished(0).into_iter().map(|end| end.imm).collect();
    assert_eq!(
        imms,
        (0..5).map(Some).collect::<Vec<_>>(),
        "and the receives that waited are posted in order"
    );
    assert_eq!(lab.finished(1).len(), 5);
    lab.assert_quiet();
}

#[test]
fn a_driver_sleeps_no_longer_than_its_device_or_its_deadlines_allow() {
    use wavetank_contract::Instant;
    let lab = lying_lab(Plan::default());
    lab.on(0, |d| d.create_session(Instant(0), wavetank_engine::session::SessionSpec::new(1, 500))).unwrap();
    for (device, expected) in [
        (Wake::Idle, Wake::At(Instant(500))),
        (Wake::At(Instant(400)), Wake::At(Instant(400))),
        (Wake::At(Instant(600)), Wake::At(Instant(500))),
        (Wake::Notified { until: Instant::FAR }, Wake::Notified { until: Instant(500) }),
        (Wake::Notified { until: Instant(400) }, Wake::Notified { until: Instant(400) }),
        (Wake::Now, Wake::Now),
    ] {
        lab.device(0, |d| d.wake_as = Some(device));
        assert_eq!(lab.on(0, |d| d.wake()), expected, "{device:?}");
    }
    assert_eq!(lab.on(1, |d| d.wake()), Wake::Idle);
}

#[test]
fn a_flush_posts_what_was_submitted_and_leaves_what_ended_to_the_next_turn() {
    let mut lab = lab(Plan::default());
    let specs = [lab.read(0, 0, 10), lab.read(0, 10, 10 * CHUNK)];
    let mut posted = 0;
    for (spec, more) in specs.into_iter().zip([1, 4]) {
        lab.submit(0, spec);
        posted += more;
        let now = lab.now();
        lab.on(0, |d| d.flush(now));
        assert_eq!(lab.outstanding(0), posted);
        while lab.fabric.step(&mut lab.choices).is_some() {}
        assert!(lab.finished(0).is_empty(), "nobody has polled");
    }
    let now = lab.now();
    assert_eq!(lab.on(0, |d| d.flush(now)), Wake::Now, "there is something to poll");
    lab.run();
    let ends = lab.finished(0);
    lab.assert_brought(0, &ends[0], 0, 10);
    lab.assert_brought(0, &ends[1], 10, 10 * CHUNK);
    drop(ends);
    lab.assert_quiet();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bytes_are_right_whatever_the_geometry(
        len in 0..200_000u64,
        offset in 0..4096u64,
        chunk_bytes in 1024..70_000u32,
        window in 1..12u32,
        send_depth in 1..20u32,
        signal_every in 1..20u32,
        writes in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let driver = DriverConfig { chunk_bytes, window, ..DriverConfig::default() };
        let endpoint = EndpointSpec { send_depth, ..EndpointSpec::new(CqId(0)) };
        let port = PortConfig { signal_every };
        let mut lab = lab(Plan { driver, endpoint, port, seed, ..Plan::default() });
        let spec = if writes { lab.write(0, offset, len, None) } else { lab.read(0, offset, len) };
        lab.submit(0, spec);
        lab.run();
        let finished = lab.the_finished(0);
        if writes {
            prop_assert_eq!(finished.result, Ok(len));
            lab.assert_written(1, offset, len);
            drop(finished.lease);
        } else {
            lab.assert_brought(0, &finished, offset, len);
            drop(finished);
        }
        lab.assert_quiet();
    }
}
