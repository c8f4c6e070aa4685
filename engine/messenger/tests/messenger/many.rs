//! Many peers of one messenger: what an idle connection costs, who is let in, and who harms whom.

use wavetank_contract::{Access, Instant, Op, PdId, RegionSpec, Sge};
use wavetank_engine::{Order, RdmaOps};
use wavetank_messenger::frame::{FrameKind, Header};
use wavetank_messenger::{
    BytesInUse, Cause, ConnectionId, Event, Message, MessengerConfig, Policy, SharedReceives, Violation,
};

use crate::pair::{Net, config};

/// What an idle connection may cost.
const BYTES_PER_CONNECTION_MAX: u64 = 64 << 10;

/// Receives that a queue has beyond what was promised.
const SPARE: u32 = 16;

/// A server, called 1, and clients from 2 on.
fn net(server: MessengerConfig, clients: u64) -> Net {
    let share_receives = server.share_receives;
    let client = |name| MessengerConfig { share_receives, receive_bytes: 8 << 20, ..config(name) };
    let configs: Vec<_> = std::iter::once(server).chain((2..2 + clients).map(client)).collect();
    let mut net = Net::new(&configs);
    net.nodes[0].bind(Some(Policy::StatelessServer));
    net
}

/// The server's names for connections, as they are accepted.
fn accepted(net: &mut Net) -> Vec<ConnectionId> {
    let name = |event| match event {
        Event::Accepted { connection, .. } => connection,
        other => panic!("{other:?}"),
    };
    net.events[0].drain(..).map(name).collect()
}

/// What peers were granted in all, by the word of each connection.
fn granted(net: &Net, connections: &[ConnectionId]) -> u32 {
    connections.iter().map(|connection| net.nodes[0].flow(*connection).map_or(0, |flow| flow.posted)).sum()
}

fn request(net: &mut Net, node: usize, connection: ConnectionId, tag: u64) {
    let now = net.now();
    let message = Message::new(1, b"who am I", now + 900_000_000).tagged(tag);
    net.nodes[node].request(now, connection, message, None).unwrap();
}

/// Answers everything that was asked. Answers how much that was.
fn answer(net: &mut Net) -> usize {
    let mut count = 0;
    let now = net.now();
    for event in std::mem::take(&mut net.events[0]) {
        match event {
            Event::Delivered(mut incoming) => {
                let to = incoming.take_reply_to().unwrap();
                net.nodes[0].reply(now, to, Message::new(2, b"you", Instant::FAR)).unwrap();
                count += 1;
            }
            other => net.events[0].push_back(other),
        }
    }
    count
}

#[derive(Clone, Copy, Debug)]
struct Cost {
    before: BytesInUse,
    idle: BytesInUse,
}

