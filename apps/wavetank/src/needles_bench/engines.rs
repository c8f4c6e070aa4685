//! The processes that serve: an exporter and two readers, or one on simulated NICs for each way, and an HTTP server.

use std::error::Error;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use wavetank_client::blocking::Client;
use wavetank_client::{Options, ReadPath};
use wavetank_daemon::bench::Way;

use super::http;
use super::measured::{Asked, Figures, Load, measure};
use crate::bench_volume::VOLUME;
use crate::clock::Clock;
use crate::programs::{Program, pause};
use crate::ucx_bench::peer;

/// How long a process may take until it serves.
const START_S: f64 = 20.0;
/// Submissions of a ring.
const RING_ENTRIES: u32 = 256;

/// Who runs where.
#[derive(Clone, Debug)]
pub(super) struct Places {
    all: CpuSet,
    pair: [usize; 2],
    client: usize,
}

impl Places {
    /// One CPU for whoever has the file, one for the reader, and a third for the client. Where there are only two, they stand for
    /// two hosts, and the client is beside the reader.
    pub(super) fn found() -> Result<Places, Box<dyn Error>> {
        let pair = peer::two_cpus()?;
        let all = sched_getaffinity(None)?;
        let third = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu) && !pair.contains(cpu));
        Ok(Places { all, pair, client: third.unwrap_or(pair[1]) })
    }

    /// Of the exporter and the reader.
    pub(super) fn pair(&self) -> [usize; 2] {
        self.pair
    }

    /// Whether the client has a CPU for itself.
    pub(super) fn client_has_its_own(&self) -> bool {
        !self.pair.contains(&self.client)
    }

    /// Does something as the client.
    pub(super) fn as_client<T>(&self, call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        sched_setaffinity(None, &one(self.client)).map_err(|why| format!("sched_setaffinity: {why}"))?;
        let done = call();
        sched_setaffinity(None, &self.all).map_err(|why| format!("sched_setaffinity: {why}"))?;
        done
    }

    /// Starts a program on a CPU: it inherits where this thread may run.
    fn start(&self, cpu: usize, command: &mut Command) -> Result<Program, Box<dyn Error>> {
        sched_setaffinity(None, &one(cpu))?;
        let program = Program::start(command);
        sched_setaffinity(None, &self.all)?;
        Ok(program?)
    }
}

fn one(cpu: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(cpu);
    set
}

/// All that serve.
pub(super) struct Engines {
    exporter: Option<Program>,
    readers: [(ReadPath, Program, PathBuf); 2],
    server: (Program, SocketAddr),
    log: PathBuf,
    /// Whether a client polls its ring before it sleeps. Beside its engine it would only keep that from answering.
    client_spins: bool,
}

impl Engines {
    /// Starts them, and waits until they serve.
    pub(super) fn start(
        device: Option<&str>,
        folder: &Path,
        places: &Places,
    ) -> Result<Engines, Box<dyn Error>> {
        let log = folder.join("engines.log");
        let [at_file, at_client] = places.pair;
        let mut exporter = None;
        let mut address = None;
        if let Some(device) = device {
            let port = free_port()?;
            let mut command = engine(folder, "exporter", &log)?;
            command.args(["--backend", "ucx", "--device", device, "--port", &port.to_string()]);
            command.arg("--export").arg(folder);
            exporter = Some(places.start(at_file, &mut command)?);
            address = Some(format!("127.0.0.1:{port}"));
        }
        let reader = |path: ReadPath, way: &'static str| -> Result<_, Box<dyn Error>> {
            let mut command = engine(folder, way, &log)?;
            command.args(["--way", way]);
            match (device, &address) {
                (Some(device), Some(address)) => {
                    command.args(["--backend", "ucx", "--device", device, "--peer", address]);
                    command.args(["--port", &free_port()?.to_string()]);
                }
                _ => {
                    command.args(["--backend", "mock", "--export"]).arg(folder);
                }
            }
            Ok((path, places.start(at_client, &mut command)?, folder.join(format!("{way}.sock"))))
        };
        let readers = [reader(ReadPath::Pull, "pull")?, reader(ReadPath::Push, "push")?];
        let server = server(folder, places, at_file)?;
        let engines = Engines { exporter, readers, server, log, client_spins: places.client_has_its_own() };
        for (path, _, socket) in &engines.readers {
            let clock = Clock::start();
            while let Err(why) = engines.connect(socket, Way::Socket) {
                if clock.wall_s() > START_S {
                    return Err(engines.with_last_words(format!("the reader by {path:?}: {why}")).into());
                }
                pause(10_000_000);
            }
        }
        Ok(engines)
    }

    /// Reads through an engine.
    pub(super) fn measure(&self, path: ReadPath, way: Way, load: &Load<'_>) -> Result<Figures, String> {
        let reader = self.readers.iter().find(|(of, _, _)| *of == path);
        let (_, reader, socket) = reader.ok_or("there is no such engine")?;
        let client = self.connect(socket, way)?;
        let serving: Vec<&Program> = self.exporter.iter().chain([reader]).collect();
        spent(&serving, load, || measure(&mut Asked { client, path }, load))
    }

    fn connect(&self, socket: &Path, way: Way) -> Result<Client, String> {
        let ring = (way == Way::Ring).then_some(RING_ENTRIES);
        let mut options = Options { name: "bench".to_owned(), ring, ..Options::default() };
        if !self.client_spins {
            options.spin = Duration::ZERO;
        }
        Client::connect(socket, &options).map_err(|why| why.to_string())
    }

    /// Reads over HTTP.
    pub(super) fn measure_http(&self, load: &Load<'_>) -> Result<Figures, String> {
        let (server, address) = &self.server;
        let mut client = http::Client::connect(*address, load).map_err(|why| why.to_string())?;
        spent(&[server], load, || measure(&mut client, load))
    }

    /// Why it failed, and the last that an engine said.
    pub(super) fn with_last_words(&self, why: String) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        match log.lines().rev().find(|line| !line.trim().is_empty()) {
            Some(line) => format!("{why}; an engine's last words: {line}"),
            None => why,
        }
    }
}

/// Measures, with what these processes spent on a read.
fn spent(
    serving: &[&Program],
    load: &Load<'_>,
    measure: impl FnOnce() -> Result<Figures, String>,
) -> Result<Figures, String> {
    let now = || serving.iter().map(|program| program.core_ns()).sum::<u64>();
    let before = now();
    let figures = measure()?;
    // Each needle was read twice before.
    let reads = load.count as usize + 2 * load.needles.len();
    Ok(Figures { servers_ns: now().saturating_sub(before) as f64 / reads as f64, ..figures })
}

/// A port that nobody had a moment ago.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn engine(folder: &Path, name: &str, log: &Path) -> Result<Command, Box<dyn Error>> {
    let log = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["engine", "--metrics", "off", "--ipc-socket"]).arg(folder.join(format!("{name}.sock")));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Ok(command)
}

/// The HTTP server says where it is.
fn server(folder: &Path, places: &Places, cpu: usize) -> Result<(Program, SocketAddr), Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "needles", "--serve-file"]).arg(folder.join(format!("{VOLUME}.dat")));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut program = places.start(cpu, &mut command)?;
    let address = program.first_line().and_then(|line| line.parse().ok());
    Ok((program, address.ok_or("the HTTP server did not say where it is")?))
}
