//! Starts a survivor for each device, all at once, and prints what they tell.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::cell::{cells, devices};
use crate::clock::say;
use crate::node::Try;

/// A survivor, reaped whatever happens.
struct Survivor(Child);

impl Drop for Survivor {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["--survivor", &device.transport, &device.protocol]).args(&names);
            let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
            survivors.push((Survivor(child), count, device));
        }
    }
    let mut wrong = Vec::new();
    let (mut total, mut known) = (0, 0);
    for (survivor, count, device) in &mut survivors {
        let Some(stdout) = survivor.0.stdout.take() else { continue };
        let mut told = 0;
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            told += usize::from(["ok\t", "KNOWN\t", "FAILED\t"].iter().any(|word| line.starts_with(word)));
            known += usize::from(line.starts_with("KNOWN\t"));
            if line.starts_with("FAILED\t") {
                wrong.push(line.clone());
            }
            say(&line);
        }
        let status = survivor.0.wait()?;
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
