//! What the index costs: bytes a needle, loading from a file, and looking up in random order.
//!
//! `cargo run --release -p wavetank-volume --example index_bench`, with `--needles 1000000` for fewer.
#![allow(clippy::print_stdout, reason = "an example speaks on its standard output")]
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a benchmark measures real time")]

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::time::Instant;

use wavetank_volume::{Index, NeedleId, OffsetWidth};

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

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let needles: u64 = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--needles"), Some(count)) => count.parse()?,
        (None, _) => 10_000_000,
        _ => return Err("usage: index_bench [--needles COUNT]".into()),
    };
    println!("{needles} needles; times are of one thread, look-ups in random order");
    println!(
        "chained: each look-up waits for the one before; of one bare read of as much memory: {:.0} ns",
        floor(needles)
    );
    println!(
        "{:<22}{:>6}{:>8}{:>12}{:>9}{:>9}{:>11}",
        "ids", "width", "B each", "load M/s", "hit ns", "miss ns", "chained ns"
    );
    let dir = tempfile::tempdir()?;
    for spread in SPREADS {
        for width in [OffsetWidth::Four, OffsetWidth::Five] {
            let path = dir.path().join("bench.idx");
            write(&path, needles, width, spread.id)?;
            // Read once so that the file is in the page cache.
            std::io::copy(&mut File::open(&path)?, &mut std::io::sink())?;
            let start = Instant::now();
            let index = Index::read(File::open(&path)?, width, Index::NEEDLES_MAX)?;
            let load_ns = start.elapsed().as_nanos() as f64;
            let known = index.live().len() as f64;
            let hit_ns = look_up(&index, needles, spread.id);
            let miss_ns = look_up(&index, needles, spread.missing);
            println!(
                "{:<22}{:>6}{:>8.2}{:>12.1}{:>9.0}{:>9.0}{:>11.0}",
                spread.name,
                width.entry_len_bytes() - 12,
                index.memory_bytes() as f64 / known,
                needles as f64 * 1e3 / load_ns,
                hit_ns,
                miss_ns,
                look_up_chained(&index, needles, spread.id),
            );
        }
    }
    Ok(())
}

fn write(
    path: &std::path::Path,
    needles: u64,
    width: OffsetWidth,
    id: fn(u64) -> u64,
) -> std::io::Result<()> {
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

const LOOK_UPS: u64 = 4_000_000;

/// Look-ups that do not wait for each other, as those of a server with many requests.
fn look_up(index: &Index, needles: u64, id: fn(u64) -> u64) -> f64 {
    let ids: Vec<u64> = (0..LOOK_UPS).map(|n| id(mixed(n) % needles)).collect();
    let start = Instant::now();
    for id in &ids {
        black_box(index.get(NeedleId(*id)));
    }
    start.elapsed().as_nanos() as f64 / LOOK_UPS as f64
}

/// What the memory itself takes: one read at a random place after the other, in an array as large as the table.
fn floor(needles: u64) -> f64 {
    let rows: Vec<[u64; 2]> = (0..needles).map(|n| [n, 1]).collect();
    let mut number = 0;
    let start = Instant::now();
    for step in 0..LOOK_UPS {
        let found = rows.get(number as usize).map_or(0, |row| row[1]);
        number = mixed(step ^ found) % needles;
    }
    black_box(number);
    start.elapsed().as_nanos() as f64 / LOOK_UPS as f64
}

/// Each look-up needs the answer of the one before: nothing overlaps.
fn look_up_chained(index: &Index, needles: u64, id: fn(u64) -> u64) -> f64 {
    let mut number = 0;
    let start = Instant::now();
    for step in 0..LOOK_UPS {
        let found = index.get(NeedleId(id(number)));
        number = mixed(step ^ found.map_or(0, |entry| entry.offset_bytes)) % needles;
    }
    black_box(number);
    start.elapsed().as_nanos() as f64 / LOOK_UPS as f64
}
