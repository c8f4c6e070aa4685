//! Two calls at once: one connection, whatever is heard first.

use wavetank_contract::{Class, Instant};
use wavetank_messenger::{ConnectionId, Event, Message, Policy};

use crate::net::{Net, config};

const MS: u64 = 1_000_000;
const LINED_UP: u64 = 5;

/// Two peers, and what each has heard of the other.
struct Pair {
    net: Net,
    /// Tags of messages, by receiver, with the sender's life.
    came: [Vec<u64>; 2],
    /// Connections told as there, and as gone.
    told: [Vec<(ConnectionId, bool)>; 2],
}

impl Pair {
    fn new(names: [u64; 2]) -> Pair {
        let mut net = Net::new(&names.map(config));
        net.hosts.iter_mut().for_each(|host| host.messenger.bind(Some(Policy::LosslessPeer)));
        Pair { net, came: Default::default(), told: Default::default() }
    }

    /// Dials, and lines messages up at once.
    fn call(&mut self, node: usize) {
        let now = self.net.now();
        let (other, life) = (1 - node, self.net.hosts[node].life);
        let name = self.net.hosts[other].config.name;
        let messenger = &mut self.net.hosts[node].messenger;
        let connection =
            messenger.connect(now, &other.to_string(), Some(name), Policy::LosslessPeer).unwrap();
        for count in 0..LINED_UP {
            let tag = life * 100 + count;
            messenger.send(now, connection, Message::new(1, &tag.to_le_bytes(), Instant::FAR)).unwrap();
        }
        self.net.touch(node);
    }

    fn run(&mut self, ns: u64) {
        let until = self.net.now() + ns;
        self.net.run_until(until);
        for node in 0..2 {
            while let Some(event) = self.net.hosts[node].events.pop_front() {
                match event {
                    Event::Accepted { connection, .. } | Event::Established { connection, .. } => {
                        self.told[node].push((connection, true));
                    }
                    Event::Reset { connection, .. } | Event::Refused { connection, .. } => {
                        self.told[node].push((connection, false));
                    }
                    Event::Delivered(incoming) => {
                        let mut front = [0; 1024];
                        let front = incoming.front(&mut front);
                        self.came[node].push(u64::from_le_bytes(front.try_into().unwrap()));
                    }
                    _ => {}
                }
            }
            self.net.touch(node);
        }
    }

    /// Lets what is kept back go, one thing at a time: each digit says whose, and on whose line.
    fn interleave(&mut self, order: u64, digits: u32, mut at: impl FnMut(&mut Pair, u32)) {
        for digit in 0..digits {
            at(self, digit);
            let lane = order >> (2 * digit) & 3;
            // Who has nothing to say lets others go first.
            let _ = (0..4)
                .map(|more| (lane + more) % 4)
                .find(|lane| self.net.let_go((lane & 1) as usize, lane & 2 != 0));
            self.run(100_000);
        }
        self.net.keeps_back = false;
        for lane in 0..4usize {
            while self.net.let_go(lane & 1, lane & 2 != 0) {}
        }
        self.run(100 * MS);
    }

    /// One connection, the same on both sides.
    fn is_one(&mut self) -> Result<(), String> {
        for node in 0..2 {
            let messenger = &mut self.net.hosts[node].messenger;
            let all: Vec<ConnectionId> = messenger.connections().collect();
            let [one] = all[..] else { return Err(format!("node {node} has {all:?}")) };
            if !messenger.is_established(one) {
                return Err(format!("node {node} is not connected"));
            }
            let left = messenger.outstanding();
            if (left.lines, left.outgoing) != (1, 0) {
                return Err(format!("node {node}: {left:?}"));
            }
        }
        Ok(())
    }
}

/// Everything that `node` lined up in a life has come, once and in order.
fn all_of(came: &[u64], life: u64) -> bool {
    let of_it: Vec<u64> = came.iter().copied().filter(|tag| tag / 100 == life).collect();
    of_it == (0..LINED_UP).map(|count| life * 100 + count).collect::<Vec<u64>>()
}

#[test]
fn whatever_is_heard_first_one_of_two_calls_stands_and_everything_comes_once() {
    let mut orders = 0;
    // The second call is made before, or after so many things were said in the first.
    for (first, late) in [(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3), (0, 5), (1, 5)] {
        for order in 0..256 {
            let mut pair = Pair::new([1, 2]);
            pair.net.keeps_back = true;
            pair.call(first);
            if late == 0 {
                pair.call(1 - first);
            }
            pair.run(100_000);
            pair.interleave(order, 12, |pair, digit| {
                if late > 0 && digit == late {
                    pair.call(1 - first);
                }
            });
            orders += 1;
            let context = format!("{first} calls first, the other after {late}, order {order}");
            pair.is_one().unwrap_or_else(|why| panic!("{context}: {why}"));
            for node in 0..2 {
                assert!(all_of(&pair.came[node], 1), "{context}: node {node} has {:?}", pair.came[node]);
                assert!(
                    matches!(pair.told[node][..], [(_, true)]),
                    "{context}: node {node} was told {:?}",
                    pair.told[node]
                );
            }
        }
    }
    println!("{orders} orders of two calls");
}

#[test]
fn a_side_that_restarts_while_both_call_is_found_again() {
    for (victim, when) in (0..2).flat_map(|victim| (0..10).map(move |when| (victim, when))) {
        for order in (0..256).step_by(7) {
            let mut pair = Pair::new([1, 2]);
            pair.net.keeps_back = true;
            pair.call(0);
            pair.call(1);
            pair.run(100_000);
            pair.interleave(order, 12, |pair, digit| {
                if digit == when {
                    pair.net.kill(victim);
                    pair.net.bury(victim);
                    pair.run(50_000);
                    pair.net.restart(victim);
                    pair.net.hosts[victim].messenger.bind(Some(Policy::LosslessPeer));
                    pair.told[victim].clear();
                    pair.came[victim].clear();
                    pair.call(victim);
                }
            });
            let context = format!("node {victim} restarts after {when}, order {order}");
            // What the new life lined up has come; what was meant for the old one may have gone with it, but not twice.
            pair.is_one().unwrap_or_else(|why| panic!("{context}: {why}"));
            assert!(all_of(&pair.came[1 - victim], 2), "{context}: {:?}", pair.came);
            let mut all = pair.came[victim].clone();
            all.dedup();
            assert!(all.is_sorted() && all.len() == pair.came[victim].len(), "{context}: {:?}", pair.came);
        }
    }
}

#[test]
fn equals_with_one_name_are_told_so() {
    let mut pair = Pair::new([7, 7]);
    pair.call(0);
    let until = pair.net.now() + 5 * MS;
    pair.net.run_until(until);
    let event = pair.net.hosts[0].events.pop_back();
    let Some(Event::Refused { cause, .. }) = event else { panic!("{event:?}") };
    assert_eq!(cause.class(), Class::PeerRefused);
    assert!(cause.to_string().contains("our own name, 7"), "{cause}");
    assert_eq!(pair.net.hosts[0].messenger.outstanding().connections, 0);
}
