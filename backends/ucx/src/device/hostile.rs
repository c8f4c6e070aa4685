//! A peer that says anything: nothing it says ends this process, reaches memory it has no key to, or keeps others from working.

use proptest::prelude::*;
use wavetank_contract::{
    Access, Backend, Completions, CqId, Data, EndpointSpec, EpId, MrId, Op, PdId, QpState, Region,
    RegionSpec, Sge, Work, WorkId,
};

use super::UcxDevice;
use crate::config::{Transport, UcxConfig};
use crate::sys::{Arrival, Body};
use crate::wire::{Head, LONG_BYTES};

const BYTES: u64 = 64 << 10;

struct Side {
    device: UcxDevice,
    cq: CqId,
    ep: EpId,
    mem: Region,
    mr: MrId,
}

fn side() -> Side {
    let mut device = UcxDevice::open(&UcxConfig::new(Transport::Tcp)).expect("UCX over TCP");
    let cq = device.open_cq(1024).expect("a queue");
    let ep = device.open(&EndpointSpec::new(cq)).expect("an endpoint");
    let mem = device.allocate(&RegionSpec::new(BYTES)).expect("memory");
    let mr = device.register(&mem, PdId(0), Access::ALL).expect("a registration");
    Side { device, cq, ep, mem, mr }
}

impl Side {
    fn pump(&mut self) {
        let mut out = Completions::with_capacity(64);
        self.device.poll(self.cq, &mut out);
    }

    fn post(&mut self, op: Op, len: u32) {
        let piece = [Sge { mr: self.mr, len, offset: 0 }];
        let data = Data::Pieces(&piece);
        let _ = self.device.post(self.ep, &Work { id: WorkId(1), op, data, signalled: true, fence: false });
        let _ = self.device.ring(self.ep);
    }
}

fn connect(a: &mut Side, b: &mut Side) {
    let (of_a, of_b) = (a.device.address(a.ep).expect("open"), b.device.address(b.ep).expect("open"));
    a.device.connect(a.ep, &of_b).expect("connecting");
    b.device.connect(b.ep, &of_a).expect("connecting");
    for _ in 0..10_000_000 {
        a.pump();
        b.pump();
        if [a.device.state(a.ep), b.device.state(b.ep)] == [Some(QpState::Rts); 2] {
            return;
        }
    }
    panic!("never connected");
}

/// Anything at all as a header, more often than not for the right endpoint and of a kind that exists.
fn header() -> impl Strategy<Value = Vec<u8>> {
    let small = || prop_oneof![0u32..40, any::<u32>()];
    let wild = proptest::collection::vec(any::<u8>(), 0..80);
    let near =
        (1u8..13, 0u8..2, small(), small(), small(), any::<u64>(), small(), small(), any::<[u64; 2]>());
    let near = near.prop_map(|(kind, flags, seq, ack, imm, addr, mr, len, ab)| {
        let mut bytes = vec![0; LONG_BYTES];
        (bytes[0], bytes[1]) = (kind, flags);
        bytes[12..16].copy_from_slice(&seq.to_le_bytes());
        bytes[16..20].copy_from_slice(&ack.to_le_bytes());
        bytes[20..24].copy_from_slice(&imm.to_le_bytes());
        bytes[24..32].copy_from_slice(&addr.to_le_bytes());
        bytes[32..36].copy_from_slice(&mr.to_le_bytes());
        bytes[36..40].copy_from_slice(&len.to_le_bytes());
        bytes[40..48].copy_from_slice(&ab[0].to_le_bytes());
        bytes[48..56].copy_from_slice(&ab[1].to_le_bytes());
        for len in [24, LONG_BYTES] {
            if Head::read(&bytes[..len]).is_some() {
                bytes.truncate(len);
                break;
            }
        }
        bytes
    });
    prop_oneof![1 => wild, 9 => near]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn whatever_a_peer_says_this_side_stays_whole(
        messages in proptest::collection::vec((header(), proptest::collection::vec(any::<u8>(), 0..64)), 1..200),
    ) {
        let (mut a, mut b) = (side(), side());
        connect(&mut a, &mut b);
        // Memory that no key leads to: whatever is said, it stays as it is.
        let private = a.device.allocate(&RegionSpec::new(4096)).expect("memory");
        private.write(0, &[0x5a; 4096]);
        a.device.register(&private, PdId(0), Access::LOCAL).expect("a registration");
        a.post(Op::Recv, 16);
        a.post(Op::Send { imm: None }, 16);
        {
            let mut core = a.device.common.shared.lock();
            let (state, worker) = core.halves();
            let life = state.get(a.ep).map_or(0, |ep| ep.life);
            for (header, body) in &messages {
                let mut header = header.clone();
                if header.len() >= 12 && header[0] != 1 {
                    header[4..8].copy_from_slice(&a.ep.0.to_le_bytes());
                    header[8..12].copy_from_slice(&life.to_le_bytes());
                }
                state.arrive(worker, Arrival { from: None, header: &header, body: Body::Eager(body) });
                state.turn(worker);
            }
        }
        for _ in 0..100 {
            a.pump();
            b.pump();
        }
        let mut now = [0; 4096];
        private.read(0, &mut now);
        prop_assert!(now.iter().all(|byte| *byte == 0x5a), "memory without a key changed");
        // Everything comes back, and the device goes on.
        let (old_a, old_b) = (a.ep, b.ep);
        a.device.close(old_a);
        b.device.close(old_b);
        a.ep = a.device.open(&EndpointSpec::new(a.cq)).expect("an endpoint");
        b.ep = b.device.open(&EndpointSpec::new(b.cq)).expect("an endpoint");
        connect(&mut a, &mut b);
        prop_assert_eq!(a.mem.live_leases(), 0);
        a.device.deregister(a.mr).expect("nothing uses it");
    }
}
