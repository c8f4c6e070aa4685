//! The life of memory.

use wavetank_contract::error::{DeregisterError, RegisterError};
use wavetank_contract::*;
use wavetank_mock::{Mark, Opcode, StepKind};

use crate::lab::*;

const ENDED: [Mark; 3] = [Mark::DeregisteredInFlight, Mark::StaleKey, Mark::WindowRevoked];

/// What is ended, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Nothing,
    Before,
    Under,
}

fn open(
    lab: &mut Lab,
    node: usize,
    mr: MrId,
    offset: u64,
    len: u64,
    access: Access,
) -> (WindowId, RemoteAddr) {
    let nic = &mut lab.nodes[node].nic;
    let (window, key) = nic.open_window(mr, offset, len, access).unwrap();
    (window, nic.import(EpId(0), &key).unwrap().at(0, len).unwrap())
}

#[test]
fn a_deregistration_under_a_write() {
    for end in [End::Nothing, End::Before, End::Under] {
        let mut lab = Lab::new(2);
        let (a, b) = lab.pair(0, 1);
        let target = lab.extra(1, 65_536, 0, Access::ALL);
        // Registered twice, so that it is not scribbled and shows what landed.
        lab.nodes[1].nic.register(&target.mem, PdId(0), Access::LOCAL).unwrap();
        if end == End::Before {
            lab.nodes[1].nic.deregister(target.mr).unwrap();
        }
        lab.go(a, &[write(1, &[lab.piece(0, 0, 50_000)], target.to())]);
        if end == End::Under {
            lab.run_to(StepKind::Delivered(Opcode::WriteMiddle));
            lab.nodes[1].nic.deregister(target.mr).unwrap();
        }
        lab.run();
        let mut landed = vec![0; 65_536];
        target.mem.read(0, &mut landed);
        let good = landed.iter().zip(lab.get(0, 0, 50_000)).take_while(|(a, b)| **a == *b).count();
        assert!(landed[good..].iter().all(|b| *b == FILL), "{end:?}: a prefix and nothing else");
        let (status, state, good_is, marks) = match end {
            End::Nothing => (Status::Success, QpState::Rts, 50_000, [0, 0, 0]),
            End::Before => (Status::RemAccessErr, QpState::Err, 0, [0, 1, 0]),
            End::Under => (Status::RemAccessErr, QpState::Err, 8192, [1, 1, 0]),
        };
        assert_eq!((lab.ends(0), good), (vec![(1, status)], good_is));
        assert_eq!((lab.state(a), lab.state(b), lab.marks(ENDED)), (state, state, marks));
    }
}

#[test]
fn a_deregistration_under_a_read() {
    for end in [End::Nothing, End::Under] {
        let mut lab = Lab::new(2);
        let (a, b) = lab.pair(0, 1);
        let source = lab.extra(1, 200_000, 0, Access::ALL);
        lab.go(a, &[read(1, &[lab.piece(0, 0, 200_000)], source.to())]);
        lab.run_to(StepKind::Delivered(Opcode::ReadResponseFirst));
        if end == End::Under {
            lab.nodes[1].nic.deregister(source.mr).unwrap();
        }
        lab.run();
        let good = lab.get(0, 0, 200_000).iter().take_while(|b| **b == FILL).count();
        lab.expect(0, 0, &vec![FILL; good]);
        lab.check();
        let (status, state, marks) = match end {
            End::Under => (Status::RemAccessErr, QpState::Err, [1, 1, 0]),
            _ => (Status::Success, QpState::Rts, [0, 0, 0]),
        };
        assert_eq!(good < 200_000, end == End::Under);
        assert_eq!((lab.ends(0), lab.marks(ENDED)), (vec![(1, status)], marks));
        assert_eq!((lab.state(a), lab.state(b)), (state, state));
    }
}

#[test]
fn a_local_deregistration_with_works_posted() {
    for verb in [read as fn(u64, &[Sge], RemoteAddr) -> W, write] {
        for end in [false, true] {
            let mut lab = Lab::new(2);
            let (a, b) = lab.pair(0, 1);
            let local = lab.extra(0, 4096, 0, Access::LOCAL);
            lab.post(a, &verb(1, &[Sge { mr: local.mr, len: 4096, offset: 0 }], lab.at(1, 0))).unwrap();
            if end {
                lab.nodes[0].nic.deregister(local.mr).unwrap();
            }
            lab.nic(a).ring(a.ep).unwrap();
            lab.run();
            let status = if end { Status::LocProtErr } else { Status::Success };
            assert_eq!((lab.ends(0), lab.state(b)), (vec![(1, status)], QpState::Rts));
        }
    }
}

#[test]
fn a_deregistration_with_windows_bound() {
    let mut lab = Lab::new(2);
    let mr = lab.nodes[1].mr;
    let (window, _) = open(&mut lab, 1, mr, 0, 8, Access::REMOTE_READ);
    let nic = &mut lab.nodes[1].nic;
    let refused = nic.deregister(mr).unwrap_err();
    assert_eq!(refused, DeregisterError::WindowsBound { mr, windows: 1 });
    assert!(refused.to_string().contains("close them first"));
    nic.close_window(window).unwrap();
    assert_eq!(nic.deregister(mr), Ok(()));
}

