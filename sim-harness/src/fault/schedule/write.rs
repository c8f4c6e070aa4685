//! Schedules as TOML.

use std::fmt::Write as _;

use super::{Names, Schedule};
use crate::fault::{Fault, When, words};
use crate::lab::{Cause, DeviceFault, LinkFault};
use crate::workload::units::{Bytes, Nanos};

pub(super) fn toml(schedule: &Schedule, names: &Names) -> String {
    let patience = schedule.patience;
    let mut out =
        format!("[connection]\ntimeout = {}\nretry_cnt = {}\n", patience.timeout, patience.retry_cnt);
    for fault in &schedule.faults {
        // Writing to a String cannot fail.
        let _ = write!(out, "\n[[fault]]\n{}\n{}\n", when(fault.when), cause(fault, names));
        if let Some(ns) = fault.lasts_ns {
            let _ = writeln!(out, "for = \"{}\"", Nanos(ns));
        }
    }
    out
}

fn when(when: When) -> String {
    match when {
        When::At(ns) => format!("at = \"{}\"", Nanos(ns)),
        When::Op { connection: None, op } => format!("op = {op}"),
        When::Op { connection: Some(connection), op } => format!("op = {op}\nconnection = {connection}"),
        When::EachOp { one_in } => format!("one_in = {one_in}"),
    }
}

fn cause(fault: &Fault, names: &Names) -> String {
    // A run has no others than those that were named.
    let quoted = |names: &[String], index: u16| {
        let name = names.get(usize::from(index)).cloned().unwrap_or_else(|| index.to_string());
        toml::Value::String(name).to_string()
    };
    let node = |node: u16| quoted(&names.nodes, node);
    let short = words::short(fault.cause);
    match fault.cause {
        Cause::Link { from, to, fault } => {
            format!("from = {}\nto = {}\n{short} = {}", node(from), node(to), link(fault))
        }
        Cause::Mend { from, to } => format!("from = {}\nto = {}\nmend = true", node(from), node(to)),
        Cause::Device { node: at, fault } => {
            let more = match fault {
                DeviceFault::FailRegistration { nth } => format!("\nnth = {nth}"),
                DeviceFault::Pause { ns } => format!("\nfor = \"{}\"", Nanos(ns)),
                DeviceFault::ShallowBuffer { bytes } => format!("\nbytes = \"{}\"", Bytes(bytes.into())),
                _ => String::new(),
            };
            format!("node = {}\ndevice = \"{short}\"{more}", node(at))
        }
        Cause::Host { node: at, .. } => format!("node = {}\nhost = \"{short}\"", node(at)),
        Cause::Memory { region, .. } => {
            format!("region = {}\nmemory = \"{short}\"", quoted(&names.regions, region))
        }
    }
}

fn link(fault: LinkFault) -> String {
    match fault {
        LinkFault::Cut => "true".to_owned(),
        LinkFault::LoseNth { nth } => nth.to_string(),
        LinkFault::LoseOneIn { n, burst } => format!("{{ one_in = {n}, burst = {burst} }}"),
        LinkFault::DuplicateOneIn { n } | LinkFault::CorruptOneIn { n } | LinkFault::TruncateOneIn { n } => {
            format!("{{ one_in = {n} }}")
        }
        LinkFault::ReorderOneIn { n, by_ns } => format!("{{ one_in = {n}, by = \"{}\" }}", Nanos(by_ns)),
        LinkFault::Delay { ns } => format!("\"{}\"", Nanos(ns)),
        LinkFault::Throttle { percent } => percent.to_string(),
    }
}
