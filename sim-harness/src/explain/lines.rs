//! The lines of a story. Packets that follow each other are one line.

use std::fmt::Write as _;

use wavetank_contract::Instant;

use super::queue::{add, ahead};
use crate::workload::units::Bytes;

/// Lines of a story, at most.
const LINES_MAX: usize = 10_000;

/// What packets of one line have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Common {
    /// What they are: `WRITE`, `READ response`.
    pub(super) what: &'static str,
    /// What became of them: `left node 0`.
    pub(super) did: String,
    /// Whether the same was seen before.
    pub(super) again: bool,
}

/// Packets that follow each other.
#[derive(Debug)]
struct Run {
    common: Common,
    first: u32,
    last: u32,
    last_at: Instant,
    packets: u64,
    bytes: u64,
}

#[derive(Debug)]
enum What {
    Said(String),
    Run(Run),
}

/// The lines so far.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Vec<(Instant, What)>,
    /// Runs that may go on.
    open: Vec<usize>,
    untold: u64,
}

impl Lines {
    /// Something other than a packet, which ends every run.
    pub(super) fn say(&mut self, at: Instant, text: String) {
        self.open.clear();
        self.push(at, What::Said(text));
    }

    /// Packets `first` to `last`, with so many bytes.
    pub(super) fn packet(&mut self, at: Instant, common: Common, (first, last): (u32, u32), bytes: u64) {
        for &index in &self.open {
            let What::Run(run) = &mut self.lines[index].1 else { continue };
            if run.common == common && first == add(run.last, 1) {
                (run.last, run.last_at) = (last, at);
                run.packets += 1;
                run.bytes += bytes;
                return;
            }
        }
        let index = self.lines.len();
        self.open.retain(|&index| match &self.lines[index].1 {
            What::Run(run) => run.common != common,
            What::Said(_) => false,
        });
        if self.push(at, What::Run(Run { common, first, last, last_at: at, packets: 1, bytes })) {
            self.open.push(index);
        }
    }

    fn push(&mut self, at: Instant, what: What) -> bool {
        let fits = self.lines.len() < LINES_MAX;
        if fits {
            self.lines.push((at, what));
        } else {
            self.untold += 1;
        }
        fits
    }

    /// The text, with times since `zero`.
    pub(super) fn text(&self, zero: Instant) -> String {
        let mut out = String::new();
        // A packet is told when it is handed to its port, and leaves a little later.
        let mut lines: Vec<&(Instant, What)> = self.lines.iter().collect();
        lines.sort_by_key(|(at, _)| *at);
        for (at, what) in lines {
            let said = match what {
                What::Said(text) => text.clone(),
                What::Run(run) => run.text(zero),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{:>15}  {said}", since(*at, zero));
        }
        if self.untold > 0 {
            let _ = writeln!(out, "{:>15}  and {} more", "", self.untold);
        }
        out
    }
}

impl Run {
    fn text(&self, zero: Instant) -> String {
        let Run { common: Common { what, did, again }, first, last, last_at, packets, bytes } = self;
        let psns = if first == last { format!("PSN {first}") } else { format!("PSN {first} to {last}") };
        let again = if *again { " again" } else { "" };
        let mut text = format!("{what} {psns} {did}{again}");
        if *packets > 1 {
            let _ = write!(text, ", {packets} packets, the last at {}", since(*last_at, zero));
        }
        if *bytes > 0 {
            let _ = write!(text, ", with {}", Bytes(*bytes));
        }
        debug_assert!(ahead(*last, *first) >= 0);
        text
    }
}

/// A time as it is told: exact, in the largest unit of which it has one.
pub(super) fn since(at: Instant, zero: Instant) -> String {
    let (sign, ns) = if at < zero { ('-', zero.since_ns(at)) } else { ('+', at.since_ns(zero)) };
    let (unit, scale, digits) = match ns {
        0..1_000 => ("ns", 1, 0),
        1_000..1_000_000 => ("us", 1_000, 3),
        1_000_000..1_000_000_000 => ("ms", 1_000_000, 6),
        _ => ("s", 1_000_000_000, 9),
    };
    match (ns / scale, ns % scale) {
        (whole, 0) => format!("{sign}{whole} {unit}"),
        (whole, part) => format!("{sign}{whole}.{part:0digits$} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact() {
        let told = |ns: u64| since(Instant(10_000_000_000 + ns), Instant(10_000_000_000));
        let times = [0, 999, 1_000, 12_345, 67_000_001, 2_505_123_053].map(told);
        assert_eq!(times, ["+0 ns", "+999 ns", "+1 us", "+12.345 us", "+67.000001 ms", "+2.505123053 s"]);
        assert_eq!(since(Instant(5), Instant(1_505)), "-1.500 us");
    }
}
