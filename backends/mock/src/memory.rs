//! Registrations: keys, rights and ranges, checked as a responder checks them.

mod keyed;
mod window;

use wavetank_contract::error::{DeregisterError, KeyError, RegisterError};
use wavetank_contract::planted::{self, Bug};
use wavetank_contract::region::PAGE_BYTES;
use wavetank_contract::{Access, Caps, MrId, PdId, Region, RemoteKey, RemoteRegion, RkeyId, Sge, WeakRegion};

use crate::digest;
use crate::marks::Mark;
use keyed::Keyed;
use window::{WINDOW, Window};

/// What a region holds after its last registration ended. A reader that finds it used a dead region.
pub const SCRIBBLE: u64 = 0xdead_5c21_bb1e_dead;

const KEY_MAGIC: &[u8; 4] = b"WTK1";
const KEY_FORMAT: &str = "24 bytes that begin with WTK1";

/// A key that no registration ever has.
pub(crate) const NO_KEY: u32 = u32::MAX;

/// Slots at most: all that the 23 bits between [`WINDOW`] and the roll name, but the one of [`NO_KEY`].
const SLOTS_MAX: usize = (1 << 23) - 1;

/// One registration.
#[derive(Debug)]
pub(crate) struct Mr {
    pub(crate) region: Region,
    pd: PdId,
    access: Access,
    /// The device's address of its first byte.
    addr: u64,
    /// Windows bound to it.
    windows: u32,
}

fn scribble(region: &Region) {
    let (_, words, _) = region.words(0, region.len() as usize);
    words.iter().for_each(|word| word.set(SCRIBBLE));
}

/// Why a local piece was refused. The device tells only LOC_PROT_ERR.
#[derive(Debug)]
pub(crate) struct LocalFault;

/// Regions whose addresses are remembered before those that are gone are looked for.
const PLACES_MIN: usize = 64;

/// The registrations of one NIC, and the windows to them. Local and remote keys are alike.
#[derive(Debug)]
pub(crate) struct MrTable {
    mrs: Keyed<Mr>,
    windows: Keyed<Window>,
    next_addr: u64,
    /// Addresses of the regions that were registered and may still be there.
    places: Vec<(WeakRegion, u64)>,
    /// With so many of them, those whose regions are gone are dropped.
    places_max: usize,
}

impl MrTable {
    pub(crate) fn new(node: u16) -> MrTable {
        // Nodes have different addresses, so that an address used at the wrong node is refused there.
        let next_addr = (u64::from(node) + 1) << 44;
        MrTable {
            mrs: Keyed::new(SLOTS_MAX),
            windows: Keyed::new(SLOTS_MAX),
            next_addr,
            places: Vec::new(),
            places_max: PLACES_MIN,
        }
    }

    /// Whether a region can be registered.
    pub(crate) fn check(&self, region: &Region, access: Access, caps: &Caps) -> Result<(), RegisterError> {
        if (access.remote_write || access.remote_atomic) && !access.local_write {
            return Err(RegisterError::RemoteWriteNeedsLocalWrite);
        }
        if region.len() > caps.region_bytes_max {
            let (len_bytes, limit_bytes) = (region.len(), caps.region_bytes_max);
            return Err(RegisterError::TooLong { len_bytes, limit_bytes });
        }
        if self.mrs.live() >= caps.region_max {
            return Err(RegisterError::TooMany(caps.region_max));
        }
        Ok(())
    }

    pub(crate) fn register(
        &mut self,
        region: &Region,
        pd: PdId,
        access: Access,
        caps: &Caps,
    ) -> Result<MrId, RegisterError> {
        self.check(region, access, caps)?;
        let addr = self.address_of(region);
        let mr = Mr { region: region.clone(), pd, access, addr, windows: 0 };
        let key = self.mrs.insert(mr).ok_or(RegisterError::TooMany(caps.region_max))?;
        Ok(MrId(key))
    }

