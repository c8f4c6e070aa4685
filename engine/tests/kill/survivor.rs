//! The process that lives: one device, and one cell after the other on it.

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::cell::cells;
use crate::clock::{MS, now, say};
use crate::lab::Lab;
use crate::node::{Device, Try};
use crate::steps;

/// Tells one row of the table: cell, milliseconds, what became of it.
pub(crate) fn run(device: &Device, names: &[&str]) -> Try<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut lab = Lab::open(device)?;
    for cell in cells(device) {
        let full = format!("{}/{} {cell}", device.transport, device.protocol);
        if !names.iter().all(|name| full.contains(name)) {
            continue;
        }
        let began = now();
        let row = match steps::run(&mut lab, cell) {
            Ok((said, None)) => format!("ok\t{full}\t{}\t{said}", now().since_ns(began) / MS),
            Ok((said, Some(known))) => {
                lab = Lab::open(device)?;
                format!("KNOWN\t{full}\t{}\t{said}; {known}", now().since_ns(began) / MS)
            }
            Err(why) => {
                // Whatever it left behind is not to be blamed on the next cell.
                lab = Lab::open(device)?;
                format!("FAILED\t{full}\t{}\t{why}", now().since_ns(began) / MS)
            }
        };
        say(&row.replace('\n', " | "));
    }
    Ok(())
}
