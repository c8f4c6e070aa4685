//! READs and WRITEs between two devices of this machine, through the driver, as a user of the engine has them.
//!
//! Time is the wall's. What a device brought is checked, but never while the clock counts.

use wavetank_contract::error::ConnectError;
use wavetank_contract::{Access, EndpointSpec, EpId, Lease, MrId, Op, OpKind, PdId};
use wavetank_contract::{Region, RegionSpec, RemoteRegion};
use wavetank_engine::memory::Arena;
use wavetank_engine::{Driver, DriverConfig, RdmaOps, TransferSpec};

use super::pair::PairError;
use crate::pattern::{self, Tag};
use crate::trace::Trace;
use crate::world::{Node, Ran, Waiting, World};

/// The generation of the peer's own data; writes have later ones.
const OWN: Tag = Tag { region: 1, generation: 0 };

/// A connection between two devices, and memory for a window of operations of one length.
#[derive(Debug)]
pub struct DevicePair<C> {
    world: World<C>,
    /// How long one operation may take before the benchmark is given up.
    patience_ns: u64,
    ep: EpId,
    peer_ep: EpId,
    mr: MrId,
    /// The peer's memory: one slot for each operation of the window.
    remote: RemoteRegion,
    peer_memory: Region,
    len: u32,
    /// By slot; none while its operation is under way.
    leases: Vec<Option<Lease>>,
    /// The last generation that was written to each slot.
    written: Vec<u32>,
    _arena: Arena,
}

impl<C: RdmaOps> DevicePair<C> {
    /// Connects two devices for operations of `len` bytes, `window` of them at a time.
    ///
    /// # Errors
    /// Whatever a device refuses.
    pub fn open(
        contexts: [C; 2],
        len: u32,
        window: u32,
        waiting: Waiting,
    ) -> Result<DevicePair<C>, PairError> {
        let config = DriverConfig { chunk_bytes: len.max(1), window: 1, ..DriverConfig::default() };
        let node = |context| Node { driver: Driver::new(context, config), arena: None, receives: None };
        let mut world = World::real(waiting, contexts.into_iter().map(node).collect(), 1, Trace::default());
        let bytes = u64::from(len) * u64::from(window);
        let [ours, theirs] = &mut world.nodes[..] else { unreachable!("two contexts are two nodes") };
        let (client, peer) = (ours.driver.context(), theirs.driver.context());
        let peer_memory = peer.allocate(&RegionSpec::new(bytes))?;
        pattern::fill(&peer_memory, 0, bytes as usize, OWN, 0);
        let peer_mr = peer.register(&peer_memory, PdId::default(), Access::ALL)?;
        // A slot of the arena is a power of two.
        let slots = u64::from(len).max(4096).next_power_of_two() * u64::from(window);
        let memory = client.allocate(&RegionSpec::new(slots))?;
        let mr = client.register(&memory, PdId::default(), Access::LOCAL)?;
        let mut arena = Arena::new(memory, mr).map_err(|error| PairError(error.to_string()))?;
        let leases = (0..window).map(|_| arena.acquire(len.into()).map(Some)).collect::<Result<_, _>>();
        let leases: Vec<_> = leases.map_err(|error| PairError(error.to_string()))?;
        let open = |context: &mut C, send_depth: u32| {
            let (caps, cq) = (context.caps().clone(), context.open_cq(send_depth.max(1))?);
            context.open(&EndpointSpec {
                send_depth,
                recv_depth: 0,
                timeout: 18,
                max_rd_atomic: caps.rd_atomic_max,
                max_dest_rd_atomic: caps.rd_atomic_max,
                ..EndpointSpec::new(cq)
            })
        };
        let (ep, peer_ep) = (open(client, window.max(2))?, open(peer, 1)?);
        let address = client.address(ep).ok_or(ConnectError::Unknown(ep))?;
        let peer_address = peer.address(peer_ep).ok_or(ConnectError::Unknown(peer_ep))?;
        client.connect(ep, &peer_address)?;
        peer.connect(peer_ep, &address)?;
        let remote = client.import(ep, &peer.export(peer_mr)?)?;
        let unready = |(node, _, state)| PairError(format!("the connection of node {node} is in {state:?}"));
        world.settle(&[(0, ep), (1, peer_ep)]).map_err(unready)?;
        world.begin();
        let written = vec![0; window as usize];
        let patience_ns = waiting.deadline_ns;
        Ok(DevicePair {
            world,
            patience_ns,
            ep,
            peer_ep,
            mr,
            remote,
            peer_memory,
            len,
            leases,
            written,
            _arena: arena,
        })
    }

    /// How long each of `count` operations takes, one at a time. Every byte of each is checked.
    ///
    /// # Errors
    /// An operation that fails, or brings wrong bytes.
    pub fn latencies(&mut self, kind: OpKind, count: u32) -> Result<Vec<u64>, PairError> {
        let mut took = Vec::with_capacity(count as usize);
        for _ in 0..count {
            self.ready(kind, 0);
            let start = self.world.now();
            self.submit(kind, 0)?;
            self.world.flush(0);
            self.wait()?;
            took.push(self.world.now().since_ns(start));
            self.check(kind, 0)?;
        }
        Ok(took)
    }