    /// Where the device sees a region. Memory has one address, however often it is registered: a stale key is told from the
    /// next one by the key alone.
    fn address_of(&mut self, region: &Region) -> u64 {
        if let Some((_, addr)) = self.places.iter().rev().find(|(known, _)| known.names(region)) {
            return *addr;
        }
        if self.places.len() >= self.places_max {
            self.places.retain(|(known, _)| known.is_alive());
            self.places_max = 2 * self.places.len() + PLACES_MIN;
        }
        let addr = self.next_addr;
        // A page between regions, so that running off one never reaches the next.
        self.next_addr += region.len().next_multiple_of(PAGE_BYTES) + PAGE_BYTES;
        self.places.push((region.downgrade(), addr));
        addr
    }

    pub(crate) fn deregister(&mut self, mr: MrId) -> Result<(), DeregisterError> {
        let found = self.mrs.get(mr.0).ok_or(DeregisterError::Unknown(mr))?;
        // rxe: rxe_verbs.c rxe_dereg_mr
        if found.windows > 0 {
            return Err(DeregisterError::WindowsBound { mr, windows: found.windows });
        }
        let leases = found.region.live_leases();
        if leases > 0 {
            return Err(DeregisterError::LeasesLive { mr, leases });
        }
        if let Some(retired) = self.mrs.remove(mr.0)
            && !self.mrs.iter().any(|other| other.region.same_as(&retired.region))
        {
            scribble(&retired.region);
        }
        Ok(())
    }

    /// Ends every registration and window, whoever still uses them.
    pub(crate) fn retire_all(&mut self) {
        self.windows.remove_all(|_| {});
        self.mrs.remove_all(|mr| scribble(&mr.region));
    }

    /// A table that gives out only keys and addresses that this one never had.
    pub(crate) fn successor(&self) -> MrTable {
        let (mrs, windows) = (self.mrs.successor(), self.windows.successor());
        MrTable { mrs, windows, next_addr: self.next_addr, places: Vec::new(), places_max: PLACES_MIN }
    }

    /// Gives out none of the keys and addresses that another table gave out either.
    pub(crate) fn skip(&mut self, other: &MrTable) {
        self.mrs.skip(&other.mrs);
        self.windows.skip(&other.windows);
        self.next_addr = self.next_addr.max(other.next_addr);
    }

    pub(crate) fn export(&self, mr: MrId) -> Result<RemoteKey, KeyError> {
        let found = self.mrs.get(mr.0).ok_or(KeyError::Unknown(mr))?;
        if !(found.access.remote_read || found.access.remote_write || found.access.remote_atomic) {
            return Err(KeyError::LocalOnly(mr));
        }
        encode(mr.0, found.addr, found.region.len()).ok_or(KeyError::Unknown(mr))
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
        if key & WINDOW != 0 {
            return self.through_window(key, pd, right, addr, len);
        }
        let mr = self.mrs.get(key)?;
        let offset = addr.checked_sub(mr.addr)?;
        let len = if planted::is(Bug::SkipBoundsCheck) { 1 } else { len };
        let within = mr.region.contains(offset, u64::from(len));
        let allowed = allows(mr.access, right) || planted::is(Bug::SkipRightsCheck);
        (within && allowed && mr.pd == pd).then_some((&mr.region, offset))
    }

    /// What a key that opens nothing once was, if anything.
    #[cold]
    pub(crate) fn retired(&self, key: u32) -> Option<Mark> {
        if key & WINDOW != 0 {
            self.windows.is_retired(key & !WINDOW).then_some(Mark::WindowRevoked)
        } else {
            self.mrs.is_retired(key).then_some(Mark::StaleKey)
        }
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
        self.mrs
            .get(sge.mr.0)
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

fn encode(key: u32, addr: u64, len: u64) -> Option<RemoteKey> {
    let mut bytes = Vec::with_capacity(24);
    bytes.extend_from_slice(KEY_MAGIC);
    bytes.extend_from_slice(&key.to_le_bytes());
    bytes.extend_from_slice(&addr.to_le_bytes());
    bytes.extend_from_slice(&len.to_le_bytes());
    RemoteKey::from_bytes(&bytes)
}

#[inline]
fn allows(access: Access, right: Right) -> bool {
    match right {
        Right::Read => access.remote_read,
        Right::Write => access.remote_write,
        Right::Atomic => access.remote_atomic,
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
        assert!(t.mrs.slots() < 10, "slots are used again, {} are not", t.mrs.slots());
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
