//! Runs that a seed draws: a writer appends, overwrites, deletes and vacuums while readers read by every way, links lose and
//! stall, lines are cut, exporters die; and no reader ever sees a byte that was not there at some moment of its read.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::future::{join, join_all};
use wavetank_contract::Instant;
use wavetank_contract::chance::{Choices as _, Seeded, Site};
use wavetank_exchange::{Absence, Lie, Mode, NotRead, Path, Reader, ReaderConfig, Wanted};
use wavetank_messenger::LocalMessenger;
use wavetank_mock::LinkFaults;
use wavetank_volume::{Cookie, NeedleId, NewNeedle, Version, VolumeOnDisk, VolumeWriter, WriterOptions};

use crate::net::{Fault, MS, Net};
use crate::rig::{
    EPOCH_NS, FOLLOW_MS, crowded_exporter_config, gzip, key, nonces, pattern, reader_config, serve,
};
use crate::truth::Histories;

const SEEDS: u64 = 300;
const VOLUME: u32 = 7;
const NEEDLES: u64 = 8;
const READERS: u64 = 3;
const READS: u64 = 30;
const WRITES: u64 = 25;
/// Faults come before this, and then all is healed.
const FAULTS_MS: u64 = 300;
/// What was overwritten may be seen for so long: until the exporter has looked, and its look has taken effect.
const STALE_NS: u64 = FOLLOW_MS * MS + MS;

/// What happened in all runs, so that none of it is missing.
#[derive(Debug, Default)]
struct Told {
    pushed: Cell<u64>,
    pulled: Cell<u64>,
    absent: Cell<u64>,
    failed: Cell<u64>,
    restarts: Cell<u64>,
    vacuums: Cell<u64>,
    evicted: Cell<u64>,
    broken: Cell<u64>,
    changed: Cell<u64>,
}

fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get() + more);
}

/// The truth, and what was wrong.
#[derive(Default)]
struct Truth {
    needles: Histories<Vec<u8>>,
    wrong: Vec<String>,
    hash: u32,
}

fn cookie(id: u64) -> u32 {
    0x7000 + id as u32
}

/// What a volume server does.
async fn write(
    messenger: LocalMessenger,
    disk: Rc<RefCell<VolumeOnDisk>>,
    truth: Rc<RefCell<Truth>>,
    mut dice: Seeded,
    told: &Told,
) {
    for write in 0..WRITES {
        let pause = dice.choose(Site::Swarm, 25) * MS;
        messenger.sleep_until(messenger.now() + pause).await;
        let id = 1 + dice.choose(Site::Swarm, NEEDLES);
        let mut disk = disk.borrow_mut();
        let (needle, cookie, now) = (NeedleId(id), Cookie(cookie(id)), messenger.now());
        match dice.choose(Site::Swarm, 10) {
            0..=5 => {
                let len = [300, 3000, 5000, 20_000, 60_000][dice.choose(Site::Swarm, 5) as usize];
                let bytes = pattern(write * 1000 + id, len);
                let packed = dice.choose(Site::Swarm, 4) == 0;
                let data = if packed { gzip(&bytes) } else { bytes.clone() };
                let compressed = packed;
                let needle = NewNeedle {
                    compressed,
                    append_at_ns: EPOCH_NS + now.0,
                    ..NewNeedle::new(needle, cookie, &data)
                };
                disk.writer.put(&needle).unwrap();
                if dice.choose(Site::Swarm, 3) == 0 {
                    // Part of the record, and the rest a little later, before the index.
                    let part = dice.choose(Site::Swarm, data.len() as u64) as usize;
                    disk.flush_dat(part).unwrap();
                }
                disk.flush().unwrap();
                truth.borrow_mut().needles.set(id, now, Some(Rc::new(bytes)));
            }
            6..=7 => {
                disk.writer.delete(needle, cookie, EPOCH_NS + now.0).unwrap();
                disk.flush().unwrap();
                truth.borrow_mut().needles.set(id, now, None);
            }
            _ => {
                add(&told.vacuums, 1);
                disk.vacuum().unwrap().swap().unwrap();
            }
        }
    }
}

