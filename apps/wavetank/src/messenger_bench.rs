//! `wavetank bench messenger`: requests and replies of 64 bytes. Over the simulated NIC in this process, per core-second; over UCX
//! between two processes, beside `ucx_perftest` in the same run.
//!
//! A round trip is two messages: the yardstick is twice the latency of an active message, and half the rate of a stream of
//! them.

use std::error::Error;
use std::process::{Command, ExitCode};

use serde_json::{Value, json};
use wavetank_engine::{BackendKind, PortConfig, RdmaContext};
use wavetank_harness::bench::across::{Cell, Measure, Side};
use wavetank_harness::bench::{SimMessages, Talk, TalkFigures, sim_messages, talk};

use crate::beside::{Beside, shown, shown_ratio};
use crate::clock::Clock;
use crate::device::{Devices, Named, Task};
use crate::sim::CellsBar;
use crate::ucx_bench::peer::{self, PATIENCE_NS};
use crate::ucx_bench::yardstick::{self, Test, Yardstick};
use crate::{print, programs, say, table};

/// Bytes of a request, and of a reply.
const BYTES: u16 = 64;
/// Requests under way at a time.
const DEPTHS: [u32; 3] = [1, 16, 256];
/// Requests of one round.
const COUNT: u32 = 50_000;
/// Messages of a core-second over the simulated NIC, at least.
const FLOOR: f64 = 1e6;

/// What is measured, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// UCX devices, each for both sides; none for the simulated NIC alone.
    pub(crate) devices: Vec<String>,
    pub(crate) rounds: u32,
    pub(crate) ops: Option<u32>,
}

/// One line of the table.
struct Found {
    device: String,
    depth: u32,
    /// ns of a round trip, at depth 1; round trips in a second otherwise.
    beside: Beside,
    failed: Vec<String>,
}

/// One side, as a process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Talker {
    side: Side,
    cpu: usize,
    talk: Talk,
}

impl Talker {
    fn to_text(self) -> String {
        let side = if self.side == Side::Client { "client" } else { "server" };
        let Talk { bytes, depth, count, warm_up } = self.talk;
        format!("{side},{},{bytes},{depth},{count},{warm_up}", self.cpu)
    }
}

/// Reads what [`Talker::to_text`] wrote.
pub(crate) fn talker(text: &str) -> Result<Talker, String> {
    let wrong = || "wanted side,cpu,bytes,depth,count,warm-up".to_owned();
    let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
    let [side, cpu, bytes, depth, count, warm_up] = text.split(',').collect::<Vec<_>>()[..] else {
        return Err(wrong());
    };
    let side = match side {
        "client" => Side::Client,
        "server" => Side::Server,
        _ => return Err(wrong()),
    };
    let bytes = u16::try_from(number(bytes)?).map_err(|_| wrong())?;
    let talk = Talk { bytes, depth: number(depth)?, count: number(count)?, warm_up: number(warm_up)? };
    Ok(Talker { side, cpu: number(cpu)? as usize, talk })
}

