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
    driver: Rc<RefCell<Driver<C>>>,
}

impl<C> Clone for LocalEngine<C> {
    fn clone(&self) -> LocalEngine<C> {
        LocalEngine { driver: Rc::clone(&self.driver) }
    }
}

impl<C: RdmaOps> LocalEngine<C> {
    /// Shares a driver.
    pub fn new(driver: Driver<C>) -> LocalEngine<C> {
        LocalEngine { driver: Rc::new(RefCell::new(driver)) }
    }

    /// Turns the driver; wakes whoever awaits what ended.
    pub fn turn(&self, now: Instant) -> Wake {
        self.with(|driver| driver.turn(now))
    }

    /// Calls the driver directly.
    pub fn with<R>(&self, call: impl FnOnce(&mut Driver<C>) -> R) -> R {
        let (answer, wakers) = {
            let mut driver = self.driver.borrow_mut();
            (call(&mut driver), driver.take_wakers())
        };
        // Outside of the borrow: an executor may poll, submit or drop right here.
        wakers.into_iter().for_each(Waker::wake);
        answer
    }

    /// Begins a transfer and answers a future of its end.
    ///
    /// # Errors
    /// See [`Driver::submit`].
    pub fn transfer(&self, now: Instant, spec: TransferSpec) -> Result<Transferring<C>, SubmitError> {
        let mut driver = self.driver.borrow_mut();
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
        let polled = self.engine.driver.borrow_mut().poll_transfer(id, context.waker());
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
            let waker = self.engine.driver.borrow_mut().forget_transfer(id, self.now);
            drop(waker);
        }
    }
}

impl<C: RdmaOps> fmt::Debug for Transferring<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transferring({:?})", self.id)
    }
}
