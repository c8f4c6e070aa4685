//! Completion queues, notifications, limits.

use wavetank_contract::error::{OpenError, PostError, RegisterError};
use wavetank_contract::*;
use wavetank_mock::{Fabric, Mark, Profile};

use crate::lab::*;

fn tiny(lab: &Lab, id: u64) -> W {
    write(id, &[lab.piece(0, 0, 8)], lab.at(1, 0))
}

#[test]
fn a_completion_queue_overrun() {
    for (works, overruns) in [(4, 0), (5, 1)] {
        let mut lab = Lab::new(2);
        let cq = lab.nodes[0].nic.open_cq(4).unwrap();
        let (a, _) = lab.pair_with(0, 1, |s| s.send_cq = cq, |_| {});
        let posted: Vec<_> = (0..works).map(|id| tiny(&lab, id)).collect();
        lab.go(a, &posted);
        lab.run();
        assert_eq!(lab.marks([Mark::CqOverrun]), [overruns]);
        let state = if overruns > 0 { QpState::Err } else { QpState::Rts };
        assert_eq!((lab.state(a), lab.events(0).contains(&AsyncEvent::CqErr(cq))), (state, overruns > 0));
    }
}

/// Runs until the host of node 0 is told to look, or nothing is left to happen.
fn told(lab: &mut Lab) -> bool {
    let mut ready = Vec::new();
    lab.run();
    lab.fabric.take_ready(&mut ready);
    ready.contains(&0)
}

#[test]
fn a_lost_notification_is_missed_by_who_sleeps_and_found_by_who_looks() {
    for lose in [false, true] {
        let mut lab = Lab::new(2);
        let (a, _) = lab.pair(0, 1);
        if lose {
            lab.fabric.lose_notification(0);
        }
        lab.go(a, &[tiny(&lab, 1)]);
        assert_eq!(told(&mut lab), !lose);
        assert_eq!(lab.marks([Mark::NotificationLost]), [u64::from(lose)]);
        // It was one-shot: whoever sleeps on without arming again is not told of anything more.
        lab.go(a, &[tiny(&lab, 2)]);
        assert!(!told(&mut lab), "nobody looked since");
        // Whoever arms again hears of it at once, as does whoever has another reason to look.
        assert_eq!(lab.nodes[0].nic.wake(), Wake::Now);
        assert_good(&lab.ends(0), [1, 2]);
        assert_eq!(lab.nodes[0].nic.wake(), Wake::Idle);
        // And from then on everything is as it was.
        lab.go(a, &[tiny(&lab, 3)]);
        assert!(told(&mut lab));
        assert_eq!(lab.marks([Mark::NotificationLost]), [u64::from(lose)]);
    }
}

#[test]
fn limits_are_hit() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair_with(0, 1, |s| s.send_depth = 1, |s| s.recv_depth = 1);
    let caps = lab.nodes[0].nic.caps().clone();
    lab.go(a, &[tiny(&lab, 1)]);
    lab.go(b, &[recv(9, &[])]);
    assert_eq!(lab.marks([Mark::LimitHit]), [0], "up to the limits");
    let mut hits = 0;
    let mut hit = |lab: &Lab| {
        hits += 1;
        assert_eq!(lab.marks([Mark::LimitHit]), [hits]);
    };
    assert!(matches!(lab.post(a, &tiny(&lab, 2)), Err(PostError::QueueFull { depth: 1, .. })));
    hit(&lab);
    assert!(matches!(lab.post(b, &recv(8, &[])), Err(PostError::QueueFull { depth: 1, .. })));
    hit(&lab);
    let deep = EndpointSpec { send_depth: caps.queue_depth_max + 1, ..lab.spec(0) };
    assert!(matches!(lab.nodes[0].nic.open(&deep), Err(OpenError::OutOfRange { field: "send_depth", .. })));
    hit(&lab);
    assert!(matches!(lab.nodes[0].nic.open_cq(caps.cq_depth_max + 1), Err(OpenError::OutOfRange { .. })));
    hit(&lab);
    let srq = lab.nodes[0].nic.open_srq(PdId(0), caps.shared_receive_depth_max + 1);
    assert!(matches!(srq, Err(OpenError::OutOfRange { .. })));
    hit(&lab);
    // What no limit refuses is not counted.
    let unknown = EndpointSpec::new(CqId(99));
    assert_eq!(lab.nodes[0].nic.open(&unknown), Err(OpenError::UnknownCq(CqId(99))));
    assert_eq!(lab.marks([Mark::LimitHit]), [hits]);
}

#[test]
fn registrations_hit_their_limit() {
    let mut fabric = Fabric::new(Profile::IDEAL);
    let mut nic = fabric.add_node();
    let region = nic.allocate(&RegionSpec::new(64)).unwrap();
    let max = nic.caps().region_max;
    for _ in 0..max {
        nic.register(&region, PdId(0), Access::LOCAL).unwrap();
    }
    assert_eq!(fabric.passed(Mark::LimitHit), 0);
    assert_eq!(nic.register(&region, PdId(0), Access::LOCAL), Err(RegisterError::TooMany(max)));
    assert_eq!(fabric.passed(Mark::LimitHit), 1);
}

/// Two endpoints with one queue; the second completes while the first one's completion waits.
#[test]
fn completions_of_different_endpoints_change_places_and_those_of_one_never() {
    for (on, seed) in [(false, 1), (true, 1), (true, 2), (true, 3)] {
        let mut lab = Lab::of(2, Profile::IDEAL, Seeded::new(seed));
        let pairs: Vec<_> = (0..3).map(|_| lab.pair(0, 1)).collect();
        lab.fabric.shuffle_completions(0, on);
        for round in 0..20 {
            for (index, (a, _)) in pairs.iter().enumerate() {
                lab.go(*a, &[tiny(&lab, index as u64 * 100 + round)]);
            }
        }
        lab.run();
        let ends = lab.ends(0);
        assert_eq!(ends.len(), 60);
        for index in 0..3 {
            let own: Vec<_> = ends.iter().filter(|(id, _)| id / 100 == index).copied().collect();
            assert_good(&own, (0..20).map(|round| index * 100 + round));
        }
        let fair: Vec<_> = (0..20).flat_map(|round| [0, 100, 200].map(|ep| ep + round)).collect();
        let in_turn = ends.iter().map(|(id, _)| *id).eq(fair);
        assert_eq!((in_turn, lab.marks([Mark::CompletionsShuffled])[0] > 0), (!on, on));
    }
}
