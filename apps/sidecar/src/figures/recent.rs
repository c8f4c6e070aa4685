//! Latencies of the last minute.

use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

/// Time is cut into slices of this length...
const SLICE: Duration = Duration::from_secs(10);

/// ...of which so many are kept.
const SLICES: usize = 6;

/// Longest latency that is told apart from longer ones, in microseconds.
const LONGEST_US: u64 = 60_000_000;

/// Latencies of the last minute, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Recent {
    slices: Vec<(Instant, Histogram<u32>)>,
}

impl Recent {
    pub(super) fn record(&mut self, took: Duration, now: Instant) {
        let current =
            self.slices.last().is_some_and(|(begun, _)| now.saturating_duration_since(*begun) < SLICE);
        if !current {
            // Two digits tell more than anybody looks at, in little memory.
            let Ok(slice) = Histogram::new_with_max(LONGEST_US, 2) else { return };
            self.slices.push((now, slice));
            let surplus = self.slices.len().saturating_sub(SLICES);
            self.slices.drain(..surplus);
        }
        if let Some((_, slice)) = self.slices.last_mut() {
            let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            slice.saturating_record(us.min(LONGEST_US));
        }
    }

    /// Half, nine tenths, 99 of a hundred, and the longest.
    pub(super) fn quantiles_us(&mut self, now: Instant) -> [u64; 4] {
        self.slices.retain(|(begun, _)| now.saturating_duration_since(*begun) < SLICE * SLICES as u32);
        let Ok(mut all) = Histogram::<u32>::new_with_max(LONGEST_US, 2) else { return [0; 4] };
        for (_, slice) in &self.slices {
            // Both have the same bounds, so that there is room.
            let _ = all.add(slice);
        }
        match all.is_empty() {
            true => [0; 4],
            false => [
                all.value_at_quantile(0.5),
                all.value_at_quantile(0.9),
                all.value_at_quantile(0.99),
                all.max(),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_remembered_and_no_more() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        for s in 0..100_u64 {
            recent.record(
                Duration::from_micros(if s < 30 { 1000 } else { 10 }),
                start + Duration::from_secs(s),
            );
        }
        assert_eq!(recent.quantiles_us(start + Duration::from_secs(99)), [10, 10, 10, 10]);
        assert_eq!(recent.quantiles_us(start + Duration::from_secs(500)), [0; 4]);
    }
}
