//! What exporters granted: where needles lie that may be READ, for a while.

use std::collections::BTreeMap;

use wavetank_contract::Instant;
use wavetank_messenger::ConnectionId;

use crate::calls::{About, Grant, Which};
use crate::sums::BlockSums;

/// A needle, as whoever may read it names it.
pub(crate) type Name = (u32, u64, u32);

/// A grant, and what was found out by using it.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    pub(crate) grant: Grant,
    pub(crate) which: Which,
    /// Whose it is: no other connection has the key.
    pub(crate) connection: ConnectionId,
    pub(crate) until: Instant,
    /// The record was READ whole and verified, under this seal: parts of it may be READ alone.
    pub(crate) verified: Option<Verified>,
    used: u64,
}

/// What a verified record holds.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    pub(crate) about: About,
    /// Where its data begins in the record.
    pub(crate) data_at: u64,
    /// Of the data. `None`: it is gzip, and is pulled whole and inflated here.
    pub(crate) sums: Option<BlockSums>,
}

/// Grants, the least recently used of which go first.
#[derive(Debug)]
pub(crate) struct Grants {
    most: usize,
    by_name: BTreeMap<Name, Granted>,
    by_use: BTreeMap<u64, Name>,
    clock: u64,
}

impl Grants {
    pub(crate) fn new(most: usize) -> Grants {
        Grants { most, by_name: BTreeMap::new(), by_use: BTreeMap::new(), clock: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// A grant, used now.
    pub(crate) fn get(&mut self, name: &Name) -> Option<Granted> {
        let granted = self.by_name.get_mut(name)?;
        self.by_use.remove(&granted.used);
        self.clock += 1;
        granted.used = self.clock;
        self.by_use.insert(self.clock, *name);
        Some(granted.clone())
    }

    /// Whether there is one, without using it.
    pub(crate) fn peek(&self, name: &Name) -> Option<&Granted> {
        self.by_name.get(name)
    }

    /// Keeps a grant. What was verified under the same seal stays so.
    pub(crate) fn put(
        &mut self,
        name: Name,
        grant: Grant,
        which: Which,
        connection: ConnectionId,
        until: Instant,
    ) {
        let before = self.drop(&name);
        let same = |old: &Granted| old.connection == connection && old.grant.seal == grant.seal;
        let verified = before.filter(same).and_then(|old| old.verified);
        if self.most == 0 {
            return;
        }
        while self.by_name.len() >= self.most {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.by_name.remove(&oldest);
        }
        self.clock += 1;
        self.by_use.insert(self.clock, name);
        let used = self.clock;
        self.by_name.insert(name, Granted { grant, which, connection, until, verified, used });
    }

    /// A record was verified; if it is still the one that is granted.
    pub(crate) fn verified(&mut self, name: &Name, seal: u64, verified: Verified) {
        if let Some(granted) = self.by_name.get_mut(name).filter(|granted| granted.grant.seal == seal) {
            granted.verified = Some(verified);
        }
    }

    /// A grant that is good for nothing any more.
    pub(crate) fn drop(&mut self, name: &Name) -> Option<Granted> {
        let granted = self.by_name.remove(name)?;
        self.by_use.remove(&granted.used);
        Some(granted)
    }
}
