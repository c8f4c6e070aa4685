//! Volumes whose content follows from a seed, and what a reader has to be told of each of their needles.

use std::path::Path;

use wavetank_client::{Code, Wanted};
use wavetank_volume::{
    Cookie, Fate, Generator, NeedleId, NewNeedle, Ttl, Version, VolumeWriter, WriterOptions,
};

/// Modification time of what was written with a time to live.
const WRITTEN_S: u64 = 1_700_000_000;

/// A volume: generated needles, and with them one that has expired, one that will, and one that never was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shelf {
    pub(crate) volume: u32,
    pub(crate) version: Version,
    pub(crate) needles: Generator,
}

/// What is right.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Right {
    Bytes(Vec<u8>),
    No(Code),
}

/// Ids that the generator does not use: it takes 1, 4, 7.
const EXPIRED: u64 = 2;
const LIVING: u64 = 3;
const NEVER: u64 = 5;

impl Shelf {
    pub(crate) fn new(volume: u32, version: Version, needles: Generator) -> Shelf {
        Shelf { volume, version, needles }
    }

    /// Another that answers to the same names, with other bytes.
    pub(crate) fn of_another_seed(self) -> Shelf {
        Shelf { needles: Generator { seed: self.needles.seed + 1, ..self.needles }, ..self }
    }

    /// Version 1 keeps neither the mark of compressed data nor a time to live.
    fn skips(&self, id: NeedleId) -> bool {
        self.version == Version::V1 && self.needles.fate(id) == Fate::Compressed
    }

    pub(crate) fn written(&self) -> VolumeWriter {
        let options = WriterOptions { version: self.version, ..WriterOptions::default() };
        let mut writer = VolumeWriter::new(options);
        for id in self.needles.ids().filter(|id| !self.skips(*id)) {
            self.needles.put(&mut writer, id).unwrap();
        }
        for (id, ttl) in
            [(EXPIRED, Ttl { count: 1, unit_code: 1 }), (LIVING, Ttl { count: 255, unit_code: 6 })]
        {
            let data = self.lasting(id);
            let (ttl, last_modified_s) = (Some(ttl), Some(WRITTEN_S));
            let needle = NewNeedle::new(NeedleId(id), self.cookie(id), &data);
            writer.put(&NewNeedle { ttl, last_modified_s, ..needle }).unwrap();
        }
        writer
    }

    pub(crate) fn write_to(&self, folder: &Path) {
        self.written().write_to(folder, &self.volume.to_string()).unwrap();
    }

    fn lasting(&self, id: u64) -> Vec<u8> {
        (0..2000).map(|at| (self.needles.seed + id + at * 3) as u8).collect()
    }

    fn cookie(&self, id: u64) -> Cookie {
        self.needles.cookie(NeedleId(id))
    }

    /// Every needle that is asked for.
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.needles.ids().map(|id| id.0).chain([EXPIRED, LIVING, NEVER]).collect()
    }

    /// All of one.
    pub(crate) fn wanted(&self, id: u64) -> Wanted {
        Wanted { volume: self.volume, needle: id, cookie: self.cookie(id).0, ..Wanted::default() }
    }

    pub(crate) fn right(&self, id: u64) -> Right {
        match id {
            EXPIRED if self.version != Version::V1 => Right::No(Code::Expired),
            EXPIRED | LIVING => Right::Bytes(self.lasting(id)),
            NEVER => Right::No(Code::Missing),
            id if self.skips(NeedleId(id)) => Right::No(Code::Missing),
            id => self.needles.content(NeedleId(id)).map_or(Right::No(Code::Deleted), Right::Bytes),
        }
    }
}
