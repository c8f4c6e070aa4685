//! Two engines over bare devices: what the cancel group works with.
//!
//! Each side has a region it leases from, and one it exposes to its peer.

use wavetank_contract::{
    Backend, EndpointSpec, EpId, Instant, Lease, MrId, Op, PdId, QpState, Region, RegionSpec, RemoteAddr,
    RemoteRegion, RkeyId, Wake,
};
use wavetank_engine::{
    Driver, DriverConfig, Finished, LocalEngine, Port, PortConfig, RdmaOps, TransferId, TransferSpec,
};

use super::bench::{A, B, DEADLINE_NS, MS, everything, side_name};
use super::stop::{Ended, OrFail, Stop, ensure, fail};
use crate::lab::{Lab, Sleeper};
use crate::pattern::{self, Tag};

/// Bytes of each region.
pub(super) const BYTES: u64 = 1 << 20;

/// Transfers are cut at this length.
const CHUNK: u32 = 16 << 10;

/// Turns without a wait before a driver counts as restless.
const TURNS_MAX: u32 = 20_000;

/// One side: an engine, and its memory.
pub(super) struct Party<D: Backend> {
    pub(super) engine: LocalEngine<Port<D>>,
    pub(super) ep: EpId,
    /// Where leases are cut from.
    pub(super) own: Region,
    own_mr: MrId,
    /// What the peer may reach.
    exposed: Region,
    exposed_mr: MrId,
    /// What the peer exposes.
    peer: RemoteRegion,
    finished: Vec<Finished>,
    wake: Wake,
}

/// Two engines on a lab, their endpoints connected.
pub(super) struct Engines<'l, L: Lab> {
    lab: &'l mut L,
    pub(super) parties: [Party<L::Device>; 2],
    seen: &'l mut Vec<String>,
}

fn tag(side: usize) -> Tag {
    Tag { region: 50 + side as u32, generation: 0 }
}

fn set_up<D: Backend>(side: usize, device: D) -> Result<Party<D>, Stop> {
    let name = side_name(side);
    let mut port = Port::new(device, PortConfig::default());
    let caps = RdmaOps::caps(&port).clone();
    let region = |port: &mut Port<D>| -> Result<(Region, MrId), Stop> {
        let region = port.allocate(&RegionSpec::new(BYTES)).or_fail(format!("{name}: memory"))?;
        let mr =
            port.register(&region, PdId(0), everything(&caps)).or_fail(format!("{name}: a registration"))?;
        Ok((region, mr))
    };
    let (own, own_mr) = region(&mut port)?;
    let (exposed, exposed_mr) = region(&mut port)?;
    pattern::fill(&exposed, 0, BYTES as usize, tag(side), 0);
    let cq = port.open_cq(1024.min(caps.cq_depth_max)).or_fail(format!("{name}: a completion queue"))?;
    let mut spec = EndpointSpec::new(cq);
    spec.access = everything(&caps);
    for depth in [&mut spec.send_depth, &mut spec.recv_depth] {
        *depth = (*depth).min(caps.queue_depth_max);
    }
    for reads in [&mut spec.max_rd_atomic, &mut spec.max_dest_rd_atomic] {
        *reads = (*reads).min(caps.rd_atomic_max);
    }
    let ep = port.open(&spec).or_fail(format!("{name}: an endpoint"))?;
    let config = DriverConfig { chunk_bytes: CHUNK, window: 8, ..DriverConfig::default() };
    Ok(Party {
        engine: LocalEngine::new(Driver::new(port, config)),
        ep,
        own,
        own_mr,
        exposed,
        exposed_mr,
        peer: RemoteRegion { rkey: RkeyId(0), addr: 0, len: 0 },
        finished: Vec::new(),
        wake: Wake::Now,
    })
}

