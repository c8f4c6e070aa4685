//! Which needle may be read, and what is answered otherwise.

use wavetank_volume::{
    Cookie, CookieMismatch, IndexEntry, Lookup, Needle, NeedleError, NeedleId, NewNeedle, OffsetWidth,
    ReadError, Ttl, Version,
};

use crate::sample::{VERSIONS, full, plain, volume, writer};

#[test]
fn a_needle_written_twice_is_the_second_one() {
    let mut writer = writer(Version::V3);
    writer.put(&plain(1, b"first")).unwrap();
    writer.put(&plain(1, b"second")).unwrap();
    let volume = volume(&writer, OffsetWidth::Four);
    assert_eq!(volume.needle(writer.dat(), NeedleId(1)).unwrap().data, b"second");
    assert_eq!(volume.entries().len(), 1);
}

#[test]
fn deleted_and_missing_are_different_answers() {
    let mut writer = writer(Version::V3);
    writer.put(&plain(1, b"data")).unwrap();
    writer.delete(NeedleId(1), Cookie(1), 9).unwrap();
    let volume = volume(&writer, OffsetWidth::Four);
    let (deleted, missing) = (NeedleId(1), NeedleId(2));
    assert_eq!(volume.needle(writer.dat(), deleted), Err(ReadError::Deleted { id: deleted }));
    assert_eq!(volume.needle(writer.dat(), missing), Err(ReadError::Missing { id: missing }));
    assert_eq!(volume.lookup(missing), Lookup::Missing);
}

#[test]
fn a_needle_written_again_after_its_deletion_exists() {
    let mut writer = writer(Version::V3);
    writer.put(&plain(1, b"data")).unwrap();
    writer.delete(NeedleId(1), Cookie(1), 9).unwrap();
    writer.put(&plain(1, b"back")).unwrap();
    let volume = volume(&writer, OffsetWidth::Four);
    assert_eq!(volume.needle(writer.dat(), NeedleId(1)).unwrap().data, b"back");
    assert!(!volume.index().is_deleted(NeedleId(1)));
}

#[test]
fn an_empty_needle_exists_and_has_a_cookie() {
    for version in VERSIONS {
        let mut writer = writer(version);
        let entry = writer.put(&plain(1, b"")).unwrap();
        let volume = volume(&writer, OffsetWidth::Four);
        assert_eq!(volume.lookup(NeedleId(1)), Lookup::Empty(entry));
        let needle = volume.needle(writer.dat(), NeedleId(1)).unwrap();
        assert_eq!((needle.data, needle.checksum.form), (&b""[..], None));
        needle.check_cookie(Cookie(0xc00c_1e00)).unwrap();
    }
}

#[test]
fn a_wrong_cookie_is_refused_without_telling_the_right_one() {
    let mut writer = writer(Version::V3);
    writer.put(&plain(1, b"data")).unwrap();
    let needle = volume(&writer, OffsetWidth::Four).needle(writer.dat(), NeedleId(1)).unwrap();
    let refused = needle.check_cookie(Cookie(0xbad)).unwrap_err();
    assert_eq!(refused, CookieMismatch { id: NeedleId(1), given: Cookie(0xbad) });
    assert_eq!(refused.to_string(), "needle 0x1: 00000bad is not its cookie; check the file id");
}

#[test]
fn another_needle_at_the_offset_means_the_volume_was_replaced() {
    let mut writer = writer(Version::V3);
    let entry = writer.put(&plain(1, b"data")).unwrap();
    let expected = IndexEntry { id: NeedleId(2), ..entry };
    let error = Needle::parse(&writer.dat()[8..], Version::V3, &expected).unwrap_err();
    let (expected, found) = (NeedleId(2), NeedleId(1));
    assert_eq!(error, NeedleError::IdMismatch { expected, found, offset_bytes: 8 });
    assert!(error.to_string().contains("open it again"), "{error}");
}

#[test]
fn another_size_at_the_offset_means_the_volume_was_replaced() {
    let mut writer = writer(Version::V3);
    let entry = writer.put(&plain(1, b"data")).unwrap();
    let expected = IndexEntry { size_bytes: entry.size_bytes + 1, ..entry };
    let error = Needle::parse(&writer.dat()[8..], Version::V3, &expected).unwrap_err();
    let found = entry.size_bytes as i32;
    let expected = entry.size_bytes + 1;
    assert_eq!(error, NeedleError::SizeMismatch { id: NeedleId(1), offset_bytes: 8, expected, found });
}

#[test]
fn a_negative_size_in_a_record_is_a_size_mismatch() {
    let mut writer = writer(Version::V3);
    let entry = writer.put(&plain(1, b"data")).unwrap();
    let mut dat = writer.dat().to_vec();
    dat[20..24].copy_from_slice(&[0xff; 4]);
    // Taken as unsigned the two would agree.
    let expected = IndexEntry { size_bytes: u32::MAX, ..entry };
    let error = Needle::parse(&dat[8..], Version::V3, &expected).unwrap_err();
    assert!(matches!(error, NeedleError::SizeMismatch { found: -1, .. }), "{error:?}");
}

#[test]
fn a_needle_expires_when_its_ttl_has_passed_since_the_append() {
    let expiry_of = |version, new: &NewNeedle<'_>, now_ns| {
        let mut writer = writer(version);
        writer.put(new).unwrap();
        volume(&writer, OffsetWidth::Four).needle(writer.dat(), new.id).unwrap().is_expired_at(now_ns)
    };
    let (new, two_minutes_ns) = (full(1), 120_000_000_000);
    assert!(!expiry_of(Version::V3, &new, new.append_at_ns + two_minutes_ns - 1));
    assert!(expiry_of(Version::V3, &new, new.append_at_ns + two_minutes_ns));
    let modified_ns = 1_700_000_000_000_000_000;
    assert!(!expiry_of(Version::V2, &new, modified_ns + two_minutes_ns - 1));
    assert!(expiry_of(Version::V2, &new, modified_ns + two_minutes_ns));

    let unlimited = NewNeedle { ttl: Some(Ttl { count: 0, unit_code: 1 }), ..new };
    let undated = NewNeedle { last_modified_s: None, ..new };
    let without = NewNeedle { ttl: None, ..new };
    for lasting in [unlimited, undated, without] {
        assert!(!expiry_of(Version::V3, &lasting, u64::MAX));
    }
}
