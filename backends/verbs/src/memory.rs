//! Registrations: names that stay dead, and what a device needs to know of each.

use std::rc::Rc;

use wavetank_contract::error::{DeregisterError, KeyError, RegisterError};
use wavetank_contract::memlock::{self, Memlock};
use wavetank_contract::{Access, MrId, Region, RemoteKey, RemoteRegion, RkeyId, Sge};

use crate::error::system;
use crate::sys::{Mr, Pd, Piece};

const KEY_MAGIC: &[u8; 4] = b"WTVK";
const KEY_FORMAT: &str = "24 bytes that begin with WTVK, as a verbs device exports them";

/// A local or remote key that no device hands out: index and key part are all ones. A work that names a registration which
/// does not exist is posted with it, so that the device answers as it would to any bad key.
pub(crate) const NO_KEY: u32 = u32::MAX;

/// How a name is divided: the slot above, how often it was used below. A slot that has used up its rolls is never used again.
const ROLL_BITS: u32 = 12;

/// Registrations that names allow at a time.
pub(crate) const SLOTS_MAX: u32 = 1 << (32 - ROLL_BITS);

/// What the kernel counts of a registration against the limit of locked memory.
const PAGE_BYTES: u64 = 4096;

#[derive(Debug)]
struct Registration {
    mr: Mr,
    /// Copied out of the library's record, for the data path.
    addr: u64,
    len: u64,
    lkey: u32,
    exportable: bool,
}

#[derive(Debug, Default)]
struct Slot {
    rolls: u32,
    registration: Option<Registration>,
}

/// The registrations of one device.
#[derive(Debug)]
pub(crate) struct MrTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
    live: u32,
    live_max: u32,
    /// Longest region.
    bytes_max: u64,
    /// Bytes registered; the kernel counts a region once per registration.
    pinned_bytes: u64,
    /// `RLIMIT_MEMLOCK`, where it applies.
    memlock_bytes: Option<u64>,
    /// Whether peers may be given the right to atomics.
    atomics: bool,
}

/// Rights as numbers of `enum ibv_access_flags`. A right that the device cannot grant anybody is left out.
pub(crate) fn access_flags(access: Access, atomics: bool) -> u32 {
    u32::from(access.local_write)
        | u32::from(access.remote_write) << 1
        | u32::from(access.remote_read) << 2
        | u32::from(access.remote_atomic && atomics) << 3
}

impl MrTable {
    pub(crate) fn new(live_max: u32, bytes_max: u64, memlock_bytes: Option<u64>, atomics: bool) -> MrTable {
        MrTable {
            slots: Vec::new(),
            free: Vec::new(),
            live: 0,
            live_max,
            bytes_max,
            pinned_bytes: 0,
            memlock_bytes,
            atomics,
        }
    }

    /// What can be told without the device.
    fn check(&self, region: &Region, access: Access) -> Result<(), RegisterError> {
        let (len_bytes, limit_bytes) = (region.len(), self.bytes_max);
        if (access.remote_write || access.remote_atomic) && !access.local_write {
            return Err(RegisterError::RemoteWriteNeedsLocalWrite);
        }
        if len_bytes > limit_bytes {
            return Err(RegisterError::TooLong { len_bytes, limit_bytes });
        }
        if self.live >= self.live_max || self.free.is_empty() && self.slots.len() >= SLOTS_MAX as usize {
            return Err(RegisterError::TooMany(self.live_max));
        }
        match self.memlock_bytes {
            // What other devices and libraries of this process pinned counts too; what the kernel counts is not there to be read
            // everywhere.
            Some(_) => {
                let pinned_bytes = self.pinned_bytes.max(memlock::pinned_bytes());
                Memlock { limit_bytes: self.memlock_bytes, pinned_bytes }.check(len_bytes)
            }
            None => Ok(()),
        }
    }

