//! ReadChunk, as a client sees it: memory for the data, poison in it, the call, and the sum of what came.

use wavetank_contract::{Instant, Lease};
use wavetank_engine::RdmaOps;
use wavetank_messenger::{ConnectionId, SendReason};

use super::poison::{poison, poison_all};
use super::{ChunkClient, harmless};
use crate::call::{CallError, Carried};
use crate::chunk_calls::ReadChunk;
use crate::codec::{ReadCall, ReadReply};
use crate::crc::crc32c_of;
use crate::error::ChunkError;
use crate::failure::{ChunkFailure, Failed};
use crate::key::ChunkKey;

/// Data of a chunk, verified. It is in memory that the server was shown: a server that may not be trusted could still write
/// there, so whoever does not trust it copies first and compares sums again.
#[derive(Debug)]
pub struct ChunkData {
    lease: Lease,
    crc32c: u32,
}

impl ChunkData {
    /// Bytes.
    pub fn len_bytes(&self) -> u64 {
        self.lease.len()
    }

    /// The CRC32-C that was compared.
    pub fn crc32c(&self) -> u32 {
        self.crc32c
    }

    /// Copies bytes out. False when the range is not all inside.
    pub fn read(&self, offset: u64, to: &mut [u8]) -> bool {
        let inside = offset.checked_add(to.len() as u64).is_some_and(|end| end <= self.lease.len());
        if inside {
            self.lease.read(offset, to);
        }
        inside
    }

    /// All of it, copied.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.lease.len() as usize];
        self.lease.read(0, &mut bytes);
        bytes
    }

    /// The memory it is in.
    pub fn into_lease(self) -> Lease {
        self.lease
    }
}

impl<C: RdmaOps + 'static> ChunkClient<C> {
    /// Reads `len_bytes` at `offset` of a chunk. Nobody sees a byte of it before all are verified.
    ///
    /// # Errors
    /// [`ChunkFailure`], at the deadline at the latest. Data that comes damaged is asked for again until then.
    pub async fn read(
        &self,
        key: ChunkKey,
        offset: u64,
        len_bytes: u32,
        deadline: Instant,
    ) -> Result<ChunkData, ChunkFailure> {
        let mut attempts = self.attempts(deadline);
        let call = ReadCall { key, offset, len_bytes };
        loop {
            match self.read_once(&call, attempts.deadline(self.now())).await {
                Ok(data) => {
                    self.succeeded();
                    return Ok(data);
                }
                Err(failed) => {
                    let damaged = matches!(failed, Failed::Chunk(ChunkError::CorruptOnTheWay { .. }));
                    let repeats = damaged || failed.may_be_repeated();
                    self.again(&mut attempts, failed, repeats).await.map_err(harmless)?;
                }
            }
        }
    }

    async fn read_once(&self, call: &ReadCall, until: Instant) -> Result<ChunkData, Failed> {
        if call.len_bytes == 0 {
            return Err(ChunkError::Empty.into());
        }
        let wanted = u64::from(call.len_bytes);
        let connection = self.connection()?;
        let sink = self.exposed(connection, wanted)?;
        poison(&sink);
        let carried = Carried { sink: Some(sink), ..Carried::default() };
        let (reply, mut message) = self.ask::<ReadChunk, _>(connection, call, carried, until).await?;
        let wrong = |found: u64| Failed::Call(CallError::Length { wanted, found });
        let expected = match reply {
            ReadReply::Placed { len_bytes, crc32c } => {
                let (said, came) = (u64::from(len_bytes), message.data_len());
                if said != wanted || came != wanted {
                    return Err(wrong(if said != wanted { said } else { came }));
                }
                crc32c
            }
            ReadReply::Inline { crc32c, ref data } => {
                if data.len() as u64 != wanted {
                    return Err(wrong(data.len() as u64));
                }
                crc32c
            }
        };
        // However the data travelled, it is in the sink now, unless it is in the front.
        let Some(lease) = message.take_lease().filter(|lease| lease.len() == wanted) else {
            return Err(wrong(0));
        };
        if let ReadReply::Inline { data, .. } = reply {
            lease.write(0, &data);
        }
        drop(message);
        let found = crc32c_of(&lease, 0, wanted);
        if found != expected {
            self.count(|stats| stats.corrupt += 1);
            poison_all(&lease);
            return Err(ChunkError::CorruptOnTheWay { expected, found }.into());
        }
        Ok(ChunkData { lease, crc32c: found })
    }

    /// Memory that the server may reach.
    pub(super) fn exposed(&self, connection: ConnectionId, len_bytes: u64) -> Result<Lease, CallError> {
        let lease = self.messenger().expose(connection, len_bytes)?;
        lease.ok_or(CallError::NotSent(SendReason::Unknown(connection)))
    }
}
