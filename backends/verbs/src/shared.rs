//! Receive queues that endpoints share.

use std::rc::Rc;

use wavetank_contract::{PdId, WorkId};

use crate::sys::{RecvChain, Srq};

/// One shared receive queue. Its receives complete in any order, so each has a place of its own.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) srq: Rc<Srq>,
    pub(crate) pd: PdId,
    pub(crate) depth: u32,
    /// One receive at a time: there is no doorbell for a shared queue.
    pub(crate) chain: RecvChain,
    places: Box<[Option<WorkId>]>,
    free: Vec<u32>,
}

impl Shared {
    pub(crate) fn new(srq: Rc<Srq>, pd: PdId, depth: u32, sge_max: u32) -> Shared {
        Shared {
            srq,
            pd,
            depth,
            chain: RecvChain::new(1, sge_max.max(1) as usize),
            places: vec![None; depth as usize].into(),
            free: (0..depth).rev().collect(),
        }
    }

    /// Takes a place for a receive. `None` when all are taken.
    pub(crate) fn enter(&mut self, id: WorkId) -> Option<u32> {
        let place = self.free.pop()?;
        self.places[place as usize] = Some(id);
        Some(place)
    }

    /// Gives a place back, and says whose it was. `None` when nobody's.
    pub(crate) fn complete(&mut self, place: u32) -> Option<WorkId> {
        let id = self.places.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(id)
    }
}
