//! Reading by push: the exporter writes into memory of this side, and what landed is summed before anybody sees it.

use wavetank_contract::{Instant, Lease};
use wavetank_engine::RdmaOps;
use wavetank_rpc::{Carried, call, crc32c_of};

use super::Reader;
use super::peer::{Opened, Peer, Trouble};
use crate::calls::{NeedleCall, NeedleFound, ReadNeedle, Which};
use crate::found::{Found, Mode, Part, Path, Wanted, Why};
use crate::outcome::Absence;

/// How often a needle that is written anew while it is read in pieces is begun again.
const BEGINNINGS_MAX: u32 = 4;

impl<C: RdmaOps + 'static> Reader<C> {
    pub(super) async fn push(
        &self,
        peer: &Peer,
        opened: &Opened,
        wanted: &Wanted,
        why: Why,
        until: Instant,
    ) -> Result<Found, Trouble> {
        let mut begun = 1;
        loop {
            match self.push_all(peer, opened, wanted, why, until).await {
                Err(Trouble::Absent(Absence::Stale)) if begun < BEGINNINGS_MAX => begun += 1,
                outcome => return outcome,
            }
        }
    }

    /// In as many pieces as it takes, all of one writing of the needle.
    async fn push_all(
        &self,
        peer: &Peer,
        opened: &Opened,
        wanted: &Wanted,
        why: Why,
        until: Instant,
    ) -> Result<Found, Trouble> {
        let piece_bytes = self.shared.config.piece_bytes.min(opened.push_bytes_max);
        let mut parts: Vec<Part> = Vec::new();
        let mut only: Option<Which> = None;
        let mut done = 0;
        // What is still wanted: known once the exporter has said how long the needle is.
        let mut total: Option<u64> = None;
        let mut doubts = false;
        loop {
            let room = match (total, wanted.len) {
                (Some(total), _) => (total - done).min(piece_bytes),
                (None, Some(len)) => len.min(piece_bytes),
                (None, None) => self.shared.config.guess_bytes.min(piece_bytes),
            };
            // Of a needle that nobody knows the length of, as much as there is, if it fits.
            let len = if total.is_none() && wanted.len.is_none() { 0 } else { room };
            let nothing = wanted.len == Some(0);
            let sink = if nothing { None } else { Some(self.expose(opened, room.max(1))?) };
            let call = NeedleCall {
                volume: wanted.volume,
                id: wanted.id,
                cookie: wanted.cookie,
                offset: wanted.offset + done,
                len,
                // Who only wants it pushed has no use for one.
                wants_grant: only.is_none() && wanted.mode != Mode::Push && self.shared.config.grants_max > 0,
                only_grant: nothing,
                only,
                doubts,
            };
            let (found, part) = match self.push_piece(opened, wanted, &call, sink, until).await {
                // On the way, or in the exporter's file since it verified that: it looks again, and says so then.
                Err(Trouble::Corrupt) if !doubts => {
                    self.count(|stats| stats.corrupt += 1);
                    doubts = true;
                    continue;
                }
                outcome => outcome?,
            };
            if only.replace(found.which).is_some_and(|before| before != found.which) {
                return Err(Trouble::Absent(Absence::Stale));
            }
            let left = found.about.whole_bytes.saturating_sub(wanted.offset);
            let all = wanted.len.map_or(left, |len| len.min(left));
            if all > self.shared.config.needle_bytes_max {
                return Err(Trouble::Absent(Absence::TooLong));
            }
            if *total.get_or_insert(all) != all || done + found.placed > all {
                return Err(Trouble::Corrupt);
            }
            let stuck = found.placed == 0 && done < all && len > 0 && len.min(all - done) <= room;
            done += found.placed;
            parts.extend(part);
            if done == all {
                let (about, peer) = (found.about, Some(peer.address.clone()));
                return Ok(Found { parts, about, path: Path::Pushed, why, peer });
            }
            if stuck {
                // There was room for what was asked for, and nothing came.
                return Err(Trouble::Corrupt);
            }
        }
    }

    async fn push_piece(
        &self,
        opened: &Opened,
        wanted: &Wanted,
        call_of: &NeedleCall,
        sink: Option<Lease>,
        until: Instant,
    ) -> Result<(NeedleFound, Option<Part>), Trouble> {
        let asked_at = self.now();
        let room = sink.as_ref().map_or(0, Lease::len);
        let carried = Carried { sink, ..Carried::default() };
        let messenger = &self.shared.messenger;
        let answered = call::<ReadNeedle, C>(messenger, opened.connection, call_of, carried, until).await?;
        let mut message = answered.message;
        let found = *answered.reply.map_err(Trouble::Absent)?;
        self.hear_grant(opened, wanted, call_of, &found, asked_at);
        let (placed, came) = (found.placed, message.data_len());
        if placed != came || placed > room {
            return Err(Trouble::Corrupt);
        }
        if placed == 0 {
            return Ok((found, None));
        }
        // However it travelled, it is in the sink now.
        let lease = message.take_lease().filter(|lease| lease.len() == room).ok_or(Trouble::Corrupt)?;
        drop(message);
        let crc32c = crc32c_of(&lease, 0, placed);
        if crc32c != found.crc32c {
            return Err(Trouble::Corrupt);
        }
        Ok((found, Some(Part { lease, at: 0, len: placed, crc32c })))
    }

    /// Keeps what was granted, from when it was asked for.
    pub(super) fn hear_grant(
        &self,
        opened: &Opened,
        wanted: &Wanted,
        asked: &NeedleCall,
        found: &NeedleFound,
        asked_at: Instant,
    ) {
        if !asked.wants_grant && !asked.only_grant {
            return;
        }
        let name = (wanted.volume, wanted.id, wanted.cookie);
        let mut grants = self.shared.grants.borrow_mut();
        match found.grant {
            Ok(grant) => {
                let until = asked_at + u64::from(grant.for_ms) * 1_000_000;
                grants.put(name, grant, found.which, opened.connection, until);
                self.count(|stats| stats.grants += 1);
            }
            Err(why) => {
                grants.drop(&name);
                *self.shared.ungranted.borrow_mut() = Some(why);
            }
        }
    }

    /// Memory that the exporter may write, and that local programs see.
    pub(super) fn expose(&self, opened: &Opened, len_bytes: u64) -> Result<Lease, Trouble> {
        let exposed = self.shared.messenger.expose(opened.connection, len_bytes);
        let exposed = exposed.map_err(|error| Trouble::NoMemory(error.to_string()))?;
        exposed.ok_or_else(|| Trouble::Gone("the connection is gone".into()))
    }
}
