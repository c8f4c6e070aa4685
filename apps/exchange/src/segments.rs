//! Segments: registered memory that holds the records of needles that are read again and again, for peers to READ.
//!
//! A record is copied in as it stands in its file, verified, behind a *seal*: a number that no other record ever has. The seal is
//! broken before the record's bytes change, and as soon as they are no longer the needle's newest. So a reader that READs bytes
//! of the record and afterwards the seal, and finds it whole, has what was there when the seal was written; keys do not die
//! under readers, since a segment that is filled anew keeps its registrations.

use std::collections::BTreeMap;
use std::sync::atomic::{Ordering, fence};

use wavetank_contract::{Access, Instant, MrId, PdId, Region, RegionSpec, RemoteKey};
use wavetank_engine::RdmaOps;
use wavetank_messenger::ConnectionId;
use wavetank_volume::NeedleId;

use crate::calls::{ReachSegment, Ungranted, Which};

/// Bytes of a seal.
pub(crate) const SEAL_BYTES: u64 = 8;

/// A seal that is broken.
const BROKEN: u64 = 0;

/// How much memory peers may READ, and for how long they are told that they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentConfig {
    /// Bytes of a segment: the longest record that can be pulled is a little shorter. A power of two.
    pub segment_bytes: u64,
    /// Bytes of all segments. 0: nothing is granted.
    pub bytes_max: u64,
    /// Bytes of all registrations, each connection's counted anew, as the kernel counts locked memory.
    pub registered_bytes_max: u64,
    /// How long a grant lasts. Afterwards the reader asks again, so that the exporter hears what is still wanted.
    pub grant_ns: u64,
    /// A segment is filled anew no sooner after the end of its last grant than this.
    pub margin_ns: u64,
    /// A needle is granted when it is asked for again within this time.
    pub window_ns: u64,
}

impl Default for SegmentConfig {
    fn default() -> SegmentConfig {
        SegmentConfig {
            segment_bytes: 32 << 20,
            bytes_max: 256 << 20,
            registered_bytes_max: 4 << 30,
            grant_ns: 10_000_000_000,
            margin_ns: 1_000_000_000,
            window_ns: 30_000_000_000,
        }
    }
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) which: Which,
    pub(crate) segment: u32,
    pub(crate) at: u64,
    pub(crate) record_bytes: u32,
    pub(crate) seal: u64,
}

type Name = (u32, NeedleId);

#[derive(Debug)]
struct Segment {
    region: Region,
    used_bytes: u64,
    records: Vec<Name>,
    granted_until: Instant,
    used_at: Instant,
    keys: Vec<Key>,
}

/// A registration for one connection, in one of its lives.
#[derive(Debug)]
struct Key {
    connection: ConnectionId,
    lives: u32,
    mr: MrId,
    key: RemoteKey,
}

/// Counts of the segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentStats {
    /// Segments there are.
    pub segments: u32,
    /// Bytes of records in them, those of broken seals included.
    pub used_bytes: u64,
    /// Records with a whole seal.
    pub records: u64,
    /// Registrations for connections.
    pub keys: u32,
    /// Segments that were filled anew.
    pub evicted: u64,
    /// Seals broken because a needle changed.
    pub broken: u64,
}

/// What a test plants, to see that it is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub enum Lie {
    /// None.
    #[default]
    Nothing,
    /// Seals stay whole whatever happens to their records.
    KeepsSeals,
    /// A bit of each record is flipped when it is placed.
    FlipsBit,
    /// Segments are filled anew although they were granted from, and keep their old seals.
    EvictsEarly,
    /// A bit of each record that lies in a segment is flipped now, below its whole seal.
    Rots,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Segments {
    config: SegmentConfig,
    list: Vec<Segment>,
    /// The one that takes records now.
    open: usize,
    seals: u64,
    placed: BTreeMap<Name, Placed>,
    evicted: u64,
    broken: u64,
    lie: Lie,
}

impl Segments {
    pub(crate) fn new(config: SegmentConfig) -> Segments {
        let (list, placed) = (Vec::new(), BTreeMap::new());
        Segments { config, list, open: 0, seals: BROKEN, placed, evicted: 0, broken: 0, lie: Lie::Nothing }
    }

