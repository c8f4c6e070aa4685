//! `wavetank bench chunks`: ReadChunk and WriteChunk, verified. Over the simulated NIC in this process, per core-second; over UCX
//! between two processes, eagerly, by rendezvous and as the messenger chooses, beside the raw backend in the same run.
//!
//! A ReadChunk's data is written into the caller's memory, a WriteChunk's is read from it: the yardsticks are as many WRITEs and
//! READs in flight of the bare backend.

use std::error::Error;
use std::process::{Command, ExitCode};

use serde_json::{Value, json};
use wavetank_engine::{BackendKind, PortConfig, RdmaContext};
use wavetank_harness::bench::across::{Cell, Figures, Measure, Side};
use wavetank_harness::bench::{ChunkCall, ChunkFigures, Chunks, SimChunks, Travel, chunks, sim_chunks};

use crate::beside::{median, shown, shown_ratio};
use crate::clock::Clock;
use crate::device::{Devices, Named, Task};
use crate::sim::CellsBar;
use crate::ucx_bench::peer::{self, PATIENCE_NS};
use crate::{print, programs, say, table};

/// Bytes of calls, if not asked otherwise.
pub(crate) const SIZES: [u32; 8] =
    [4 << 10, 8 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20];
/// Sizes over the simulated NIC.
const SIM_SIZES: [u32; 3] = [4 << 10, 64 << 10, 1 << 20];
/// Bytes of one run, roughly, and of what is under way at a time.
const RUN_BYTES: u32 = 512 << 20;
const DEPTH_BYTES: u32 = 64 << 20;
const DEPTH_MAX: u32 = 8;
const COUNT_MAX: u32 = 20_000;
/// Auto may be so much worse than the better way.
const SLACK: f64 = 0.95;

/// What is measured, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// UCX devices, each for both sides; none for the simulated NIC alone.
    pub(crate) devices: Vec<String>,
    pub(crate) sizes: Vec<u32>,
    pub(crate) rounds: u32,
    pub(crate) ops: Option<u32>,
    /// Bytes of a receive buffer, to find out what they should be.
    pub(crate) frame_bytes: u32,
}

/// One line of the table.
struct Found {
    device: String,
    call: ChunkCall,
    bytes: u32,
    depth: u32,
    /// Bytes per second by [`Travel::ALL`], round by round.
    by: [Vec<f64>; 3],
    median_ns: Vec<f64>,
    raw: Vec<f64>,
    failed: Vec<String>,
}

impl Found {
    fn of(&self, travel: Travel) -> Option<f64> {
        median(&self.by[travel as usize])
    }

    /// Auto by the better of the two others.
    fn choice(&self) -> Option<f64> {
        let better = [self.of(Travel::Eager), self.of(Travel::Rendezvous)];
        Some(self.of(Travel::Auto)? / better.into_iter().flatten().reduce(f64::max)?)
    }

    fn of_raw(&self) -> Option<f64> {
        Some(self.of(Travel::Auto)? / median(&self.raw)?)
    }
}

/// One side, as a process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    side: Side,
    cpu: usize,
    chunks: Chunks,
}

impl Caller {
    fn to_text(self) -> String {
        let side = if self.side == Side::Client { "client" } else { "server" };
        let Chunks { call, travel, bytes, depth, count, frame_bytes } = self.chunks;
        let (call, travel) = (call.name(), travel.name());
        format!("{side},{},{call},{travel},{bytes},{depth},{count},{frame_bytes}", self.cpu)
    }
}

/// Reads what [`Caller::to_text`] wrote.
pub(crate) fn caller(text: &str) -> Result<Caller, String> {
    let wrong = || "wanted side,cpu,call,travel,bytes,depth,count,frame-bytes".to_owned();
    let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
    let [side, cpu, call, travel, bytes, depth, count, frame] = text.split(',').collect::<Vec<_>>()[..]
    else {
        return Err(wrong());
    };
    let side = match side {
        "client" => Side::Client,
        "server" => Side::Server,
        _ => return Err(wrong()),
    };
    let call = match call {
        "read" => ChunkCall::Read,
        "write" => ChunkCall::Write,
        _ => return Err(wrong()),
    };
    let chunks = Chunks {
        call,
        travel: Travel::ALL.into_iter().find(|one| one.name() == travel).ok_or_else(wrong)?,
        bytes: number(bytes)?,
        depth: number(depth)?,
        count: number(count)?,
        frame_bytes: number(frame)?,
    };
    Ok(Caller { side, cpu: number(cpu)? as usize, chunks })
}

