//! A mount's 64 readers while engines and the volume server are killed and come back, as a seed says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use wavetank_sidecar::{EngineReads, Settings, SidecarConfig, begin, socket};

use super::town::{Known, Town, ask, known};
use super::{on_threads, shelves};
use crate::dice::Dice;
use crate::library::Shelf;
use crate::stand_in::mount::StandInMount;
use crate::waiting::show;

/// Readers at once: a mount's.
const WORKERS: u64 = 64;

/// How long things are killed, if `WAVETANK_SOAK_SECONDS` does not say.
const SECONDS: u64 = 10;

/// Everything is as before this long after everything is back.
const BACK: Duration = Duration::from_secs(30);

/// What the readers saw.
#[derive(Debug, Default)]
struct Seen {
    stop: AtomicBool,
    marked: AtomicU64,
    unmarked: AtomicU64,
    bytes: AtomicU64,
    refused: std::sync::Mutex<BTreeMap<String, u64>>,
    wrong: std::sync::Mutex<Vec<String>>,
}

impl Seen {
    fn wrong(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }

    fn judge(&self, what: &str, got: Result<(Vec<u8>, bool), String>, right: Option<&[u8]>) {
        match (got, right) {
            (Ok((bytes, marked)), Some(right)) if bytes == right => {
                if marked { &self.marked } else { &self.unmarked }.fetch_add(1, Relaxed);
                self.bytes.fetch_add(bytes.len() as u64, Relaxed);
            }
            (Ok((bytes, marked)), right) => {
                let due = right.map(<[u8]>::len);
                let why =
                    format!("WRONG BYTES of {what}: {} and {due:?} are due, marked: {marked}", bytes.len());
                self.wrong.lock().unwrap().push(why);
            }
            // A file that is there is not found: a program would take it for lost.
            (Err(why), Some(_)) if why.starts_with("404") => {
                self.wrong.lock().unwrap().push(format!("{what} is there: {why}"));
            }
            (Err(why), _) => {
                let status = why.split(' ').next().unwrap_or_default().to_owned();
                *self.refused.lock().unwrap().entry(status).or_default() += 1;
            }
        }
    }
}

/// Reads ranges of this and that until it is told to stop.
async fn read(mount: StandInMount, all: Arc<Vec<Known>>, place: String, seen: Arc<Seen>, seed: u64) {
    let mut dice = Dice::new(seed);
    while !seen.stop.load(Relaxed) {
        let Known { file, content } = dice.one(&all);
        let whole = content.as_ref().map_or(0, |content| content.len() as u64);
        let offset = dice.below(whole.max(1));
        let size = dice.within(1, 65_536);
        let end = whole.min(offset + size);
        let due = content.as_ref().map(|content| &content[offset as usize..end as usize]);
        let got = mount.read(*file, offset, size, &place).await;
        if got.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
        seen.judge(&format!("{file} from {offset}, {size}"), got, due);
    }
}

/// Kills one of them and lets it come back after a rest. Answers whom.
async fn act(town: &mut Town, dice: &mut Dice) -> &'static str {
    let rest = Duration::from_millis(dice.within(20, 400));
    match dice.below(4) {
        0 => {
            town.exporter.process.kill();
            sleep(rest).await;
            town.start_exporter();
            "exporter"
        }
        1 => {
            town.reader.process.kill();
            sleep(rest).await;
            town.start_reader();
            "reader"
        }
        2 => {
            town.files_server.stop();
            sleep(rest).await;
            town.files_server.restart(town.files.clone()).await;
            "volume server"
        }
        _ => {
            town.exporter.process.kill();
            town.reader.process.kill();
            town.files_server.stop();
            sleep(rest).await;
            town.files_server.restart(town.files.clone()).await;
            town.start_exporter();
            town.start_reader();
            "all of them"
        }
    }
}

