//! `wavetank bench index`: what the index of a volume costs: bytes a needle, loading from a file, and looking up in random order,
//! beside one bare read of as much memory.

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Value, json};
use wavetank_volume::{Index, NeedleId, OffsetWidth};

use crate::beside::median;
use crate::clock::Clock;
use crate::figures::grouped;
use crate::scratch::Scratch;
use crate::sim::CellsBar;
use crate::table::table;
use crate::{memory, programs};

/// As many as offsets of 4 bytes can tell apart here.
pub(crate) const NEEDLES_MAX: u64 = 100_000_000;
/// Look-ups of a figure.
const LOOK_UPS: u64 = 4_000_000;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) needles: u64,
}

/// A mix whose outputs are as good as random, and differ for different inputs (SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How ids are spread.
#[derive(Clone, Copy)]
struct Spread {
    name: &'static str,
    id: fn(u64) -> u64,
    /// An id near the first one that is none.
    missing: fn(u64) -> u64,
}

const SPREADS: [Spread; 4] = [
    // A master hands out ids in order; two in three belong to other volumes.
    Spread { name: "in order, with gaps", id: |n| 1 + 3 * n, missing: |n| 2 + 3 * n },
    Spread { name: "without gaps", id: |n| 1 + n, missing: |n| (1 << 40) + mixed(n) % 1_000_000 },
    Spread { name: "random", id: mixed, missing: |n| mixed(n) ^ 1 },
    // Steps that grow like powers: what looking by leading bits alone cannot do well.
    Spread {
        name: "unkind",
        id: |n| (1 << (n % 50)) + (n << 1),
        missing: |n| (1 << (n % 50)) + (n << 1) + (1 << 57),
    },
];

/// Rounds of one line of the table.
struct Cell {
    spread: Spread,
    width: OffsetWidth,
    bytes_per_needle: f64,
    load_per_s: Vec<f64>,
    hit_ns: Vec<f64>,
    miss_ns: Vec<f64>,
    chained_ns: Vec<f64>,
}

/// Measures everything.
pub(crate) fn run(plan: &Plan) -> Result<(Value, String), Box<dyn Error>> {
    programs::heed_signals()?;
    // Reading an index takes the log and the table at a time, and the table of bare memory is as large.
    memory::check("bench index", plan.needles.saturating_mul(48))?;
    let scratch = Scratch::new("bench-index")?;
    let path = scratch.path().join("bench.idx");
    let mut cells: Vec<Cell> = SPREADS
        .into_iter()
        .flat_map(|spread| [OffsetWidth::Four, OffsetWidth::Five].map(|width| Cell::new(spread, width)))
        .collect();
    let bar = CellsBar::new(u64::from(plan.rounds) * cells.len() as u64);
    let (mut done, mut bare_ns) = (0, Vec::new());
    for _ in 0..plan.rounds {
        bare_ns.push(bare(plan.needles));
        for cell in &mut cells {
            if programs::interrupted() {
                return Err("interrupted: nothing is told of what was measured".into());
            }
            bar.show(done, cell.spread.name);
            done += 1;
            cell.measure(&path, plan.needles)?;
        }
    }
    bar.done();
    Ok((to_json(plan, &cells, &bare_ns), text(plan, &cells, &bare_ns)))
}

impl Cell {
    fn new(spread: Spread, width: OffsetWidth) -> Cell {
        let [load_per_s, hit_ns, miss_ns, chained_ns] = Default::default();
        Cell { spread, width, bytes_per_needle: 0.0, load_per_s, hit_ns, miss_ns, chained_ns }
    }

    fn measure(&mut self, path: &Path, needles: u64) -> Result<(), Box<dyn Error>> {
        write(path, needles, self.width, self.spread.id)?;
        // Read once so that the file is in the page cache.
        io::copy(&mut File::open(path)?, &mut io::sink())?;
        let clock = Clock::start();
        let index = Index::read(File::open(path)?, self.width, Index::NEEDLES_MAX)?;
        self.load_per_s.push(needles as f64 / clock.wall_s());
        self.bytes_per_needle = index.memory_bytes() as f64 / index.live().len() as f64;
        self.hit_ns.push(look_up(&index, needles, self.spread.id));
        self.miss_ns.push(look_up(&index, needles, self.spread.missing));
        self.chained_ns.push(look_up_chained(&index, needles, self.spread.id));
        Ok(())
    }

