//! Messages of every sort, by every way.

use wavetank_contract::Instant;
use wavetank_messenger::{ConnectionId, Data, Event, Go, Message, MessengerConfig, Policy, Step, Way};

use crate::pair::{Net, config};

/// A client connected with a server, and the server's name for it.
fn connected(client: Policy, server: Policy) -> (Net, ConnectionId, ConnectionId) {
    let mut net = Net::new(&[config(1), config(2)]);
    net.nodes[1].bind(Some(server));
    let connection = net.connect(0, 1, client);
    net.run_ms(2);
    assert!(matches!(net.events[0].pop_front(), Some(Event::Established { peer: 2, resumed: false, .. })));
    let Some(Event::Accepted { connection: accepted, peer: 1 }) = net.events[1].pop_front() else {
        panic!("{:?}", net.events[1]);
    };
    (net, connection, accepted)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn requests_of_every_length_have_their_replies_by_every_way() {
    let (mut net, connection, _) = connected(Policy::LossyClient, Policy::StatelessServer);
    for (tag, len) in [0usize, 1, 64, 512, 513, 4000, 7000, 70_000, 1 << 20].into_iter().enumerate() {
        for way in [None, Some(Way::Eager), Some(Way::Read), Some(Way::Write)] {
            if way == Some(Way::Eager) && len > 7000 {
                continue;
            }
            let now = net.now();
            let bytes = pattern(len);
            let message =
                Message::new(7, b"front", now + 50_000_000).tagged(tag as u64).by(way.filter(|_| len > 0));
            let message = if len > 0 {
                let lease = net.nodes[0].expose(connection, len as u64).unwrap().unwrap();
                lease.write(0, &bytes);
                message.with(Data::all(lease))
            } else {
                message
            };
            net.nodes[0].request(now, connection, message, None).unwrap();
            net.run_ms(2);
            let Some(Event::Delivered(mut incoming)) = net.events[1].pop_front() else {
                panic!("{len} by {way:?}: {:?} {:?}", net.events, net.nodes);
            };
            let mut front = [0; 1024];
            assert_eq!((incoming.front(&mut front), incoming.r#type()), (&b"front"[..], 7));
            let mut came = vec![0; len];
            assert!(incoming.read(0, &mut came) && came == bytes, "{len} by {way:?}");
            let now = net.now();
            let reply_to = incoming.take_reply_to().unwrap();
            // It goes back by WRITE, if it is long: it was not leased where the client may read.
            let mut reply = Message::new(8, b"", Instant::FAR);
            if len > 0 {
                let lease = net.nodes[1].lease(len as u64).unwrap();
                lease.write(0, &bytes);
                reply = reply.with(Data::all(lease));
            }
            net.nodes[1].reply(now, reply_to, reply).unwrap();
            drop(incoming);
            net.run_ms(2);
            let Some(Event::Replied { reply: Ok(reply), tag: named, .. }) = net.events[0].pop_front() else {
                panic!("{len} by {way:?}: {:?} {:?}", net.events, net.nodes);
            };
            let mut came = vec![0; len];
            assert!(reply.read(0, &mut came) && came == bytes && named == tag as u64, "{len} by {way:?}");
        }
    }
    net.run_ms(5);
    for node in &mut net.nodes {
        let left = node.outstanding();
        assert_eq!(
            (left.outgoing, left.requests, left.moves, left.frames, left.pool_leases),
            (0, 0, 0, 0, 0)
        );
        assert_eq!(left.receives, left.receive_leases);
    }
}

#[test]
fn a_reply_is_written_into_the_memory_its_request_gave() {
    let (mut net, connection, _) = connected(Policy::LossyClient, Policy::StatelessServer);
    for len in [5usize, 3000, 100_000] {
        let now = net.now();
        let sink = net.nodes[0].expose(connection, 100_000).unwrap().unwrap();
        let offset = sink.offset();
        net.nodes[0].request(now, connection, Message::new(1, b"", now + 50_000_000), Some(sink)).unwrap();
        net.run_ms(1);
        let Some(Event::Delivered(mut incoming)) = net.events[1].pop_front() else {
            panic!("{:?}", net.events)
        };
        let reply_to = incoming.take_reply_to().unwrap();
        assert_eq!(reply_to.sink_len(), Some(100_000));
        let lease = net.nodes[1].lease(len as u64).unwrap();
        lease.write(0, &pattern(len));
        let now = net.now();
        net.nodes[1]
            .reply(now, reply_to, Message::new(2, b"ok", Instant::FAR).with(Data::all(lease)))
            .unwrap();
        net.run_ms(1);
        let Some(Event::Replied { reply: Ok(mut reply), .. }) = net.events[0].pop_front() else {
            panic!("{:?}", net.events)
        };
        let mut came = vec![0; len];
        assert!(reply.read(0, &mut came) && came == pattern(len), "{len}");
        assert_eq!(reply.take_lease().map(|lease| lease.offset()), Some(offset), "it is the very memory");
    }
    let ways: Vec<_> = net.nodes[1].chosen().map(|(chosen, count)| (chosen.way.name(), count)).collect();
    assert!(ways.contains(&("sink", 1)), "{ways:?}");
}

#[test]
fn a_held_message_is_released_when_its_receiver_lets_go_of_it() {
    let (mut net, connection, _) = connected(Policy::LosslessClient, Policy::StatefulServer);
    let now = net.now();
    let lease = net.nodes[0].expose(connection, 50_000).unwrap().unwrap();
    let message = Message::new(3, b"mine", now + 50_000_000).with(Data::all(lease)).tagged(9);
    net.nodes[0].send_held(now, connection, message).unwrap();
    net.run_ms(5);
    assert!(net.events[0].is_empty(), "it is not released: {:?}", net.events[0]);
    let Some(Event::Delivered(incoming)) = net.events[1].pop_front() else { panic!("{:?}", net.events) };
    drop(incoming);
    net.run_ms(5);
    let Some(Event::Released { tag: 9, data: Some(data), delivered: true, .. }) = net.events[0].pop_front()
    else {
        panic!("{:?}", net.events)
    };
    assert_eq!(data.len, 50_000);
}

#[test]
fn a_request_that_is_let_go_of_fails_and_one_without_an_answer_ends_at_its_deadline() {
    let (mut net, connection, _) = connected(Policy::LossyClient, Policy::StatelessServer);
    let now = net.now();
    net.nodes[0].request(now, connection, Message::new(1, b"", now + 50_000_000), None).unwrap();
    net.nodes[0].request(now, connection, Message::new(1, b"", now + 20_000_000), None).unwrap();
    net.run_ms(2);
    let first = net.events[1].pop_front();
    let kept = net.events[1].pop_front();
    drop(first);
    net.run_ms(2);
    let text = |event: Option<Event>| match event {
        Some(Event::Replied { reply: Err(no), .. }) => no.why.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(text(net.events[0].pop_front()).contains("let go of it"));
    net.run_ms(30);
    assert!(text(net.events[0].pop_front()).contains("no reply by the deadline"));
    assert_eq!(net.nodes[0].outstanding().requests, 1, "its place waits for the peer's word");
    drop(kept);
    net.run_ms(2);
    assert_eq!((net.nodes[0].outstanding().requests, net.events[0].len()), (0, 0));
}

#[test]
fn data_that_was_under_way_when_a_connection_broke_does_not_hold_up_its_next_life() {
    const MS: u64 = 1_000_000;
    let quick = |name| MessengerConfig {
        keepalive_ns: 5 * MS,
        silence_ns: 30 * MS,
        transfer_ns: 50 * MS,
        connect_ns: 20 * MS,
        ..config(name)
    };
    let mut net = Net::new(&[quick(1), quick(2)]);
    net.nodes[1].bind(Some(Policy::StatefulServer));
    let connection = net.connect(0, 1, Policy::LosslessClient);
    net.run_ms(2);
    let lease = net.nodes[0].expose(connection, 1 << 20).unwrap().unwrap();
    lease.write(0, &pattern(1 << 20));
    let now = net.now();
    let message = Message::new(1, b"", Instant::FAR).with(Data::all(lease)).by(Some(Way::Read));
    net.nodes[0].request(now, connection, message, None).unwrap();
    let fetching = std::rc::Rc::new(std::cell::Cell::new(false));
    let began = fetching.clone();
    net.nodes[1].intercept(Some(Box::new(move |step, _| {
        began.set(began.get() || step == Step::FetchData);
        Go::On
    })));
    while !fetching.get() {
        let now = net.now();
        net.run_until(now + 1000);
    }
    net.fabric.link(0, 1).loss_one_in = 1;
    net.run_ms(100);
    net.fabric.heal();
    net.run_ms(200);
    let delivered = |event: &Event| matches!(event, Event::Delivered(_));
    assert!(net.events[1].iter().any(delivered), "{:?}", net.nodes);
    assert!(net.nodes[0].stats().faults < 5, "it broke again and again: {:?}", net.nodes);
}