async fn chaos(transport: &'static str) {
    let number = |name, usual| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let time = Duration::from_secs(number("WAVETANK_SOAK_SECONDS", 2 * SECONDS) / 2);
    let seed = number("WAVETANK_SOAK_SEED", 7);
    let mut town = Town::new(transport, &shelves()).await;
    let settings = Settings {
        port: Some(0),
        master: Some(vec![town.master_server.address.to_string()]),
        rdma_socket: Some(town.reader.socket.clone()),
        engine_timeout_ms: Some(700),
        ..Settings::default()
    };
    // In this process, for pauses that are short beside the test. All else is as `wavetank sidecar` has it.
    let mut config = SidecarConfig::new(&settings).unwrap();
    config.breakers.pause_min = Duration::from_millis(200);
    config.breakers.pause_max = Duration::from_millis(800);
    let engine = Arc::new(socket::engine(config.engine.as_ref().unwrap())) as Arc<dyn EngineReads>;
    let running = begin(config, Some(engine)).await.unwrap();
    let mount = running.address();
    let serving = tokio::spawn(running.serve(std::future::pending()));
    let mount = StandInMount::start(mount).await.unwrap();
    let (all, place) = (Arc::new(known(&shelves(), &shelves())), town.place());
    let (seen, mut readers) = (Arc::new(Seen::default()), JoinSet::new());
    for worker in 0..WORKERS {
        let (mount, all, place) = (mount.clone(), Arc::clone(&all), place.clone());
        readers.spawn(read(mount, all, place, Arc::clone(&seen), seed ^ (worker << 32)));
    }
    let (begun, mut dice, mut acts) = (Instant::now(), Dice::new(seed), BTreeMap::<_, u64>::new());
    while begun.elapsed() < time {
        sleep(Duration::from_millis(dice.within(100, 900))).await;
        *acts.entry(act(&mut town, &mut dice).await).or_default() += 1;
    }
    let one = all.iter().find(|known| known.content.as_ref().is_some_and(|c| c.len() > 5000)).unwrap();
    let begun = Instant::now();
    while !ask(&mount, one.file, &place).await.is_ok_and(|got| got.header("x-source") == "rdma") {
        assert!(begun.elapsed() < BACK, "no RDMA {BACK:?} after all is back: {seen:?}");
        sleep(Duration::from_millis(50)).await;
    }
    seen.stop.store(true, Relaxed);
    while let Some(done) = readers.join_next().await {
        done.unwrap();
    }
    serving.abort();
    let refused = seen.refused.lock().unwrap().clone();
    let count = |count: &AtomicU64| count.load(Relaxed);
    show(&format!(
        "sidecar over {transport}, seed {seed}: killed {acts:?}; right: {} by RDMA, {} by HTTP, {} MiB; not 200: {refused:?}\n",
        count(&seen.marked),
        count(&seen.unmarked),
        count(&seen.bytes) >> 20,
    ));
    assert_eq!(seen.wrong(), Vec::<String>::new(), "seed {seed}");
    assert!(count(&seen.marked) > 200 && count(&seen.unmarked) > 20, "{seen:?}");
    let no_status: Vec<_> = refused.keys().filter(|status| status.parse::<u16>().is_err()).collect();
    assert!(no_status.is_empty(), "failures are answers: {refused:?}");
}

#[test]
fn over_tcp_no_byte_is_wrong_while_everything_is_killed_and_comes_back() {
    on_threads(chaos("tcp"));
}

#[test]
fn over_shared_memory_no_byte_is_wrong_while_everything_is_killed_and_comes_back() {
    on_threads(chaos("shm"));
}

/// Twin: readers who are told other content find fault with what comes, by RDMA and by HTTP.
#[test]
fn readers_who_are_told_other_content_find_fault() {
    on_threads(async {
        let mut town = Town::new("shm", &shelves()).await;
        let (_sidecar, address) = town.sidecar();
        let all = Arc::new(known(&shelves(), &shelves().map(Shelf::of_another_seed)));
        for way in ["marked: true", "marked: false"] {
            let (seen, mount) = (Arc::new(Seen::default()), StandInMount::start(address).await.unwrap());
            let reader = tokio::spawn(read(mount, Arc::clone(&all), town.place(), Arc::clone(&seen), 1));
            let begun = Instant::now();
            while !seen.wrong().iter().any(|why| why.contains(way)) {
                assert!(begun.elapsed() < BACK, "{way}: {seen:?}");
                sleep(Duration::from_millis(20)).await;
            }
            seen.stop.store(true, Relaxed);
            reader.await.unwrap();
            town.reader.process.kill();
        }
    });
}
