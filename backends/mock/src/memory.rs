//! Registrations: keys, rights and ranges, checked as a responder checks them.

use std::collections::VecDeque;

use wavetank_contract::error::{DeregisterError, KeyError, RegisterError};
use wavetank_contract::region::PAGE_BYTES;
use wavetank_contract::{Access, Caps, MrId, PdId, Region, RemoteKey, RemoteRegion, RkeyId, Sge};

use crate::digest;

/// What a region holds after its last registration ended. A reader that finds it used a dead region.
pub const SCRIBBLE: u64 = 0xdead_5c21_bb1e_dead;

const KEY_MAGIC: &[u8; 4] = b"WTK1";
const KEY_FORMAT: &str = "24 bytes that begin with WTK1";

/// A key that no registration ever has.
pub(crate) const NO_KEY: u32 = u32::MAX;

/// Slots at most: all that 24 bits name, but the one of [`NO_KEY`].
const SLOTS_MAX: usize = (1 << 24) - 1;

/// One registration.
#[derive(Debug)]
pub(crate) struct Mr {
    pub(crate) region: Region,
    /// Local and remote key alike: slot in the upper 24 bits, a rolling part in the lower 8.
    key: u32,
    pd: PdId,
    access: Access,
    /// The device's address of its first byte.
    addr: u64,
}

/// Why a local piece was refused. The device tells only LOC_PROT_ERR.
#[derive(Debug)]
pub(crate) struct LocalFault;

/// The registrations of one NIC.
///
/// A key names a slot and how often the slot was used, as on hardware. A slot that has used up its 256 rolls is
/// never used again, so a retired key is dead for good.
#[derive(Debug)]
pub(crate) struct MrTable {
    slots: Vec<Slot>,
    free: VecDeque<u32>,
    live: u32,
    next_addr: u64,
}

#[derive(Debug)]
struct Slot {
    mr: Option<Mr>,
    rolls: u32,
}

impl MrTable {
    pub(crate) fn new(node: u16) -> MrTable {
        // Nodes have different addresses, so that an address used at the wrong node is refused there.
        MrTable { slots: Vec::new(), free: VecDeque::new(), live: 0, next_addr: (u64::from(node) + 1) << 44 }
    }

    pub(crate) fn register(
        &mut self,
        region: &Region,
        pd: PdId,
        access: Access,
        caps: &Caps,
    ) -> Result<MrId, RegisterError> {
        if (access.remote_write || access.remote_atomic) && !access.local_write {
            return Err(RegisterError::RemoteWriteNeedsLocalWrite);
        }
        if region.len() > caps.region_bytes_max {
            let (len_bytes, limit_bytes) = (region.len(), caps.region_bytes_max);
            return Err(RegisterError::TooLong { len_bytes, limit_bytes });
        }
        if self.live >= caps.region_max {
            return Err(RegisterError::TooMany(caps.region_max));
        }
        let slot = match self.free.pop_front() {
            Some(slot) => slot,
            None if self.slots.len() < SLOTS_MAX => {
                self.slots.push(Slot { mr: None, rolls: 0 });
                self.slots.len() as u32 - 1
            }
            None => return Err(RegisterError::TooMany(caps.region_max)),
        };
        let rolls = self.slots[slot as usize].rolls;
        let key = slot << 8 | rolls;
        let addr = self.next_addr;
        // A page between regions, so that running off one never reaches the next.
        self.next_addr += region.len().next_multiple_of(PAGE_BYTES) + PAGE_BYTES;
        self.slots[slot as usize] =
            Slot { mr: Some(Mr { region: region.clone(), key, pd, access, addr }), rolls };
        self.live += 1;
        Ok(MrId(key))
    }

