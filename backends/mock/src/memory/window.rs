//! Memory windows: keys of their own to a part of a registration, which end without ending it (IBA 10.6.7).

use wavetank_contract::error::WindowError;
use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{Access, Caps, MrId, Region, RemoteKey, WindowId};

use super::{MrTable, Right, allows, encode};

/// Set in the key of every window and in no other.
pub(super) const WINDOW: u32 = 1 << 31;

/// One window.
#[derive(Debug)]
pub(super) struct Window {
    /// The registration it looks into.
    mr: u32,
    access: Access,
    /// The device's address of its first byte.
    addr: u64,
    len: u64,
}

impl MrTable {
    /// Opens a window.
    // rxe: rxe_mw.c rxe_check_bind_mw, C10-74 and C10-75; ibv_bind_mw(3)
    pub(crate) fn open_window(
        &mut self,
        mr: MrId,
        offset: u64,
        len: u64,
        access: Access,
        caps: &Caps,
    ) -> Result<(WindowId, RemoteKey), WindowError> {
        let found = self.mrs.get_mut(mr.0).ok_or(WindowError::UnknownRegion(mr))?;
        if !(access.remote_read || access.remote_write || access.remote_atomic) {
            return Err(WindowError::NoRight);
        }
        if (access.remote_write || access.remote_atomic) && !found.access.local_write {
            return Err(WindowError::RemoteWriteNeedsLocalWrite(mr));
        }
        if len == 0 || !found.region.contains(offset, len) {
            return Err(WindowError::Outside { mr, offset, len, region_len: found.region.len() });
        }
        if self.windows.live() >= caps.region_max {
            return Err(WindowError::TooMany(caps.region_max));
        }
        let addr = found.addr + offset;
        let window = Window { mr: mr.0, access, addr, len };
        let key = self.windows.insert(window).ok_or(WindowError::TooMany(caps.region_max))? | WINDOW;
        found.windows += 1;
        let exported = encode(key, addr, len).ok_or(WindowError::UnknownRegion(mr))?;
        Ok((WindowId(key), exported))
    }

    /// Closes a window: its key is dead for good, the registration stays.
    pub(crate) fn close_window(&mut self, window: WindowId) -> Result<(), WindowError> {
        let unknown = WindowError::Unknown(window);
        if window.0 & WINDOW == 0 {
            return Err(unknown);
        }
        if planted::is(Bug::KeepRevokedWindow) && self.windows.get(window.0 & !WINDOW).is_some() {
            return Ok(());
        }
        let closed = self.windows.remove(window.0 & !WINDOW).ok_or(unknown)?;
        if let Some(mr) = self.mrs.get_mut(closed.mr) {
            mr.windows -= 1;
        }
        Ok(())
    }

    /// As [`remote`](MrTable::remote), for the key of a window.
    #[cold]
    pub(super) fn through_window(
        &self,
        key: u32,
        pd: wavetank_contract::PdId,
        right: Right,
        addr: u64,
        len: u32,
    ) -> Option<(&Region, u64)> {
        let window = self.windows.get(key & !WINDOW)?;
        let mr = self.mrs.get(window.mr)?;
        let from = addr.checked_sub(window.addr)?;
        let within = from.checked_add(len.into()).is_some_and(|end| end <= window.len);
        (within && allows(window.access, right) && mr.pd == pd).then(|| (&mr.region, addr - mr.addr))
    }
}

#[cfg(test)]
mod tests {
    use wavetank_contract::error::DeregisterError;
    use wavetank_contract::{PdId, RegionSpec};

    use super::*;

    const READ: Access = Access::REMOTE_READ;

    fn table(access: Access) -> (MrTable, Caps, MrId) {
        let region = Region::allocate(&RegionSpec::new(8192)).expect("small");
        let caps = crate::caps::caps(&crate::Profile::IDEAL);
        let mut table = MrTable::new(3);
        let mr = table.register(&region, PdId(1), access, &caps).expect("room");
        (table, caps, mr)
    }

