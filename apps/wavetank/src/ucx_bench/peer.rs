//! One side of ours: this program starts itself twice, with a socket between the two, and each pins itself to its CPU.

use std::error::Error;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::de::DeserializeOwned;
use wavetank_engine::{BackendKind, PortConfig, RdmaContext};
use wavetank_harness::bench::across::{Bare, Cell, Engine, Figures, Measure, Side, play};

use super::Through;
use crate::device::{Devices, Named, Protocol, Task};
use crate::print;
use crate::programs::Program;

/// How long one side may take, in ns; whoever waits for it has a little longer.
pub(crate) const PATIENCE_NS: u64 = 60_000_000_000;
const PATIENCE_S: f64 = 70.0;

/// How long the server has to end once the client did.
const GRACE_S: f64 = 5.0;

/// One side of a cell, as a process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    side: Side,
    cpu: usize,
    cell: Cell,
}

impl Peer {
    fn to_text(self) -> String {
        let side = if self.side == Side::Client { "client" } else { "server" };
        let Cell { measure, bytes, count, warm_up, window } = self.cell;
        format!("{side},{},{},{bytes},{count},{warm_up},{window}", self.cpu, measure.name())
    }
}

/// Reads what [`Peer::to_text`] wrote.
pub(crate) fn peer(text: &str) -> Result<Peer, String> {
    let wrong = || "wanted side,cpu,measure,bytes,count,warm-up,window".to_owned();
    let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
    let [side, cpu, measure, bytes, count, warm_up, window] = text.split(',').collect::<Vec<_>>()[..] else {
        return Err(wrong());
    };
    let side = match side {
        "client" => Side::Client,
        "server" => Side::Server,
        _ => return Err(wrong()),
    };
    let cell = Cell {
        measure: Measure::named(measure).ok_or_else(wrong)?,
        bytes: number(bytes)?,
        count: number(count)?,
        warm_up: number(warm_up)?,
        window: window.parse().map_err(|_| wrong())?,
    };
    Ok(Peer { side, cpu: number(cpu)? as usize, cell })
}

/// The CPUs for server and client: the first two that this process may use.
pub(crate) fn two_cpus() -> Result<[usize; 2], String> {
    let set = sched_getaffinity(None).map_err(|error| format!("sched_getaffinity: {error}"))?;
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu));
    match (cpus.next(), cpus.next()) {
        (Some(server), Some(client)) => Ok([server, client]),
        _ => {
            Err("this benchmark polls in two processes at a time, and this one may use one CPU only: give it two \
                  (`taskset -c 0,1`)"
                .to_owned())
        }
    }
}

/// Runs both sides of a cell. What the client measured, or what went wrong with them.
pub(crate) fn run(
    protocol: Option<Protocol>,
    through: Through,
    device: &str,
    cell: &Cell,
    cpus: [usize; 2],
) -> Result<Result<Figures, String>, Box<dyn Error>> {
    let tell = |command: &mut Command, side, cpu| {
        command.args(["bench", "ucx", "--device", device, "--through", through.name()]);
        command.args(protocol.iter().flat_map(|protocol| ["--protocol", protocol.name()]));
        command.args(["--peer", &Peer { side, cpu, cell: *cell }.to_text()]);
    };
    two(tell, cpus)
}

/// Runs this program twice, as server and as client, with a stream between the two for their stdin. What the client says, or
/// what went wrong with them.
pub(crate) fn two<F: DeserializeOwned>(
    tell: impl Fn(&mut Command, Side, usize),
    cpus: [usize; 2],
) -> Result<Result<F, String>, Box<dyn Error>> {
    let streams = UnixStream::pair()?;
    let program = std::env::current_exe()?;
    let start = |side, cpu, stream: UnixStream| {
        let mut command = Command::new(&program);
        tell(&mut command, side, cpu);
        command.stdin(OwnedFd::from(stream)).stdout(Stdio::piped()).stderr(Stdio::piped());
        Program::start(&mut command)
    };
    let server = start(Side::Server, cpus[0], streams.0)?;
    let client = start(Side::Client, cpus[1], streams.1)?;
    let (client, server) = (client.listen(PATIENCE_S), server.listen(GRACE_S));
    let mut wrong = Vec::new();
    for (who, said) in [("server", &server), ("client", &client)] {
        match said {
            Some(said) if said.status.success() => {}
            Some(said) => wrong.push(format!("{who}: {}", said.why())),
            None => wrong.push(format!("{who}: it was not over in time")),
        }
    }
    let figures = client.and_then(|said| serde_json::from_str::<F>(&said.stdout).ok());
    Ok(match figures {
        Some(figures) if wrong.is_empty() => Ok(figures),
        None if wrong.is_empty() => Err("the client said nothing".to_owned()),
        _ => Err(wrong.join("; ")),
    })
}

/// Is one side.
pub(crate) fn be(
    peer: Peer,
    through: Through,
    devices: &[String],
    protocol: Option<Protocol>,
) -> Result<ExitCode, Box<dyn Error>> {
    let stream = settle(peer.cpu)?;
    let devices = Devices::named("--backend", BackendKind::Ucx, devices, protocol)?;
    let figures = devices.give(Play { peer, through, stream })?;
    if let Some(figures) = figures {
        print(&serde_json::to_string(&figures)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Pins this side to its CPU, and answers the stream to the other one. Before the device is opened: whatever threads it has are
/// pinned as well.
pub(crate) fn settle(cpu: usize) -> Result<UnixStream, Box<dyn Error>> {
    pin(cpu)?;
    Ok(UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?))
}

/// Pins this thread, and those that it starts from now on.
pub(crate) fn pin(cpu: usize) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set)
}

/// Opens the device and plays.
struct Play {
    peer: Peer,
    through: Through,
    stream: UnixStream,
}

impl Task for Play {
    type Done = Option<Figures>;

    fn on<D: Named>(self, configs: &[D::Config]) -> Result<Option<Figures>, Box<dyn Error>> {
        let Play { peer: Peer { side, cell, .. }, through, stream } = self;
        let device = D::open_device(configs.first().ok_or("no device is named")?)?;
        let (backend, patience_ns) = (BackendKind::Ucx, PATIENCE_NS);
        Ok(match through {
            Through::Engine => {
                let context: RdmaContext = device.into_context(PortConfig::default());
                play(Engine::open(context, &cell)?, side, &cell, backend, stream, patience_ns)?
            }
            Through::Backend => play(Bare::open(device, &cell)?, side, &cell, backend, stream, patience_ns)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_told_in_one_word() {
        let cell = Cell { measure: Measure::WriteBandwidth, bytes: 4096, count: 7, warm_up: 3, window: 32 };
        for side in [Side::Client, Side::Server] {
            let one = Peer { side, cpu: 1, cell };
            assert_eq!(peer(&one.to_text()), Ok(one));
        }
        for text in
            ["", "client", "client,1,am-lat,8,1,1,99999", "judge,1,am-lat,8,1,1,1", "client,1,am,8,1,1,1"]
        {
            assert!(peer(text).is_err_and(|why| why.starts_with("wanted side")), "{text}");
        }
    }

    #[test]
    fn server_and_client_have_a_cpu_each() {
        match two_cpus() {
            Ok([server, client]) => assert_ne!(server, client),
            Err(why) => assert!(why.contains("one CPU only"), "{why}"),
        }
    }
}
