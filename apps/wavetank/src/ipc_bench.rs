//! `wavetank bench ipc`: what local programs see of an engine whose bytes are made up, beside what the machine does without one.
//!
//! The engine is a thread of this process with the daemon's own loop and socket; its reads cost nothing, so that what is left is
//! what all around them costs. Both sides, and those of what stands beside them, have a CPU each.

use std::error::Error;
use std::io;
use std::path::Path;

use serde_json::{Value, json};
use wavetank_daemon::bench::{self, Engine, EngineConfig, Figures, Way};

use crate::beside::{Beside, median, shown, shown_ratio};
use crate::programs;
use crate::scratch::Scratch;
use crate::sim::CellsBar;
use crate::table::table;
use crate::ucx_bench::peer;

/// Bytes of a read.
const READ_BYTES: u64 = 4096;
/// A ring is so much faster that it takes more round trips to fill as much time.
const RING_TIMES: u64 = 5;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    /// Round trips of a round over the socket.
    pub(crate) count: u64,
}

/// What is told of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// ns of a round trip, the median.
    Median,
    /// Round trips in a second.
    Rate,
}

/// The bare ways to another thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bare {
    /// As many bytes as a ping has, echoed over a Unix socket.
    Echo,
    /// A word of shared memory that both poll.
    Word,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Ping(Way),
    Reads(Way, usize),
    SeaweedPing,
    SeaweedReads,
}

/// One line of the table.
struct Cell {
    name: &'static str,
    asked: Asked,
    unit: Unit,
    bare: Bare,
    /// What a ratio, or a figure, should be.
    aim: &'static str,
    beside: Beside,
    p99_ns: Vec<f64>,
}

impl Cell {
    fn new(name: &'static str, asked: Asked, unit: Unit, bare: Bare, aim: &'static str) -> Cell {
        Cell { name, asked, unit, bare, aim, beside: Beside::default(), p99_ns: Vec::new() }
    }

    fn measure(&self, path: &Path, count: u64) -> io::Result<Figures> {
        match self.asked {
            Asked::Ping(Way::Socket) => bench::ping(path, Way::Socket, count),
            Asked::Ping(Way::Ring) => bench::ping(path, Way::Ring, count * RING_TIMES),
            Asked::Reads(way, under_way) => bench::reads(path, way, under_way, READ_BYTES, count),
            Asked::SeaweedPing => bench::seaweed_ping(path, count),
            Asked::SeaweedReads => bench::seaweed_reads(path, READ_BYTES, (count / 2).max(1)),
        }
    }

    /// How many round trips over the bare way one of these takes at least.
    fn trips(&self) -> f64 {
        if self.asked == Asked::SeaweedReads { 2.0 } else { 1.0 }
    }

    fn keep(&mut self, ours: &Figures, echo: &Figures, word: &Figures) {
        let theirs = if self.bare == Bare::Echo { echo } else { word };
        self.p99_ns.push(ours.p99_ns as f64);
        let (ours, theirs) = match self.unit {
            Unit::Median => (ours.p50_ns as f64, theirs.p50_ns as f64 * self.trips()),
            Unit::Rate => (ours.per_second() as f64, theirs.per_second() as f64 / self.trips()),
        };
        self.beside.ours.push(ours);
        self.beside.theirs.push(theirs);
    }
}

fn cells() -> Vec<Cell> {
    let read = |name, way, under_way| {
        let bare = if way == Way::Socket { Bare::Echo } else { Bare::Word };
        Cell::new(name, Asked::Reads(way, under_way), Unit::Rate, bare, "")
    };
    vec![
        Cell::new("ping, socket", Asked::Ping(Way::Socket), Unit::Median, Bare::Echo, "<= 1.15"),
        Cell::new("ping, ring", Asked::Ping(Way::Ring), Unit::Median, Bare::Word, "<= 3; 300 ns"),
        read("reads, socket, 1 in flight", Way::Socket, 1),
        read("reads, socket, 8 in flight", Way::Socket, 8),
        read("reads, socket, 64 in flight", Way::Socket, 64),
        read("reads, ring, 1 in flight", Way::Ring, 1),
        read("reads, ring, 8 in flight", Way::Ring, 8),
        read("reads, ring, 64 in flight", Way::Ring, 64),
        Cell::new("ping, SeaweedFS's protocol", Asked::SeaweedPing, Unit::Median, Bare::Echo, ""),
        Cell::new(
            "read in two calls, SeaweedFS's protocol",
            Asked::SeaweedReads,
            Unit::Median,
            Bare::Echo,
            "",
        ),
    ]
}