    pub(crate) fn deregister(&mut self, mr: MrId) -> Result<(), DeregisterError> {
        let found = self.by_key(mr.0).ok_or(DeregisterError::Unknown(mr))?;
        let leases = found.region.live_leases();
        if leases > 0 {
            return Err(DeregisterError::LeasesLive { mr, leases });
        }
        let index = (mr.0 >> 8) as usize;
        let slot = &mut self.slots[index];
        let retired = slot.mr.take();
        slot.rolls += 1;
        if slot.rolls < 256 {
            self.free.push_back(index as u32);
        }
        self.live -= 1;
        if let Some(retired) = retired
            && !self.slots.iter().flat_map(|s| &s.mr).any(|other| other.region.same_as(&retired.region))
        {
            let (_, words, _) = retired.region.words(0, retired.region.len() as usize);
            words.iter().for_each(|word| word.set(SCRIBBLE));
        }
        Ok(())
    }

    pub(crate) fn export(&self, mr: MrId) -> Result<RemoteKey, KeyError> {
        let found = self.by_key(mr.0).ok_or(KeyError::Unknown(mr))?;
        if !(found.access.remote_read || found.access.remote_write || found.access.remote_atomic) {
            return Err(KeyError::LocalOnly(mr));
        }
        let mut bytes = Vec::with_capacity(24);
        bytes.extend_from_slice(KEY_MAGIC);
        bytes.extend_from_slice(&found.key.to_le_bytes());
        bytes.extend_from_slice(&found.addr.to_le_bytes());
        bytes.extend_from_slice(&found.region.len().to_le_bytes());
        RemoteKey::from_bytes(&bytes).ok_or(KeyError::Unknown(mr))
    }

    pub(crate) fn import(key: &RemoteKey) -> Result<RemoteRegion, KeyError> {
        let bytes = key.as_bytes();
        let parse = || {
            let (magic, rest) = bytes.split_first_chunk::<4>()?;
            let (key, rest) = rest.split_first_chunk::<4>()?;
            let (addr, rest) = rest.split_first_chunk::<8>()?;
            let (len, rest) = rest.split_first_chunk::<8>()?;
            let (addr, len) = (u64::from_le_bytes(*addr), u64::from_le_bytes(*len));
            let sane = magic == KEY_MAGIC && rest.is_empty() && addr.checked_add(len).is_some();
            sane.then(|| RemoteRegion { rkey: RkeyId(u32::from_le_bytes(*key).into()), addr, len })
        };
        parse().ok_or(KeyError::Malformed { len_bytes: bytes.len(), expected: KEY_FORMAT })
    }

    #[inline]
    fn by_key(&self, key: u32) -> Option<&Mr> {
        self.slots.get((key >> 8) as usize)?.mr.as_ref().filter(|mr| mr.key == key)
    }

    /// The registration behind a peer's key, if `len` bytes at `addr` may be accessed with `right`: key, bounds,
    /// rights, protection domain. Whatever is wrong, the peer learns REM_ACCESS_ERR and no more.
    /// Answers the region and the offset in it.
    // rxe: rxe_resp.c check_rkey, rxe_mr.c lookup_mr and mr_check_range
    #[inline]
    pub(crate) fn remote(
        &self,
        key: u32,
        pd: PdId,
        right: Right,
        addr: u64,
        len: u32,
    ) -> Option<(&Region, u64)> {
        let mr = self.by_key(key)?;
        let offset = addr.checked_sub(mr.addr)?;
        let allowed = match right {
            Right::Read => mr.access.remote_read,
            Right::Write => mr.access.remote_write,
            Right::Atomic => mr.access.remote_atomic,
        };
        (mr.region.contains(offset, u64::from(len)) && allowed && mr.pd == pd).then_some((&mr.region, offset))
    }

