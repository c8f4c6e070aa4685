//! What a client needs of a process that serves memory, as it travels with the bootstrap.

use thiserror::Error;
use wavetank_contract::Mtu;
use wavetank_contract::region::{PAGE_BYTES, REGION_BYTES_MAX};
use wavetank_engine::bootstrap::Offer;

use crate::workload::Patience;

/// The version of this form. Another one is refused.
const VERSION: u16 = 1;

/// Bytes before the regions, and of each region.
const HEAD_BYTES: usize = 8;
const REGION_BYTES: usize = 13;

/// What a client needs: memory, and how its connections are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Payload of a packet.
    pub mtu: Mtu,
    /// How long connections hold out.
    pub patience: Patience,
    /// The memory.
    pub regions: Vec<Wanted>,
}

/// A region that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its number, which is also in its pattern.
    pub id: u32,
    /// Its length; what is registered ends with its last page.
    pub len_bytes: u64,
    /// What is to be in it.
    pub fill: Fill,
}

/// What is in memory when a client gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Zeros: for atomics.
    Zero,
    /// The [pattern](crate::pattern) of its region, generation 0; the rest of its last page is zero.
    Pattern,
}

impl Wanted {
    /// What its key is called.
    pub fn name(&self) -> String {
        format!("region {}", self.id)
    }

    /// Bytes it takes.
    pub fn whole_bytes(&self) -> u64 {
        self.len_bytes.next_multiple_of(PAGE_BYTES)
    }
}

/// Bytes that are no need, or one past a limit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadNeed {
    /// Another version, or something else altogether.
    #[error(
        "what the client needs is told in form {0}; this build knows form {VERSION}: use one build on both sides"
    )]
    Version(u16),
    /// Too short or too long for what it says.
    #[error("what the client needs is told in {got} bytes; {wanted} were to be expected")]
    Length {
        /// As it came.
        got: usize,
        /// As its own numbers say.
        wanted: usize,
    },
    /// A number past its limit.
    #[error("the client needs {what}, and {limit}")]
    Limit {
        /// What it says.
        what: String,
        /// What there may be.
        limit: &'static str,
    },
}

fn limit(what: String, limit: &'static str) -> BadNeed {
    BadNeed::Limit { what, limit }
}

impl Need {
    /// Most regions: each has a key of its own.
    pub const REGIONS_MAX: usize = Offer::KEYS_MAX;

    /// Bytes it takes, whole pages.
    pub fn bytes(&self) -> u64 {
        self.regions.iter().fold(0, |sum, region| sum.saturating_add(region.whole_bytes()))
    }

    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + REGION_BYTES * self.regions.len());
        out.extend(VERSION.to_le_bytes());
        out.extend((self.regions.len() as u16).to_le_bytes());
        out.extend((self.mtu.bytes() as u16).to_le_bytes());
        out.extend([self.patience.timeout, self.patience.retry_cnt]);
        for Wanted { id, len_bytes, fill } in &self.regions {
            out.extend(id.to_le_bytes());
            out.extend(len_bytes.to_le_bytes());
            out.push(match fill {
                Fill::Zero => 0,
                Fill::Pattern => 1,
            });
        }
        out
    }

    /// From a client. Nothing in it is believed before it was checked.
    ///
    /// # Errors
    /// See [`BadNeed`].
    pub fn decode(bytes: &[u8]) -> Result<Need, BadNeed> {
        let version = bytes.first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes));
        if version != VERSION {
            return Err(BadNeed::Version(version));
        }
        let Some(([_, _, count_low, count_high, mtu_low, mtu_high, timeout, retry_cnt], regions)) =
            bytes.split_first_chunk::<HEAD_BYTES>()
        else {
            return Err(BadNeed::Length { got: bytes.len(), wanted: HEAD_BYTES });
        };
        let count = usize::from(u16::from_le_bytes([*count_low, *count_high]));
        if !(1..=Need::REGIONS_MAX).contains(&count) {
            return Err(limit(format!("{count} regions"), "there are 1 to 64"));
        }
        let wanted = HEAD_BYTES + REGION_BYTES * count;
        if bytes.len() != wanted {
            return Err(BadNeed::Length { got: bytes.len(), wanted });
        }
        let mtu = u16::from_le_bytes([*mtu_low, *mtu_high]);
        let Some(mtu) = Mtu::from_bytes(mtu.into()) else {
            return Err(limit(format!("an MTU of {mtu}"), "it is 256, 512, 1024, 2048 or 4096"));
        };
        let patience = Patience { timeout: *timeout, retry_cnt: *retry_cnt };
        if !(1..=31).contains(timeout) || *retry_cnt > 7 {
            let what = format!("an ACK timeout of {timeout} and {retry_cnt} repetitions");
            return Err(limit(what, "they are 1 to 31 and 0 to 7"));
        }
        let (regions, _) = regions.as_chunks::<REGION_BYTES>();
        let regions = regions.iter().map(region).collect::<Result<Vec<_>, _>>()?;
        let need = Need { mtu, patience, regions };
        for (index, region) in need.regions.iter().enumerate() {
            if need.regions[..index].iter().any(|earlier| earlier.id == region.id) {
                return Err(limit(format!("two regions of the number {}", region.id), "each has its own"));
            }
        }
        Ok(need)
    }
}

