//! Stores, servers and clients as the tests use them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use async_trait::async_trait;
use wavetank_contract::{Instant, Lease};
use wavetank_messenger::{Policy, Way};
use wavetank_rpc::{
    Applied, AppliedLimits, ChunkClient, ChunkClientConfig, ChunkError, ChunkKey, ChunkServer,
    ChunkServerConfig, ChunkStat, ChunkStore, Fate, MemoryStore, RemoveOrder, StoreLimits, WriteOrder,
};

use crate::net::{Begin, MS, Net, begin};

pub(crate) const KEY: ChunkKey = ChunkKey { inode: 7, index: 3 };

/// Bytes that tell which write they are of, and where in it. The first 8 are its number.
pub(crate) fn pattern(number: u64, len: usize) -> Vec<u8> {
    let start = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let byte = |i: u64| (start ^ i.wrapping_mul(start | 1)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56;
    let mut bytes: Vec<u8> = (0..len as u64).map(|i| byte(i) as u8 | 1).collect();
    let head = len.min(8);
    bytes[..head].copy_from_slice(&number.to_le_bytes()[..head]);
    bytes
}

pub(crate) fn memory_store() -> MemoryStore {
    MemoryStore::new(StoreLimits::default(), AppliedLimits::default())
}

/// A server of stores that are opened with each of its lives.
pub(crate) fn serve<S: ChunkStore + 'static>(
    way: Option<Way>,
    mut open: impl FnMut() -> S + 'static,
) -> Begin {
    begin(move || ChunkServer::new(open(), ChunkServerConfig { way, ..Default::default() }).services())
}

pub(crate) fn client_config(policy: Policy, way: Option<Way>) -> ChunkClientConfig {
    ChunkClientConfig {
        policy,
        server: Some(1),
        way,
        attempt_ns: 60 * MS,
        pause_ns_max: 10 * MS,
        ..ChunkClientConfig::new("0", 77)
    }
}

/// A net, and its client.
pub(crate) fn rig<S: ChunkStore + 'static>(
    way: Option<Way>,
    open: impl FnMut() -> S + 'static,
) -> (Net, ChunkClient) {
    let net = Net::new(1, Policy::LossyClient, serve(way, open));
    let client = ChunkClient::new(net.client(), client_config(Policy::LossyClient, way));
    (net, client)
}

pub(crate) fn in_ms(client: &ChunkClient, ms: u64) -> Instant {
    client.messenger().now() + ms * MS
}

/// What outlives the process of a [`Ledger`].
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) chunks: BTreeMap<ChunkKey, Vec<u8>>,
    /// How often the write was applied whose data begins with this number.
    pub(crate) applied: BTreeMap<u64, u32>,
    table: Option<Applied>,
}

/// A store that counts how often each write is applied, and keeps chunks and table through restarts.
pub(crate) struct Ledger(pub(crate) Rc<RefCell<Book>>);

impl Ledger {
    fn once(
        &self,
        once: &wavetank_rpc::Once,
        act: &wavetank_rpc::Act,
        apply: impl FnOnce(&mut Book) -> Result<(), ChunkError>,
    ) -> Result<(), ChunkError> {
        let mut book = self.0.borrow_mut();
        let mut table = book.table.take().unwrap_or_default();
        let outcome = match table.fate(once, act) {
            Ok(Fate::Repeat { outcome, .. }) => outcome,
            Ok(Fate::New) => {
                let outcome = apply(&mut book);
                table.record(once, act, outcome);
                outcome
            }
            Err(error) => Err(error),
        };
        book.table = Some(table);
        outcome
    }
}

#[async_trait(?Send)]
impl ChunkStore for Ledger {
    async fn read(
        &self,
        key: ChunkKey,
        offset: u64,
        len_bytes: u32,
        into: &Lease,
        at: u64,
    ) -> Result<u32, ChunkError> {
        let book = self.0.borrow();
        let chunk = book.chunks.get(&key).ok_or(ChunkError::NotFound)?;
        let range = offset as usize..offset as usize + len_bytes as usize;
        let bytes = chunk.get(range).ok_or(ChunkError::OutOfRange { len_bytes: chunk.len() as u64 })?;
        into.write(at, bytes);
        Ok(crc32c::crc32c(bytes))
    }

    async fn write(&self, order: &WriteOrder, from: &Lease, at: u64) -> Result<(), ChunkError> {
        self.once(&order.once, &order.into(), |book| {
            let mut data = vec![0; order.len_bytes as usize];
            from.read(at, &mut data);
            let found = crc32c::crc32c(&data);
            if found != order.crc32c {
                return Err(ChunkError::CorruptOnTheWay { expected: order.crc32c, found });
            }
            let number = data.first_chunk().map_or(0, |head| u64::from_le_bytes(*head));
            *book.applied.entry(number).or_default() += 1;
            let chunk = book.chunks.entry(order.key).or_default();
            let end = order.offset as usize + data.len();
            chunk.resize(chunk.len().max(end), 0);
            chunk[order.offset as usize..end].copy_from_slice(&data);
            Ok(())
        })
    }

    async fn remove(&self, order: &RemoveOrder) -> Result<(), ChunkError> {
        self.once(&order.once, &order.into(), |book| {
            book.chunks.remove(&order.key).map(drop).ok_or(ChunkError::NotFound)
        })
    }

    async fn stat(&self, key: ChunkKey) -> Result<ChunkStat, ChunkError> {
        let book = self.0.borrow();
        let chunk = book.chunks.get(&key).ok_or(ChunkError::NotFound)?;
        Ok(ChunkStat { len_bytes: chunk.len() as u64 })
    }

    fn retire(&self, writer: u64) {
        if let Some(table) = &mut self.0.borrow_mut().table {
            table.retire(writer);
        }
    }

    fn end_grace(&self) {}
}
