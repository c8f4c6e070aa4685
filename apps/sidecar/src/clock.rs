//! The time of day, for what people and HTTP want to know. Nothing is decided by it.

#[expect(clippy::disallowed_types, reason = "dates in answers are dates of the world")]
use std::time::SystemTime;
use std::time::{Duration, UNIX_EPOCH};

/// Now, as RFC 3339 has it.
pub(crate) fn timestamp() -> String {
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "dates in answers are dates of the world"
    )]
    let now = SystemTime::now();
    humantime::format_rfc3339_millis(now).to_string()
}

/// Unix seconds as HTTP has dates; nothing for what no date has.
pub(crate) fn http_date(unix_s: u64) -> Option<String> {
    // RFC 9110 dates have years of four digits.
    const LAST: u64 = 253_402_300_799;
    (unix_s <= LAST).then(|| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_s)))
}

/// A date of HTTP as Unix seconds.
pub(crate) fn unix_s(http_date: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(http_date).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// A duration as Go writes one: upstream's scripts print it.
pub(crate) fn go_duration(time: Duration) -> String {
    let ns = time.as_nanos();
    let short = |value: f64, unit: &str| {
        let text = format!("{value:.6}");
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match ns {
        0 => "0s".to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => short(ns as f64 / 1e3, "\u{b5}s"),
        1_000_000..1_000_000_000 => short(ns as f64 / 1e6, "ms"),
        1_000_000_000..60_000_000_000 => short(time.as_secs_f64(), "s"),
        _ => {
            let (minutes, rest) = (time.as_secs() / 60, time.as_secs_f64() % 60.0);
            let hours = if minutes >= 60 { format!("{}h", minutes / 60) } else { String::new() };
            format!("{hours}{}m{}", minutes % 60, short(rest, "s"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_go_writes_them() {
        for (ns, text) in [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5\u{b5}s"),
            (2_220_001, "2.220001ms"),
            (1_000_000_000, "1s"),
            (90_500_000_000, "1m30.5s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(ns)), text);
        }
    }

    #[test]
    fn dates_of_http_come_back_and_years_of_five_digits_are_none() {
        let date = http_date(1_764_000_000).unwrap_or_default();
        assert_eq!((date.as_str(), unix_s(&date)), ("Mon, 24 Nov 2025 16:00:00 GMT", Some(1_764_000_000)));
        assert_eq!((http_date(1 << 40), unix_s("yesterday")), (None, None));
        assert!(timestamp().ends_with('Z'));
    }
}