async fn read(
    reader: Reader,
    messenger: LocalMessenger,
    truth: Rc<RefCell<Truth>>,
    mut dice: Seeded,
    count: u64,
    told: &Told,
) -> u64 {
    let mut failed = 0;
    for _ in 0..count {
        let pause = dice.choose(Site::Swarm, 15) * MS;
        messenger.sleep_until(messenger.now() + pause).await;
        let id = 1 + dice.choose(Site::Swarm, NEEDLES).min(dice.choose(Site::Swarm, NEEDLES));
        let mode = [Mode::Auto, Mode::Auto, Mode::Auto, Mode::Push, Mode::Pull]
            [dice.choose(Site::Swarm, 5) as usize];
        let (offset, len) = match dice.choose(Site::Swarm, 3) {
            0 => (0, None),
            1 => (dice.choose(Site::Swarm, 400), Some(1 + dice.choose(Site::Swarm, 5000))),
            _ => (dice.choose(Site::Swarm, 20_000), Some(dice.choose(Site::Swarm, 300))),
        };
        let from = messenger.now();
        let deadline = from + (20 + dice.choose(Site::Swarm, 200)) * MS;
        let wanted = Wanted { mode, offset, len, ..Wanted::whole(VOLUME, id, cookie(id), deadline) };
        let outcome = reader.read(&wanted).await;
        let earliest = Instant(from.0.saturating_sub(STALE_NS));
        let mut truth = truth.borrow_mut();
        let possible = truth.needles.between(id, earliest, messenger.now());
        let shows = |whole: &Rc<Vec<u8>>| {
            let start = (offset as usize).min(whole.len());
            let end = len.map_or(whole.len(), |len| whole.len().min(start + len as usize));
            whole[start..end].to_vec()
        };
        let code = match &outcome {
            Ok(found) => {
                let bytes = found.to_vec();
                let fits = possible
                    .iter()
                    .flatten()
                    .any(|whole| shows(whole) == bytes && found.about.whole_bytes == whole.len() as u64);
                if !fits {
                    let history = truth.needles.of(id).iter();
                    let lens: Vec<_> = history.map(|(at, v)| (*at, v.as_ref().map(|v| v.len()))).collect();
                    let wrong = format!(
                        "{wanted:?} from {from} to {}: {:?} ({}) of {} bytes, {lens:?}",
                        messenger.now(),
                        found.path,
                        found.why,
                        found.about.whole_bytes
                    );
                    truth.wrong.push(wrong);
                }
                add(if found.path == Path::Pulled { &told.pulled } else { &told.pushed }, 1);
                crc32c::crc32c(&bytes) ^ found.path as u32
            }
            Err(NotRead::Absent(Absence::Missing | Absence::Deleted)) => {
                if !possible.iter().any(Option::is_none) {
                    truth.wrong.push(format!("{wanted:?} is not there, and was all the time"));
                }
                add(&told.absent, 1);
                1
            }
            Err(NotRead::Absent(Absence::OutOfRange)) => {
                let behind = |whole: &Rc<Vec<u8>>| offset as usize >= whole.len();
                if !possible.iter().flatten().any(behind) {
                    truth.wrong.push(format!("{wanted:?} is out of range, and never was"));
                }
                2
            }
            Err(NotRead::Absent(
                absence @ (Absence::Damaged | Absence::WrongCookie | Absence::Compression),
            )) => {
                truth.wrong.push(format!("{wanted:?}: {absence}"));
                3
            }
            // Not there by its deadline, for whatever reason: nobody was told anything wrong.
            Err(_) => {
                failed += 1;
                add(&told.failed, 1);
                4
            }
        };
        let line = format!("{} {id} {offset} {len:?} {code}", messenger.now());
        truth.hash = crc32c::crc32c_append(truth.hash, line.as_bytes());
    }
    failed
}

fn draw_fault(dice: &mut Seeded) -> Fault {
    let server = dice.choose(Site::Swarm, 2) as usize;
    let lossy = |loss_one_in| Fault::Links(server, LinkFaults { loss_one_in, ..LinkFaults::default() });
    match dice.choose(Site::Swarm, 8) {
        0 => lossy(1),
        1 => lossy(2 + dice.choose(Site::Swarm, 60)),
        2 => Fault::Links(
            server,
            LinkFaults { corrupt_one_in: 20, duplicate_one_in: 20, ..LinkFaults::default() },
        ),
        3 => Fault::Pause(dice.choose(Site::Swarm, 3) as usize, dice.choose(Site::Swarm, 60) * MS),
        4 => Fault::Lines(true),
        5 => Fault::Heal,
        _ => Fault::Restart(server),
    }
}

fn reading() -> ReaderConfig {
    ReaderConfig { key: Some(key(4)), grants_max: 5, attempt_ns: 40 * MS, ..reader_config(&["0", "1"]) }
}

