//! Needles and volumes the tests share.

use std::io::Write;

use proptest::prelude::*;
use wavetank_volume::{
    Ask, ChecksumForm, Cookie, Fate, Generator, NeedleId, NewNeedle, OffsetWidth, Outcome, Padding, Ttl,
    Version, Volume, VolumeFiles, VolumeWriter, WriterOptions,
};

pub(crate) const VERSIONS: [Version; 3] = [Version::V1, Version::V2, Version::V3];

pub(crate) fn writer(version: Version) -> VolumeWriter {
    VolumeWriter::new(WriterOptions { version, ..WriterOptions::default() })
}

pub(crate) fn plain(id: u64, data: &[u8]) -> NewNeedle<'_> {
    NewNeedle::new(NeedleId(id), Cookie(0xc00c_1e00), data)
}

/// A needle with every field set.
pub(crate) fn full(id: u64) -> NewNeedle<'static> {
    NewNeedle {
        compressed: true,
        chunk_manifest: true,
        name: Some(b"a name"),
        mime: Some(b"text/plain"),
        last_modified_s: Some(1_700_000_000),
        ttl: Some(Ttl { count: 2, unit_code: 1 }),
        pairs: Some(br#"{"a":"b"}"#),
        append_at_ns: 1_700_000_000_000_000_001,
        ..NewNeedle::new(NeedleId(id), Cookie(7), b"the data of this needle")
    }
}

pub(crate) fn volume(writer: &VolumeWriter, width: OffsetWidth) -> Volume {
    Volume::parse(writer.dat(), writer.dat().len() as u64, writer.idx(), width).unwrap()
}

/// All of a needle of [`plain`], as if nothing ever expired.
pub(crate) fn ask(id: u64) -> Ask {
    Ask::whole(NeedleId(id), Cookie(0xc00c_1e00), 0)
}

/// Reads all of a needle of [`plain`] that has to be there.
pub(crate) fn content(files: &mut VolumeFiles, id: u64) -> Vec<u8> {
    let mut out = Vec::new();
    match files.read_into(&ask(id), &mut out).unwrap() {
        Outcome::Found(_) | Outcome::Empty(_) => out,
        other => panic!("needle {id}: {other:?}"),
    }
}

/// Reads everything a generator wrote.
pub(crate) fn check_generated(files: &mut VolumeFiles, generator: &Generator) {
    let mut out = Vec::new();
    for id in generator.ids() {
        let ask = Ask::whole(id, generator.cookie(id), 0);
        let outcome = files.read_into(&ask, &mut out).unwrap();
        match (generator.content(id), outcome) {
            // Shards and vacuums forget what was deleted.
            (None, Outcome::Deleted | Outcome::Missing) => {}
            (Some(expected), Outcome::Empty(_)) if expected.is_empty() => {}
            (Some(expected), Outcome::Found(content)) => {
                assert!(out == expected, "needle {id}");
                assert_eq!(content.whole_len_bytes, expected.len() as u64);
                assert_eq!(content.is_inflated, generator.fate(id) == Fate::Compressed);
            }
            (_, outcome) => panic!("needle {id}, {:?}: {outcome:?}", generator.fate(id)),
        }
    }
}

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// An owned [`NewNeedle`].
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    pub(crate) id: u64,
    pub(crate) cookie: u32,
    pub(crate) data: Vec<u8>,
    bits: (bool, bool),
    texts: [Option<Vec<u8>>; 3],
    last_modified_s: Option<u64>,
    ttl: Option<(u8, u8)>,
    append_at_ns: u64,
}

impl Owned {
    pub(crate) fn needle(&self) -> NewNeedle<'_> {
        NewNeedle {
            compressed: self.bits.0,
            chunk_manifest: self.bits.1,
            name: self.texts[0].as_deref(),
            mime: self.texts[1].as_deref(),
            pairs: self.texts[2].as_deref(),
            last_modified_s: self.last_modified_s,
            ttl: self.ttl.map(|(count, unit_code)| Ttl { count, unit_code }),
            append_at_ns: self.append_at_ns,
            ..NewNeedle::new(NeedleId(self.id), Cookie(self.cookie), &self.data)
        }
    }
}

/// One step in a volume's life.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Put(Owned),
    Delete(u64),
}

fn bytes(limit: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..limit)
}

prop_compose! {
    fn owned()(
        // Few ids, so that steps meet.
        id in prop_oneof![4 => 0_u64..6, 1 => any::<u64>()],
        cookie: u32,
        data in prop_oneof![1 => Just(Vec::new()), 6 => bytes(300)],
        bits: (bool, bool),
        texts in (prop::option::of(bytes(256)), prop::option::of(bytes(256)), prop::option::of(bytes(700))),
        last_modified_s in prop::option::of(0_u64..1 << 40),
        ttl: Option<(u8, u8)>,
        append_at_ns: u64,
    ) -> Owned {
        Owned { id, cookie, data, bits, texts: [texts.0, texts.1, texts.2], last_modified_s, ttl, append_at_ns }
    }
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![5 => owned().prop_map(Step::Put), 1 => (0_u64..6).prop_map(Step::Delete)];
    prop::collection::vec(step, 0..12)
}

prop_compose! {
    pub(crate) fn options()(
        version in prop::sample::select(VERSIONS.to_vec()),
        masked: bool,
        five: bool,
        scratch: bool,
        compaction_revision: u16,
        extra in prop_oneof![2 => Just(Vec::new()), 1 => bytes(40)],
    ) -> WriterOptions {
        WriterOptions {
            version,
            checksum_form: if masked { ChecksumForm::Masked } else { ChecksumForm::Raw },
            offset_width: if five { OffsetWidth::Five } else { OffsetWidth::Four },
            padding: if scratch { Padding::Scratch } else { Padding::Zero },
            compaction_revision,
            extra,
            ..WriterOptions::default()
        }
    }
}

pub(crate) fn written(options: WriterOptions, steps: &[Step]) -> VolumeWriter {
    let mut writer = VolumeWriter::new(options);
    for step in steps {
        match step {
            Step::Put(owned) => drop(writer.put(&owned.needle()).unwrap()),
            Step::Delete(id) => writer.delete(NeedleId(*id), Cookie(1), 5).unwrap(),
        }
    }
    writer
}
