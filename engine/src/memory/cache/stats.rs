//! How a cache is doing, in figures.

/// How a cache is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Buffers that were registered already.
    pub hits: u64,
    /// Buffers that had to be registered.
    pub misses: u64,
    /// Registrations given up for room.
    pub evictions: u64,
    /// Registrations tried once more after the device had no room.
    pub retries: u64,
    /// Registrations given up because their regions were gone or replaced, or the epoch was over.
    pub invalidations: u64,
    /// Buffers that could not be registered.
    pub refusals: u64,
    /// Bytes registered now.
    pub bytes: u64,
    /// The most they ever were.
    pub bytes_max_seen: u64,
    /// Registrations now.
    pub count: u32,
    /// Of those, the ones that are never handed out again and wait for guards, leases or the device.
    pub retiring: u32,
}