/// Measures everything.
pub(crate) fn run(plan: &Plan) -> Result<(Value, String), Box<dyn Error>> {
    programs::heed_signals()?;
    let scratch = Scratch::new("bench-ipc")?;
    let mut config = EngineConfig::at(scratch.path().join("engine.sock"));
    (config.fills, config.slots) = (false, 256);
    // A thread begins where the one that starts it is: the engine stays there, and the client moves.
    let [there, here] = peer::two_cpus()?;
    peer::pin(there)?;
    let engine = Engine::start(config)?;
    peer::pin(here)?;
    let settle = move || {
        // Measured all the same where that is refused, on one CPU.
        let _ = peer::pin(there);
    };
    let mut cells = cells();
    let bar = CellsBar::new(u64::from(plan.rounds) * cells.len() as u64);
    let mut done = 0;
    for _ in 0..plan.rounds {
        let echo = bench::echo(plan.count, settle)?;
        let word = bench::bare_ring(plan.count * RING_TIMES, settle)?;
        for cell in &mut cells {
            if programs::interrupted() {
                return Err("interrupted: nothing is told of what was measured".into());
            }
            bar.show(done, cell.name);
            done += 1;
            let ours = cell.measure(engine.path(), plan.count)?;
            cell.keep(&ours, &echo, &word);
        }
    }
    bar.done();
    drop(engine);
    Ok((to_json(plan, &cells), text(plan, &cells)))
}

fn text(plan: &Plan, cells: &[Cell]) -> String {
    let rows = cells.iter().map(|cell| {
        let (ours, theirs) = cell.beside.medians();
        let show = |figure: Option<f64>| match cell.unit {
            Unit::Median => shown(figure, false),
            Unit::Rate => figure.map_or("n/a".to_owned(), |per_s| format!("{:.0} k/s", per_s / 1e3)),
        };
        vec![
            cell.name.to_owned(),
            show(ours),
            shown(median(&cell.p99_ns), false),
            show(theirs),
            shown_ratio(cell.beside.ratio()),
            cell.aim.to_owned(),
        ]
    });
    format!(
        "{}\n\nMedians of {} rounds in turn; pings are the median round trip, reads are of {READ_BYTES} bytes that cost nothing to \
         have.\nBare: as many bytes as a ping echoed over a Unix socket between two threads, twice for a read in two calls;\nfor \
         the ring, a word of shared memory there and back. An engine of one thread that polls 50 us before it sleeps. Each side on a CPU of its own.",
        table(&["asked", "wavetank", "p99", "bare", "ratio", "aim"], rows),
        plan.rounds
    )
}

fn to_json(plan: &Plan, cells: &[Cell]) -> Value {
    let cells: Vec<Value> = cells
        .iter()
        .map(|cell| {
            let (ours, theirs) = cell.beside.medians();
            json!({
                "asked": cell.name,
                "unit": if cell.unit == Unit::Median { "ns" } else { "round trips/s" },
                "ours": ours,
                "p99_ns": median(&cell.p99_ns),
                "bare": theirs,
                "ratio": cell.beside.ratio(),
            })
        })
        .collect();
    json!({ "rounds": plan.rounds, "count": plan.count, "read_bytes": READ_BYTES, "cells": cells })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_in_two_calls_stands_beside_two_round_trips() {
        let figures = |p50_ns| Figures { count: 10, total_ns: 1000, p50_ns, p99_ns: 9 };
        let mut cells = cells();
        for cell in &mut cells {
            cell.keep(&figures(300), &figures(100), &figures(50));
        }
        let ratio = |name: &str| {
            let cell = cells.iter().find(|cell| cell.name.starts_with(name));
            cell.and_then(|cell| cell.beside.ratio())
        };
        assert_eq!(ratio("ping, socket"), Some(3.0));
        assert_eq!(ratio("ping, ring"), Some(6.0));
        assert_eq!(ratio("read in two calls"), Some(1.5));
        assert_eq!(ratio("reads, socket, 1"), Some(1.0));
    }
}
