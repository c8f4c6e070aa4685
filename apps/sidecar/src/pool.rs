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

    /// A connection and the place that it has.
    async fn line(&self) -> Result<(usize, Arc<dyn EngineReads>), EngineError> {
        let number = self.next();
        let mut seat = self.seats[number].lock().await;
        if let Some(line) = &seat.line {
            return Ok((number, Arc::clone(line)));
        }
        let now = Instant::now();
        if seat.rest_until.is_some_and(|until| now < until) {
            return Err(EngineError::EngineGone(seat.why.clone()));
        }
        let dialled = timeout_at(now + CONNECT, self.dial.dial()).await;
        match dialled.unwrap_or_else(|_| Err(EngineError::EngineGone("it does not answer".to_owned()))) {
            Ok(line) => {
                *seat = Seat { line: Some(Arc::clone(&line)), ..Seat::default() };
                Ok((number, line))
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
        let mut again = true;
        loop {
            let (number, line) =
                timeout_at(deadline, self.line()).await.unwrap_or(Err(EngineError::TimedOut))?;
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
