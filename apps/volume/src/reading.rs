//! Reading needles of a volume in use: following it, and never giving a byte that was not verified.

use std::io::{self, BufRead, Read, Write};
use std::ops::Range;

use crate::inflate::{Inflated, inflate, is_gzip};
use crate::located::LocateFault;
use crate::source::SourceFault;
use crate::verify::{Verified, Verifier};
use crate::{
    Ask, Content, Damage, FilesError, Followed, IndexEntry, Located, Lookup, NeedleError, Outcome,
    VolumeFiles,
};

/// How often the files are looked at again when a record is not what the index says.
const TRIES: u32 = 3;

impl VolumeFiles {
    /// Finds a needle's record and reads what stands around its data: one or two reads of a few KiB. What it gives may
    /// be read into any memory; see [`Located`]. Takes up first what the server has written since.
    ///
    /// # Errors
    ///
    /// [`FilesError`] when the files cannot be read, or cannot be used any more.
    pub fn locate(&mut self, ask: &Ask) -> Result<Outcome<Located>, FilesError> {
        self.follow()?;
        let mut tries = 1;
        loop {
            let entry = match self.volume().lookup(ask.id) {
                Lookup::Live(entry) | Lookup::Empty(entry) => entry,
                Lookup::Deleted => return Ok(Outcome::Deleted),
                Lookup::Missing => return Ok(Outcome::Missing),
            };
            let (volume, width) = (self.volume(), self.volume().index().offset_width());
            let version = volume.superblock().version;
            let fault = match Located::find(&self.source, version, width, entry, volume.dat_len_bytes()) {
                Ok(located) => return Ok(self.judge(located, ask)),
                Err(fault) => fault,
            };
            // The bytes were read from files that are open; whether these are still the volume is asked now.
            if tries < TRIES && self.follow_closely()? != Followed::Current {
                tries += 1;
                continue;
            }
            return match fault {
                LocateFault::Source(fault) => Err(self.source_error(fault)),
                LocateFault::Needle(
                    fault @ (NeedleError::IdMismatch { .. }
                    | NeedleError::SizeMismatch { .. }
                    | NeedleError::CutOff { .. }),
                ) => Ok(Outcome::Stale(fault)),
                LocateFault::Needle(fault) => Ok(Outcome::Damaged(fault.into())),
            };
        }
    }

    fn judge(&self, mut located: Located, ask: &Ask) -> Outcome<Located> {
        if ask.cookie.is_some_and(|cookie| cookie != located.cookie) {
            return Outcome::WrongCookie;
        }
        if let Some(at_unix_ns) = located.expires_at_ns().filter(|at| ask.now_unix_ns >= *at) {
            return Outcome::Expired { at_unix_ns };
        }
        located.verified = self.verified.get(located.entry.offset_bytes, located.stored_checksum);
        if located.entry.size_bytes == 0 { Outcome::Empty(located) } else { Outcome::Found(located) }
    }

    /// Reads a needle's whole data, compares it with its checksum, and remembers that it was right.
    ///
    /// # Errors
    ///
    /// [`FilesError`] when the file system fails.
    pub fn verify(&mut self, located: &Located) -> Result<Outcome<()>, FilesError> {
        let mut verifier = located.verifier();
        match located.read_blocks(0..located.data_len_bytes, |block| verifier.update(block)) {
            Err(fault) if fault.kind() == io::ErrorKind::UnexpectedEof => {}
            read => read.map_err(|fault| self.source_error(SourceFault::Io(fault)))?,
        }
        Ok(self.settle(verifier))
    }

    /// Remembers that a needle was verified, so that parts of it may be read from now on. What was verified in files
    /// that have been replaced since is not remembered.
    pub fn remember(&mut self, verified: Verified) {
        if verified.source.is_same(&self.source) {
            self.verified.insert(verified.offset_bytes, verified.stored_checksum, verified.crc32c);
        }
    }

    /// Forgets that a needle was verified: what was read of it since is not what it was then.
    pub fn doubt(&mut self, entry: &IndexEntry) {
        self.verified.forget(entry.offset_bytes);
    }

