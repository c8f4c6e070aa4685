//! Whatever the writer writes, the reader reads.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wavetank_volume::{
    ChecksumForm, IndexEntry, Lookup, Needle, NeedleId, NewNeedle, OffsetWidth, Records, Version, Volume,
    WriterOptions,
};

use crate::sample::{Step, VERSIONS, full, options, plain, steps, volume, writer, written};

/// What is left of a needle after a version has written it.
fn as_kept<'a>(needle: &NewNeedle<'a>, version: Version) -> NewNeedle<'a> {
    let append_at_ns = if version == Version::V3 { needle.append_at_ns } else { 0 };
    if version == Version::V1 || needle.data.is_empty() {
        return NewNeedle { append_at_ns, ..NewNeedle::new(needle.id, needle.cookie, needle.data) };
    }
    NewNeedle { append_at_ns, ..*needle }
}

fn check_life(options: WriterOptions, steps: &[Step]) -> Result<(), TestCaseError> {
    let writer = written(options.clone(), steps);
    let volume = volume(&writer, options.offset_width);
    let mut last = BTreeMap::new();
    for step in steps {
        match step {
            Step::Put(owned) => last.insert(owned.id, Some(owned)),
            Step::Delete(id) => last.insert(*id, None),
        };
    }

    for (id, owned) in &last {
        let id = NeedleId(*id);
        let Some(owned) = owned else {
            prop_assert_eq!(volume.lookup(id), Lookup::Deleted);
            continue;
        };
        let needle = volume.needle(writer.dat(), id).unwrap();
        prop_assert_eq!(NewNeedle::from(&needle), as_kept(&owned.needle(), options.version));
        let form = (!owned.data.is_empty()).then_some(options.checksum_form);
        // A CRC whose masked form is itself would be found raw; none of 2^32 is likely to turn up here.
        prop_assert_eq!(needle.checksum.form, form);
        prop_assert_eq!(needle.append_at_ns.is_some(), options.version == Version::V3);
    }
    let live: Vec<_> = volume.entries().map(|entry| entry.id.0).collect();
    let expected: Vec<_> = last.iter().filter(|(_, owned)| owned.is_some()).map(|(id, _)| *id).collect();
    prop_assert_eq!(live, expected, "in order of id");
    prop_assert_eq!(volume.index().counts().entries, steps.len() as u64);
    prop_assert_eq!(volume.superblock().compaction_revision, options.compaction_revision);

    let walked: Result<Vec<_>, _> = Records::new(writer.dat(), volume.superblock()).collect();
    prop_assert_eq!(walked.unwrap().len(), steps.len());
    Ok(())
}

proptest! {
    #[test]
    fn a_volume_reads_back_as_it_was_written(options in options(), steps in steps()) {
        check_life(options, &steps)?;
    }

    #[test]
    fn the_same_steps_give_the_same_bytes(options in options(), steps in steps()) {
        let (first, second) = (written(options.clone(), &steps), written(options, &steps));
        prop_assert_eq!(first.into_parts(), second.into_parts());
    }
}

#[test]
fn every_field_of_a_needle_is_read() {
    for version in [Version::V2, Version::V3] {
        let mut writer = writer(version);
        writer.put(&full(5)).unwrap();
        let needle = volume(&writer, OffsetWidth::Four).needle(writer.dat(), NeedleId(5)).unwrap();
        assert_eq!(NewNeedle::from(&needle), as_kept(&full(5), version));
        assert_eq!(needle.flags.0, 0xbf);
        assert_eq!(needle.checksum.form, Some(ChecksumForm::Raw));
    }
}

#[test]
fn a_range_of_the_data_stands_where_the_version_says() {
    for version in VERSIONS {
        let mut writer = writer(version);
        let entry = writer.put(&plain(1, b"0123456789")).unwrap();
        let at = (entry.offset_bytes + version.data_offset_bytes()) as usize;
        assert_eq!(&writer.dat()[at + 2..at + 5], b"234", "{version}");
    }
}

/// The reader needs no file and no whole `.dat`: superblock, index and records may come one by one from elsewhere.
#[test]
fn records_fetched_one_by_one_into_other_memory_read_the_same() {
    let mut writer = writer(Version::V3);
    for id in 1..5 {
        writer.put(&plain(id, &vec![id as u8; 100 * id as usize])).unwrap();
    }
    let head = &writer.dat()[..8];
    let volume = Volume::parse(head, writer.dat().len() as u64, writer.idx(), OffsetWidth::Four).unwrap();
    for entry in volume.entries() {
        let range = entry.record_range(Version::V3).unwrap();
        let fetched = writer.dat()[range.start as usize..range.end as usize].to_vec();
        let needle = Needle::parse(&fetched, Version::V3, &entry).unwrap();
        assert_eq!(needle.data, vec![entry.id.0 as u8; 100 * entry.id.0 as usize]);
    }
}

#[test]
fn a_record_without_its_padding_is_enough() {
    for version in VERSIONS {
        let mut writer = writer(version);
        let entry: IndexEntry = writer.put(&plain(1, b"data")).unwrap();
        let unpadded = 16 + u64::from(entry.size_bytes) + version.tail_len_bytes();
        let record = &writer.dat()[8..][..unpadded as usize];
        assert_eq!(Needle::parse(record, version, &entry).unwrap().data, b"data");
    }
}
