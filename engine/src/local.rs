//! The async costume: futures over a driver that is turned on the same thread.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use wavetank_contract::{Instant, Wake};

use crate::context::{RdmaContext, RdmaOps};
use crate::driver::Driver;
use crate::transfer::{Finished, SubmitError, TransferId, TransferSpec};

/// A driver shared by the tasks of one thread.
#[derive(Debug)]
pub struct LocalEngine<C = RdmaContext> {
    shared: Rc<Shared<C>>,
}

#[derive(Debug)]
struct Shared<C> {
    driver: RefCell<Driver<C>>,
    /// Transfers whose future was dropped while somebody was inside the driver, to be cancelled afterwards.
    dropped: RefCell<Vec<(TransferId, Instant)>>,
}

impl<C> Clone for LocalEngine<C> {
    fn clone(&self) -> LocalEngine<C> {
        LocalEngine { shared: Rc::clone(&self.shared) }
    }
}

impl<C: RdmaOps> LocalEngine<C> {
    /// Shares a driver.
    pub fn new(driver: Driver<C>) -> LocalEngine<C> {
        let (driver, dropped) = (RefCell::new(driver), RefCell::new(Vec::new()));
        LocalEngine { shared: Rc::new(Shared { driver, dropped }) }
    }

    /// Turns the driver; wakes whoever awaits what ended.
    pub fn turn(&self, now: Instant) -> Wake {
        self.with(|driver| driver.turn(now))
    }

    /// Calls the driver directly. Futures may be dropped meanwhile; calling the engine itself from inside panics.
    pub fn with<R>(&self, call: impl FnOnce(&mut Driver<C>) -> R) -> R {
        let (answer, wakers) = {
            let mut driver = self.shared.driver.borrow_mut();
            (call(&mut driver), driver.take_wakers())
        };
        // Outside of the borrow: an executor may poll, submit or drop right here.
        wakers.into_iter().for_each(Waker::wake);
        while let Some((id, now)) = self.next_dropped() {
            self.forget(id, now);
        }
        answer
    }

    fn next_dropped(&self) -> Option<(TransferId, Instant)> {
        self.shared.dropped.borrow_mut().pop()
    }

    /// Cancels a transfer that nobody awaits any more, now or once nobody is inside.
    fn forget(&self, id: TransferId, now: Instant) {
        let waker = match self.shared.driver.try_borrow_mut() {
            Ok(mut driver) => driver.forget_transfer(id, now),
            Err(_) => {
                self.shared.dropped.borrow_mut().push((id, now));
                None
            }
        };
        // Dropping a waker may drop a task, which may come back in here.
        drop(waker);
    }

    /// Begins a transfer and answers a future of its end.
    ///
    /// # Errors
    /// See [`Driver::submit`].
    pub fn transfer(&self, now: Instant, spec: TransferSpec) -> Result<Transferring<C>, SubmitError> {
        let mut driver = self.shared.driver.borrow_mut();
        let id = driver.submit(now, spec)?;
        driver.await_transfer(id);
        Ok(Transferring { engine: self.clone(), id: Some(id), now })
    }
}

/// A transfer under way. Dropping it cancels the transfer; its memory stays out of the pool until the device is done.
pub struct Transferring<C: RdmaOps = RdmaContext> {
    engine: LocalEngine<C>,
    id: Option<TransferId>,
    now: Instant,
}

impl<C: RdmaOps> Future for Transferring<C> {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Finished> {
        let Some(id) = self.id else { return Poll::Pending };
        let polled = self.engine.shared.driver.borrow_mut().poll_transfer(id, context.waker());
        match polled {
            Ok(finished) => {
                self.id = None;
                Poll::Ready(finished)
            }
            // The former waker is dropped here, outside of the borrow.
            Err(_former) => Poll::Pending,
        }
    }
}

impl<C: RdmaOps> Drop for Transferring<C> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.engine.forget(id, self.now);
        }
    }
}

impl<C: RdmaOps> fmt::Debug for Transferring<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transferring({:?})", self.id)
    }
}
