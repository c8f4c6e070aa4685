//! Refusals: what a peer or the device itself says no to, and what is left standing afterwards.

use wavetank_contract::*;
use wavetank_mock::StepKind;

use crate::lab::*;

const NO_REMOTE: Access = Access::LOCAL;
const READ_ONLY: Access =
    Access { local_write: true, remote_read: true, remote_write: false, remote_atomic: false };
const WRITE_ONLY: Access =
    Access { local_write: true, remote_read: false, remote_write: true, remote_atomic: false };

/// What a refusal looks like at both ends.
struct Refusal {
    requester: Status,
    /// How the responder's first receive ends; flushed if nothing else.
    receive: Status,
    event: Option<fn(EpId) -> AsyncEvent>,
}

const ACCESS: Refusal = Refusal {
    requester: Status::RemAccessErr,
    receive: Status::WrFlushErr,
    event: Some(AsyncEvent::QpAccessErr),
};
const INVALID: Refusal = Refusal {
    requester: Status::RemInvReqErr,
    receive: Status::WrFlushErr,
    event: Some(AsyncEvent::QpReqErr),
};
const TOO_SHORT: Refusal =
    Refusal { requester: Status::RemInvReqErr, receive: Status::LocLenErr, event: None };
const BAD_RECEIVE: Refusal =
    Refusal { requester: Status::RemOpErr, receive: Status::LocProtErr, event: None };

/// How a case sets the scene: what it changes of the responder's endpoint, the responder's receive, the bad work.
struct Scene {
    rights: Access,
    receive: fn(&mut Lab) -> Vec<Sge>,
}

const PLAIN: Scene = Scene { rights: Access::ALL, receive: |lab| vec![lab.piece(1, 250_000, 64)] };

/// Works before, beside and behind the bad one: all of them end as they must, and nothing but the work before is
/// done.
#[track_caller]
fn refused(scene: &Scene, expected: &Refusal, bad: impl FnOnce(&mut Lab) -> W) -> Lab {
    let mut lab = Lab::new(2);
    let (a, b) =
        lab.pair_with(0, 1, |s| s.mtu = Mtu::B1024, |s| (s.mtu, s.access) = (Mtu::B1024, scene.rights));
    let bad = bad(&mut lab);
    let receive = (scene.receive)(&mut lab);

    // The responder has a READ outstanding whose request is lost.
    lab.fabric.link(1, 0).lose_after = Some(0);
    lab.go(b, &[read(20, &[lab.piece(1, 0, 8)], lab.at(0, 0)), recv(21, &receive), recv(22, &[])]);
    let local = [lab.piece(0, 5000, 100)];
    lab.go(a, &[recv(5, &local), recv(6, &[])]);
    let behind = [write(3, &local, lab.at(1, 9999)), read(4, &[lab.piece(0, 0, 9)], lab.at(1, 1)).silent()];
    if scene.rights.remote_write {
        lab.expect_copy(0, 5000, 1, 7777, 100);
        let before = write(1, &local, lab.at(1, 7777));
        lab.go(a, &[before]);
    }
    lab.go(a, &[bad]);
    lab.go(a, &behind);
    lab.run();
    lab.check();

    assert_eq!((lab.state(a), lab.state(b)), (QpState::Err, QpState::Err));
    let mut mine = lab.poll(0);
    if scene.rights.remote_write {
        let first = mine.remove(0);
        assert_eq!((first.id.0, first.status), (1, Status::Success));
    }
    let at_a: Vec<_> = mine.iter().map(|c| (c.id.0, c.status)).collect();
    let flush = Status::WrFlushErr;
    assert_eq!(at_a, [(2, expected.requester), (3, flush), (4, flush), (5, flush), (6, flush)]);
    let theirs = lab.poll(1);
    let at_b: Vec<_> = theirs.iter().map(|c| (c.id.0, c.status)).collect();
    match expected.receive {
        Status::WrFlushErr => assert_eq!(at_b, [(20, flush), (21, flush), (22, flush)]),
        cause => assert_eq!(at_b, [(21, cause), (20, flush), (22, flush)]),
    }
    for c in mine.iter().chain(&theirs) {
        assert!(c.vendor != 0 && c.ep.0 == 0);
        assert_eq!((c.kind, c.len, c.imm), (OpKind::Recv, 0xdead_beef, Some(0xdead_beef)), "poisoned");
    }
    assert_eq!(lab.events(0), []);
    assert_eq!(lab.events(1), Vec::from_iter(expected.event.map(|e| e(b.ep))));
    lab
}

