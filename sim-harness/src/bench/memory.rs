//! Memory: the cache of registrations beside raw registration, leases, and the sessions that own them.

use serde::Serialize;
use wavetank_contract::error::DeregisterError;
use wavetank_contract::{Access, Pages, PdId, Region, RegionSpec};
use wavetank_engine::memory::{
    Arena, CacheConfig, CacheError, Exposed, ExtentPool, ExtentPoolConfig, MemoryError, MemoryStats,
    RegistrationCache,
};
use wavetank_engine::{Port, PortConfig, RdmaContext, RdmaOps};
use wavetank_mock::{Fabric, Profile};

use super::pair::PairError;
use super::sessions::{SessionFigures, sessions};
use super::{Clock, median};

/// Calls of one round.
const ROUND: u32 = 100_000;
/// Rounds of each variant.
const ROUNDS: usize = 9;
/// Buffers among which one is looked up. A prime, so that steps of any length visit all of them.
const BUFFERS: u32 = 1021;
/// How far apart the buffers are that are looked up in turn.
const STEP: u32 = 389;
/// Bytes of each.
const BUFFER_BYTES: u64 = 16 << 10;
/// Registrations at a time where each look is a miss.
const MISSES_AMONG: u32 = 64;
/// Calls of a round of misses: short rounds in close turns with raw ones, so that both see the same machine.
const MISS_ROUND: u32 = 5_000;
/// Rounds of each of the two.
const MISS_ROUNDS: usize = 31;
/// Bytes of a lease.
const LEASE_BYTES: u64 = 4096;

/// What memory costs over one device.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryFigures {
    /// The device.
    pub device: String,
    /// A buffer that was used last and is used again.
    pub hit_ns: f64,
    /// One of a thousand buffers, in an order that nothing guesses.
    pub hit_among_ns: f64,
    /// A buffer that is not registered, with a full cache: one registration ends and one is made.
    pub miss_ns: f64,
    /// The same calls to the device without a cache.
    pub raw_ns: f64,
    /// The median of the ratios of neighbouring rounds.
    pub miss_ratio: f64,
    /// A lease of 4 KiB of an arena and its drop.
    pub lease_ns: f64,
    /// The same of what a session exposes, with its place.
    pub exposed_lease_ns: f64,
    /// Session tables, as `bench sessions` has them.
    pub sessions: SessionFigures,
    /// What was there at the end, as an operator sees it.
    #[serde(skip)]
    pub stats: MemoryStats,
}

impl From<MemoryError> for PairError {
    fn from(error: MemoryError) -> PairError {
        PairError(error.to_string())
    }
}

impl From<CacheError> for PairError {
    fn from(error: CacheError) -> PairError {
        PairError(error.to_string())
    }
}

impl From<DeregisterError> for PairError {
    fn from(error: DeregisterError) -> PairError {
        PairError(error.to_string())
    }
}

/// Nanoseconds of one call.
fn per_call(
    clock: Clock<'_>,
    calls: u32,
    mut call: impl FnMut(u32) -> Result<(), PairError>,
) -> Result<f64, PairError> {
    let start = clock();
    for at in 0..calls {
        call(at)?;
    }
    Ok((clock() - start) as f64 / f64::from(calls))
}

/// The median of some rounds of that.
fn rounds(clock: Clock<'_>, mut call: impl FnMut(u32) -> Result<(), PairError>) -> Result<f64, PairError> {
    let times = (0..ROUNDS).map(|_| per_call(clock, ROUND, &mut call)).collect::<Result<Vec<_>, _>>()?;
    Ok(median(times))
}

fn buffers(context: &mut RdmaContext, count: u32) -> Result<Vec<Region>, PairError> {
    let spec = RegionSpec::new(BUFFER_BYTES);
    Ok((0..count).map(|_| context.allocate(&spec)).collect::<Result<_, _>>()?)
}

