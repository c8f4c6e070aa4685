//! What the writer refuses, and what it leaves in the padding.

use wavetank_volume::{
    NeedleId, NewNeedle, Padding, Version, VolumeWriter, WriteError, WriterOptions, padding_length,
};

use crate::sample::{VERSIONS, full, plain, writer};

#[test]
fn a_part_too_long_for_its_length_field_is_refused() {
    let long = vec![b'x'; 65_536];
    let new = plain(1, b"data");
    let cases = [
        (NewNeedle { name: Some(&long[..256]), ..new }, "name", 255),
        (NewNeedle { mime: Some(&long[..256]), ..new }, "mime type", 255),
        (NewNeedle { pairs: Some(&long), ..new }, "pairs", 65_535),
        (NewNeedle { last_modified_s: Some(1 << 40), ..new }, "modification time", 5),
    ];
    for (needle, part, limit_bytes) in cases {
        let mut writer = writer(Version::V3);
        assert_eq!(writer.put(&needle), Err(WriteError::TooLong { id: NeedleId(1), part, limit_bytes }));
        assert_eq!((writer.dat().len(), writer.idx().len()), (8, 0), "nothing was written");
    }
}

#[test]
fn the_longest_parts_fit() {
    let long = vec![b'x'; 65_535];
    let mut writer = writer(Version::V3);
    let needle = NewNeedle {
        name: Some(&long[..255]),
        mime: Some(&long[..255]),
        pairs: Some(&long),
        last_modified_s: Some((1 << 40) - 1),
        ..plain(1, b"data")
    };
    writer.put(&needle).unwrap();
}

#[test]
fn padding_is_zero_or_what_upstream_leaves() {
    for version in VERSIONS {
        for padding in [Padding::Zero, Padding::Scratch] {
            let options = WriterOptions { version, padding, ..WriterOptions::default() };
            let mut writer = VolumeWriter::new(options);
            let entry = writer.put(&NewNeedle { id: NeedleId(u64::MAX), ..full(1) }).unwrap();
            let length = padding_length(entry.size_bytes, version) as usize;
            let left = &writer.dat()[writer.dat().len() - length..];
            let is_zero = left.iter().all(|byte| *byte == 0);
            assert!(length < 4 || is_zero == (padding == Padding::Zero), "{version} {padding:?} {left:?}");
        }
    }
}
