//! An endpoint and its memory, on whatever has a control plane.

use wavetank_contract::{Access, EndpointSpec, EpId, MrId, PdId, RegionSpec, RemoteRegion};

use super::super::pair::PairError;
use super::cell::Cell;
use super::memory::{self, Buffers, STRIDE_BYTES};

/// What was opened.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) ep: EpId,
    pub(super) cq: wavetank_contract::CqId,
    pub(super) source: MrId,
    pub(super) sink: MrId,
    pub(super) buffers: Buffers,
    /// The peer's, once it is known.
    pub(super) remote: Option<Remote>,
}

/// The peer's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote {
    pub(super) source: RemoteRegion,
    pub(super) sink: RemoteRegion,
}

/// What a key is called in the exchange.
pub(super) const SOURCE: &str = "source";
pub(super) const SINK: &str = "sink";

pub(super) fn region_spec(cell: &Cell) -> RegionSpec {
    let len_bytes = memory::region_bytes(cell.bytes, cell.slots());
    RegionSpec { granule_bytes: STRIDE_BYTES, ..RegionSpec::new(len_bytes) }
}

pub(super) const ACCESS: Access = Access::ALL;
pub(super) const PD: PdId = PdId(0);

/// The endpoint of a cell.
pub(super) fn endpoint_spec(cell: &Cell, cq: wavetank_contract::CqId, rd_atomic_max: u8) -> EndpointSpec {
    let depth = |works: u16| u32::from(works).max(1);
    EndpointSpec {
        send_depth: depth(cell.sends()),
        recv_depth: depth(cell.receives(true).max(cell.receives(false))),
        // As patient as can be: the benchmark has a limit of its own.
        timeout: 18,
        max_rd_atomic: rd_atomic_max,
        max_dest_rd_atomic: rd_atomic_max,
        ..EndpointSpec::new(cq)
    }
}

/// Completions that may be waiting at a time.
pub(super) fn cq_depth(cell: &Cell) -> u32 {
    2 * (u32::from(cell.sends()) + u32::from(cell.receives(true).max(cell.receives(false)))).max(1)
}

pub(super) fn no_key(name: &str) -> PairError {
    PairError(format!("the peer offers no key {name:?}"))
}

/// Opens endpoint and memory. A macro, because the device is a `Backend` here and an `RdmaOps` there, and both spell their
/// control plane alike.
macro_rules! open {
    ($device:expr, $cell:expr) => {{
        use super::setup;
        let (device, cell) = ($device, $cell);
        let rd_atomic_max = device.caps().rd_atomic_max;
        let source_memory = device.allocate(&setup::region_spec(cell))?;
        let sink_memory = device.allocate(&setup::region_spec(cell))?;
        let source = device.register(&source_memory, setup::PD, setup::ACCESS)?;
        let sink = device.register(&sink_memory, setup::PD, setup::ACCESS)?;
        let cq = device.open_cq(setup::cq_depth(cell))?;
        let ep = device.open(&setup::endpoint_spec(cell, cq, rd_atomic_max))?;
        let buffers = super::memory::Buffers::new(source_memory, sink_memory, cell.bytes);
        Ok::<_, PairError>(setup::Setup { ep, cq, source, sink, buffers, remote: None })
    }};
}
pub(super) use open;

/// What the peer needs to know.
macro_rules! offer {
    ($device:expr, $setup:expr) => {{
        use wavetank_contract::error::ConnectError;
        use wavetank_engine::bootstrap::{NamedKey, Offer};
        let (device, setup) = ($device, $setup);
        let key = |name: &str, mr, region: &wavetank_contract::Region| {
            let key = device.export(mr)?;
            Ok::<_, PairError>(NamedKey { name: name.to_owned(), key, len_bytes: region.len() })
        };
        Ok(Offer {
            endpoints: vec![device.address(setup.ep).ok_or(ConnectError::Unknown(setup.ep))?],
            keys: vec![
                key(super::setup::SOURCE, setup.source, &setup.buffers.source)?,
                key(super::setup::SINK, setup.sink, &setup.buffers.sink)?,
            ],
            blob: Vec::new(),
        })
    }};
}
pub(super) use offer;

/// Points the endpoint at the peer, and makes its keys usable.
macro_rules! connect {
    ($device:expr, $setup:expr, $theirs:expr) => {{
        let (device, setup, theirs) = ($device, $setup, $theirs);
        for address in &theirs.endpoints {
            device.connect(setup.ep, address)?;
        }
        let mut import = |name: &str| {
            let named = theirs.keys.iter().find(|key| key.name == name);
            let named = named.ok_or_else(|| super::setup::no_key(name))?;
            Ok::<_, PairError>(device.import(setup.ep, &named.key)?)
        };
        let (source, sink) = (import(super::setup::SOURCE)?, import(super::setup::SINK)?);
        setup.remote = Some(super::setup::Remote { source, sink });
        Ok(())
    }};
}
pub(super) use connect;

impl Setup {
    /// Where a WRITE or READ of this cell goes: to the first slot of the peer's memory.
    pub(super) fn op(&self, kind: wavetank_contract::OpKind) -> Result<wavetank_contract::Op, PairError> {
        use wavetank_contract::{Op, OpKind};
        let bytes = u64::from(self.buffers.bytes);
        let at = |region: fn(&Remote) -> RemoteRegion| {
            let remote = self.remote.as_ref().and_then(|remote| region(remote).at(0, bytes));
            remote.ok_or_else(|| PairError("the peer has no such memory".to_owned()))
        };
        Ok(match kind {
            OpKind::Recv => Op::Recv,
            OpKind::Read => Op::Read { remote: at(|remote| remote.source)? },
            OpKind::Write => Op::Write { remote: at(|remote| remote.sink)?, imm: None },
            _ => Op::Send { imm: None },
        })
    }

    /// The registration of what an operation uses here.
    #[inline]
    pub(super) fn mr(&self, kind: wavetank_contract::OpKind) -> MrId {
        if kind.fills_local() { self.sink } else { self.source }
    }
}

/// Whether an endpoint in this state may be posted to.
pub(super) fn can_send(state: Option<wavetank_contract::QpState>) -> Result<bool, PairError> {
    use wavetank_contract::QpState;
    match state {
        Some(QpState::Rts) => Ok(true),
        Some(QpState::Err) | None => Err(PairError("the peer's endpoint was not reached".to_owned())),
        Some(_) => Ok(false),
    }
}
