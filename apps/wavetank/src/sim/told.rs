//! What seeds came to, for people and for machines.

use std::collections::BTreeMap;

use wavetank_harness::report::per_second;
use wavetank_harness::swarm::coverage::never_hit;
use wavetank_harness::swarm::tally::Tally;
use wavetank_mock::Mark;

use crate::figures::{duration, grouped};
use crate::table;

/// Failures told on stderr.
pub(super) const FAILURES: usize = 20;

pub(super) fn json(tally: &Tally, wall_s: f64) -> Result<String, serde_json::Error> {
    let mut json = serde_json::to_value(tally)?;
    let core_s = tally.core_ns as f64 / 1e9;
    json["ok"] = tally.ok().into();
    json["wall_s"] = wall_s.into();
    json["seeds_per_core_s"] = per_second(tally.runs, core_s).into();
    json["ops_per_core_s"] = per_second(verified(tally), core_s).into();
    serde_json::to_string_pretty(&json)
}

pub(super) fn table(tally: &Tally, coverage: bool) -> String {
    let core_s = tally.core_ns as f64 / 1e9;
    let row = |what: &str, figure: String| vec![what.to_owned(), figure];
    let mut rows = vec![row("seeds", grouped(tally.runs)), row("failed", grouped(tally.failed_total()))];
    let counts = |rows: &mut Vec<Vec<String>>, counts: &BTreeMap<String, u64>| {
        rows.extend(counts.iter().map(|(key, count)| row(&format!("  {key}"), grouped(*count))));
    };
    counts(&mut rows, &tally.failed);
    rows.push(row("operations", grouped(tally.ops.values().sum())));
    counts(&mut rows, &tally.ops);
    rows.push(row("bytes verified", grouped(tally.bytes_verified)));
    rows.push(row("virtual time", duration(tally.virtual_ns)));
    rows.push(row("marks passed", format!("{} of {}", tally.marks.len(), Mark::ALL.len())));
    counts(&mut rows, &tally.marks);
    if !tally.cells.is_empty() {
        rows.push(row("cells covered", grouped(tally.cells.len() as u64)));
    }
    if coverage {
        counts(&mut rows, &tally.cells);
        let never = Mark::ALL.iter().filter(|mark| !tally.marks.contains_key(mark.name()));
        rows.extend(never.map(|mark| row(&format!("  never passed: {}", mark.name()), "0".to_owned())));
        // Cells that cannot be hit are told by their reason, the others one by one.
        let mut by_reason: BTreeMap<&str, u64> = BTreeMap::new();
        for (cell, reason) in never_hit(&tally.cells) {
            match reason {
                Some(reason) => *by_reason.entry(reason).or_default() += 1,
                None => rows.push(row(&format!("  never, and nobody knows why: {cell}"), "0".to_owned())),
            }
        }
        let told = by_reason.iter();
        rows.extend(told.map(|(reason, cells)| row(&format!("  never: {reason}"), format!("{cells} cells"))));
    }
    rows.push(row("seeds per core-second", grouped(per_second(tally.runs, core_s))));
    rows.push(row("operations verified per core-second", grouped(per_second(verified(tally), core_s))));
    rows.push(row("hash over all", format!("{:016x}", tally.hash)));
    table::table(&["swarm", &tally.swarm], rows)
}

/// Operations that ended well, and were verified.
fn verified(tally: &Tally) -> u64 {
    tally.ops.get("well").copied().unwrap_or(0)
}
