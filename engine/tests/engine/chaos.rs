//! Any program on an honest device, whatever breaks, and whatever legal but rare things engine and device do: each transfer ends
//! once, nothing leaks, nobody is accused.

use std::collections::BTreeSet;

use proptest::prelude::*;
use wavetank_contract::{Buggify, CqId, EndpointSpec, Instant, Op, QpState, RnrTimer, Seeded};
use wavetank_engine::session::{SessionKey, SessionSpec};
use wavetank_engine::{DriverConfig, PortConfig, RdmaOps, TransferId, TransferSpec};
use wavetank_mock::Profile;

use crate::lab::{CHUNK, Lab, Plan, REGION_BYTES, lab};

#[derive(Clone, Debug)]
enum Act {
    Submit { node: usize, kind: u8, len: u64, bad: bool, patience: Option<u64>, in_session: bool },
    Cancel { pick: usize },
    Open { node: usize, ttl_ns: u64, with_endpoint: bool },
    Touch { pick: usize },
    End { pick: usize },
    Cut { from: u16 },
    Mend { from: u16 },
    LoseNth { from: u16, nth: u64 },
    Close { node: usize },
    Break { node: usize },
    Remove { node: usize },
    Unnotified { node: usize },
    Renew,
    Run { ns: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let node = 0..2usize;
    let from = 0..2u16;
    let patience = prop::option::weighted(0.3, 1..200_000u64);
    let submit = (node.clone(), 0..6u8, 0..6 * CHUNK, prop::bool::weighted(0.05), patience, any::<bool>());
    prop_oneof![
        12 => submit.prop_map(|(node, kind, len, bad, patience, in_session)| Act::Submit {
            node, kind, len, bad, patience, in_session
        }),
        2 => any::<usize>().prop_map(|pick| Act::Cancel { pick }),
        2 => (node.clone(), 1..300_000u64, prop::bool::weighted(0.3))
            .prop_map(|(node, ttl_ns, with_endpoint)| Act::Open { node, ttl_ns, with_endpoint }),
        1 => any::<usize>().prop_map(|pick| Act::Touch { pick }),
        1 => any::<usize>().prop_map(|pick| Act::End { pick }),
        1 => from.clone().prop_map(|from| Act::Cut { from }),
        1 => from.clone().prop_map(|from| Act::Mend { from }),
        2 => (from, 0..20u64).prop_map(|(from, nth)| Act::LoseNth { from, nth }),
        1 => node.clone().prop_map(|node| Act::Close { node }),
        1 => node.clone().prop_map(|node| Act::Break { node }),
        1 => node.clone().prop_map(|node| Act::Unnotified { node }),
        1 => prop::option::weighted(0.1, node)
            .prop_map(|node| node.map_or(Act::Renew, |node| Act::Remove { node })),
        2 => Just(Act::Renew),
        8 => (0..60_000u64).prop_map(|ns| Act::Run { ns }),
    ]
}

#[derive(Default)]
struct Program {
    submitted: Vec<(usize, TransferId)>,
    /// Tag, and what a READ should bring.
    reads: std::collections::BTreeMap<u64, (u64, u64)>,
    ended: BTreeSet<(usize, u64)>,
    sessions: Vec<(usize, SessionKey)>,
    removed: bool,
}

impl Program {
    fn carry_out(&mut self, lab: &mut Lab, act: &Act) {
        let now = lab.now();
        match *act {
            Act::Submit { node, kind, len, bad, patience, in_session } => {
                let tag = self.submitted.len() as u64;
                // READs are from the half that nobody writes.
                let offset = if bad { REGION_BYTES - 100 } else { tag * 512 % (REGION_BYTES / 4) };
                let half = REGION_BYTES / 2;
                let spec = match kind {
                    0 | 1 => lab.read(node, offset, len),
                    2 => lab.write(node, if bad { offset } else { half + offset }, len, None),
                    3 => lab.write(node, if bad { offset } else { half + offset }, len, Some(7)),
                    4 => lab.spec(node, Op::Send { imm: None }, len),
                    _ => lab.spec(node, Op::Recv, if bad { 1 } else { 6 * CHUNK }),
                };
                let session = self.sessions.last().filter(|s| in_session && s.0 == node).map(|s| s.1);
                let deadline = patience.map_or(Instant::FAR, |ns| now + ns);
                let spec = TransferSpec { tag, deadline, session, ..spec };
                if let Ok(id) = lab.on(node, |d| d.submit(now, spec)) {
                    if kind < 2 {
                        self.reads.insert(tag, (offset, len));
                    }
                    self.submitted.push((node, id));
                }
            }
            Act::Cancel { pick } => {
                if !self.submitted.is_empty() {
                    let (node, id) = self.submitted[pick % self.submitted.len()];
                    lab.on(node, |d| d.cancel(id, now));
                }
            }
            Act::Open { node, ttl_ns, with_endpoint } => {
                let ep = with_endpoint.then_some(lab.nodes[node].ep);
                let spec = SessionSpec { ep, ..SessionSpec::new(0, ttl_ns) };
                self.sessions.push((node, lab.on(node, |d| d.create_session(now, spec)).unwrap()));
            }
            Act::Touch { pick } => {
                if !self.sessions.is_empty() {
                    let (node, key) = self.sessions[pick % self.sessions.len()];
                    let _ = lab.on(node, |d| d.touch_session(key, now));
                }
            }
            Act::End { pick } => {
                if !self.sessions.is_empty() {
                    let (node, key) = self.sessions[pick % self.sessions.len()];
                    let _ = lab.on(node, |d| d.close_session(key, now));
                }
            }
            Act::Cut { from } => lab.fabric.link(from, 1 - from).loss_one_in = 1,
            Act::Mend { from } => lab.fabric.mend(from, 1 - from),
            Act::LoseNth { from, nth } => lab.fabric.link(from, 1 - from).lose_after = Some(nth),
            Act::Close { node } => {
                let ep = lab.nodes[node].ep;
                lab.on(node, |d| d.context().close(ep));
            }
            Act::Break { node } => {
                let ep = lab.nodes[node].ep;
                let _ = lab.on(node, |d| d.context().modify(ep, QpState::Err));
            }
            Act::Remove { node } => {
                lab.fabric.remove_device(node as u16);
                self.removed = true;
            }
            Act::Unnotified { node } => {
                lab.fabric.lose_notification(node as u16);
                // Somebody looks before long, which is all that is needed.
                lab.run_for(30_000);
                lab.turn(node);
            }
            Act::Renew if self.removed => {}
            Act::Renew => {
                let (a, b) = lab.another_pair();
                (lab.nodes[0].ep, lab.nodes[1].ep) = (a, b);
            }
            Act::Run { ns } => lab.run_for(ns),
        }
        self.collect(lab);
    }

