//! Connections to the engine: a bounded number, replaced when they break, waited for when all are in use.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::engine::{About, EngineBytes, EngineError, EngineReads, Wanted};

/// After an attempt to connect that failed, the next is this much later: reads meanwhile fail at once.
const REST: Duration = Duration::from_millis(100);

/// How long connecting may take: it is a socket of this machine.
const CONNECT: Duration = Duration::from_secs(1);

/// Connects to an engine.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// A connection. It carries many reads at once.
    async fn dial(&self) -> Result<Arc<dyn EngineReads>, EngineError>;
}

/// One place for a connection.
#[derive(Default)]
struct Seat {
    line: Option<Arc<dyn EngineReads>>,
    rest_until: Option<Instant>,
    why: String,
}

/// An engine that may come and go, behind as many connections as are wanted.
pub struct Pool {
    dial: Box<dyn Dial>,
    seats: Vec<tokio::sync::Mutex<Seat>>,
    next: Mutex<usize>,
    /// Reads at once, over all connections.
    places: Semaphore,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("connections", &self.seats.len()).finish_non_exhaustive()
    }
}

impl Pool {
    /// So many connections with so many reads at once on each. Nothing is connected before it is needed.
    pub fn new(dial: impl Dial, connections: usize, reads_each: usize) -> Pool {
        Pool {
            dial: Box::new(dial),
            seats: (0..connections.max(1)).map(|_| tokio::sync::Mutex::default()).collect(),
            next: Mutex::new(0),
            places: Semaphore::new(connections.max(1) * reads_each.max(1)),
        }
    }

    fn next(&self) -> usize {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = (*next + 1) % self.seats.len();
        *next
    }

    /// The connection that has a place, or a new one.
    async fn line(&self, number: usize) -> Result<Arc<dyn EngineReads>, EngineError> {
        let mut seat = self.seats[number].lock().await;
        if let Some(line) = seat.line.as_ref().filter(|line| !line.is_lost()) {
            return Ok(Arc::clone(line));
        }
        seat.line = None;
        let now = Instant::now();
        if seat.rest_until.is_some_and(|until| now < until) {
            return Err(EngineError::EngineGone(seat.why.clone()));
        }
        let dialled = timeout_at(now + CONNECT, self.dial.dial()).await;
        match dialled.unwrap_or_else(|_| Err(EngineError::EngineGone("it does not answer".to_owned()))) {
            Ok(line) => {
                *seat = Seat { line: Some(Arc::clone(&line)), ..Seat::default() };
                Ok(line)
            }
            Err(why) => {
                *seat = Seat { line: None, rest_until: Some(Instant::now() + REST), why: why.to_string() };
                Err(gone(why))
            }
        }
    }

    /// Forgets a connection that broke, unless somebody has replaced it already.
    async fn broken(&self, number: usize, line: &Arc<dyn EngineReads>) {
        let mut seat = self.seats[number].lock().await;
        if seat.line.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, line)) {
            seat.line = None;
        }
    }

    /// Does one thing over some connection; over a new one, once, if the old one was found broken.
    async fn over<T, F>(
        &self,
        deadline: Instant,
        act: impl Fn(Arc<dyn EngineReads>) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let _place = match timeout_at(deadline, self.places.acquire()).await {
            Ok(Ok(place)) => place,
            // Waiting took all the time: that is the engine's load, not its absence.
            _ => return Err(EngineError::Busy),
        };
        let (number, mut again) = (self.next(), true);
        loop {
            let line = timeout_at(deadline, self.line(number)).await.unwrap_or(Err(EngineError::TimedOut))?;
            let done =
                timeout_at(deadline, act(Arc::clone(&line))).await.unwrap_or(Err(EngineError::TimedOut));
            match done {
                // A read changes nothing, so that it may be asked again: the engine was restarted since the last one.
                Err(EngineError::EngineGone(_)) if again && Instant::now() < deadline => {
                    self.broken(number, &line).await;
                    again = false;
                }
                Err(EngineError::EngineGone(why)) => {
                    self.broken(number, &line).await;
                    return Err(EngineError::EngineGone(why));
                }
                done => return done,
            }
        }
    }
}