    pub(crate) fn register(
        &mut self,
        pd: &Rc<Pd>,
        region: &Region,
        access: Access,
    ) -> Result<MrId, RegisterError> {
        self.check(region, access)?;
        let mr = Mr::new(pd, region, access_flags(access, self.atomics)).map_err(|errno| {
            let advice = match errno {
                libc::ENOMEM => {
                    "the system cannot pin so much memory, in a user namespace `ulimit -l` limits it whatever this process may, or \
                     the device has no registration left"
                }
                _ => "",
            };
            RegisterError::System(system("ibv_reg_mr(3)", errno, advice))
        })?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let place = &mut self.slots[slot as usize];
        place.registration = Some(Registration {
            addr: mr.addr(),
            len: region.len(),
            lkey: mr.lkey(),
            exportable: access.remote_read || access.remote_write || access.remote_atomic,
            mr,
        });
        self.live += 1;
        self.pinned_bytes += region.len().next_multiple_of(PAGE_BYTES);
        Ok(MrId(slot << ROLL_BITS | place.rolls))
    }

    #[inline]
    fn find(&self, mr: MrId) -> Option<&Registration> {
        let slot = self.slots.get((mr.0 >> ROLL_BITS) as usize)?;
        let rolls = mr.0 & ((1 << ROLL_BITS) - 1);
        slot.registration.as_ref().filter(|_| slot.rolls == rolls)
    }

    pub(crate) fn deregister(&mut self, mr: MrId) -> Result<(), DeregisterError> {
        let found = self.find(mr).ok_or(DeregisterError::Unknown(mr))?;
        let leases = found.mr.region().live_leases();
        if leases > 0 {
            return Err(DeregisterError::LeasesLive { mr, leases });
        }
        self.pinned_bytes -= found.len.next_multiple_of(PAGE_BYTES);
        let index = mr.0 >> ROLL_BITS;
        let slot = &mut self.slots[index as usize];
        slot.registration = None;
        slot.rolls += 1;
        if slot.rolls < 1 << ROLL_BITS {
            self.free.push(index);
        }
        self.live -= 1;
        Ok(())
    }

    pub(crate) fn export(&self, mr: MrId) -> Result<RemoteKey, KeyError> {
        let found = self.find(mr).ok_or(KeyError::Unknown(mr))?;
        if !found.exportable {
            return Err(KeyError::LocalOnly(mr));
        }
        let mut bytes = Vec::with_capacity(24);
        bytes.extend_from_slice(KEY_MAGIC);
        bytes.extend_from_slice(&found.mr.rkey().to_le_bytes());
        bytes.extend_from_slice(&found.addr.to_le_bytes());
        bytes.extend_from_slice(&found.len.to_le_bytes());
        RemoteKey::from_bytes(&bytes).ok_or(KeyError::Unknown(mr))
    }

    /// A local piece for the device. What does not exist, or is not inside its region, gets a key that no device honours:
    /// the device then refuses the work, as it does when a registration ends while the work waits.
    #[inline]
    pub(crate) fn piece(&self, sge: &Sge) -> Piece {
        match self.find(sge.mr) {
            Some(found) if sge.offset.checked_add(sge.len.into()).is_some_and(|end| end <= found.len) => {
                Piece { addr: found.addr + sge.offset, len: sge.len, lkey: found.lkey }
            }
            // The real key, so that the device judges the bounds itself; unless the address cannot even be formed.
            Some(found) => match found.addr.checked_add(sge.offset) {
                Some(addr) if addr.checked_add(sge.len.into()).is_some() => {
                    Piece { addr, len: sge.len, lkey: found.lkey }
                }
                _ => Piece { addr: 0, len: sge.len, lkey: NO_KEY },
            },
            None => Piece { addr: 0, len: sge.len, lkey: NO_KEY },
        }
    }
}

/// Makes a token of a peer's key. Whether the key is valid only the peer knows.
pub(crate) fn import(key: &RemoteKey) -> Result<RemoteRegion, KeyError> {
    let bytes = key.as_bytes();
    let parse = || {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (rkey, rest) = rest.split_first_chunk::<4>()?;
        let (addr, rest) = rest.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<8>()?;
        let (addr, len) = (u64::from_le_bytes(*addr), u64::from_le_bytes(*len));
        let sane = magic == KEY_MAGIC && rest.is_empty() && addr.checked_add(len).is_some();
        sane.then(|| RemoteRegion { rkey: RkeyId(u32::from_le_bytes(*rkey).into()), addr, len })
    };
    parse().ok_or(KeyError::Malformed { len_bytes: bytes.len(), expected: KEY_FORMAT })
}

