//! What a session holds, in figures. All of them are zero when it holds nothing.

use core::fmt;

use super::holding::Holding;

/// What a session holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionLedger {
    /// The endpoint it owns: 0 or 1.
    pub endpoints: u32,
    /// Leases in its keeping.
    pub leases: u32,
    /// Their bytes.
    pub lease_bytes: u64,
    /// Registrations in its keeping, those of extents aside.
    pub registrations: u32,
    /// Transfers under way.
    pub transfers: u32,
    /// Extents that its peer may reach.
    pub extents: u32,
    /// Their bytes.
    pub extent_bytes: u64,
    /// Leases of them that are not back yet.
    pub extent_leases: u32,
}

impl SessionLedger {
    /// Whether it holds nothing.
    pub fn is_zero(&self) -> bool {
        *self == SessionLedger::default()
    }

    pub(super) fn enter(&mut self, holding: &Holding) {
        match holding {
            Holding::Lease(lease) => {
                self.leases += 1;
                self.lease_bytes += lease.len();
            }
            Holding::Registration(_) => self.registrations += 1,
            Holding::Transfer(_) => self.transfers += 1,
            Holding::Exposed(exposed) => {
                self.extents += exposed.extents().count() as u32;
                self.extent_bytes += exposed.bytes();
                self.extent_leases += exposed.leases();
            }
        }
    }
}

impl fmt::Display for SessionLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} endpoints, {} leases of {} bytes, {} registrations, {} transfers, {} extents of {} bytes with {} leases",
            self.endpoints,
            self.leases,
            self.lease_bytes,
            self.registrations,
            self.transfers,
            self.extents,
            self.extent_bytes,
            self.extent_leases
        )
    }
}
