//! `wavetank bench needles`: needles of one engine read through another, from request to lent bytes, beside a bare READ of as many
//! bytes and beside the same file served over HTTP.
//!
//! Exporter, reader and HTTP server are processes of this program, the exporter and the server pinned to one CPU and the reader to
//! another; the client is this process, on a third, or beside the reader where there are two. They take their turns in rounds, and every byte is compared outside the clock.

mod engines;
pub(crate) mod http;
mod measured;
mod report;

use std::error::Error;
use std::process::ExitCode;

use serde_json::Value;
use wavetank_client::ReadPath;
use wavetank_daemon::bench::Way;
use wavetank_engine::BackendKind;
use wavetank_harness::bench::across::{Cell as BareCell, Measure};

use crate::bench_volume::{self, Known};
use crate::beside::median;
use crate::device::Devices;
use crate::scratch::Scratch;
use crate::sim::CellsBar;
use crate::ucx_bench::{Through, peer};
use crate::{programs, say};
use engines::{Engines, Places};
use measured::{Figures, Load};

/// Bytes that one round reads of a size, roughly.
const ROUND_BYTES: u32 = 256 << 20;
const COUNT_MAX: u32 = 10_000;
/// What is measured, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// UCX devices, each for both engines. None: both ends on simulated NICs in one process.
    pub(crate) devices: Vec<String>,
    pub(crate) sizes: Vec<u32>,
    pub(crate) rounds: u32,
    /// Reads of a round.
    pub(crate) ops: Option<u32>,
    /// Reads in flight, beside one at a time.
    pub(crate) window: u16,
}

/// Rounds of one way to read.
#[derive(Clone, Debug, Default)]
struct Rounds(Vec<Figures>);

impl Rounds {
    fn median_of(&self, figure: impl Fn(&Figures) -> f64) -> Option<f64> {
        median(&self.0.iter().map(figure).collect::<Vec<_>>())
    }
}

/// Everything of one size and as many in flight.
struct Found {
    device: String,
    bytes: u32,
    window: u16,
    count: u32,
    /// By engine, in the order of [`WAYS`].
    ours: [Rounds; 4],
    /// Of the bare backend, ns or bytes per second.
    bare: Vec<f64>,
    http: Rounds,
    failed: Vec<String>,
}

/// How needles are read: from which reader, and how it is asked.
const WAYS: [(ReadPath, Way); 4] = [
    (ReadPath::Pull, Way::Ring),
    (ReadPath::Pull, Way::Socket),
    (ReadPath::Push, Way::Ring),
    (ReadPath::Push, Way::Socket),
];

/// Measures everything.
pub(crate) fn run(plan: &Plan) -> Result<(Value, String, ExitCode), Box<dyn Error>> {
    for device in &plan.devices {
        Devices::named("--backend", BackendKind::Ucx, std::slice::from_ref(device), None)?;
    }
    let places = Places::found()?;
    programs::heed_signals()?;
    let scratch = Scratch::new("bench-needles")?;
    let needles = bench_volume::write(&plan.sizes, scratch.path())?;
    let mut all = Vec::new();
    let cells = plan.sizes.len() * 2;
    let devices: Vec<Option<&str>> = match &plan.devices[..] {
        [] => vec![None],
        devices => devices.iter().map(|device| Some(device.as_str())).collect(),
    };
    let bar = CellsBar::new((devices.len() * cells) as u64);
    for device in devices {
        let engines = Engines::start(device, scratch.path(), &places)?;
        for (&bytes, needles) in plan.sizes.iter().zip(&needles) {
            for window in [1, plan.window] {
                let name = device.unwrap_or("simulated NICs");
                bar.show(
                    all.len() as u64,
                    &format!("needles of {bytes} bytes over {name}, {window} in flight"),
                );
                all.push(found(plan, device, &engines, needles, window, &places)?);
            }
        }
    }
    bar.done();
    let lost: Vec<&String> = all.iter().flat_map(|found| &found.failed).collect();
    lost.iter().for_each(|why| say(&format!("wavetank: {why}")));
    let code = if lost.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok((report::to_json(plan, &places, &all), report::text(plan, &all), code))
}

/// All rounds of a size and as many in flight.
fn found(
    plan: &Plan,
    device: Option<&str>,
    engines: &Engines,
    needles: &[Known],
    window: u16,
    places: &Places,
) -> Result<Found, Box<dyn Error>> {
    let bytes = needles.first().map_or(1, |needle| needle.bytes.len() as u32);
    let least = u32::from(window) * 4;
    let count = plan.ops.unwrap_or((ROUND_BYTES / bytes).clamp(least, COUNT_MAX));
    let load = Load { needles, count, window };
    let mut found = Found {
        device: device.unwrap_or("simulated").to_owned(),
        bytes,
        window,
        count,
        ours: Default::default(),
        bare: Vec::new(),
        http: Rounds::default(),
        failed: Vec::new(),
    };
    let measure = if window == 1 { Measure::ReadLatency } else { Measure::ReadBandwidth };
    let bare = BareCell { measure, bytes, count, warm_up: (count / 10).max(10), window };
    let what = format!("needles of {bytes} bytes over {}, {window} in flight", found.device);
    for _ in 0..plan.rounds {
        if programs::interrupted() {
            return Err("interrupted: what ran was ended, and nothing is told of it".into());
        }
        for ((path, way), rounds) in WAYS.into_iter().zip(&mut found.ours) {
            match places.as_client(|| engines.measure(path, way, &load)) {
                Ok(figures) => rounds.0.push(figures),
                Err(why) => {
                    let why = format!("{what}, {}: {why}", report::name(path, way));
                    found.failed.push(engines.with_last_words(why));
                }
            }
        }
        match places.as_client(|| engines.measure_http(&load)) {
            Ok(figures) => found.http.0.push(figures),
            Err(why) => found.failed.push(format!("{what}, HTTP: {why}")),
        }
        if let Some(device) = device {
            match peer::run(None, Through::Backend, device, &bare, places.pair())? {
                Ok(figures) if window == 1 => found.bare.push(figures.median_ns),
                Ok(figures) => found.bare.push(figures.bytes_per_s),
                Err(why) => found.failed.push(format!("{what}, bare backend: {why}")),
            }
        }
        if !found.failed.is_empty() {
            // What failed once fails every time, and may take its time about it.
            break;
        }
    }
    Ok(found)
}
