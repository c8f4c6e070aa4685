//! WriteChunk and RemoveChunk, as a client sees them.

use wavetank_contract::region::Hold;
use wavetank_contract::{Instant, Lease, Region};
use wavetank_engine::RdmaOps;
use wavetank_messenger::{ConnectionId, Data};

use super::ChunkClient;
use super::numbers::{Number, Numbers};
use crate::call::{CallError, Carried};
use crate::chunk_calls::{RemoveChunk, WriteChunk};
use crate::crc::{BLOCK_BYTES, crc32c_of};
use crate::error::ChunkError;
use crate::failure::{ChunkFailure, Failed};
use crate::key::ChunkKey;
use crate::store::{RemoveOrder, WriteOrder};

/// Memory for the data of a write, which the server may read where it is. Fill it, then give it to
/// [`ChunkClient::write`].
#[derive(Debug)]
pub struct WriteBuffer {
    connection: ConnectionId,
    lease: Lease,
}

impl WriteBuffer {
    /// Bytes.
    pub fn len_bytes(&self) -> u64 {
        self.lease.len()
    }

    /// The memory.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Copies bytes in. False when the range is not all inside.
    pub fn fill(&self, offset: u64, from: &[u8]) -> bool {
        let inside = offset.checked_add(from.len() as u64).is_some_and(|end| end <= self.lease.len());
        if inside {
            self.lease.write(offset, from);
        }
        inside
    }
}

/// The bytes of a buffer that is with the messenger: they stay where they are, for attempts to come.
struct Kept {
    region: Region,
    offset: u64,
    len: u64,
    _hold: Hold,
}

impl Kept {
    fn of(lease: &Lease) -> Kept {
        Kept { region: lease.region().clone(), offset: lease.offset(), len: lease.len(), _hold: lease.hold() }
    }

    fn copy_to(&self, lease: &Lease) {
        let mut block = [0; BLOCK_BYTES];
        let mut at = 0;
        while at < self.len {
            let part = &mut block[..(self.len - at).min(BLOCK_BYTES as u64) as usize];
            self.region.read(self.offset + at, part);
            lease.write(at, part);
            at += part.len() as u64;
        }
    }
}

impl<C: RdmaOps + 'static> ChunkClient<C> {
    /// Memory for a write.
    ///
    /// # Errors
    /// No memory, or nobody to show it to.
    pub fn buffer(&self, len_bytes: u32) -> Result<WriteBuffer, CallError> {
        let connection = self.connection()?;
        let lease = self.exposed(connection, u64::from(len_bytes.max(1)))?;
        Ok(WriteBuffer { connection, lease })
    }

    /// Writes all of a buffer at `offset` of a chunk. `durable`: it is answered when it would outlive a loss of power.
    ///
    /// # Errors
    /// [`ChunkFailure`], at the deadline at the latest. Its `effect` says whether it may have been applied all the same.
    pub async fn write(
        &self,
        key: ChunkKey,
        offset: u64,
        buffer: WriteBuffer,
        durable: bool,
        deadline: Instant,
    ) -> Result<(), ChunkFailure> {
        let crc32c = crc32c_of(&buffer.lease, 0, buffer.lease.len());
        let kept = Kept::of(&buffer.lease);
        let mut first = Some(buffer);
        let mut attempts = self.attempts(deadline);
        let mut number = Numbers::begin(&self.shared.numbers);
        loop {
            let once = number.once();
            let len_bytes = kept.len as u32;
            let order = WriteOrder { key, offset, len_bytes, crc32c, once, durable };
            match self.write_once(&order, first.take(), &kept, attempts.deadline(self.now())).await {
                Ok(()) => {
                    self.succeeded();
                    return Ok(());
                }
                Err(failed) => {
                    let renews = self.renews(&failed, &mut number);
                    let repeats = renews || failed.may_be_repeated();
                    self.again(&mut attempts, failed, repeats).await?;
                }
            }
        }
    }

    /// Writes bytes, copied into a buffer first.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn write_bytes(
        &self,
        key: ChunkKey,
        offset: u64,
        bytes: &[u8],
        durable: bool,
        deadline: Instant,
    ) -> Result<(), ChunkFailure> {
        let limit_bytes = u64::from(u32::MAX);
        let too_large = ChunkError::TooLarge { asked_bytes: bytes.len() as u64, limit_bytes };
        let mut attempts = self.attempts(deadline);
        let buffer = loop {
            let asked = match u32::try_from(bytes.len()) {
                Ok(0) => Err(Failed::Chunk(ChunkError::Empty)),
                Ok(len) => self.buffer(len).map_err(Failed::Call),
                Err(_) => Err(Failed::Chunk(too_large)),
            };
            match asked {
                Ok(buffer) => break buffer,
                Err(failed) => {
                    let repeats = failed.may_be_repeated();
                    self.again(&mut attempts, failed, repeats).await?;
                }
            }
        };
        buffer.fill(0, bytes);
        self.write(key, offset, buffer, durable, deadline).await
    }

    /// Removes a chunk.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn remove(&self, key: ChunkKey, durable: bool, deadline: Instant) -> Result<(), ChunkFailure> {
        let mut attempts = self.attempts(deadline);
        let number = Numbers::begin(&self.shared.numbers);
        loop {
            let order = RemoveOrder { key, once: number.once(), durable };
            let until = attempts.deadline(self.now());
            let attempt = async {
                let connection = self.connection()?;
                self.ask::<RemoveChunk, _>(connection, &order, Carried::default(), until).await
            };
            match attempt.await {
                Ok(_) => {
                    self.succeeded();
                    return Ok(());
                }
                Err(failed) => {
                    let repeats = failed.may_be_repeated();
                    self.again(&mut attempts, failed, repeats).await?;
                }
            }
        }
    }

    /// Data that came damaged was not applied, and its number is used up: it goes on under another.
    fn renews<'a>(&'a self, failed: &Failed, number: &mut Number<'a>) -> bool {
        let damaged = matches!(failed, Failed::Chunk(ChunkError::CorruptOnTheWay { .. }));
        if damaged {
            self.count(|stats| stats.corrupt += 1);
            *number = Numbers::begin(&self.shared.numbers);
        }
        damaged
    }

    async fn write_once(
        &self,
        order: &WriteOrder,
        first: Option<WriteBuffer>,
        kept: &Kept,
        until: Instant,
    ) -> Result<(), Failed> {
        let connection = self.connection()?;
        let lease = match first {
            Some(buffer) if buffer.connection == connection => buffer.lease,
            // The memory of another connection is out of the server's reach, and that of an attempt may be in use.
            _ => {
                let lease = self.exposed(connection, kept.len)?;
                kept.copy_to(&lease);
                lease
            }
        };
        let carried = Carried { data: Some(Data::all(lease)), way: self.shared.config.way, sink: None };
        self.ask::<WriteChunk, _>(connection, order, carried, until).await.map(drop)
    }
}
