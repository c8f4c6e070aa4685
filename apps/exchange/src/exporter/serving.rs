//! What the exporter answers to those who were let in.

use std::rc::Rc;

use async_trait::async_trait;
use wavetank_contract::Lease;
use wavetank_engine::RdmaOps;
use wavetank_messenger::Data;
use wavetank_rpc::{Answer, Asked, Service, crc32c_of};
use wavetank_volume::{Cookie, NeedleId};

use super::Exporter;
use crate::calls::{
    Catalogue, CataloguePage, Grant, NeedleCall, NeedleFound, NeedleReply, PAGE_VOLUMES_MAX, ReachSegment,
    ReadNeedle, SegmentReply, Ungranted,
};
use crate::outcome::Absence;
use crate::shelf::{Shelf, Shelved};

impl<S: Shelf> Exporter<S> {
    fn find<C: RdmaOps + 'static>(&self, asked: &Asked<C>, call: &NeedleCall) -> Result<Shelved, Absence> {
        let (id, cookie) = (NeedleId(call.id), Cookie(call.cookie));
        let unix_ns = self.unix_ns(asked.messenger.now());
        let found = self.shelf.find(call.volume, id, cookie, unix_ns);
        if let Err(Absence::Missing | Absence::Deleted | Absence::Expired | Absence::NotExported) = found {
            // What lies in a segment is not what the files say any more.
            self.segments.borrow_mut().forget(call.volume, id);
        }
        let needle = found?;
        match call.only {
            Some(only) if only != needle.which => Err(Absence::Stale),
            _ => Ok(needle),
        }
    }

    fn read<C: RdmaOps + 'static>(
        &self,
        asked: &Asked<C>,
        call: &NeedleCall,
    ) -> Result<(Box<NeedleFound>, Option<Data>), Absence> {
        let needle = self.find(asked, call)?;
        let whole_bytes = needle.about.whole_bytes;
        if call.offset > whole_bytes || (call.offset == whole_bytes && whole_bytes > 0) {
            return Err(Absence::OutOfRange);
        }
        let left = whole_bytes - call.offset;
        let want = if call.len == 0 { left } else { call.len.min(left) };
        let grant = self.grant(asked, call, &needle);
        let found = |placed, crc32c| {
            let (which, about) = (needle.which, needle.about.clone());
            Box::new(NeedleFound { which, placed, crc32c, about, grant })
        };
        let room = asked.sink_len().unwrap_or(0).min(self.config.push_bytes_max);
        if want == 0 || call.only_grant || want > room {
            self.count(|stats| stats.sizes += 1);
            return Ok((found(0, 0), None));
        }
        let waiting = asked.messenger.with(|messenger| messenger.waiting_bytes(asked.connection()));
        if waiting + want > self.config.waiting_bytes_max.max(want) {
            return Err(Absence::Busy);
        }
        // Only of a whole needle the sum was another than that of what left; and so a doubt costs no more than what is asked for.
        if call.doubts && want == whole_bytes {
            self.shelf.doubt(&needle);
        }
        // Memory that no peer reaches: what is summed here is what leaves.
        let lease: Lease = asked.messenger.lease(want).map_err(|_| Absence::Busy)?;
        let known = self.shelf.read(&needle, call.offset, want, &lease, 0)?;
        // Where it is known what they should be the reader finds out whether they are, and asks with a doubt if they are not.
        let crc32c = known.unwrap_or_else(|| crc32c_of(&lease, 0, want));
        self.count(|stats| {
            stats.pushes += 1;
            stats.push_bytes += want;
        });
        Ok((found(want, crc32c), Some(Data::first(lease, want))))
    }

    /// A place in a segment, if the needle is worth it.
    fn grant<C: RdmaOps + 'static>(
        &self,
        asked: &Asked<C>,
        call: &NeedleCall,
        needle: &Shelved,
    ) -> Result<Grant, Ungranted> {
        if !call.wants_grant && !call.only_grant {
            return Err(Ungranted::NotAsked);
        }
        if needle.which.size_bytes == 0 {
            return Err(Ungranted::Empty);
        }
        let (volume, id, which, now) = (needle.volume, needle.id, needle.which, asked.messenger.now());
        let mut segments = self.segments.borrow_mut();
        segments.check(needle.record_bytes())?;
        let placed = match segments.find(volume, id, &which) {
            Some(placed) => placed,
            None => {
                if !self.is_hot(volume, id, which, now) && !call.only_grant {
                    return Err(Ungranted::Cold);
                }
                let mut record = Vec::new();
                self.shelf.record(needle, &mut record).map_err(|_| Ungranted::Full)?;
                asked.messenger.with(|messenger| {
                    segments.place(messenger.driver().context(), (volume, id, which), &record, now)
                })?
            }
        };
        segments.granted(&placed, now);
        self.count(|stats| stats.grants += 1);
        let for_ms = u32::try_from(self.config.segments.grant_ns / 1_000_000).unwrap_or(u32::MAX);
        let version = needle.version.byte();
        let (segment, at, record_bytes, seal) = (placed.segment, placed.at, placed.record_bytes, placed.seal);
        Ok(Grant { segment, at, record_bytes, version, seal, for_ms })
    }

    fn reach<C: RdmaOps + 'static>(&self, asked: &Asked<C>, segment: u32) -> SegmentReply {
        let connection = asked.connection();
        let now = asked.messenger.now();
        asked.messenger.with(|messenger| {
            let lives = messenger.ends(connection)?.lives;
            let context = messenger.driver().context();
            self.segments.borrow_mut().key(context, segment, (connection, lives), now)
        })
    }
}

#[async_trait(?Send)]
impl<S: Shelf, C: RdmaOps + 'static> Service<Catalogue, C> for Exporter<S> {
    async fn serve(self: Rc<Self>, _asked: Asked<C>, from: u32) -> Answer<CataloguePage> {
        let mut volumes = self.shelf.volumes();
        volumes.retain(|standing| standing.volume >= from);
        let more = volumes.len() > PAGE_VOLUMES_MAX;
        volumes.truncate(PAGE_VOLUMES_MAX);
        Answer::of(CataloguePage { volumes, more })
    }
}

#[async_trait(?Send)]
impl<S: Shelf, C: RdmaOps + 'static> Service<ReadNeedle, C> for Exporter<S> {
    async fn serve(self: Rc<Self>, asked: Asked<C>, call: NeedleCall) -> Answer<NeedleReply> {
        match self.read(&asked, &call) {
            Ok((found, data)) => Answer { reply: Ok(found), data, way: None },
            Err(absence) => {
                self.count(|stats| match absence {
                    Absence::Busy => stats.busy += 1,
                    _ => stats.absent += 1,
                });
                Answer::of(Err(absence))
            }
        }
    }
}

#[async_trait(?Send)]
impl<S: Shelf, C: RdmaOps + 'static> Service<ReachSegment, C> for Exporter<S> {
    async fn serve(self: Rc<Self>, asked: Asked<C>, segment: u32) -> Answer<SegmentReply> {
        Answer::of(self.reach(&asked, segment))
    }
}
