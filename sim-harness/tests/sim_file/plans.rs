//! Plans of any kind, of which all are well-formed.

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use wavetank_contract::{Buggify, Mtu, Site};
use wavetank_harness::Check;
use wavetank_harness::fault::{Fault, When};
use wavetank_harness::lab::{Cause, DeviceFault, HostFault, LinkFault, MemoryFault};
use wavetank_harness::swarm::choices::{LAST, Loud};
use wavetank_harness::swarm::defaults::{CONNECTION, ENGINE, NODES, PROFILE, REGION};
use wavetank_harness::swarm::file::{Expected, SimFile};
use wavetank_harness::swarm::plan::{
    ConnectionPlan, EnginePlan, OpPlan, Plan, RegionPlan, SlotRange, VerbPlan,
};
use wavetank_harness::swarm::shrink::Case;

fn region() -> impl Strategy<Value = RegionPlan> {
    let other = (0u16..4, 1u16..20, 1u32..100, any::<bool>());
    prop_oneof![
        Just(REGION),
        other.prop_map(|(node, slots, words, window)| RegionPlan {
            node,
            slots,
            slot_bytes: 8 * words,
            window
        }),
    ]
}

fn connection() -> impl Strategy<Value = ConnectionPlan> {
    let mtu = select(vec![Mtu::B256, Mtu::B512, Mtu::B1024, Mtu::B2048, Mtu::B4096]);
    let codes = (0u8..32, 0u8..8, 0u8..8, 0u8..32);
    let depths = (1u16..100, 1u16..100, 1u8..17, 1u16..50);
    let other =
        ((0u16..4, 0u16..4), mtu, codes, depths).prop_map(|((a, b), mtu, codes, depths)| ConnectionPlan {
            nodes: [a, b],
            mtu,
            timeout: codes.0,
            retry_cnt: codes.1,
            rnr_retry: codes.2,
            rnr_timer: codes.3,
            send_depth: depths.0,
            recv_depth: depths.1,
            rd_atomic: depths.2,
            in_flight: depths.3,
        });
    prop_oneof![Just(CONNECTION), other]
}

fn verb() -> impl Strategy<Value = VerbPlan> {
    let range = (0u16..4, 0u16..4, 0u32..4, 1u32..40).prop_map(|(region, slot, at, words)| SlotRange {
        region,
        slot,
        offset: 8 * at,
        len: 8 * words,
    });
    let slot = (0u16..4, 0u16..4);
    prop_oneof![
        range.clone().prop_map(VerbPlan::Read),
        (range, any::<bool>()).prop_map(|(to, imm)| VerbPlan::Write { to, imm }),
        (1u32..5000, any::<bool>()).prop_map(|(len, imm)| VerbPlan::Send { len, imm }),
        slot.clone().prop_map(|(region, slot)| VerbPlan::Add { region, slot }),
        slot.prop_map(|(region, slot)| VerbPlan::Swap { region, slot }),
        Just(VerbPlan::CloseSession),
    ]
}

fn op() -> impl Strategy<Value = OpPlan> {
    let rest = (option::of(1u64..1_000_000_000), any::<bool>(), option::of(0u16..9));
    (any::<u32>(), 0u16..4, 0u8..2, verb(), rest).prop_map(|(id, connection, end, verb, rest)| OpPlan {
        id,
        connection,
        end,
        verb,
        deadline_ns: rest.0,
        cancel: rest.1,
        session: rest.2,
    })
}

