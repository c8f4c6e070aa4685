//! What is left when everything was to be over.

use core::fmt;

use wavetank_contract::{EpId, Instant};

use super::Driver;
use crate::context::RdmaOps;
use crate::session::{SessionKey, SessionLedger};
use crate::slab::Key;
use crate::transfer::TransferError;

/// What a driver still has. All of it is zero when everything was closed and came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaks {
    /// Sessions open.
    pub sessions: u32,
    /// Things that sessions hold.
    pub holdings: u32,
    /// Transfers that have not ended, whose memory the device still has, or whose end nobody has taken.
    pub transfers: u32,
    /// Works the device has.
    pub works: u64,
    /// Registrations of ended sessions that live, because leases, windows or the device keep them.
    pub registrations: u32,
}

impl Leaks {
    /// Whether nothing is left.
    pub fn is_none(&self) -> bool {
        *self == Leaks::default()
    }
}

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("nothing is left");
        }
        write!(
            f,
            "left are {} sessions holding {} things, {} transfers, {} works and {} registrations",
            self.sessions, self.holdings, self.transfers, self.works, self.registrations
        )
    }
}

impl<C: RdmaOps> Driver<C> {
    /// What each open session holds.
    pub fn ledgers(&self) -> impl Iterator<Item = (SessionKey, SessionLedger)> + '_ {
        let ledger = |(key, _)| self.sessions.ledger(key).ok().map(|ledger| (key, ledger));
        self.sessions.iter().filter_map(ledger)
    }

    /// What is there that is not when everything is over.
    pub fn leaks(&self) -> Leaks {
        Leaks {
            sessions: self.sessions.len(),
            holdings: self.sessions.holdings_len(),
            transfers: self.transfers.len(),
            works: self.context.outstanding() as u64,
            registrations: self.retiring.len() as u32,
        }
    }

    /// Ends every session, cancels every transfer, closes every endpoint that transfers were submitted to, and answers what is left
    /// all the same. What still comes back, with leases that somebody drops, is seen by later turns:
    /// [`leaks`](Driver::leaks) answers again. Ends are reported as ever.
    pub fn close_all(&mut self, now: Instant) -> Leaks {
        let sessions: Vec<SessionKey> = self.sessions.iter().map(|(key, _)| key).collect();
        for key in sessions {
            // It was open a moment ago.
            let _ = self.close_session(key, now);
        }
        let transfers: Vec<Key> = self.transfers.iter().map(|(key, _)| key).collect();
        for key in transfers {
            self.abandon(key, TransferError::Cancelled, now);
        }
        for ep in (0..self.lanes.len() as u32).map(EpId) {
            if self.context.is_open(ep) {
                self.context.close(ep);
            }
        }
        self.close_shared();
        self.poll(now);
        self.push(now);
        self.leaks()
    }
}