fn region(bytes: &[u8; REGION_BYTES]) -> Result<Wanted, BadNeed> {
    let [id @ .., _, _, _, _, _, _, _, _, _] = bytes;
    let [_, _, _, _, len_bytes @ .., fill] = bytes;
    let (id, len_bytes) = (u32::from_le_bytes(*id), u64::from_le_bytes(*len_bytes));
    if !(1..=REGION_BYTES_MAX).contains(&len_bytes) {
        return Err(limit(format!("a region of {len_bytes} bytes"), "one has 1 byte to 1 TiB"));
    }
    let fill = match fill {
        0 => Fill::Zero,
        1 => Fill::Pattern,
        other => return Err(limit(format!("contents of the kind {other}"), "there are 0 and 1")),
    };
    Ok(Wanted { id, len_bytes, fill })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(regions: usize) -> Need {
        let wanted = |id| Wanted {
            id,
            len_bytes: 5000 * u64::from(id) + 1,
            fill: if id.is_multiple_of(2) { Fill::Zero } else { Fill::Pattern },
        };
        let regions = (0..regions as u32).map(wanted).collect();
        Need { mtu: Mtu::from_bytes(1024).expect("one"), patience: Patience::CALM, regions }
    }

    #[test]
    fn a_need_is_read_as_it_was_written_and_fits_an_offer() {
        for regions in [1, 2, Need::REGIONS_MAX] {
            let need = need(regions);
            assert_eq!(Need::decode(&need.encode()), Ok(need.clone()));
            assert!(need.encode().len() <= Offer::BLOB_BYTES_MAX);
        }
        assert_eq!(need(2).bytes(), 4096 + 8192);
    }

    #[test]
    fn what_is_no_need_is_refused_with_what_is_wrong() {
        let good = need(2).encode();
        let with = |at: usize, value: &[u8]| {
            let mut bytes = good.clone();
            bytes[at..at + value.len()].copy_from_slice(value);
            Need::decode(&bytes).expect_err("refused").to_string()
        };
        assert!(with(0, &[2]).contains("form 2; this build knows form 1"));
        assert!(Need::decode(b"").expect_err("refused").to_string().contains("form 0"));
        assert!(with(2, &[0, 0]).contains("0 regions"));
        assert!(with(2, &[3, 0]).contains("34 bytes; 47 were"));
        assert!(with(2, &[65, 0]).contains("65 regions"));
        assert!(with(4, &[1, 4]).contains("an MTU of 1025"));
        assert!(with(6, &[0]).contains("an ACK timeout of 0"));
        assert!(with(7, &[8]).contains("8 repetitions"));
        assert!(with(12, &[0; 8]).contains("a region of 0 bytes"));
        assert!(with(12, &[0xff; 8]).contains("1 TiB"));
        assert!(with(20, &[2]).contains("contents of the kind 2"));
        assert!(with(21, &[0]).contains("two regions of the number 0"));
        for len in 2..good.len() {
            assert!(Need::decode(&good[..len]).is_err(), "{len} bytes of it");
        }
        assert!(Need::decode(&[&good[..], &[0]].concat()).is_err(), "a byte more");
    }
}
