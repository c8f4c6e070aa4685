//! Questions to the masters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, LOCATION, RETRY_AFTER};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::LookupError;
use crate::client::{Answer, HttpClient, client, get, told};
use crate::file_id::FileId;
use crate::place::Place;

/// How long a master may take. Another one may know it sooner.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Longest answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// How long an authorization is used: masters give them for ten seconds and more.
const AUTHORIZED: Duration = Duration::from_secs(5);

/// Authorizations that are kept.
const AUTHORIZED_MAX: usize = 4096;

/// Servers of a volume that are looked at.
const LOCATIONS_MAX: usize = 64;

/// A server that has a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Where it is.
    pub place: Place,
    /// Where others reach it.
    pub public: Option<Place>,
    /// Its data centre.
    pub data_center: Option<String>,
}

impl Location {
    /// Whether it goes by that name.
    pub fn is(&self, place: &Place) -> bool {
        self.place == *place || self.public.as_ref() == Some(place)
    }
}

/// What `/dir/lookup` answers (`weed/operation/lookup.go`).
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Looked {
    locations: Vec<Listed>,
    error: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Listed {
    url: String,
    public_url: String,
    data_center: String,
}

/// What a master said that is no answer.
enum NoAnswer {
    NoVolume,
    Silent(String, u64),
    Elsewhere(Place),
}

/// The masters. Whoever answered last is asked first.
#[derive(Debug)]
pub struct Masters {
    places: Vec<Place>,
    first: AtomicUsize,
    client: HttpClient,
    /// Whether volume servers want to be shown authorizations: learned from the first that did.
    pub(super) is_guarded: AtomicBool,
    authorized: Mutex<BTreeMap<FileId, (Option<String>, Instant)>>,
}

impl Masters {
    /// These.
    pub fn new(places: Vec<Place>) -> Masters {
        let client = client(Duration::from_millis(800));
        Masters {
            places,
            first: AtomicUsize::new(0),
            client,
            is_guarded: AtomicBool::new(false),
            authorized: Mutex::default(),
        }
    }

    /// The servers of a volume.
    pub(super) async fn locations(
        &self,
        volume: u32,
        deadline: Instant,
    ) -> Result<Vec<Location>, LookupError> {
        let path = format!("/dir/lookup?volumeId={volume}");
        let (mut why, mut retry_after_s) = (Vec::new(), 1);
        let mut next = self.first.load(Ordering::Relaxed) % self.places.len().max(1);
        // A master that sends us to the leader costs a step, and no circle of them costs more than this.
        for _ in 0..2 * self.places.len() {
            let place = &self.places[next];
            match self.ask(place, &path, deadline).await {
                Ok((looked, _)) => {
                    self.first.store(next, Ordering::Relaxed);
                    return Ok(looked);
                }
                Err(NoAnswer::NoVolume) => {
                    self.first.store(next, Ordering::Relaxed);
                    return Err(LookupError::NoVolume(volume));
                }
                Err(NoAnswer::Elsewhere(leader)) => {
                    match self.places.iter().position(|place| *place == leader) {
                        Some(at) if at != next => next = at,
                        _ => {
                            why.push(format!(
                                "{place} sends on to {leader}, which is no master that was configured"
                            ));
                            next = (next + 1) % self.places.len();
                        }
                    }
                }
                Err(NoAnswer::Silent(said, seconds)) => {
                    why.push(format!("{place}: {said}"));
                    retry_after_s = retry_after_s.max(seconds);
                    next = (next + 1) % self.places.len();
                    if why.len() >= self.places.len() {
                        break;
                    }
                }
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Err(LookupError::Unavailable { why: why.join("; "), retry_after_s: retry_after_s.min(60) })
    }

    /// What authorizes to read this needle; nothing where the cluster needs none.
    pub(super) async fn authorization(&self, file: FileId, deadline: Instant) -> Option<String> {
        let now = Instant::now();
        let kept = |kept: &Mutex<BTreeMap<FileId, (Option<String>, Instant)>>| {
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.get(&file).filter(|(_, until)| now < *until).map(|(word, _)| word.clone())
        };
        if let Some(word) = kept(&self.authorized) {
            return word;
        }
        let path = format!("/dir/lookup?fileId={file}&read=yes");
        let first = self.first.load(Ordering::Relaxed);
        for step in 0..self.places.len() {
            let place = &self.places[(first + step) % self.places.len()];
            if let Ok((_, word)) = self.ask(place, &path, deadline).await {
                let mut kept = self.authorized.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() >= AUTHORIZED_MAX {
                    kept.retain(|_, (_, until)| now < *until);
                    if kept.len() >= AUTHORIZED_MAX {
                        kept.clear();
                    }
                }
                kept.insert(file, (word.clone(), now + AUTHORIZED));
                return word;
            }
        }
        None
    }

    /// Asks one master.
    async fn ask(
        &self,
        place: &Place,
        path: &str,
        deadline: Instant,
    ) -> Result<(Vec<Location>, Option<String>), NoAnswer> {
        let silent = |why: String| NoAnswer::Silent(why, 1);
        let request = get(place.as_str(), path, &[("accept", "application/json".to_owned())])
            .map_err(|why| silent(why.to_string()))?;
        let until = deadline.min(Instant::now() + PATIENCE);
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|why| silent(told(&why)))?;
            read(answer).await
        };
        timeout_at(until, exchange).await.unwrap_or_else(|_| Err(silent("it took too long".to_owned())))
    }
}

async fn read(answer: Answer) -> Result<(Vec<Location>, Option<String>), NoAnswer> {
    let (head, body) = answer.into_parts();
    let text =
        |name| head.headers.get(name).and_then(|value: &hyper::header::HeaderValue| value.to_str().ok());
    let retry_after_s = text(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()).unwrap_or(1);
    let silent = |why: String| NoAnswer::Silent(why, retry_after_s);
    if head.status.is_redirection() {
        let to = text(LOCATION).and_then(|to| to.strip_prefix("http://"));
        let place = to.and_then(|to| to.split('/').next()).and_then(|place| place.parse().ok());
        return Err(place.map_or_else(|| silent("it redirects to nowhere".to_owned()), NoAnswer::Elsewhere));
    }
    let word = text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|why| silent(format!("its answer broke off: {why}")))?.to_bytes();
    let looked = serde_json::from_slice::<Looked>(&body);
    match (head.status, looked) {
        (StatusCode::NOT_FOUND, Ok(looked)) if !looked.error.is_empty() => Err(NoAnswer::NoVolume),
        (StatusCode::OK, Ok(looked)) if looked.error.is_empty() => Ok((listed(looked), word)),
        (status, Ok(looked)) => Err(silent(format!("{status} {}", looked.error))),
        (status, Err(why)) => Err(silent(format!("{status}, and no JSON: {why}"))),
    }
}

/// Those that are places; whatever else is listed there cannot be asked.
fn listed(looked: Looked) -> Vec<Location> {
    let location = |listed: Listed| {
        let public: Option<Place> = listed.public_url.parse().ok();
        let place = listed.url.parse().ok().or_else(|| public.clone())?;
        let data_center = Some(listed.data_center).filter(|name| !name.is_empty());
        Some(Location { place, public, data_center })
    };
    looked.locations.into_iter().take(LOCATIONS_MAX).filter_map(location).collect()
}
