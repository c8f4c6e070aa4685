//! One run: a net of engines, the daemon on one of them, its clients, a writer and whatever goes wrong, drawn by a seed.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use wavetank_contract::chance::{Choices as _, Seeded, Site};
use wavetank_contract::{Instant, Region};
use wavetank_mock::LinkFaults;

use crate::client::{Client, Scene};
use crate::house::{EXPOSED_BYTES, House, Slot, begin};
use crate::lie::Lie;
use crate::net::{Fault, MS, Net};
use crate::rig::{crowded_exporter_config, serve};
use crate::seen::{Seen, Told};
use crate::volumes::{FAR, HOME, NAMED, NEEDLES, ODD, Volumes};
use crate::wire::Wire;

/// Faults come before this, and then all is healed.
const FAULTS_MS: u64 = 200;
/// From here on clients come that want everything, and when those have to have it.
const ERRANDS_MS: u64 = 420;
const END_MS: u64 = 2000;
/// A connection that is closed while its peer hears nothing is over so long after at the latest.
const CLOSED_MS: u64 = 1200;
const WRITES: u64 = 20;
const CLIENTS: u64 = 5;
const ACTIONS: u64 = 40;

/// What goes wrong with the daemon itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    /// It begins nothing any more.
    Drain,
    /// Its device is gone.
    Unplug,
    /// Its process ends, and another begins.
    Restart,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Clients do what they want.
    Storm,
    /// They are gone, and so has to be all they had.
    Empty,
    /// Others read everything.
    Errands,
    /// They too are gone.
    EmptyAgain,
}

struct World<'a> {
    house: Option<House>,
    slot: Slot,
    /// Memory of the daemon's former lives, and of the present one.
    memories: Vec<Region>,
    life: u64,
    wires: BTreeMap<u64, Wire>,
    wires_made: u64,
    clients: Vec<Client>,
    volumes: Volumes,
    seen: Seen<'a>,
    mishaps: VecDeque<(Instant, Mishap)>,
    dice: Seeded,
    lie: Lie,
    act: Act,
    act_ends: Instant,
}

fn draw_fault(dice: &mut Seeded) -> (&'static str, Fault) {
    let server = dice.choose(Site::Swarm, 2) as usize;
    let links = |faults| Fault::Links(server, faults);
    let quiet = LinkFaults::default();
    match dice.choose(Site::Swarm, 9) {
        0 => ("fault: blackout", links(LinkFaults { loss_one_in: 1, ..quiet })),
        1 => ("fault: loss", links(LinkFaults { loss_one_in: 2 + dice.choose(Site::Swarm, 60), ..quiet })),
        2 => ("fault: damage", links(LinkFaults { corrupt_one_in: 20, duplicate_one_in: 20, ..quiet })),
        3 => ("fault: reordering", links(LinkFaults { reorder_one_in: 10, reorder_ns: 30_000, ..quiet })),
        4 => {
            let ns = dice.choose(Site::Swarm, 60) * MS;
            ("fault: pause", Fault::Pause(dice.choose(Site::Swarm, 3) as usize, ns))
        }
        5 => ("fault: lines cut", Fault::Lines(true)),
        6 => ("fault: healed", Fault::Heal),
        _ => ("fault: exporter restarted", Fault::Restart(server)),
    }
}

