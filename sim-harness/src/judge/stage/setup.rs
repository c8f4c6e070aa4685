//! What a program begins with, and how it ends.

use wavetank_contract::{Backend, EndpointSpec, PdId, RegionSpec, RnrTimer};

use super::actors::{Actors, Endpoint, Memory};
use super::{Stage, settle};
use crate::judge::log::{Log, Round};
use crate::judge::program::{End, Program};
use crate::lab::Lab;

/// Works of a queue of an endpoint; more than any program posts at a time.
const QUEUE_DEPTH: u32 = 64;
/// READs and atomics of an endpoint.
const RD_ATOMIC: u8 = 4;

impl<L: Lab> Stage<L> {
    /// Registers the regions, opens and connects the endpoints.
    pub(super) fn begin(
        &mut self,
        program: &Program,
        actors: &mut Actors,
        strays: &mut Vec<String>,
    ) -> Result<(), String> {
        for (&id, &plan) in &program.regions {
            let device = &mut self.nodes[plan.node].device;
            let spec = RegionSpec::new(plan.len.into());
            let region = device.allocate(&spec).map_err(|e| format!("region {id}: {e}"))?;
            let mr = device
                .register(&region, PdId(plan.pd), plan.access)
                .map_err(|e| format!("region {id}: {e}"))?;
            let key = device.export(mr).ok();
            let memory = Memory { plan, region, mr, live: true, life: 0, key, old_key: None };
            memory.fill(id);
            actors.regions.insert(id, memory);
        }
        for (&connection, plan) in &program.connections {
            for node in [0, 1] {
                let [send_cq, recv_cq] = self.nodes[node].cqs;
                let spec = EndpointSpec {
                    send_cq,
                    recv_cq,
                    pd: PdId(plan.pd[node]),
                    send_depth: QUEUE_DEPTH,
                    recv_depth: QUEUE_DEPTH,
                    access: plan.access[node],
                    mtu: plan.mtu,
                    timeout: plan.timeout,
                    retry_cnt: plan.retry_cnt,
                    rnr_retry: plan.rnr_retry,
                    min_rnr_timer: RnrTimer::new(plan.rnr_timer).unwrap_or(RnrTimer::DEFAULT),
                    max_rd_atomic: RD_ATOMIC,
                    max_dest_rd_atomic: RD_ATOMIC,
                    ..EndpointSpec::new(send_cq)
                };
                let end = End { connection, node };
                let ep = self.nodes[node].device.open(&spec).map_err(|e| format!("{end}: {e}"))?;
                actors.endpoints.insert(end, Endpoint { ep, open: true });
            }
            self.connect(connection, actors, strays)?;
        }
        Ok(())
    }

    /// Connects both ends, and waits until both may post.
    pub(super) fn connect(
        &mut self,
        connection: usize,
        actors: &Actors,
        strays: &mut Vec<String>,
    ) -> Result<(), String> {
        let ends = [0, 1].map(|node| End { connection, node });
        let address = |end: End| self.nodes[end.node].device.address(actors.endpoints[&end].ep);
        let [Some(first), Some(second)] = ends.map(address) else {
            return Err(format!("an end of connection {connection} has no address"));
        };
        for (end, peer) in ends.into_iter().zip([second, first]) {
            let ep = actors.endpoints[&end].ep;
            self.nodes[end.node].device.connect(ep, &peer).map_err(|e| format!("{end}: {e}"))?;
        }
        for end in ends {
            self.becomes_ready(end.node, actors.endpoints[&end].ep, actors, strays)
                .map_err(|state| format!("{end} was connected and is in {state:?}"))?;
        }
        Ok(())
    }

    /// Waits a moment for what should not come, then ends everything that the program began.
    pub(super) fn finish(&mut self, actors: &mut Actors, log: &mut Log) {
        let mut late = Round::default();
        self.linger(settle::GRACE_NS, actors, &mut late, &mut log.strays);
        for ((end, queue), ends) in late.ends {
            for ended in ends {
                log.strays
                    .push(format!("{end}, {queue:?} queue: one more completion after the end: {ended}"));
            }
        }
        let ends: Vec<End> = actors.endpoints.keys().copied().collect();
        ends.into_iter().for_each(|end| self.close(end, actors));
        for memory in actors.regions.values().filter(|memory| memory.live) {
            if let Err(error) = self.nodes[memory.plan.node].device.deregister(memory.mr) {
                log.strays.push(format!("a region could not be deregistered: {error}"));
            }
        }
    }
}