    /// The region behind `len` bytes of a local piece, from byte `skip` of it on. What a message does not touch is not
    /// looked at: a receive may be longer than its region, if what comes is not.
    // rxe: rxe_mr.c rxe_mr_copy, by way of copy_data
    #[inline]
    fn local(
        &self,
        sge: &Sge,
        pd: PdId,
        write: bool,
        skip: u32,
        len: usize,
    ) -> Result<(&Region, u64), LocalFault> {
        let offset = sge.offset.checked_add(u64::from(skip)).ok_or(LocalFault)?;
        self.by_key(sge.mr.0)
            .filter(|mr| mr.pd == pd && (mr.access.local_write || !write))
            .map(|mr| (&mr.region, offset))
            .filter(|(region, offset)| region.contains(*offset, len as u64))
            .ok_or(LocalFault)
    }

    /// Collects `out.len()` bytes of the pieces, from byte `skip` of their sum on. Answers their digest.
    #[inline]
    pub(crate) fn gather(
        &self,
        sges: &[Sge],
        pd: PdId,
        mut skip: u32,
        out: &mut [u8],
    ) -> Result<u64, LocalFault> {
        let mut at = 0;
        for sge in sges {
            if skip >= sge.len {
                skip -= sge.len;
                continue;
            }
            if at == out.len() {
                break;
            }
            let len = ((sge.len - skip) as usize).min(out.len() - at);
            let (region, offset) = self.local(sge, pd, false, skip, len)?;
            if len == out.len() {
                return Ok(digest::copy(region, offset, out));
            }
            region.read(offset, &mut out[at..at + len]);
            (at, skip) = (at + len, 0);
        }
        if at == out.len() { Ok(digest::digest(out)) } else { Err(LocalFault) }
    }

    /// Distributes bytes over the pieces, from byte `skip` of their sum on: all of them or, when a piece that is
    /// needed is not valid, none.
    #[inline]
    pub(crate) fn scatter(
        &self,
        sges: &[Sge],
        pd: PdId,
        mut skip: u32,
        bytes: &[u8],
    ) -> Result<(), LocalFault> {
        if sges.len() > 1 {
            self.check_fills(sges, pd, skip, bytes.len())?;
        }
        let mut at = 0;
        for sge in sges {
            if skip >= sge.len {
                skip -= sge.len;
                continue;
            }
            if at == bytes.len() {
                break;
            }
            let len = ((sge.len - skip) as usize).min(bytes.len() - at);
            let (region, offset) = self.local(sge, pd, true, skip, len)?;
            region.write(offset, &bytes[at..at + len]);
            (at, skip) = (at + len, 0);
        }
        if at == bytes.len() { Ok(()) } else { Err(LocalFault) }
    }

    /// Whether `len` bytes from byte `skip` on may be written to the pieces.
    fn check_fills(&self, sges: &[Sge], pd: PdId, skip: u32, len: usize) -> Result<(), LocalFault> {
        let (from, to) = (u64::from(skip), u64::from(skip) + len as u64);
        let mut start = 0;
        for sge in sges {
            let end = start + u64::from(sge.len);
            if start < to && end > from && sge.len > 0 {
                let skip = from.saturating_sub(start);
                self.local(sge, pd, true, skip as u32, (to.min(end) - start - skip) as usize)?;
            }
            start = end;
        }
        if to <= start { Ok(()) } else { Err(LocalFault) }
    }
}

/// What a peer wants to do with memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Right {
    Read,
    Write,
    Atomic,
}

#[cfg(test)]
mod tests {
    use super::*;
    use wavetank_contract::RegionSpec;

    fn table() -> (MrTable, Caps, Region) {
        let region = Region::allocate(&RegionSpec::new(8192)).expect("small");
        (MrTable::new(3), crate::caps::caps(&crate::Profile::IDEAL), region)
    }

