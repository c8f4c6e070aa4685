//! `wavetank`: the one binary. Its subcommands are thin; what they do lives in the crates they call.

mod address;
mod again;
mod audit;
mod bench;
mod bench_volume;
mod beside;
mod calibrate;
mod chunks_bench;
mod clock;
mod demo;
#[cfg_attr(
    not(any(feature = "verbs", feature = "ucx")),
    expect(dead_code, reason = "this build has no backend of devices")
)]
mod device;
mod device_bench;
mod doctor;
mod engine;
mod explain;
mod faults;
mod figures;
mod files;
mod index_bench;
mod ipc_bench;
mod judge;
mod kit;
mod make_volume;
mod memory;
mod messenger_bench;
mod needles_bench;
mod pcap;
mod perftest;
#[cfg(feature = "planted")]
mod planted;
mod programs;
mod progress;
mod replay;
mod scratch;
mod serve_memory;
mod shrink;
mod sidecar;
mod sidecar_bench;
mod sim;
mod table;
mod ucx_bench;

use std::error::Error;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A simulation-first RDMA engine for storage.
///
/// Data goes to stdout, errors and progress to stderr; --json makes data for machines.
#[derive(Debug, Parser)]
#[command(name = "wavetank", version, max_term_width = 100)]
#[command(after_help = "Examples:
  wavetank replay workloads/pgbench-8k.toml   replay a PostgreSQL's I/O and check every byte of it
  wavetank sim --seeds 1000 --jobs 2          look for bugs: runs drawn from seeds, with faults
  wavetank demo                               export a SeaweedFS volume and read it back, NICs simulated
  wavetank engine --backend mock --export DIR serve SeaweedFS volumes to local programs, NICs simulated
  wavetank bench sim                          measure what the simulator does per core-second

Exit status:
  0  every check held
  1  a check failed: stderr says first what and where, stdout has the report all the same
  2  the input is bad: stderr says where and what would be right, stdout stays empty")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Audit(audit::Args),
    Replay(replay::Args),
    Bench(bench::Args),
    Calibrate(calibrate::Args),
    Demo(demo::Args),
    Doctor(doctor::Args),
    Engine(Box<engine::Args>),
    Explain(explain::Args),
    Judge(judge::Args),
    Kit(kit::Args),
    MakeVolume(make_volume::Args),
    ServeMemory(serve_memory::Args),
    Sidecar(Box<sidecar::Args>),
    Sim(sim::Args),
    Shrink(shrink::Args),
}

fn main() -> ExitCode {
    #[cfg(feature = "planted")]
    if let Some(code) = planted::look() {
        return code;
    }
    let result = match Cli::parse().command {
        Command::Audit(args) => audit::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Engine(args) => engine::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Judge(args) => judge::run(&args),
        Command::Kit(args) => kit::run(&args),
        Command::MakeVolume(args) => make_volume::run(&args),
        Command::ServeMemory(args) => serve_memory::run(&args),
        Command::Sidecar(args) => sidecar::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Shrink(args) => shrink::run(&args),
    };
    result.unwrap_or_else(|error| {
        say(&format!("wavetank: {}", told(&*error)));
        ExitCode::from(2)
    })
}

/// An error and its causes, except those that it already quotes.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// For people, on stderr. Where that is closed, nobody is left to tell.
fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Data, on stdout. A reader that has gone away is no error of ours; a full disk is an error.
fn print(text: &str) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("stdout: cannot be written: {error}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{said}")]
    struct Told {
        said: &'static str,
        source: Option<Box<Told>>,
    }

    #[test]
    fn causes_are_told_once() {
        let third = Told { said: "the disk is on fire", source: None };
        let second = Told { said: "cannot be read", source: Some(Box::new(third)) };
        let first = Told { said: "a.dat: cannot be read", source: Some(Box::new(second)) };
        assert_eq!(told(&first), "a.dat: cannot be read: the disk is on fire");
    }
}
