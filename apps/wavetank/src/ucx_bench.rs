//! `wavetank bench ucx`: SEND, READ and WRITE between two processes, beside `ucx_perftest` in the same run.
//!
//! Ours and theirs are two processes each, the server pinned to one CPU and the client to another; both poll and never sleep;
//! operations, warm-up and window are the same; rounds are taken in turn.

pub(crate) mod peer;
mod report;
pub(crate) mod yardstick;

use std::error::Error;
use std::process::ExitCode;

use serde_json::Value;
use wavetank_contract::OpKind;
use wavetank_harness::bench::across::{Cell, Figures, Measure};

use crate::beside::Beside;
use crate::device::{Devices, Protocol};
use crate::sim::CellsBar;
use crate::{programs, say};
use yardstick::{Test, Yardstick};

/// What one run of a cell should take, roughly.
const RUN_NS: f64 = 250e6;

/// Operations of the run that tells how long one takes.
const PILOT: u32 = 100;

/// Operations of a run: enough for a median, and an end.
const COUNT_MIN: u32 = 400;
const COUNT_MAX: u32 = 200_000;

/// Through what ours goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    /// Driver, port, RdmaContext.
    Engine,
    /// The backend by itself.
    Backend,
}

impl Through {
    /// As it is asked for.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Through::Engine => "engine",
            Through::Backend => "backend",
        }
    }
}

/// What is measured, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// UCX devices, each for both sides: `tcp`, `tcp/lo`, `shm`.
    pub(crate) devices: Vec<String>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) measures: Vec<Measure>,
    pub(crate) sizes: Vec<u32>,
    pub(crate) rounds: u32,
    /// Operations of a run; as many as take a quarter of a second if not given.
    pub(crate) ops: Option<u32>,
    pub(crate) window: u16,
    pub(crate) through: Through,
}

/// One line of the table.
#[derive(Clone, Debug)]
struct Found {
    device: String,
    cell: Cell,
    /// What was asked for, beside perftest.
    beside: Beside,
    /// The same beside tagged messages, where there are messages.
    tagged: Option<Beside>,
    /// ns of an operation through the engine, beside the backend by itself.
    engine: Beside,
    /// What went wrong, ours and theirs.
    failed: Vec<String>,
    theirs_failed: Vec<String>,
}

/// Measures every cell.
pub(crate) fn run(plan: &Plan) -> Result<(Value, String, ExitCode), Box<dyn Error>> {
    // What is wrong with a name is said before anything runs.
    for device in &plan.devices {
        Devices::named(
            "--backend",
            wavetank_engine::BackendKind::Ucx,
            std::slice::from_ref(device),
            plan.protocol,
        )?;
        yardstick::tls(device)?;
    }
    if !programs::is_there(yardstick::PROGRAM, "-h") {
        return Err("bench ucx measures beside ucx_perftest, and it is not here; install ucx-utils".into());
    }
    let cpus = peer::two_cpus()?;
    programs::heed_signals()?;
    let cells = plan.devices.len() * plan.measures.len() * plan.sizes.len();
    let bar = CellsBar::new(cells as u64);
    let mut all = Vec::new();
    for device in &plan.devices {
        for &measure in &plan.measures {
            for &bytes in &plan.sizes {
                bar.show(all.len() as u64, &format!("{} of {bytes} bytes over {device}", measure.name()));
                all.push(found(plan, device, measure, bytes, cpus)?);
            }
        }
    }
    bar.done();
    let lost = all.iter().flat_map(|found| &found.failed);
    lost.clone().for_each(|why| say(&format!("wavetank: {why}")));
    let code = if lost.count() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok((report::to_json(plan, cpus, &all), report::text(plan, cpus, &all), code))
}