fn local(lab: &Lab, len: u32) -> [Sge; 1] {
    [lab.piece(0, 20_000, len)]
}

/// The same range by WRITE, READ and, if it can be, atomics.
#[track_caller]
fn refused_for_every_verb(expected: &Refusal, len: u32, to: impl Fn(&mut Lab) -> RemoteAddr) {
    refused(&PLAIN, expected, |lab| write(2, &local(lab, len), to(lab)));
    refused(&PLAIN, expected, |lab| write(2, &local(lab, len), to(lab)).imm(1));
    refused(&PLAIN, expected, |lab| read(2, &local(lab, len), to(lab)));
    if len == 8 {
        refused(&PLAIN, expected, |lab| add(2, local(lab, 8)[0], to(lab), 1));
        refused(&PLAIN, expected, |lab| swap(2, local(lab, 8)[0], to(lab), 1, 1));
    }
}

#[test]
fn a_key_that_was_never_given_out_is_refused() {
    for flip in [1, 1 << 8, 1 << 31, 1 << 32, 1 << 63] {
        refused_for_every_verb(&ACCESS, 8, |lab| {
            let RemoteAddr { rkey, addr } = lab.at(1, 0);
            let rkey = RkeyId(rkey.0 ^ flip);
            RemoteAddr { rkey, addr }
        });
    }
}

#[test]
fn a_stale_key_is_refused_even_after_its_slot_is_used_again() {
    for again in [false, true] {
        refused_for_every_verb(&ACCESS, 8, |lab| {
            let old = lab.extra(1, 4096, 0, Access::ALL);
            lab.nodes[1].nic.deregister(old.mr).unwrap();
            if again {
                lab.nodes[1].nic.register(&old.mem, PdId(0), Access::ALL).unwrap();
            }
            old.to()
        });
    }
}

#[test]
fn ranges_that_leave_the_region_on_either_side_are_refused() {
    for len in [1, 8, 5000] {
        let end = MEM as u64;
        for offset in [end, end - u64::from(len) + 1, 0u64.wrapping_sub(1), 0u64.wrapping_sub(u64::from(len))]
        {
            refused_for_every_verb(&ACCESS, len, |lab| lab.at(1, offset));
        }
    }
}

#[test]
fn ranges_that_wrap_around_the_address_space_are_refused() {
    for addr in [u64::MAX, u64::MAX - 7, u64::MAX - 4999, 0] {
        for len in [8, 5000] {
            refused_for_every_verb(&ACCESS, len, |lab| RemoteAddr { addr, ..lab.at(1, 0) });
        }
    }
}

#[test]
fn a_key_does_not_open_the_region_next_to_its_own() {
    refused_for_every_verb(&ACCESS, 8, |lab| {
        let (one, two) = (lab.extra(1, 4096, 0, Access::ALL), lab.extra(1, 4096, 0, Access::ALL));
        RemoteAddr { rkey: one.to().rkey, addr: two.to().addr }
    });
}

#[test]
fn regions_of_another_domain_are_refused() {
    refused_for_every_verb(&ACCESS, 8, |lab| lab.extra(1, 4096, 1, Access::ALL).to());
}

#[test]
fn a_right_the_region_lacks_is_an_access_error() {
    refused(&PLAIN, &ACCESS, |lab| write(2, &local(lab, 8), lab.extra(1, 4096, 0, READ_ONLY).to()));
    refused(&PLAIN, &ACCESS, |lab| read(2, &local(lab, 8), lab.extra(1, 4096, 0, WRITE_ONLY).to()));
    for access in [READ_ONLY, WRITE_ONLY] {
        refused(&PLAIN, &ACCESS, |lab| add(2, local(lab, 8)[0], lab.extra(1, 4096, 0, access).to(), 1));
    }
}

