//! A region as the checks know it: whose bytes it holds, and which may be seen where.

use std::ops::Range;
use std::sync::Arc;

use wavetank_contract::{MrId, Region};
use wavetank_volume::{IndexEntry, Needle, Version};

use crate::atomic::Cells;
use crate::check::Check;
use crate::pattern::{self, Suspect, Tag};
use crate::version::{ReadTicket, Versions};
use crate::workload::Planned;

/// A region of the workload.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) id: u32,
    /// Bytes; the memory may be longer by less than a page.
    pub(super) len: u64,
    pub(super) home: Home,
    pub(super) contents: Contents,
}

/// Where a region's memory is.
#[derive(Debug)]
pub(super) enum Home {
    /// At a node of this process: whoever wants to know what it holds looks.
    Here { node: u16, memory: Region, mr: MrId },
    /// At a node of another process: what it holds has to be read, as far as it may be reached.
    Elsewhere { whole_bytes: u64 },
}

impl Home {
    /// The memory, where it can be looked at.
    pub(super) fn memory(&self) -> Option<&Region> {
        match self {
            Home::Here { memory, .. } => Some(memory),
            Home::Elsewhere { .. } => None,
        }
    }
}

/// What a region holds.
#[derive(Debug)]
pub(super) enum Contents {
    /// Pattern data, written by its owner and by operations.
    Pattern(Versions),
    /// Cells that atomics work on.
    Cells(Cells),
    /// A volume file, never written; what it holds is what the file held.
    Volume(Arc<VolumeFile>),
}

/// The contents of a volume and where its needles are.
#[derive(Debug)]
pub(super) struct VolumeFile {
    pub(super) version: Version,
    pub(super) bytes: Vec<u8>,
    /// By offset.
    pub(super) needles: Vec<IndexEntry>,
}

/// What is wrong with an operation's bytes.
#[derive(Debug)]
pub(super) enum Wrong {
    /// This byte of what arrived, counted from its start, is nobody's that it could be.
    Arrived { first: u64 },
    /// This byte of what was written, counted from its start, is not in place.
    Placed { first: u64 },
    /// Something else.
    Said { check: Check, what: String },
}

fn bytes(what: String) -> Wrong {
    Wrong::Said { check: Check::Bytes, what }
}

impl Place {
    pub(super) fn begin_read(&mut self, range: Range<u64>) -> ReadTicket {
        match &mut self.contents {
            Contents::Pattern(versions) => versions.begin_read(range),
            Contents::Cells(_) | Contents::Volume(_) => ReadTicket::Settled(0),
        }
    }

    pub(super) fn begin_write(&mut self, range: Range<u64>) -> u32 {
        match &mut self.contents {
            Contents::Pattern(versions) => versions.begin_write(range),
            Contents::Cells(_) | Contents::Volume(_) => unreachable!("setup refuses writes to such regions"),
        }
    }

    /// What a compare-and-swap may expect to find.
    pub(super) fn guess(&self, offset: u64) -> u64 {
        match &self.contents {
            Contents::Cells(cells) => cells.guess(offset),
            _ => 0,
        }
    }

    /// Checks what a READ brought to `memory` at `at`.
    pub(super) fn verify_read(
        &mut self,
        ticket: ReadTicket,
        planned: &Planned,
        memory: &Region,
        at: u64,
    ) -> Option<Wrong> {
        let (len, offset) = (planned.len as usize, planned.offset);
        match (&mut self.contents, ticket) {
            (Contents::Pattern(_), ReadTicket::Settled(generation)) => {
                let tag = Tag { region: self.id, generation };
                if pattern::holds(memory, at, len, tag, offset) {
                    return None;
                }
                let first = pattern::first_foreign(memory, at, len, self.id, &[generation], offset)?;
                Some(Wrong::Arrived { first: first as u64 })
            }
            (Contents::Pattern(versions), ReadTicket::Watched(id)) => {
                let Some(pieces) = versions.end_read(id) else {
                    return Some(bytes("ended twice".to_owned()));
                };
                pieces.into_iter().find_map(|(range, legal)| {
                    let skip = range.start - offset;
                    let piece_len = (range.end - range.start) as usize;
                    pattern::first_foreign(memory, at + skip, piece_len, self.id, &legal, range.start)
                        .map(|first| Wrong::Arrived { first: skip + first as u64 })
                })
            }
            (Contents::Volume(volume), _) => volume.verify(planned, memory, at),
            (Contents::Cells(_), _) => unreachable!("setup refuses reads of cells"),
        }
    }

