//! The guest: a virtual machine with real soft-RoCE (rxe) and soft-iWARP (siw) devices, on a host that has none.
//!
//! It boots Debian's own kernel in QEMU and shares the host's root read-only, so what was built on the host runs in it
//! unmodified. Everything it is made of is unpacked below `target/guest`; nothing is installed, and nothing needs root.
//!
//! [`packages`], [`apt`], [`tree`], [`siw`] and [`store`] make it; [`machine`], [`initramfs`], [`accel`] and
//! [`running`] run it, with the scripts of `ci/guest` inside. [`groups`] is the table of what the steps `rxe` and `siw` run
//! in it, [`runner`] runs it, and [`native`] does so on a kernel that needs no guest.

mod accel;
mod apt;
pub(crate) mod artefacts;
pub(crate) mod boot;
pub(crate) mod groups;
mod initramfs;
mod machine;
mod modules;
mod native;
mod net;
mod packages;
pub(crate) mod runner;
mod running;
pub(crate) mod script;
mod siw;
pub(crate) mod store;
pub(crate) mod tree;
pub(crate) mod tshark;
pub(crate) mod unpacked;
mod verdict;

use std::io::Write;
use std::time::Duration;

use self::accel::Accel;
use self::machine::{Machine, Size};
use self::net::Net;
use self::running::Ended;
use self::script::Script;
use crate::step::Failure;
use crate::workspace::Workspace;

/// What `cargo ci guest` ends with when the command did not: as timeout(1) has it.
const TIMED_OUT: u8 = 124;

/// And when there never was a command, or the guest was gone before it was done.
pub(crate) const NO_RESULT: u8 = 125;

/// What `cargo ci guest` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct GuestArgs {
    /// The network, and with it the devices
    #[arg(long, value_enum, default_value_t = Net::TwoRxe)]
    net: Net,
    /// Seconds the command may take; after that the guest says what hangs, and ends
    #[arg(long, value_name = "S", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Virtual processors
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    smp: u32,
    /// Memory
    #[arg(long, value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(256..))]
    memory: u32,
    /// How its processor is had [default: kvm if a guest boots on it, else tcg]
    #[arg(long, value_enum)]
    accel: Option<Accel>,
    /// A variable of the command's environment, NAME=VALUE; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// A program and its arguments; one word alone is a line for bash
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is written NAME=VALUE")?;
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(fine) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("{name:?} is no name of a variable"));
    }
    Ok((name.into(), value.into()))
}

/// Runs a command in a guest. Its exit code is this program's.
pub(crate) fn command(workspace: &Workspace, args: GuestArgs) -> Result<u8, Failure> {
    let machine = Machine::provide(workspace, args.net.needs_siw(), args.accel)?;
    let script = Script { net: Some(args.net), env: args.env, folder: None, command: args.command };
    let size = Size { smp: args.smp, memory_mib: args.memory, timeout: Duration::from_secs(args.timeout) };
    let mut guest = machine.start(&script, size)?;
    let mut lost = None;
    let ended = guest.finish(|bytes| {
        // A reader that went away (`| head`) is no reason to lose the exit code.
        let mut out = std::io::stdout().lock();
        lost = lost.take().or(out.write_all(bytes).and_then(|()| out.flush()).err());
    })?;
    let (code, why) = match ended {
        Ended::Code(code) => (u8::try_from(code).unwrap_or(u8::MAX), None),
        Ended::TimedOut => (TIMED_OUT, Some(format!("the command was not done after {} s", args.timeout))),
        Ended::NoBoot => (NO_RESULT, Some("the guest could not boot".into())),
        Ended::Lost => (NO_RESULT, Some("the guest was gone before the command was done".into())),
    };
    let place = machine.folder().join("last");
    match why {
        Some(why) => {
            println!("{why}\n{}", guest.last_words());
            guest.keep(&place)?;
            println!("  all that is left of it: {}", place.display());
        }
        None if guest.files().read_dir().is_ok_and(|mut files| files.next().is_some()) => {
            guest.keep(&place)?;
            println!("files that the command left: {}", place.join("out/files").display());
        }
        None => {}
    }
    Ok(code)
}
