//! `wavetank bench device`: READs and WRITEs between real devices, beside perftest in the same run.

use std::error::Error;

use serde_json::{Value, json};
use wavetank_contract::OpKind;
use wavetank_engine::PortConfig;
use wavetank_harness::bench::DevicePair;
use wavetank_harness::world::Waiting;

use crate::beside::{Beside, median, shown, shown_ratio};
use crate::device::Devices;
use crate::perftest::Run;
use crate::{programs, table};

/// Operations before the clock counts.
const WARM_UP: u32 = 50;

/// What is measured, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) devices: Devices,
    pub(crate) against_perftest: bool,
    pub(crate) gid_index: u32,
    pub(crate) rounds: u32,
    /// Operations of a round, for latency.
    pub(crate) iterations: u32,
    /// Operations in flight, for bandwidth.
    pub(crate) window: u32,
    pub(crate) waiting: Waiting,
}

/// One thing that is measured.
#[derive(Clone, Copy, Debug)]
struct Case {
    what: &'static str,
    kind: OpKind,
    bytes: u32,
    measure: Measure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// The median of single READs, against t_typical of `ib_read_lat -e`.
    Median,
    /// The mean of single operations, against the message rate of `ib_write_bw -t 1`.
    Mean,
    /// Bytes per second, a window at a time, against BW average of `ib_read_bw -e` or `ib_write_bw`.
    Bandwidth,
}

const CASES: [Case; 10] = {
    const fn case(what: &'static str, kind: OpKind, bytes: u32, measure: Measure) -> Case {
        Case { what, kind, bytes, measure }
    }
    [
        case("READ, median", OpKind::Read, 8, Measure::Median),
        case("READ, median", OpKind::Read, 4096, Measure::Median),
        case("READ, median", OpKind::Read, 65_536, Measure::Median),
        case("WRITE, mean", OpKind::Write, 8, Measure::Mean),
        case("WRITE, mean", OpKind::Write, 4096, Measure::Mean),
        case("WRITE, mean", OpKind::Write, 65_536, Measure::Mean),
        case("READ, bandwidth", OpKind::Read, 65_536, Measure::Bandwidth),
        case("READ, bandwidth", OpKind::Read, 1 << 20, Measure::Bandwidth),
        case("WRITE, bandwidth", OpKind::Write, 65_536, Measure::Bandwidth),
        case("WRITE, bandwidth", OpKind::Write, 1 << 20, Measure::Bandwidth),
    ]
};

/// What came of a case.
#[derive(Clone, Debug)]
struct Found {
    case: Case,
    beside: Beside,
}

/// Measures every case, ours and theirs in turn.
pub(crate) fn run(plan: &Plan) -> Result<(Value, String), Box<dyn Error>> {
    if plan.against_perftest && !programs::is_there("ib_read_lat", "--version") {
        return Err("--against-perftest runs ib_read_lat, ib_read_bw and ib_write_bw, and they are not here; install \
                    perftest, or leave it out"
            .into());
    }
    let mut all = Vec::new();
    for (case, index) in CASES.into_iter().zip(0u16..) {
        let mut found = Found { case, beside: Beside::default() };
        for round in 0..plan.rounds {
            found.beside.ours.push(ours(plan, case)?);
            if plan.against_perftest {
                let port = 18_600 + index * 64 + (round % 8) as u16 * 8;
                found.beside.theirs.extend(theirs(plan, case, port));
            }
        }
        all.push(found);
    }
    Ok((to_json(plan, &all), text(plan, &all)))
}

fn window(plan: &Plan, case: Case) -> u32 {
    if case.measure == Measure::Bandwidth { plan.window } else { 1 }
}

/// perftest has no events for WRITE: where it polls, so do we.
fn waiting(plan: &Plan, case: Case) -> Waiting {
    const LONG_NS: u64 = 1_000_000_000;
    match case.kind {
        OpKind::Write => Waiting { spin_ns: plan.waiting.spin_ns.max(LONG_NS), ..plan.waiting },
        _ => plan.waiting,
    }
}

/// Fewer of those that take long.
fn count(plan: &Plan, case: Case) -> u32 {
    match case.bytes {
        0..=65_536 => plan.iterations,
        _ => (plan.iterations / 8).max(plan.window),
    }
}