fn fault() -> impl Strategy<Value = Fault> {
    let when = prop_oneof![
        (0u64..1_000_000_000).prop_map(When::At),
        (option::of(0u16..4), 0u32..50).prop_map(|(connection, op)| When::Op { connection, op }),
        (1u32..1000).prop_map(|one_in| When::EachOp { one_in }),
    ];
    let n = 1u32..1000;
    let link = prop_oneof![
        Just(LinkFault::Cut),
        (0u64..100).prop_map(|nth| LinkFault::LoseNth { nth }),
        (n.clone(), 1u32..9).prop_map(|(n, burst)| LinkFault::LoseOneIn { n, burst }),
        n.clone().prop_map(|n| LinkFault::DuplicateOneIn { n }),
        (n, 1u64..9999).prop_map(|(n, by_ns)| LinkFault::ReorderOneIn { n, by_ns }),
    ];
    let device = prop_oneof![
        Just(DeviceFault::PortDown),
        Just(DeviceFault::ChangeGid),
        (0u32..9).prop_map(|nth| DeviceFault::FailRegistration { nth }),
    ];
    let host = select(vec![HostFault::Pause, HostFault::Crash, HostFault::Restart { same: true }]);
    let memory = select(vec![MemoryFault::Deregister, MemoryFault::RollKey, MemoryFault::RevokeWindow]);
    let node = 0u16..4;
    let cause = prop_oneof![
        (node.clone(), node.clone(), link).prop_map(|(from, to, fault)| Cause::Link { from, to, fault }),
        (node.clone(), device).prop_map(|(node, fault)| Cause::Device { node, fault }),
        (node.clone(), host).prop_map(|(node, fault)| Cause::Host { node, fault }),
        (node, memory).prop_map(|(region, fault)| Cause::Memory { region, fault }),
    ];
    (when, cause, option::of(1u64..1_000_000)).prop_map(|(when, cause, lasts_ns)| Fault {
        when,
        cause,
        lasts_ns,
    })
}

/// A plan, in which only those parts are left that go with the ones before them.
pub(crate) fn plan() -> impl Strategy<Value = Plan> {
    let profile = select(vec![PROFILE, "cx6", "rxe"]);
    let engine = prop_oneof![
        Just(ENGINE),
        (1u32..100, 1u16..20, 1u16..20).prop_map(|(words, window, signal_every)| EnginePlan {
            chunk_bytes: 8 * words,
            window,
            signal_every
        }),
    ];
    let settings = (profile, select(vec![0, 1, 999]), select(vec![NODES, 3, 4]), engine);
    let buggify = btree_set(select(Buggify::ALL.to_vec()), 0..4);
    let parts = (vec(region(), 0..4), vec(connection(), 0..4), vec(op(), 0..12), vec(fault(), 0..6));
    (settings, buggify, parts).prop_map(|((profile, jitter_ns, nodes, engine), buggify, parts)| {
        let mut plan = Plan {
            profile: profile.to_owned(),
            jitter_ns,
            nodes,
            regions: Vec::new(),
            connections: vec![CONNECTION],
            engine,
            buggify,
            ops: Vec::new(),
            faults: Vec::new(),
        };
        grow(&mut plan, parts.0, |plan| &mut plan.regions);
        grow(&mut plan, parts.1, |plan| &mut plan.connections);
        grow(&mut plan, parts.2, |plan| &mut plan.ops);
        grow(&mut plan, parts.3, |plan| &mut plan.faults);
        plan
    })
}

fn grow<T>(plan: &mut Plan, parts: Vec<T>, list: fn(&mut Plan) -> &mut Vec<T>) {
    for part in parts {
        list(plan).push(part);
        if plan.check().is_err() {
            list(plan).pop();
        }
    }
}

pub(crate) fn file() -> impl Strategy<Value = SimFile> {
    let site = select(Site::all().collect::<Vec<_>>());
    let value = prop_oneof![Just(LAST), 1..u64::MAX, 1u64..9];
    let loud = (site, 0u64..1000, value).prop_map(|(site, nth, value)| Loud { site, nth, value });
    let check = select(Check::ALL.to_vec());
    let expected = prop_oneof![
        any::<u64>().prop_map(Expected::Passes),
        (check, option::of(any::<u32>())).prop_map(|(check, op)| Expected::Fails(check, op)),
        Just(Expected::Panics),
    ];
    let checkpoints = btree_set(1u64..100, 0..4);
    let head = (vec("[ -~]{0,20}", 0..3), option::of(any::<u64>()), any::<bool>());
    (plan(), vec(loud, 0..9), checkpoints, expected, head).prop_map(
        |(plan, loud, checkpoints, expected, head)| SimFile {
            notes: head.0,
            program: "0.1.0".to_owned(),
            seed: head.1,
            canary: head.2,
            case: Case { plan, loud },
            checkpoints: checkpoints.into_iter().map(|number| (number, number * 0x0123_4567_89ab)).collect(),
            expected,
        },
    )
}
