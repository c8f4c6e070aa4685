//! `wavetank`: the one binary. Its subcommands are thin; what they do lives in the crates they call.

mod bench;
mod clock;
mod memory;
mod replay;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A simulation-first RDMA engine for storage.
///
/// Data goes to stdout, errors to stderr; --json makes data for machines. Exit status: 0 all is right, 1 a check failed,
/// 2 the input is bad.
#[derive(Debug, Parser)]
#[command(name = "wavetank", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Replay(replay::Args),
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Replay(args) => replay::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    result.unwrap_or_else(|error| {
        say(&format!("wavetank: {error}"));
        ExitCode::from(2)
    })
}

/// For people, on stderr.
#[expect(clippy::print_stderr, reason = "this is where errors and progress go")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// Data, on stdout. A reader that has gone away is no error of ours.
fn print(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
