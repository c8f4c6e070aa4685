//! Damage to a record: each kind is found, and says where.

use wavetank_volume::{
    BodyPart, IndexEntry, Needle, NeedleError, NeedleId, OffsetWidth, ReadError, RecordError, Records,
    SuperBlock, Version, crc32c_masked, crc32c_raw,
};

use crate::sample::{VERSIONS, full, plain, volume, writer};

#[test]
fn a_rotted_needle_names_both_checksums() {
    for version in VERSIONS {
        let mut writer = writer(version);
        writer.put(&plain(1, b"good")).unwrap();
        let entry = writer.put(&plain(2, b"data")).unwrap();
        let volume = volume(&writer, OffsetWidth::Four);
        let mut dat = writer.dat().to_vec();
        dat[(entry.offset_bytes + version.data_offset_bytes()) as usize] ^= 0x10;

        let error = volume.needle(&dat, NeedleId(2)).unwrap_err();
        let (stored, computed) = (crc32c_raw(b"data"), crc32c_raw(b"tata"));
        let computed_masked = crc32c_masked(computed);
        let offset_bytes = entry.offset_bytes;
        let expected =
            NeedleError::Checksum { id: NeedleId(2), offset_bytes, stored, computed, computed_masked };
        assert_eq!(error, ReadError::Needle(expected));
        let text = error.to_string();
        for part in [
            "needle 0x2".to_owned(),
            format!("offset {offset_bytes}"),
            format!("{stored:#010x}"),
            format!("{computed:#010x}"),
            format!("{computed_masked:#010x}"),
            "restore".to_owned(),
        ] {
            assert!(text.contains(&part), "{part} in {text}");
        }
        assert_eq!(volume.needle(&dat, NeedleId(1)).unwrap().data, b"good", "its neighbour is unharmed");
    }
}

#[test]
fn every_single_bit_of_the_data_is_covered() {
    let mut writer = writer(Version::V3);
    let entry = writer.put(&full(1)).unwrap();
    let length = full(1).data.len();
    for bit in 0..length * 8 {
        let mut record = writer.dat()[8..].to_vec();
        record[20 + bit / 8] ^= 1 << (bit % 8);
        let error = Needle::parse(&record, Version::V3, &entry).unwrap_err();
        assert!(matches!(error, NeedleError::Checksum { .. }), "bit {bit}: {error:?}");
    }
}

#[test]
fn a_rotted_checksum_is_found_too() {
    let mut writer = writer(Version::V1);
    let entry = writer.put(&plain(1, b"data")).unwrap();
    let mut record = writer.dat()[8..].to_vec();
    record[20] ^= 1;
    let error = Needle::parse(&record, Version::V1, &entry).unwrap_err();
    assert!(matches!(error, NeedleError::Checksum { .. }), "{error:?}");
}

#[test]
fn a_record_cut_anywhere_before_its_padding_is_cut_off() {
    for version in VERSIONS {
        let mut writer = writer(version);
        let entry = writer.put(&plain(1, b"data")).unwrap();
        let unpadded = 16 + u64::from(entry.size_bytes) + version.tail_len_bytes();
        for have_bytes in 0..unpadded as usize {
            let error = Needle::parse(&writer.dat()[8..][..have_bytes], version, &entry).unwrap_err();
            let need_bytes = if have_bytes < 16 { 16 } else { unpadded };
            assert_eq!(
                error,
                NeedleError::CutOff { id: NeedleId(1), offset_bytes: 8, need_bytes, have_bytes },
                "{version}"
            );
        }
    }
}

#[test]
fn a_dat_shorter_than_it_was_gives_cut_off_needles() {
    let mut writer = writer(Version::V3);
    writer.put(&plain(1, b"data")).unwrap();
    let volume = volume(&writer, OffsetWidth::Four);
    for length in [0, 4, 8, 30] {
        let error = volume.needle(&writer.dat()[..length], NeedleId(1)).unwrap_err();
        assert!(matches!(error, ReadError::Needle(NeedleError::CutOff { .. })), "{error:?}");
    }
}

/// A version 2 record with this body and a checksum that fits no data.
fn body_error(body: &[u8]) -> NeedleError {
    let size = body.len() as u32;
    let mut record = vec![0; 16];
    record[11] = 1;
    record[12..16].copy_from_slice(&size.to_be_bytes());
    record.extend(body);
    record.extend([0xff; 12]);
    let entry = IndexEntry { id: NeedleId(1), offset_bytes: 8, size_bytes: size };
    Needle::parse(&record, Version::V2, &entry).unwrap_err()
}

