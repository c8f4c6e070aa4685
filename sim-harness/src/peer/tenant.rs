//! What one client has of a memory server: memory, registrations, endpoints. It goes back when the client does, however that is.

use std::cell::Cell;
use std::rc::Rc;

use wavetank_contract::{Access, CqId, EndpointSpec, EpId, MrId, PdId, Region, RegionSpec};
use wavetank_engine::bootstrap::{Plan, Share};
use wavetank_engine::{LocalEngine, RdmaOps};

use super::{Canary, Fill, Need, Wanted};
use crate::lab::RealTime;
use crate::pattern::{self, Tag};

/// Bytes filled at a time: other clients want to be served meanwhile.
const FILL_BYTES: u64 = 4 << 20;

/// Memory that clients may have, and what they have.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) limit_bytes: u64,
    pub(super) used_bytes: Cell<u64>,
}

impl Budget {
    fn take(&self, bytes: u64) -> Result<(), String> {
        let (limit, used) = (self.limit_bytes, self.used_bytes.get());
        match used.checked_add(bytes) {
            Some(sum) if sum <= limit => {
                self.used_bytes.set(sum);
                Ok(())
            }
            _ => Err(format!(
                "{bytes} bytes of memory are needed, and {} of {limit} are free: serve more with --memory, or need less",
                limit - used
            )),
        }
    }
}

/// A region of the client.
#[derive(Debug)]
struct Held {
    wanted: Wanted,
    memory: Region,
    mr: MrId,
}

/// What one client has.
#[derive(Debug)]
pub(super) struct Tenant<C: RdmaOps> {
    engine: LocalEngine<C>,
    clock: RealTime,
    budget: Rc<Budget>,
    taken_bytes: u64,
    regions: Vec<Held>,
    endpoints: Vec<EpId>,
}

impl<C: RdmaOps> Tenant<C> {
    /// Takes what a client needs. Limits come first.
    pub(super) fn new(
        engine: &LocalEngine<C>,
        clock: RealTime,
        budget: &Rc<Budget>,
        cq: CqId,
        need: &Need,
        endpoints: usize,
    ) -> Result<Tenant<C>, String> {
        budget.take(need.bytes())?;
        // From here on whatever was taken goes back with it.
        let mut tenant = Tenant {
            engine: engine.clone(),
            clock,
            budget: Rc::clone(budget),
            taken_bytes: need.bytes(),
            regions: Vec::with_capacity(need.regions.len()),
            endpoints: Vec::with_capacity(endpoints),
        };
        for wanted in &need.regions {
            let held = engine.with(|driver| hold(driver.context(), *wanted))?;
            tenant.regions.push(held);
        }
        for _ in 0..endpoints {
            let ep = engine.with(|driver| open(driver.context(), cq, need))?;
            tenant.endpoints.push(ep);
        }
        Ok(tenant)
    }

    /// Puts into its memory what the client wants there, as its owner.
    pub(super) async fn fill(&self, canary: Option<Canary>) {
        for (index, Held { wanted, memory, .. }) in self.regions.iter().enumerate() {
            let first = index == 0;
            if wanted.fill == Fill::Pattern {
                let generation = u32::from(first && canary == Some(Canary::Tag));
                let tag = Tag { region: wanted.id, generation };
                let mut at = 0;
                while at < wanted.len_bytes {
                    let len = FILL_BYTES.min(wanted.len_bytes - at);
                    pattern::fill(memory, at, len as usize, tag, at);
                    at += len;
                    tokio::task::yield_now().await;
                }
            }
            if first && canary == Some(Canary::Byte) {
                let cell = &memory.cells(wanted.len_bytes / 2, 1)[0];
                cell.set(cell.get() ^ 1);
            }
        }
    }

    /// What to offer to the client.
    pub(super) fn plan(&self) -> Plan {
        let share = |held: &Held| Share {
            name: held.wanted.name(),
            mr: held.mr,
            len_bytes: held.wanted.whole_bytes(),
        };
        let shares = self.regions.iter().map(share).collect();
        Plan { endpoints: self.endpoints.clone(), shares, blob: Vec::new() }
    }

    /// What its memory holds, region by region.
    pub(super) async fn digests(&self, canary: Option<Canary>) -> Vec<u64> {
        let mut digests = Vec::with_capacity(self.regions.len());
        for Held { wanted, memory, .. } in &self.regions {
            digests.push(pattern::digest(memory, wanted.whole_bytes()));
            tokio::task::yield_now().await;
        }
        if let (Some(Canary::Digest), Some(first)) = (canary, digests.first_mut()) {
            *first ^= 1;
        }
        digests
    }

    /// Gives everything back. Answers what stayed.
    pub(super) fn give_back(&mut self) -> Result<(), String> {
        let (endpoints, regions) = (std::mem::take(&mut self.endpoints), std::mem::take(&mut self.regions));
        let now = self.clock.now();
        let stayed = self.engine.with(|driver| {
            endpoints.iter().for_each(|ep| driver.context().close(*ep));
            driver.turn(now);
            let end = |held: &Held| driver.context().deregister(held.mr).err();
            regions.iter().filter_map(end).map(|error| error.to_string()).collect::<Vec<_>>()
        });
        let taken = std::mem::take(&mut self.taken_bytes);
        match stayed.first() {
            // What stays registered stays taken.
            Some(error) => Err(format!("{} regions stay registered: {error}", stayed.len())),
            None => {
                self.budget.used_bytes.set(self.budget.used_bytes.get() - taken);
                Ok(())
            }
        }
    }
}

impl<C: RdmaOps> Drop for Tenant<C> {
    fn drop(&mut self) {
        if self.taken_bytes > 0 {
            // Whoever cares has asked before.
            let _ = self.give_back();
        }
    }
}

fn hold<C: RdmaOps>(context: &mut C, wanted: Wanted) -> Result<Held, String> {
    let failed = |error: String| format!("{} of {} bytes: {error}", wanted.name(), wanted.len_bytes);
    let memory = context.allocate(&RegionSpec::new(wanted.len_bytes)).map_err(|e| failed(e.to_string()))?;
    let mr =
        context.register(&memory, PdId::default(), Access::ALL).map_err(|error| failed(error.to_string()))?;
    Ok(Held { wanted, memory, mr })
}

fn open<C: RdmaOps>(context: &mut C, cq: CqId, need: &Need) -> Result<EpId, String> {
    let (caps, base) = (context.caps(), EndpointSpec::new(cq));
    let spec = EndpointSpec {
        send_depth: 1,
        recv_depth: 0,
        mtu: need.mtu,
        timeout: need.patience.timeout,
        retry_cnt: need.patience.retry_cnt,
        max_rd_atomic: base.max_rd_atomic.min(caps.rd_atomic_max),
        max_dest_rd_atomic: base.max_dest_rd_atomic.min(caps.rd_atomic_max),
        ..base
    };
    context.open(&spec).map_err(|error| format!("an endpoint cannot be opened: {error}"))
}