/// Nanoseconds of a miss and of what it contains, and their ratio.
fn misses(clock: Clock<'_>, context: &mut RdmaContext) -> Result<(f64, f64, f64), PairError> {
    // One buffer more than there is room for, used in turn: each was given up just before.
    let buffers = buffers(context, MISSES_AMONG + 1)?;
    let mut cache = RegistrationCache::new(CacheConfig { count_max: MISSES_AMONG, ..CacheConfig::default() });
    let mut next = (0..buffers.len()).cycle();
    let mut raw_next = (0..buffers.len()).cycle();
    let mut raw = std::collections::VecDeque::new();
    for region in &buffers[..MISSES_AMONG as usize] {
        cache.register(context, region)?;
        raw_next.next();
        next.next();
        raw.push_back(context.register(region, PdId::default(), Access::LOCAL)?);
    }
    let (mut miss_ns, mut raw_ns, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..MISS_ROUNDS {
        let miss = per_call(clock, MISS_ROUND, |_| {
            let region = &buffers[next.next().unwrap_or(0)];
            std::hint::black_box(cache.register(context, region)?);
            Ok(())
        })?;
        let alone = per_call(clock, MISS_ROUND, |_| {
            let region = &buffers[raw_next.next().unwrap_or(0)];
            if let Some(oldest) = raw.pop_front() {
                context.deregister(oldest)?;
            }
            raw.push_back(context.register(region, PdId::default(), Access::LOCAL)?);
            Ok(())
        })?;
        miss_ns.push(miss);
        raw_ns.push(alone);
        ratios.push(miss / alone);
    }
    let stats = cache.stats();
    if stats.hits > 0 {
        return Err(PairError(format!(
            "{} looks of {} were hits, and none was to be",
            stats.hits, stats.misses
        )));
    }
    cache.clear(context);
    for mr in raw {
        context.deregister(mr)?;
    }
    Ok((median(miss_ns), median(raw_ns), median(ratios)))
}

/// Measures memory over a device, or over the simulated NIC if none is given.
///
/// # Errors
/// When the device refuses, or a look that was to miss hits.
pub fn memory(clock: Clock<'_>, device: Option<RdmaContext>) -> Result<MemoryFigures, PairError> {
    let mut fabric = Fabric::new(Profile::IDEAL);
    let mut context = match device {
        Some(context) => context,
        None => RdmaContext::from(Port::new(fabric.add_node(), PortConfig::default())),
    };
    let context = &mut context;

    let (miss_ns, raw_ns, miss_ratio) = misses(clock, context)?;

    let buffers = buffers(context, BUFFERS)?;
    let mut cache = RegistrationCache::new(CacheConfig { count_max: BUFFERS, ..CacheConfig::default() });
    for region in &buffers {
        cache.register(context, region)?;
    }
    let hit_ns = rounds(clock, |_| {
        std::hint::black_box(cache.register(context, &buffers[0])?);
        Ok(())
    })?;
    let mut at = 0;
    let hit_among_ns = rounds(clock, |_| {
        at = (at + STEP) % BUFFERS;
        std::hint::black_box(cache.register(context, &buffers[at as usize])?);
        Ok(())
    })?;
    if cache.stats().misses != u64::from(BUFFERS) {
        return Err(PairError(format!("a look that was to hit missed: {}", cache.stats())));
    }

    let cached = cache.stats();
    cache.clear(context);

    let region = context.allocate(&RegionSpec::new(1 << 20))?;
    let mr = context.register(&region, PdId::default(), Access::LOCAL)?;
    let mut arena = Arena::new(region, mr)?;
    let lease_ns = rounds(clock, |_| {
        drop(std::hint::black_box(arena.acquire(LEASE_BYTES)?));
        Ok(())
    })?;

    let mut pool = ExtentPool::new(ExtentPoolConfig { pages: Pages::Plain, ..ExtentPoolConfig::default() });
    let mut exposed = Exposed::new();
    let exposed_lease_ns = rounds(clock, |_| {
        let lease = exposed.lease(&mut pool, context, LEASE_BYTES)?;
        std::hint::black_box(exposed.place(&lease));
        Ok(())
    })?;

    let stats = MemoryStats { arena: Some(arena.stats()), extents: Some(pool.stats()), cache: Some(cached) };
    exposed.close(&mut pool, context);
    drop(arena);
    context.deregister(mr)?;
    let sessions = sessions(clock).map_err(|error| PairError(error.to_string()))?;
    Ok(MemoryFigures {
        device: context.caps().name.clone(),
        hit_ns,
        hit_among_ns,
        miss_ns,
        raw_ns,
        miss_ratio,
        lease_ns,
        exposed_lease_ns,
        sessions,
        stats,
    })
}
