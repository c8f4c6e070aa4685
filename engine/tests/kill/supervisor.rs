//! Starts a survivor for each device, all at once, and prints what they tell.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::cell::{cells, devices};
use crate::clock::say;
use crate::node::{Device, Try};

/// A survivor, reaped whatever happens.
struct Survivor(Child);

impl Drop for Survivor {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `signal(7)`.
const SIGABRT: i32 = 6;

/// What a survivor told.
struct Heard {
    told: usize,
    known: usize,
    failed: Vec<String>,
    status: ExitStatus,
}

fn start(device: &Device, names: &[&str]) -> Try<Survivor> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--survivor", &device.transport, &device.protocol]).args(names);
    Ok(Survivor(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?))
}

/// Passes on what a survivor tells, to its end.
fn listen(survivor: &mut Survivor) -> Try<Heard> {
    let (mut told, mut known, mut failed) = (0, 0, Vec::new());
    let stdout = survivor.0.stdout.take().ok_or("a survivor has no stdout")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        told += usize::from(["ok\t", "KNOWN\t", "FAILED\t"].iter().any(|word| line.starts_with(word)));
        known += usize::from(line.starts_with("KNOWN\t"));
        if line.starts_with("FAILED\t") {
            failed.push(line.clone());
        }
        say(&line);
    }
    Ok(Heard { told, known, failed, status: survivor.0.wait()? })
}

pub(crate) fn run(args: &[&str]) -> Try<()> {
    let names: Vec<&str> = args.iter().copied().filter(|arg| !arg.starts_with("--")).collect();
    if args.contains(&"--list") {
        return Ok(());
    }
    let mut survivors = Vec::new();
    for device in devices() {
        let full = |cell| format!("{}/{} {cell}", device.transport, device.protocol);
        let count =
            cells(&device).into_iter().filter(|c| names.iter().all(|name| full(*c).contains(name))).count();
        if count > 0 {
            survivors.push((start(&device, &names)?, count, device));
        }
    }
    let mut wrong = Vec::new();
    let (mut total, mut known) = (0, 0);
    for (survivor, count, device) in &mut survivors {
        let mut heard = listen(survivor)?;
        if heard.status.signal() == Some(SIGABRT) && heard.failed.is_empty() {
            // UCX 1.13 asserts once in a while while a peer vanishes amid its connecting (tcp_ep.c:478): said, and tried once more.
            say(&format!("ABORTED\t{device:?}: UCX ended the process after {} cells; once more", heard.told));
            *survivor = start(device, &names)?;
            heard = listen(survivor)?;
        }
        let Heard { told, known: forgiven, failed, status } = heard;
        known += forgiven;
        wrong.extend(failed);
        if !status.success() || told != *count {
            wrong.push(format!("{device:?}: {told} of {count} cells, and {status}"));
        }
        total += told;
    }
    match wrong.len() {
        0 => {
            say(&format!(
                "kill: {total} cells are as they should be, but for what is known of {known} of them"
            ));
            Ok(())
        }
        n => Err(format!("{n} of {total} cells failed:\n{}", wrong.join("\n")).into()),
    }
}
