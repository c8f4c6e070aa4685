//! Anything goes: random works with random keys, addresses and pieces over a network that loses packets, while
//! regions, links and endpoints come and go. Nothing panics, every work ends once, and no byte changes that no work
//! was allowed to change.

use proptest::prelude::*;
use wavetank_contract::*;
use wavetank_mock::Profile;

use crate::lab::*;

const NODES: usize = 3;

#[derive(Clone, Debug)]
enum Act {
    Post {
        pair: usize,
        side: bool,
        verb: u8,
        pieces: Vec<(u8, u64, u32)>,
        key: u8,
        addr: u64,
        signalled: bool,
        fence: bool,
    },
    Run(u64),
    Cut(u16, u16),
    Mend,
    Retire(usize),
    Kill(usize, bool),
    Drain(usize, bool),
    Resume(usize, bool),
    Reset(usize, bool),
    Close(usize, bool),
}

fn offset() -> impl Strategy<Value = u64> {
    let end = MEM as u64;
    prop_oneof![
        8 => (0u64..end - 20_000).prop_map(|o| o & !7),
        2 => 0u64..end,
        1 => end - 16..end + 16,
        1 => any::<u64>(),
        1 => u64::MAX - 16..=u64::MAX,
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let len = prop_oneof![3 => 0u32..64, 3 => 0u32..6000, 1 => any::<u32>()];
    let piece = (prop_oneof![9 => Just(0u8), 1 => any::<u8>()], offset(), len);
    let key = prop_oneof![9 => Just(0u8), 2 => any::<u8>()];
    let post = (
        0..3usize,
        any::<bool>(),
        0u8..8,
        prop::collection::vec(piece, 0..4),
        key,
        offset(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(pair, side, verb, pieces, key, addr, signalled, fence)| Act::Post {
            pair,
            side,
            verb,
            pieces,
            key,
            addr,
            signalled,
            fence,
        });
    let side = || (0..3usize, any::<bool>());
    prop_oneof![
        30 => post,
        6 => (0u64..20_000).prop_map(Act::Run),
        1 => (0..3u16, 0..3u16).prop_map(|(a, b)| Act::Cut(a, b)),
        2 => Just(Act::Mend),
        1 => (0..NODES).prop_map(Act::Retire),
        1 => side().prop_map(|(p, s)| Act::Kill(p, s)),
        1 => side().prop_map(|(p, s)| Act::Drain(p, s)),
        2 => side().prop_map(|(p, s)| Act::Resume(p, s)),
        1 => (side(), prop::bool::weighted(0.3)).prop_map(|((p, s), reset)| match reset {
            true => Act::Reset(p, s),
            false => Act::Resume(p, s),
        }),
        1 => (side(), prop::bool::weighted(0.3)).prop_map(|((p, s), close)| match close {
            true => Act::Close(p, s),
            false => Act::Resume(p, s),
        }),
    ]
}

#[derive(Debug)]
struct Posted {
    end: End,
    id: u64,
    recv: bool,
    signalled: bool,
    /// Its endpoint was reset or closed since: it ends once at most.
    forgotten: bool,
}

/// Marks bytes of a node's main region that a work may change, if all of them are in it.
fn allow(free: &mut [Vec<bool>], node: usize, from: u64, len: u64) {
    if let Some(end) = from.checked_add(len).filter(|end| *end <= MEM as u64) {
        free[node][from as usize..end as usize].fill(true);
    }
}

/// Marks those of a local piece: a short message fills what is in the region, though the piece runs past its end.
fn allow_piece(free: &mut [Vec<bool>], node: usize, from: u64, len: u64) {
    let end = from.saturating_add(len).min(MEM as u64);
    if from < end {
        free[node][from as usize..end as usize].fill(true);
    }
}

fn run(acts: Vec<Act>, seed: u64, loss: u64, stubborn: bool, disorder: bool) -> Result<(), TestCaseError> {
    let mut lab = Lab::of(NODES, Profile::CX6, Seeded::new(seed));
    for node in 0..NODES as u16 {
        lab.fabric.place_out_of_order(node, disorder);
        lab.fabric.shuffle_completions(node, disorder);
    }
    let original: Vec<Vec<u8>> = (0..NODES).map(|n| lab.get(n, 0, MEM)).collect();
    let mut free = vec![vec![false; MEM]; NODES];
    // Regions nobody may write: read-only, of another domain, local, and one that is retired on the way.
    let guards: Vec<[Extra; 3]> = (0..NODES)
        .map(|n| {
            [
                lab.extra(n, 4096, 0, Access::REMOTE_READ),
                lab.extra(n, 4096, 7, Access::ALL),
                lab.extra(n, 4096, 7, Access::LOCAL),
            ]
        })
        .collect();
    let mut retiring: Vec<Option<Extra>> =
        (0..NODES).map(|n| Some(lab.extra(n, 65_536, 0, Access::ALL))).collect();
    let mut retired = Vec::new();
    let tune = |s: &mut EndpointSpec| {
        (s.mtu, s.timeout, s.retry_cnt, s.rnr_retry) = (Mtu::B1024, 4, 3, 3);
        (s.max_rd_atomic, s.min_rnr_timer) = (4, RnrTimer::new(1).unwrap());
        if stubborn {
            (s.timeout, s.rnr_retry) = (0, 7);
        }
    };
    let pairs: Vec<(End, End)> =
        [(0, 1), (1, 2), (2, 2)].into_iter().map(|(a, b)| lab.pair_with(a, b, tune, tune)).collect();
    let end_of = |pair: usize, side: bool| if side { pairs[pair].0 } else { pairs[pair].1 };
    if loss > 0 {
        for (a, b) in [(0, 1), (1, 0), (1, 2), (2, 1), (2, 2)] {
            lab.fabric.link(a, b).loss_one_in = loss;
        }
    }
    let mut posted: Vec<Posted> = Vec::new();
    for act in acts {
        match act.clone() {
            Act::Post { pair, side, verb, pieces, key, addr, signalled, fence } => {
                let (end, peer) = (end_of(pair, side), end_of(pair, !side));
                let id = posted.len() as u64;
                let mut sges: Vec<Sge> = pieces
                    .iter()
                    .map(|(mr, offset, len)| {
                        let mr = match mr {
                            0 => lab.nodes[end.node].mr,
                            1..=30 => guards[end.node][usize::from(*mr) % 3].mr,
                            31..=100 => retiring[end.node].as_ref().map_or(MrId(3), |r| r.mr),
                            _ => MrId(u32::from(*mr) << 7),
                        };
                        Sge { mr, len: *len, offset: *offset }
                    })
                    .collect();
                let base = lab.at(peer.node, addr);
                let remote = match key {
                    0 => base,
                    1..=60 => RemoteAddr {
                        addr: guards[peer.node][usize::from(key) % 2].to().addr + addr % 4096,
                        ..guards[peer.node][usize::from(key) % 2].to()
                    },
                    61..=120 => retiring[peer.node]
                        .as_ref()
                        .map_or(base, |r| RemoteAddr { addr: r.to().addr.wrapping_add(addr), ..r.to() }),
                    _ => RemoteAddr { rkey: RkeyId(u64::from(key) << (key % 60)), ..base },
                };
                if (5..7).contains(&verb) {
                    sges = vec![lab.piece(end.node, addr & 0x3_fff8 & !7, 8)];
                }
                let named = remote == base;
                let w = match verb {
                    0 | 1 => recv(id, &sges),
                    2 => send(id, &sges),
                    3 => write(id, &sges, remote),
                    4 => read(id, &sges, remote),
                    5 => add(id, sges[0], remote, 1),
                    6 => swap(id, sges[0], remote, 0, 1),
                    _ => write(id, &sges, remote).imm(id as u32),
                };
                let w = W { signalled, fence, ..w };
                if lab.post(end, &w).is_ok() {
                    let kind = w.op.kind();
                    if kind.fills_local() {
                        for sge in sges.iter().filter(|s| s.mr == lab.nodes[end.node].mr) {
                            allow_piece(&mut free, end.node, sge.offset, sge.len.into());
                        }
                    } else if named && kind != OpKind::Send {
                        let len = sges.iter().map(|s| u64::from(s.len)).sum();
                        allow(&mut free, peer.node, addr, len);
                    }
                    if kind.is_atomic() && named {
                        allow(&mut free, peer.node, addr, 8);
                    }
                    posted.push(Posted {
                        end,
                        id,
                        recv: kind == OpKind::Recv,
                        signalled: signalled || kind == OpKind::Recv,
                        forgotten: false,
                    });
                    lab.nic(end).ring(end.ep).expect("the simulated NIC takes what it posted");
                }
            }
            Act::Run(ns) => {
                let until = lab.fabric.now() + ns;
                lab.run_until(until);
            }
            Act::Cut(a, b) => lab.fabric.link(a, b).loss_one_in = 1,
            Act::Mend => (0..3).for_each(|a| (0..3).for_each(|b| lab.fabric.mend(a, b))),
            Act::Retire(node) => {
                if let Some(gone) = retiring[node].take() {
                    lab.nodes[node].nic.deregister(gone.mr).unwrap();
                    retired.push(gone.mem);
                }
            }
            Act::Kill(p, s) => _ = lab.nic(end_of(p, s)).modify(end_of(p, s).ep, QpState::Err),
            Act::Drain(p, s) => _ = lab.nic(end_of(p, s)).modify(end_of(p, s).ep, QpState::Sqd),
            Act::Resume(p, s) => _ = lab.nic(end_of(p, s)).modify(end_of(p, s).ep, QpState::Rts),
            Act::Reset(p, s) | Act::Close(p, s) => {
                let end = end_of(p, s);
                if matches!(act, Act::Close(..)) {
                    lab.nic(end).close(end.ep);
                } else {
                    _ = lab.nic(end).modify(end.ep, QpState::Reset);
                }
                posted.iter_mut().filter(|p| p.end == end).for_each(|p| p.forgotten = true);
            }
        }
    }
    for (a, b) in &pairs {
        for end in [a, b] {
            _ = lab.nic(*end).modify(end.ep, QpState::Rts);
        }
    }
    if stubborn {
        let until = lab.fabric.now() + 50_000_000;
        lab.run_until(until);
    } else {
        lab.run();
    }
    // Whatever is still open belongs to an endpoint that waits rightfully: receives, or for ever when told to.
    let mut done: Vec<Completion> = (0..NODES).flat_map(|n| lab.poll(n)).collect();
    let alive: Vec<End> = pairs
        .iter()
        .flat_map(|(a, b)| [*a, *b])
        .filter(|e| lab.nodes[e.node].nic.state(e.ep).is_some_and(|s| s != QpState::Err))
        .collect();
    for p in posted.iter().filter(|p| p.signalled && !p.forgotten) {
        let ended = done.iter().any(|c| c.id.0 == p.id);
        prop_assert!(ended || alive.contains(&p.end), "{p:?} never ended");
        prop_assert!(ended || p.recv || stubborn, "{p:?} waits for nothing");
    }
    for (a, b) in &pairs {
        for end in [a, b] {
            _ = lab.nic(*end).modify(end.ep, QpState::Err);
        }
    }
    done.extend((0..NODES).flat_map(|n| lab.poll(n)));
    for p in &posted {
        let ends = done.iter().filter(|c| c.id.0 == p.id).count();
        prop_assert!(ends == 1 || ends == 0 && (!p.signalled || p.forgotten), "{p:?} ended {ends} times");
    }
    for end in pairs.iter().flat_map(|(a, b)| [a, b]) {
        for recv in [false, true] {
            // Ids are unique over all endpoints and grow with each post.
            let ids: Vec<u64> = done
                .iter()
                .map(|c| c.id.0)
                .filter(|id| {
                    let p = &posted[*id as usize];
                    p.end == *end && p.recv == recv
                })
                .collect();
            prop_assert!(ids.is_sorted(), "{ids:?} of {end:?}");
        }
    }
    for node in 0..NODES {
        let now = lab.get(node, 0, MEM);
        let foreign = (0..MEM).find(|i| now[*i] != original[node][*i] && !free[node][*i]);
        prop_assert_eq!(foreign, None, "a byte of node {} that no work names", node);
        prop_assert!(guards[node].iter().all(Extra::untouched));
    }
    for mem in &retired {
        let (_, words, _) = mem.words(0, mem.len() as usize);
        prop_assert!(words.iter().all(|w| w.get() == wavetank_mock::SCRIBBLE), "a retired region changed");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_works_end_once_and_touch_only_what_they_name(
        acts in prop::collection::vec(act(), 1..120),
        seed in any::<u64>(),
        loss in prop::sample::select(vec![0u64, 3, 10, 100]),
        stubborn in prop::bool::weighted(0.2),
        disorder in any::<bool>(),
    ) {
        run(acts, seed, loss, stubborn, disorder)?;
    }
}
