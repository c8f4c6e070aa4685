//! How long sides wait for each other: for signs of life, for credits, for data.

use std::cell::Cell;
use std::rc::Rc;

use wavetank_contract::Instant;
use wavetank_messenger::{
    Cause, ConnectionId, Data, Event, Go, Message, MessengerConfig, Policy, Step, Thresholds, Way,
};

use crate::pair::{Net, config};

const MS: u64 = 1_000_000;

/// Longer data than the slow link carries soon.
const LEN: u64 = 16 << 20;

fn connected(configs: [MessengerConfig; 2]) -> (Net, ConnectionId) {
    let mut net = Net::new(&configs);
    net.nodes[1].bind(Some(Policy::StatefulServer));
    let connection = net.connect(0, 1, Policy::LosslessClient);
    net.run_ms(2);
    assert!(net.nodes[0].is_established(connection), "{:?}", net.nodes);
    (net, connection)
}

fn faults(net: &Net) -> u64 {
    net.nodes.iter().map(|node| node.stats().faults).sum()
}

/// How often a node gives a sign of life from now on.
fn pings(net: &mut Net, node: usize) -> Rc<Cell<u32>> {
    let count = Rc::new(Cell::new(0));
    let counted = count.clone();
    net.nodes[node].intercept(Some(Box::new(move |step, _| {
        counted.set(counted.get() + u32::from(step == Step::Ping));
        Go::On
    })));
    count
}

fn delivered(net: &Net, node: usize) -> usize {
    net.events[node].iter().filter(|event| matches!(event, Event::Delivered(_))).count()
}

#[test]
fn a_side_that_spoke_its_last_credit_gives_signs_of_life_again_once_it_has_many() {
    // The peer has patience, so that its own signs of life wake nobody.
    let patient = MessengerConfig { keepalive_ns: 1_000 * MS, silence_ns: 5_000 * MS, ..config(1) };
    let quick = MessengerConfig { keepalive_ns: 5 * MS, silence_ns: 4_000 * MS, credits: 8, ..config(2) };
    let (mut net, connection) = connected([patient, quick]);
    let pings = pings(&mut net, 1);
    for _ in 0..3 {
        let now = net.now();
        net.nodes[0].request(now, connection, Message::new(1, b"", Instant::FAR), None).unwrap();
    }
    while delivered(&net, 1) < 3 {
        let now = net.now();
        net.run_until(now + 1_000);
    }
    for event in std::mem::take(&mut net.events[1]) {
        let Event::Delivered(mut incoming) = event else { continue };
        let (now, reply_to) = (net.now(), incoming.take_reply_to().unwrap());
        net.nodes[1].reply(now, reply_to, Message::new(2, b"", Instant::FAR)).unwrap();
    }
    // It has four credits and spends three; the last is for who has credits to give, and it has none.
    net.nodes[1].turn(net.fabric.now());
    let flow = net.nodes[1].connections().next().and_then(|id| net.nodes[1].flow(id)).unwrap();
    assert_eq!((flow.granted - flow.sent, flow.posted), (1, flow.told - flow.came), "{flow:?}");
    net.run_ms(1);
    let flow = net.nodes[1].connections().next().and_then(|id| net.nodes[1].flow(id)).unwrap();
    assert!(flow.granted - flow.sent > 2, "{flow:?}");
    net.run_ms(29);
    assert!(pings.get() >= 4, "{} signs of life in 30 ms, one is due each 5: {:?}", pings.get(), net.nodes);
}

#[test]
fn data_that_was_granted_space_need_not_wait_for_a_sign_of_life_to_say_that_it_is_there() {
    let credits = |count, window| MessengerConfig { credits: count, window, ack_delay_ns: 0, ..config(1) };
    let thresholds = Thresholds { eager_bytes_max: 0, prefer_write: false };
    let client = MessengerConfig { thresholds, ack_delay_ns: MS, ..credits(5, 20) };
    let server = MessengerConfig { name: 2, ..credits(8, 16) };
    let (mut net, connection) = connected([client, server]);
    for (len, exposed) in [(513u64, false), (0, false), (327, true), (811, false), (2, false)] {
        let now = net.now();
        let mut message = Message::new(1, b"front", Instant::FAR);
        if len > 0 {
            let lease = match exposed {
                true => net.nodes[0].expose(connection, len).unwrap().unwrap(),
                false => net.nodes[0].lease(len).unwrap(),
            };
            message = message.with(Data::all(lease)).by((len == 2).then_some(Way::Write));
        }
        net.nodes[0].send_held(now, connection, message).unwrap();
    }
    net.run_ms(20);
    assert_eq!(delivered(&net, 1), 5, "{:?}", net.nodes);
    assert_eq!(faults(&net), 0);
}

