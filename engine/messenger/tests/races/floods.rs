//! Floods from both sides at once, with the smallest window and receivers that keep messages: always on, never round in circles.

use wavetank_contract::Instant;
use wavetank_messenger::{ConnectionId, Data, Event, Incoming, Message, MessengerConfig, Policy, Way};

use crate::net::{Net, config};

const MS: u64 = 1_000_000;
const EACH: usize = 120;

struct Side {
    connection: Option<ConnectionId>,
    next: usize,
    answered: usize,
    released: usize,
    kept: Vec<Incoming>,
}

/// Both flood each other; each keeps as many messages as `keeps` before it lets go of the oldest.
fn flood(window: u32, keeps: usize) -> Result<(u64, u64), String> {
    let small = |name| MessengerConfig { window, ..config(name) };
    let mut net = Net::new(&[small(1), small(2)]);
    net.hosts.iter_mut().for_each(|host| host.messenger.bind(Some(Policy::LosslessPeer)));
    net.hosts[0].messenger.connect(Instant::ZERO, "1", Some(2), Policy::LosslessPeer).unwrap();
    let new = || Side { connection: None, next: 0, answered: 0, released: 0, kept: Vec::new() };
    let mut sides = [new(), new()];
    let whole = |side: &Side| side.next == EACH && side.answered + side.released == EACH;
    while !sides.iter().all(whole) {
        if net.now() > Instant(2_000 * MS) {
            let state = |side: &Side| (side.next, side.answered, side.released, side.kept.len());
            return Err(format!("it stands still: {:?}", sides.each_ref().map(state)));
        }
        let until = net.now() + 50_000;
        net.run_until(until);
        let now = net.now();
        for (node, side) in sides.iter_mut().enumerate() {
            let host = &mut net.hosts[node];
            while let Some(event) = host.events.pop_front() {
                match event {
                    Event::Accepted { connection, .. } | Event::Established { connection, .. } => {
                        side.connection = Some(connection);
                    }
                    Event::Delivered(mut incoming) => {
                        if let Some(to) = incoming.take_reply_to() {
                            let mut message = Message::new(1, b"", Instant::FAR);
                            if let Ok(lease) = host.messenger.lease(9_000) {
                                message = message.with(Data::all(lease));
                            }
                            let _ = host.messenger.reply(now, to, message);
                        }
                        side.kept.push(incoming);
                    }
                    Event::Replied { reply: Ok(_), .. } => side.answered += 1,
                    Event::Released { delivered: true, .. } => side.released += 1,
                    other => return Err(format!("{other:?}")),
                }
            }
            // What is kept is let go of slowly, and once there is too much of it.
            if side.kept.len() > keeps || (now.0 / 50_000).is_multiple_of(8) && !side.kept.is_empty() {
                side.kept.remove(0);
            }
            if let Some(connection) = side.connection {
                while side.next < EACH {
                    let at = side.next;
                    let ways = [None, Some(Way::Eager), Some(Way::Read), Some(Way::Write)];
                    let way = ways[at % 4];
                    let mut message = Message::new(1, b"flood", Instant::FAR).by(way);
                    if way.is_some() {
                        let lease = match way {
                            Some(Way::Read) => host.messenger.expose(connection, 5_000),
                            _ => host.messenger.lease(5_000).map(Some),
                        };
                        let Ok(Some(lease)) = lease else { break };
                        message = message.with(Data::all(lease));
                    }
                    let sent = match at % 3 {
                        0 => host.messenger.send_held(now, connection, message).map_err(drop),
                        _ => {
                            let sink = host
                                .messenger
                                .expose(connection, 9_000)
                                .ok()
                                .flatten()
                                .filter(|_| at % 3 == 1);
                            host.messenger.request(now, connection, message, sink).map(drop).map_err(drop)
                        }
                    };
                    if sent.is_err() {
                        break;
                    }
                    side.next += 1;
                }
            }
            net.touch(node);
        }
    }
    drop(sides);
    net.touch(0);
    net.touch(1);
    let quiet = net.now() + 5 * MS;
    net.run_until(quiet);
    let frames =
        |net: &Net| net.hosts[0].messenger.stats().frames_out + net.hosts[1].messenger.stats().frames_out;
    let before = frames(&net);
    net.run_until(quiet + 100 * MS);
    // Signs of life every 10 ms from either side, and what they cost in credits.
    let idle = frames(&net) - before;
    if idle > 60 {
        return Err(format!("{idle} frames in 100 quiet ms"));
    }
    Ok((net.now().0 / MS, idle))
}

#[test]
fn floods_from_both_sides_end_whatever_the_window_and_whatever_is_kept() {
    for window in [4, 5, 8, 16] {
        for keeps in [0, 1, 3, 4, 20] {
            match flood(window, keeps) {
                Ok((ms, idle)) => {
                    println!("window {window}, {keeps} kept: {ms} ms, {idle} frames in 100 quiet ms")
                }
                Err(why) => panic!("window {window}, {keeps} kept: {why}"),
            }
        }
    }
}

/// Both keep everything: nobody talks without end about credits that nobody needs.
#[test]
fn two_sides_that_keep_everything_are_quiet_and_alive() {
    let mut net = Net::new(&[4, 5].map(|name| MessengerConfig { window: 4, ..config(name) }));
    net.hosts.iter_mut().for_each(|host| host.messenger.bind(Some(Policy::LosslessPeer)));
    let connection =
        net.hosts[0].messenger.connect(Instant::ZERO, "1", Some(5), Policy::LosslessPeer).unwrap();
    net.run_until(Instant(MS));
    let other = net.hosts[1].messenger.connections().next().unwrap();
    for (node, connection) in [(0, connection), (1, other)] {
        let now = net.now();
        for _ in 0..50 {
            net.hosts[node].messenger.send(now, connection, Message::new(1, b"", Instant::FAR)).unwrap();
        }
        net.touch(node);
    }
    net.run_until(Instant(10 * MS));
    let frames =
        |net: &Net| net.hosts[0].messenger.stats().frames_out + net.hosts[1].messenger.stats().frames_out;
    let before = frames(&net);
    net.run_until(Instant(210 * MS));
    let more = frames(&net) - before;
    // Each side speaks every 10 ms, and has its credits back for it.
    assert!((20..=200).contains(&more), "{more} frames in 200 quiet ms");
    for (node, connection) in [(0, connection), (1, other)] {
        assert!(net.hosts[node].messenger.is_established(connection));
        let kept = net.hosts[node].events.iter().filter(|event| matches!(event, Event::Delivered(_))).count();
        assert!((2..=16).contains(&kept), "node {node} was given {kept} of 50 messages while it keeps them");
    }
    // The twin: once they are let go of, the rest comes.
    for node in 0..2 {
        net.hosts[node].events.clear();
        net.touch(node);
    }
    let mut came = [0; 2];
    while net.now() < Instant(400 * MS) {
        let until = net.now() + MS / 2;
        net.run_until(until);
        for (node, came) in came.iter_mut().enumerate() {
            *came +=
                net.hosts[node].events.drain(..).filter(|event| matches!(event, Event::Delivered(_))).count();
            net.touch(node);
        }
    }
    assert!(came.iter().all(|came| *came >= 34), "{came:?}");
}
