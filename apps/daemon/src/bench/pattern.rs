//! Needles whose bytes follow from their number.

use std::cell::Cell;
use std::time::Duration;

use async_trait::async_trait;
use wavetank_contract::{Lease, Others, Pages, Region, SharedError, SharedMemory};
use wavetank_ipc::Details;

use crate::reads::{About, Found, NotRead, ReadPath, Reads, Wanted};

/// Bytes of every needle.
pub const WHOLE_LEN: u64 = 1 << 20;

/// Volumes from here on answer late: by as many milliseconds as their number is higher.
const LATE: u32 = 1_000;

/// A volume that never answers.
const NEVER: u32 = 9_999;

/// Bytes of a lease.
const SLOT_BYTES: u64 = WHOLE_LEN;

/// A byte of a needle.
pub fn byte(needle: u64, offset: u64) -> u8 {
    (needle.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(offset).wrapping_mul(0xff51_afd7_ed55_8ccd)
        >> 56) as u8
}

/// CRC32-C of a range of a needle.
pub fn crc(needle: u64, offset: u64, len: u64) -> u32 {
    let bytes: Vec<u8> = (offset..offset + len).map(|at| byte(needle, at)).collect();
    crc32c::crc32c(&bytes)
}

/// Makes needles up. Needle 0 is missing, 1 is deleted; every other is there with the cookie that its number ends with.
#[derive(Debug)]
pub struct Pattern {
    arena: SharedMemory,
    region: Region,
    slots: u64,
    next: Cell<u64>,
    /// Whether bytes are made again for each read. Where not, a read costs what all around it costs.
    fills: bool,
}

impl Pattern {
    /// With room for so many reads at a time.
    ///
    /// # Errors
    /// No memory.
    pub fn new(slots: u64, fills: bool) -> Result<Pattern, SharedError> {
        let arena = SharedMemory::create("wavetank-arena", slots * SLOT_BYTES, Others::Read, Pages::Plain)?;
        let region = arena.region(4096)?;
        Ok(Pattern { arena, region, slots, next: Cell::new(0), fills })
    }

    /// Leases whose memory is out.
    pub fn leases(&self) -> u32 {
        self.region.live_leases()
    }

    fn lease(&self, len: u64) -> Option<Lease> {
        // Returned places are found by looking; nobody collects them.
        self.region.collect_returned(|_| {});
        (0..self.slots).find_map(|_| {
            let slot = self.next.get();
            self.next.set((slot + 1) % self.slots);
            self.region.lease(slot * SLOT_BYTES, len)
        })
    }
}

#[async_trait(?Send)]
impl Reads for Pattern {
    async fn read(&self, wanted: Wanted) -> Result<Found, NotRead> {
        match wanted.volume {
            NEVER => std::future::pending().await,
            late @ LATE.. => tokio::time::sleep(Duration::from_millis(u64::from(late - LATE))).await,
            _ => {}
        }
        match wanted.needle {
            0 => return Err(NotRead::Missing),
            1 => return Err(NotRead::Deleted),
            needle if needle as u32 != wanted.cookie => return Err(NotRead::WrongCookie),
            _ => {}
        }
        if wanted.offset > WHOLE_LEN {
            return Err(NotRead::PastEnd { whole_len: WHOLE_LEN });
        }
        let rest = WHOLE_LEN - wanted.offset;
        let len = if wanted.len == 0 { rest } else { wanted.len.min(rest) };
        let mut lease = None;
        let mut crc32c = 0;
        if len > 0 {
            let taken = self.lease(len).ok_or(NotRead::Busy)?;
            if self.fills {
                let bytes: Vec<u8> =
                    (wanted.offset..wanted.offset + len).map(|at| byte(wanted.needle, at)).collect();
                taken.write(0, &bytes);
                crc32c = crc32c::crc32c(&bytes);
            }
            lease = Some(taken);
        }
        let details = Details {
            flags: 2,
            last_modified_s: Some(1_700_000_000),
            etag: Some(7),
            mime: Some("text/plain".into()),
            name: wanted.server.map(Into::into),
        };
        Ok(Found { lease, at: 0, len, whole_len: WHOLE_LEN, crc32c, path: ReadPath::Local, details })
    }

    fn about(&self) -> About {
        About {
            device: "pattern".into(),
            backend: "mock".into(),
            simulated: true,
            transfer_bytes_max: WHOLE_LEN,
            vendor_id: 0,
            port_gid: String::new(),
            port_lid: 0,
        }
    }

    fn arena(&self) -> &SharedMemory {
        &self.arena
    }
}