fn a_thousand(share_receives: bool) -> Cost {
    const EACH: usize = 100;
    let server = MessengerConfig { share_receives, receive_bytes: 64 << 20, ..config(1) };
    let mut net = net(server, 10);
    let before = net.nodes[0].bytes_in_use();
    let mut ours = Vec::new();
    for node in 1..=10 {
        for _ in 0..EACH {
            ours.push((node, net.connect(node, 0, Policy::LossyClient)));
        }
        net.run_ms(1);
    }
    net.run_ms(5);
    let theirs = accepted(&mut net);
    assert_eq!(theirs.len(), 1000);
    // Signs of life pass for a while, and nothing else.
    net.run_ms(2500);
    assert!(net.events[0].is_empty(), "{:?}", net.events[0]);
    let idle = net.nodes[0].bytes_in_use();
    assert_eq!(granted(&net, &theirs), 4000);
    let shared = net.nodes[0].shared_receives();
    let expected = match share_receives {
        true => SharedReceives { queues: 1, posted: 4000 + SPARE, promised: 4000 },
        false => SharedReceives::default(),
    };
    assert_eq!(shared, expected);
    // And now all of them at once.
    net.events.iter_mut().for_each(std::collections::VecDeque::clear);
    for (tag, (node, connection)) in ours.iter().enumerate() {
        request(&mut net, *node, *connection, tag as u64);
    }
    let mut answered = 0;
    for _ in 0..50 {
        net.run_ms(1);
        answered += answer(&mut net);
    }
    assert_eq!(answered, 1000);
    net.run_ms(5);
    let mut tags: Vec<u64> = Vec::new();
    for event in net.events.iter_mut().skip(1).flat_map(|events| events.drain(..)) {
        match event {
            Event::Replied { tag, reply: Ok(_), .. } => tags.push(tag),
            other => panic!("{other:?}"),
        }
    }
    tags.sort_unstable();
    assert_eq!(tags, (0..1000).collect::<Vec<_>>());
    assert!(net.events[0].is_empty(), "{:?}", net.events[0]);
    // When all have left, nothing is left of them.
    for (node, connection) in ours {
        let now = net.now();
        assert!(net.nodes[node].close(now, connection, "enough"));
    }
    net.run_ms(50);
    let left = net.nodes[0].outstanding();
    assert_eq!((left.connections, left.receives, left.receive_leases, left.lines), (0, 0, 0, 0));
    Cost { before, idle }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figure is what people ask for")]
fn each_of_a_thousand_idle_connections_costs_little_and_all_of_them_are_answered_at_once() {
    for share_receives in [true, false] {
        let Cost { before, idle } = a_thousand(share_receives);
        let of = |part: fn(&BytesInUse) -> u64| (part(&idle) - part(&before)) / 1000;
        let each = of(BytesInUse::total);
        println!(
            "{} receives: {each} bytes for each of 1,000 idle connections: {} of buffers, {} of connections and lines, {} of \
             driver and port",
            if share_receives { "shared" } else { "own" },
            of(|bytes| bytes.receives),
            of(|bytes| bytes.connections),
            of(|bytes| bytes.driver),
        );
        assert!(each <= BYTES_PER_CONNECTION_MAX, "{each}");
        assert!(of(|bytes| bytes.receives) >= 4 * 8192, "the buffers of its credits are counted");
    }
}

#[test]
fn a_peer_that_sends_without_credits_is_cut_off_and_harms_nobody_else() {
    let mut net = net(config(1), 3);
    let hostile = net.connect(1, 0, Policy::LossyClient);
    net.run_ms(2);
    let hostile_there = accepted(&mut net)[0];
    let good = [net.connect(2, 0, Policy::LossyClient), net.connect(3, 0, Policy::LossyClient)];
    net.run_ms(2);
    let good_there = accepted(&mut net);
    net.events.iter_mut().for_each(std::collections::VecDeque::clear);
    for round in 0..20 {
        for (node, connection) in [(2, good[0]), (3, good[1])] {
            request(&mut net, node, connection, round);
        }
        if round == 5 {
            // Behind its messenger's back, on its endpoint, three hundred frames where it may send four.
            let told = net.nodes[1].flow(hostile).unwrap().told;
            let frame = Header { granted: told, ..Header::new(FrameKind::Credit) }.encode();
            let driver = net.nodes[1].driver();
            let region = driver.context().allocate(&RegionSpec::new(4096)).unwrap();
            region.write(0, &frame);
            let mr = driver.context().register(&region, PdId::default(), Access::LOCAL).unwrap();
            let ep = wavetank_contract::EpId(0);
            for _ in 0..300 {
                let piece = Sge { mr, len: wavetank_messenger::frame::HEADER_BYTES as u32, offset: 0 };
                driver.order(ep, Order::new(0, Op::Send { imm: None }, piece, None));
            }
        }
        for _ in 0..4 {
            net.run_until(net.now() + 50_000);
            answer(&mut net);
        }
    }
    net.run_ms(20);
    answer(&mut net);
    net.run_ms(5);
    for node in [2, 3] {
        let tags: Vec<u64> = net.events[node]
            .drain(..)
            .map(|event| match event {
                Event::Replied { tag, reply: Ok(_), .. } => tag,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(tags, (0..20).collect::<Vec<_>>(), "of client {node}");
    }
    let reset: Vec<_> = net.events[0].drain(..).collect();
    let [Event::Reset { connection, cause }] = &reset[..] else { panic!("{reset:?}") };
    assert!(matches!(cause, Cause::Violation(Violation::NoCredit)), "{cause}");
    assert_eq!(*connection, hostile_there);
    // What it was promised and what it took is there for others.
    let shared = net.nodes[0].shared_receives();
    assert_eq!((shared.promised, granted(&net, &good_there)), (8, 8));
    assert!((8 + SPARE..=12 + SPARE).contains(&shared.posted), "{shared:?}");
}

#[test]
fn a_busy_connection_has_more_credits_and_gives_them_back_when_it_is_idle() {
    let mut net = net(config(1), 1);
    let connection = net.connect(1, 0, Policy::LossyClient);
    net.run_ms(2);
    let there = accepted(&mut net);
    let mut most = 0;
    for _ in 0..20 {
        let now = net.now();
        for _ in 0..100 {
            net.nodes[1].send(now, connection, Message::new(3, b"", now + 1_000_000_000)).unwrap();
        }
        for _ in 0..20 {
            net.run_until(net.now() + 10_000);
            net.events[0].clear();
            most = most.max(net.nodes[0].shared_receives().promised);
            assert_eq!(granted(&net, &there), net.nodes[0].shared_receives().promised);
        }
    }
    assert!(most > 16, "it was busy and never had more than {most}");
    net.run_ms(2500);
    let shared = net.nodes[0].shared_receives();
    assert_eq!((shared.promised, granted(&net, &there)), (4, 4), "it said twice that it has nothing to say");
    // Both sides agree on what may be sent.
    let (ours, theirs) = (net.nodes[1].flow(connection).unwrap(), net.nodes[0].flow(there[0]).unwrap());
    assert_eq!(ours.granted.wrapping_sub(ours.sent), theirs.told.wrapping_sub(theirs.came));
    // And it goes on as before.
    request(&mut net, 1, connection, 7);
    net.run_ms(1);
    assert_eq!(answer(&mut net), 1);
    net.run_ms(1);
    assert!(matches!(net.events[1].pop_back(), Some(Event::Replied { tag: 7, reply: Ok(_), .. })));
}

#[test]
fn whoever_cannot_be_promised_its_receives_is_refused_as_busy_until_somebody_leaves() {
    let server = MessengerConfig { receive_bytes: 64 * 8192, ..config(1) };
    let mut net = net(server, 1);
    let mut ours = Vec::new();
    // 64 buffers, and each may come to have two more than its four.
    for at in 0..11 {
        ours.push(net.connect(1, 0, Policy::LossyClient));
        net.run_ms(2);
        let last = net.events[1].pop_back();
        match at {
            10 => {
                let Some(Event::Reset { cause: Cause::Bootstrap(why), .. }) = last else {
                    panic!("{last:?}")
                };
                assert!(why.to_string().contains("no memory for receives"), "{why}");
            }
            _ => assert!(matches!(last, Some(Event::Established { .. })), "{at}: {last:?}"),
        }
    }
    assert!(matches!(net.events[0].pop_back(), Some(Event::Rejected { cause: Cause::Memory(_) })));
    assert_eq!(accepted(&mut net).len(), 10);
    let full = SharedReceives { queues: 1, posted: 56, promised: 40 };
    assert_eq!(net.nodes[0].shared_receives(), full);
    let now = net.now();
    net.nodes[1].close(now, ours[3], "bye");
    net.run_ms(2);
    // The word that it leaves took one; the other three stay, and are nobody's.
    let left = SharedReceives { posted: 55, promised: 36, ..full };
    assert_eq!(net.nodes[0].shared_receives(), left);
    net.connect(1, 0, Policy::LossyClient);
    net.run_ms(2);
    assert!(matches!(net.events[1].pop_back(), Some(Event::Established { .. })));
    assert_eq!(net.nodes[0].shared_receives(), full);
}

#[test]
fn where_a_queue_of_the_device_is_shallower_than_there_are_buffers_connections_share_several() {
    // 65,536 buffers, and queues of 32,767.
    let server = MessengerConfig {
        frame_bytes: 1112,
        credits: 4096,
        window: 4096,
        receive_bytes: 128 << 20,
        ..config(1)
    };
    let mut net = net(server, 1);
    let mut ours = Vec::new();
    for at in 1..=15 {
        ours.push(net.connect(1, 0, Policy::LossyClient));
        net.run_ms(1);
        let shared = net.nodes[0].shared_receives();
        let queues = if at <= 7 {
            1
        } else if at <= 14 {
            2
        } else {
            3
        };
        assert_eq!((shared.queues, shared.promised), (queues, at * 4096), "{at} connections");
    }
    let theirs = accepted(&mut net);
    assert_eq!(granted(&net, &theirs), 15 * 4096);
    for (tag, connection) in ours.iter().enumerate() {
        request(&mut net, 1, *connection, tag as u64);
    }
    net.run_ms(1);
    assert_eq!(answer(&mut net), 15);
    // A queue ends with its last connection.
    for connection in &ours[..7] {
        let now = net.now();
        net.nodes[1].close(now, *connection, "bye");
    }
    net.run_ms(5);
    let shared = net.nodes[0].shared_receives();
    assert_eq!((shared.queues, shared.promised), (2, 8 * 4096));
}
