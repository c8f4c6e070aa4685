//! Where a volume is: asked of the masters, kept for a while, and asked again when it turns out to be wrong.

mod cache;
mod master;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

pub use master::{Location, Masters};

use crate::file_id::FileId;
use crate::lookup::cache::{Cache, Known};
use crate::place::{Allowed, Place};

/// How look-ups are made.
#[derive(Clone, Debug)]
pub struct LookupConfig {
    /// The masters, as `HOST:PORT`.
    pub masters: Vec<Place>,
    /// How long an answer holds.
    pub ttl: Duration,
    /// How long "there is no such volume" holds.
    pub negative_ttl: Duration,
    /// A volume server that is asked where there are no masters.
    pub volume_server: Option<Place>,
    /// Servers that may be asked though no master lists them.
    pub allowed: Allowed,
    /// Names and addresses of this machine: its own volume server comes first.
    pub local_hosts: Vec<String>,
    /// Its data centre: replicas there come before others.
    pub data_center: Option<String>,
}

/// Why nobody knows where a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LookupError {
    /// The masters say that there is none.
    #[error("the masters know no volume {0}")]
    NoVolume(u32),
    /// No master answers as it should.
    #[error("no master answers: {why}")]
    Unavailable {
        /// What each said.
        why: String,
        /// When to ask again, in seconds.
        retry_after_s: u64,
    },
}

/// The servers of a volume, the one to be asked first in front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The servers.
    pub places: Vec<Place>,
    /// Whether the client named one that may not be asked.
    pub hint_refused: bool,
}

/// Looks volumes up.
#[derive(Clone, Debug)]
pub struct Lookup {
    config: Arc<LookupConfig>,
    masters: Arc<Masters>,
    cache: Arc<Cache>,
}

impl Lookup {
    /// Begins to.
    pub fn new(config: LookupConfig) -> Lookup {
        let masters = Arc::new(Masters::new(config.masters.clone()));
        Lookup { masters, cache: Arc::default(), config: Arc::new(config) }
    }

    /// The servers of a volume. Without masters: who is configured, and the client's own if that is allowed.
    ///
    /// # Errors
    /// The masters know no such volume, or none answers and nothing was known before.
    pub async fn find(
        &self,
        volume: u32,
        hint: Option<&str>,
        deadline: Instant,
    ) -> Result<Found, LookupError> {
        let hint: Option<Result<Place, _>> = hint.map(str::parse);
        let named = hint.as_ref().and_then(|hint| hint.as_ref().ok());
        let mut known = self.known(volume, deadline, false).await?;
        let lists = |known: &[Location], place: &Place| known.iter().any(|at| at.is(place));
        // A volume may have moved to where the client says; that is worth one question in a while.
        if named.is_some_and(|place| !self.config.allowed.holds(place) && !lists(&known, place))
            && !self.config.masters.is_empty()
        {
            known = self.known(volume, deadline, true).await.unwrap_or(known);
        }
        let may = named.filter(|place| lists(&known, place) || self.config.allowed.holds(place));
        let mut places = self.ordered(&known, may);
        if let Some(place) = &self.config.volume_server
            && !places.contains(place)
            && self.config.masters.is_empty()
        {
            places.push(place.clone());
        }
        Ok(Found { hint_refused: hint.is_some() && may.is_none(), places })
    }

    /// This machine's own first, then the client's, then those of the same data centre, then the others.
    fn ordered(&self, known: &[Location], hint: Option<&Place>) -> Vec<Place> {
        let is_local = |place: &Place| {
            place.is_loopback() || self.config.local_hosts.iter().any(|host| host == place.host())
        };
        let rank = |place: &Place, data_center: Option<&str>| match () {
            () if is_local(place) => 0,
            () if Some(place) == hint => 1,
            () if data_center.is_some() && data_center == self.config.data_center.as_deref() => 2,
            () => 3,
        };
        let mut ranked: Vec<(u8, Place)> = known
            .iter()
            .map(|at| {
                // Whichever of its names the client uses is one it can be reached by.
                let place = hint.filter(|hint| at.is(hint)).unwrap_or(&at.place);
                (rank(place, at.data_center.as_deref()), place.clone())
            })
            .collect();
        if let Some(hint) = hint.filter(|hint| !ranked.iter().any(|(_, place)| place == *hint)) {
            ranked.push((rank(hint, None), hint.clone()));
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, place)| place).collect()
    }

    /// What the masters say, or said not long ago; what they said long ago if now they say nothing.
    async fn known(&self, volume: u32, deadline: Instant, again: bool) -> Result<Vec<Location>, LookupError> {
        if self.config.masters.is_empty() {
            return Ok(Vec::new());
        }
        let entry = self.cache.entry(volume);
        let fresh = |known: &Known| known.fresh(Instant::now(), &self.config, again);
        if let Some(answer) = entry.read(fresh) {
            return answer;
        }
        // One asks, the others wait for its answer.
        let _turn = entry.turn().await;
        if let Some(answer) = entry.read(fresh) {
            return answer;
        }
        let answer = self.masters.locations(volume, deadline).await;
        entry.learn(Instant::now(), answer)
    }

    /// What was known of a volume has turned out wrong.
    pub fn doubt(&self, volume: u32) {
        self.cache.entry(volume).doubt();
    }

    /// What authorizes to read a needle, where volume servers have wanted that before.
    pub async fn authorization(&self, file: FileId, deadline: Instant) -> Option<String> {
        match self.masters.is_guarded.load(Ordering::Relaxed) {
            true => self.masters.authorization(file, deadline).await,
            false => None,
        }
    }

    /// The same, because a volume server has just wanted it.
    pub async fn authorization_wanted(&self, file: FileId, deadline: Instant) -> Option<String> {
        let word = self.masters.authorization(file, deadline).await;
        self.masters.is_guarded.fetch_or(word.is_some(), Ordering::Relaxed);
        word
    }

    /// Whether a redirect may be followed there.
    pub async fn may_ask(&self, volume: u32, place: &Place, deadline: Instant) -> bool {
        let listed = |known: Vec<Location>| known.iter().any(|at| at.is(place));
        self.config.allowed.holds(place)
            || self.config.volume_server.as_ref() == Some(place)
            || self.known(volume, deadline, false).await.is_ok_and(listed)
            || self.known(volume, deadline, true).await.is_ok_and(listed)
    }
}
