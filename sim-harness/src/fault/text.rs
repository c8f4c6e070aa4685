//! Faults as lines of text, for files that programs write; people write [schedules](super::schedule).
//!
//! A line says when, for how long (if it ends by itself), to whom and what. Times are in ns, nodes, connections and
//! regions are numbers:
//!
//! ```text
//! at 2000000 for 30000000 link 0 1 lose one-in 100 burst 3
//! op 17 connection 3 device 1 port-down
//! each-op 1000 for 50000 host 0 pause
//! at 5 mend 0 1
//! op 4 memory 2 roll-key
//! ```

mod parse;

use std::fmt;

pub use parse::parse_line;

use super::{Fault, When, words};
use crate::lab::{Cause, DeviceFault, LinkFault};

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.when)?;
        if let Some(ns) = self.lasts_ns {
            write!(f, " for {ns}")?;
        }
        write!(f, " {}", self.cause)
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            When::At(ns) => write!(f, "at {ns}"),
            When::Op { connection: None, op } => write!(f, "op {op}"),
            When::Op { connection: Some(connection), op } => write!(f, "op {op} connection {connection}"),
            When::EachOp { one_in } => write!(f, "each-op {one_in}"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Cause::Link { from, to, fault } => write!(f, "link {from} {to} {fault}"),
            Cause::Mend { from, to } => write!(f, "mend {from} {to}"),
            Cause::Device { node, fault } => {
                write!(f, "device {node} {}", words::device(fault))?;
                match fault {
                    DeviceFault::FailRegistration { nth } => write!(f, " {nth}"),
                    DeviceFault::Pause { ns } => write!(f, " {ns}"),
                    DeviceFault::ShallowBuffer { bytes } => write!(f, " {bytes}"),
                    _ => Ok(()),
                }
            }
            Cause::Host { node, fault } => write!(f, "host {node} {}", words::host(fault)),
            Cause::Memory { region, fault } => write!(f, "memory {region} {}", words::memory(fault)),
        }
    }
}

impl fmt::Display for LinkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            LinkFault::Cut => f.write_str("cut"),
            LinkFault::LoseNth { nth } => write!(f, "lose nth {nth}"),
            LinkFault::LoseOneIn { n, burst } => write!(f, "lose one-in {n} burst {burst}"),
            LinkFault::DuplicateOneIn { n } => write!(f, "duplicate one-in {n}"),
            LinkFault::ReorderOneIn { n, by_ns } => write!(f, "reorder one-in {n} by {by_ns}"),
            LinkFault::Delay { ns } => write!(f, "delay {ns}"),
            LinkFault::CorruptOneIn { n } => write!(f, "corrupt one-in {n}"),
            LinkFault::TruncateOneIn { n } => write!(f, "truncate one-in {n}"),
            LinkFault::Throttle { percent } => write!(f, "throttle {percent}"),
        }
    }
}
