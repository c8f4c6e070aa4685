//! Posting on the bench: what is taken is owed a completion.

use std::fmt::Debug;

use wavetank_contract::error::PostError;
use wavetank_contract::{Backend, SrqId, Status};

use super::{Bench, End, Posted};
use crate::kit::stop::{Ended, OrFail, Stop, fail};
use crate::kit::work::W;
use crate::lab::Lab;

/// The name of a variant, without what it carries.
pub(in crate::kit) fn variant(value: &impl Debug) -> String {
    format!("{value:?}").chars().take_while(|c| c.is_alphanumeric()).collect()
}

fn owed(end: Option<End>, work: &W) -> Posted {
    // Every device refuses what does not fit.
    let len = u32::try_from(work.as_work().data.len_bytes()).unwrap_or(u32::MAX);
    Posted { id: work.id, ep: end.map(|end| end.ep), kind: work.kind(), len, signalled: work.signalled }
}

impl<L: Lab> Bench<'_, L> {
    /// A work as failures and observations name it.
    fn work_name(&self, end: End, work: &W) -> String {
        format!("{}: {} {}", self.name(end), work.kind().name(), work.id)
    }

    /// Posts one work and does not ring.
    pub(in crate::kit) fn post(&mut self, end: End, work: &W) -> Result<(), PostError> {
        let side = &mut self.sides[end.side];
        side.device.post(end.ep, &work.as_work())?;
        side.posted.push(owed(Some(end), work));
        Ok(())
    }

    pub(in crate::kit) fn ring(&mut self, end: End) -> Ended {
        self.sides[end.side].device.ring(end.ep).or_fail(format!("{}: the doorbell", self.name(end)))
    }

    /// Posts works and rings. Each must be taken.
    pub(in crate::kit) fn go(&mut self, end: End, works: &[W]) -> Ended {
        for work in works {
            self.post(end, work).or_fail(self.work_name(end, work))?;
        }
        self.ring(end)
    }

    /// Posts one work and rings. What is refused at the doorbell counts as refused.
    fn offer(&mut self, end: End, work: &W) -> Result<(), PostError> {
        self.post(end, work)?;
        let side = &mut self.sides[end.side];
        side.device.ring(end.ep).map_err(|refused| {
            side.posted.retain(|posted| posted.id != work.id);
            refused.error
        })
    }

    /// A work that must be refused before it is on the wire.
    pub(in crate::kit) fn is_refused(
        &mut self,
        end: End,
        work: &W,
        rightly: impl FnOnce(&PostError) -> bool,
    ) -> Ended {
        let name = self.work_name(end, work);
        match self.post(end, work) {
            Ok(()) => fail!("{name} was taken and should have been refused"),
            Err(error) if !rightly(&error) => fail!("{name} was refused for another reason: {error}"),
            Err(error) => {
                self.note(format!("{name} refused {}", variant(&error)));
                Ok(())
            }
        }
    }

    /// A send that cannot be right: devices that see it refuse it, the others fail it with this status. True when it was
    /// refused.
    pub(in crate::kit) fn is_refused_or_fails(
        &mut self,
        end: End,
        work: &W,
        status: Status,
    ) -> Result<bool, Stop> {
        let name = self.work_name(end, work);
        match self.offer(end, work) {
            Ok(()) => {
                self.sends(end, &[(work.id, status)])?;
                Ok(false)
            }
            Err(error @ (PostError::Gone(_) | PostError::System(_))) => {
                self.note(format!("{name} refused {}", variant(&error)));
                Ok(true)
            }
            Err(error) => fail!("{name} was refused for another reason: {error}"),
        }
    }

    /// Posts a receive to a shared queue.
    pub(in crate::kit) fn give(&mut self, side: usize, srq: SrqId, work: &W) -> Result<(), PostError> {
        let side = &mut self.sides[side];
        side.device.post_shared(srq, &work.as_work())?;
        side.posted.push(owed(None, work));
        Ok(())
    }
}
