//! How wide the offsets of an index are, found out from the records they point at.
//!
//! An entry does not say how long it is, and a file's length may fit both widths. But an entry that is cut at the right
//! place names a record whose header repeats its id and its size, and one that is cut at the wrong place mixes bytes of
//! several fields. So a width is taken only if the entries looked at, the first and the last among them, are confirmed
//! by their records, and those of the other width are not.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::entry::LogEntry;
use crate::source::{Source, SourceFault};
use crate::{OffsetWidth, RecordHeader, SuperBlock};

/// How the width of the offsets came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WidthEvidence {
    /// The caller or the `.vif` said it.
    Told,
    /// Records confirm it, and contradict the other width.
    Records,
    /// No record speaks for one width alone (nothing, or hardly anything, was ever written): the length of the index
    /// decides, else four bytes, and it is asked again when the index has grown.
    Assumed,
}

/// Neither width fits the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "of {} entries with 4-byte offsets {} name a record that is there, of {} with 5-byte offsets {}: the index is not \
     of this .dat, or both are being replaced; try again, or say bytesOffset in the .vif",
    four.looked_at, four.confirmed, five.looked_at, five.confirmed
)]
pub struct WidthUndecided {
    /// What speaks for four bytes.
    pub four: WidthTally,
    /// What speaks for five.
    pub five: WidthTally,
}

/// What the records say of one width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WidthTally {
    /// Entries that name a place.
    pub looked_at: u32,
    /// Entries whose record is there.
    pub confirmed: u32,
    /// Those among them with a size that is not 0. Read with the other width the size would be another.
    pub telling: u32,
}

impl WidthTally {
    fn all(self) -> bool {
        self.confirmed == self.looked_at
    }
}

const SAMPLES: u64 = 64;

/// Decides between the tallies. `len_bytes` is that of the index.
fn decide(
    four: WidthTally,
    five: WidthTally,
    len_bytes: u64,
) -> Result<(OffsetWidth, WidthEvidence), WidthUndecided> {
    // Most of the entries: what was damaged in one place still speaks, and by the wrong width only the first entry can
    // name its record, which has the same id and the same offset either way.
    let speaks = |tally: WidthTally| tally.confirmed * 2 > tally.looked_at;
    let silent = |tally: WidthTally| !speaks(tally) && tally.confirmed <= 1;
    if four.all() && five.all() {
        match (four.telling > 0, five.telling > 0) {
            (true, false) => return Ok((OffsetWidth::Four, WidthEvidence::Records)),
            (false, true) => return Ok((OffsetWidth::Five, WidthEvidence::Records)),
            _ => {}
        }
        // Nothing speaks, or too little to tell the two apart.
        let width = if len_bytes.is_multiple_of(17) && !len_bytes.is_multiple_of(16) {
            OffsetWidth::Five
        } else {
            OffsetWidth::Four
        };
        return Ok((width, WidthEvidence::Assumed));
    }
    if speaks(four) && (silent(five) || four.all()) {
        return Ok((OffsetWidth::Four, WidthEvidence::Records));
    }
    if speaks(five) && (silent(four) || five.all()) {
        return Ok((OffsetWidth::Five, WidthEvidence::Records));
    }
    Err(WidthUndecided { four, five })
}

/// Looks at both widths. The outer error is that of reading.
pub(crate) fn detect(
    index: &File,
    source: &Source,
    superblock: &SuperBlock,
    dat_len_bytes: u64,
) -> Result<Result<(OffsetWidth, WidthEvidence), WidthUndecided>, SourceFault> {
    let len_bytes = index.metadata()?.len();
    let tally = |width| tally(index, len_bytes, width, source, superblock, dat_len_bytes);
    Ok(decide(tally(OffsetWidth::Four)?, tally(OffsetWidth::Five)?, len_bytes))
}

fn tally(
    index: &File,
    len_bytes: u64,
    width: OffsetWidth,
    source: &Source,
    superblock: &SuperBlock,
    dat_len_bytes: u64,
) -> Result<WidthTally, SourceFault> {
    let entry_len = width.entry_len_bytes();
    let count = len_bytes / entry_len as u64;
    let step = count.div_ceil(SAMPLES).max(1);
    let mut tally = WidthTally::default();
    let last = count.checked_sub(1);
    let samples = (0..count).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    for number in samples.chain(last.filter(|last| !last.is_multiple_of(step))) {
        let mut bytes = [0; 17];
        index.read_exact_at(&mut bytes[..entry_len], number * entry_len as u64)?;
        let Some(log) = LogEntry::parse(&bytes, width).filter(|log| log.offset_bytes != 0) else {
            continue;
        };
        let at = log.offset_bytes;
        if at < superblock.first_record_offset_bytes() || at.saturating_add(16) > dat_len_bytes {
            // The last append may not have reached the .dat.
            tally.looked_at += u32::from(Some(number) != last);
            continue;
        }
        tally.looked_at += 1;
        let mut confirmed = confirms(&log, source, at)?;
        let beyond = at + OffsetWidth::Four.limit_bytes();
        if !confirmed && width == OffsetWidth::Four && beyond + 16 <= dat_len_bytes {
            confirmed = confirms(&log, source, beyond)?;
        }
        tally.confirmed += u32::from(confirmed);
        tally.telling += u32::from(confirmed && log.size > 0);
    }
    Ok(tally)
}

fn confirms(log: &LogEntry, source: &Source, offset_bytes: u64) -> Result<bool, SourceFault> {
    let mut head = [0; RecordHeader::LEN_BYTES];
    match source.read_exact_at(&mut head, offset_bytes) {
        Err(SourceFault::Io(fault)) if fault.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        read => read?,
    }
    // A tombstone points at its deletion record, or, marked in place, still at the record it deletes.
    let header = RecordHeader::parse(&head).filter(|header| header.id == log.id);
    Ok(header.is_some_and(|header| log.is_tombstone() || header.size == log.size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_is_taken_for_its_records_and_never_by_length_against_them() {
        let tally = |looked_at, confirmed| WidthTally { looked_at, confirmed, telling: 0 };
        let telling = WidthTally { telling: 1, ..tally(1, 1) };
        let all = [
            (tally(9, 9), tally(9, 0), Some((OffsetWidth::Four, WidthEvidence::Records))),
            (tally(9, 1), tally(9, 9), Some((OffsetWidth::Five, WidthEvidence::Records))),
            (tally(9, 8), tally(9, 1), Some((OffsetWidth::Four, WidthEvidence::Records))),
            (tally(9, 0), tally(9, 1), None),
            (tally(9, 6), tally(9, 6), None),
            (tally(1, 1), tally(1, 1), Some((OffsetWidth::Five, WidthEvidence::Assumed))),
            (tally(0, 0), tally(0, 0), Some((OffsetWidth::Five, WidthEvidence::Assumed))),
            (telling, tally(1, 1), Some((OffsetWidth::Four, WidthEvidence::Records))),
            (tally(0, 0), telling, Some((OffsetWidth::Five, WidthEvidence::Records))),
        ];
        for (four, five, expected) in all {
            assert_eq!(decide(four, five, 17).ok(), expected, "{four:?} {five:?}");
        }
        assert_eq!(
            decide(tally(0, 0), tally(0, 0), 16 * 17),
            Ok((OffsetWidth::Four, WidthEvidence::Assumed))
        );
    }
}
