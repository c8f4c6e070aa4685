//! Volumes on disk, and what they hold.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use flate2::read::GzDecoder;
use tempfile::TempDir;
use wavetank_sidecar::{Details, FileId};
use wavetank_volume::{
    Cookie, FilesError, NeedleId, NewNeedle, ReadError, VolumeFiles, VolumeWriter, WriterOptions, crc32c_raw,
};

/// A needle as it is stored, and as readers get it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) data: Vec<u8>,
    pub(crate) content: Vec<u8>,
    pub(crate) details: Details,
    pub(crate) is_gzip: bool,
}

/// Why it cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    Missing,
    Deleted,
    WrongCookie,
}

/// Some volumes.
#[derive(Debug)]
pub(crate) struct Shelf {
    _folder: Option<TempDir>,
    volumes: BTreeMap<u32, Mutex<VolumeFiles>>,
}

impl Shelf {
    /// With what was written, by number of the volume.
    pub(crate) fn new(volumes: Vec<(u32, VolumeWriter)>) -> Shelf {
        let folder = tempfile::tempdir().unwrap();
        let open = |(number, writer): (u32, VolumeWriter)| {
            let path = writer.write_to(folder.path(), &number.to_string()).unwrap();
            (number, Mutex::new(VolumeFiles::open(path).unwrap()))
        };
        let volumes = volumes.into_iter().map(open).collect();
        Shelf { _folder: Some(folder), volumes }
    }

    /// Of volumes that lie in somebody's folder.
    #[allow(dead_code, reason = "the tests of apps/wavetank use it")]
    pub(crate) fn of_files(folder: &Path, volumes: &[u32]) -> Shelf {
        let open = |number: &u32| {
            (*number, Mutex::new(VolumeFiles::open(folder.join(format!("{number}.dat"))).unwrap()))
        };
        Shelf { _folder: None, volumes: volumes.iter().map(open).collect() }
    }

    pub(crate) fn volumes(&self) -> Vec<u32> {
        self.volumes.keys().copied().collect()
    }

    pub(crate) fn read(&self, file: FileId) -> Result<Stored, Absent> {
        let volume = self.volumes.get(&file.volume).ok_or(Absent::Missing)?;
        let volume = volume.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = Vec::new();
        let needle = match volume.read(NeedleId(file.needle), &mut buffer) {
            Ok(needle) => needle,
            Err(FilesError::Read { fault: ReadError::Deleted { .. }, .. }) => return Err(Absent::Deleted),
            Err(FilesError::Read { fault: ReadError::Missing { .. }, .. }) => return Err(Absent::Missing),
            Err(why) => panic!("{file}: {why}"),
        };
        needle.check_cookie(Cookie(file.cookie)).map_err(|_| Absent::WrongCookie)?;
        let is_gzip = needle.flags.is_compressed() && needle.data.starts_with(&[0x1f, 0x8b]);
        let mut content = Vec::new();
        match is_gzip {
            true => drop(GzDecoder::new(needle.data).read_to_end(&mut content).unwrap()),
            false => content.extend_from_slice(needle.data),
        }
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let details = Details {
            flags: if is_gzip { needle.flags.0 & !1 } else { needle.flags.0 },
            last_modified_s: needle.last_modified_s,
            etag: Some(crc32c_raw(needle.data)),
            mime: text(needle.mime),
            name: text(needle.name),
        };
        Ok(Stored { data: needle.data.to_vec(), content, details, is_gzip })
    }
}

/// A volume with these needles.
pub(crate) fn volume(needles: &[NewNeedle<'_>]) -> VolumeWriter {
    let mut writer = VolumeWriter::new(WriterOptions::default());
    for needle in needles {
        writer.put(needle).unwrap();
    }
    writer
}