    fn collect(&mut self, lab: &mut Lab) {
        for node in 0..2 {
            for end in lab.finished(node) {
                assert!(self.ended.insert((node, end.tag)), "{end:?} ended before");
                if let (Some(&(offset, len)), Ok(_)) = (self.reads.get(&end.tag), &end.result) {
                    lab.assert_brought(node, &end, offset, len);
                }
            }
            assert_eq!(lab.anomalies(node), []);
        }
    }

    fn finish(&mut self, lab: &mut Lab) {
        for from in 0..2 {
            lab.fabric.mend(from, 1 - from);
        }
        for (node, key) in self.sessions.clone() {
            let _ = lab.on(node, |d| d.close_session(key, lab.now()));
        }
        // What only waits for a message that never comes ends with its endpoint.
        lab.run_for(50_000_000);
        (0..2).for_each(|node| lab.turn(node));
        for node in 0..2 {
            for ep in 0..64 {
                lab.on(node, |d| d.context().close(wavetank_contract::EpId(ep)));
            }
        }
        lab.run();
        self.collect(lab);
        assert_eq!(self.ended.len(), self.submitted.len(), "each transfer ends");
        lab.assert_quiet();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn everything_ends_once_and_nothing_leaks(
        acts in prop::collection::vec(act(), 1..60),
        window in 1..6u32,
        send_depth in 1..10u32,
        recv_depth in 0..5u32,
        signal_every in 1..6u32,
        seed in any::<u64>(),
        sites in prop::collection::btree_set(prop::sample::select(Buggify::ALL.to_vec()), 0..5),
        disorder in any::<bool>(),
    ) {
        let plan = Plan {
            profile: Profile::RXE,
            driver: DriverConfig { window, chunk_bytes: CHUNK as u32, ..DriverConfig::default() },
            port: PortConfig { signal_every },
            endpoint: EndpointSpec {
                send_depth,
                recv_depth,
                // Short enough that silent peers are given up within the run.
                timeout: 5,
                retry_cnt: 2,
                rnr_retry: 2,
                min_rnr_timer: RnrTimer::new(1).unwrap(),
                ..EndpointSpec::new(CqId(0))
            },
            seed,
            ..Plan::default()
        };
        let mut lab = lab(plan);
        lab.fabric.set_buggify(sites, Box::new(Seeded::new(!seed)));
        for node in 0..2 {
            lab.fabric.place_out_of_order(node, disorder);
            lab.fabric.shuffle_completions(node, disorder);
        }
        let mut program = Program::default();
        for act in &acts {
            program.carry_out(&mut lab, act);
        }
        program.finish(&mut lab);
    }
}
