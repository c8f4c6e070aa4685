//! Post and poll of one simulated READ.

use serde::Serialize;
use wavetank_contract::{Backend, Completions, CqId, Data, Quiet, Status, Work, WorkId};
use wavetank_engine::{Batch, Order, Outcome, Port, PortConfig, RdmaContext, RdmaOps};
use wavetank_mock::MockNic;

use super::pair::{Pair, PairError, pair};
use super::{Clock, median};

/// READs of one round.
const ROUND: u64 = 100_000;
/// Rounds of each variant, taken in turn.
const ROUNDS: usize = 15;

/// What one READ costs of a core's time, from post to its completion polled. The simulated transfer is part of it: both
/// packets, both copies.
#[derive(Clone, Debug, Serialize)]
pub struct PostPoll {
    /// Bytes of each READ.
    pub len: u32,
    /// Through `RdmaContext`: enum, port, ledger, simulated NIC.
    pub context_ns: f64,
    /// The simulated NIC alone.
    pub backend_ns: f64,
    /// What enum, port and ledger add.
    pub engine_ns: f64,
}

/// Measures READs of `len` bytes, one at a time.
///
/// # Errors
/// When the pair cannot be set up, or a READ fails.
pub fn post_poll(len: u32, clock: Clock<'_>) -> Result<PostPoll, PairError> {
    let mut context = context_pair()?;
    let mut backend = backend_pair()?;
    let (mut through_context, mut through_backend) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = clock();
        reads_through_ops(&mut context, len, ROUND)?;
        let middle = clock();
        reads_through_backend(&mut backend, len, ROUND)?;
        let end = clock();
        through_context.push((middle - start) as f64 / ROUND as f64);
        through_backend.push((end - middle) as f64 / ROUND as f64);
    }
    let (context_ns, backend_ns) = (median(through_context), median(through_backend));
    Ok(PostPoll { len, context_ns, backend_ns, engine_ns: context_ns - backend_ns })
}

/// Posts and polls `count` READs of `len` bytes and does nothing else, through the engine or through the simulated NIC
/// alone: for profilers that count instructions.
///
/// # Errors
/// When the pair cannot be set up, or a READ fails.
pub fn reads(through_engine: bool, len: u32, count: u64) -> Result<(), PairError> {
    if through_engine {
        reads_through_ops(&mut context_pair()?, len, count)
    } else {
        reads_through_backend(&mut backend_pair()?, len, count)
    }
}

pub(super) fn context_pair() -> Result<Pair<RdmaContext>, PairError> {
    pair!(|nic| RdmaContext::from(Port::new(nic, PortConfig::default())))
}

pub(super) fn port_pair() -> Result<Pair<Port<MockNic>>, PairError> {
    pair!(|nic| Port::new(nic, PortConfig::default()))
}

fn backend_pair() -> Result<Pair<MockNic>, PairError> {
    pair!(|nic| nic)
}

/// Posts `count` READs one after the other and polls each.
pub(super) fn reads_through_ops<C: RdmaOps>(
    pair: &mut Pair<C>,
    len: u32,
    count: u64,
) -> Result<(), PairError> {
    let (op, piece) =
        pair.read(len).ok_or_else(|| PairError(format!("{len} bytes are more than the region")))?;
    let mut batch = Batch::with_capacity(1);
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(4);
    for tag in 0..count {
        batch.push_back(Order::new(tag, op, piece, None));
        pair.client.post(pair.ep, &mut batch).map_err(|refused| PairError(refused.error.to_string()))?;
        while outcomes.is_empty() {
            pair.fabric.step(&mut Quiet).ok_or_else(|| PairError("a READ never completed".to_owned()))?;
            pair.client.poll(&mut outcomes);
        }
        if outcomes.iter().any(|outcome| outcome.status != Status::Success || outcome.tag != tag) {
            return Err(PairError(format!("READ {tag} failed: {outcomes:?}")));
        }
        outcomes.clear();
    }
    Ok(())
}

fn reads_through_backend(pair: &mut Pair<MockNic>, len: u32, count: u64) -> Result<(), PairError> {
    let (op, piece) =
        pair.read(len).ok_or_else(|| PairError(format!("{len} bytes are more than the region")))?;
    let pieces = [piece];
    let mut completions = Completions::with_capacity(4);
    for tag in 0..count {
        let work = Work { id: WorkId(tag), op, data: Data::Pieces(&pieces), signalled: true, fence: false };
        pair.client.post(pair.ep, &work).map_err(|error| PairError(error.to_string()))?;
        pair.client.ring(pair.ep).map_err(|error| PairError(error.to_string()))?;
        while pair.client.poll(CqId(0), &mut completions) == 0 {
            pair.fabric.step(&mut Quiet).ok_or_else(|| PairError("a READ never completed".to_owned()))?;
        }
        if completions.as_slice().iter().any(|c| c.status != Status::Success || c.id != WorkId(tag)) {
            return Err(PairError(format!("READ {tag} failed: {completions:?}")));
        }
        completions.clear();
    }
    Ok(())
}
