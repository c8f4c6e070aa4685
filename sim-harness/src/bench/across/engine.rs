//! Through the engine: driver, port, and the enum over backends.

use wavetank_contract::{Instant, Lease, OpKind};
use wavetank_engine::bootstrap::Offer;
use wavetank_engine::{Driver, DriverConfig, RdmaContext, RdmaOps, TransferSpec};

use super::super::pair::PairError;
use super::cell::Cell;
use super::memory::{self, Buffers};
use super::setup::{self, Setup};
use super::station::{Ended, Station, pack, short, slot_of};

/// How long a transfer may take. The benchmark is given up earlier.
const DEADLINE_NS: u64 = 3_600_000_000_000;

/// A driver with one endpoint.
#[derive(Debug)]
pub struct Engine<C = RdmaContext> {
    driver: Driver<C>,
    setup: Setup,
    /// By slot; none while its operation is under way.
    source: Vec<Option<Lease>>,
    sink: Vec<Option<Lease>>,
}

impl<C: RdmaOps> Engine<C> {
    /// Opens an endpoint and memory for a cell.
    ///
    /// # Errors
    /// Whatever the device refuses.
    pub fn open(mut context: C, cell: &Cell) -> Result<Engine<C>, PairError> {
        let setup = setup::open!(&mut context, cell)?;
        let config = DriverConfig { chunk_bytes: cell.bytes, window: 1, ..DriverConfig::default() };
        let lease = |region: &wavetank_contract::Region| {
            (0..cell.slots()).map(|slot| region.lease(memory::offset(slot), cell.bytes.into())).collect()
        };
        let (source, sink) = (lease(&setup.buffers.source), lease(&setup.buffers.sink));
        Ok(Engine { driver: Driver::new(context, config), setup, source, sink })
    }

    fn lease(&mut self, kind: OpKind, slot: u16) -> Option<&mut Option<Lease>> {
        let leases = if kind.fills_local() { &mut self.sink } else { &mut self.source };
        leases.get_mut(usize::from(slot))
    }
}

impl<C: RdmaOps> Station for Engine<C> {
    fn name(&mut self) -> String {
        self.driver.context().caps().name.clone()
    }

    fn offer(&mut self) -> Result<Offer, PairError> {
        setup::offer!(self.driver.context(), &self.setup)
    }

    fn connect(&mut self, theirs: Offer) -> Result<(), PairError> {
        setup::connect!(self.driver.context(), &mut self.setup, theirs)
    }

    fn can_send(&mut self) -> Result<bool, PairError> {
        setup::can_send(self.driver.context().state(self.setup.ep))
    }

    #[inline]
    fn post(&mut self, now: Instant, kind: OpKind, slot: u16) -> Result<(), PairError> {
        let (op, ep, mr, len) =
            (self.setup.op(kind)?, self.setup.ep, self.setup.mr(kind), self.setup.buffers.bytes);
        let Some(lease) = self.lease(kind, slot).and_then(Option::take) else {
            return Err(PairError(format!("slot {slot} is under way")));
        };
        let (deadline, session, tag) = (now + DEADLINE_NS, None, pack(kind, slot));
        let spec = TransferSpec { ep, op, lease, mr, len: len.into(), deadline, session, tag };
        self.driver.submit(now, spec)?;
        Ok(())
    }

    #[inline]
    fn push(&mut self, now: Instant) -> Result<(), PairError> {
        self.driver.push(now);
        Ok(())
    }

    #[inline]
    fn spin(&mut self, now: Instant) -> Result<(), PairError> {
        self.driver.spin(now);
        Ok(())
    }

    #[inline]
    fn take(&mut self) -> Result<Option<Ended>, PairError> {
        let Some(finished) = self.driver.take_finished() else { return Ok(None) };
        let slot = slot_of(finished.tag);
        let (kind, bytes) = (finished.kind, self.setup.buffers.bytes);
        match finished.result {
            Ok(len) if len == u64::from(bytes) => {}
            Ok(len) => return Err(short(kind, len, bytes)),
            Err(error) => return Err(PairError(error.to_string())),
        }
        // A receive tells what it met.
        let kind = super::station::kind_of(finished.tag).unwrap_or(kind);
        if let Some(place) = self.lease(kind, slot) {
            *place = finished.lease;
        }
        Ok(Some(Ended { kind, slot }))
    }

    #[inline]
    fn buffers(&self) -> &Buffers {
        &self.setup.buffers
    }

    fn close(&mut self) {
        self.driver.context().close(self.setup.ep);
    }
}