    #[test]
    fn a_window_opens_its_range_with_its_rights_and_nothing_else() {
        let (mut t, caps, mr) = table(Access::LOCAL);
        let (_, key) = t.open_window(mr, 1000, 100, READ, &caps).expect("inside");
        let seen = MrTable::import(&key).expect("ours");
        let may = |pd, right, addr, len| t.remote(seen.rkey.0 as u32, PdId(pd), right, addr, len);
        let found = may(1, Right::Read, seen.addr, 100).map(|(_, offset)| offset);
        assert_eq!(found, Some(1000));
        assert!(may(1, Right::Read, seen.addr, 101).is_none(), "upper bound");
        assert!(may(1, Right::Read, seen.addr - 1, 1).is_none(), "lower bound");
        assert!(may(1, Right::Read, u64::MAX, 1).is_none(), "wrap");
        assert!(may(1, Right::Write, seen.addr, 1).is_none(), "rights");
        assert!(may(2, Right::Read, seen.addr, 1).is_none(), "domain");
        assert!(
            t.remote(mr.0, PdId(1), Right::Read, seen.addr, 1).is_none(),
            "the region's own key opens nothing"
        );
    }

    #[test]
    fn what_a_window_cannot_be_is_refused() {
        let (mut t, caps, mr) = table(READ);
        let mut refused =
            |mr, offset, len, access| t.open_window(mr, offset, len, access, &caps).expect_err("refused");
        let outside = |offset, len| WindowError::Outside { mr, offset, len, region_len: 8192 };
        assert_eq!(refused(mr, 0, 8193, READ), outside(0, 8193));
        assert_eq!(refused(mr, u64::MAX, 2, READ), outside(u64::MAX, 2));
        assert_eq!(refused(mr, 8, 0, READ), outside(8, 0));
        assert_eq!(refused(mr, 0, 8, Access::LOCAL), WindowError::NoRight);
        assert_eq!(refused(mr, 0, 8, Access::ALL), WindowError::RemoteWriteNeedsLocalWrite(mr));
        let unknown = MrId(mr.0 + 1);
        assert_eq!(refused(unknown, 0, 8, READ), WindowError::UnknownRegion(unknown));
        let none = Caps { region_max: 0, ..caps };
        assert_eq!(t.open_window(mr, 0, 8, READ, &none).expect_err("refused"), WindowError::TooMany(0));
    }

    #[test]
    fn a_registration_does_not_end_under_a_window() {
        let (mut t, caps, mr) = table(Access::LOCAL);
        let (one, _) = t.open_window(mr, 0, 8, READ, &caps).expect("inside");
        let (two, _) = t.open_window(mr, 0, 8, READ, &caps).expect("windows may overlap");
        assert_eq!(t.deregister(mr), Err(DeregisterError::WindowsBound { mr, windows: 2 }));
        assert_eq!(t.close_window(one), Ok(()));
        assert_eq!(t.close_window(one), Err(WindowError::Unknown(one)));
        assert_eq!(t.close_window(WindowId(mr.0)), Err(WindowError::Unknown(WindowId(mr.0))));
        assert_eq!(t.deregister(mr), Err(DeregisterError::WindowsBound { mr, windows: 1 }));
        assert_eq!((t.close_window(two), t.deregister(mr)), (Ok(()), Ok(())));
    }

    #[test]
    fn a_revoked_key_stays_dead_through_every_roll_of_its_slot() {
        let (mut t, caps, mr) = table(Access::LOCAL);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let (window, key) = t.open_window(mr, 0, 8, READ, &caps).expect("room");
            assert!(seen.insert(window), "{window:?} was used before");
            t.close_window(window).expect("open");
            let remote = MrTable::import(&key).expect("ours");
            assert!(t.remote(remote.rkey.0 as u32, PdId(1), Right::Read, remote.addr, 8).is_none());
        }
        assert!(t.windows.slots() < 10);
    }
}
