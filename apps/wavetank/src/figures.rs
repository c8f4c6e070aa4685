//! Numbers as people read them: three or four digits and a unit, or all digits in groups of three.

/// Nanoseconds, in the unit that leaves the fewest digits. Nothing a NIC does takes less than a tenth of a microsecond,
/// so a column of latencies mostly has one unit.
pub(crate) fn duration(ns: u64) -> String {
    let (value, unit) = match ns {
        0..100 => return format!("{ns} ns"),
        100..1_000_000 => (ns as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let decimals = if value < 100.0 { 2 } else { 1 };
    format!("{value:.decimals$} {unit}")
}

/// Bytes per second, to three digits.
pub(crate) fn throughput(bytes_per_s: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes_per_s < 1024 {
        return format!("{bytes_per_s} B/s");
    }
    let mut value = bytes_per_s as f64 / 1024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next();
    // From 999.5 on, three digits round to four.
    while value >= 999.5
        && let Some(larger) = units.next()
    {
        (value, unit) = (value / 1024.0, Some(larger));
    }
    let decimals = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {}/s", unit.unwrap_or_default())
}

/// All digits, in groups of three.
pub(crate) fn grouped(number: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(123), "123");
        assert_eq!(grouped(1_234), "1,234");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn a_duration_has_the_unit_that_leaves_the_fewest_digits() {
        assert_eq!(duration(0), "0 ns");
        assert_eq!(duration(99), "99 ns");
        assert_eq!(duration(1_862), "1.86 us");
        assert_eq!(duration(12_345), "12.35 us");
        assert_eq!(duration(600_123), "600.1 us");
        assert_eq!(duration(8_209_480), "8.21 ms");
        assert_eq!(duration(123_456_789), "123.5 ms");
        assert_eq!(duration(3_400_000_000), "3.40 s");
    }

    #[test]
    fn a_throughput_has_three_digits_and_a_binary_unit() {
        assert_eq!(throughput(0), "0 B/s");
        assert_eq!(throughput(1_023), "1023 B/s");
        assert_eq!(throughput(1 << 10), "1.00 KiB/s");
        assert_eq!(throughput(1023 << 10), "1.00 MiB/s");
        assert_eq!(throughput(800 << 20), "800 MiB/s");
        assert_eq!(throughput(20_297_000_000), "18.9 GiB/s");
        assert_eq!(throughput(u64::MAX), "16777216 TiB/s");
    }
}
