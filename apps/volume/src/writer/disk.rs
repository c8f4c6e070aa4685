//! A volume on disk that is written as a server does it, for tests of readers: appends go to the `.dat` before they go to
//! the `.idx`, and a vacuum writes new files and renames them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::VolumeWriter;

/// A [`VolumeWriter`] and the files it has been written to.
#[derive(Debug)]
pub struct VolumeOnDisk {
    /// What the volume holds; what was put here reaches the files with [`Self::flush`].
    pub writer: VolumeWriter,
    dat_path: PathBuf,
    dat_written: usize,
    idx_written: usize,
}

impl VolumeOnDisk {
    /// Writes `<dir>/<name>.dat` and `.idx`.
    ///
    /// # Errors
    ///
    /// What the file system reports.
    pub fn create(writer: VolumeWriter, dir: impl AsRef<Path>, name: &str) -> io::Result<Self> {
        let dat_path = writer.write_to(dir, name)?;
        let (dat_written, idx_written) = (writer.dat().len(), writer.idx().len());
        Ok(Self { writer, dat_path, dat_written, idx_written })
    }

    /// The `.dat`.
    #[must_use]
    pub fn dat_path(&self) -> &Path {
        &self.dat_path
    }

    /// Appends to both files what was put or deleted since.
    ///
    /// # Errors
    ///
    /// What the file system reports.
    pub fn flush(&mut self) -> io::Result<()> {
        self.flush_dat(usize::MAX)?;
        self.flush_idx(usize::MAX)
    }

    /// Appends to the `.dat` alone, at most `len_max` bytes.
    ///
    /// # Errors
    ///
    /// What the file system reports.
    pub fn flush_dat(&mut self, len_max: usize) -> io::Result<()> {
        self.dat_written = append(&self.dat_path, self.writer.dat(), self.dat_written, len_max)?;
        Ok(())
    }

    /// Appends to the `.idx` alone, at most `len_max` bytes.
    ///
    /// # Errors
    ///
    /// What the file system reports.
    pub fn flush_idx(&mut self, len_max: usize) -> io::Result<()> {
        let idx_path = self.dat_path.with_extension("idx");
        self.idx_written = append(&idx_path, self.writer.idx(), self.idx_written, len_max)?;
        Ok(())
    }

    /// Flushes, and writes what is left after a vacuum to `.cpd` and `.cpx`.
    ///
    /// # Errors
    ///
    /// What the file system reports.
    pub fn vacuum(&mut self) -> io::Result<Vacuum<'_>> {
        self.flush()?;
        let compact = self.writer.vacuumed();
        fs::write(self.dat_path.with_extension("cpd"), compact.dat())?;
        fs::write(self.dat_path.with_extension("cpx"), compact.idx())?;
        Ok(Vacuum { volume: self, compact })
    }
}

fn append(path: &Path, all: &[u8], written: usize, len_max: usize) -> io::Result<usize> {
    let rest = all.get(written..).unwrap_or_default();
    let part = &rest[..rest.len().min(len_max)];
    OpenOptions::new().append(true).open(path)?.write_all(part)?;
    Ok(written + part.len())
}

/// A vacuum whose new files are written and not in place yet.
///
/// Source of the order: `weed/storage/volume_vacuum.go`.
#[derive(Debug)]
pub struct Vacuum<'a> {
    volume: &'a mut VolumeOnDisk,
    compact: VolumeWriter,
}

impl Vacuum<'_> {
    /// The first half of the swap: `.cpd` becomes the `.dat`.
    ///
    /// # Errors
    ///
    /// What the file system reports.
    pub fn rename_dat(&mut self) -> io::Result<()> {
        let dat_path = &self.volume.dat_path;
        fs::rename(dat_path.with_extension("cpd"), dat_path)
    }

    /// The second half: `.cpx` becomes the `.idx`, and appends go to the new files.
    ///
    /// # Errors
    ///
    /// What the file system reports.
    pub fn rename_idx(self) -> io::Result<()> {
        let dat_path = &self.volume.dat_path;
        fs::rename(dat_path.with_extension("cpx"), dat_path.with_extension("idx"))?;
        (self.volume.dat_written, self.volume.idx_written) =
            (self.compact.dat().len(), self.compact.idx().len());
        self.volume.writer = self.compact;
        Ok(())
    }

    /// Both halves.
    ///
    /// # Errors
    ///
    /// What the file system reports.
    pub fn swap(mut self) -> io::Result<()> {
        self.rename_dat()?;
        self.rename_idx()
    }
}
