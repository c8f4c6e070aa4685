//! The small top of a sorted table: which block of rows an id can only be in.
//!
//! Every [`BLOCK_ROWS`]th id is sampled, and the samples are found by the leading bits of the id. For ids handed out
//! in order, or drawn evenly, this is one look at the buckets and one or two at the samples, all of which a
//! processor's cache holds; for ids chosen to be unkind it is a binary search over the samples.

use super::table::Row;

/// Rows in a block: half a kilobyte, of which an even spread of ids makes a look-up touch one or two lines.
pub(super) const BLOCK_ROWS: usize = 64;

/// Samples and buckets over a sorted table. Costs less than half a byte for each row.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    samples: Vec<u64>,
    /// For each value of the leading bits, the first sample that has it or a greater one; one more at the end.
    starts: Vec<u32>,
    shift: u32,
}

impl Directory {
    pub(super) fn of(rows: &[Row]) -> Self {
        let samples: Vec<u64> = rows.iter().step_by(BLOCK_ROWS).map(|row| row.id).collect();
        let (Some(first), Some(last)) = (samples.first().copied(), samples.last().copied()) else {
            return Self::default();
        };
        let buckets_log2 = (samples.len() / 2).max(1).next_power_of_two().trailing_zeros();
        let span_bits = u64::BITS - (last - first).leading_zeros();
        let shift = span_bits.saturating_sub(buckets_log2).min(u64::BITS - 1);
        let buckets = ((last - first) >> shift) as usize + 1;
        let mut starts = Vec::with_capacity(buckets + 1);
        for (number, sample) in (0_u32..).zip(&samples) {
            let bucket = ((sample - first) >> shift) as usize;
            if starts.len() <= bucket {
                starts.resize(bucket + 1, number);
            }
        }
        starts.push(samples.len() as u32);
        Self { samples, starts, shift }
    }

    /// The rows among which `id` is if it is anywhere, and where among them to look first.
    pub(super) fn block(&self, id: u64) -> Option<(usize, usize)> {
        let first = *self.samples.first()?;
        let bucket = usize::try_from(id.checked_sub(first)? >> self.shift).unwrap_or(usize::MAX);
        // Ids past the last sample belong to the last block.
        let bucket = bucket.min(self.starts.len() - 2);
        let (start, end) = (self.starts[bucket] as usize, self.starts[bucket + 1] as usize);
        let block = start + self.samples[start..end].partition_point(|sample| *sample <= id);
        let block = block.checked_sub(1)?;
        let low = self.samples[block];
        let high = self.samples.get(block + 1).copied().unwrap_or(low.saturating_add(BLOCK_ROWS as u64));
        // Only a hint of where to begin: whatever the rounding, the search ends at the same row.
        let part = (id - low) as f64 / (high - low) as f64;
        let hint = ((part * BLOCK_ROWS as f64) as usize).min(BLOCK_ROWS - 1);
        Some((block * BLOCK_ROWS, hint))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.samples.capacity() * size_of::<u64>() + self.starts.capacity() * size_of::<u32>()
    }
}