    /// Checks that a completed WRITE is in place: now, or where that cannot be seen, at the end.
    pub(super) fn verify_written(&mut self, generation: u32) -> Option<Wrong> {
        let Contents::Pattern(versions) = &mut self.contents else { return None };
        let Some(pieces) = versions.end_write(generation) else {
            return Some(bytes("ended twice".to_owned()));
        };
        let memory = self.home.memory()?;
        let start = pieces.first()?.0.start;
        pieces.into_iter().find_map(|(range, legal)| {
            let len = (range.end - range.start) as usize;
            let first = pattern::first_foreign(memory, range.start, len, self.id, &legal, range.start)?;
            Some(Wrong::Placed { first: range.start - start + first as u64 })
        })
    }

    pub(super) fn verify_atomic(&mut self, offset: u64, former: u64, new: u64) -> Option<Wrong> {
        let Contents::Cells(cells) = &mut self.contents else { return None };
        let problem = cells.done(offset, former, new).err()?;
        Some(Wrong::Said { check: Check::Atomic, what: problem })
    }

    /// Checks every byte of its memory, or of what was read from there, when nothing is under way any more.
    pub(super) fn sweep(&self, memory: &Region, suspects: &[Suspect]) -> Option<(Check, String)> {
        self.sweep_contents(memory, suspects).or_else(|| {
            // The rest of the last page is registered too, and nobody's: it is zero since it was allocated.
            let rest = memory.cells(self.len, (memory.len() - self.len) as usize);
            let wrong = self.len + rest.iter().position(|cell| cell.get() != 0)? as u64;
            Some((Check::Bytes, format!("byte {wrong}, past its end, was written")))
        })
    }

    fn sweep_contents(&self, memory: &Region, suspects: &[Suspect]) -> Option<(Check, String)> {
        match &self.contents {
            Contents::Pattern(versions) => versions.all().into_iter().find_map(|(range, legal)| {
                let len = (range.end - range.start) as usize;
                let first = pattern::first_foreign(memory, range.start, len, self.id, &legal, range.start)?;
                let wrong = range.start + first as u64;
                let origin = pattern::origin(memory, wrong, range.end, suspects);
                Some((Check::Bytes, format!("byte {wrong} is not of generation {legal:?}; found {origin}")))
            }),
            Contents::Cells(cells) => {
                let last = |offset| u64::from_le(memory.word(offset).get());
                let wrong = cells.check(last).err();
                let wrong = wrong.or_else(|| {
                    let (_, words, _) = memory.words(0, (self.len & !7) as usize);
                    let idle = (0..).step_by(8).zip(words).filter(|(offset, _)| !cells.knows(*offset));
                    let (offset, word) = idle.into_iter().find(|(_, word)| word.get() != 0)?;
                    let holds = u64::from_le(word.get());
                    Some(format!("the cell at {offset} holds {holds:#x}, and no atomic changed it"))
                });
                wrong.map(|problem| (Check::Atomic, problem))
            }
            Contents::Volume(volume) => {
                let cells = memory.cells(0, volume.bytes.len());
                let first = cells.iter().zip(&volume.bytes).position(|(cell, byte)| cell.get() != *byte)?;
                Some((Check::Bytes, format!("byte {first} is not the file's any more")))
            }
        }
    }

    pub(super) fn suspect(&self, region: u32) -> Option<Suspect> {
        let Contents::Pattern(versions) = &self.contents else { return None };
        let (name, generations) = (self.name.clone(), versions.generations());
        Some(Suspect { name, region, len: self.len, generations })
    }
}

impl VolumeFile {
    /// Checks a needle that was read: id, size and the checksum SeaweedFS stored, then every byte of its record.
    fn verify(&self, planned: &Planned, memory: &Region, at: u64) -> Option<Wrong> {
        let index = self.needles.binary_search_by_key(&planned.offset, |needle| needle.offset_bytes);
        let Some(entry) = index.ok().and_then(|index| self.needles.get(index)) else {
            return Some(bytes(format!("no needle begins at offset {}", planned.offset)));
        };
        let mut record = vec![0; planned.len as usize];
        memory.read(at, &mut record);
        if let Err(problem) = Needle::parse(&record, self.version, entry) {
            return Some(Wrong::Said { check: Check::Needle, what: problem.to_string() });
        }
        let owned = self.bytes.get(planned.offset as usize..)?;
        let first = record.iter().zip(owned).position(|(got, owned)| got != owned)?;
        Some(bytes(format!("byte {first} of the record is not the file's")))
    }
}