/// Is one side.
pub(crate) fn be(caller: Caller, devices: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let stream = peer::settle(caller.cpu)?;
    let devices = Devices::named("--backend", BackendKind::Ucx, devices, None)?;
    if let Some(figures) = devices.give(Play { caller, stream })? {
        print(&serde_json::to_string(&figures)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Play {
    caller: Caller,
    stream: std::os::unix::net::UnixStream,
}

impl Task for Play {
    type Done = Option<ChunkFigures>;

    fn on<D: Named>(self, configs: &[D::Config]) -> Result<Option<ChunkFigures>, Box<dyn Error>> {
        let device = D::open_device(configs.first().ok_or("no device is named")?)?;
        let context: RdmaContext = device.into_context(PortConfig::default());
        let Caller { side, chunks: told, .. } = self.caller;
        Ok(chunks(context, BackendKind::Ucx, side, &told, self.stream, PATIENCE_NS)?)
    }
}

/// Measures everything.
pub(crate) fn run(plan: &Plan) -> Result<(Value, String, ExitCode), Box<dyn Error>> {
    for device in &plan.devices {
        Devices::named("--backend", BackendKind::Ucx, std::slice::from_ref(device), None)?;
    }
    let clock = Clock::start();
    let now = || clock.core_ns();
    let simulated = [ChunkCall::Read, ChunkCall::Write]
        .into_iter()
        .flat_map(|call| SIM_SIZES.map(|bytes| sim_chunks(call, bytes, &now)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut all = Vec::new();
    if !plan.devices.is_empty() {
        let cpus = peer::two_cpus()?;
        programs::heed_signals()?;
        let bar = CellsBar::new((plan.devices.len() * 2 * plan.sizes.len()) as u64);
        for device in &plan.devices {
            for call in [ChunkCall::Read, ChunkCall::Write] {
                for &bytes in &plan.sizes {
                    bar.show(all.len() as u64, &format!("{} of {bytes} bytes over {device}", call.name()));
                    all.push(found(plan, device, call, bytes, cpus)?);
                }
            }
        }
        bar.done();
    }
    let lost: Vec<&String> = all.iter().flat_map(|found| &found.failed).collect();
    lost.iter().for_each(|why| say(&format!("wavetank: {why}")));
    let code = if lost.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok((to_json(plan, &simulated, &all), text(plan, &simulated, &all), code))
}

fn found(
    plan: &Plan,
    device: &str,
    call: ChunkCall,
    bytes: u32,
    cpus: [usize; 2],
) -> Result<Found, Box<dyn Error>> {
    let depth = (DEPTH_BYTES / bytes).clamp(1, DEPTH_MAX);
    let count = plan.ops.unwrap_or((RUN_BYTES / bytes).clamp(depth * 4, COUNT_MAX));
    let mut found = Found {
        device: device.to_owned(),
        call,
        bytes,
        depth,
        by: Default::default(),
        median_ns: Vec::new(),
        raw: Vec::new(),
        failed: Vec::new(),
    };
    let measure = match call {
        ChunkCall::Read => Measure::WriteBandwidth,
        ChunkCall::Write => Measure::ReadBandwidth,
    };
    let cell = Cell { measure, bytes, count, warm_up: (count / 10).max(1), window: depth as u16 };
    for _ in 0..plan.rounds {
        if programs::interrupted() {
            return Err("interrupted: what ran was ended, and nothing is told of it".into());
        }
        for travel in Travel::ALL {
            let told = Chunks { call, travel, bytes, depth, count, frame_bytes: plan.frame_bytes };
            if !told.fits(BackendKind::Ucx) {
                continue;
            }
            let tell = |command: &mut Command, side, cpu| {
                command.args(["bench", "chunks", "--device", device]);
                command.args(["--caller", &Caller { side, cpu, chunks: told }.to_text()]);
            };
            match peer::two::<ChunkFigures>(tell, cpus)? {
                Ok(figures) => {
                    found.by[travel as usize].push(figures.bytes_per_s);
                    if travel == Travel::Auto {
                        found.median_ns.push(figures.median_ns);
                    }
                }
                Err(why) => {
                    let what = format!("{} of {bytes} bytes over {device}, {}", call.name(), travel.name());
                    found.failed.push(format!("{what}: {why}"));
                }
            }
        }
        match raw(device, &cell, cpus)? {
            Ok(figures) => found.raw.push(figures.bytes_per_s),
            Err(why) => found.failed.push(why),
        }
    }
    Ok(found)
}

/// The bare backend.
fn raw(device: &str, cell: &Cell, cpus: [usize; 2]) -> Result<Result<Figures, String>, Box<dyn Error>> {
    peer::run(None, crate::ucx_bench::Through::Backend, device, cell, cpus)
}

/// What auto should be of the raw backend's bandwidth.
fn aim(found: &Found) -> &'static str {
    match (found.bytes, found.device.starts_with("shm")) {
        (1_048_576, true) => ">= 0.5",
        (1_048_576, false) => ">= 0.9",
        _ => "",
    }
}

fn text(plan: &Plan, simulated: &[SimChunks], all: &[Found]) -> String {
    let rows = simulated.iter().map(|one| {
        let call = one.call.name().to_owned();
        vec![call, one.bytes.to_string(), shown(Some(one.bytes_per_core_s), true)]
    });
    let text = table::table(&["chunks, simulated NIC", "bytes", "of a core-second"], rows);
    if all.is_empty() {
        return format!(
            "{text}\n\nBoth sides and the network on one core, every byte summed by the store and by the client. With --device \
             tcp,shm also over UCX, beside the bare backend."
        );
    }
    let rows = all.iter().map(|found| {
        let mut row = vec![
            found.call.name().to_owned(),
            found.device.clone(),
            found.bytes.to_string(),
            found.depth.to_string(),
        ];
        row.extend(Travel::ALL.map(|travel| shown(found.of(travel), true)));
        row.extend([
            shown(median(&found.median_ns), false),
            shown_ratio(found.choice()),
            shown(median(&found.raw), true),
            shown_ratio(found.of_raw()),
            aim(found).to_owned(),
        ]);
        row
    });
    let head = [
        "chunks, two processes",
        "over",
        "bytes",
        "in flight",
        "eager",
        "rendezvous",
        "auto",
        "auto, median",
        "auto/better",
        "bare backend",
        "auto/bare",
        "aim",
    ];
    format!(
        "{text}\n\n{}\n\nMedians of {} rounds in turn; all poll and none sleeps. Every byte is summed by writer, store and reader.\nBeside: \
         READs and WRITEs of the bare backend, as many in flight, of memory that stays in the caches. auto/better is to be at \
         least {SLACK}.",
        table::table(&head, rows),
        plan.rounds
    )
}

fn to_json(plan: &Plan, simulated: &[SimChunks], all: &[Found]) -> Value {
    let two: Vec<Value> = all
        .iter()
        .map(|found| {
            json!({
                "device": found.device,
                "call": found.call,
                "bytes": found.bytes,
                "in_flight": found.depth,
                "eager_bytes_per_s": found.of(Travel::Eager),
                "rendezvous_bytes_per_s": found.of(Travel::Rendezvous),
                "auto_bytes_per_s": found.of(Travel::Auto),
                "auto_median_ns": median(&found.median_ns),
                "auto_by_better": found.choice(),
                "bare_bytes_per_s": median(&found.raw),
                "auto_by_bare": found.of_raw(),
                "failed": found.failed,
            })
        })
        .collect();
    json!({ "rounds": plan.rounds, "simulated": simulated, "processes": two })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_told_in_one_word() {
        for (call, travel) in [(ChunkCall::Read, Travel::Eager), (ChunkCall::Write, Travel::Auto)] {
            let chunks = Chunks { call, travel, bytes: 4096, depth: 8, count: 100, frame_bytes: 0 };
            for side in [Side::Client, Side::Server] {
                let one = Caller { side, cpu: 1, chunks };
                assert_eq!(caller(&one.to_text()), Ok(one));
            }
        }
        for text in ["", "client", "client,1,read,fast,1,1,1,0", "judge,1,read,auto,1,1,1,0"] {
            assert!(caller(text).is_err_and(|why| why.starts_with("wanted side")), "{text}");
        }
    }
}
