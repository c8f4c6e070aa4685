//! Reports as tables for people.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use wavetank_harness::Report;
use wavetank_harness::report::per_second;
use wavetank_harness::workload::Percentile;
use wavetank_harness::workload::units::Bytes;

/// Nanoseconds with a unit that leaves three or four digits.
pub(crate) fn duration(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{:.1} us", ns as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A table with right-aligned figures behind a left-aligned first column.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// The report of a replay. `wall_s`: how long it took.
pub(crate) fn report(report: &Report, wall_s: f64) -> String {
    let rows = report.latencies.rows().map(|row| {
        let mut cells = vec![row.label(), grouped(row.latency.len()), grouped(row.bytes)];
        cells.extend(Percentile::ALL.map(|percentile| duration(row.percentile_ns(percentile))));
        cells
    });
    let head = ["operation/size", "count", "bytes", "p50", "p90", "p99", "p99.9", "max"];
    let mut out = table(&head, rows);
    let failed = report.failures.total();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "\n{} on {} (simulated), seed {}: {}\n\
         {} operations, {} bytes verified where they arrived, {} swept at the end, {} mismatches\n\
         virtual time {}, {}/s; wall time {:.2} s, {} verified operations per core-second\n\
         trace hash {:016x} over {} events",
        report.name,
        report.device,
        report.seed,
        if failed == 0 { "every check held".to_owned() } else { format!("{failed} checks FAILED") },
        grouped(report.ops),
        grouped(report.bytes_verified),
        grouped(report.bytes_swept),
        report.mismatches,
        duration(report.virtual_ns),
        Bytes(report.bytes_per_s() >> 20 << 20),
        wall_s,
        grouped(per_second(report.ops, wall_s)),
        report.trace.hash(),
        grouped(report.trace.events()),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!(grouped(1), "1");
        assert_eq!(grouped(1234567), "1,234,567");
        assert_eq!(duration(9_999), "9999 ns");
        assert_eq!(duration(12_345), "12.3 us");
        assert_eq!(duration(123_456_789), "123.5 ms");
    }
}
