//! The daemon's reading, behind which a lie may be planted.

use std::cell::Cell;

use async_trait::async_trait;
use wavetank_contract::SharedMemory;
use wavetank_daemon::reading::Reading;
use wavetank_daemon::reads::{About, Found, NotRead, Reads, Wanted};
use wavetank_rpc::crc32c_of;

use crate::lie::Lie;

/// Reads, and lies now and then if it is to.
pub(super) struct Lying {
    pub(super) reading: Reading,
    pub(super) lie: Lie,
    pub(super) count: Cell<u64>,
}

#[async_trait(?Send)]
impl Reads for Lying {
    async fn read(&self, wanted: Wanted) -> Result<Found, NotRead> {
        let outcome = self.reading.read(wanted).await;
        self.count.set(self.count.get() + 1);
        match (outcome, self.count.get() % 4) {
            (Ok(found), 0) => self.alter(found),
            (outcome, _) => outcome,
        }
    }

    fn about(&self) -> About {
        self.reading.about()
    }

    fn arena(&self) -> &SharedMemory {
        self.reading.arena()
    }
}

impl Lying {
    fn alter(&self, mut found: Found) -> Result<Found, NotRead> {
        let Some(lease) = &found.lease else { return Ok(found) };
        let mut bytes = vec![0; found.len as usize];
        lease.read(found.at, &mut bytes);
        match self.lie {
            Lie::FlipsByte | Lie::FlipsByteAndSum => bytes[found.len as usize / 2] ^= 1,
            Lie::TearsBytes => bytes[found.len as usize / 2..].fill(0),
            Lie::LengthensWhole => found.whole_len += 1,
            Lie::ChangesDetails => found.details.etag = Some(7),
            Lie::KeepsMemory => std::mem::forget(lease.hold()),
            Lie::DeniesNeedles => return Err(NotRead::Missing),
            Lie::BlamesItself => return Err(NotRead::Internal("planted".into())),
            _ => {}
        }
        lease.write(found.at, &bytes);
        if matches!(self.lie, Lie::FlipsByteAndSum | Lie::TearsBytes) {
            found.crc32c = crc32c_of(lease, found.at, found.len);
        }
        Ok(found)
    }
}
