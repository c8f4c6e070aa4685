//! What clients see of an engine whose bytes are made up, and what the machine does without one.
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::io;

use clap::Parser;
use wavetank_daemon::bench::{self, Engine, EngineConfig, Figures, Way};

/// Measures pings and reads over the socket and through a ring.
#[derive(Debug, Parser)]
struct Arguments {
    /// Round trips of each measurement.
    #[arg(long, default_value_t = 200_000)]
    count: u64,
    /// Bytes of a read.
    #[arg(long, default_value_t = 4096)]
    len: u64,
    /// How often everything is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Microseconds that the engine's loop polls after something happened.
    #[arg(long, default_value_t = 50)]
    spin_us: u64,
}

fn show(what: &str, figures: &Figures) {
    let Figures { p50_ns, p99_ns, .. } = figures;
    println!("{what:<44} p50 {p50_ns:>7} ns  p99 {p99_ns:>8} ns  {:>9}/s", figures.per_second());
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let (count, len) = (arguments.count, arguments.len);
    let path = std::env::temp_dir().join(format!("wavetank-bench-{}.sock", std::process::id()));
    let mut config = EngineConfig::at(&path);
    config.fills = false;
    config.slots = 256;
    config.spin_ns = arguments.spin_us * 1000;
    let engine = Engine::start(config)?;
    for round in 1..=arguments.rounds {
        println!("round {round}: {count} round trips each, reads of {len} bytes");
        show("echo over a bare Unix socket", &bench::echo(count)?);
        show("ping over the socket", &bench::ping(&path, Way::Socket, count)?);
        show("ping over the socket, SeaweedFS's protocol", &bench::seaweed_ping(&path, count)?);
        show("read over the socket, SeaweedFS's protocol", &bench::seaweed_reads(&path, len, count / 4)?);
        show("a word through bare shared memory", &bench::bare_ring(count * 5)?);
        show("ping through a ring", &bench::ping(&path, Way::Ring, count * 5)?);
        for way in [Way::Socket, Way::Ring] {
            for under_way in [1, 8, 64] {
                let name = format!("reads, {way:?}, {under_way} under way");
                show(&name, &bench::reads(&path, way, under_way, len, count)?);
            }
        }
    }
    drop(engine);
    Ok(())
}