#[test]
fn a_right_the_queue_pair_lacks_is_an_invalid_request() {
    let scene = |rights| Scene { rights, ..PLAIN };
    refused(&scene(READ_ONLY), &INVALID, |lab| write(2, &local(lab, 8), lab.at(1, 0)));
    refused(&scene(READ_ONLY), &INVALID, |lab| write(2, &local(lab, 8), lab.at(1, 0)).imm(3));
    refused(&scene(WRITE_ONLY), &INVALID, |lab| read(2, &local(lab, 8), lab.at(1, 0)));
    refused(&scene(WRITE_ONLY), &INVALID, |lab| add(2, local(lab, 8)[0], lab.at(1, 0), 1));
    refused(&scene(READ_ONLY), &INVALID, |lab| swap(2, local(lab, 8)[0], lab.at(1, 0), 1, 1));
    refused(&scene(NO_REMOTE), &INVALID, |lab| read(2, &local(lab, 0), lab.at(1, 0)));
}

#[test]
fn a_misaligned_atomic_is_an_invalid_request() {
    for off in [1, 4, 7] {
        refused(&PLAIN, &INVALID, |lab| add(2, local(lab, 8)[0], lab.at(1, off), 1));
        refused(&PLAIN, &INVALID, |lab| swap(2, local(lab, 8)[0], lab.at(1, 800 + off), 1, 1));
    }
}

#[test]
fn a_message_longer_than_its_receive_is_refused_in_its_first_packet() {
    let scene = Scene { receive: |lab| vec![lab.piece(1, 250_000, 60), lab.piece(1, 240_000, 3)], ..PLAIN };
    refused(&scene, &TOO_SHORT, |lab| send(2, &local(lab, 64)));
    refused(&scene, &TOO_SHORT, |lab| send(2, &local(lab, 5000)).imm(1));
    let none = Scene { receive: |_| vec![], ..PLAIN };
    refused(&none, &TOO_SHORT, |_| send(2, &[]).inline(b"x"));
}

#[test]
fn a_long_message_fills_its_short_receive_before_it_is_refused() {
    // The length of a SEND is only known at its end: what fitted has landed, and nothing beyond.
    let scene = Scene { receive: |lab| vec![lab.piece(1, 240_000, 2500)], ..PLAIN };
    refused(&scene, &TOO_SHORT, |lab| {
        lab.expect_copy(0, 20_000, 1, 240_000, 2048);
        send(2, &local(lab, 3000))
    });
}

#[test]
fn a_receive_that_is_not_valid_when_the_message_comes_is_a_remote_operation_error() {
    let bad: [fn(&mut Lab) -> Vec<Sge>; 5] = [
        |_| vec![Sge { mr: MrId(0x7700), len: 64, offset: 0 }],
        |lab| vec![lab.piece(1, MEM as u64 - 10, 64)],
        |lab| vec![lab.piece(1, u64::MAX - 10, 64)],
        |lab| vec![Sge { mr: lab.extra(1, 4096, 0, Access::REMOTE_READ).mr, len: 64, offset: 0 }],
        // The first piece is good: it must not be written either.
        |lab| {
            vec![
                lab.piece(1, 250_000, 8),
                Sge { mr: lab.extra(1, 4096, 9, Access::ALL).mr, len: 64, offset: 0 },
            ]
        },
    ];
    for receive in bad {
        refused(&Scene { receive, ..PLAIN }, &BAD_RECEIVE, |lab| send(2, &local(lab, 60)));
    }
}

#[test]
fn pieces_of_a_receive_that_the_message_does_not_reach_may_be_anything() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    let wrong = Sge { mr: MrId(0x7700), len: 64, offset: 0 };
    lab.go(b, &[recv(1, &[lab.piece(1, 0, 10), wrong])]);
    lab.go(a, &[send(2, &[lab.piece(0, 0, 10)])]);
    lab.run();
    lab.expect_copy(0, 0, 1, 0, 10);
    lab.check();
    assert_good(&lab.ends(1), [1]);
}

#[test]
fn a_receive_longer_than_its_region_takes_what_fits_into_it() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    let last = MEM as u64 - 10;
    let receives = [1, 2].map(|id| recv(id, &[lab.piece(1, last, 64)]));
    lab.go(b, &receives);
    lab.go(a, &[send(3, &[lab.piece(0, 0, 10)])]);
    lab.run();
    lab.expect_copy(0, 0, 1, MEM - 10, 10);
    assert_good(&lab.ends(1), [1]);
    lab.go(a, &[send(4, &[lab.piece(0, 0, 11)])]);
    lab.run();
    assert_eq!(lab.ends(1), [(2, Status::LocProtErr)]);
    lab.check();
}