    /// Bytes of an offset.
    fn offset_bytes(&self) -> u64 {
        self.width.entry_len_bytes() as u64 - 12
    }
}

fn write(path: &Path, needles: u64, width: OffsetWidth, id: fn(u64) -> u64) -> io::Result<()> {
    let mut idx = BufWriter::new(File::create(path)?);
    for number in 0..needles {
        idx.write_all(&id(number).to_be_bytes())?;
        idx.write_all(&(1 + number as u32 * 16).to_be_bytes())?;
        if width == OffsetWidth::Five {
            idx.write_all(&[(number >> 28) as u8 + 1])?;
        }
        idx.write_all(&100_u32.to_be_bytes())?;
    }
    idx.flush()
}

fn each_ns(clock: Clock) -> f64 {
    clock.wall_ns() as f64 / LOOK_UPS as f64
}

/// Look-ups that do not wait for each other, as those of a server with many requests.
fn look_up(index: &Index, needles: u64, id: fn(u64) -> u64) -> f64 {
    let ids: Vec<u64> = (0..LOOK_UPS).map(|n| id(mixed(n) % needles)).collect();
    let clock = Clock::start();
    for id in &ids {
        black_box(index.get(NeedleId(*id)));
    }
    each_ns(clock)
}

/// What the memory itself takes: one read at a random place after the other, in an array as large as the table.
fn bare(needles: u64) -> f64 {
    let rows: Vec<[u64; 2]> = (0..needles).map(|n| [n, 1]).collect();
    let mut number = 0;
    let clock = Clock::start();
    for step in 0..LOOK_UPS {
        let found = rows.get(number as usize).map_or(0, |row| row[1]);
        number = mixed(step ^ found) % needles;
    }
    black_box(number);
    each_ns(clock)
}

/// Each look-up needs the answer of the one before: nothing overlaps.
fn look_up_chained(index: &Index, needles: u64, id: fn(u64) -> u64) -> f64 {
    let mut number = 0;
    let clock = Clock::start();
    for step in 0..LOOK_UPS {
        let found = index.get(NeedleId(id(number)));
        number = mixed(step ^ found.map_or(0, |entry| entry.offset_bytes)) % needles;
    }
    black_box(number);
    each_ns(clock)
}

fn text(plan: &Plan, cells: &[Cell], bare_ns: &[f64]) -> String {
    let bare_ns = median(bare_ns).unwrap_or(f64::NAN);
    let rows = cells.iter().map(|cell| {
        let of = |rounds: &[f64]| median(rounds).unwrap_or(f64::NAN);
        let chained_ns = of(&cell.chained_ns);
        vec![
            cell.spread.name.to_owned(),
            cell.offset_bytes().to_string(),
            format!("{:.2}", cell.bytes_per_needle),
            format!("{:.1} M", of(&cell.load_per_s) / 1e6),
            format!("{:.0} ns", of(&cell.hit_ns)),
            format!("{:.0} ns", of(&cell.miss_ns)),
            format!("{chained_ns:.0} ns"),
            format!("{:.2}", chained_ns / bare_ns),
        ]
    });
    let head = ["ids", "offset bytes", "bytes each", "loaded/s", "hit", "miss", "chained", "of bare"];
    format!(
        "{}\n\n{} needles each, medians of {} rounds, one thread; look-ups in random order. Chained: each waits for the one before.\n\
         Bare: one read of as much memory after the other, {bare_ns:.0} ns.",
        table(&head, rows),
        grouped(plan.needles),
        plan.rounds
    )
}

fn to_json(plan: &Plan, cells: &[Cell], bare_ns: &[f64]) -> Value {
    let bare_ns = median(bare_ns);
    let cells: Vec<Value> = cells
        .iter()
        .map(|cell| {
            let chained_ns = median(&cell.chained_ns);
            let by_bare = chained_ns.zip(bare_ns).map(|(chained, bare)| chained / bare);
            json!({
                "ids": cell.spread.name,
                "offset_bytes": cell.offset_bytes(),
                "bytes_per_needle": cell.bytes_per_needle,
                "loaded_per_s": median(&cell.load_per_s),
                "hit_ns": median(&cell.hit_ns),
                "miss_ns": median(&cell.miss_ns),
                "chained_ns": chained_ns,
                "chained_by_bare": by_bare,
            })
        })
        .collect();
    json!({ "needles": plan.needles, "rounds": plan.rounds, "bare_ns": bare_ns, "cells": cells })
}