#[test]
fn a_window_serves_its_range_by_every_verb_and_no_byte_beside_it() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    // The region itself is for nobody: only its window opens it.
    let region = lab.extra(1, 65_536, 0, Access::LOCAL);
    let (_, to) = open(&mut lab, 1, region.mr, 4096, 8192, Access::ALL);
    let local = lab.piece(0, 0, 8192);
    lab.go(a, &[write(1, &[local], to), read(2, &[lab.piece(0, 10_000, 8192)], to)]);
    lab.run();
    assert_good(&lab.ends(0), [1, 2]);
    lab.expect_copy(0, 0, 0, 10_000, 8192);
    lab.check();
    let mut bytes = vec![0; 65_536];
    region.mem.read(0, &mut bytes);
    assert!(bytes[4096..12_288] == lab.get(0, 0, 8192));
    assert!(bytes[..4096].iter().chain(&bytes[12_288..]).all(|b| *b == FILL));
    // A byte more is refused, as it is with a key of a region.
    lab.go(a, &[write(3, &[lab.piece(0, 0, 8193)], to)]);
    lab.run();
    assert_eq!((lab.ends(0), lab.marks(ENDED)), (vec![(3, Status::RemAccessErr)], [0, 0, 0]));
}

#[test]
fn a_window_revoked_before_and_under_a_write() {
    for end in [End::Nothing, End::Before, End::Under] {
        let mut lab = Lab::new(2);
        let (a, b) = lab.pair(0, 1);
        let mr = lab.nodes[1].mr;
        let (window, to) = open(&mut lab, 1, mr, 0, 50_000, Access::ALL);
        if end == End::Before {
            lab.nodes[1].nic.close_window(window).unwrap();
        }
        lab.go(a, &[write(1, &[lab.piece(0, 0, 50_000)], to)]);
        if end == End::Under {
            lab.run_to(StepKind::Delivered(Opcode::WriteMiddle));
            lab.nodes[1].nic.close_window(window).unwrap();
        }
        lab.run();
        let (status, state, good, marks) = match end {
            End::Nothing => (Status::Success, QpState::Rts, 50_000, [0, 0, 0]),
            End::Before => (Status::RemAccessErr, QpState::Err, 0, [0, 0, 1]),
            End::Under => (Status::RemAccessErr, QpState::Err, 8192, [1, 0, 1]),
        };
        assert_eq!((lab.ends(0), lab.marks(ENDED)), (vec![(1, status)], marks));
        assert_eq!((lab.state(a), lab.state(b)), (state, state));
        lab.expect_copy(0, 0, 1, 0, good);
        lab.check();
        // The registration stays: its own key still opens it.
        let (c, _) = lab.pair(0, 1);
        lab.go(c, &[write(2, &[lab.piece(0, 0, 8)], lab.at(1, 0))]);
        lab.run();
        assert_good(&lab.ends(0), [2]);
    }
}

/// A key that was rolled stays dead while its slot goes through all of its 256 rolls.
#[test]
fn a_rolled_key_stays_dead() {
    let mut lab = Lab::new(2);
    let stale = lab.extra(1, 4096, 0, Access::ALL);
    let mut mr = stale.mr;
    let mut same_slot = 0;
    for roll in 0..300 {
        lab.nodes[1].nic.deregister(mr).unwrap();
        mr = lab.nodes[1].nic.register(&stale.mem, PdId(0), Access::ALL).unwrap();
        assert_ne!(mr, stale.mr);
        same_slot += u32::from(mr.0 >> 8 == stale.mr.0 >> 8);
        if roll % 37 == 0 {
            let before = lab.marks(ENDED)[1];
            let (a, _) = lab.pair(0, 1);
            lab.go(a, &[write(1, &[lab.piece(0, 0, 8)], stale.to())]);
            lab.run();
            assert_eq!(lab.ends(0), [(1, Status::RemAccessErr)]);
            assert_eq!(lab.marks(ENDED), [0, before + 1, 0]);
        }
    }
    assert_eq!(same_slot, 255, "the slot was used up");
}

#[test]
fn a_registration_failure() {
    let mut lab = Lab::new(1);
    let region = lab.nodes[0].mem.clone();
    lab.fabric.fail_registration(0, 2);
    let mut ends = Vec::new();
    for _ in 0..5 {
        ends.push(lab.nodes[0].nic.register(&region, PdId(0), Access::LOCAL));
    }
    let failed: Vec<_> = ends.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, false, true, false, false], "the third, and only that");
    let Err(RegisterError::System(error)) = &ends[2] else { panic!("{:?}", ends[2]) };
    assert_eq!(error.errno, 12);
    assert!(error.to_string().contains("ulimit -l"), "{error}");
    assert_eq!(lab.marks([Mark::RegistrationFailed, Mark::LimitHit]), [1, 0]);
    // A request that is wrong in itself fails as such, and does not use the fault up.
    lab.fabric.fail_registration(0, 0);
    let nic = &mut lab.nodes[0].nic;
    let wrong = Access { local_write: false, ..Access::ALL };
    assert_eq!(nic.register(&region, PdId(0), wrong), Err(RegisterError::RemoteWriteNeedsLocalWrite));
    assert!(matches!(nic.register(&region, PdId(0), Access::LOCAL), Err(RegisterError::System(_))));
}