/// What a run came to: what was wrong, and a sum of all that was seen.
fn run(seed: u64, lie: Lie, told: &Told) -> (Vec<String>, u32) {
    let mut dice = Seeded::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let version = [Version::V2, Version::V3][dice.choose(Site::Swarm, 2) as usize];
    let mut writer = VolumeWriter::new(WriterOptions { version, ..WriterOptions::default() });
    let truth = Rc::new(RefCell::new(Truth::default()));
    for id in 1..=NEEDLES {
        let bytes = pattern(id, 4000 + id as usize);
        writer.put(&NewNeedle::new(NeedleId(id), Cookie(cookie(id)), &bytes)).unwrap();
        truth.borrow_mut().needles.set(id, Instant::ZERO, Some(Rc::new(bytes)));
    }
    let disk = Rc::new(RefCell::new(VolumeOnDisk::create(writer, &folder, &VOLUME.to_string()).unwrap()));
    let ((one, seen), (two, seen_too)) =
        (serve(folder.path(), crowded_exporter_config()), serve(folder.path(), crowded_exporter_config()));
    let mut net = Net::new(seed, vec![one, two]);
    for seen in [&seen, &seen_too] {
        seen.borrow().as_ref().expect("it has begun").plant(lie);
    }
    let mut times: Vec<u64> =
        (0..dice.choose(Site::Swarm, 7)).map(|_| dice.choose(Site::Swarm, FAULTS_MS * MS)).collect();
    times.sort_unstable();
    for at in times {
        let fault = draw_fault(&mut dice);
        add(&told.restarts, u64::from(matches!(fault, Fault::Restart(_))));
        net.plan(Instant(at), fault);
    }
    net.plan(Instant(FAULTS_MS * MS), Fault::Heal);
    let messenger = net.client();
    let reader = Reader::new(messenger.clone(), reading(), nonces(seed), None);
    let each = |number: u64| Seeded::new(seed * 100 + number);
    let writing = write(messenger.clone(), disk, Rc::clone(&truth), each(0), told);
    let readings = (0..READERS).map(|number| {
        read(reader.clone(), messenger.clone(), Rc::clone(&truth), each(1 + number), READS, told)
    });
    net.run(join(writing, join_all(readings)));
    // Everything was healed: what is there can be read.
    let healed = Instant(FAULTS_MS * MS).max(net.fabric.now()) + 100 * MS;
    net.run(messenger.sleep_until(healed));
    for id in 1..=NEEDLES {
        let wanted = Wanted::whole(VOLUME, id, cookie(id), net.fabric.now() + 1000 * MS);
        let back = net.run(reader.read(&wanted));
        if let Err(error) = back
            && !matches!(error, NotRead::Absent(Absence::Missing | Absence::Deleted))
        {
            truth.borrow_mut().wrong.push(format!("after all was healed: {error}: {reader:?}"));
        }
    }
    for seen in [&seen, &seen_too] {
        let exporter = seen.borrow().clone().expect("it has begun");
        add(&told.evicted, exporter.segment_stats().evicted);
        add(&told.broken, exporter.segment_stats().broken);
        add(&told.changed, exporter.stats().changes);
    }
    let truth = truth.borrow();
    (truth.wrong.clone(), truth.hash)
}

#[test]
fn no_read_brings_a_byte_that_was_not_there_whatever_is_written_and_whatever_breaks() {
    let told = Told::default();
    let only: Option<u64> = std::env::var("EXCHANGE_SWARM_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..SEEDS, |seed| seed..seed + 1) {
        let (wrong, _) = run(seed, Lie::Nothing, &told);
        assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    }
    if only.is_none() {
        let each = [
            &told.pushed,
            &told.pulled,
            &told.absent,
            &told.failed,
            &told.restarts,
            &told.vacuums,
            &told.evicted,
            &told.broken,
            &told.changed,
        ];
        assert!(each.iter().all(|cell| cell.get() > SEEDS / 10), "something hardly ever happens: {told:?}");
    }
}

#[test]
fn one_seed_is_one_run() {
    let told = Told::default();
    for seed in [3, 44, 171] {
        let first = run(seed, Lie::Nothing, &told);
        assert_eq!(run(seed, Lie::Nothing, &told), first, "seed {seed}");
        assert_ne!(run(seed + 1000, Lie::Nothing, &told).1, first.1, "another seed");
    }
}

#[test]
fn an_exporter_that_keeps_its_seals_is_found_out_and_damage_in_a_segment_is_found_by_readers() {
    let told = Told::default();
    let found = (0..40).find(|seed| !run(*seed, Lie::KeepsSeals, &told).0.is_empty());
    assert!(found.is_some(), "it is never found");
    // What is damaged in a segment is pushed instead, and nobody sees it.
    for seed in 0..10 {
        let (wrong, _) = run(seed, Lie::FlipsBit, &told);
        assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    }
}
