//! When a log is to be copied to a new file, and the copy.

use std::rc::Rc;

use super::super::layout::{BLOCK, Head, Kind, encode_deeds};
use super::{Log, Place};
use crate::applied::Deed;
use crate::crc::BLOCK_BYTES;
use crate::disk::DiskFile;
use crate::error::ChunkError;

/// Most blocks that one record of a new file brings: 512 KiB at a time are in memory.
const BLOCKS_AT_A_TIME: usize = 128;

impl Log {
    /// Whether enough of the file is of the past.
    pub(in crate::file_store) fn is_due(&self) -> bool {
        let slack_bytes = if self.exists { 64 * BLOCK } else { BLOCK };
        let grown = !self.exists || self.end > 2 * self.copied_end;
        grown && self.number > 1 && self.end - BLOCK > 2 * self.live * BLOCK + slack_bytes
    }

    /// Goes on with the file that was made of it.
    pub(in crate::file_store) fn become_copy(&mut self, new: Log) {
        let copied_end = new.end;
        *self = Log { compacting: self.compacting, inherited: self.inherited, copied_end, ..new };
    }

    /// Whether it has grown so far past being due that it must not grow on while a new file is made.
    pub(in crate::file_store) fn is_overgrown(&self) -> bool {
        self.end > 8 * (self.live * BLOCK + 64 * BLOCK)
    }

    /// Writes what counts of this log to a new file, with the deeds that are given. A damaged block stays damaged: it keeps its sum.
    pub(in crate::file_store) fn copy_to(
        &self,
        file: Rc<dyn DiskFile>,
        deeds: Vec<Deed>,
    ) -> Result<Log, ChunkError> {
        let old = self.file.as_ref().ok_or(ChunkError::NotFound)?;
        let mut new = Log { file: Some(file.clone()), ..Log::absent(self.key) };
        if !deeds.is_empty() {
            let bytes = encode_deeds(&deeds);
            let sums = bytes.chunks(BLOCK_BYTES).map(crc32c::crc32c).collect();
            let head = Head { data_bytes: deeds.len() as u32, sums, ..new.plain(Kind::Deeds) };
            new.append(&head, |file, at| file.write_at(at, &bytes))?;
            new.deeds = deeds;
        }
        let mut next = 0;
        while next < self.blocks.len() {
            let run = self.blocks[next..].iter().map_while(|place| *place).take(BLOCKS_AT_A_TIME);
            let places: Vec<Place> = run.collect();
            if places.is_empty() {
                next += 1;
                continue;
            }
            let mut bytes = vec![0; places.len() * BLOCK_BYTES];
            for (place, block) in places.iter().zip(bytes.chunks_mut(BLOCK_BYTES)) {
                old.read_at(u64::from(place.at) * BLOCK, block)?;
            }
            let sums = places.iter().map(|place| place.crc32c).collect();
            let head =
                Head { first_block: next as u32, len_bytes: self.len_bytes, sums, ..new.plain(Kind::Blocks) };
            new.append(&head, |file, at| file.write_at(at, &bytes))?;
            next += places.len();
        }
        new.start_file(&*file)?;
        // Nobody finds the file before it was synced, mark and all.
        new.note_synced(new.end);
        Ok(new)
    }
}