/// What a run came to: what was wrong, and a sum of all that clients saw and when.
pub(crate) fn run(seed: u64, lie: Lie, told: &Told) -> (Vec<String>, u32) {
    let mut dice = Seeded::new(seed);
    let (far, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let volumes = Volumes::create(far.path(), home.path(), seed, WRITES);
    let (one, seen_one) = serve(far.path(), crowded_exporter_config());
    let (two, seen_two) = serve(far.path(), crowded_exporter_config());
    let (daemon, slot) = begin(home.path(), crowded_exporter_config(), seed, lie);
    let mut net = Net::between(seed, vec![one, two], daemon, EXPOSED_BYTES);
    if lie == Lie::KeepsSeals {
        for exporter in [&seen_one, &seen_two] {
            exporter.borrow().as_ref().expect("it has begun").plant(wavetank_exchange::Lie::KeepsSeals);
        }
    }
    let seen = Seen::new(told);
    let mut times: Vec<u64> =
        (0..dice.choose(Site::Swarm, 6)).map(|_| dice.choose(Site::Swarm, FAULTS_MS * MS)).collect();
    times.sort_unstable();
    for at in times {
        let (name, fault) = draw_fault(&mut dice);
        seen.tell(name);
        net.plan(Instant(at), fault);
    }
    net.plan(Instant(FAULTS_MS * MS), Fault::Heal);
    let mut mishaps = VecDeque::new();
    if dice.choose(Site::Swarm, 3) == 0 {
        let at = Instant((20 + dice.choose(Site::Swarm, FAULTS_MS - 40)) * MS);
        match dice.choose(Site::Swarm, 3) {
            0 => mishaps.push_back((at, Mishap::Drain)),
            1 => mishaps.push_back((at, Mishap::Unplug)),
            _ => {}
        }
        mishaps.push_back((at + 15 * MS, Mishap::Restart));
    }
    let client = |number: u64| match number % 5 {
        0 | 1 => Client::seaweed(number, seed * 100 + number, ACTIONS, None),
        2 => Client::native(number, seed * 100 + number, ACTIONS, false, None),
        _ => Client::native(number, seed * 100 + number, ACTIONS, true, None),
    };
    let house = slot.borrow_mut().take();
    let mut world = World {
        house,
        slot,
        memories: Vec::new(),
        life: 0,
        wires: BTreeMap::new(),
        wires_made: 0,
        clients: (0..CLIENTS).map(client).collect(),
        volumes,
        seen,
        mishaps,
        dice,
        lie,
        act: Act::Storm,
        act_ends: Instant(FAULTS_MS * MS + 100 * MS),
    };
    world.memories.extend(world.house.as_ref().map(House::exposed));
    net.run_beside(|net, now| world.turn(net, now));
    let World { house, memories, mut seen, wires, clients, .. } = world;
    let now = net.fabric.now();
    drop((house, wires, clients));
    drop(net);
    for (life, memory) in memories.iter().enumerate() {
        if memory.live_leases() > 0 {
            let leases = memory.live_leases();
            seen.wrong(now, 0, format_args!("memory that is not back: {leases} extents of life {life}"));
        }
    }
    (seen.wrong, seen.digest)
}

impl World<'_> {
    fn turn(&mut self, net: &mut Net, now: Instant) -> ControlFlow<(), Instant> {
        while let Some((_, mishap)) = self.mishaps.pop_front_if(|(at, _)| *at <= now) {
            self.befall(net, now, mishap);
        }
        if self.act_ends <= now || (self.act == Act::Errands && self.clients.iter().all(Client::is_done)) {
            let house = self.house.as_ref().expect("the daemon lives");
            if self.act != Act::EmptyAgain {
                self.go_on(now);
            } else if !house.left_over_of_peers().is_empty() && now < Instant((FAULTS_MS + CLOSED_MS) * MS) {
                self.act_ends = now + 100 * MS;
            } else {
                self.look_for_what_is_left(now);
                return ControlFlow::Break(());
            }
        }
        let mut wake = self.volumes.turn(now, &mut self.seen).min(self.act_ends);
        wake = wake.min(self.mishaps.front().map_or(Instant::FAR, |(at, _)| *at));
        let house = self.house.as_mut().expect("the daemon lives");
        let mut scene =
            Scene { now, volumes: &self.volumes, seen: &mut self.seen, lie: self.lie, life: self.life };
        for client in &mut self.clients {
            if client.calls(now) {
                let mut wire = Wire::default();
                wire.down.lag_ns = if self.lie == Lie::AnswersLate { 30 * MS } else { 0 };
                self.wires_made += 1;
                let number = self.wires_made;
                house.welcome(number, client.line().uid);
                client.connect(number, &mut wire, house.arena(), &mut scene);
                self.wires.insert(number, wire);
            }
            wake = wake.min(client.turn(&mut self.wires, &mut scene));
        }
        wake = wake.min(house.turn(now, &mut self.wires, &mut self.dice));
        // What the daemon said now may be due before anything else.
        let heard = self.clients.iter().filter_map(|client| {
            let wire = self.wires.get(&client.line().wire?)?;
            let at = wire.down.next_at().min(wire.bell_down.unwrap_or(Instant::FAR));
            Some(at.max(client.line().deaf_until))
        });
        wake = heard.fold(wake, Instant::min);
        ControlFlow::Continue(wake)
    }

    fn befall(&mut self, net: &mut Net, now: Instant, mishap: Mishap) {
        match mishap {
            Mishap::Drain => {
                self.seen.tell("fault: daemon drained");
                self.house.as_ref().expect("the daemon lives").drain();
                self.volumes.drain(now);
            }
            Mishap::Unplug => {
                self.seen.tell("fault: daemon's device gone");
                net.fabric.remove_device(net.place_of_client() as u16);
            }
            Mishap::Restart => {
                self.seen.tell("fault: daemon restarted");
                self.house = None;
                self.volumes.restart(now);
                for wire in self.wires.values_mut() {
                    wire.down.close(now);
                }
                net.happen(Fault::Restart(net.place_of_client()));
                self.life += 1;
                self.house = self.slot.borrow_mut().take();
                self.memories.extend(self.house.as_ref().map(House::exposed));
            }
        }
    }

    /// Begins the next act.
    fn go_on(&mut self, now: Instant) {
        let mut scene =
            Scene { now, volumes: &self.volumes, seen: &mut self.seen, lie: self.lie, life: self.life };
        for client in &mut self.clients {
            if self.act == Act::Errands && !client.is_done() {
                let line = client.line();
                scene.seen.wrong(
                    now,
                    line.number,
                    format_args!("its errands took too long: {:?}", line.errand),
                );
            }
            client.leave(&mut self.wires, &mut scene);
        }
        self.clients.clear();
        match self.act {
            Act::Storm => (self.act, self.act_ends) = (Act::Empty, Instant(ERRANDS_MS * MS)),
            Act::Empty => {
                self.look_for_what_is_left(now);
                let far = (1..=NEEDLES).map(|needle| (FAR, needle));
                let all: VecDeque<_> =
                    far.chain((1..=NEEDLES).map(|needle| (HOME, needle))).chain([(ODD, NAMED)]).collect();
                self.clients = vec![
                    Client::seaweed(100, 1, 0, Some(all.clone())),
                    Client::native(101, 2, 0, false, Some(all.clone())),
                    Client::native(102, 3, 0, true, Some(all)),
                ];
                (self.act, self.act_ends) = (Act::Errands, Instant(END_MS * MS));
            }
            Act::Errands => (self.act, self.act_ends) = (Act::EmptyAgain, now + 120 * MS),
            Act::EmptyAgain => {}
        }
    }

    fn look_for_what_is_left(&mut self, now: Instant) {
        let house = self.house.as_mut().expect("the daemon lives");
        let of_peers = if self.act == Act::EmptyAgain { house.left_over_of_peers() } else { Vec::new() };
        for what in house.left_over().into_iter().chain(of_peers) {
            self.seen.wrong(now, 0, format_args!("when all were gone: {what}"));
        }
        self.seen.tell("empty");
    }
}
