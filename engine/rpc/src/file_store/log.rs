//! One chunk on disk: its file is a log of records, the newest block wins.

mod copy;

use std::io;
use std::rc::Rc;

use wavetank_contract::Lease;

use super::layout::{BLOCK, Head, Kind, Start, decode_deeds, head_bytes, header, header_sum, mark, start};
use crate::applied::Deed;
use crate::crc::BLOCK_BYTES;
use crate::disk::DiskFile;
use crate::error::ChunkError;
use crate::key::{ChunkKey, Once, WriteId};
use crate::memory_store::parts;
use crate::store::WriteOrder;

const WHOLE: ChunkError = ChunkError::CorruptAtRest { offset: ChunkError::WHOLE_CHUNK };

/// Where a block is in the file, and its sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// In blocks.
    at: u32,
    crc32c: u32,
}

/// What is to be written, after all of it was verified.
pub(super) struct Plan {
    sums: Vec<u32>,
    /// Blocks of which the write has a part only, as they will be: at most the first and the last.
    edges: Vec<(usize, Box<[u8; BLOCK_BYTES]>)>,
}

impl Plan {
    /// Bytes that the record takes.
    pub(super) fn record_bytes(&self) -> u64 {
        head_bytes(self.sums.len()) as u64 + self.sums.len() as u64 * BLOCK
    }
}

/// A chunk's file and what is in it.
pub(super) struct Log {
    pub(super) key: ChunkKey,
    pub(super) file: Option<Rc<dyn DiskFile>>,
    /// A chunk is there; the file of one that was removed still has deeds.
    pub(super) exists: bool,
    pub(super) len_bytes: u64,
    blocks: Vec<Option<Place>>,
    live: u64,
    /// Where the next record goes; 0 when there is no header yet.
    pub(super) end: u64,
    number: u64,
    previous: u32,
    /// Known to be on disk up to here.
    pub(super) synced_to: u64,
    marks: u64,
    pub(super) deeds: Vec<Deed>,
    /// The file's name is on disk too.
    pub(super) named: bool,
    /// A new file is being made of this one.
    pub(super) compacting: bool,
    /// Its end when it was made of an older file.
    copied_end: u64,
    /// Its deeds are known to the table of what was applied.
    pub(super) inherited: bool,
    /// Why no more is written: the disk did not keep what it had taken.
    pub(super) failed: Option<ChunkError>,
}

impl Log {
    /// Of a chunk that has no file.
    pub(super) fn absent(key: ChunkKey) -> Log {
        Log {
            key,
            file: None,
            exists: false,
            len_bytes: 0,
            blocks: Vec::new(),
            live: 0,
            end: 0,
            number: 0,
            previous: header_sum(key),
            synced_to: 0,
            marks: 0,
            deeds: Vec::new(),
            named: false,
            compacting: false,
            copied_end: 0,
            inherited: true,
            failed: None,
        }
    }

    /// Reads a file's records. What follows the last whole one is what a crash left of writes that nobody was told to be
    /// durable. Below the mark everything is on disk, so what is missing there is damage.
    pub(super) fn load(
        key: ChunkKey,
        file: Rc<dyn DiskFile>,
        chunk_bytes_max: u64,
    ) -> Result<Log, ChunkError> {
        let file_bytes = file.len_bytes()?;
        let mut block = [0; BLOCK_BYTES];
        let first = &mut block[..file_bytes.min(BLOCK) as usize];
        file.read_at(0, first)?;
        let mut log = Log { file: Some(file.clone()), ..Log::absent(key) };
        let synced_to = match start(key, first) {
            Start::Good(synced_to) => synced_to,
            Start::Torn => return Ok(log),
            Start::Damaged => return Err(WHOLE),
        };
        log.end = BLOCK;
        while let Some((head, sum)) = Head::read(&*file, log.end, file_bytes, key)? {
            let follows = head.number == log.number && head.previous == log.previous;
            if !follows || !log.take(&head, sum, log.end >= synced_to, chunk_bytes_max)? {
                break;
            }
        }
        if log.end < synced_to {
            return Err(WHOLE);
        }
        log.synced_to = synced_to;
        Ok(log)
    }

