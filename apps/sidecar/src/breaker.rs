//! Who fails again and again is left alone for a while.
//!
//! Three failures within ten seconds pause a path for thirty. When that is over one attempt is let through as a probe: if it goes
//! well the path is open again, if not it is paused twice as long, up to five minutes. Time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// When a path is paused, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRules {
    /// So many failures...
    pub failures: usize,
    /// ...within this time...
    pub within: Duration,
    /// ...pause a path for this long the first time...
    pub pause_min: Duration,
    /// ...and never longer than this.
    pub pause_max: Duration,
}

impl Default for BreakerRules {
    fn default() -> BreakerRules {
        BreakerRules {
            failures: 3,
            within: Duration::from_secs(10),
            pause_min: Duration::from_secs(30),
            pause_max: Duration::from_secs(300),
        }
    }
}

/// Paths that are remembered. The masters say which there are, so it is a bound against their mistakes.
const PATHS_MAX: usize = 1024;

/// One path.
#[derive(Debug, Default)]
struct Breaker {
    failures: VecDeque<Instant>,
    paused: Option<Pause>,
}

#[derive(Debug)]
struct Pause {
    until: Instant,
    length: Duration,
    probing: bool,
}

impl Breaker {
    /// Whether an attempt may be made: `Ok(true)` as a probe; `Err` for how long not.
    fn admit(&mut self, now: Instant) -> Result<bool, Duration> {
        match &mut self.paused {
            None => Ok(false),
            Some(pause) if now >= pause.until && !pause.probing => {
                pause.probing = true;
                Ok(true)
            }
            Some(pause) => Err(pause.until.saturating_duration_since(now).max(Duration::from_millis(1))),
        }
    }

    fn succeeded(&mut self, probe: bool) {
        // An attempt from before the pause says nothing about now.
        if probe || self.paused.is_none() {
            *self = Breaker::default();
        }
    }

    fn failed(&mut self, now: Instant, probe: bool, rules: &BreakerRules) {
        if let Some(pause) = &mut self.paused {
            if probe {
                let length = (pause.length * 2).min(rules.pause_max);
                *pause = Pause { until: now + length, length, probing: false };
            }
            return;
        }
        self.failures.retain(|at| now.saturating_duration_since(*at) < rules.within);
        self.failures.push_back(now);
        if self.failures.len() >= rules.failures {
            self.failures.clear();
            self.paused =
                Some(Pause { until: now + rules.pause_min, length: rules.pause_min, probing: false });
        }
    }

    /// It was cut off: another one may probe.
    fn given_up(&mut self, probe: bool) {
        if let Some(pause) = self.paused.as_mut().filter(|_| probe) {
            pause.probing = false;
        }
    }
}

/// How a path is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BreakerState {
    /// The path: `rdma HOST:PORT` or `http HOST:PORT`.
    pub path: String,
    /// `open`, `paused` or `probing`.
    pub state: &'static str,
    /// Seconds until it is probed.
    pub paused_s: u64,
    /// Failures that count still.
    pub failures: usize,
}

/// The breakers of all paths.
#[derive(Clone, Debug, Default)]
pub struct Breakers {
    rules: BreakerRules,
    paths: Arc<Mutex<BTreeMap<String, Breaker>>>,
}

impl Breakers {
    /// By other rules.
    pub fn new(rules: BreakerRules) -> Breakers {
        Breakers { rules, paths: Arc::default() }
    }

    fn with<T>(&self, path: &str, act: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(breaker) = paths.get_mut(path) {
            return act(breaker);
        }
        if paths.len() >= PATHS_MAX {
            let idle =
                paths.iter().find(|(_, breaker)| breaker.paused.is_none()).map(|(path, _)| path.clone());
            if let Some(path) = idle.or_else(|| paths.keys().next().cloned()) {
                paths.remove(&path);
            }
        }
        act(paths.entry(path.to_owned()).or_default())
    }

    /// Leave to make an attempt, whose outcome is to be told; or for how long there is none.
    ///
    /// # Errors
    /// The path is paused for so long, or is being probed.
    pub fn admit(&self, path: &str, now: Instant) -> Result<Admission, Duration> {
        let probe = self.with(path, |breaker| breaker.admit(now))?;
        Ok(Admission { breakers: self.clone(), path: path.to_owned(), probe, told: false })
    }