/// All rounds of a cell.
fn found(
    plan: &Plan,
    device: &str,
    measure: Measure,
    bytes: u32,
    cpus: [usize; 2],
) -> Result<Found, Box<dyn Error>> {
    let pilot = Cell { measure, bytes, count: PILOT, warm_up: PILOT / 10, window: plan.window };
    let yardstick = Yardstick { device, cpus };
    let mut theirs_failed = Vec::new();
    let count = match (plan.ops, yardstick.pilot(&pilot)) {
        (Some(ops), _) => ops,
        (None, Ok(ns)) => enough(&pilot, ns),
        (None, Err(why)) => {
            theirs_failed.push(why);
            COUNT_MIN
        }
    };
    let cell = Cell { count, warm_up: (count / 10).clamp(PILOT, 10_000), ..pilot };
    let mut found = Found {
        device: device.to_owned(),
        cell,
        beside: Beside::default(),
        tagged: (measure.kind() == OpKind::Send).then(Beside::default),
        engine: Beside::default(),
        failed: Vec::new(),
        theirs_failed,
    };
    for _ in 0..plan.rounds {
        if programs::interrupted() {
            return Err("interrupted: what ran was ended, and nothing is told of it".into());
        }
        for through in [Through::Engine, Through::Backend] {
            if plan.through == Through::Backend && through == Through::Engine {
                continue;
            }
            match peer::run(plan, through, device, &cell, cpus)? {
                Ok(figures) => found.keep(plan, through, &figures),
                Err(why) => {
                    let what = format!("{} of {bytes} bytes over {device}", measure.name());
                    found.failed.push(format!("{what} through the {}: {why}", through.name()));
                }
            }
        }
        match yardstick.run(&cell, Test::Own) {
            Ok(figure) => found.beside.theirs.push(figure),
            Err(why) => found.theirs_failed.push(why),
        }
        if let Some(tagged) = &mut found.tagged {
            match yardstick.run(&cell, Test::Tagged) {
                Ok(figure) => tagged.theirs.push(figure),
                Err(why) => found.theirs_failed.push(why),
            }
        }
        if found.beside.ours.is_empty() && found.engine.theirs.is_empty() {
            // What failed once fails every time, and may take its time about it.
            break;
        }
    }
    Ok(found)
}

impl Found {
    fn keep(&mut self, plan: &Plan, through: Through, figures: &Figures) {
        let ns = match self.cell.measure.is_bandwidth() {
            true => f64::from(self.cell.bytes) * 1e9 / figures.bytes_per_s,
            false => figures.median_ns,
        };
        match through {
            Through::Engine => self.engine.ours.push(ns),
            Through::Backend => self.engine.theirs.push(ns),
        }
        if through == plan.through {
            let is_bandwidth = self.cell.measure.is_bandwidth();
            let figure = if is_bandwidth { figures.bytes_per_s } else { figures.median_ns };
            for beside in std::iter::once(&mut self.beside).chain(&mut self.tagged) {
                beside.ours.push(figure);
            }
        }
    }
}

/// As many operations as make a run of the time that one should take, when one takes so long, or one way of it.
fn enough(pilot: &Cell, ns: f64) -> u32 {
    let ways = if pilot.measure.is_ping_pong() { 2.0 } else { 1.0 };
    let least = COUNT_MIN.max(u32::from(pilot.window) * 4);
    ((RUN_NS / (ways * ns).max(1.0)) as u32).clamp(least, COUNT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_as_many_operations_as_it_has_time_for() {
        let pilot = |measure| Cell { measure, bytes: 1 << 20, count: 100, warm_up: 10, window: 32 };
        assert_eq!(enough(&pilot(Measure::ReadLatency), 1e5), 2500);
        assert_eq!(enough(&pilot(Measure::MessageLatency), 1e5), 1250, "there and back");
        assert_eq!(enough(&pilot(Measure::MessageBandwidth), 1e7), COUNT_MIN);
        assert_eq!(enough(&pilot(Measure::ReadLatency), 0.0), COUNT_MAX);
    }
}