#[test]
fn a_peer_with_less_patience_hears_signs_of_life_in_time() {
    let patient = MessengerConfig { keepalive_ns: 1_000 * MS, silence_ns: 5_000 * MS, ..config(1) };
    let hasty = MessengerConfig { keepalive_ns: 20 * MS, silence_ns: 30 * MS, ..config(2) };
    for configs in [[patient, hasty], [hasty, patient]] {
        let (mut net, _) = connected(configs);
        let patient = usize::from(configs[0].name == 2);
        let pings = pings(&mut net, patient);
        net.run_ms(400);
        assert_eq!(faults(&net), 0, "{:?}", net.nodes);
        assert!((38..=42).contains(&pings.get()), "one in a third of 30 ms, and not {}", pings.get());
    }
}

/// A link on which 16 MiB take 34 ms, and each of their chunks half a one; both sides give up on data that stands still for 3 ms.
fn slow() -> (Net, ConnectionId, u64) {
    let transfer_ns = 3 * MS;
    let quick = |name| MessengerConfig {
        keepalive_ns: 5 * MS,
        silence_ns: 1_000 * MS,
        transfer_ns,
        message_bytes_max: LEN,
        landing_bytes_max: LEN,
        landing_pool_bytes: 2 * LEN,
        ..config(name)
    };
    let (mut net, connection) = connected([quick(1), quick(2)]);
    for (from, to) in [(0, 1), (1, 0)] {
        net.fabric.link(from, to).bandwidth_percent = 1;
    }
    (net, connection, transfer_ns)
}

fn send(net: &mut Net, connection: ConnectionId, way: Way) {
    let lease = net.nodes[0].expose(connection, LEN).unwrap().unwrap();
    let message = Message::new(1, b"", Instant::FAR).with(Data::all(lease)).by(Some(way));
    let now = net.now();
    net.nodes[0].send_held(now, connection, message).unwrap();
}

#[test]
fn data_may_take_ten_times_the_limit_while_it_gets_on() {
    for way in [Way::Read, Way::Write] {
        let (mut net, connection, transfer_ns) = slow();
        let began = net.now();
        send(&mut net, connection, way);
        while delivered(&net, 1) == 0 && net.now().since_ns(began) < 100 * transfer_ns {
            net.run_ms(1);
        }
        let took = net.now().since_ns(began);
        assert_eq!((delivered(&net, 1), faults(&net)), (1, 0), "{way:?}: {:?}", net.nodes);
        assert!(took > 10 * transfer_ns, "{way:?} took {took} ns: the link is too fast for this test");
    }
}

#[test]
fn data_that_stands_still_breaks_the_connection_in_time_whatever_came_before() {
    for (way, mover) in [(Way::Read, 1), (Way::Write, 0)] {
        let (mut net, connection, transfer_ns) = slow();
        send(&mut net, connection, way);
        net.run_ms(5 * transfer_ns / MS);
        assert_eq!(faults(&net), 0, "{way:?}: it gets on");
        // The device would tell after a while; nothing moves from here on, and nothing is lost.
        net.fabric.link(0, 1).delay_ns = 10_000 * MS;
        net.fabric.link(1, 0).delay_ns = 10_000 * MS;
        let stood = net.now();
        while net.nodes[mover].stats().faults == 0 && net.now().since_ns(stood) < 3 * transfer_ns {
            net.run_until(net.now() + MS / 10);
        }
        let took = net.now().since_ns(stood);
        let stuck = |event: &Event| matches!(event, Event::Reconnecting { cause: Cause::Stuck(3), .. });
        assert!(net.events[mover].iter().any(stuck), "{way:?}: {:?}", net.events[mover]);
        assert!(took <= 2 * transfer_ns, "{way:?} took {took} ns");
    }
}