fn ours(plan: &Plan, case: Case) -> Result<f64, Box<dyn Error>> {
    let mut open = plan.devices.contexts()?;
    let mut context = |node| {
        open(node, PortConfig { signal_every: 1 })
            .map_err(|why| format!("device {}: {why}", plan.devices.name(node)))
    };
    let mut pair =
        DevicePair::open([context(0)?, context(1)?], case.bytes, window(plan, case), waiting(plan, case))?;
    pair.together(case.kind, WARM_UP)?;
    let count = count(plan, case);
    let figure = match case.measure {
        Measure::Median => {
            let took = pair.latencies(case.kind, count)?;
            median(&took.iter().map(|ns| *ns as f64).collect::<Vec<_>>()).unwrap_or(0.0)
        }
        Measure::Mean => pair.together(case.kind, count)? as f64 / f64::from(count),
        Measure::Bandwidth => {
            let ns = pair.together(case.kind, count)?;
            f64::from(case.bytes) * f64::from(count) * 1e9 / ns.max(1) as f64
        }
    };
    pair.close();
    Ok(figure)
}

fn theirs(plan: &Plan, case: Case, port: u16) -> Option<f64> {
    let program = match (case.measure, case.kind) {
        (Measure::Median, _) => "ib_read_lat",
        (_, OpKind::Read) => "ib_read_bw",
        _ => "ib_write_bw",
    };
    let run = Run {
        program,
        devices: [plan.devices.name(0), plan.devices.name(1)],
        gid_index: plan.gid_index,
        port,
        bytes: case.bytes,
        iterations: count(plan, case),
        depth: (case.measure != Measure::Median).then(|| window(plan, case)),
        events: waiting(plan, case).spin_ns == 0,
    };
    let figures = run.figures()?;
    let figure = match case.measure {
        // t_min, t_max, t_typical in us.
        Measure::Median => figures.get(2)? * 1e3,
        // BW peak, BW average in MB/s of 2^20 bytes, message rate in millions.
        Measure::Mean => 1e3 / figures.get(2)?,
        Measure::Bandwidth => figures.get(1)? * f64::from(1 << 20),
    };
    (figure.is_finite() && figure > 0.0).then_some(figure)
}

fn text(plan: &Plan, all: &[Found]) -> String {
    let head = ["between devices", "bytes", "wavetank", "perftest", "ratio"];
    let rows = all.iter().map(|found| {
        let (ours, theirs) = found.beside.medians();
        let is_bandwidth = found.case.measure == Measure::Bandwidth;
        vec![
            found.case.what.to_owned(),
            found.case.bytes.to_string(),
            shown(ours, is_bandwidth),
            if plan.against_perftest { shown(theirs, is_bandwidth) } else { "-".to_owned() },
            if plan.against_perftest { shown_ratio(found.beside.ratio()) } else { "-".to_owned() },
        ]
    });
    let table = table::table(&head, rows);
    format!(
        "{table}\n\n{} to {}, {} rounds in turn, medians of rounds; {}.\nOf latency a ratio below 1 is quicker, of \
         bandwidth one above 1.",
        plan.devices.name(0),
        plan.devices.name(1),
        plan.rounds,
        if plan.waiting.spin_ns == 0 { "READs sleep until an event comes, WRITEs poll" } else { "all poll" },
    )
}

fn to_json(plan: &Plan, all: &[Found]) -> Value {
    let cases = all.iter().map(|found| {
        let (ours, theirs) = found.beside.medians();
        let unit = if found.case.measure == Measure::Bandwidth { "bytes_per_s" } else { "ns" };
        json!({
            "what": found.case.what, "kind": found.case.kind.name(), "bytes": found.case.bytes, "unit": unit,
            "wavetank": ours, "perftest": theirs, "ratio": found.beside.ratio(),
            "wavetank_rounds": found.beside.ours, "perftest_rounds": found.beside.theirs,
        })
    });
    json!({
        "simulated": false,
        "devices": [plan.devices.name(0), plan.devices.name(1)],
        "window": plan.window,
        "rounds": plan.rounds,
        "cases": cases.collect::<Vec<_>>(),
    })
}