impl<'l, L: Lab> Engines<'l, L> {
    /// Sets two engines up over two devices of the lab, and connects them.
    pub(super) fn new(
        lab: &'l mut L,
        devices: [L::Device; 2],
        seen: &'l mut Vec<String>,
    ) -> Result<Engines<'l, L>, Stop> {
        let [a, b] = devices;
        let mut engines = Engines { lab, parties: [set_up(A, a)?, set_up(B, b)?], seen };
        engines.connect()?;
        for (side, other) in [(A, B), (B, A)] {
            let exposed = engines.parties[other].exposed_mr;
            let key = engines.parties[other].engine.with(|driver| driver.context().export(exposed));
            let key = key.or_fail("exporting a key")?;
            let party = &mut engines.parties[side];
            let imported = party.engine.with(|driver| driver.context().import(party.ep, &key));
            party.peer = imported.or_fail("importing a key")?;
        }
        Ok(engines)
    }

    fn connect(&mut self) -> Ended {
        let addresses = [A, B].map(|side| self.on(side, |driver, ep| driver.context().address(ep)));
        let [Some(to_a), Some(to_b)] = addresses else { fail!("an open endpoint has no address") };
        for (side, peer) in [(A, &to_b), (B, &to_a)] {
            self.on(side, |driver, ep| driver.context().connect(ep, peer)).or_fail("connecting")?;
        }
        let deadline = self.now() + DEADLINE_NS;
        let state = |engines: &Self, side| engines.on(side, |driver, ep| driver.context().state(ep));
        while [A, B].map(|side| state(self, side)) != [Some(QpState::Rts); 2] {
            ensure!(self.now() < deadline, "the endpoints never became ready");
            // Nobody is woken for a state.
            let slice = self.now() + MS;
            self.turn()?;
            self.sleep(slice);
        }
        Ok(())
    }

    /// Calls a side's driver, about its endpoint.
    pub(super) fn on<R>(&self, side: usize, call: impl FnOnce(&mut Driver<Port<L::Device>>, EpId) -> R) -> R {
        let party = &self.parties[side];
        party.engine.with(|driver| call(driver, party.ep))
    }

    pub(super) fn now(&self) -> Instant {
        self.lab.now()
    }

    pub(super) fn note(&mut self, line: impl Into<String>) {
        self.seen.push(line.into());
    }

    /// Memory of a side's own region.
    pub(super) fn lease(&self, side: usize, offset: u64, len: u64) -> Result<Lease, Stop> {
        self.parties[side].own.lease(offset, len).or_fail(format!("{}: a lease", side_name(side)))
    }

    /// Leases of a side that are not back: held by users, or by works.
    pub(super) fn leases_out(&self, side: usize) -> u32 {
        self.parties[side].own.live_leases()
    }

    /// A place in what the peer of a side exposes.
    pub(super) fn at(&self, side: usize, offset: u64) -> RemoteAddr {
        let RemoteRegion { rkey, addr, .. } = self.parties[side].peer;
        RemoteAddr { rkey, addr: addr.wrapping_add(offset) }
    }

    /// A transfer over a side's endpoint, without a deadline.
    pub(super) fn spec(&self, side: usize, op: Op, lease: Lease) -> TransferSpec {
        let Party { ep, own_mr, .. } = self.parties[side];
        let len = lease.len();
        TransferSpec { ep, op, lease, mr: own_mr, len, deadline: Instant::FAR, session: None, tag: 0 }
    }

    pub(super) fn submit(&mut self, side: usize, spec: TransferSpec) -> Result<TransferId, Stop> {
        let now = self.now();
        self.on(side, |driver, _| driver.submit(now, spec))
            .or_fail(format!("{}: a transfer", side_name(side)))
    }

    /// Turns both drivers until they have nothing to do at once.
    pub(super) fn turn(&mut self) -> Ended {
        let now = self.now();
        for party in &mut self.parties {
            let mut turns = 0;
            loop {
                party.wake = party.engine.turn(now);
                while let Some(finished) = party.engine.with(Driver::take_finished) {
                    party.finished.push(finished);
                }
                turns += 1;
                if party.wake != Wake::Now {
                    break;
                }
                ensure!(turns < TURNS_MAX, "a driver wants to be turned for ever");
            }
        }
        Ok(())
    }

    fn sleep(&mut self, until: Instant) {
        let [a, b] = &self.parties;
        let lab = &mut *self.lab;
        a.engine.with(|first| {
            b.engine.with(|second| {
                lab.wait(&[Sleeper::driver(first, a.wake), Sleeper::driver(second, b.wake)], until)
            })
        });
    }

    /// Turns and waits until something holds.
    pub(super) fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Ended {
        let deadline = self.now() + DEADLINE_NS;
        loop {
            self.turn()?;
            if holds(self) {
                return Ok(());
            }
            if self.now() >= deadline {
                let outstanding =
                    [A, B].map(|side| self.on(side, |driver, _| driver.context().outstanding()));
                fail!("{what}: never; works outstanding: {} of a, {} of b", outstanding[A], outstanding[B]);
            }
            self.sleep(deadline);
        }
    }

    /// Turns and waits for a while.
    pub(super) fn pass(&mut self, ns: u64) -> Ended {
        let until = self.now() + ns;
        while self.now() < until {
            self.turn()?;
            self.sleep(until);
        }
        self.turn()
    }

    /// Waits for the end of a side's next transfer.
    pub(super) fn next_end(&mut self, side: usize) -> Result<Finished, Stop> {
        let what = format!("{}: a transfer ends", side_name(side));
        self.until(&what, |engines| !engines.parties[side].finished.is_empty())?;
        let finished = self.parties[side].finished.remove(0);
        let result = match &finished.result {
            Ok(len) => format!("{len} bytes"),
            Err(error) => error.code().to_owned(),
        };
        let memory = if finished.lease.is_some() { "its memory is back" } else { "its memory is out" };
        self.note(format!("{}: {} ended: {result}, {memory}", side_name(side), finished.kind.name()));
        Ok(finished)
    }

    /// Whether memory holds what the other side exposes at this offset.
    pub(super) fn brought(&self, side: usize, at: u64, offset: u64, len: u64) -> bool {
        pattern::holds(&self.parties[side].own, at, len as usize, tag(1 - side), offset)
    }

    /// Nothing is left, and no device did what no device may do.
    pub(super) fn finish(&mut self) -> Ended {
        self.turn()?;
        for side in [A, B] {
            let name = side_name(side);
            if let Some(anomaly) = self.on(side, |driver, _| driver.context().take_anomaly()) {
                fail!("{name}: {anomaly}");
            }
            let party = &self.parties[side];
            let ends = party.finished.len();
            ensure!(ends == 0, "{name}: {ends} transfers ended that nobody expected");
            let intact = pattern::holds(&party.exposed, 0, BYTES as usize, tag(side), 0);
            ensure!(intact, "{name}: exposed memory changed");
        }
        Ok(())
    }
}
