//! Limits: each promise of the caps is reached, and one more is refused by name.

use wavetank_contract::error::{AllocError, ConnectError, KeyError, OpenError, PostError, RegisterError};
use wavetank_contract::*;

use crate::lab::*;

#[test]
fn works_up_to_the_limits_are_taken_and_one_more_is_refused() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    let caps = lab.nodes[0].nic.caps().clone();
    let pieces = |lab: &Lab, n: usize| vec![lab.piece(0, 0, 1); n];
    let to = lab.at(1, 0);
    let max = caps.sge_max;
    let w = write(1, &pieces(&lab, max as usize), to);
    assert_eq!(lab.post(a, &w), Ok(()));
    for w in [write(1, &pieces(&lab, 17), to), recv(1, &pieces(&lab, 17)), read(1, &pieces(&lab, 17), to)] {
        assert_eq!(lab.post(a, &w), Err(PostError::TooManyPieces { asked: 17, max }));
    }
    let max = caps.inline_bytes_max;
    assert_eq!(lab.post(a, &send(1, &[]).inline(&[0; 220])), Ok(()));
    assert_eq!(
        lab.post(a, &send(1, &[]).inline(&[0; 221])),
        Err(PostError::InlineTooLong { asked: 221, max })
    );
    for w in [recv(1, &[]), read(1, &[], to), add(1, lab.piece(0, 0, 8), to, 1)] {
        assert_eq!(lab.post(a, &w.inline(b"12345678")), Err(PostError::InlineNotSending));
    }
    let max_bytes = caps.message_bytes_max;
    let huge = lab.piece(0, 0, max_bytes);
    assert_eq!(lab.post(a, &write(1, &[huge], to)), Ok(()));
    let too_long = |asked_bytes| Err(PostError::MessageTooLong { asked_bytes, max_bytes });
    let over = [huge, lab.piece(0, 0, 1)];
    assert_eq!(lab.post(a, &write(1, &over, to)), too_long(u64::from(max_bytes) + 1));
    let most = [lab.piece(0, 0, u32::MAX); 16];
    assert_eq!(lab.post(a, &read(1, &most, to)), too_long(16 * u64::from(u32::MAX)));
    assert_eq!(lab.post(a, &recv(1, &most)), too_long(16 * u64::from(u32::MAX)));
}

#[test]
fn atomics_take_one_piece_of_eight_bytes() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    let to = lab.at(1, 0);
    for lens in [&[][..], &[7], &[9], &[4, 4], &[8, 0]] {
        let pieces: Vec<Sge> = lens.iter().map(|len| lab.piece(0, 0, *len)).collect();
        let refused = Err(PostError::AtomicShape {
            pieces: lens.len(),
            len_bytes: lens.iter().map(|l| u64::from(*l)).sum(),
        });
        assert_eq!(lab.post(a, &W::of(1, Op::FetchAdd { remote: to, add: 1 }, &pieces)), refused);
        assert_eq!(
            lab.post(a, &W::of(1, Op::CompareSwap { remote: to, compare: 1, swap: 2 }, &pieces)),
            refused
        );
    }
}

#[test]
fn every_number_of_an_endpoint_is_checked_and_named() {
    let mut lab = Lab::new(1);
    let spec = lab.spec(0);
    type Tune = fn(&mut EndpointSpec);
    let bad: [(&str, u64, u64, u64, Tune); 8] = [
        ("send_depth", 0, 1, 32_768, |s| s.send_depth = 0),
        ("send_depth", 32_769, 1, 32_768, |s| s.send_depth = 32_769),
        ("recv_depth", u64::from(u32::MAX), 0, 32_768, |s| s.recv_depth = u32::MAX),
        ("timeout", 32, 0, 31, |s| s.timeout = 32),
        ("retry_cnt", 8, 0, 7, |s| s.retry_cnt = 8),
        ("rnr_retry", 8, 0, 7, |s| s.rnr_retry = 8),
        ("max_rd_atomic", 17, 0, 16, |s| s.max_rd_atomic = 17),
        ("max_dest_rd_atomic", 255, 0, 16, |s| s.max_dest_rd_atomic = 255),
    ];
    for (field, asked, min, max, tune) in bad {
        let mut spec = spec.clone();
        tune(&mut spec);
        assert_eq!(lab.nodes[0].nic.open(&spec), Err(OpenError::OutOfRange { field, asked, min, max }));
    }
    for (send, recv) in [(7, 0), (0, 7)] {
        let mut spec = spec.clone();
        (spec.send_cq, spec.recv_cq) = (CqId(send), CqId(recv));
        assert_eq!(lab.nodes[0].nic.open(&spec), Err(OpenError::UnknownCq(CqId(7))));
    }
    let mut most = spec;
    (most.send_depth, most.recv_depth, most.timeout, most.retry_cnt, most.rnr_retry) =
        (32_768, 32_768, 31, 7, 7);
    assert!(lab.nodes[0].nic.open(&most).is_ok());
}

