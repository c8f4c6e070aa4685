//! Reports as tables for people.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use wavetank_contract::OpKind;
use wavetank_harness::Report;
use wavetank_harness::report::{ReadBack, Row, Spent, per_second};
use wavetank_harness::workload::Percentile;

use crate::figures::{duration, grouped, throughput};

/// One line under the head; rows and columns are told apart by alignment alone.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// The order in which people look for them.
const ORDER: [OpKind; 7] = [
    OpKind::Read,
    OpKind::Write,
    OpKind::WriteImm,
    OpKind::Send,
    OpKind::Recv,
    OpKind::FetchAdd,
    OpKind::CompareSwap,
];

/// A table with right-aligned figures behind a left-aligned first column.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding(if index == 0 { (0, 0) } else { (1, 0) });
        if index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// The report of a replay.
pub(crate) fn report(report: &Report, spent: &Spent) -> String {
    let wall_s = spent.wall_s;
    let head = ["operation/size", "count", "bytes", "p50", "p90", "p99", "p99.9", "max"];
    let rows = table(&head, rows(report).into_iter().map(cells));
    let verdict = match report.failures.total() {
        0 => "every check held".to_owned(),
        1 => "1 check FAILED".to_owned(),
        failed => format!("{} checks FAILED", grouped(failed)),
    };
    let (time, throughput) = (duration(report.elapsed_ns), throughput(report.bytes_per_s()));
    let motion = match report.simulated {
        true => format!("simulated    virtual time {time}, {throughput}; no device took part"),
        false => format!("on devices   real time {time}, {throughput}"),
    };
    // On devices there is none to show: nothing there happens twice.
    let (hash, events) = (report.trace.hash(), grouped(report.trace.events()));
    let trace = match report.simulated {
        true => format!("\n  trace hash   {hash:016x} over {events} events"),
        false => String::new(),
    };
    let read_back = report.read_back.as_ref().map_or(String::new(), read_back);
    format!(
        "{rows}\n\n\
         {}, seed {}, on {}: {verdict}\n  \
         {motion}\n  \
         verified     {} operations, {} bytes where they arrived, {} mismatches\n  \
         swept        {} bytes of regions at the end{read_back}\n  \
         wall time    {wall_s:.2} s, {} verified operations per core-second{trace}",
        report.name,
        report.seed,
        report.device,
        grouped(report.ops),
        grouped(report.bytes_verified),
        grouped(report.mismatches),
        grouped(report.bytes_swept),
        grouped(per_second(report.ops, spent.core_s)),
    )
}

/// How the memory of another process was swept.
fn read_back(read: &ReadBack) -> String {
    let owned = match read.agreed {
        Some(agreed) => format!("its owner holds the same in {agreed} of {} regions", read.regions.len()),
        None => "its owner was not asked".to_owned(),
    };
    format!(", read over the wire; {owned}")
}

/// The rows worth showing: where a kind has one size only, its sum would say the same twice.
fn rows(report: &Report) -> Vec<&Row> {
    let all: Vec<&Row> = report.latencies.rows().collect();
    ORDER
        .iter()
        .flat_map(|kind| {
            let of_kind: Vec<&Row> = all.iter().copied().filter(|row| row.kind == *kind).collect();
            let repeated = if of_kind.len() == 2 { 1 } else { 0 };
            of_kind.into_iter().skip(repeated)
        })
        .collect()
}

fn cells(row: &Row) -> Vec<String> {
    let mut cells = vec![row.label(), grouped(row.latency.len()), grouped(row.bytes)];
    cells.extend(Percentile::ALL.map(|percentile| duration(row.percentile_ns(percentile))));
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_place() {
        assert!(OpKind::ALL.iter().all(|kind| ORDER.contains(kind)));
    }

    #[test]
    fn figures_are_right_aligned_under_one_line() {
        let rows = [["read/8192", "1,234"], ["write", "5"]].map(|row| row.map(str::to_owned).to_vec());
        let lines = ["operation  count", "────────────────", "read/8192  1,234", "write          5"];
        assert_eq!(table(&["operation", "count"], rows), lines.join("\n"));
    }
}
