//! READs that a messenger's user asks for, by keys that came in messages.

use wavetank_contract::{Access, Instant, MrId, PdId, RegionSpec, RemoteKey};
use wavetank_engine::RdmaOps as _;
use wavetank_messenger::{ConnectionId, Event, Policy, PullReason, Reached};

use crate::pair::{Net, config};

const BYTES: u64 = 1 << 20;

/// A reader, and memory of its peer that it knows the key to.
fn reached() -> (Net, ConnectionId, Reached, MrId) {
    let mut net = Net::new(&[config(1), config(2)]);
    net.nodes[1].bind(Some(Policy::StatelessServer));
    let connection = net.connect(0, 1, Policy::LossyClient);
    net.run_ms(2);
    let (mr, key) = memory(&mut net);
    let reached = net.nodes[0].reach(connection, &key).unwrap();
    net.events.iter_mut().for_each(|events| events.clear());
    (net, connection, reached, mr)
}

fn memory(net: &mut Net) -> (MrId, RemoteKey) {
    let context = net.nodes[1].driver().context();
    let region = context.allocate(&RegionSpec::new(BYTES)).unwrap();
    let bytes: Vec<u8> = (0..BYTES).map(|at| (at * 13 + at / 251) as u8).collect();
    region.write(0, &bytes);
    let access = Access { local_write: true, remote_read: true, remote_write: false, remote_atomic: false };
    let mr = context.register(&region, PdId::default(), access).unwrap();
    (mr, context.export(mr).unwrap())
}

#[test]
fn a_peers_memory_is_read_into_the_pool_and_into_what_is_exposed() {
    let (mut net, connection, from, _) = reached();
    for (tag, len, exposed) in [(1, 8, false), (2, 5000, true), (3, BYTES - 77, true), (4, 1, false)] {
        let lease = match exposed {
            true => net.nodes[0].expose(connection, len).unwrap().unwrap(),
            false => net.nodes[0].lease(len).unwrap(),
        };
        let now = net.now();
        net.nodes[0].pull(now, &from, 77, lease, len, Instant::FAR, tag).unwrap();
        net.run_ms(2);
        let Some(Event::Pulled { tag: told, result: Ok(lease), .. }) = net.events[0].pop_front() else {
            panic!("{len}: {:?}", net.events[0]);
        };
        let mut came = vec![0; len as usize];
        lease.read(0, &mut came);
        let wanted: Vec<u8> = (77..77 + len).map(|at| (at * 13 + at / 251) as u8).collect();
        assert!(came == wanted && told == tag, "{len}");
    }
    assert!(net.events[1].is_empty(), "the peer hears nothing: {:?}", net.events[1]);
}

#[test]
fn what_is_not_inside_is_refused_before_it_is_posted_and_the_lease_comes_back() {
    let (mut net, connection, from, _) = reached();
    for (offset, len) in [(BYTES, 1), (BYTES - 7, 8), (u64::MAX, 8), (0, 0)] {
        let lease = net.nodes[0].lease(8).unwrap();
        let error =
            net.nodes[0].pull(Instant(1), &from, offset, lease, len, Instant::FAR, 1).expect_err("outside");
        assert!(matches!(error.reason, PullReason::Outside { .. }), "{error}");
    }
    let foreign = wavetank_contract::Region::allocate(&RegionSpec::new(4096)).unwrap().lease(0, 8).unwrap();
    let error = net.nodes[0].pull(Instant(1), &from, 0, foreign, 8, Instant::FAR, 1).expect_err("foreign");
    assert_eq!(error.reason, PullReason::Foreign);
    assert!(net.nodes[0].is_established(connection));
}

#[test]
fn a_dead_key_ends_the_connection_and_the_read_says_so() {
    let (mut net, connection, from, mr) = reached();
    net.nodes[1].driver().context().deregister(mr).unwrap();
    let lease = net.nodes[0].lease(8).unwrap();
    let now = net.now();
    net.nodes[0].pull(now, &from, 0, lease, 8, Instant::FAR, 9).unwrap();
    net.run_ms(5);
    // Who of the two hears of it first is a matter of timing.
    let events = &net.events[0];
    assert!(
        events.iter().any(|event| matches!(event, Event::Pulled { tag: 9, result: Err(_), .. })),
        "{events:?}"
    );
    assert!(events.iter().any(|event| matches!(event, Event::Reset { .. })), "{events:?}");
    let lease = net.nodes[0].lease(8).unwrap();
    let error = net.nodes[0]
        .pull(Instant(1), &from, 0, lease, 8, Instant::FAR, 9)
        .expect_err("the connection is over");
    assert_eq!(error.reason, PullReason::NotConnected(connection));
    assert_eq!(net.nodes[0].outstanding().moves, 0);
}

#[test]
fn the_ends_of_a_connection_have_the_same_names_on_both_sides_and_no_other_has_them() {
    let (mut net, connection, ..) = reached();
    let other = net.connect(0, 1, Policy::LossyClient);
    net.run_ms(2);
    let ours = net.nodes[0].ends(connection).unwrap();
    let others = net.nodes[0].ends(other).unwrap();
    let theirs: Vec<_> = net.nodes[1]
        .connections()
        .collect::<Vec<_>>()
        .into_iter()
        .map(|c| net.nodes[1].ends(c).unwrap())
        .collect();
    assert!(theirs.iter().any(|end| (end.ours, end.peers) == (ours.peers, ours.ours)), "{theirs:?} {ours:?}");
    assert!(others.ours != ours.ours && others.peers != ours.peers);
}