    /// Takes in the record at the end. False when its blocks are not what its head says, or it makes no sense.
    fn take(
        &mut self,
        head: &Head,
        sum: u32,
        verify: bool,
        chunk_bytes_max: u64,
    ) -> Result<bool, ChunkError> {
        let Some(file) = self.file.clone() else {
            return Ok(false);
        };
        let data_at = self.end + head_bytes(head.sums.len()) as u64;
        let past = u64::from(head.first_block) + head.sums.len() as u64;
        let brings_blocks = matches!(head.kind, Kind::Write | Kind::Blocks);
        if brings_blocks && (past > chunk_bytes_max.div_ceil(BLOCK) || head.len_bytes > chunk_bytes_max) {
            // Whole, but of a store with longer chunks.
            return Err(ChunkError::TooLarge { asked_bytes: head.len_bytes, limit_bytes: chunk_bytes_max });
        }
        if verify || head.kind == Kind::Deeds {
            let mut bytes = Vec::new();
            let mut block = [0; BLOCK_BYTES];
            for (i, sum) in head.sums.iter().enumerate() {
                file.read_at(data_at + i as u64 * BLOCK, &mut block)?;
                if crc32c::crc32c(&block) != *sum {
                    return Ok(false);
                }
                if head.kind == Kind::Deeds {
                    bytes.extend_from_slice(&block);
                }
            }
            if head.kind == Kind::Deeds {
                match decode_deeds(&bytes, head.data_bytes, self.key) {
                    Some(deeds) => self.deeds.extend(deeds),
                    None => return Ok(false),
                }
            }
        }
        self.apply(head, sum);
        Ok(true)
    }

    /// The record at the end counts from now on.
    fn apply(&mut self, head: &Head, sum: u32) {
        let data_at = self.end + head_bytes(head.sums.len()) as u64;
        match head.kind {
            Kind::Write | Kind::Blocks => {
                let first = head.first_block as usize;
                let past = first + head.sums.len();
                if self.blocks.len() < past {
                    self.blocks.resize(past, None);
                }
                for (i, (place, sum)) in self.blocks[first..past].iter_mut().zip(&head.sums).enumerate() {
                    self.live += u64::from(place.is_none());
                    *place = Some(Place { at: (data_at / BLOCK) as u32 + i as u32, crc32c: *sum });
                }
                self.exists = true;
                self.len_bytes = head.len_bytes;
            }
            Kind::Remove => {
                self.blocks.clear();
                self.live = 0;
                self.exists = false;
                self.len_bytes = 0;
            }
            Kind::Deeds => {}
        }
        self.deeds.extend(head.deed(self.key));
        self.end += head.record_bytes();
        self.number += 1;
        self.previous = sum;
    }

    /// Reads a range that is inside the chunk; answers with its sum.
    pub(super) fn read(&self, offset: u64, len_bytes: u32, into: &Lease, at: u64) -> Result<u32, ChunkError> {
        let file = self.file.as_ref().ok_or(ChunkError::NotFound)?;
        let ranges: Vec<_> = parts(offset, len_bytes).collect();
        // Whole blocks that lie side by side in the file are read in one go, straight into the lease.
        let mut next = 0;
        while let Some(&(index, _, _, done)) = ranges.get(next) {
            let run = self.run(&ranges[next..]);
            if let (Some(place), 1..) = (self.place(index), run) {
                file.read_into(u64::from(place.at) * BLOCK, into, at + done, run * BLOCK_BYTES)?;
            }
            next += run.max(1);
        }
        let mut sum = 0;
        let mut block = [0; BLOCK_BYTES];
        for (index, from, len, done) in ranges {
            match self.place(index) {
                Some(_) if len == BLOCK_BYTES => into.read(at + done, &mut block),
                Some(place) => file.read_at(u64::from(place.at) * BLOCK, &mut block)?,
                None => block.fill(0),
            }
            if self.place(index).is_some_and(|place| place.crc32c != crc32c::crc32c(&block)) {
                return Err(ChunkError::CorruptAtRest { offset: index * BLOCK });
            }
            let part = &block[from..from + len];
            if len < BLOCK_BYTES || self.place(index).is_none() {
                into.write(at + done, part);
            }
            sum = crc32c::crc32c_append(sum, part);
        }
        Ok(sum)
    }

    /// How many of the ranges, from the first on, are whole blocks side by side in the file.
    fn run(&self, ranges: &[(u64, usize, usize, u64)]) -> usize {
        let Some(first) = ranges.first().and_then(|range| self.place(range.0)) else {
            return 0;
        };
        let beside = |(i, range): (usize, &(u64, usize, usize, u64))| {
            range.2 == BLOCK_BYTES
                && self.place(range.0).is_some_and(|place| place.at as usize == first.at as usize + i)
        };
        ranges.iter().enumerate().take_while(|range| beside(*range)).count()
    }

    fn place(&self, index: u64) -> Option<Place> {
        self.blocks.get(index as usize).copied().flatten()
    }

    /// Verifies a write, and what is left of the blocks of which it has a part only. Changes nothing.
    pub(super) fn plan(&self, order: &WriteOrder, from: &Lease, at: u64) -> Result<Plan, ChunkError> {
        let mut plan = Plan { sums: Vec::new(), edges: Vec::new() };
        let mut found = 0;
        let mut bad_edge = None;
        let mut block = [0; BLOCK_BYTES];
        for (i, (index, start, len, done)) in parts(order.offset, order.len_bytes).enumerate() {
            if len < BLOCK_BYTES && !self.old(index, &mut block)? {
                bad_edge.get_or_insert(ChunkError::CorruptAtRest { offset: index * BLOCK });
            }
            let part = &mut block[start..start + len];
            from.read(at + done, part);
            found = crc32c::crc32c_append(found, part);
            plan.sums.push(crc32c::crc32c(&block));
            if len < BLOCK_BYTES {
                plan.edges.push((i, Box::new(block)));
            }
        }
        if found != order.crc32c {
            return Err(ChunkError::CorruptOnTheWay { expected: order.crc32c, found });
        }
        bad_edge.map_or(Ok(plan), Err)
    }

