//! The shards of an erasure-coded volume that are here, read as the `.dat` they were made of.
//!
//! What is in a missing shard is computed from others, with the code that upstream's encoder uses: Reed-Solomon over
//! GF(2^8) with polynomial 0x11d and a Vandermonde matrix made systematic, as the crate `reed-solomon-erasure` has it.

mod layout;

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use reed_solomon_erasure::galois_8::ReedSolomon;

use crate::source::{Extent, SourceFault};

use layout::Piece;
pub use layout::ShardLayout;

/// Bytes of each shard that are put together at a time: with 32 shards 2 MiB in all.
const REBUILD_BYTES: u64 = 64 << 10;

/// Open shards, and the code they were made with.
#[derive(Debug)]
pub(crate) struct Shards {
    layout: ShardLayout,
    /// By number; `None` for those that are not here.
    files: Vec<Option<Arc<File>>>,
    shard_len_bytes: u64,
    large_rows: u64,
    /// Length of the `.dat`, or where that is not known, of all data shards.
    dat_len_bytes: u64,
    code: Arc<ReedSolomon>,
}

/// Fewer shards than data is in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} shards are here ({}), {need} are needed to rebuild shard {wanted}; bring shards of this volume from other \
     servers, or read there", here.len(), Numbers(here)
)]
pub struct TooFewShards {
    /// Numbers of those that could be read.
    pub here: Vec<u32>,
    /// How many there must be.
    pub need: u32,
    /// The one that would have to be rebuilt.
    pub wanted: u32,
}

struct Numbers<'a>(&'a [u32]);

impl fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        self.0.iter().enumerate().try_for_each(|(at, number)| {
            f.write_str(if at == 0 { "" } else { " " })?;
            write!(f, "{number}")
        })
    }
}

/// Shard counts the code does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadLayout;

impl Shards {
    /// Takes the shards that are here. Those of another length than `shard_len_bytes` must not be among them.
    pub(crate) fn new(
        layout: ShardLayout,
        files: Vec<Option<Arc<File>>>,
        shard_len_bytes: u64,
        dat_len_bytes: Option<u64>,
    ) -> Result<Self, BadLayout> {
        let code = ReedSolomon::new(layout.data_shards as usize, layout.parity_shards as usize)
            .map(Arc::new)
            .map_err(|_| BadLayout)?;
        let large_rows = match dat_len_bytes {
            Some(len) => layout.large_rows(len),
            None => layout.large_rows_of_shard(shard_len_bytes),
        };
        let whole_bytes = shard_len_bytes.saturating_mul(layout.data_shards.into());
        let dat_len_bytes = dat_len_bytes.map_or(whole_bytes, |len| len.min(whole_bytes));
        Ok(Self { layout, files, shard_len_bytes, large_rows, dat_len_bytes, code })
    }

    /// Each data shard that holds part of the range, by its number, with the same shards but that one; only where the
    /// others are enough.
    pub(crate) fn without_each(&self, range: Range<u64>) -> Vec<(u32, Self)> {
        let mut held: Vec<usize> =
            self.layout.pieces(range, self.large_rows).map(|piece| piece.shard).collect();
        held.sort_unstable();
        held.dedup();
        let others = |shard: usize| {
            let mut files = self.files.clone();
            files.get_mut(shard)?.take()?;
            let enough = files.iter().flatten().count() >= self.layout.data_shards as usize;
            let code = Arc::clone(&self.code);
            enough.then(|| (shard as u32, Self { files, code, ..*self }))
        };
        held.into_iter().filter_map(others).collect()
    }

    pub(crate) fn dat_len_bytes(&self) -> u64 {
        self.dat_len_bytes
    }

    pub(crate) fn here(&self) -> Vec<u32> {
        (0..).zip(&self.files).filter(|(_, file)| file.is_some()).map(|(number, _)| number).collect()
    }

    pub(crate) fn extents(&self, range: Range<u64>) -> Option<Vec<Extent>> {
        let extent = |piece: Piece| {
            let file = Arc::clone(self.files.get(piece.shard)?.as_ref()?);
            Some(Extent { file, file_offset_bytes: piece.offset_bytes, len_bytes: piece.len_bytes })
        };
        self.layout.pieces(range, self.large_rows).map(extent).collect()
    }

    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<(), SourceFault> {
        let eof = || SourceFault::Io(io::ErrorKind::UnexpectedEof.into());
        let end_bytes = offset_bytes.checked_add(buffer.len() as u64).ok_or_else(eof)?;
        if end_bytes > self.dat_len_bytes {
            return Err(eof());
        }
        let mut rest = buffer;
        for piece in self.layout.pieces(offset_bytes..end_bytes, self.large_rows) {
            let (part, after) = rest.split_at_mut(piece.len_bytes as usize);
            self.read_piece(piece, part)?;
            rest = after;
        }
        Ok(())
    }

    fn read_piece(&self, piece: Piece, part: &mut [u8]) -> Result<(), SourceFault> {
        if let Some(file) = self.files.get(piece.shard).and_then(Option::as_ref) {
            // A shard that fails is as good as missing: the others may still tell what was in it.
            if file.read_exact_at(part, piece.offset_bytes).is_ok() {
                return Ok(());
            }
        }
        let mut offset_bytes = piece.offset_bytes;
        for part in part.chunks_mut(REBUILD_BYTES as usize) {
            self.rebuild(piece.shard, offset_bytes, part)?;
            offset_bytes += part.len() as u64;
        }
        Ok(())
    }

    fn rebuild(&self, wanted: usize, offset_bytes: u64, part: &mut [u8]) -> Result<(), SourceFault> {
        if offset_bytes.saturating_add(part.len() as u64) > self.shard_len_bytes {
            return Err(SourceFault::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let need = self.layout.data_shards as usize;
        let mut here = Vec::new();
        let mut pieces: Vec<Option<Vec<u8>>> = vec![None; self.layout.shards() as usize];
        for (number, file) in self.files.iter().enumerate().filter(|(number, _)| *number != wanted) {
            let (Some(file), Some(place)) = (file, pieces.get_mut(number)) else { continue };
            let mut bytes = vec![0; part.len()];
            if file.read_exact_at(&mut bytes, offset_bytes).is_ok() {
                *place = Some(bytes);
                here.push(number as u32);
            }
            if here.len() == need {
                break;
            }
        }
        let too_few = |here| TooFewShards { here, need: need as u32, wanted: wanted as u32 };
        if here.len() < need || self.code.reconstruct_data(&mut pieces).is_err() {
            return Err(SourceFault::TooFewShards(too_few(here)));
        }
        match pieces.get(wanted) {
            Some(Some(bytes)) if bytes.len() == part.len() => part.copy_from_slice(bytes),
            _ => return Err(SourceFault::TooFewShards(too_few(here))),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The example of klauspost/reedsolomon (`TestOneEncode`), the encoder upstream uses: another matrix or another
    /// field gives other parity.
    #[test]
    fn the_code_is_that_of_upstream_s_encoder() {
        let mut shards: Vec<Vec<u8>> =
            [[0, 1], [4, 5], [2, 3], [6, 7], [8, 9]].map(|pair| pair.to_vec()).into();
        shards.extend(vec![vec![0; 2]; 5]);
        ReedSolomon::new(5, 5).unwrap().encode(&mut shards).unwrap();
        assert_eq!(shards[5..], [[12, 13], [10, 11], [14, 15], [90, 91], [94, 95]]);
    }
}
