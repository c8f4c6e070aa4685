//! The index: what counts, and where it may point.

use proptest::prelude::*;
use wavetank_volume::{
    Cookie, Index, IndexError, Lookup, NeedleId, OffsetWidth, SuperBlock, Version, Volume, VolumeError,
    VolumeWriter, WriterOptions, record_length,
};

use crate::sample::{plain, volume, writer};

/// One entry with a 4-byte offset.
fn line(id: u64, units: u32, size: i32) -> Vec<u8> {
    let parts: [&[u8]; 3] = [&id.to_be_bytes(), &units.to_be_bytes(), &size.to_be_bytes()];
    parts.concat()
}

const HEAD: [u8; 8] = [3, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn an_entry_past_the_end_of_the_dat_is_refused_with_its_place() {
    let idx = [line(7, 1, 10), line(9, 5, 10)].concat();
    let end_bytes = 40 + record_length(10, Version::V3);
    let refused = |dat_len_bytes| Volume::parse(&HEAD, dat_len_bytes, &idx, OffsetWidth::Four);
    assert!(refused(end_bytes).is_ok(), "exactly at the end is inside");
    let dat_len_bytes = end_bytes - 1;
    let error = refused(dat_len_bytes).unwrap_err();
    let expected = IndexError::PastEnd { id: NeedleId(9), start_bytes: 40, end_bytes, dat_len_bytes };
    assert_eq!(error, VolumeError::Index(expected));
    let text = error.to_string();
    for part in ["needle 0x9", "40..80", "79 bytes long", "weed fix"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn an_entry_inside_the_superblock_is_refused() {
    let head = [3, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let error = Volume::parse(&head, 1000, &line(7, 2, 10), OffsetWidth::Four).unwrap_err();
    let expected = IndexError::BeforeFirstRecord { id: NeedleId(7), start_bytes: 16, first_record_bytes: 24 };
    assert_eq!(error, VolumeError::Index(expected));
}

#[test]
fn an_entry_that_was_replaced_may_point_anywhere() {
    let idx = [line(7, u32::MAX, 10), line(7, 1, 10)].concat();
    assert!(Volume::parse(&HEAD, 1000, &idx, OffsetWidth::Four).is_ok());
}

#[test]
fn the_largest_entry_overflows_nothing() {
    let mut idx = line(7, u32::MAX, i32::MAX);
    let error = Volume::parse(&HEAD, 1000, &idx, OffsetWidth::Four).unwrap_err();
    assert!(matches!(error, VolumeError::Index(IndexError::PastEnd { .. })), "{error:?}");
    assert!(Volume::parse(&HEAD, u64::MAX, &idx, OffsetWidth::Four).is_ok());
    idx.insert(12, 0xff);
    assert!(Volume::parse(&HEAD, u64::MAX, &idx, OffsetWidth::Five).is_ok());
}

#[test]
fn a_needle_beyond_32_gib_needs_five_bytes() {
    let idx = [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 1, 0, 0, 0, 3];
    let volume = Volume::parse(&HEAD, u64::MAX, &idx, OffsetWidth::Five).unwrap();
    assert_eq!(volume.entry(NeedleId(9)).unwrap().offset_bytes, (32 << 30) + 8);
}

#[test]
fn a_wrong_offset_width_is_an_error_and_not_data() {
    let options = WriterOptions { offset_width: OffsetWidth::Five, ..WriterOptions::default() };
    let mut writer = VolumeWriter::new(options);
    for id in 1..20 {
        writer.put(&plain(id, b"some data")).unwrap();
    }
    let wrong = Volume::parse(writer.dat(), writer.dat().len() as u64, writer.idx(), OffsetWidth::Four);
    assert!(matches!(wrong, Err(VolumeError::Index(_))), "{wrong:?}");
}

#[test]
fn a_partial_entry_at_the_end_is_ignored_and_counted() {
    let mut writer = writer(Version::V3);
    writer.put(&plain(1, b"data")).unwrap();
    writer.put(&plain(2, b"data")).unwrap();
    let idx = &writer.idx()[..16 + 11];
    let index = Index::parse(idx, OffsetWidth::Four);
    assert_eq!((index.counts().entries, index.counts().trailing_len_bytes), (1, 11));
    assert!(index.get(NeedleId(1)).is_some() && index.get(NeedleId(2)).is_none());
    assert_eq!(Index::parse(writer.idx(), OffsetWidth::Four).counts().trailing_len_bytes, 0);
}

#[test]
fn a_negative_size_and_an_offset_of_zero_both_delete() {
    for tombstone in [line(7, 4, -1), line(7, 4, -10), line(7, 0, 10), line(7, 0, -1)] {
        let idx = [line(7, 1, 10), tombstone].concat();
        let volume = Volume::parse(&HEAD, 1000, &idx, OffsetWidth::Four).unwrap();
        assert_eq!(volume.lookup(NeedleId(7)), Lookup::Deleted);
        assert_eq!(volume.index().counts().tombstones, 1);
    }
}

#[test]
fn needles_come_in_order_of_id_whatever_the_order_of_the_log() {
    let mut writer = writer(Version::V3);
    for id in [9, 2, 7, 2, 1] {
        writer.put(&plain(id, b"data")).unwrap();
    }
    writer.delete(NeedleId(7), Cookie(1), 1).unwrap();
    let ids: Vec<_> = volume(&writer, OffsetWidth::Four).entries().map(|entry| entry.id.0).collect();
    assert_eq!(ids, [1, 2, 9]);
}

/// Gives a few bytes at a time, and is interrupted in between.
struct Drip<'a>(&'a [u8], usize);

impl std::io::Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(3) {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let length = buffer.len().min(7).min(self.0.len());
        let (given, rest) = self.0.split_at(length);
        buffer[..length].copy_from_slice(given);
        self.0 = rest;
        Ok(length)
    }
}

proptest! {
    #[test]
    fn an_index_from_a_reader_is_the_same_index(
        entries in prop::collection::vec((0_u64..40, 0_u32..9, -2_i32..9), 0..60),
        tail in prop::collection::vec(any::<u8>(), 0..20),
        five: bool,
    ) {
        let width = if five { OffsetWidth::Five } else { OffsetWidth::Four };
        let mut idx: Vec<u8> = entries.iter().flat_map(|&(id, units, size)| line(id, units, size)).collect();
        idx.extend(tail);
        prop_assert_eq!(Index::read(Drip(&idx, 0), width, 60).unwrap(), Index::parse(&idx, width));
    }
}

#[test]
fn an_index_longer_than_the_read_buffer_is_read_whole() {
    let idx: Vec<u8> = (1..=10_000).flat_map(|id| line(id, 1, 0)).chain([1, 2, 3]).collect();
    let index = Index::read(&idx[..], OffsetWidth::Four, 10_000).unwrap();
    assert_eq!(index, Index::parse(&idx, OffsetWidth::Four));
    assert_eq!((index.live().len(), index.counts().trailing_len_bytes), (10_000, 3));
    let superblock = SuperBlock::parse(&HEAD).unwrap();
    assert_eq!(index.check_against(&superblock, 40), Ok(()));
}
