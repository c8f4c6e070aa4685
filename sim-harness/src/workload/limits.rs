//! Every bound on what a workload may ask for, in one place.
//!
//! A number from a file is compared with its bound before anything is sized by it, so a typing error costs an
//! error message and not the machine's memory.

/// Bytes of all regions and all local buffers together: 16 GiB.
pub const MAX_MEMORY_BYTES: u64 = 16 << 30;
/// Bytes of one operation: 1 GiB, what an RC message may carry (IBA leaves 2^31; NICs promise 2^30).
pub const MAX_OP_BYTES: u64 = 1 << 30;
/// Bytes of one SEND: 1 MiB, since every SEND in flight needs a receive buffer of that size.
pub const MAX_SEND_BYTES: u64 = 1 << 20;
/// Bytes an atomic works on, and its alignment.
pub const ATOMIC_BYTES: u32 = 8;
/// Nodes of a workload.
pub const MAX_NODES: u64 = 256;
/// Regions of a workload, and files of an iolog: each file becomes a region.
pub const MAX_REGIONS: u64 = 65_536;
/// `[[op]]` tables of a workload.
pub const MAX_MIX: u64 = 256;
/// Entries of a list of sizes.
pub const MAX_SIZE_LIST: u64 = 4096;
/// One weight, so that no sum of weights can overflow.
pub const MAX_WEIGHT: u64 = 1_000_000_000;
/// Objects of all zipf places together: each costs 8 bytes of table.
pub const MAX_OBJECTS: u64 = 1 << 20;
/// Largest zipf exponent; beyond it only the first object is ever drawn.
pub const MAX_ZIPF_EXPONENT: f64 = 10.0;
/// Largest placement alignment: 1 GiB.
pub const MAX_ALIGN_BYTES: u64 = 1 << 30;
/// Operations of one run.
pub const MAX_OPS: u64 = 1_000_000_000_000;
/// Operations in flight.
pub const MAX_CONCURRENCY: u64 = 65_536;
/// Arrivals per second of an open loop: 100 M/s is a mean gap of 10 ns, below which 1 ns steps show.
pub const MAX_RATE_PER_S: u64 = 100_000_000;
/// Queue pairs per pair of nodes.
pub const MAX_QUEUE_PAIRS: u64 = 1024;
/// Smallest chunk of a transfer: one packet at the smallest MTU.
pub const MIN_CHUNK_BYTES: u64 = 256;
/// Chunks in flight per transfer.
pub const MAX_WINDOW: u64 = 1024;
/// Longest run of works of which only the last is signalled.
pub const MAX_SIGNAL_EVERY: u64 = 1024;
/// Longest time anything may take, 365 days: far inside what 64 bits of nanoseconds hold.
pub const MAX_TIME_NS: u64 = 365 * 24 * 3600 * 1_000_000_000;
/// Longest time in a latency profile: 10 s.
pub const MAX_PROFILE_NS: u64 = 10_000_000_000;
/// Slowest byte of a latency profile: 1 ms.
pub const MAX_PROFILE_BYTE_PS: u64 = 1_000_000_000;
/// Largest power that shapes jitter: of a hundred thousand packets one is then late by half of it.
pub const MAX_JITTER_SHAPE: u64 = 65_536;
/// Characters of a name.
pub const MAX_NAME_CHARS: usize = 64;
/// Bytes of a workload's TOML: 1 MiB.
pub const MAX_TOML_BYTES: u64 = 1 << 20;
/// Bytes of one line of an iolog, its newline not counted (fio's own buffer is 4096 with newline and NUL).
pub const MAX_IOLOG_LINE_BYTES: usize = 4094;
/// Bytes of a file name in an iolog, as in fio.
pub const MAX_IOLOG_NAME_BYTES: usize = 256;
/// Reads and writes of an iolog: 64 Mi of them take 2 GiB.
pub const MAX_IOLOG_OPS: u64 = 64 << 20;
/// First byte that no file can have: offsets are signed 64-bit numbers.
pub const FILE_OFFSET_END: u64 = 1 << 63;
