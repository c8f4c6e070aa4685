//! Runs that a seed draws: links lose and stall, lines are cut, the server dies, and the model holds.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::future::join_all;
use wavetank_contract::Instant;
use wavetank_contract::chance::{Choices as _, Seeded, Site};
use wavetank_messenger::{LocalMessenger, Policy, Way};
use wavetank_mock::LinkFaults;
use wavetank_rpc::{
    AppliedLimits, ChunkClient, ChunkError, ChunkFailure, ChunkKey, Effect, FileStore, FolderDisk,
    StoreLimits, Waits,
};

use crate::net::{Begin, CLIENT, Fault, MS, Net, SERVER};
use crate::rig::{Book, Ledger, client_config, memory_store, pattern, serve};

const SEEDS: u64 = 400;
const CHUNKS: u32 = 3;
const CALLS: u64 = 8;
/// Faults come before this, and then all is healed.
const FAULTS_MS: u64 = 250;

/// What happened in all runs, so that none of it is missing.
#[derive(Debug, Default)]
struct Told {
    restarts: Cell<u64>,
    repeated: Cell<u64>,
    unknown: Cell<u64>,
    answered: Cell<u64>,
    absent: Cell<u64>,
    dials: Cell<u64>,
}

fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get() + more);
}

/// What may stand in a chunk: the number of a write that filled it, or nothing.
struct Model {
    key: ChunkKey,
    len: usize,
    possible: Vec<Option<u64>>,
    /// Numbers of writes that were answered, and of those of which nothing is known.
    answered: Vec<u64>,
    unknown: Vec<u64>,
    never: Vec<u64>,
}

impl Model {
    fn changed(&mut self, to: Option<u64>, effect: Option<Effect>) {
        match effect {
            None => {
                self.possible = vec![to];
                self.answered.extend(to);
            }
            Some(Effect::Unknown) => {
                self.possible.push(to);
                self.unknown.extend(to);
            }
            Some(Effect::None) => self.never.extend(to),
        }
    }

    fn check(&self, read: Option<&[u8]>, seed: u64) {
        let fits = |one: &Option<u64>| match (one, read) {
            (None, None) => true,
            (Some(number), Some(bytes)) => pattern(*number, self.len) == bytes,
            _ => false,
        };
        let head = read.map(|bytes| u64::from_le_bytes(*bytes.first_chunk().expect("8 bytes")));
        assert!(
            self.possible.iter().any(fits),
            "seed {seed}: {} holds {head:?}, and may hold {:?}",
            self.key,
            self.possible
        );
    }
}

async fn read(
    client: &ChunkClient,
    model: &Model,
    deadline: Instant,
    seed: u64,
    told: &Told,
) -> Result<(), ChunkFailure> {
    match client.read(model.key, 0, model.len as u32, deadline).await {
        Ok(data) => model.check(Some(&data.to_vec()), seed),
        Err(failure) if failure.chunk_error() == Some(ChunkError::NotFound) => {
            add(&told.absent, 1);
            model.check(None, seed);
        }
        Err(failure) => {
            assert!(failure.chunk_error().is_none(), "seed {seed}: {failure}");
            return Err(failure);
        }
    }
    Ok(())
}

/// Calls on one chunk, one after the other.
async fn calls(client: ChunkClient, mut dice: Seeded, mut model: Model, seed: u64, told: &Told) -> Model {
    let messenger: LocalMessenger = client.messenger().clone();
    for call in 0..CALLS {
        let pause = dice.choose(Site::Swarm, 40) * MS;
        messenger.sleep_until(messenger.now() + pause).await;
        let deadline = messenger.now() + (10 + dice.choose(Site::Swarm, 150)) * MS;
        let durable = dice.choose(Site::Swarm, 2) == 1;
        match dice.choose(Site::Swarm, 8) {
            0..=3 => {
                let number = u64::from(model.key.index) * 1000 + call + 1;
                let bytes = pattern(number, model.len);
                let outcome = client.write_bytes(model.key, 0, &bytes, durable, deadline).await;
                let failed = outcome.err().inspect(|failure| {
                    assert!(failure.chunk_error().is_none(), "seed {seed}: {failure}");
                });
                model.changed(Some(number), failed.map(|failure| failure.effect));
            }
            4 => match client.remove(model.key, durable, deadline).await {
                Ok(()) => model.changed(None, None),
                Err(failure) if failure.chunk_error() == Some(ChunkError::NotFound) => {
                    model.check(None, seed);
                    // Nothing that was sent before comes any more.
                    model.changed(None, None);
                }
                Err(failure) => model.changed(None, Some(failure.effect)),
            },
            _ => drop(read(&client, &model, deadline, seed, told).await),
        }
    }
    model
}

enum Kept {
    Ledger(Rc<RefCell<Book>>),
    Memory,
    Files(tempfile::TempDir),
}