/// The key as it travels. A token that does not fit was never imported, and must not alias a key by its low bits.
#[inline]
pub(crate) fn wire_key(rkey: RkeyId) -> u32 {
    u32::try_from(rkey.0).unwrap_or(NO_KEY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn garbage_keys_are_refused_or_stay_inside_the_address_space(
            magic in any::<bool>(), tail in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let bytes = if magic { [&KEY_MAGIC[..], &tail].concat() } else { tail };
            let key = RemoteKey::from_bytes(&bytes).expect("short");
            match import(&key) {
                Ok(region) => prop_assert!(region.addr.checked_add(region.len).is_some() && magic),
                Err(e) => {
                    let malformed = matches!(e, KeyError::Malformed { .. });
                    prop_assert!(malformed);
                }
            }
        }
    }

    #[test]
    fn rights_have_the_numbers_of_verbs_h() {
        use rdma_sys::ibv_access_flags as F;
        let all = F::IBV_ACCESS_LOCAL_WRITE
            | F::IBV_ACCESS_REMOTE_WRITE
            | F::IBV_ACCESS_REMOTE_READ
            | F::IBV_ACCESS_REMOTE_ATOMIC;
        assert_eq!(access_flags(Access::ALL, true), all.0);
        assert_eq!(access_flags(Access::ALL, false), all.0 - F::IBV_ACCESS_REMOTE_ATOMIC.0);
        assert_eq!(access_flags(Access::REMOTE_READ, true), F::IBV_ACCESS_REMOTE_READ.0);
        assert_eq!(access_flags(Access::default(), true), 0);
    }

    #[test]
    fn what_cannot_be_registered_is_told_before_the_device_is_asked() {
        let region = Region::allocate(&wavetank_contract::RegionSpec::new(1 << 20)).expect("small");
        let check = |live_max, bytes_max, memlock| {
            MrTable::new(live_max, bytes_max, memlock, true).check(&region, Access::ALL)
        };
        assert_eq!(check(1, 1 << 20, None), Ok(()));
        assert_eq!(check(1, 1 << 20, Some(1 << 20)), Ok(()));
        let limit_bytes = (1 << 20) - 1;
        let len_bytes = 1 << 20;
        assert_eq!(check(1, limit_bytes, None), Err(RegisterError::TooLong { len_bytes, limit_bytes }));
        assert_eq!(check(0, 1 << 20, None), Err(RegisterError::TooMany(0)));
        let (pinned_bytes, need_bytes) = (0, len_bytes);
        let memlock = RegisterError::Memlock { len_bytes, pinned_bytes, need_bytes, limit_bytes };
        assert!(memlock.to_string().contains("ulimit -l"));
        assert_eq!(check(1, 1 << 20, Some(limit_bytes)), Err(memlock));
        let table = MrTable::new(1, 1 << 20, None, true);
        let contradiction = Access { local_write: false, ..Access::ALL };
        assert_eq!(table.check(&region, contradiction), Err(RegisterError::RemoteWriteNeedsLocalWrite));
    }

    #[test]
    fn a_name_that_stands_for_nothing_gets_a_key_that_no_device_honours() {
        let table = MrTable::new(1, 1 << 20, None, true);
        for mr in [MrId(0), MrId(7), MrId(u32::MAX)] {
            let piece = table.piece(&Sge { mr, len: 8, offset: u64::MAX });
            assert_eq!((piece.lkey, piece.len), (NO_KEY, 8));
        }
    }

    #[test]
    fn a_token_too_wide_for_a_key_matches_no_key() {
        assert_eq!(wire_key(RkeyId(7)), 7);
        assert_eq!(wire_key(RkeyId(7 | 1 << 32)), NO_KEY);
    }
}
