//! The life of registrations: what happens to works and packets under way when one ends.

use wavetank_contract::error::DeregisterError;
use wavetank_contract::*;
use wavetank_mock::{Opcode, SCRIBBLE, StepKind};

use crate::lab::*;

fn scribbled(region: &Region) -> bool {
    let (_, words, _) = region.words(0, region.len() as usize);
    words.iter().all(|w| w.get() == SCRIBBLE)
}

#[test]
fn a_write_is_torn_when_its_target_is_retired_under_it() {
    for registered_twice in [true, false] {
        let mut lab = Lab::new(2);
        let (a, b) = lab.pair(0, 1);
        let target = lab.extra(1, 65_536, 0, Access::ALL);
        if registered_twice {
            lab.nodes[1].nic.register(&target.mem, PdId(0), Access::LOCAL).unwrap();
        }
        lab.go(b, &[recv(9, &[])]);
        let (large, small) = (lab.piece(0, 0, 50_000), lab.piece(0, 0, 8));
        lab.go(
            a,
            &[
                write(1, &[small], lab.at(1, 8)),
                write(2, &[large], target.to()),
                write(3, &[small], lab.at(1, 0)),
            ],
        );
        lab.run_to(StepKind::Delivered(Opcode::WriteFirst));
        lab.run_to(StepKind::Delivered(Opcode::WriteMiddle));
        let mut landed = vec![0; 65_536];
        target.mem.read(0, &mut landed);
        assert!(landed[..8192] == lab.get(0, 0, 8192), "what arrived before is there");
        assert!(landed[8192..].iter().all(|b| *b == FILL));
        lab.nodes[1].nic.deregister(target.mr).unwrap();
        lab.run();
        let flush = Status::WrFlushErr;
        assert_eq!(lab.ends(0), [(1, Status::Success), (2, Status::RemAccessErr), (3, flush)]);
        assert_eq!(lab.ends(1), [(9, flush)]);
        assert_eq!((lab.state(a), lab.state(b)), (QpState::Err, QpState::Err));
        assert_eq!(lab.events(1), [AsyncEvent::QpAccessErr(b.ep)]);
        if registered_twice {
            let mut now = vec![0; 65_536];
            target.mem.read(0, &mut now);
            assert!(now == landed, "later packets changed nothing");
        } else {
            assert!(scribbled(&target.mem), "no byte of a retired region changes");
        }
        lab.expect_copy(0, 0, 1, 8, 8);
        lab.check();
    }
}

#[test]
fn late_packets_do_not_reach_memory_that_is_registered_anew() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    let target = lab.extra(1, 65_536, 0, Access::ALL);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 50_000)], target.to())]);
    lab.run_to(StepKind::Delivered(Opcode::WriteMiddle));
    lab.nodes[1].nic.deregister(target.mr).unwrap();
    lab.nodes[1].nic.register(&target.mem, PdId(0), Access::ALL).unwrap();
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::RemAccessErr)]);
    assert!(scribbled(&target.mem));
}

#[test]
fn a_read_is_torn_when_its_source_is_retired_under_it() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    let source = lab.extra(1, 1 << 20, 0, Access::ALL);
    let len = 200_000;
    lab.go(
        a,
        &[
            read(1, &[lab.piece(0, 0, len)], source.to()),
            write(2, &[lab.piece(0, 250_000, 8)], lab.at(1, 0)),
            read(3, &[], lab.at(1, 0)),
        ],
    );
    lab.run_to(StepKind::Delivered(Opcode::ReadResponseFirst));
    lab.nodes[1].nic.deregister(source.mr).unwrap();
    lab.run();
    let flush = Status::WrFlushErr;
    assert_eq!(lab.ends(0), [(1, Status::RemAccessErr), (2, flush), (3, flush)]);
    assert_eq!((lab.state(a), lab.state(b)), (QpState::Err, QpState::Err));
    assert_eq!(lab.events(1), [AsyncEvent::QpAccessErr(b.ep)]);
    // The WRITE had overtaken the READ; its acknowledgement was behind.
    lab.expect_copy(0, 250_000, 1, 0, 8);
    let got = lab.get(0, 0, len as usize);
    let good = got.iter().take_while(|b| **b == FILL).count();
    assert!(good > 0 && good.is_multiple_of(4096) && good < len as usize);
    lab.expect(0, 0, &vec![FILL; good]);
    lab.check();
    assert_eq!(lab.count(StepKind::TimedOut), 0, "told, not found out");
}

