//! Memory on the bench: what each byte must be, and regions beside the main one.

use wavetank_contract::{
    Access, Backend, MrId, PdId, Region, RegionSpec, RemoteAddr, RemoteRegion, RkeyId, Sge,
};

use super::{Bench, End, side_name};
use crate::kit::stop::{Ended, OrFail, Stop, fail};
use crate::lab::Lab;
use crate::pattern::{self, Tag};

/// A region beside the main one.
#[derive(Clone, Debug)]
pub(in crate::kit) struct Extra {
    pub(in crate::kit) side: usize,
    pub(in crate::kit) mem: Region,
    pub(in crate::kit) mr: MrId,
    tag: Tag,
}

impl Extra {
    pub(in crate::kit) fn piece(&self, offset: u64, len: u32) -> Sge {
        Sge { mr: self.mr, len, offset }
    }

    /// Whether its bytes are what its owner put there.
    pub(in crate::kit) fn is_untouched(&self) -> bool {
        pattern::holds(&self.mem, 0, self.mem.len() as usize, self.tag, 0)
    }
}

pub(in crate::kit) fn bytes(region: &Region, offset: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    region.read(offset, &mut out);
    out
}

impl<L: Lab> Bench<'_, L> {
    /// Another region of a side, filled by its owner.
    pub(in crate::kit) fn extra(
        &mut self,
        side: usize,
        len: u64,
        pd: u16,
        access: Access,
    ) -> Result<Extra, Stop> {
        self.extras += 1;
        let tag = Tag { region: 100 + self.extras, generation: 0 };
        let (name, device) = (side_name(side), &mut self.sides[side].device);
        let mem = device.allocate(&RegionSpec::new(len)).or_fail(format!("{name}: memory"))?;
        pattern::fill(&mem, 0, mem.len() as usize, tag, 0);
        let access = Access { remote_atomic: access.remote_atomic && device.caps().atomics, ..access };
        let mr = device.register(&mem, PdId(pd), access).or_fail(format!("{name}: a registration"))?;
        Ok(Extra { side, mem, mr, tag })
    }

    /// What a region is to an endpoint of a peer.
    pub(in crate::kit) fn import(&mut self, end: End, extra: &Extra) -> Result<RemoteRegion, Stop> {
        let key = self.sides[extra.side].device.export(extra.mr).or_fail("exporting a key")?;
        self.sides[end.side].device.import(end.ep, &key).or_fail("importing a key")
    }

    /// The first byte of a region, to an endpoint of a peer.
    pub(in crate::kit) fn to(&mut self, end: End, extra: &Extra) -> Result<RemoteAddr, Stop> {
        let RemoteRegion { rkey, addr, .. } = self.import(end, extra)?;
        Ok(RemoteAddr { rkey, addr })
    }

    /// An address in the main region of an endpoint's peer. It need not be inside.
    pub(in crate::kit) fn at(&self, end: End, offset: u64) -> RemoteAddr {
        let opened = self.sides[end.side].opened.iter().find(|opened| opened.ep == end.ep);
        // An endpoint that was never connected has no peer; such an address is as good as any other.
        let nowhere = RemoteRegion { rkey: RkeyId(0), addr: 0, len: 0 };
        let peer = opened.and_then(|opened| opened.peer).unwrap_or(nowhere);
        RemoteAddr { rkey: peer.rkey, addr: peer.addr.wrapping_add(offset) }
    }

    /// The same address under a key that nobody gave out.
    pub(in crate::kit) fn forged(&self, end: End, offset: u64) -> RemoteAddr {
        let RemoteAddr { rkey, addr } = self.at(end, offset);
        // The low byte is what a device rolls each time it uses a slot again.
        RemoteAddr { rkey: RkeyId(rkey.0 ^ 0x5a), addr }
    }

    pub(in crate::kit) fn piece(&self, side: usize, offset: u64, len: u32) -> Sge {
        Sge { mr: self.sides[side].mr, len, offset }
    }

    /// The same for any length. Nothing is no piece at all: adapters take a piece of length 0 for one of 2 GiB.
    pub(in crate::kit) fn pieces(&self, side: usize, offset: u64, len: u32) -> Vec<Sge> {
        if len == 0 { Vec::new() } else { vec![self.piece(side, offset, len)] }
    }

    /// The owner writes its memory.
    pub(in crate::kit) fn put(&mut self, side: usize, offset: usize, bytes: &[u8]) {
        self.sides[side].mem.write(offset as u64, bytes);
        self.announce(side, offset, bytes);
    }

    /// From now on memory must hold these bytes.
    pub(in crate::kit) fn announce(&mut self, side: usize, offset: usize, bytes: &[u8]) {
        self.sides[side].shadow[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// From now on a place (side and offset) must hold what another one must.
    pub(in crate::kit) fn copied(&mut self, from: (usize, usize), to: (usize, usize), len: u32) {
        let bytes = self.must_hold(from.0, from.1, len as usize).to_vec();
        self.announce(to.0, to.1, &bytes);
    }

    /// What is there is as good as anything: no device promises what a failed work leaves.
    pub(in crate::kit) fn forgive(&mut self, side: usize, offset: usize, len: usize) {
        let now = self.get(side, offset, len);
        self.announce(side, offset, &now);
    }

    pub(in crate::kit) fn get(&self, side: usize, offset: usize, len: usize) -> Vec<u8> {
        bytes(&self.sides[side].mem, offset as u64, len)
    }

    /// What memory must hold there.
    pub(in crate::kit) fn must_hold(&self, side: usize, offset: usize, len: usize) -> &[u8] {
        &self.sides[side].shadow[offset..offset + len]
    }

    /// Every byte of the main regions is what was announced.
    pub(in crate::kit) fn check(&self) -> Ended {
        for (at, side) in self.sides.iter().enumerate() {
            let now = bytes(&side.mem, 0, side.shadow.len());
            if now == side.shadow {
                continue;
            }
            let wrong = || now.iter().zip(&side.shadow).enumerate().filter(|(_, (now, must))| now != must);
            let (count, first) = (wrong().count(), wrong().map(|(offset, _)| offset).next().unwrap_or(0));
            fail!("{}: {count} bytes of memory are wrong, the first at {first}", side_name(at));
        }
        Ok(())
    }
}
