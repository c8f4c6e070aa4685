//! What the tests of stores have in common.

use std::rc::Rc;

use wavetank_contract::{Lease, Region, RegionSpec};
use wavetank_rpc::{
    AppliedLimits, ChunkError, ChunkKey, ChunkStore, Disk, FileStore, Once, RemoveOrder, StoreLimits,
    WriteId, WriteOrder, crc32c_of,
};

pub(crate) const KEY: ChunkKey = ChunkKey { inode: 7, index: 3 };

/// Where data lies in a lease: at no block's beginning.
const AT: u64 = 40;

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio_test::block_on(future)
}

pub(crate) fn lease(len: usize) -> Lease {
    let region = Region::allocate(&RegionSpec::new(len as u64 + 4096)).expect("memory");
    region.lease(0, len as u64 + AT).expect("free")
}

pub(crate) fn open(disk: Rc<dyn Disk>) -> FileStore {
    FileStore::open(disk, StoreLimits::default(), AppliedLimits::default()).expect("a store")
}

pub(crate) fn once(sequence: u64) -> Once {
    Once { id: WriteId { writer: 1, sequence }, oldest_open: 0 }
}

/// Bytes that tell which write they are of, and where in it.
pub(crate) fn pattern(sequence: u64, len: usize) -> Vec<u8> {
    let start = (sequence + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let byte = |i: u64| (start ^ i.wrapping_mul(start | 1)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56;
    (0..len as u64).map(|i| byte(i) as u8 | 1).collect()
}

pub(crate) fn write_with(store: &dyn ChunkStore, order: &WriteOrder, data: &[u8]) -> Result<(), ChunkError> {
    let lease = lease(data.len());
    lease.write(AT, data);
    wait(store.write(order, &lease, AT))
}

pub(crate) fn order(key: ChunkKey, sequence: u64, offset: u64, data: &[u8], durable: bool) -> WriteOrder {
    let crc32c = crc32c::crc32c(data);
    WriteOrder { key, offset, len_bytes: data.len() as u32, crc32c, once: once(sequence), durable }
}

pub(crate) fn write(
    store: &dyn ChunkStore,
    sequence: u64,
    offset: u64,
    data: &[u8],
    durable: bool,
) -> Result<(), ChunkError> {
    write_with(store, &order(KEY, sequence, offset, data, durable), data)
}

pub(crate) fn remove(store: &dyn ChunkStore, sequence: u64, durable: bool) -> Result<(), ChunkError> {
    wait(store.remove(&RemoveOrder { key: KEY, once: once(sequence), durable }))
}

pub(crate) fn read(store: &dyn ChunkStore, offset: u64, len: usize) -> Result<Vec<u8>, ChunkError> {
    let lease = lease(len);
    lease.write(0, &vec![0xa5; len + AT as usize]);
    let sum = wait(store.read(KEY, offset, len as u32, &lease, AT))?;
    let mut beside = [0; AT as usize];
    lease.read(0, &mut beside);
    assert_eq!(beside, [0xa5; AT as usize], "no byte beside the range is touched");
    assert_eq!(sum, crc32c_of(&lease, AT, len as u64), "the sum is of what was placed");
    let mut data = vec![0; len];
    lease.read(AT, &mut data);
    Ok(data)
}

/// All of the chunk; nothing when there is none.
pub(crate) fn whole(store: &dyn ChunkStore) -> Result<Vec<u8>, ChunkError> {
    match wait(store.stat(KEY)) {
        Ok(stat) => read(store, 0, stat.len_bytes as usize),
        Err(ChunkError::NotFound) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What a write makes of bytes.
pub(crate) fn written(old: &[u8], offset: u64, data: &[u8]) -> Vec<u8> {
    let mut new = old.to_vec();
    let end = offset as usize + data.len();
    new.resize(new.len().max(end), 0);
    new[offset as usize..end].copy_from_slice(data);
    new
}
