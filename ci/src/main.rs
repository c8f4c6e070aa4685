//! `cargo ci`: the build system as a program.
//!
//! [`step::STEPS`] is the whole of it: a step is a name, a sentence and a function. `cargo ci test` runs the table in
//! order, `cargo ci NAME` runs one line of it, and `--help` and `cargo ci list` print it. A new check is a new line.
#![expect(clippy::print_stdout, reason = "a tool that speaks to a terminal")]

mod determinism;
mod run;
mod step;
mod stopwatch;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, FromArgMatches, Parser, Subcommand};

use crate::step::{STEPS, Step};
use crate::workspace::Workspace;

/// Everything a change must pass, as one program.
#[derive(Parser)]
#[command(name = "cargo ci", bin_name = "cargo ci", after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Every step runs in the workspace root, with the cargo that started this program. A step that fails does not stop the \
others, unless they need what it failed to build. The exit code is 0 when all is right and 1 when a step failed; the \
last lines name each failed step and the command that repeats it.

  cargo ci test          before you push
  cargo ci tidy          a second, not minutes
  cargo ci determinism   after touching the simulator";

#[derive(Subcommand)]
enum Command {
    /// Runs every step in order: what a change must pass
    Test,
    /// Lists the steps
    List,
    #[command(flatten)]
    One(Chosen),
}

/// One step, chosen by its name: each line of the table is a subcommand.
struct Chosen(&'static Step);

impl FromArgMatches for Chosen {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Chosen, clap::Error> {
        let step = matches.subcommand_name().and_then(step::named);
        step.map(Chosen).ok_or_else(|| clap::Error::new(ErrorKind::InvalidSubcommand))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Chosen::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for Chosen {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        command.subcommands(STEPS.iter().map(|s| clap::Command::new(s.name).about(s.about)))
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        Chosen::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        step::named(name).is_some()
    }
}

fn main() -> ExitCode {
    let workspace = Workspace::find();
    let passed = match Cli::parse().command {
        Command::Test => run::all(STEPS, &workspace),
        Command::One(Chosen(step)) => run::all(std::slice::from_ref(step), &workspace),
        Command::List => {
            STEPS.iter().for_each(|s| println!("{:<12} {}", s.name, s.about));
            true
        }
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_step_is_a_subcommand_and_nothing_else_is() {
        for step in STEPS {
            let cli = Cli::try_parse_from(["ci", step.name]).ok();
            assert!(matches!(cli, Some(Cli { command: Command::One(Chosen(s)) }) if s.name == step.name));
        }
        assert!(Cli::try_parse_from(["ci", "no-such-step"]).is_err());
        assert!(Cli::try_parse_from(["ci"]).is_err());
    }
}