/// Is one side.
pub(crate) fn be(talker: Talker, devices: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let stream = peer::settle(talker.cpu)?;
    let devices = Devices::named("--backend", BackendKind::Ucx, devices, None)?;
    if let Some(figures) = devices.give(Play { talker, stream })? {
        print(&serde_json::to_string(&figures)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Play {
    talker: Talker,
    stream: std::os::unix::net::UnixStream,
}

impl Task for Play {
    type Done = Option<TalkFigures>;

    fn on<D: Named>(self, configs: &[D::Config]) -> Result<Option<TalkFigures>, Box<dyn Error>> {
        let device = D::open_device(configs.first().ok_or("no device is named")?)?;
        let context: RdmaContext = device.into_context(PortConfig::default());
        let Talker { side, talk: told, .. } = self.talker;
        Ok(talk(context, BackendKind::Ucx, side, &told, self.stream, PATIENCE_NS)?)
    }
}

/// Measures everything.
pub(crate) fn run(plan: &Plan) -> Result<(Value, String, ExitCode), Box<dyn Error>> {
    for device in &plan.devices {
        Devices::named("--backend", BackendKind::Ucx, std::slice::from_ref(device), None)?;
        yardstick::tls(device)?;
    }
    if !plan.devices.is_empty() && !programs::is_there(yardstick::PROGRAM, "-h") {
        return Err(
            "bench messenger measures beside ucx_perftest, and it is not here; install ucx-utils".into()
        );
    }
    let clock = Clock::start();
    let now = || clock.core_ns();
    let simulated = DEPTHS.map(|depth| sim_messages(depth, &now));
    let simulated = simulated.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut all = Vec::new();
    if !plan.devices.is_empty() {
        let cpus = peer::two_cpus()?;
        programs::heed_signals()?;
        let bar = CellsBar::new((plan.devices.len() * DEPTHS.len()) as u64);
        for device in &plan.devices {
            for depth in DEPTHS {
                bar.show(all.len() as u64, &format!("{depth} requests at a time over {device}"));
                all.push(found(plan, device, depth, cpus)?);
            }
        }
        bar.done();
    }
    let lost: Vec<&String> = all.iter().flat_map(|found| &found.failed).collect();
    lost.iter().for_each(|why| say(&format!("wavetank: {why}")));
    let code = if lost.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok((to_json(plan, &simulated, &all), text(plan, &simulated, &all), code))
}

fn found(plan: &Plan, device: &str, depth: u32, cpus: [usize; 2]) -> Result<Found, Box<dyn Error>> {
    let count = plan.ops.unwrap_or(COUNT);
    let told = Talk { bytes: BYTES, depth, count, warm_up: count / 10 };
    let measure = if depth == 1 { Measure::MessageLatency } else { Measure::MessageBandwidth };
    let (bytes, window) = (u32::from(BYTES), depth as u16);
    let cell = Cell { measure, bytes, count, warm_up: count / 10, window };
    let yardstick = Yardstick { device, cpus };
    let mut found = Found { device: device.to_owned(), depth, beside: Beside::default(), failed: Vec::new() };
    for _ in 0..plan.rounds {
        if programs::interrupted() {
            return Err("interrupted: what ran was ended, and nothing is told of it".into());
        }
        let tell = |command: &mut Command, side, cpu| {
            command.args(["bench", "messenger", "--device", device]);
            command.args(["--talker", &Talker { side, cpu, talk: told }.to_text()]);
        };
        match peer::two::<TalkFigures>(tell, cpus)? {
            Ok(figures) if depth == 1 => found.beside.ours.push(figures.median_ns),
            Ok(figures) => found.beside.ours.push(figures.per_s),
            Err(why) => found.failed.push(format!("{depth} requests at a time over {device}: {why}")),
        }
        match yardstick.run(&cell, Test::Own) {
            // One way, in ns; or bytes a second, of which a round trip has twice as many.
            Ok(ns) if depth == 1 => found.beside.theirs.push(2.0 * ns),
            Ok(bytes_per_s) => found.beside.theirs.push(bytes_per_s / f64::from(bytes) / 2.0),
            Err(why) => found.failed.push(why),
        }
    }
    Ok(found)
}

/// What a ratio should be.
fn aim(found: &Found) -> &'static str {
    match (found.depth, found.device.starts_with("shm")) {
        (1, true) => "<= 1.3",
        (1, false) => "<= 1.1",
        _ => "",
    }
}

fn text(plan: &Plan, simulated: &[SimMessages], all: &[Found]) -> String {
    let rows = simulated.iter().map(|one| {
        let per_s = one.messages_per_core_s;
        vec![
            one.depth.to_string(),
            format!("{:.2} M", per_s / 1e6),
            format!("{:.2}", per_s / FLOOR),
            ">= 1.0".to_owned(),
        ]
    });
    let mut text = table::table(&["in flight, simulated NIC", "messages/core-s", "of 1 M", "aim"], rows);
    if all.is_empty() {
        return format!(
            "{text}\n\nBoth sides and the network on one core. With --device tcp,shm also over UCX, beside ucx_perftest."
        );
    }
    let rows = all.iter().map(|found| {
        let (ours, theirs) = found.beside.medians();
        let show = |figure: Option<f64>| match found.depth {
            1 => shown(figure, false),
            _ => figure.map_or("n/a".to_owned(), |per_s| format!("{:.0} k/s", per_s / 1e3)),
        };
        vec![
            found.depth.to_string(),
            found.device.clone(),
            show(ours),
            show(theirs),
            shown_ratio(found.beside.ratio()),
            aim(found).to_owned(),
        ]
    });
    let head = ["in flight, two processes", "over", "wavetank", "ucx_perftest, doubled", "ratio", "aim"];
    text = format!("{text}\n\n{}", table::table(&head, rows));
    format!(
        "{text}\n\nRequests and replies of {BYTES} bytes; medians of {} rounds in turn. One in flight: the median round trip, beside \
         twice ucp_am_lat;\nmore: round trips in a second, beside half the messages of ucp_am_bw -O N. All poll and none sleeps.",
        plan.rounds
    )
}

fn to_json(plan: &Plan, simulated: &[SimMessages], all: &[Found]) -> Value {
    let two: Vec<Value> = all
        .iter()
        .map(|found| {
            let (ours, theirs) = found.beside.medians();
            json!({
                "device": found.device,
                "in_flight": found.depth,
                "unit": if found.depth == 1 { "ns" } else { "round trips/s" },
                "ours": ours,
                "theirs": theirs,
                "ratio": found.beside.ratio(),
                "failed": found.failed,
            })
        })
        .collect();
    json!({ "bytes": BYTES, "rounds": plan.rounds, "simulated": simulated, "processes": two })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_told_in_one_word() {
        let told = Talk { bytes: 64, depth: 16, count: 1000, warm_up: 100 };
        for side in [Side::Client, Side::Server] {
            let one = Talker { side, cpu: 1, talk: told };
            assert_eq!(talker(&one.to_text()), Ok(one));
        }
        for text in ["", "client", "judge,1,64,1,1,1", "client,1,70000,1,1,1"] {
            assert!(talker(text).is_err_and(|why| why.starts_with("wanted side")), "{text}");
        }
    }
}
