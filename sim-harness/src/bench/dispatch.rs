//! The enum against the bare port: what `RdmaContext` adds.

use serde::Serialize;

use super::pair::PairError;
use super::post_poll::{context_pair, port_pair, reads_through_ops};
use super::{Clock, median};

/// READs of one round: short rounds in close turns, so that both see the same machine.
const ROUND: u64 = 20_000;
/// Rounds of each variant.
const ROUNDS: usize = 101;

/// Post and poll of one 8-byte READ, through the enum and through the port it holds.
#[derive(Clone, Debug, Serialize)]
pub struct Dispatch {
    /// Through `RdmaContext`.
    pub enum_ns: f64,
    /// Through `Port<MockNic>`, dispatched statically.
    pub bare_ns: f64,
    /// The median of the ratios of neighbouring rounds.
    pub ratio: f64,
}

/// Measures both in turn.
///
/// # Errors
/// When a pair cannot be set up, or a READ fails.
pub fn dispatch(clock: Clock<'_>) -> Result<Dispatch, PairError> {
    let (mut through_enum, mut bare) = (context_pair()?, port_pair()?);
    let (mut enum_ns, mut bare_ns, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = clock();
        reads_through_ops(&mut through_enum, 8, ROUND)?;
        let middle = clock();
        reads_through_ops(&mut bare, 8, ROUND)?;
        let end = clock();
        let (one, other) = ((middle - start) as f64 / ROUND as f64, (end - middle) as f64 / ROUND as f64);
        enum_ns.push(one);
        bare_ns.push(other);
        ratios.push(one / other);
    }
    Ok(Dispatch { enum_ns: median(enum_ns), bare_ns: median(bare_ns), ratio: median(ratios) })
}