    pub(crate) fn stats(&self) -> SegmentStats {
        SegmentStats {
            segments: self.list.len() as u32,
            used_bytes: self.list.iter().map(|segment| segment.used_bytes).sum(),
            records: self.placed.len() as u64,
            keys: self.list.iter().map(|segment| segment.keys.len() as u32).sum(),
            evicted: self.evicted,
            broken: self.broken,
        }
    }

    /// Whether a record of this length is ever placed.
    pub(crate) fn check(&self, record_bytes: u64) -> Result<(), Ungranted> {
        match self.config.bytes_max {
            most if most < self.config.segment_bytes => Err(Ungranted::Never),
            _ if record_bytes + SEAL_BYTES > self.config.segment_bytes => Err(Ungranted::TooLong),
            _ => Ok(()),
        }
    }

    /// Plants a lie.
    pub(crate) fn plant(&mut self, lie: Lie) {
        self.lie = lie;
        let rotting = self.placed.values().filter(|_| lie == Lie::Rots);
        for placed in rotting {
            let region = &self.list[placed.segment as usize].region;
            let at = placed.at + SEAL_BYTES + u64::from(placed.record_bytes) / 2;
            let mut byte = [0];
            region.read(at, &mut byte);
            region.write(at, &[byte[0] ^ 1]);
        }
    }

    /// Where this writing of a needle lies, if it does. Another writing that does is not the newest any more.
    pub(crate) fn find(&mut self, volume: u32, id: NeedleId, which: &Which) -> Option<Placed> {
        let placed = *self.placed.get(&(volume, id))?;
        if placed.which == *which {
            return Some(placed);
        }
        self.forget(volume, id);
        None
    }

    /// The needle is not, or no longer, what lies here.
    pub(crate) fn forget(&mut self, volume: u32, id: NeedleId) {
        if self.lie != Lie::KeepsSeals
            && let Some(placed) = self.placed.remove(&(volume, id))
        {
            self.broken += 1;
            self.break_seal(&placed);
        }
    }

    /// Forgets the needles of a volume of which this is not said.
    pub(crate) fn retain(&mut self, volume: u32, mut is_current: impl FnMut(NeedleId, &Which) -> bool) {
        let all = (volume, NeedleId(0))..=(volume, NeedleId(u64::MAX));
        let gone: Vec<NeedleId> = self
            .placed
            .range(all)
            .filter(|((_, id), placed)| !is_current(*id, &placed.which))
            .map(|((_, id), _)| *id)
            .collect();
        for id in gone {
            self.forget(volume, id);
        }
    }

    /// Puts a record into a segment.
    pub(crate) fn place<C: RdmaOps>(
        &mut self,
        context: &mut C,
        (volume, id, which): (u32, NeedleId, Which),
        record: &[u8],
        now: Instant,
    ) -> Result<Placed, Ungranted> {
        self.check(record.len() as u64)?;
        let need_bytes = (SEAL_BYTES + record.len() as u64).next_multiple_of(SEAL_BYTES);
        let has_room =
            |segment: &Segment| segment.used_bytes.saturating_add(need_bytes) <= segment.region.len();
        if self.list.get(self.open).is_none_or(|segment| !has_room(segment)) {
            self.open = self.make_room(context, now)?;
        }
        self.seals += 1;
        let segment = &mut self.list[self.open];
        let at = segment.used_bytes;
        segment.used_bytes += need_bytes;
        segment.used_at = now;
        segment.records.push((volume, id));
        segment.region.write(at + SEAL_BYTES, record);
        if self.lie == Lie::FlipsBit {
            let middle = SEAL_BYTES + record.len() as u64 / 2;
            segment.region.write(at + middle, &[record[record.len() / 2] ^ 1]);
        }
        // Whoever finds the seal finds what it is for.
        fence(Ordering::SeqCst);
        segment.region.word(at).set(self.seals.to_le());
        let (segment, record_bytes, seal) = (self.open as u32, record.len() as u32, self.seals);
        let placed = Placed { which, segment, at, record_bytes, seal };
        self.placed.insert((volume, id), placed);
        Ok(placed)
    }

