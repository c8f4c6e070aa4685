//! Asynchronous events: a device that is removed.

use wavetank_contract::error::{OpenError, PostError};
use wavetank_contract::*;
use wavetank_mock::{Mark, Opcode, StepKind};

use crate::lab::*;

#[test]
fn a_removed_device_flushes_everything_and_says_so_once() {
    let mut lab = Lab::new(2);
    let (a, b) =
        lab.pair_with(0, 1, |s| (s.timeout, s.retry_cnt) = (8, 2), |s| (s.timeout, s.retry_cnt) = (8, 2));
    let (idle, _) = lab.pair(0, 1);
    lab.go(a, &[recv(9, &[lab.piece(0, 0, 8)])]);
    lab.go(
        a,
        &[
            read(1, &[lab.piece(0, 0, 100_000)], lab.at(1, 0)),
            write(2, &[lab.piece(0, 0, 8)], lab.at(1, 0)).silent(),
        ],
    );
    lab.run_to(StepKind::Delivered(Opcode::ReadResponseFirst));
    assert_eq!(lab.marks([Mark::DeviceRemoved]), [0]);
    let landed = lab.get(0, 0, MEM);
    lab.fabric.remove_device(0);
    lab.fabric.remove_device(0);
    lab.go(b, &[read(5, &[lab.piece(1, 200_000, 8)], lab.at(0, 0))]);
    lab.run();
    let flush = Status::WrFlushErr;
    assert_eq!(lab.ends(0), [(1, flush), (2, flush), (9, flush)]);
    assert_eq!(lab.events(0), [AsyncEvent::DeviceFatal], "once");
    assert_eq!((lab.state(a), lab.state(idle)), (QpState::Err, QpState::Err));
    assert_eq!(lab.marks([Mark::DeviceRemoved]), [1]);
    assert!(lab.get(0, 0, MEM) == landed, "no byte changes afterwards");
    // The peer finds out by silence.
    assert_eq!(lab.ends(1), [(5, Status::RetryExcErr)]);
}

#[test]
fn of_a_removed_device_only_closing_and_polling_is_left() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    let mr = lab.nodes[0].mr;
    let window = lab.nodes[0].nic.open_window(mr, 0, 8, Access::ALL).unwrap().0;
    let srq = lab.nodes[0].nic.open_srq(PdId(0), 4).unwrap();
    let (spec, to, small) = (lab.spec(0), lab.at(1, 0), lab.piece(0, 0, 8));
    let address = lab.nodes[1].nic.address(EpId(0)).unwrap();
    // Posted and not rung for: it flushes like all others.
    lab.post(a, &write(1, &[small], to)).unwrap();
    lab.fabric.remove_device(0);
    let region = lab.nodes[0].mem.clone();
    let nic = &mut lab.nodes[0].nic;
    let said = |error: &dyn std::error::Error| {
        let text = error.to_string();
        assert!(text.contains("the device was removed"), "{text}");
    };
    said(&nic.register(&region, PdId(0), Access::ALL).unwrap_err());
    said(&nic.open_cq(4).unwrap_err());
    let refused = nic.open(&spec).unwrap_err();
    assert!(matches!(refused, OpenError::System(error) if error.errno == 19));
    said(&nic.open_srq(PdId(0), 4).unwrap_err());
    said(&nic.connect(a.ep, &address).unwrap_err());
    said(&nic.modify(a.ep, QpState::Reset).unwrap_err());
    said(&nic.arm_srq(srq, 1).unwrap_err());
    said(&nic.open_window(mr, 0, 8, Access::ALL).unwrap_err());
    let key = nic.export(mr).map(|_| ()).unwrap_err();
    said(&key);
    assert_eq!(nic.address(a.ep), None);
    let gone = PostError::Gone("the device");
    let work = Work { id: WorkId(7), op: Op::Recv, data: Data::Pieces(&[]), signalled: true, fence: false };
    assert_eq!((nic.post(a.ep, &work), nic.post_shared(srq, &work)), (Err(gone), Err(gone)));
    assert_eq!(nic.ring(a.ep).unwrap_err().error, gone);
    assert_eq!(nic.state(a.ep), Some(QpState::Err));
    // What is left.
    assert_eq!(lab.ends(0), [(1, Status::WrFlushErr)]);
    let nic = &mut lab.nodes[0].nic;
    assert_eq!((nic.close_window(window), nic.deregister(mr)), (Ok(()), Ok(())));
    nic.close(a.ep);
    assert_eq!(nic.state(a.ep), None);
}