#[test]
fn a_repeated_read_of_a_retired_region_is_refused() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    let source = lab.extra(1, 4096, 0, Access::ALL);
    lab.fabric.link(1, 0).lose_after = Some(0);
    lab.go(a, &[read(1, &[lab.piece(0, 0, 100)], source.to())]);
    lab.run_to(StepKind::Lost(Opcode::ReadResponseOnly));
    lab.nodes[1].nic.deregister(source.mr).unwrap();
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::RemAccessErr)]);
    lab.check();
}

#[test]
fn a_local_source_that_is_retired_stops_its_write_where_it_is() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    let source = lab.extra(0, 65_536, 0, Access::LOCAL);
    let piece = Sge { mr: source.mr, len: 65_536, offset: 0 };
    lab.go(a, &[write(1, &[piece], lab.at(1, 0)), write(2, &[lab.piece(0, 0, 8)], lab.at(1, 100_000))]);
    lab.run_to(StepKind::Delivered(Opcode::WriteFirst));
    lab.nodes[0].nic.deregister(source.mr).unwrap();
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::LocProtErr), (2, Status::WrFlushErr)]);
    assert_eq!((lab.state(a), lab.state(b)), (QpState::Err, QpState::Rts));
    let got = lab.get(1, 0, 65_536);
    let good = got.iter().take_while(|b| **b == FILL).count();
    assert!(good.is_multiple_of(4096) && good < 65_536);
    lab.expect(1, 0, &vec![FILL; good]);
    lab.check();
}

#[test]
fn a_local_target_that_is_retired_stops_its_read() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    let target = lab.extra(0, 65_536, 0, Access::LOCAL);
    let piece = Sge { mr: target.mr, len: 65_536, offset: 0 };
    lab.go(a, &[read(1, &[piece], lab.at(1, 0))]);
    lab.run_to(StepKind::Delivered(Opcode::ReadResponseFirst));
    lab.nodes[0].nic.deregister(target.mr).unwrap();
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::LocProtErr)]);
    assert!(scribbled(&target.mem), "no byte of a retired region changes");
}

#[test]
fn a_receive_whose_memory_is_retired_fails_with_the_message() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    let target = lab.extra(1, 65_536, 0, Access::LOCAL);
    lab.go(b, &[recv(9, &[Sge { mr: target.mr, len: 65_536, offset: 0 }])]);
    lab.go(a, &[send(1, &[lab.piece(0, 0, 60_000)])]);
    lab.run_to(StepKind::Delivered(Opcode::SendMiddle));
    lab.nodes[1].nic.deregister(target.mr).unwrap();
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::RemOpErr)]);
    assert_eq!(lab.ends(1), [(9, Status::LocProtErr)]);
    assert!(scribbled(&target.mem));
}

#[test]
fn a_live_lease_keeps_its_registration_in_use() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    let target = lab.extra(1, 4096, 0, Access::ALL);
    let lease = target.mem.lease(0, 100).unwrap();
    let nic = &mut lab.nodes[1].nic;
    let refused = DeregisterError::LeasesLive { mr: target.mr, leases: 1 };
    assert_eq!(nic.deregister(target.mr), Err(refused));
    lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], target.to())]);
    lab.run();
    assert_good(&lab.ends(0), [1]);
    drop(lease);
    let nic = &mut lab.nodes[1].nic;
    assert_eq!(nic.deregister(target.mr), Ok(()));
    assert_eq!(nic.deregister(target.mr), Err(DeregisterError::Unknown(target.mr)));
    assert!(scribbled(&target.mem));
}