/// Local faults are found when the packet is built or the answer comes, long after the post.
#[track_caller]
fn fails_here(bad: impl FnOnce(&mut Lab) -> W) {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    let bad = bad(&mut lab);
    let good = [lab.piece(0, 0, 100)];
    lab.go(a, &[read(0, &[lab.piece(0, 9000, 9000)], lab.at(1, 9000)), write(1, &good, lab.at(1, 0))]);
    lab.post(a, &bad).unwrap();
    lab.go(a, &[write(3, &good, lab.at(1, 500)), recv(4, &[])]);
    assert!(lab.poll(0).is_empty(), "taken without complaint");
    lab.run();
    lab.expect_copy(1, 9000, 0, 9000, 9000);
    lab.expect_copy(0, 0, 1, 0, 100);
    let flush = Status::WrFlushErr;
    let (zero, one) = ((0, Status::Success), (1, Status::Success));
    assert_eq!(lab.ends(0), [zero, one, (2, Status::LocProtErr), (3, flush), (4, flush)]);
    assert_eq!((lab.state(a), lab.state(b)), (QpState::Err, QpState::Rts), "the peer did nothing wrong");
    assert!(lab.ends(1).is_empty() && lab.events(0).is_empty() && lab.events(1).is_empty());
    if bad.op.kind() != OpKind::Read {
        lab.check();
    }
}

#[test]
fn a_bad_local_piece_fails_its_work_once_the_earlier_ones_are_done() {
    let bad: [fn(&mut Lab) -> Sge; 6] = [
        |_| Sge { mr: MrId(77), len: 8, offset: 0 },
        |lab| lab.piece(0, MEM as u64 - 7, 8),
        |lab| lab.piece(0, u64::MAX, 8),
        |lab| Sge { mr: lab.extra(0, 4096, 3, Access::ALL).mr, len: 8, offset: 0 },
        |lab| {
            let gone = lab.extra(0, 4096, 0, Access::ALL).mr;
            lab.nodes[0].nic.deregister(gone).unwrap();
            Sge { mr: gone, len: 8, offset: 0 }
        },
        |lab| Sge { mr: lab.nodes[1].mr, len: 8, offset: 1 << 40 },
    ];
    for piece in bad {
        fails_here(|lab| write(2, &[lab.piece(0, 0, 8), piece(lab)], lab.at(1, 2000)));
        fails_here(|lab| send(2, &[piece(lab)]));
        fails_here(|lab| read(2, &[lab.piece(0, 2000, 8), piece(lab)], lab.at(1, 2000)));
    }
    fails_here(|lab| {
        let read_only = lab.extra(0, 4096, 0, Access::REMOTE_READ).mr;
        read(2, &[Sge { mr: read_only, len: 8, offset: 0 }], lab.at(1, 0))
    });
}

#[test]
fn a_bad_piece_of_a_read_leaves_its_good_pieces_alone_too() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    lab.go(a, &[read(1, &[lab.piece(0, 0, 8), Sge { mr: MrId(77), len: 8, offset: 0 }], lab.at(1, 0))]);
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::LocProtErr)]);
    lab.check();
}

#[test]
fn an_atomic_whose_result_cannot_be_placed_was_done_all_the_same() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    lab.put(1, 0, &5u64.to_le_bytes());
    lab.go(a, &[add(1, Sge { mr: MrId(77), len: 8, offset: 0 }, lab.at(1, 0), 1)]);
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::LocProtErr)]);
    assert_eq!(lab.word(1, 0), 6);
}