    /// A segment with nothing in it: a new one, or the one that was not used for longest, if nobody was granted from it.
    fn make_room<C: RdmaOps>(&mut self, context: &mut C, now: Instant) -> Result<usize, Ungranted> {
        let SegmentConfig { segment_bytes, bytes_max, margin_ns, .. } = self.config;
        if (self.list.len() as u64 + 1) * segment_bytes <= bytes_max {
            let spec = RegionSpec { len_bytes: segment_bytes, ..RegionSpec::new(segment_bytes) };
            match context.allocate(&spec) {
                Ok(region) => {
                    self.list.push(Segment {
                        region,
                        used_bytes: 0,
                        records: Vec::new(),
                        granted_until: Instant::ZERO,
                        used_at: now,
                        keys: Vec::new(),
                    });
                    return Ok(self.list.len() - 1);
                }
                Err(error) => tracing::warn!("no memory for a segment of {segment_bytes} bytes: {error}"),
            }
        }
        let early = self.lie == Lie::EvictsEarly;
        let free = |segment: &Segment| {
            early || segment.granted_until == Instant::ZERO || segment.granted_until + margin_ns <= now
        };
        let candidates = self.list.iter().enumerate().filter(|(_, segment)| free(segment));
        let Some((victim, _)) = candidates.min_by_key(|(place, segment)| (segment.used_at, *place)) else {
            return Err(Ungranted::Full);
        };
        self.evict(victim);
        Ok(victim)
    }

    fn evict(&mut self, victim: usize) {
        self.evicted += 1;
        let records = std::mem::take(&mut self.list[victim].records);
        for name in records {
            let here = self.placed.get(&name).filter(|placed| placed.segment as usize == victim).copied();
            if let Some(placed) = here {
                self.placed.remove(&name);
                if self.lie != Lie::EvictsEarly {
                    self.break_seal(&placed);
                }
            }
        }
        let segment = &mut self.list[victim];
        segment.used_bytes = if self.lie == Lie::EvictsEarly { SEAL_BYTES } else { 0 };
        segment.granted_until = Instant::ZERO;
    }

    fn break_seal(&self, placed: &Placed) {
        if let Some(segment) = self.list.get(placed.segment as usize) {
            segment.region.word(placed.at).set(BROKEN);
            // Before anything else is written where it was.
            fence(Ordering::SeqCst);
        }
    }

    /// A record is granted: its segment stays as it is for as long.
    pub(crate) fn granted(&mut self, placed: &Placed, now: Instant) {
        let until = now + self.config.grant_ns;
        if let Some(segment) = self.list.get_mut(placed.segment as usize) {
            segment.granted_until = segment.granted_until.max(until);
            segment.used_at = now;
        }
    }

    /// The key to a segment for one connection. `None` where nothing was granted from it, or it cannot be had.
    pub(crate) fn key<C: RdmaOps>(
        &mut self,
        context: &mut C,
        segment: u32,
        (connection, lives): (ConnectionId, u32),
        now: Instant,
    ) -> Option<RemoteKey> {
        let registered: u64 =
            self.list.iter().map(|segment| segment.region.len() * segment.keys.len() as u64).sum();
        let most = self.config.registered_bytes_max;
        let segment = self.list.get_mut(segment as usize)?;
        let is_its = |key: &&Key| (key.connection, key.lives) == (connection, lives);
        if let Some(key) = segment.keys.iter().find(is_its) {
            return Some(key.key.clone());
        }
        if segment.granted_until < now || registered + segment.region.len() > most {
            return None;
        }
        // Nobody writes here but this process.
        let access =
            Access { local_write: true, remote_read: true, remote_write: false, remote_atomic: false };
        let mr = match context.register(&segment.region, PdId::default(), access) {
            Ok(mr) => mr,
            Err(error) => {
                tracing::warn!("a segment cannot be registered: {error}");
                return None;
            }
        };
        let key = context.export(mr).ok().filter(|key| key.as_bytes().len() <= ReachSegment::KEY_BYTES_MAX);
        let Some(key) = key else {
            let _ = context.deregister(mr);
            return None;
        };
        segment.keys.push(Key { connection, lives, mr, key: key.clone() });
        Some(key)
    }

    /// Ends the keys of connections that are not there any more.
    pub(crate) fn part<C: RdmaOps>(
        &mut self,
        context: &mut C,
        mut is_there: impl FnMut(ConnectionId, u32) -> bool,
    ) {
        for segment in &mut self.list {
            for key in segment.keys.extract_if(.., |key| !is_there(key.connection, key.lives)) {
                // Nothing of ours uses it, and what a peer had under way ended with its endpoint.
                let _ = context.deregister(key.mr);
            }
        }
    }
}
