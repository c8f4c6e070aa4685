//! `cargo ci`: the build system as a program.
//!
//! [`step::STEPS`] is the whole of it: a step is a name, a sentence and a function. `cargo ci test` runs the table in
//! order, `cargo ci NAME` runs one line of it, and `--help` and `cargo ci list` print it. A new check is a new line.
#![expect(clippy::print_stdout, reason = "a tool that speaks to a terminal")]

mod complaints;
mod determinism;
mod follow;
mod guest;
mod libraries;
mod mutants;
mod openapi;
mod options;
mod released;
mod run;
mod step;
mod stopwatch;
mod swarm;
mod tidy;
mod tool;
mod ucx;
mod workspace;

use std::process::ExitCode;
use std::slice;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, FromArgMatches, Parser, Subcommand};

use crate::guest::{GuestArgs, groups, runner};
use crate::libraries::Libraries;
use crate::options::Options;
use crate::step::{Failure, STEPS, Step};
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

  cargo ci test                  before you push
  cargo ci test --no-guest       the same, but for what needs a virtual machine or its libraries
  cargo ci tidy                  a second, not minutes
  cargo ci determinism           after touching the simulator
  cargo ci rxe --only smoke      one group of tests on soft-RoCE devices
  cargo ci guest -- ibv_devinfo  a look at the devices
  cargo ci with -- cargo build -p wavetank --features verbs,ucx

What runs in guests is made of Debian 12's packages, which are downloaded once (400 MB) and unpacked below target/guest \
(1 GB). Nothing is installed, and nothing needs root.";

#[derive(Subcommand)]
enum Command {
    /// Runs every step in order: what a change must pass
    Test {
        /// Leaves out what needs a guest, or the libraries that come with it, and says so
        #[arg(long)]
        no_guest: bool,
    },
    /// Lists the steps
    List,
    /// Runs a command in a guest that has soft-RoCE or soft-iWARP devices; its exit code is the command's
    Guest(GuestArgs),
    /// Plants bugs, one after the other: the suite has to find each of them within a minute
    Mutants {
        /// Only these
        #[arg(long, value_name = "BUG,...", value_delimiter = ',')]
        only: Vec<String>,
    },
    /// Runs a program with the libraries in its environment that the features verbs and ucx are built with
    With {
        /// With a UCX newer than the system's, for the feature ucx alone
        #[arg(long)]
        newer_ucx: bool,
        /// A program and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    #[command(flatten)]
    One(Chosen),
}

/// One step, chosen by its name: each line of the table is a subcommand. One that runs groups takes options.
struct Chosen(&'static Step, Options);

impl FromArgMatches for Chosen {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Chosen, clap::Error> {
        let wrong = || clap::Error::new(ErrorKind::InvalidSubcommand);
        let (name, matches) = matches.subcommand().ok_or_else(wrong)?;
        let step = step::named(name).ok_or_else(wrong)?;
        let options = if has_groups(step) { Options::from_arg_matches(matches)? } else { Options::default() };
        Ok(Chosen(step, options))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Chosen::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for Chosen {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        command.subcommands(STEPS.iter().map(|s| {
            let command = clap::Command::new(s.name);
            let command = if has_groups(s) { Options::augment_args(command) } else { command };
            command.about(s.about)
        }))
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        Chosen::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        step::named(name).is_some()
    }
}

fn has_groups(step: &Step) -> bool {
    groups::of(step.name).next().is_some()
}

fn main() -> ExitCode {
    let workspace = Workspace::find();
    let passed = match Cli::parse().command {
        Command::Test { no_guest } => run::all(STEPS, &workspace, &Options::default(), !no_guest),
        Command::One(Chosen(step, options)) if options.list => {
            runner::list(step.name);
            true
        }
        Command::One(Chosen(step, options)) => run::all(slice::from_ref(step), &workspace, &options, true),
        Command::List => {
            STEPS.iter().for_each(|s| println!("{:<12} {}", s.name, s.about));
            true
        }
        Command::Mutants { only } => return exit(mutants::drill(&workspace, &only).map(|()| 0)),
        Command::Guest(args) => return exit(guest::command(&workspace, args)),
        Command::With { newer_ucx, command } => {
            let libraries = Libraries::find(&workspace);
            let libraries =
                if newer_ucx { libraries.and_then(|l| l.with_newer_ucx(&workspace)) } else { libraries };
            return exit(libraries.and_then(|l| l.run(&command)));
        }
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Another program's exit code becomes this one's, unless there was none to have.
fn exit(code: Result<u8, Failure>) -> ExitCode {
    match code {
        Ok(code) => ExitCode::from(code),
        Err(Failure(why)) => {
            println!("{why}");
            ExitCode::from(guest::NO_RESULT)
        }
    }
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
            assert!(matches!(cli, Some(Cli { command: Command::One(Chosen(s, _)) }) if s.name == step.name));
        }
        let about = |s: &Step| {
            Cli::command().find_subcommand(s.name).and_then(|c| c.get_about().map(|a| a.to_string()))
        };
        assert!(STEPS.iter().all(|s| about(s).as_deref() == Some(s.about)));
        assert!(Cli::try_parse_from(["ci", "no-such-step"]).is_err());
        assert!(Cli::try_parse_from(["ci"]).is_err());
    }

    #[test]
    fn a_step_with_groups_takes_a_choice_of_them_and_no_other_step_does() {
        let cli = Cli::try_parse_from(["ci", "rxe", "--only", "a,b", "--only", "c"]).ok();
        let Some(Cli { command: Command::One(Chosen(step, options)) }) = cli else {
            panic!("it is refused");
        };
        assert_eq!((step.name, options.only), ("rxe", vec!["a".into(), "b".into(), "c".into()]));
        assert!(Cli::try_parse_from(["ci", "fmt", "--only", "a"]).is_err());
        assert!(Cli::try_parse_from(["ci", "rxe", "--install"]).is_err(), "only with --native");
        assert!(Cli::try_parse_from(["ci", "rxe", "--jobs", "0"]).is_err());
    }
}