    /// A block as it is. False when it is damaged.
    fn old(&self, index: u64, block: &mut [u8; BLOCK_BYTES]) -> Result<bool, ChunkError> {
        match (self.place(index), &self.file) {
            (Some(place), Some(file)) => {
                file.read_at(u64::from(place.at) * BLOCK, block)?;
                Ok(crc32c::crc32c(block) == place.crc32c)
            }
            _ => {
                block.fill(0);
                Ok(true)
            }
        }
    }

    /// Appends a write that was planned. After an error nothing has changed.
    ///
    /// Whole blocks go to the file from the lease itself; should they change after they were verified, their sums show it.
    pub(super) fn write(
        &mut self,
        order: &WriteOrder,
        plan: Plan,
        from: &Lease,
        at: u64,
    ) -> Result<(), ChunkError> {
        let Plan { sums, edges } = plan;
        let count = sums.len();
        let head = Head {
            kind: Kind::Write,
            number: self.number,
            previous: self.previous,
            first_block: (order.offset / BLOCK) as u32,
            data_bytes: order.len_bytes,
            len_bytes: self.len_bytes.max(order.offset + u64::from(order.len_bytes)),
            once: order.once,
            offset: order.offset,
            data_crc32c: order.crc32c,
            sums,
        };
        self.append(&head, |file, data_at| {
            for (i, edge) in &edges {
                file.write_at(data_at + *i as u64 * BLOCK, &edge[..])?;
            }
            let is_edge = |i: usize| edges.iter().any(|edge| edge.0 == i);
            let first = usize::from(is_edge(0));
            let past = if count > first && is_edge(count - 1) { count - 1 } else { count };
            if past > first {
                let skipped = (BLOCK - order.offset % BLOCK) % BLOCK;
                let lease_at = if first == 1 { at + skipped } else { at };
                file.write_from(
                    data_at + first as u64 * BLOCK,
                    from,
                    lease_at,
                    (past - first) * BLOCK_BYTES,
                )?;
            }
            Ok(())
        })
    }

    /// Appends that the chunk is no more. After an error nothing has changed.
    pub(super) fn remove(&mut self, once: Once) -> Result<(), ChunkError> {
        let head = Head { once, ..self.plain(Kind::Remove) };
        self.append(&head, |_, _| Ok(()))
    }

    fn plain(&self, kind: Kind) -> Head {
        Head {
            kind,
            number: self.number,
            previous: self.previous,
            first_block: 0,
            data_bytes: 0,
            len_bytes: self.len_bytes,
            once: Once { id: WriteId { writer: 0, sequence: 0 }, oldest_open: 0 },
            offset: 0,
            data_crc32c: 0,
            sums: Vec::new(),
        }
    }

    fn append(
        &mut self,
        head: &Head,
        blocks: impl FnOnce(&dyn DiskFile, u64) -> io::Result<()>,
    ) -> Result<(), ChunkError> {
        let file = self.file.clone().ok_or(ChunkError::Io { errno: 0 })?;
        let (bytes, sum) = head.encode(self.key);
        let written = self.start_file(&*file).and_then(|()| {
            blocks(&*file, self.end + bytes.len() as u64)?;
            file.write_at(self.end, &bytes)
        });
        if let Err(error) = written {
            // What is there of it does not count. Giving its space back is a kindness that may fail.
            let _ = file.set_len(self.end);
            return Err(error.into());
        }
        self.apply(head, sum);
        Ok(())
    }

    /// A file that has no header gets one.
    fn start_file(&mut self, file: &dyn DiskFile) -> io::Result<()> {
        if self.end == 0 {
            let mut block = [0; BLOCK_BYTES];
            let header = header(self.key);
            block[..header.len()].copy_from_slice(&header);
            file.write_at(0, &block)?;
            self.end = BLOCK;
        }
        Ok(())
    }

    /// Whether all of it is known to be on disk, under its name.
    pub(super) fn is_settled(&self) -> bool {
        self.file.is_none() || (self.named && self.synced_to >= self.end)
    }

    /// Everything below is on disk. The mark that says so may be lost with the power, which only makes it say less.
    pub(super) fn note_synced(&mut self, synced_to: u64) {
        if synced_to <= self.synced_to {
            return;
        }
        self.synced_to = synced_to;
        if let Some(file) = &self.file {
            let (at, bytes) = mark(synced_to, self.marks);
            let _ = file.write_at(at, &bytes);
            self.marks += 1;
        }
    }
}