#[test]
fn completion_queues_are_limited_in_depth_and_number() {
    let mut lab = Lab::new(1);
    let nic = &mut lab.nodes[0].nic;
    let (field, min, max) = ("completion queue depth", 1, 4_194_303);
    for asked in [0, 4_194_304, u32::MAX] {
        let refused = OpenError::OutOfRange { field, asked: asked.into(), min, max };
        assert_eq!(nic.open_cq(asked), Err(refused));
    }
    assert!(nic.open_cq(4_194_303).is_ok());
    let opened = std::iter::repeat_with(|| nic.open_cq(1)).take_while(Result::is_ok).count();
    assert_eq!(opened, 65_536 - 2);
    assert_eq!(nic.open_cq(1), Err(OpenError::TooMany { what: "completion queues", limit: 65_536 }));
}

#[test]
fn registrations_are_limited_and_come_back() {
    let mut lab = Lab::new(1);
    let node = &mut lab.nodes[0];
    let mut last = node.mr;
    while let Ok(mr) = node.nic.register(&node.mem, PdId(0), Access::LOCAL) {
        last = mr;
    }
    let register = |node: &mut Node| node.nic.register(&node.mem, PdId(0), Access::LOCAL);
    assert_eq!(register(node), Err(RegisterError::TooMany(65_536)));
    node.nic.deregister(last).unwrap();
    assert!(register(node).is_ok());
    assert_eq!(register(node), Err(RegisterError::TooMany(65_536)));
}

#[test]
fn endpoints_are_limited_and_come_back_under_new_names() {
    let mut lab = Lab::new(1);
    let mut spec = lab.spec(0);
    (spec.send_depth, spec.recv_depth) = (1, 0);
    let nic = &mut lab.nodes[0].nic;
    let opened = std::iter::repeat_with(|| nic.open(&spec)).take_while(Result::is_ok).count();
    assert_eq!(opened, 131_072);
    assert_eq!(nic.open(&spec), Err(OpenError::TooMany { what: "endpoints", limit: 131_072 }));
    nic.close(EpId(5));
    assert_eq!(nic.open(&spec), Ok(EpId(131_072)));
    assert_eq!((nic.state(EpId(5)), nic.address(EpId(5))), (None, None));
}

#[test]
fn memory_is_limited() {
    let mut lab = Lab::new(1);
    let nic = &mut lab.nodes[0].nic;
    let (asked_bytes, limit_bytes) = ((1 << 40) + 1, 1 << 40);
    let refused = nic.allocate(&RegionSpec::new(asked_bytes)).unwrap_err();
    assert_eq!(refused, AllocError::TooLarge { asked_bytes, limit_bytes });
    assert_eq!(nic.allocate(&RegionSpec::new(0)).unwrap_err(), AllocError::Empty);
    let mem = nic.allocate(&RegionSpec::new(1)).unwrap();
    let no_local = Access { local_write: false, ..Access::ALL };
    assert_eq!(nic.register(&mem, PdId(0), no_local), Err(RegisterError::RemoteWriteNeedsLocalWrite));
    let local = nic.register(&mem, PdId(0), Access::LOCAL).unwrap();
    assert_eq!(nic.export(local), Err(KeyError::LocalOnly(local)));
    assert_eq!(nic.export(MrId(77)), Err(KeyError::Unknown(MrId(77))));
}

#[test]
fn addresses_and_keys_that_no_mock_made_are_refused() {
    let mut lab = Lab::new(1);
    let spec = lab.spec(0);
    let a = lab.open(0, &spec);
    let own = lab.nic(a).address(a.ep).unwrap();
    let mut long = own.as_bytes().to_vec();
    long.push(0);
    let mut psn = own.as_bytes().to_vec();
    psn[13] = 1;
    for bytes in [&b""[..], &own.as_bytes()[..14], &long, &psn, b"WTM2\0\0\0\0\0\0\0\0\0\0\0\0"] {
        let address = EndpointAddress::from_bytes(bytes).unwrap();
        let refused = lab.nic(a).connect(a.ep, &address).unwrap_err();
        assert!(matches!(refused, ConnectError::Malformed { len_bytes, .. } if len_bytes == bytes.len()));
    }
    assert_eq!(lab.nic(a).connect(EpId(9), &own), Err(ConnectError::Unknown(EpId(9))));
    assert_eq!(lab.post(End { node: 0, ep: EpId(9) }, &send(1, &[])), Err(PostError::Unknown(EpId(9))));
}

#[test]
fn a_peer_of_another_fabric_or_of_no_node_is_silence() {
    let mut lab = Lab::new(2);
    let spec = EndpointSpec { timeout: 1, ..lab.spec(0) };
    for node in [1u8, 2, 255] {
        let a = lab.open(0, &spec);
        let mut bytes = lab.nic(a).address(a.ep).unwrap().as_bytes().to_vec();
        (bytes[4], bytes[5]) = (node, 0);
        lab.nic(a).connect(a.ep, &EndpointAddress::from_bytes(&bytes).unwrap()).unwrap();
        lab.go(a, &[write(1, &[lab.piece(0, 0, 100_000)], lab.at(1, 0))]);
        lab.run();
        assert_eq!(lab.ends(0), [(1, Status::RetryExcErr)]);
    }
    lab.check();
}