    #[test]
    fn a_retired_key_is_dead_for_good_though_its_slot_is_used_again() {
        let (mut t, caps, r) = table();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let mr = t.register(&r, PdId(0), Access::ALL, &caps).expect("room");
            assert!(seen.insert(mr), "{mr:?} was used before");
            t.deregister(mr).expect("registered");
            assert_eq!(t.deregister(mr), Err(DeregisterError::Unknown(mr)));
        }
        assert!(t.slots.len() < 10, "slots are used again, {} are not", t.slots.len());
    }

    #[test]
    fn a_retired_region_is_scribbled_once_its_last_registration_ends() {
        let (mut t, caps, r) = table();
        r.write(0, b"data");
        let a = t.register(&r, PdId(0), Access::ALL, &caps).expect("room");
        let b = t.register(&r, PdId(0), Access::LOCAL, &caps).expect("room");
        t.deregister(a).expect("registered");
        assert_ne!(r.word(0).get(), SCRIBBLE);
        t.deregister(b).expect("registered");
        assert!(r.words(0, 8192).1.iter().all(|w| w.get() == SCRIBBLE));
    }

    #[test]
    fn live_leases_keep_a_registration() {
        let (mut t, caps, r) = table();
        let mr = t.register(&r, PdId(0), Access::ALL, &caps).expect("room");
        let lease = r.lease(0, 100).expect("free");
        assert_eq!(t.deregister(mr), Err(DeregisterError::LeasesLive { mr, leases: 1 }));
        drop(lease);
        assert_eq!(t.deregister(mr), Ok(()));
    }

    #[test]
    fn key_bounds_rights_and_domain_are_each_checked() {
        let (mut t, caps, r) = table();
        let mr = t.register(&r, PdId(1), Access::REMOTE_READ, &caps).expect("room");
        let remote = MrTable::import(&t.export(mr).expect("remote")).expect("ours");
        let (key, addr) = (remote.rkey.0 as u32, remote.addr);
        let may = |key, pd, right, addr, len| t.remote(key, PdId(pd), right, addr, len).is_some();
        assert!(may(key, 1, Right::Read, addr + 1, 8191));
        assert!(!may(key ^ 1, 1, Right::Read, addr, 1), "key");
        assert!(!may(u32::MAX, 1, Right::Read, addr, 1), "slot");
        assert!(!may(key, 1, Right::Read, addr + 1, 8192), "upper bound");
        assert!(!may(key, 1, Right::Read, addr - 1, 1), "lower bound");
        assert!(!may(key, 1, Right::Read, u64::MAX, 1), "wrap");
        assert!(!may(key, 1, Right::Write, addr, 1), "rights");
        assert!(!may(key, 1, Right::Atomic, addr, 8), "rights");
        assert!(!may(key, 2, Right::Read, addr, 1), "domain");
    }

    #[test]
    fn keys_that_no_mock_made_are_refused() {
        for bytes in [&b""[..], b"WTK1", &[0xff; 24], &[0; 25]] {
            let key = RemoteKey::from_bytes(bytes).expect("short");
            assert!(matches!(MrTable::import(&key), Err(KeyError::Malformed { .. })));
        }
    }

    #[test]
    fn pieces_are_gathered_and_scattered_across_their_borders() {
        let (mut t, caps, r) = table();
        let mr = t.register(&r, PdId(0), Access::LOCAL, &caps).expect("room");
        let sge = |offset, len| Sge { mr, offset, len };
        let pieces = [sge(100, 3), sge(0, 0), sge(200, 4)];
        t.scatter(&pieces, PdId(0), 1, b"bcdef").expect("fits");
        let mut out = [0; 4];
        t.gather(&pieces, PdId(0), 2, &mut out).expect("fits");
        assert_eq!(&out, b"cdef");
        assert!(t.scatter(&pieces, PdId(0), 3, b"too long").is_err());
        assert!(t.gather(&pieces, PdId(9), 0, &mut out).is_err(), "domain");
        let ro = t.register(&r, PdId(0), Access::REMOTE_READ, &caps).expect("room");
        assert!(t.scatter(&[Sge { mr: ro, offset: 0, len: 8 }], PdId(0), 0, b"x").is_err(), "no local write");
        assert!(t.gather(&[Sge { mr, offset: 8190, len: 8 }], PdId(0), 0, &mut out).is_err(), "bounds");
    }
}
