//! Transfers that somebody awaits: their end is kept until it is asked for.

use std::task::Waker;

use wavetank_contract::Instant;

use super::Driver;
use crate::context::RdmaOps;
use crate::transfer::{Finished, TransferError, TransferId};

impl<C: RdmaOps> Driver<C> {
    /// Somebody will await this transfer: its end waits for them.
    pub(crate) fn await_transfer(&mut self, id: TransferId) {
        if let Some(transfer) = self.transfers.get_mut(id.0) {
            transfer.awaited = true;
        }
    }

    /// The end of an awaited transfer, or the waker is kept for it, and the one kept before comes back: dropping
    /// a waker may drop a task, which may come back in here.
    pub(crate) fn poll_transfer(&mut self, id: TransferId, waker: &Waker) -> Result<Finished, Option<Waker>> {
        let Some(transfer) = self.transfers.get_mut(id.0) else {
            return Err(None);
        };
        let Some(finished) = transfer.kept.take() else {
            let kept = transfer.waker.as_ref().is_some_and(|kept| kept.will_wake(waker));
            return Err(if kept { None } else { transfer.waker.replace(waker.clone()) });
        };
        if transfer.in_flight == 0 {
            self.transfers.remove(id.0);
        }
        Ok(*finished)
    }

    /// Nobody awaits this transfer any more. Its waker comes back, to be dropped outside.
    pub(crate) fn forget_transfer(&mut self, id: TransferId, now: Instant) -> Option<Waker> {
        let transfer = self.transfers.get_mut(id.0)?;
        transfer.awaited = false;
        let waker = transfer.waker.take();
        if transfer.kept.take().is_some() {
            if transfer.in_flight == 0 {
                self.transfers.remove(id.0);
            }
        } else if self.abandon(id.0, TransferError::Cancelled, now) {
            // Nobody is left to be told: what was just queued goes again.
            self.finished.pop_back();
        }
        waker
    }

    /// Whom to wake, once nobody is inside any more.
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }
}