    fn settle(&mut self, verifier: Verifier) -> Outcome<()> {
        match verifier.finish() {
            Ok(verified) => {
                self.remember(verified);
                Outcome::Found(())
            }
            Err(fault @ NeedleError::CutOff { .. }) => Outcome::Stale(fault),
            Err(fault) => Outcome::Damaged(fault.into()),
        }
    }

    /// Reads a needle's content, or a range of it, into `out`: decompressed where it is stored compressed. `out` is
    /// cleared first, and stays empty unless the answer is [`Outcome::Found`].
    ///
    /// # Errors
    ///
    /// [`FilesError`] when the files cannot be read, or cannot be used any more.
    pub fn read_into(&mut self, ask: &Ask, out: &mut Vec<u8>) -> Result<Outcome<Content>, FilesError> {
        out.clear();
        let read = self.locate(ask)?.then(|located| {
            let damage = match self.read_located(located.clone(), ask, out)? {
                Outcome::Damaged(damage) => damage,
                other => return Ok(other),
            };
            self.read_from_other_shards(&located, ask, out)
                .map(|found| found.map_or(Outcome::Damaged(damage), Outcome::Found))
        });
        if !matches!(read, Ok(Outcome::Found(_))) {
            out.clear();
        }
        read
    }

    /// Tries to do without each shard in turn: if one of them has rotted, the others tell what was in it.
    fn read_from_other_shards(
        &mut self,
        located: &Located,
        ask: &Ask,
        out: &mut Vec<u8>,
    ) -> Result<Option<Content>, FilesError> {
        let range = located.data_offset_bytes..located.data_offset_bytes + located.data_len_bytes;
        for (shard, source) in located.source.without_each_shard(range) {
            out.clear();
            let others = Located { source, verified: None, ..located.clone() };
            if let Outcome::Found(content) = self.read_located(others, ask, out)? {
                return Ok(Some(Content { rotted_shard: Some(shard), ..content }));
            }
        }
        Ok(None)
    }

    fn read_located(
        &mut self,
        located: Located,
        ask: &Ask,
        out: &mut Vec<u8>,
    ) -> Result<Outcome<Content>, FilesError> {
        let mut is_inflated = false;
        if located.flags.is_compressed() {
            located
                .read_blocks(0..2, |head| is_inflated = is_gzip(head))
                .map_err(|fault| self.source_error(SourceFault::Io(fault)))?;
        }
        let whole = if is_inflated {
            self.read_inflated(&located, ask, out)?
        } else {
            self.read_stored(&located, ask, out)?
        };
        whole.then(|whole_len_bytes| {
            let range = clip(ask.range.as_ref(), whole_len_bytes);
            Ok(range.map_or(Outcome::NotInRange { whole_len_bytes }, |range| {
                Outcome::Found(Content { located, range, whole_len_bytes, is_inflated, rotted_shard: None })
            }))
        })
    }

    fn read_stored(
        &mut self,
        located: &Located,
        ask: &Ask,
        out: &mut Vec<u8>,
    ) -> Result<Outcome<u64>, FilesError> {
        let whole_len_bytes = located.data_len_bytes;
        let Some(range) = clip(ask.range.as_ref(), whole_len_bytes) else {
            return Ok(Outcome::NotInRange { whole_len_bytes });
        };
        // At most what the file holds, against which the index was checked.
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        out.try_reserve_exact(len)
            .map_err(|_| self.source_error(SourceFault::Io(io::ErrorKind::OutOfMemory.into())))?;
        let failed = |fault| self.source_error(SourceFault::Io(fault));
        if located.is_verified() {
            located.read_blocks(range, |block| out.extend_from_slice(block)).map_err(failed)?;
            return Ok(Outcome::Found(whole_len_bytes));
        }
        let mut verifier = located.verifier();
        let mut window = Window { out, range, at: 0 };
        let read = located.read_blocks(0..whole_len_bytes, |block| {
            verifier.update(block);
            window.take(block);
        });
        match read {
            Err(fault) if fault.kind() == io::ErrorKind::UnexpectedEof => {}
            read => read.map_err(failed)?,
        }
        self.settle(verifier).then(|()| Ok(Outcome::Found(whole_len_bytes)))
    }

