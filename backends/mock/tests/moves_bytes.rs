//! The simulated NIC moves real bytes between two nodes' memories.
#![allow(clippy::unwrap_used)]

use wavetank_contract::*;
use wavetank_mock::{Fabric, Profile};

#[test]
fn a_read_brings_what_the_owner_put_there() {
    let mut fabric = Fabric::new(Profile::CX6);
    let (mut a, mut b) = (fabric.add_node(), fabric.add_node());
    let (ra, rb) =
        (a.allocate(&RegionSpec::new(65536)).unwrap(), b.allocate(&RegionSpec::new(65536)).unwrap());
    let ma = a.register(&ra, PdId(0), Access::ALL).unwrap();
    let mb = b.register(&rb, PdId(0), Access::ALL).unwrap();
    let (cqa, cqb) = (a.open_cq(64).unwrap(), b.open_cq(64).unwrap());
    let (ea, eb) = (a.open(&EndpointSpec::new(cqa)).unwrap(), b.open(&EndpointSpec::new(cqb)).unwrap());
    let (aa, ab) = (a.address(ea).unwrap(), b.address(eb).unwrap());
    a.connect(ea, &ab).unwrap();
    b.connect(eb, &aa).unwrap();
    let remote = a.import(ea, &b.export(mb).unwrap()).unwrap();
    let bytes: Vec<u8> = (0..20000u32).map(|i| (i % 251) as u8).collect();
    rb.write(100, &bytes);
    let sge = [Sge { mr: ma, len: 20000, offset: 4096 }];
    let op = Op::Read { remote: remote.at(100, 20000).unwrap() };
    a.post(ea, &Work { id: WorkId(7), op, data: Data::Pieces(&sge), signalled: true, fence: false }).unwrap();
    a.ring(ea);
    let mut steps = 0;
    while fabric.step(&mut Quiet).is_some() {
        steps += 1;
    }
    let mut out = Completions::with_capacity(4);
    assert_eq!(a.poll(cqa, &mut out), 1);
    let c = out.as_slice()[0];
    assert_eq!((c.id, c.status, c.len), (WorkId(7), Status::Success, 20000));
    let mut back = vec![0; 20000];
    ra.read(4096, &mut back);
    assert!(back == bytes);
    assert_eq!(steps, 6, "one request, five responses of up to 4096 bytes");
    assert!(fabric.now() > Instant(1700));
}