    /// How each path is, in the order of their names.
    pub fn states(&self, now: Instant) -> Vec<BreakerState> {
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        let state = |(path, breaker): (&String, &Breaker)| {
            let (state, paused_s) = match &breaker.paused {
                None => ("open", 0),
                Some(pause) if pause.probing => ("probing", 0),
                Some(pause) => ("paused", pause.until.saturating_duration_since(now).as_secs()),
            };
            let recent = |at: &&Instant| now.saturating_duration_since(**at) < self.rules.within;
            let failures = breaker.failures.iter().filter(recent).count();
            BreakerState { path: path.clone(), state, paused_s, failures }
        };
        paths.iter().map(state).collect()
    }
}

/// Leave to make one attempt. Dropped without a word, it was given up and says nothing about its path.
#[derive(Debug)]
pub struct Admission {
    breakers: Breakers,
    path: String,
    probe: bool,
    told: bool,
}

impl Admission {
    /// The path works.
    pub fn succeeded(mut self) {
        self.told = true;
        self.breakers.with(&self.path, |breaker| breaker.succeeded(self.probe));
    }

    /// It does not.
    pub fn failed(mut self, now: Instant) {
        self.told = true;
        self.breakers.with(&self.path, |breaker| breaker.failed(now, self.probe, &self.breakers.rules));
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if !self.told {
            self.breakers.with(&self.path, |breaker| breaker.given_up(self.probe));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn after(start: Instant, s: u64) -> Instant {
        start + Duration::from_secs(s)
    }

    fn fail(breakers: &Breakers, now: Instant) {
        breakers.admit("http a", now).unwrap().failed(now);
    }

    #[test]
    fn three_failures_in_ten_seconds_pause_and_three_in_twenty_do_not() {
        let (breakers, start) = (Breakers::default(), Instant::now());
        for s in [0, 9, 18, 27] {
            fail(&breakers, after(start, s));
        }
        assert_eq!(breakers.states(after(start, 27))[0].state, "open");
        fail(&breakers, after(start, 27));
        assert!(breakers.admit("http a", after(start, 28)).is_err());
        assert!(breakers.admit("http b", after(start, 28)).is_ok(), "paths are told apart");
        let state = &breakers.states(after(start, 28))[0];
        assert_eq!((state.state, state.paused_s), ("paused", 29));
    }

    #[test]
    fn a_pause_doubles_up_to_five_minutes_and_lets_one_probe_through() {
        let (breakers, mut now) = (Breakers::default(), Instant::now());
        (0..3).for_each(|_| fail(&breakers, now));
        for s in [30, 60, 120, 240, 300, 300] {
            assert!(breakers.admit("http a", after(now, s - 1)).is_err(), "{s}");
            now = after(now, s);
            let probe = breakers.admit("http a", now).unwrap();
            assert!(breakers.admit("http a", now).is_err(), "one probe at a time");
            probe.failed(now);
        }
        now = after(now, 300);
        drop(breakers.admit("http a", now).unwrap());
        breakers.admit("http a", now).expect("a probe that was given up leaves its place").succeeded();
        (0..2).for_each(|_| fail(&breakers, now));
        assert!(breakers.admit("http a", now).is_ok(), "what counted before is forgotten");
    }

    #[test]
    fn an_attempt_from_before_the_pause_neither_ends_nor_lengthens_it() {
        let (breakers, now) = (Breakers::default(), Instant::now());
        let (one, two) = (breakers.admit("http a", now).unwrap(), breakers.admit("http a", now).unwrap());
        (0..3).for_each(|_| fail(&breakers, now));
        one.succeeded();
        assert!(breakers.admit("http a", now).is_err());
        two.failed(after(now, 1));
        assert!(breakers.admit("http a", after(now, 30)).is_ok());
    }

    #[test]
    fn paths_are_bounded() {
        let (breakers, now) = (Breakers::default(), Instant::now());
        for number in 0..2 * PATHS_MAX {
            drop(breakers.admit(&format!("http {number}"), now));
        }
        assert_eq!(breakers.states(now).len(), PATHS_MAX);
    }
}