impl Kept {
    fn begin(&self) -> Begin {
        match self {
            Kept::Ledger(book) => {
                let book = Rc::clone(book);
                serve(None, move || Ledger(Rc::clone(&book)))
            }
            Kept::Memory => serve(None, memory_store),
            Kept::Files(folder) => {
                let path = folder.path().to_owned();
                serve(None, move || {
                    let disk = Rc::new(FolderDisk::open(&path, Waits::Here).expect("a folder"));
                    FileStore::open(disk, StoreLimits::default(), AppliedLimits::default()).expect("a store")
                })
            }
        }
    }
}

fn draw_fault(dice: &mut Seeded, restarts: bool) -> Fault {
    let lossy = |loss_one_in| Fault::Links(LinkFaults { loss_one_in, ..LinkFaults::default() });
    match dice.choose(Site::Swarm, if restarts { 8 } else { 6 }) {
        0 => lossy(1),
        1 => lossy(2 + dice.choose(Site::Swarm, 60)),
        2 => Fault::Links(LinkFaults { corrupt_one_in: 20, duplicate_one_in: 20, ..LinkFaults::default() }),
        3 => Fault::Pause(
            [SERVER, CLIENT][dice.choose(Site::Swarm, 2) as usize],
            dice.choose(Site::Swarm, 60) * MS,
        ),
        4 => Fault::Lines(true),
        5 => Fault::Heal,
        _ => Fault::Restart,
    }
}

fn run(seed: u64, told: &Told) {
    let mut dice = Seeded::new(seed);
    let policies = [Policy::LossyClient, Policy::LosslessClient, Policy::LosslessPeer];
    let policy = policies[dice.choose(Site::Swarm, 3) as usize];
    let kept = match dice.choose(Site::Swarm, 5) {
        0..=2 => Kept::Ledger(Rc::default()),
        3 => Kept::Memory,
        _ => Kept::Files(tempfile::tempdir().expect("a folder")),
    };
    let mut net = Net::new(seed, policy, kept.begin());
    let mut times: Vec<u64> =
        (0..dice.choose(Site::Swarm, 7)).map(|_| dice.choose(Site::Swarm, FAULTS_MS * MS)).collect();
    times.sort_unstable();
    for at in times {
        let fault = draw_fault(&mut dice, !matches!(kept, Kept::Memory));
        add(&told.restarts, u64::from(matches!(fault, Fault::Restart)));
        net.plan(Instant(at), fault);
    }
    net.plan(Instant(FAULTS_MS * MS), Fault::Heal);
    let ways = [None, None, Some(Way::Read), Some(Way::Write)];
    let way = ways[dice.choose(Site::Swarm, 4) as usize];
    let client = ChunkClient::new(net.client(), client_config(policy, way));
    let lens = [8usize, 500, 5000, 9000, 70_000];
    let tasks: Vec<_> = (0..CHUNKS)
        .map(|index| {
            let len = lens[dice.choose(Site::Swarm, lens.len() as u64) as usize];
            let key = ChunkKey { inode: 1, index };
            let possible = vec![None];
            let (answered, unknown, never) = (Vec::new(), Vec::new(), Vec::new());
            let model = Model { key, len, possible, answered, unknown, never };
            calls(client.clone(), Seeded::new(seed * 100 + u64::from(index)), model, seed, told)
        })
        .collect();
    let models = net.run(join_all(tasks));
    // Everything was healed: what may be there is there, and can be read.
    let healed = Instant(FAULTS_MS * MS).max(net.fabric.now()) + 3000 * MS;
    for model in &models {
        let back = net.run(read(&client, model, healed, seed, told));
        assert!(back.is_ok(), "seed {seed}: {client:?}: {}", back.expect_err("it is not"));
        add(&told.answered, model.answered.len() as u64);
        add(&told.unknown, model.unknown.len() as u64);
    }
    if let Kept::Ledger(book) = &kept {
        let book = book.borrow();
        let times = |number: &u64| book.applied.get(number).copied().unwrap_or(0);
        for model in &models {
            assert!(model.answered.iter().all(|n| times(n) == 1), "seed {seed}: {:?}", book.applied);
            assert!(model.unknown.iter().all(|n| times(n) <= 1), "seed {seed}: {:?}", book.applied);
            assert!(model.never.iter().all(|n| times(n) == 0), "seed {seed}: {:?}", book.applied);
        }
    }
    add(&told.repeated, client.stats().attempts_failed);
    add(&told.dials, client.stats().dials - 1);
    assert_eq!(client.stats().corrupt, 0, "seed {seed}: packets have sums of their own");
}

#[test]
fn writes_are_applied_once_and_no_read_brings_a_wrong_byte_whatever_breaks() {
    let told = Told::default();
    let only = std::env::var("RPC_SWARM_SEED").ok().and_then(|seed| seed.parse().ok());
    match only {
        Some(seed) => return run(seed, &told),
        None => (0..SEEDS).for_each(|seed| run(seed, &told)),
    }
    let each = [&told.restarts, &told.repeated, &told.unknown, &told.absent, &told.dials];
    assert!(each.iter().all(|cell| cell.get() > SEEDS / 20), "something hardly ever happens: {told:?}");
    assert!(told.answered.get() > SEEDS * 4, "{told:?}");
}
