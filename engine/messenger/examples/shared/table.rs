//! Latencies as a table, or as JSON.

use hdrhistogram::Histogram;

/// What one size came to.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) bytes: u64,
    pub(crate) latencies_ns: Histogram<u64>,
    pub(crate) took_ns: u64,
}

impl Row {
    pub(crate) fn new(what: &str, bytes: u64) -> Row {
        // 3 digits, up to any number.
        let latencies_ns = Histogram::new(3).expect("3 digits can be had");
        Row { what: what.to_owned(), bytes, latencies_ns, took_ns: 0 }
    }

    fn us(&self, quantile: f64) -> f64 {
        self.latencies_ns.value_at_quantile(quantile) as f64 / 1e3
    }

    fn per_s(&self) -> f64 {
        self.latencies_ns.len() as f64 * 1e9 / self.took_ns.max(1) as f64
    }
}

/// Prints rows on stdout.
#[expect(clippy::print_stdout, reason = "an example shows what it did")]
pub(crate) fn print(rows: &[Row], json: bool) {
    if !json {
        println!(
            "{:<10}{:>12}{:>10}{:>11}{:>11}{:>11}{:>11}{:>12}{:>12}",
            "", "bytes", "count", "p50 us", "p90 us", "p99 us", "max us", "per s", "MiB/s"
        );
    }
    for row in rows {
        let mib = row.per_s() * row.bytes as f64 / 1_048_576.0;
        let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(|quantile| row.us(quantile));
        let (what, bytes, count, per_s) = (&row.what, row.bytes, row.latencies_ns.len(), row.per_s());
        if json {
            println!(
                "{{\"what\":\"{what}\",\"bytes\":{bytes},\"count\":{count},\"p50_us\":{p50:.3},\"p90_us\":{p90:.3},\
                 \"p99_us\":{p99:.3},\"max_us\":{max:.3},\"per_s\":{per_s:.1},\"mib_per_s\":{mib:.1}}}"
            );
        } else {
            println!(
                "{what:<10}{bytes:>12}{count:>10}{p50:>11.2}{p90:>11.2}{p99:>11.2}{max:>11.2}{per_s:>12.0}{mib:>12.1}"
            );
        }
    }
}