#[test]
fn of_several_faults_the_one_checked_first_is_told() {
    let scene = |rights| Scene { rights, ..PLAIN };
    let nowhere = RemoteAddr { rkey: RkeyId(0x7777), addr: 3 };
    // Rights of the queue pair come before the key, its range, and alignment.
    refused(&scene(READ_ONLY), &INVALID, |lab| write(2, &local(lab, 8), nowhere));
    refused(&scene(WRITE_ONLY), &INVALID, |lab| read(2, &local(lab, 8), nowhere));
    refused(&scene(WRITE_ONLY), &INVALID, |lab| add(2, local(lab, 8)[0], nowhere, 1));
    // Key, range and rights of the region come before alignment.
    refused(&PLAIN, &ACCESS, |lab| add(2, local(lab, 8)[0], nowhere, 1));
    refused(&PLAIN, &ACCESS, |lab| swap(2, local(lab, 8)[0], lab.at(1, MEM as u64 - 4), 1, 1));
    refused(&PLAIN, &ACCESS, |lab| {
        let mut to = lab.extra(1, 4096, 0, READ_ONLY).to();
        to.addr += 1;
        add(2, local(lab, 8)[0], to, 1)
    });
    // Length comes before the keys of the receive.
    let short_and_bad = Scene { receive: |_| vec![Sge { mr: MrId(0x7700), len: 8, offset: 0 }], ..PLAIN };
    refused(&short_and_bad, &TOO_SHORT, |lab| send(2, &local(lab, 9)));
    // A local fault comes before all that the peer would say.
    fails_here(|lab| {
        write(2, &[lab.piece(0, u64::MAX, 8)], RemoteAddr { rkey: RkeyId(0x7777), addr: lab.at(1, 0).addr })
    });
}

#[test]
fn the_receive_is_looked_for_after_rights_and_before_the_key() {
    // No right: refused, although there is no receive either.
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair_with(0, 1, |s| s.rnr_retry = 0, |s| s.access = READ_ONLY);
    lab.go(a, &[write(1, &[], lab.at(1, 0)).imm(1)]);
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::RemInvReqErr)]);
    // A bad key: "not ready" comes first, since there is no receive.
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair_with(0, 1, |s| s.rnr_retry = 0, |_| {});
    lab.go(a, &[write(1, &[lab.piece(0, 0, 8)], RemoteAddr { rkey: RkeyId(0x7777), addr: 0 }).imm(1)]);
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::RnrRetryExcErr)]);
    assert_eq!(lab.state(b), QpState::Rts);
}

#[test]
fn empty_messages_need_no_valid_key() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    let nowhere = RemoteAddr { rkey: RkeyId(0x7777), addr: u64::MAX };
    lab.go(a, &[write(1, &[], nowhere), read(2, &[], nowhere), write(3, &[lab.piece(0, 0, 0)], nowhere)]);
    lab.run();
    assert_good(&lab.ends(0), 1..4);
}

#[test]
fn what_was_granted_before_a_refusal_is_still_answered() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    let out = write(3, &[lab.piece(0, 0, 8)], lab.at(1, MEM as u64));
    lab.go(
        a,
        &[
            read(1, &[lab.piece(0, 0, 100_000)], lab.at(1, 0)),
            add(2, lab.piece(0, 120_000, 8), lab.at(1, 0), 0),
            out,
        ],
    );
    let word = lab.get(1, 0, 8);
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::Success), (2, Status::Success), (3, Status::RemAccessErr)]);
    lab.expect_copy(1, 0, 0, 0, 100_000);
    lab.expect(0, 120_000, &word);
    lab.check();
}

#[test]
fn endpoints_whose_mtus_differ_fail_and_do_not_corrupt() {
    for (mtu_a, mtu_b) in [(Mtu::B256, Mtu::B4096), (Mtu::B4096, Mtu::B256)] {
        let mut lab = Lab::new(2);
        let (a, _) = lab.pair_with(0, 1, |s| s.mtu = mtu_a, |s| s.mtu = mtu_b);
        lab.go(a, &[read(1, &[lab.piece(0, 0, 9000)], lab.at(1, 0))]);
        lab.run();
        assert_eq!(lab.ends(0), [(1, Status::BadRespErr)]);
        let (a, _) = lab.pair_with(0, 1, |s| s.mtu = mtu_a, |s| s.mtu = mtu_b);
        lab.go(a, &[write(2, &[lab.piece(0, 0, 9000)], lab.at(1, 0))]);
        lab.run();
        assert_eq!(lab.ends(0), [(2, Status::RemInvReqErr)]);
        lab.check();
    }
}

#[test]
fn a_lost_refusal_leaves_the_requester_in_the_dark() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    lab.fabric.link(1, 0).lose_after = Some(0);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 8)], lab.at(1, MEM as u64))]);
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::RetryExcErr)]);
    assert_eq!(lab.state(b), QpState::Err);
    assert_eq!(lab.count(StepKind::TimedOut), 7);
}
