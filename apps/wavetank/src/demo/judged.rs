//! What became of the reads.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// Which reads a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    /// Whole or part, and over what.
    pub(super) what: &'static str,
    /// By which way the bytes came.
    pub(super) path: &'static str,
}

/// Reads of one sort.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) ns: Histogram<u64>,
    pub(super) bytes: u64,
    pub(super) took_ns: u64,
}

impl Row {
    fn new() -> Row {
        // 3 digits up to an hour: what a histogram of this kind can always have.
        let Ok(ns) = Histogram::new_with_max(3_600_000_000_000, 3) else {
            unreachable!("3 digits can be had")
        };
        Row { ns, bytes: 0, took_ns: 0 }
    }

    /// Bytes per second, one read at a time.
    pub(super) fn rate(&self) -> u64 {
        let per_s = u128::from(self.bytes) * 1_000_000_000 / u128::from(self.took_ns.max(1));
        u64::try_from(per_s).unwrap_or(u64::MAX)
    }
}

/// What became of the reads.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) rows: BTreeMap<Name, Row>,
    pub(super) needles: u64,
    pub(super) volumes: u64,
    /// Answers that there is nothing, as there should not be.
    pub(super) absent: u64,
    /// The first that was wrong.
    pub(super) wrong: Option<String>,
    /// Loans that did not come back.
    pub(super) leases_left: u64,
}

impl Judged {
    pub(super) fn took(&mut self, name: Name, bytes: u64, ns: u64) {
        let row = self.rows.entry(name).or_insert_with(Row::new);
        // Longer than the histogram knows is as long as it knows.
        row.ns.saturating_record(ns);
        row.bytes += bytes;
        row.took_ns += ns;
    }

    pub(super) fn is_wrong(&mut self, why: String) {
        self.wrong.get_or_insert(why);
    }

    pub(super) fn is_right(&self) -> bool {
        self.wrong.is_none() && self.leases_left == 0 && self.needles > 0
    }
}
