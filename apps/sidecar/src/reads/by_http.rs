//! Reading from volume servers by HTTP, replica by replica.

use tokio::time::Instant;

use super::{Left, Range, ReadError, Reads, Served, Way};
use crate::attempts::Attempts;
use crate::fetch::{Asked, FetchError, Fetched, Fetcher};
use crate::place::Place;

impl Reads {
    /// Reads from one replica after the other; those whose bytes the engine found damaged come last, and have to prove theirs.
    pub(super) async fn by_http(
        &self,
        fetcher: &Fetcher,
        range: &Range,
        places: &[Place],
        deadline: Instant,
        attempts: &mut Attempts,
        left: &mut Left,
    ) -> Result<Served, ReadError> {
        let (mut damaged, mut busy, mut missing) = (left.damage, 0, 0);
        let mut sorted: Vec<&Place> = places.iter().collect();
        sorted.sort_by_key(|place| left.damaged.contains(place));
        let asked_max = self.limits.replicas_max.min(sorted.len());
        for place in sorted.into_iter().take(asked_max) {
            let verified = left.damaged.contains(place);
            match self.one_server(fetcher, range, place, verified, deadline, attempts).await {
                Ok(fetched) => return served(range, fetched),
                Err(Some(FetchError::PastEnd { whole_len })) => return Err(ReadError::PastEnd { whole_len }),
                Err(Some(FetchError::TooLong { max })) => return Err(ReadError::TooLong { max }),
                Err(Some(FetchError::Missing)) => {
                    missing += 1;
                    self.lookup.doubt(range.file.volume);
                }
                Err(Some(FetchError::Damaged)) => damaged = true,
                Err(Some(FetchError::Busy)) => busy += 1,
                Err(Some(_)) => self.lookup.doubt(range.file.volume),
                Err(None) => {}
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        match () {
            () if missing == asked_max => Err(ReadError::NotFound("there is no such needle")),
            () if damaged => Err(ReadError::Damaged(format!("tried: {}", attempts.told()))),
            () if busy > 0 => Err(ReadError::Busy {
                why: format!("volume servers have too much to do; tried: {}", attempts.told()),
                retry_after_s: 1,
            }),
            () => Err(ReadError::NoWay(format!("no volume server serves it; tried: {}", attempts.told()))),
        }
    }

    /// From one server, and from where it sends on to. `Err(None)` is one that is left alone for a while.
    async fn one_server(
        &self,
        fetcher: &Fetcher,
        range: &Range,
        first: &Place,
        verified: bool,
        deadline: Instant,
        attempts: &mut Attempts,
    ) -> Result<Fetched, Option<FetchError>> {
        let asked = Asked {
            file: range.file,
            offset: range.offset,
            len: range.len,
            verified,
            bytes_max: self.limits.bytes_max,
        };
        let mut place = first.clone();
        let mut word = self.lookup.authorization(range.file, deadline).await;
        for _ in 0..=Fetcher::redirects_max() {
            let (path, now) = (format!("http {place}"), Instant::now());
            let Ok(admission) = self.breakers.admit(&path, now) else {
                attempts.add(&path, "paused", Default::default());
                return Err(None);
            };
            let until = deadline.min(now + self.limits.http);
            let mut fetched = fetcher.fetch(&place, asked, word.as_deref(), until).await;
            if fetched.as_ref().is_err_and(|why| *why == FetchError::Unauthorized) && word.is_none() {
                word = self.lookup.authorization_wanted(range.file, deadline).await;
                if word.is_some() {
                    attempts.add(&path, "unauthorized", now.elapsed());
                    fetched = fetcher.fetch(&place, asked, word.as_deref(), until).await;
                }
            }
            attempts.add(&path, fetched.as_ref().err().map_or("ok", FetchError::word), now.elapsed());
            match fetched {
                Err(FetchError::Elsewhere(next)) => {
                    admission.succeeded();
                    if !self.lookup.may_ask(range.file.volume, &next, deadline).await {
                        let why = format!("it sends on to {next}, which no master lists and nobody allowed");
                        return Err(Some(FetchError::Wrong(why)));
                    }
                    place = next;
                }
                other => {
                    match &other {
                        Err(why) if why.is_of_server() => admission.failed(Instant::now()),
                        _ => admission.succeeded(),
                    }
                    return other.map_err(Some);
                }
            }
        }
        Err(Some(FetchError::Wrong("it sends on, and on".to_owned())))
    }
}

fn served(range: &Range, fetched: Fetched) -> Result<Served, ReadError> {
    let len = fetched.bytes.len() as u64;
    if range.len != 0 && len > range.len {
        return Err(ReadError::Fault(format!("{len} bytes by HTTP where {} were wanted", range.len)));
    }
    Ok(Served {
        frames: vec![fetched.bytes],
        len,
        offset: range.offset,
        whole_len: fetched.whole_len,
        way: Way::Http,
        details: fetched.details,
        checked: fetched.checked,
    })
}
