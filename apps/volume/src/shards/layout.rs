//! How a `.dat` lies across the data shards: rows of large blocks, then rows of small ones.

use std::ops::Range;

/// The shape of an erasure-coded volume.
///
/// Source: `weed/storage/erasure_coding/ec_encoder.go`, `ec_locate.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardLayout {
    /// Shards that hold data.
    pub data_shards: u32,
    /// Shards that hold parity.
    pub parity_shards: u32,
    /// Length of a block while a whole row of them is left to be coded.
    pub large_block_bytes: u64,
    /// Length of a block afterwards.
    pub small_block_bytes: u64,
}

impl Default for ShardLayout {
    fn default() -> Self {
        Self { data_shards: 10, parity_shards: 4, large_block_bytes: 1 << 30, small_block_bytes: 1 << 20 }
    }
}

/// A run of bytes within one data shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) shard: usize,
    pub(crate) offset_bytes: u64,
    pub(crate) len_bytes: u64,
}

impl ShardLayout {
    /// Shards in all.
    #[must_use]
    pub fn shards(&self) -> u32 {
        self.data_shards.saturating_add(self.parity_shards)
    }

    /// Rows of large blocks in a `.dat` of this length.
    #[must_use]
    pub fn large_rows(&self, dat_len_bytes: u64) -> u64 {
        dat_len_bytes / self.large_row_bytes()
    }

    /// The same where only the length of a shard is known. A shard of nothing but large blocks looks as if its last
    /// one were small; upstream takes it so, too.
    #[must_use]
    pub fn large_rows_of_shard(&self, shard_len_bytes: u64) -> u64 {
        shard_len_bytes.saturating_sub(1) / self.large_block_bytes.max(1)
    }

    /// Length of each shard of a `.dat` of this length.
    #[must_use]
    pub fn shard_len_bytes(&self, dat_len_bytes: u64) -> u64 {
        let rows = self.large_rows(dat_len_bytes);
        let rest = dat_len_bytes - rows * self.large_row_bytes();
        let small_row = self.small_block_bytes.saturating_mul(self.data_shards.into()).max(1);
        rows * self.large_block_bytes + rest.div_ceil(small_row) * self.small_block_bytes
    }

    fn large_row_bytes(&self) -> u64 {
        self.large_block_bytes.saturating_mul(self.data_shards.into()).max(1)
    }

    /// The pieces of a range of the `.dat`, in order. Nothing overflows: ranges of files end below 2^63.
    pub(crate) fn pieces(&self, range: Range<u64>, large_rows: u64) -> impl Iterator<Item = Piece> {
        let layout = *self;
        let large_bytes = large_rows.saturating_mul(self.large_row_bytes());
        let mut at = range.start;
        std::iter::from_fn(move || {
            let left = range.end.checked_sub(at).filter(|left| *left > 0)?;
            let (block_bytes, within, before) = if at < large_bytes {
                (layout.large_block_bytes, at, 0)
            } else {
                let before = large_rows.saturating_mul(layout.large_block_bytes);
                (layout.small_block_bytes, at - large_bytes, before)
            };
            let (block, skip) = (within / block_bytes.max(1), within % block_bytes.max(1));
            let len_bytes = left.min(block_bytes - skip);
            let data_shards = u64::from(layout.data_shards.max(1));
            let offset_bytes = before + block / data_shards * block_bytes + skip;
            at += len_bytes;
            Some(Piece { shard: (block % data_shards) as usize, offset_bytes, len_bytes })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: ShardLayout =
        ShardLayout { data_shards: 3, parity_shards: 2, large_block_bytes: 8, small_block_bytes: 2 };

    #[test]
    fn a_range_over_both_kinds_of_rows_is_cut_at_every_block() {
        // One row of large blocks holds bytes 0..24, the next bytes are in small blocks.
        let pieces: Vec<_> = LAYOUT.pieces(14..29, LAYOUT.large_rows(31)).collect();
        let piece = |shard, offset_bytes, len_bytes| Piece { shard, offset_bytes, len_bytes };
        assert_eq!(pieces, [piece(1, 6, 2), piece(2, 0, 8), piece(0, 8, 2), piece(1, 8, 2), piece(2, 8, 1)]);
        assert_eq!((LAYOUT.shard_len_bytes(31), LAYOUT.shard_len_bytes(24)), (12, 8));
    }

    #[test]
    fn upstream_s_sizes_are_the_default() {
        let layout = ShardLayout::default();
        assert_eq!((layout.large_rows((10 << 30) - 1), layout.large_rows(10 << 30)), (0, 1));
        assert_eq!(layout.shard_len_bytes(1), 1 << 20);
        assert_eq!((layout.large_rows_of_shard(1 << 30), layout.large_rows_of_shard((1 << 30) + 1)), (0, 1));
    }
}
