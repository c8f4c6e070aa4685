//! The lives of a NIC: it crashes with its node, and another one takes its place.

use std::rc::Rc;

use super::Nic;
use crate::memory::MrTable;
use crate::queue::Reports;

/// What the lives of a NIC have given out between them.
#[derive(Debug)]
pub(super) struct Past {
    endpoints: usize,
    mrs: MrTable,
}

impl Nic {
    /// Everything is forgotten, and registered memory lost. False when that was so already.
    pub(crate) fn crash(&mut self) -> bool {
        if self.crashed {
            return false;
        }
        self.crashed = true;
        self.faults.removed = true;
        self.line.clear();
        self.timers.clear();
        self.qps.iter_mut().for_each(|slot| *slot = None);
        self.open = 0;
        self.srqs.clear();
        self.mrs.retire_all();
        self.reports = Reports::new(self.node, Rc::clone(&self.shared));
        true
    }

    /// The device of the next life, with the address of this one. `same`: it gives out numbers and keys from the beginning.
    pub(crate) fn successor(&self, same: bool) -> Nic {
        let mut past = Past { endpoints: self.qps.len(), mrs: self.mrs.successor() };
        if let Some(before) = &self.past {
            past.endpoints = past.endpoints.max(before.endpoints);
            past.mrs.skip(&before.mrs);
        }
        let mut next = Nic::new(self.node, self.caps.clone(), Rc::clone(&self.shared));
        (next.gid, next.incarnation) = (self.gid, self.incarnation + 1);
        if !same {
            next.qps.resize_with(past.endpoints, || None);
            next.mrs = past.mrs.successor();
        }
        next.past = Some(Box::new(past));
        next
    }
}