#[test]
fn a_part_that_does_not_fit_its_body_is_named() {
    let cases: [(&[u8], BodyPart, usize, usize); 13] = [
        (&[0, 0, 0], BodyPart::DataSize, 4, 3),
        (&[0, 0, 0, 2, 9], BodyPart::Data, 2, 1),
        (&[255, 255, 255, 255, 9], BodyPart::Data, 0xffff_ffff, 1),
        (&[0, 0, 0, 1, 9], BodyPart::Flags, 1, 0),
        (&[0, 0, 0, 1, 9, 0x02], BodyPart::Name, 1, 0),
        (&[0, 0, 0, 1, 9, 0x02, 3, 1], BodyPart::Name, 3, 1),
        (&[0, 0, 0, 1, 9, 0x04], BodyPart::Mime, 1, 0),
        (&[0, 0, 0, 1, 9, 0x04, 3, 1], BodyPart::Mime, 3, 1),
        (&[0, 0, 0, 1, 9, 0x08, 1, 2, 3, 4], BodyPart::LastModified, 5, 4),
        (&[0, 0, 0, 1, 9, 0x10, 1], BodyPart::Ttl, 2, 1),
        (&[0, 0, 0, 1, 9, 0x20, 1], BodyPart::Pairs, 2, 1),
        (&[0, 0, 0, 1, 9, 0x20, 0, 9, 1], BodyPart::Pairs, 9, 1),
        (&[0, 0, 0, 1, 9, 0, 7, 7], BodyPart::End, 0, 2),
    ];
    for (body, part, need_bytes, have_bytes) in cases {
        let expected = NeedleError::Body { id: NeedleId(1), offset_bytes: 8, part, need_bytes, have_bytes };
        assert_eq!(body_error(body), expected);
    }
}

#[test]
fn an_unknown_flag_may_bring_bytes_of_its_own() {
    // The parts are accepted, and only then is the checksum found not to fit.
    assert!(matches!(body_error(&[0, 0, 0, 1, 9, 0x40, 7, 7]), NeedleError::Checksum { .. }));
}

#[test]
fn a_data_size_rotted_to_zero_does_not_make_an_empty_needle() {
    let mut writer = writer(Version::V3);
    // The data reads as flags without metadata and an unknown flag, so that the body alone looks right.
    let entry = writer.put(&plain(1, b"\x40")).unwrap();
    let mut record = writer.dat()[8..].to_vec();
    record[19] = 0;
    let error = Needle::parse(&record, Version::V3, &entry).unwrap_err();
    assert!(matches!(error, NeedleError::Checksum { computed: 0, .. }), "{error:?}");
}

#[test]
fn a_walk_stops_at_a_record_that_is_cut_off() {
    let mut writer = writer(Version::V3);
    let first = writer.put(&plain(1, b"data")).unwrap();
    let second = writer.put(&plain(2, b"data")).unwrap();
    let superblock = SuperBlock::parse(writer.dat()).unwrap();
    let offset_bytes = second.offset_bytes;
    let length = second.record_len_bytes(Version::V3);
    for have_bytes in 1..length {
        let dat = &writer.dat()[..(offset_bytes + have_bytes) as usize];
        let walked: Vec<_> = Records::new(dat, &superblock).collect();
        let need_bytes = if have_bytes < 16 { 16 } else { length };
        assert_eq!(walked.len(), 2);
        assert_eq!(walked[0].as_ref().unwrap().entry, first);
        assert_eq!(walked[1], Err(RecordError::CutOff { offset_bytes, need_bytes, have_bytes }));
    }
}

#[test]
fn a_walk_stops_at_a_negative_size() {
    let mut writer = writer(Version::V3);
    writer.put(&plain(1, b"data")).unwrap();
    let superblock = SuperBlock::parse(writer.dat()).unwrap();
    let mut dat = writer.dat().to_vec();
    dat[20] = 0x80;
    let walked: Vec<_> = Records::new(&dat, &superblock).collect();
    assert!(matches!(walked[..], [Err(RecordError::NegativeSize { offset_bytes: 8, .. })]), "{walked:?}");
}
