//! A mount's sidecar before real engines over UCX: what is killed is missed by nobody, and what comes back is used again.

mod chaos;
mod town;

use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::runtime::Builder;
use wavetank_volume::{Generator, Version};

use crate::library::Shelf;
use crate::stand_in::mount::StandInMount;
use crate::waiting::show;
use town::{Known, Town, ask, known, sources, until_from};

/// RDMA goes on this long after the reader's engine is back: nothing is paused because of it.
const READER_BACK: Duration = Duration::from_secs(15);

/// The same after the exporter is back: failures pause its path for 30 s, and one probe may have come too early and doubled that.
const EXPORTER_BACK: Duration = Duration::from_secs(30 + 60 + 15);

/// Without the exporter its path is paused after three reads that failed, each within its time.
const EXPORTER_MISSED: Duration = Duration::from_secs(20);

fn shelves() -> [Shelf; 3] {
    let of = |seed, needles, len_max| Generator { seed, needles, len_max };
    [
        Shelf::new(2, Version::V2, of(41, 60, 9000)),
        Shelf::new(3, Version::V3, of(42, 60, 60_000)),
        Shelf::new(4, Version::V3, of(43, 4, 3 << 20)),
    ]
}

fn on_threads(test: impl Future<Output = ()>) {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
}

/// Whether curl reads the same with the same word on where it is from; nothing where there is no curl.
fn curl(address: &str, known: &Known, place: &str) -> Option<String> {
    let url =
        format!("http://{address}/read?file_id={}&size=100000000&volume_server=http://{place}", known.file);
    let curl = Command::new("curl")
        .args(["-s", "-S", "-D", "/dev/stderr", "-o", "-", &url])
        .stdin(Stdio::null())
        .output();
    let Ok(output) = curl else {
        show("NOT RUN: there is no curl on PATH\n");
        return None;
    };
    let head = String::from_utf8_lossy(&output.stderr).to_ascii_lowercase();
    assert!(head.contains(" 200 "), "{head}");
    assert!(Some(&output.stdout) == known.content.as_ref(), "WRONG BYTES by curl of {}: {head}", known.file);
    let source = head.lines().find_map(|line| line.strip_prefix("x-source: ")).expect("it says from where");
    Some(source.trim().to_owned())
}

async fn whoever_is_killed(transport: &'static str) {
    let mut town = Town::new(transport, &shelves()).await;
    let (mut sidecar, address) = town.sidecar();
    let (all, place) = (known(&shelves(), &shelves()), town.place());
    let one = all.iter().find(|known| known.content.as_ref().is_some_and(|c| c.len() > 5000)).unwrap();
    let mount = StandInMount::start(address).await.unwrap();
    let curl_says = |source: &str| {
        if let Some(said) = curl(&address.to_string(), one, &place) {
            assert_eq!(said, source);
        }
    };
    let all_from = async |source: &str| {
        let from = sources(&mount, &all, &place).await;
        let others: Vec<&String> = from.iter().filter(|from| *from != source).collect();
        assert!(
            from.len() > 100 && others.is_empty(),
            "{} of {} not from {source}",
            others.len(),
            from.len()
        );
    };
    all_from("rdma").await;
    curl_says("rdma");
    let told = ask(&mount, one.file, &place).await.unwrap();
    assert_eq!(told.header("x-rdma-used"), "true");
    let mut lines = Vec::new();

    town.reader.process.kill();
    until_from("http", READER_BACK, &mount, one, &place).await;
    all_from("http").await;
    curl_says("http");
    town.start_reader();
    let back = until_from("rdma", READER_BACK, &mount, one, &place).await;
    all_from("rdma").await;
    lines.push(format!("RDMA again {} ms after the reader's engine", back.as_millis()));

    town.exporter.process.kill();
    let missed = until_from("http", EXPORTER_MISSED, &mount, one, &place).await;
    all_from("http").await;
    curl_says("http");
    town.start_exporter();
    let back = until_from("rdma", EXPORTER_BACK, &mount, one, &place).await;
    all_from("rdma").await;
    curl_says("rdma");
    lines.push(format!("HTTP {} ms after the exporter was killed", missed.as_millis()));
    lines.push(format!("RDMA again {} ms after the exporter", back.as_millis()));

    // Both at once, and the volume server as well: nothing is read then, and nothing is wrong.
    town.exporter.process.kill();
    town.reader.process.kill();
    town.files_server.stop();
    let got = ask(&mount, one.file, &place).await.unwrap();
    assert!(got.status != 200, "{got:?}");
    town.files_server.restart(town.files.clone()).await;
    assert_eq!(sidecar.has_ended(), None, "the sidecar lives through all of it");
    show(&format!("sidecar over {transport}: {}\n", lines.join(", ")));
}

#[test]
fn over_tcp_reads_go_on_whoever_is_killed_and_rdma_goes_on_when_it_is_back() {
    on_threads(whoever_is_killed("tcp"));
}

#[test]
fn over_shared_memory_reads_go_on_whoever_is_killed_and_rdma_goes_on_when_it_is_back() {
    on_threads(whoever_is_killed("shm"));
}

/// Twin: content of another seed under the same names is not what is read.
#[test]
#[should_panic(expected = "WRONG BYTES")]
fn other_content_is_told_from_what_is_read() {
    on_threads(async {
        let town = Town::new("shm", &shelves()).await;
        let (_sidecar, address) = town.sidecar();
        let mount = StandInMount::start(address).await.unwrap();
        let right = known(&shelves(), &shelves());
        let mut others = known(&shelves(), &shelves().map(Shelf::of_another_seed));
        // Only what neither deleted, or what is refused would be found before what is wrong.
        let both: Vec<bool> =
            right.iter().zip(&others).map(|(a, b)| a.content.is_some() && b.content.is_some()).collect();
        let mut both = both.into_iter();
        others.retain(|_| both.next().unwrap_or(false));
        sources(&mount, &others, &town.place()).await;
    });
}
