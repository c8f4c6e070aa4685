//! What the masters said of each volume.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio::time::Instant;

use super::{Location, LookupConfig, LookupError};

/// Volumes that are remembered: the number is a client's, so there is a bound.
const VOLUMES_MAX: usize = 65_536;

/// A volume is asked for again, out of doubt, at most this often.
const AGAIN: Duration = Duration::from_secs(1);

/// What was said, and when.
#[derive(Debug)]
pub(super) struct Known {
    answer: Result<Vec<Location>, LookupError>,
    asked: Instant,
    doubted: bool,
}

impl Known {
    /// The answer, if it still holds.
    pub(super) fn fresh(
        &self,
        now: Instant,
        config: &LookupConfig,
        again: bool,
    ) -> Option<Result<Vec<Location>, LookupError>> {
        let holds = match &self.answer {
            Ok(_) if again || self.doubted => AGAIN,
            Ok(_) => config.ttl,
            Err(_) => config.negative_ttl,
        };
        (now.saturating_duration_since(self.asked) < holds).then(|| self.answer.clone())
    }
}

/// A volume.
#[derive(Debug, Default)]
pub(super) struct Entry {
    known: Mutex<Option<Known>>,
    asking: tokio::sync::Mutex<()>,
}

impl Entry {
    pub(super) fn read<T>(&self, look: impl FnOnce(&Known) -> Option<T>) -> Option<T> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(look)
    }

    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.asking.lock().await
    }

    /// Takes an answer. Masters that do not answer leave what was known as it was, to be doubted.
    pub(super) fn learn(
        &self,
        now: Instant,
        answer: Result<Vec<Location>, LookupError>,
    ) -> Result<Vec<Location>, LookupError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = matches!(answer, Err(LookupError::Unavailable { .. }));
        match &mut *known {
            Some(Known { answer: Ok(before), asked, doubted }) if silent => {
                (*asked, *doubted) = (now, true);
                Ok(before.clone())
            }
            known => {
                *known = Some(Known { answer: answer.clone(), asked: now, doubted: false });
                answer
            }
        }
    }

    pub(super) fn doubt(&self) {
        if let Some(known) = &mut *self.known.lock().unwrap_or_else(PoisonError::into_inner) {
            known.doubted = true;
        }
    }
}

/// All volumes.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<BTreeMap<u32, Arc<Entry>>>);

impl Cache {
    pub(super) fn entry(&self, volume: u32) -> Arc<Entry> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= VOLUMES_MAX && !entries.contains_key(&volume) {
            // Volumes that there are come back with their next read; a bound needs no better rule.
            entries.retain(|_, entry| entry.read(|known| known.answer.is_ok().then_some(())).is_some());
            if entries.len() >= VOLUMES_MAX {
                entries.clear();
            }
        }
        Arc::clone(entries.entry(volume).or_default())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_cache_that_is_full_of_volumes_that_are_not_keeps_those_that_are() {
        let (cache, now) = (Cache::default(), Instant::now());
        for volume in 0..VOLUMES_MAX as u32 {
            let none = Err(LookupError::NoVolume(volume));
            let _ = cache.entry(volume).learn(now, if volume == 7 { Ok(Vec::new()) } else { none });
        }
        cache.entry(u32::MAX);
        assert_eq!(cache.0.lock().unwrap().len(), 2);
        assert!(cache.entry(7).read(|known| Some(known.answer.is_ok())).unwrap());
    }
}
