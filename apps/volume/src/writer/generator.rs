//! Volumes whose content follows from a seed, so that a reader knows what to expect without having kept it.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{NewNeedle, VolumeWriter, WriteError, WriterOptions};
use crate::{Cookie, NeedleId};

/// Needles of mixed sizes: empty, small, large, compressed, named, overwritten and deleted ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generator {
    /// Another seed gives other bytes, cookies and fates.
    pub seed: u64,
    /// How many.
    pub needles: u64,
    /// The longest content.
    pub len_max: usize,
}

/// What becomes of a generated needle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the fate of that name")]
pub enum Fate {
    Plain,
    Named,
    Compressed,
    Empty,
    Overwritten,
    Deleted,
}

fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Generator {
    /// The ids, in the order in which they are written.
    pub fn ids(&self) -> impl Iterator<Item = NeedleId> {
        (0..self.needles).map(|number| NeedleId(1 + 3 * number))
    }

    fn draw(&self, id: NeedleId, purpose: u64) -> u64 {
        mixed(mixed(self.seed ^ purpose.wrapping_mul(0x5851_f42d_4c95_7f2d)).wrapping_add(id.0))
    }

    /// A needle's cookie.
    #[must_use]
    pub fn cookie(&self, id: NeedleId) -> Cookie {
        Cookie(self.draw(id, 1) as u32)
    }

    /// What becomes of a needle.
    #[must_use]
    pub fn fate(&self, id: NeedleId) -> Fate {
        match self.draw(id, 2) % 12 {
            0 => Fate::Deleted,
            1 => Fate::Overwritten,
            2 | 3 => Fate::Compressed,
            4 => Fate::Empty,
            5 => Fate::Named,
            _ => Fate::Plain,
        }
    }

    /// A needle's content as a reader gets it; `None` when it is deleted.
    #[must_use]
    pub fn content(&self, id: NeedleId) -> Option<Vec<u8>> {
        match self.fate(id) {
            Fate::Deleted => None,
            Fate::Empty => Some(Vec::new()),
            Fate::Compressed => Some(self.text(id)),
            _ => Some(self.bytes(id, 3)),
        }
    }

    fn len(&self, id: NeedleId) -> usize {
        // Small ones are more frequent: a length is drawn below a limit that is drawn.
        let limit = 1 + self.draw(id, 4) as usize % self.len_max.max(1);
        1 + self.draw(id, 5) as usize % limit
    }

    fn bytes(&self, id: NeedleId, purpose: u64) -> Vec<u8> {
        let (len, start) = (self.len(id), self.draw(id, purpose));
        let mut bytes = Vec::with_capacity(len + 8);
        let mut number = 0;
        while bytes.len() < len {
            bytes.extend(mixed(start.wrapping_add(number)).to_le_bytes());
            number += 1;
        }
        bytes.truncate(len);
        bytes
    }

    fn text(&self, id: NeedleId) -> Vec<u8> {
        let line = format!("{:016x} of seed {}, line ", self.draw(id, 6), self.seed);
        let mut text = Vec::new();
        for number in 0.. {
            if text.len() >= self.len(id) {
                break;
            }
            text.extend(format!("{line}{number}\n").bytes());
        }
        text.truncate(self.len(id));
        text
    }

    /// Writes them all.
    ///
    /// # Errors
    ///
    /// [`WriteError`] when they are too large for a volume.
    pub fn write(&self, options: WriterOptions) -> Result<VolumeWriter, WriteError> {
        let mut writer = VolumeWriter::new(options);
        self.ids().try_for_each(|id| self.put(&mut writer, id))?;
        Ok(writer)
    }

    /// Writes one of them, with all that becomes of it.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    pub fn put(&self, writer: &mut VolumeWriter, id: NeedleId) -> Result<(), WriteError> {
        let cookie = self.cookie(id);
        let append_at_ns = 1_700_000_000_000_000_000 + id.0;
        let former = self.bytes(id, 7);
        let new = |data| NewNeedle { append_at_ns, ..NewNeedle::new(id, cookie, data) };
        let content = self.content(id).unwrap_or_default();
        match self.fate(id) {
            Fate::Plain | Fate::Empty => drop(writer.put(&new(&content))?),
            Fate::Named => {
                let name = format!("{id}.bin");
                let (name, mime) = (Some(name.as_bytes()), Some(&b"application/octet-stream"[..]));
                let last_modified_s = Some(1_700_000_000);
                writer.put(&NewNeedle { name, mime, last_modified_s, ..new(&content) })?;
            }
            Fate::Compressed => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                // Nothing can go wrong with a Vec; were the gzip cut, a reader would tell.
                let gzip = encoder.write_all(&content).and_then(|()| encoder.finish()).unwrap_or_default();
                writer.put(&NewNeedle { compressed: true, ..new(&gzip) })?;
            }
            Fate::Overwritten => {
                writer.put(&new(&former))?;
                writer.put(&new(&content))?;
            }
            Fate::Deleted => {
                writer.put(&new(&former))?;
                writer.delete(id, cookie, append_at_ns)?;
            }
        }
        Ok(())
    }
}
