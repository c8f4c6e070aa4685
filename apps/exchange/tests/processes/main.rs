//! A volume exported by one process and read by another over UCX: all of it, by both ways.
//!
//! The exporter is this program again, as its ignored test `role_exporter`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::LocalSet;
use wavetank_contract::Instant;
use wavetank_engine::bootstrap::InstanceId;
use wavetank_engine::{BackendKind, Driver, DriverConfig, PortConfig, RdmaContext};
use wavetank_exchange::{
    Absence, Exporter, ExporterConfig, Mode, NotRead, Path, Reader, ReaderConfig, SharedKey, StoreShelf,
    Wanted,
};
use wavetank_messenger::{
    Deaf, Dispatcher, LocalMessenger, Messenger, MessengerConfig, Policy, TcpCarrier, TcpConfig,
};
use wavetank_volume::{Generator, WriterOptions};

const VOLUME: u32 = 3;
const NEEDLES: Generator = Generator { seed: 5, needles: 120, len_max: 2 << 20 };

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

fn clock() -> impl Fn() -> Instant + Clone {
    let started = tokio::time::Instant::now();
    move || Instant(started.elapsed().as_nanos() as u64)
}

fn local(future: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future);
}

fn open(device: &str, name: u64, dispatcher: impl Dispatcher) -> (LocalMessenger, TcpCarrier) {
    let context = RdmaContext::open_device(BackendKind::Ucx, device, PortConfig::default()).unwrap();
    let config = MessengerConfig { pool_bytes: 64 << 20, ..MessengerConfig::new(name, BackendKind::Ucx) };
    let driver = Driver::new(context, DriverConfig::default());
    let instance = InstanceId::random().unwrap();
    let messenger = Messenger::new(driver, BackendKind::Ucx, instance, config).unwrap();
    let messenger = LocalMessenger::new(messenger, dispatcher);
    let carrier = TcpCarrier::new(messenger.clone(), TcpConfig::default()).unwrap();
    (messenger, carrier)
}

/// Nonces of a test: they differ, and nobody guesses here.
fn nonces(side: u8) -> wavetank_exchange::Nonces {
    let mut count = 0;
    Box::new(move || {
        count += 1;
        [side ^ count; 32]
    })
}

fn key() -> Option<SharedKey> {
    Some(SharedKey::new(b"a key that both sides have").unwrap())
}

/// An exporter in a process of its own. It is killed with its test.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(device: &str, folder: &std::path::Path) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "role_exporter", "--ignored", "--nocapture"])
            .env("DEVICE", device)
            .env("FOLDER", folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("it ended before it listened").unwrap();
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.to_owned();
            }
        };
        Process { child, address }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: what an exporting process does.
#[test]
#[ignore = "a role, which other tests start in a process of its own"]
fn role_exporter() {
    let (Ok(device), Ok(folder)) = (std::env::var("DEVICE"), std::env::var("FOLDER")) else { return };
    local(async move {
        let shelf = StoreShelf::open(&[PathBuf::from(folder)]);
        let config = ExporterConfig { key: key(), ..ExporterConfig::default() };
        let exporter = Exporter::new(shelf, config, nonces(1));
        let (messenger, mut carrier) = open(&device, 2, exporter.gate(exporter.services()));
        messenger.bind(Some(Policy::StatelessServer));
        messenger.spawn(Rc::clone(&exporter).upkeep(messenger.clone()));
        let address = carrier.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        #[expect(clippy::print_stdout, reason = "a test is told where to dial")]
        {
            println!("listening on {address}");
        }
        // Until it is killed.
        carrier.run(clock(), std::future::pending::<()>()).await.unwrap();
    });
}

/// Reads all of the volume, twice, and says how long that took.
async fn read_all(reader: &Reader, mode: Mode, now: &impl Fn() -> Instant) -> String {
    let mut line = format!("{mode:?}:");
    for _ in 0..2 {
        let (from, mut bytes, mut reads) = (now(), 0, 0u64);
        for id in NEEDLES.ids() {
            let deadline = reader.messenger().now() + 10_000_000_000;
            let cookie = NEEDLES.cookie(id).0;
            let wanted = Wanted { mode, ..Wanted::whole(VOLUME, id.0, cookie, deadline) };
            match (reader.read(&wanted).await, NEEDLES.content(id)) {
                (Ok(found), Some(content)) => {
                    assert!(found.to_vec() == content, "needle {id} {mode:?}");
                    let path = if mode == Mode::Pull { Path::Pulled } else { Path::Pushed };
                    assert!(
                        mode == Mode::Auto || found.path == path,
                        "needle {id} {mode:?}: {:?}",
                        found.path
                    );
                    bytes += content.len();
                    reads += 1;
                }
                (Err(NotRead::Absent(Absence::Deleted)), None) => {}
                (Err(NotRead::NotPulled(_)), Some(content)) if content.is_empty() => {}
                (outcome, _) => panic!("needle {id} {mode:?}: {outcome:?}"),
            }
        }
        let us = (now().0 - from.0) / 1000;
        line += &format!(" {reads} needles, {bytes} bytes in {us} us, the test's own checks included;");
    }
    line
}

fn both_ways(device: &str) {
    let folder = tempfile::tempdir().unwrap();
    NEEDLES.write(WriterOptions::default()).unwrap().write_to(&folder, &VOLUME.to_string()).unwrap();
    let exporter = Process::start(device, folder.path());
    local(async {
        let (messenger, mut carrier) = open(device, 1, Deaf);
        let config = ReaderConfig { key: key(), ..ReaderConfig::new(&[&exporter.address]) };
        let reader = Reader::new(messenger.clone(), config, nonces(2), None);
        let clock = clock();
        let now = clock.clone();
        let test = async {
            for mode in [Mode::Push, Mode::Pull, Mode::Auto] {
                let line = read_all(&reader, mode, &now).await;
                #[expect(clippy::print_stdout, reason = "figures, for who wants to see them")]
                {
                    println!("{device} {line}");
                }
            }
            assert_eq!(reader.stats().connections, 1);
        };
        let over = carrier.run(clock, tokio::time::timeout(PATIENCE, test)).await.unwrap();
        assert!(over.is_ok(), "it hangs over {device}: {messenger:?}");
    });
}

#[test]
fn a_volume_is_read_whole_by_both_ways_over_tcp() {
    both_ways("tcp/lo");
}

#[test]
fn a_volume_is_read_whole_by_both_ways_over_shared_memory() {
    both_ways("shm");
}
