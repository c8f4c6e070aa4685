//! How operations arrive and when they end: `[load]`.

use super::document::Table;
use super::error::WorkloadError;
use super::limits::{MAX_CONCURRENCY, MAX_OPS, MAX_RATE_PER_S, MAX_TIME_NS};
use super::units::{Nanos, PerSecond};

/// The keys of `[load]`.
pub(super) const KEYS: &[&str] = &["arrival", "concurrency", "rate", "count", "duration", "duration_ns"];
/// Operations in flight when the file does not say.
pub(super) const CONCURRENCY: u32 = 32;

/// How fast, how many at once, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// What decides when the next operation starts.
    pub arrival: Arrival,
    /// Operations in flight at most: the loop of a closed load, the cap of any other.
    pub concurrency: u32,
    /// When to stop.
    pub stop: Stop,
}

/// What decides when the next operation starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The end of another: always `concurrency` in flight.
    Closed,
    /// A Poisson process, whether or not earlier operations have ended.
    Open {
        /// Mean arrivals per second.
        rate_per_s: u64,
    },
    /// The clock of the recording.
    Recorded,
}

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// After this many operations.
    Count(u64),
    /// No operation starts at or after this many ns. An open load keeps to it by itself; under a closed one the
    /// caller, who has the clock, stops asking.
    After(u64),
    /// At the end of the recording.
    End,
}

impl Load {
    /// Reads `[load]` of a mix.
    pub(super) fn read(top: &Table<'_>) -> Result<Load, WorkloadError> {
        let load = top.need("load", "add [load] with a count or a duration")?;
        let table = load.table(&["arrival", "concurrency", "rate", "count", "duration", "duration_ns"])?;
        let open = match table.get("arrival") {
            Some(arrival) => arrival.one_of(&[("closed", false), ("open", true)])?,
            None => false,
        };
        let arrival = match (open, table.get("rate")) {
            (true, Some(rate)) => Arrival::Open { rate_per_s: rate.rate(1..=MAX_RATE_PER_S)? },
            (true, None) => {
                return Err(table.missing("rate", "an open load needs one, as in rate = \"1M/s\""));
            }
            (false, None) => Arrival::Closed,
            (false, Some(rate)) => {
                return Err(
                    rate.error("a closed load goes as fast as it can; remove it, or set arrival = \"open\"")
                );
            }
        };
        let stop = read_stop(&table, arrival)?;
        Ok(Load { arrival, concurrency: read_concurrency(&table)?, stop })
    }

    /// Reads what `[load]` may say about a recording. The clock is the caller's to set.
    pub(super) fn read_recorded(top: &Table<'_>, arrival: Arrival) -> Result<Load, WorkloadError> {
        let mut load = Load { arrival, concurrency: CONCURRENCY, stop: Stop::End };
        let Some(value) = top.get("load") else {
            return Ok(load);
        };
        let table = value.table(&["arrival", "concurrency", "rate", "count", "duration", "duration_ns"])?;
        for key in ["arrival", "rate", "duration", "duration_ns"] {
            if let Some(value) = table.get(key) {
                return Err(value.error("[source] decides this (see source.pace); remove it"));
            }
        }
        load.concurrency = read_concurrency(&table)?;
        if let Some(count) = table.get("count") {
            load.stop = Stop::Count(count.number(1..=MAX_OPS)?);
        }
        Ok(load)
    }
}

fn read_concurrency(table: &Table<'_>) -> Result<u32, WorkloadError> {
    match table.get("concurrency") {
        Some(value) => Ok(value.number(1..=MAX_CONCURRENCY)? as u32),
        None => Ok(CONCURRENCY),
    }
}

fn read_stop(table: &Table<'_>, arrival: Arrival) -> Result<Stop, WorkloadError> {
    let (key, stop) = match (table.get("count"), table.duration("duration")?) {
        (Some(count), None) => {
            let stop = Stop::Count(count.number(1..=MAX_OPS)?);
            (count, stop)
        }
        (None, Some(duration)) => {
            let stop = Stop::After(duration.nanos()?);
            (duration, stop)
        }
        (Some(_), Some(duration)) => return Err(duration.error("count already says when to stop; keep one")),
        (None, None) => {
            return Err(table.missing("count", "say when to stop: count = 100000 or duration = \"10ms\""));
        }
    };
    if let Arrival::Open { rate_per_s } = arrival {
        let rate = PerSecond(rate_per_s);
        let second = 1_000_000_000;
        match stop {
            Stop::Count(count)
                if u128::from(count) * second / u128::from(rate_per_s) > u128::from(MAX_TIME_NS) =>
            {
                let limit = Nanos(MAX_TIME_NS);
                return Err(key.error(format!("{count} arrivals at {rate} take longer than {limit}")));
            }
            Stop::After(ns) if u128::from(ns) * u128::from(rate_per_s) / second > u128::from(MAX_OPS) => {
                return Err(key.error(format!("{} at {rate} is more than {MAX_OPS} operations", Nanos(ns))));
            }
            _ => {}
        }
    }
    Ok(stop)
}