    fn read_inflated(
        &mut self,
        located: &Located,
        ask: &Ask,
        out: &mut Vec<u8>,
    ) -> Result<Outcome<u64>, FilesError> {
        let range = ask.range.clone().unwrap_or(0..u64::MAX);
        let mut gzip = Gzip { located, verifier: located.verifier(), block: Vec::new(), used: 0, at: 0 };
        let mut window = Window { out, range, at: 0 };
        let inflated = inflate(&mut gzip, ask.inflated_len_max, &mut window)
            .and_then(|inflated| {
                // What the gzip did not need belongs to the data all the same.
                if inflated != Inflated::OverLimit && !located.is_verified() {
                    gzip.drain()?;
                }
                Ok(inflated)
            })
            .map_err(|fault| self.source_error(SourceFault::Io(fault)))?;
        if inflated == Inflated::OverLimit {
            return Ok(Outcome::TooLong { inflated_len_max: ask.inflated_len_max });
        }
        let settled = if located.is_verified() { Outcome::Found(()) } else { self.settle(gzip.verifier) };
        let (id, offset_bytes) = (located.entry.id, located.entry.offset_bytes);
        settled.then(|()| {
            Ok(match inflated {
                Inflated::Whole(whole_len_bytes) => Outcome::Found(whole_len_bytes),
                _ => Outcome::Damaged(Damage::Gzip { id, offset_bytes }),
            })
        })
    }
}

/// The range within a content of this length; `None` when it begins behind its end, or is none.
fn clip(range: Option<&Range<u64>>, whole_len_bytes: u64) -> Option<Range<u64>> {
    let Some(range) = range else { return Some(0..whole_len_bytes) };
    let end = range.end.min(whole_len_bytes);
    (range.start < end).then_some(range.start..end)
}

/// Keeps of what passes the bytes of one range.
struct Window<'a> {
    out: &'a mut Vec<u8>,
    range: Range<u64>,
    at: u64,
}

impl Window<'_> {
    fn take(&mut self, block: &[u8]) {
        let within = |at: u64| at.saturating_sub(self.at).min(block.len() as u64) as usize;
        let (start, end) = (within(self.range.start), within(self.range.end));
        self.out.extend_from_slice(block.get(start..end).unwrap_or_default());
        self.at += block.len() as u64;
    }
}

impl Write for Window<'_> {
    fn write(&mut self, block: &[u8]) -> io::Result<usize> {
        let start_len = self.out.len();
        self.out.try_reserve(block.len()).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        self.take(block);
        debug_assert!(self.out.len() - start_len <= block.len());
        Ok(block.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The stored data as a reader, summed as it passes.
struct Gzip<'a> {
    located: &'a Located,
    verifier: Verifier,
    block: Vec<u8>,
    used: usize,
    at: u64,
}

const GZIP_BLOCK_BYTES: u64 = 64 << 10;

impl Gzip<'_> {
    fn drain(&mut self) -> io::Result<()> {
        loop {
            let len = self.fill_buf()?.len();
            if len == 0 {
                return Ok(());
            }
            self.consume(len);
        }
    }
}

impl BufRead for Gzip<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.block.len() {
            self.block.clear();
            self.used = 0;
            let end = self.located.data_len_bytes.min(self.at + GZIP_BLOCK_BYTES);
            // A file that ends early must not look like a gzip that does.
            self.located.read_blocks(self.at..end, |part| self.block.extend_from_slice(part)).map_err(
                |fault| match fault.kind() {
                    io::ErrorKind::UnexpectedEof => io::Error::other(fault),
                    _ => fault,
                },
            )?;
            self.verifier.update(&self.block);
            self.at = end;
        }
        Ok(self.block.get(self.used..).unwrap_or_default())
    }

    fn consume(&mut self, len: usize) {
        self.used = self.block.len().min(self.used + len);
    }
}

impl Read for Gzip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
