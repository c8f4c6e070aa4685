//! What the liars of a lab know of each other: whose memory is where, and who is connected with whom.

use std::collections::BTreeMap;

use wavetank_contract::{EpId, Region, RemoteAddr, RemoteRegion};

/// One node's endpoint.
pub(super) type Place = (u16, EpId);

#[derive(Debug, Default)]
pub(super) struct Liars {
    /// By exported key: whose bytes it is about.
    keys: BTreeMap<Vec<u8>, Region>,
    /// What keys were imported as.
    targets: Vec<(RemoteRegion, Region)>,
    /// Polls by node.
    pub(super) polls: BTreeMap<u16, u64>,
    /// By address: whose it is.
    pub(super) addresses: BTreeMap<Vec<u8>, Place>,
    pub(super) peers: BTreeMap<Place, Place>,
    /// Endpoints whose peer closed, and that were not told yet.
    pub(super) left: Vec<Place>,
    /// Nodes whose link changed, and whether it is up.
    pub(super) links: Vec<(u16, bool)>,
}

impl Liars {
    pub(super) fn exported(&mut self, key: &[u8], region: &Region) {
        self.keys.insert(key.to_vec(), region.clone());
    }

    pub(super) fn imported(&mut self, key: &[u8], remote: RemoteRegion) {
        if let Some(region) = self.keys.get(key) {
            self.targets.push((remote, region.clone()));
        }
    }

    /// The imported region that an address is in, if there is one.
    pub(super) fn around(&self, addr: u64) -> Option<&(RemoteRegion, Region)> {
        let inside = |remote: &RemoteRegion| (remote.addr..remote.addr + remote.len).contains(&addr);
        self.targets.iter().find(|(remote, _)| inside(remote))
    }

    /// The imported region that is nearest to an address just outside of it.
    pub(super) fn beside(&self, addr: u64) -> Option<RemoteRegion> {
        let near = |remote: &RemoteRegion| addr.abs_diff(remote.addr) <= remote.len;
        self.targets.iter().map(|(remote, _)| *remote).find(near)
    }

    /// The memory that a work is about, and the offset in it.
    pub(super) fn target(&self, remote: RemoteAddr) -> Option<(Region, u64)> {
        self.around(remote.addr).map(|(known, region)| (region.clone(), remote.addr - known.addr))
    }
}

/// Changes a byte, if it is there.
pub(super) fn flip(region: &Region, offset: u64) {
    if region.contains(offset, 1) {
        let cell = &region.cells(offset, 1)[0];
        cell.set(!cell.get());
    }
}
