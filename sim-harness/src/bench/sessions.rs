//! Sessions: create, look up, close; and what a million open ones cost.

use serde::Serialize;
use wavetank_contract::Instant;
use wavetank_engine::session::{SessionError, SessionSpec, Sessions};

use super::{Clock, median};
use crate::report::per_second;

/// Sessions of one round.
const ROUND: u32 = 1_000_000;
/// Rounds of each variant.
const ROUNDS: usize = 9;
/// Sessions that stay open meanwhile.
const OPEN: u32 = 1_000_000;

/// What sessions cost on one core.
#[derive(Clone, Debug, Serialize)]
pub struct SessionFigures {
    /// Create + look up + close per second, no others open.
    pub cycles_per_s: u64,
    /// The same with a million others open.
    pub cycles_per_s_among_a_million: u64,
    /// Bytes per open session with a million open: everything the table holds.
    pub bytes_per_session: f64,
}

/// Measures session tables.
///
/// # Errors
/// None in a table that is large enough, as this one is.
pub fn sessions(clock: Clock<'_>) -> Result<SessionFigures, SessionError> {
    const SECOND_NS: u64 = 1_000_000_000;
    let mut table = Sessions::with_limit(OPEN + 1);
    let round = |table: &mut Sessions| -> Result<f64, SessionError> {
        let start = clock();
        for i in 0..ROUND {
            let now = Instant(u64::from(i));
            let key = table.create(now, SessionSpec::new(i, 30 * SECOND_NS))?;
            std::hint::black_box(table.get(key)?);
            table.close(key)?;
        }
        Ok((clock() - start) as f64 / 1e9)
    };
    let alone = (0..ROUNDS).map(|_| round(&mut table)).collect::<Result<Vec<_>, _>>()?;
    for peer in 0..OPEN {
        table.create(Instant(u64::from(peer)), SessionSpec::new(peer, 60 * SECOND_NS))?;
    }
    let bytes_per_session = table.bytes_in_use() as f64 / f64::from(table.len());
    let among = (0..ROUNDS).map(|_| round(&mut table)).collect::<Result<Vec<_>, _>>()?;
    Ok(SessionFigures {
        cycles_per_s: per_second(ROUND.into(), median(alone)),
        cycles_per_s_among_a_million: per_second(ROUND.into(), median(among)),
        bytes_per_session,
    })
}
