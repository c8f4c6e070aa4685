//! Two engines under load, while a seeded schedule kills, stops and restarts engines and clients.

mod leaks;
mod load;
mod stage;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use wavetank_volume::{Generator, Version};

use crate::dice::Dice;
use crate::library::Shelf;
use crate::pair::Site;
use crate::traces::settled;
use crate::waiting::{PATIENCE, pause, show, until};
use load::{Ledger, Rights, work};
use stage::{ACTS, Act, Stage};

/// Clients that are threads of the test.
const THREADS: [&str; 3] = ["socket", "ring", "tokio"];

/// Reads that each of them has to bring again when everything runs again.
const AGAIN: u64 = 20;

fn shelves() -> [Shelf; 3] {
    let of = |seed, needles, len_max| Generator { seed, needles, len_max };
    [
        Shelf::new(1, Version::V2, of(31, 200, 9000)),
        Shelf::new(3, Version::V3, of(33, 200, 60_000)),
        Shelf::new(4, Version::V3, of(34, 6, 3 << 20)),
    ]
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

/// The share of the whole time that each transport gets.
fn soaked(transport: &'static str) {
    let time = Duration::from_secs(number("WAVETANK_SOAK_SECONDS", 20)) / 2;
    let seed = number("WAVETANK_SOAK_SEED", 7);
    let shelves = shelves();
    let mut stage = Stage::new(Site::new(transport, &shelves));
    let rights = Rights::of(&shelves);
    let ledgers = THREADS.map(|_| Ledger::default());
    let mut acts: BTreeMap<Act, u64> = BTreeMap::new();
    let socket = stage.reader.socket.clone();
    std::thread::scope(|scope| {
        for (at, (ledger, name)) in ledgers.iter().zip(THREADS).enumerate() {
            let (rights, socket) = (&rights, &socket);
            scope.spawn(move || work(name, socket, rights, ledger, seed ^ (at as u64 + 1)));
        }
        // Threads end with the test, however it ends.
        let _stop = Stop(&ledgers);
        until("everybody reads", || ledgers.iter().all(|ledger| ledger.good() > AGAIN));
        let (from, mut dice) = (Instant::now(), Dice::new(seed));
        // Everything once, in an order of the seed's, and then whatever comes.
        let mut first = ACTS.to_vec();
        while from.elapsed() < time || !first.is_empty() {
            pause(Duration::from_millis(dice.within(100, 900)));
            let act = match first.len() as u64 {
                0 => *dice.one(&ACTS),
                left => first.swap_remove(dice.below(left) as usize),
            };
            stage.act(act, &mut dice);
            *acts.entry(act).or_default() += 1;
        }
        let before = ledgers.each_ref().map(Ledger::good);
        until("everybody reads again", || {
            ledgers.iter().zip(before).all(|(ledger, before)| ledger.good() >= before + AGAIN)
        });
    });
    let said = stage.end_clients();
    show(&table(transport, seed, &acts, &ledgers, &said, &stage));
    for (ledger, name) in ledgers.iter().zip(THREADS) {
        assert_eq!(ledger.faults(), Vec::<String>::new(), "{transport}, {name}, seed {seed}");
    }
    assert!(said.faults.is_empty() && said.reads > 0, "{transport}, processes, seed {seed}: {said:?}");
    settled(&stage.reader, PATIENCE).unwrap();
    leaks::survivors(&mut stage, &rights, 3 + number("WAVETANK_SOAK_SECONDS", 20) / 10);
    let (reader, exporter) = (stage.reader.stop(), stage.exporter.stop());
    assert_eq!((reader, exporter), (Some(0), Some(0)), "{}{}", stage.reader.log(), stage.exporter.log());
}

/// Ends threads.
struct Stop<'a>(&'a [Ledger]);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|ledger| ledger.stop.store(true, Ordering::Release));
    }
}

fn table(
    transport: &str,
    seed: u64,
    acts: &BTreeMap<Act, u64>,
    ledgers: &[Ledger],
    said: &stage::Said,
    stage: &Stage,
) -> String {
    let mut rows = vec![format!("soak over {transport}, seed {seed}")];
    rows.extend(acts.iter().map(|((whom, what), count)| format!("  done {count:>5}  {whom} {what}")));
    for (ledger, name) in ledgers.iter().zip(THREADS) {
        rows.extend(ledger.seen().iter().map(|(what, count)| format!("  seen {count:>7}  {name}: {what}")));
        let (reads_us, longest_ms) = ledger.times();
        rows.push(format!("  {name}: median of good reads {reads_us} us, longest wait {longest_ms} ms"));
    }
    rows.push(format!("  seen {:>7}  processes: reads; lost or refused {}", said.reads, said.others));
    rows.push(format!("  left in /dev/shm by engines that were killed: {:?}", stage.left_behind()));
    rows.join("\n") + "\n"
}

#[test]
fn over_tcp_whatever_is_killed_or_stopped_no_byte_is_wrong_and_nothing_leaks() {
    soaked("tcp");
}

#[test]
fn over_shared_memory_whatever_is_killed_or_stopped_no_byte_is_wrong_and_nothing_leaks() {
    soaked("shm");
}

/// Twin: clients whose content is of another seed find fault with the first byte that comes.
#[test]
fn a_load_that_is_told_other_content_finds_fault() {
    let shelves = shelves();
    let stage = Stage::new(Site::new("shm", &shelves));
    let rights = Rights::claimed(&shelves, &shelves.map(Shelf::of_another_seed));
    let ledger = Ledger::default();
    let socket = stage.reader.socket.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| work("socket", &socket, &rights, &ledger, 1));
        let _stop = Stop(std::slice::from_ref(&ledger));
        until("it finds fault", || !ledger.faults().is_empty());
    });
}

/// Not a test: a client in a process of its own, until it is killed.
#[test]
#[ignore = "a role, which another test starts in a process of its own"]
fn role_client() {
    let Ok(socket) = std::env::var("SOCKET") else { return };
    let seed = std::env::var("SEED").unwrap().parse().unwrap();
    load::for_ever(&std::env::var("VOICE").unwrap(), &PathBuf::from(socket), &Rights::of(&shelves()), seed);
}