    /// How long `count` operations take together, a window of them at a time. The last one of each slot is checked.
    ///
    /// # Errors
    /// An operation that fails, or brings wrong bytes.
    pub fn together(&mut self, kind: OpKind, count: u32) -> Result<u64, PairError> {
        let window = self.leases.len().min(count as usize);
        (0..window).for_each(|slot| self.ready(kind, slot));
        let start = self.world.now();
        let mut left = count as usize - window;
        for slot in 0..window {
            self.submit(kind, slot)?;
        }
        self.world.flush(0);
        let mut under_way = window;
        while under_way > 0 {
            let mut slot = self.wait()?;
            // All that ended, and then one doorbell for what follows.
            loop {
                under_way -= 1;
                if left > 0 {
                    left -= 1;
                    under_way += 1;
                    self.submit(kind, slot)?;
                }
                match self.take()? {
                    Some(next) => slot = next,
                    None => break,
                }
            }
            self.world.flush(0);
        }
        let took = self.world.now().since_ns(start);
        (0..window).try_for_each(|slot| self.check(kind, slot))?;
        Ok(took)
    }

    /// Puts something else where the bytes are to arrive.
    fn ready(&mut self, kind: OpKind, slot: usize) {
        let Some(lease) = &self.leases[slot] else { return };
        match kind {
            OpKind::Write => {
                self.written[slot] += 1;
                let tag = Tag { generation: self.written[slot], ..OWN };
                pattern::fill(lease.region(), lease.offset(), self.len as usize, tag, self.place(slot));
            }
            _ => pattern::poison(lease.region(), lease.offset(), self.len as usize),
        }
    }

    /// Where a slot is in the peer's memory.
    fn place(&self, slot: usize) -> u64 {
        slot as u64 * u64::from(self.len)
    }

    fn submit(&mut self, kind: OpKind, slot: usize) -> Result<(), PairError> {
        let len = u64::from(self.len);
        let Some(remote) = self.remote.at(self.place(slot), len) else {
            return Err(PairError(format!("slot {slot} is past the peer's memory")));
        };
        let Some(lease) = self.leases[slot].take() else {
            return Err(PairError(format!("slot {slot} is under way")));
        };
        let op = match kind {
            OpKind::Write => Op::Write { remote, imm: None },
            _ => Op::Read { remote },
        };
        let (ep, mr, session, tag) = (self.ep, self.mr, None, slot as u64);
        let now = self.world.now();
        let spec =
            TransferSpec { ep, op, lease, mr, len, deadline: now + 2 * self.patience_ns, session, tag };
        let submitted = self.world.nodes[0].driver.submit(now, spec);
        submitted.map(drop).map_err(|error| PairError(error.to_string()))
    }

    /// Waits until an operation has ended. Answers its slot.
    fn wait(&mut self) -> Result<usize, PairError> {
        let limit = self.world.now() + self.patience_ns;
        loop {
            if let Some(slot) = self.take()? {
                return Ok(slot);
            }
            if !matches!(self.world.run(limit), Ran::Turned(_)) {
                let ledger = self.world.ledger();
                return Err(PairError(format!("nothing has ended for {} ns\n{ledger}", self.patience_ns)));
            }
        }
    }

    /// An operation that has ended.
    fn take(&mut self) -> Result<Option<usize>, PairError> {
        let Some(finished) = self.world.nodes[0].driver.take_finished() else { return Ok(None) };
        self.world.progressed();
        let slot = finished.tag as usize;
        match (finished.result, finished.lease) {
            (Ok(len), Some(lease)) if len == u64::from(self.len) => {
                self.leases[slot] = Some(lease);
                Ok(Some(slot))
            }
            (Err(error), _) => Err(PairError(error.to_string())),
            (Ok(len), _) => Err(PairError(format!("{len} of {} bytes were done", self.len))),
        }
    }

    /// Looks at every byte that the last operation of a slot moved.
    fn check(&mut self, kind: OpKind, slot: usize) -> Result<(), PairError> {
        let (len, place) = (self.len as usize, self.place(slot));
        let tag = Tag { generation: self.written[slot], ..OWN };
        let held = match (kind, &self.leases[slot]) {
            (OpKind::Write, _) => pattern::holds(&self.peer_memory, place, len, tag, place),
            (_, Some(lease)) => pattern::holds(lease.region(), lease.offset(), len, tag, place),
            (_, None) => false,
        };
        let kind = kind.name();
        if held { Ok(()) } else { Err(PairError(format!("a {kind} of {len} bytes brought wrong bytes"))) }
    }

    /// Ends the connection, at both ends.
    pub fn close(mut self) {
        for (node, ep) in [(0, self.ep), (1, self.peer_ep)] {
            self.world.nodes[node].driver.context().close(ep);
        }
        let now = self.world.now();
        while let Ran::Turned(_) = self.world.run(now) {}
    }
}