fn gone(why: EngineError) -> EngineError {
    match why {
        EngineError::EngineGone(why) => EngineError::EngineGone(why),
        other => EngineError::EngineGone(other.to_string()),
    }
}

#[async_trait]
impl EngineReads for Pool {
    async fn read(&self, wanted: &Wanted, deadline: Instant) -> Result<EngineBytes, EngineError> {
        self.over(deadline, |line| async move { line.read(wanted, deadline).await }).await
    }

    async fn about(&self, deadline: Instant) -> Result<About, EngineError> {
        self.over(deadline, |line| async move { line.about(deadline).await }).await
    }

    async fn ping(&self, deadline: Instant) -> Result<Duration, EngineError> {
        self.over(deadline, |line| async move { line.ping(deadline).await }).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    /// An engine by its life: connections of an earlier one are broken, and nobody is told.
    #[derive(Clone, Default)]
    struct Lives {
        life: Arc<AtomicU64>,
        dials: Arc<AtomicU64>,
    }

    struct OfLife(Lives, u64);

    #[async_trait]
    impl Dial for Lives {
        async fn dial(&self) -> Result<Arc<dyn EngineReads>, EngineError> {
            self.dials.fetch_add(1, Relaxed);
            match self.life.load(Relaxed) {
                0 => Err(EngineError::EngineGone("nobody".to_owned())),
                life => Ok(Arc::new(OfLife(self.clone(), life))),
            }
        }
    }

    #[async_trait]
    impl EngineReads for OfLife {
        async fn read(&self, _: &Wanted, _: Instant) -> Result<EngineBytes, EngineError> {
            Err(EngineError::Missing)
        }

        async fn about(&self, _: Instant) -> Result<About, EngineError> {
            std::future::pending().await
        }

        async fn ping(&self, _: Instant) -> Result<Duration, EngineError> {
            match self.0.life.load(Relaxed) == self.1 {
                true => Ok(Duration::ZERO),
                false => Err(EngineError::EngineGone("broken".to_owned())),
            }
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn every_connection_is_replaced_after_a_restart_without_a_read_that_fails() {
        let lives = Lives::default();
        lives.life.store(1, Relaxed);
        let pool = Pool::new(lives.clone(), 4, 8);
        for life in 1..4 {
            lives.life.store(life, Relaxed);
            for _ in 0..16 {
                assert!(pool.ping(soon()).await.is_ok(), "life {life}");
            }
        }
        assert_eq!(lives.dials.load(Relaxed), 12);
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_is_not_there_is_not_called_at_every_read() {
        let lives = Lives::default();
        let pool = Pool::new(lives.clone(), 1, 8);
        for _ in 0..100 {
            assert!(matches!(pool.ping(soon()).await, Err(EngineError::EngineGone(_))));
        }
        assert_eq!(lives.dials.load(Relaxed), 1);
        lives.life.store(1, Relaxed);
        tokio::time::sleep(REST).await;
        assert!(pool.ping(soon()).await.is_ok(), "and is found when it is there");
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_all_places_taken_waits_and_is_told_that_it_is_busy() {
        let lives = Lives::default();
        lives.life.store(1, Relaxed);
        let pool = Arc::new(Pool::new(lives, 1, 1));
        let taken = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.about(soon()).await }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        let waited = Instant::now();
        assert_eq!(pool.ping(soon()).await, Ok(Duration::ZERO), "it has its turn when the other is done");
        assert!(waited.elapsed() >= Duration::from_millis(400));
        assert_eq!(taken.await.unwrap(), Err(EngineError::TimedOut));
        let taken = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.about(soon() + Duration::from_secs(9)).await }
        });
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(pool.ping(soon()).await, Err(EngineError::Busy));
        taken.abort();
    }
}
