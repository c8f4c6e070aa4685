//! The proof: whatever fails and comes back, a mount gets right bytes or none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use wavetank_sidecar::{FileId, Settings};
use wavetank_volume::{Generator, WriterOptions};

use crate::stand_in::engine::Wrong;
use crate::stand_in::mount::StandInMount;
use crate::stand_in::shelf::Shelf;
use crate::stand_in::volume_server::Fault;
use crate::world::World;

/// Readers at once: a mount's.
const WORKERS: u64 = 64;

/// How long everything may take on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long things fail and come back: many times, also where reads are quick.
const DISORDER: Duration = Duration::from_secs(2);

/// What the readers found.
#[derive(Debug, Default)]
struct Tally {
    right: AtomicU64,
    wrong: AtomicU64,
    refused: AtomicU64,
    unmarked: AtomicU64,
}

fn generator(volume: u32) -> Generator {
    Generator { seed: u64::from(volume), needles: 60, len_max: 60_000 }
}

async fn world(bad: impl FnOnce(&World)) -> World {
    let volumes = [3, 4].map(|volume| (volume, generator(volume).write(WriterOptions::default()).unwrap()));
    let settings = Settings { requests: Some(32), queue_ms: Some(2000), ..Settings::default() };
    let world = World::tuned(Shelf::new(volumes.into()), None, settings, |config| {
        config.breakers.pause_min = Duration::from_millis(50);
        config.breakers.pause_max = Duration::from_millis(200);
        config.reads.engine = Duration::from_millis(150);
    })
    .await;
    world.engine.max.store(20_000, Relaxed);
    bad(&world);
    world
}

/// A number of its own for every call: the order of tasks is nobody's, what each does is.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Reads every byte of every needle at least once, in ranges of random lengths, and again for at least so long.
async fn read_all(mount: StandInMount, hint: String, at_least: Duration) -> Arc<Tally> {
    let (tally, begun) = (Arc::new(Tally::default()), Instant::now());
    let mut readers = JoinSet::new();
    for worker in 0..WORKERS {
        let (tally, mount, hint) = (Arc::clone(&tally), mount.clone(), hint.clone());
        readers.spawn(async move {
            let mut state = worker + 1;
            for (round, volume) in [3, 4].into_iter().cycle().enumerate() {
                // Both volumes, and then until it is time.
                if round >= 2 && begun.elapsed() >= at_least {
                    break;
                }
                // There are more workers than needles, and who has none must not spin.
                sleep(Duration::from_millis(1)).await;
                let generator = generator(volume);
                for (number, id) in generator.ids().enumerate() {
                    if number as u64 % WORKERS != worker {
                        continue;
                    }
                    let file = FileId { volume, needle: id.0, cookie: generator.cookie(id).0 };
                    let content = generator.content(id);
                    let whole = content.as_ref().map_or(1, |content| content.len().max(1));
                    let mut at = 0;
                    while at < whole && begun.elapsed() < PATIENCE {
                        let size = 1 + draw(&mut state) as usize % 16_384;
                        match mount.read(file, at as u64, size as u64, &hint).await {
                            Ok((bytes, marked)) => {
                                let due =
                                    content.as_ref().map(|c| &c[at.min(c.len())..c.len().min(at + size)]);
                                let count = if due == Some(&bytes[..]) { &tally.right } else { &tally.wrong };
                                count.fetch_add(1, Relaxed);
                                tally.unmarked.fetch_add(u64::from(!marked), Relaxed);
                                at += size;
                            }
                            // What was deleted is refused for ever; everything else goes on.
                            Err(_) if content.is_none() => break,
                            Err(_) => {
                                tally.refused.fetch_add(1, Relaxed);
                                sleep(Duration::from_millis(20)).await;
                            }
                        }
                    }
                    assert!(begun.elapsed() < PATIENCE, "needle {file} was not read in time");
                }
            }
        });
    }
    while let Some(done) = readers.join_next().await {
        done.unwrap();
    }
    tally
}

/// Lets one thing after the other fail and come back, for as long as somebody reads.
async fn disorder(world: &mut World) {
    let mut state = 7;
    loop {
        let wrong = [
            None,
            Some(Wrong::Gone),
            Some(Wrong::PeerGone),
            Some(Wrong::NotExported),
            Some(Wrong::Torn),
            None,
            Some(Wrong::Damaged),
            Some(Wrong::Busy),
            Some(Wrong::Hangs),
            Some(Wrong::DeviceGone),
        ];
        world.engine.set(wrong[draw(&mut state) as usize % wrong.len()]);
        let fault = [
            None,
            Some(Fault::Cut),
            Some(Fault::TooLittle),
            None,
            Some(Fault::TooMuch),
            Some(Fault::Status(500)),
            Some(Fault::OtherRange),
            Some(Fault::Whole),
        ];
        world.a.set(fault[draw(&mut state) as usize % fault.len()].clone());
        match draw(&mut state) % 4 {
            0 => world.b_server.stop(),
            1 => world.b_server.restart(world.b.clone()).await,
            _ => world.b.set(fault[draw(&mut state) as usize % fault.len()].clone()),
        }
        if draw(&mut state).is_multiple_of(8) {
            world.master_server.stop();
        } else {
            world.master_server.restart(world.master.clone()).await;
        }
        sleep(Duration::from_millis(40)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_is_right_or_refused_while_everything_fails_and_comes_back() {
    let mut world = world(|_| {}).await;
    let (mount, hint) = (world.mount().await, world.b_place());
    let tally = tokio::select! {
        tally = read_all(mount, hint, DISORDER) => tally,
        () = disorder(&mut world) => unreachable!(),
    };
    let count = |count: &AtomicU64| count.load(Relaxed);
    assert_eq!(count(&tally.wrong), 0, "{tally:?}");
    assert!(
        count(&tally.right) > 200 && count(&tally.refused) > 0 && count(&tally.unmarked) > 0,
        "{tally:?}"
    );
    let stats = world.get("/stats").await.json();
    assert!(stats["total_requests"].as_u64() >= Some(count(&tally.right)), "{stats}");
    assert!(
        stats["reads"]["http"]["reads"].as_u64() > Some(0)
            && stats["reads"]["pull"]["reads"].as_u64() > Some(0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_peace_nothing_is_refused_and_all_is_marked() {
    let world = world(|_| {}).await;
    let tally = read_all(world.mount().await, world.b_place(), Duration::ZERO).await;
    let counts = [&tally.wrong, &tally.refused, &tally.unmarked].map(|count| count.load(Relaxed));
    assert_eq!(counts, [0, 0, 0], "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proof_notices_one_wrong_byte() {
    let world = world(|world| world.engine.set(Some(Wrong::Lies))).await;
    let tally = read_all(world.mount().await, world.b_place(), Duration::ZERO).await;
    assert!(tally.wrong.load(Relaxed) > 100, "{tally:?}");
    let world = world_of_rotten_servers().await;
    let tally = read_all(world.mount().await, world.b_place(), Duration::ZERO).await;
    assert!(tally.wrong.load(Relaxed) > 100, "{tally:?}");
}

async fn world_of_rotten_servers() -> World {
    world(|world| {
        world.engine.set(Some(Wrong::NotExported));
        world.a.set(Some(Fault::Rotten));
        world.b.set(Some(Fault::Rotten));
    })
    .await
}
