//! No bytes make the reader panic, and nothing it returns is wrong without an error.

use proptest::prelude::*;
use wavetank_volume::{
    IndexEntry, Needle, NeedleId, OffsetWidth, Records, SuperBlock, Version, Volume, VolumeFiles,
    crc32c_masked, crc32c_raw,
};

use crate::sample::{options, plain, steps, writer, written};

fn bytes(limit: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..limit)
}

/// Reads all there is to read; whatever comes back must carry a checksum that fits it.
fn read_everything(dat: &[u8], idx: &[u8], width: OffsetWidth) {
    let check = |needle: &Needle<'_>| {
        if needle.checksum.form.is_some() {
            let raw = crc32c_raw(needle.data);
            assert!(needle.checksum.stored == raw || needle.checksum.stored == crc32c_masked(raw));
        } else {
            assert_eq!(needle.data, b"");
        }
    };
    if let Ok(superblock) = SuperBlock::parse(dat) {
        for record in Records::new(dat, &superblock) {
            let _ = record.map(|record| record.needle().inspect(check));
        }
    }
    // A length that is not the slice's, too: what was promised may not be there.
    for dat_len_bytes in [dat.len() as u64, u64::MAX] {
        let Ok(volume) = Volume::parse(dat, dat_len_bytes, idx, width) else {
            continue;
        };
        for entry in volume.entries() {
            match volume.needle(dat, entry.id) {
                Ok(needle) => check(&needle),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_files_are_read_or_refused(dat in bytes(400), idx in bytes(200), five: bool, plausible: bool) {
        let mut dat = dat;
        if plausible && dat.len() >= 8 {
            dat[..8].copy_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0]);
        }
        read_everything(&dat, &idx, if five { OffsetWidth::Five } else { OffsetWidth::Four });
    }

    #[test]
    fn arbitrary_records_are_read_or_refused(
        record in bytes(300),
        version in 1_u8..4,
        id: u64,
        offset_bytes: u64,
        size_bytes: u32,
        claims: (bool, bool),
    ) {
        let version = Version::from_byte(version).unwrap();
        let mut record = record;
        // Mostly let the header agree, or nothing behind it would ever be looked at.
        let size_bytes = if claims.1 { record.len().saturating_sub(28) as u32 } else { size_bytes };
        if claims.0 && record.len() >= 16 {
            record[4..12].copy_from_slice(&id.to_be_bytes());
            record[12..16].copy_from_slice(&size_bytes.to_be_bytes());
        }
        let entry = IndexEntry { id: NeedleId(id), offset_bytes, size_bytes };
        let _ = entry.record_range(version);
        if let Err(error) = Needle::parse(&record, version, &entry) {
            prop_assert!(error.to_string().contains(&NeedleId(id).to_string()));
        }
    }

    #[test]
    fn a_mutated_volume_is_read_or_refused(
        options in options(),
        steps in steps(),
        dat_changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        idx_changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let width = options.offset_width;
        let (mut dat, mut idx) = written(options, &steps).into_parts();
        for (at, value) in dat_changes {
            let at = at.index(dat.len());
            dat[at] = value;
        }
        for (at, value) in idx_changes.into_iter().filter(|_| !idx.is_empty()).collect::<Vec<_>>() {
            let at = at.index(idx.len());
            idx[at] = value;
        }
        if let Some(cut) = cut {
            dat.truncate(cut.index(dat.len()));
        }
        read_everything(&dat, &idx, width);
    }

    #[test]
    fn one_flipped_bit_never_yields_other_data(
        data in prop::collection::vec(any::<u8>(), 1..200),
        version in 1_u8..4,
        at: prop::sample::Index,
        bit in 0_u32..8,
    ) {
        let version = Version::from_byte(version).unwrap();
        let mut writer = writer(version);
        let entry = writer.put(&plain(1, &data)).unwrap();
        let mut dat = writer.dat().to_vec();
        let at = 8 + at.index(dat.len() - 8);
        dat[at] ^= 1 << bit;
        if let Ok(needle) = Needle::parse(&dat[8..], version, &entry) {
            prop_assert_eq!(needle.data, &data[..]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_files_on_disk_are_opened_or_refused(dat in bytes(200), idx in bytes(100), plausible: bool) {
        let mut dat = dat;
        if plausible && dat.len() >= 8 {
            dat[..8].copy_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0]);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.dat");
        std::fs::write(&path, &dat).unwrap();
        std::fs::write(dir.path().join("1.idx"), &idx).unwrap();
        if let Ok(files) = VolumeFiles::open(&path) {
            let mut buffer = Vec::new();
            for entry in files.volume().entries() {
                let _ = files.read(entry.id, &mut buffer);
                prop_assert!(buffer.capacity() <= 2 * dat.len() + 64);
            }
        }
    }
}
