//! Reading by pull: READs of the exporter's segment, without a hand of its processor; everything is checked here.

use wavetank_contract::{Instant, Lease};
use wavetank_engine::{RdmaOps, TransferError};
use wavetank_messenger::{PullReason, Pulling, Reached};
use wavetank_rpc::crc32c_of;
use wavetank_volume::{ChecksumForm, Cookie, IndexEntry, Needle, NeedleId, Version, crc32c_raw};

use super::Reader;
use super::grants::{Granted, Verified};
use super::peer::{Opened, Peer, Trouble};
use crate::calls::{About, Grant, NeedleCall, ReachSegment, ReadNeedle};
use crate::found::{Found, Part, Path, Wanted, Why};
use crate::gzip::inflate;
use crate::outcome::Absence;
use crate::segments::SEAL_BYTES;
use crate::shelf::record_bytes;
use crate::sums::BlockSums;

/// Keys of one exporter that are kept: it has few segments.
const KEYS_MAX: usize = 4096;

/// Pulled, or why not: nothing that ends the read, which can still be pushed.
type Pulled = Result<Found, Why>;

impl<C: RdmaOps + 'static> Reader<C> {
    /// Pulls by whatever grant there is. `Err(Why)`: it has to be pushed.
    pub(super) async fn pull_granted(
        &self,
        peer: &Peer,
        opened: &Opened,
        wanted: &Wanted,
        until: Instant,
    ) -> Result<Pulled, Trouble> {
        let name = (wanted.volume, wanted.id, wanted.cookie);
        let granted = self.shared.grants.borrow_mut().get(&name);
        let Some(granted) = granted else { return Ok(Err(Why::NotGranted(*self.shared.ungranted.borrow()))) };
        let outcome = self.pull(peer, opened, wanted, &granted, until).await;
        match outcome {
            Ok(Ok(mut found)) => {
                found.why = Why::Granted;
                Ok(Ok(found))
            }
            Ok(Err(why)) => {
                // Another read may have heard of a newer one meanwhile.
                let mut grants = self.shared.grants.borrow_mut();
                if grants.peek(&name).is_some_and(|now| now.grant == granted.grant) {
                    grants.drop(&name);
                }
                Ok(Err(why))
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Pulls by all means: asks for a grant where there is none.
    pub(super) async fn pull_asked(
        &self,
        peer: &Peer,
        opened: &Opened,
        wanted: &Wanted,
        until: Instant,
    ) -> Result<Found, Trouble> {
        let asked = |mut found: Found| {
            found.why = Why::Asked;
            found
        };
        if let Ok(found) = self.pull_granted(peer, opened, wanted, until).await? {
            return Ok(asked(found));
        }
        let call = NeedleCall {
            volume: wanted.volume,
            id: wanted.id,
            cookie: wanted.cookie,
            offset: wanted.offset,
            len: wanted.len.unwrap_or(0),
            wants_grant: true,
            only_grant: true,
            only: None,
            doubts: false,
        };
        let asked_at = self.now();
        let reply = self.ask::<ReadNeedle>(opened.connection, &call, until).await?;
        let found = reply.map_err(Trouble::Absent)?;
        self.hear_grant(opened, wanted, &call, &found, asked_at);
        if let Err(why) = found.grant {
            return Err(Trouble::NotPulled(Why::NotGranted(Some(why))));
        }
        match self.pull_granted(peer, opened, wanted, until).await? {
            Ok(found) => Ok(asked(found)),
            Err(why) => Err(Trouble::NotPulled(why)),
        }
    }

    async fn pull(
        &self,
        peer: &Peer,
        opened: &Opened,
        wanted: &Wanted,
        granted: &Granted,
        until: Instant,
    ) -> Result<Pulled, Trouble> {
        if granted.connection != opened.connection {
            return Ok(Err(Why::ConnectionAnew));
        }
        if self.now() >= granted.until {
            return Ok(Err(Why::GrantOver));
        }
        let Some(from) = self.reach(peer, opened, granted.grant.segment, until).await? else {
            return Ok(Err(Why::NoKey));
        };
        // The seal is read after everything else, and the grant's end is before the segment's.
        let until = until.min(granted.until);
        match &granted.verified {
            Some(verified @ Verified { sums: Some(sums), .. }) => {
                self.pull_verified(opened, wanted, granted, (verified, sums), &from, until).await
            }
            _ => self.pull_whole(opened, wanted, granted, &from, until).await,
        }
        .map(|pulled| {
            pulled.map(|mut found| {
                found.peer = Some(peer.address.clone());
                found
            })
        })
    }

    /// The key to a segment: asked for once per connection.
    async fn reach(
        &self,
        peer: &Peer,
        opened: &Opened,
        segment: u32,
        until: Instant,
    ) -> Result<Option<Reached>, Trouble> {
        if let Some(there) = peer.state.borrow().keys.get(&segment) {
            return Ok(Some(*there));
        }
        let Some(key) = self.ask::<ReachSegment>(opened.connection, &segment, until).await? else {
            return Ok(None);
        };
        let mut state = peer.state.borrow_mut();
        // Two that asked at once: a key is imported once.
        if let Some(there) = state.keys.get(&segment) {
            return Ok(Some(*there));
        }
        if state.keys.len() >= KEYS_MAX {
            return Ok(None);
        }
        let reached = self.shared.messenger.with(|messenger| messenger.reach(opened.connection, &key));
        match reached {
            Ok(reached) => {
                state.keys.insert(segment, reached);
                Ok(Some(reached))
            }
            Err(PullReason::NotConnected(_)) => Err(Trouble::Gone("the connection is gone".into())),
            Err(error) => {
                tracing::warn!("engine {}: {error}", peer.address);
                Ok(None)
            }
        }
    }

    /// READs a record, verifies it, and gives what is wanted of it.
    async fn pull_whole(
        &self,
        opened: &Opened,
        wanted: &Wanted,
        granted: &Granted,
        from: &Reached,
        until: Instant,
    ) -> Result<Pulled, Trouble> {
        let Grant { at, record_bytes: said, version, seal, .. } = granted.grant;
        let size_bytes = granted.which.size_bytes;
        let Some(version) = Version::from_byte(version) else { return Ok(Err(Why::Damaged)) };
        let record_len = record_bytes(size_bytes, version);
        if u64::from(said) != record_len || record_len > self.shared.config.needle_bytes_max.saturating_mul(2)
        {
            return Ok(Err(Why::Damaged));
        }
        let lease = self.expose(opened, record_len)?;
        let lease =
            match self.pull_into(from, at.saturating_add(SEAL_BYTES), lease, record_len, until).await? {
                Ok(lease) => lease,
                Err(why) => return Ok(Err(why)),
            };
        if let Some(why) = self.broken_seal(from, at, seal, until).await? {
            return Ok(Err(why));
        }
        let mut record = vec![0; record_len as usize];
        lease.read(0, &mut record);
        let entry =
            IndexEntry { id: NeedleId(wanted.id), offset_bytes: granted.which.offset_bytes, size_bytes };
        let Ok(needle) = Needle::parse(&record, version, &entry) else {
            self.count(|stats| stats.corrupt += 1);
            return Ok(Err(Why::Damaged));
        };
        if needle.check_cookie(Cookie(wanted.cookie)).is_err() {
            return Err(Trouble::Absent(Absence::WrongCookie));
        }
        let limit = self.shared.config.needle_bytes_max;
        let packed = needle.flags.is_compressed();
        let content = match packed {
            false => None,
            true => Some(inflate(needle.data, limit).ok_or(Trouble::Absent(Absence::Compression))?),
        };
        let whole_bytes = content.as_ref().map_or(needle.data.len(), Vec::len) as u64;
        let about = crate::shelf::about(&needle, whole_bytes);
        let data_at = version.data_offset_bytes();
        // Parsing summed the data: where the sum was stored as it is, that is it.
        let crc32c = match needle.checksum.form {
            Some(ChecksumForm::Raw) => needle.checksum.stored,
            Some(ChecksumForm::Masked) | None => crc32c_raw(needle.data),
        };
        let sums = (!packed).then(|| BlockSums::of(needle.data, &mut self.shared.joiners.borrow_mut()));
        let verified = Verified { about, data_at, sums };
        let name = (wanted.volume, wanted.id, wanted.cookie);
        self.shared.grants.borrow_mut().verified(&name, seal, verified.clone());
        let (offset, len) = self.range(wanted, &verified)?;
        let part = match content {
            _ if len == 0 => None,
            None if len == whole_bytes => Some(Part { lease, at: data_at, len, crc32c }),
            None => {
                let crc32c = crc32c_of(&lease, data_at + offset, len);
                Some(Part { lease, at: data_at + offset, len, crc32c })
            }
            Some(content) => {
                let lease = self.expose(opened, len)?;
                lease.write(0, &content[offset as usize..][..len as usize]);
                let crc32c = crc32c_of(&lease, 0, len);
                Some(Part { lease, at: 0, len, crc32c })
            }
        };
        Ok(Ok(pulled(part, verified.about)))
    }

    /// READs what is wanted of a record that was verified, with the blocks around it, and the seal; nothing of it in any order.
    ///
    /// That suffices: blocks with the sums that were verified under this seal are those blocks, whenever each byte of them was
    /// read, and the seal was whole at some instant meanwhile. Of the rest of the record, which no sum covers, nothing is
    /// believed: it is as it was when the seal was read after it.
    async fn pull_verified(
        &self,
        opened: &Opened,
        wanted: &Wanted,
        granted: &Granted,
        (verified, sums): (&Verified, &BlockSums),
        from: &Reached,
        until: Instant,
    ) -> Result<Pulled, Trouble> {
        let Grant { at, seal, .. } = granted.grant;
        let range = match self.range(wanted, verified) {
            Ok((_, 0)) => Ok(None),
            Ok(range) => Ok(Some(range)),
            Err(trouble) => Err(trouble),
        };
        let Ok(Some((offset, len))) = range else {
            // Also what is not there is so only of the needle's newest writing.
            return match self.broken_seal(from, at, seal, until).await? {
                Some(why) => Ok(Err(why)),
                None => range.map(|_| Ok(pulled(None, verified.about.clone()))),
            };
        };
        let (begin, end) = sums.around(offset, len);
        let data_at = SEAL_BYTES + verified.data_at;
        // From the first block on, the seal is near enough to come with it.
        let (read_at, before) = if begin == 0 { (0, data_at) } else { (data_at + begin, 0) };
        let read_bytes = before + (end - begin);
        let lease = self.expose(opened, read_bytes)?;
        let reading = match self.begin_pull(from, at.saturating_add(read_at), lease, read_bytes, until)? {
            Ok(reading) => reading,
            Err(why) => return Ok(Err(why)),
        };
        if begin != 0
            && let Some(why) = self.broken_seal(from, at, seal, until).await?
        {
            return Ok(Err(why));
        }
        let lease = match end_pull(reading.await)? {
            Ok(lease) => lease,
            Err(why) => return Ok(Err(why)),
        };
        if begin == 0 && !is_seal(&lease, seal) {
            return Ok(Err(Why::SealBroken));
        }
        let Some(crc32c) = sums.verify(&lease, before, offset, len) else {
            self.count(|stats| stats.corrupt += 1);
            return Ok(Err(Why::Damaged));
        };
        // It may have expired since.
        self.range(wanted, verified)?;
        let part = Part { lease, at: before + (offset - begin), len, crc32c };
        Ok(Ok(pulled(Some(part), verified.about.clone())))
    }

    /// What of the needle is wanted: offset and length. Expired is not there.
    fn range(&self, wanted: &Wanted, verified: &Verified) -> Result<(u64, u64), Trouble> {
        let about = &verified.about;
        if about.is_expired_at(self.unix_ns()) {
            return Err(Trouble::Absent(Absence::Expired));
        }
        let whole = about.whole_bytes;
        if wanted.offset > whole || (wanted.offset == whole && whole > 0) {
            return Err(Trouble::Absent(Absence::OutOfRange));
        }
        let left = whole - wanted.offset;
        Ok((wanted.offset, wanted.len.map_or(left, |len| len.min(left))))
    }

    /// Why the record is not to be trusted: its seal is not whole, after it was read.
    async fn broken_seal(
        &self,
        from: &Reached,
        at: u64,
        seal: u64,
        until: Instant,
    ) -> Result<Option<Why>, Trouble> {
        let lease = self.shared.messenger.lease(SEAL_BYTES);
        let lease = lease.map_err(|error| Trouble::NoMemory(error.to_string()))?;
        let lease = match self.pull_into(from, at, lease, SEAL_BYTES, until).await? {
            Ok(lease) => lease,
            Err(why) => return Ok(Some(why)),
        };
        Ok((!is_seal(&lease, seal)).then_some(Why::SealBroken))
    }

    async fn pull_into(
        &self,
        from: &Reached,
        at: u64,
        lease: Lease,
        len: u64,
        until: Instant,
    ) -> Result<Result<Lease, Why>, Trouble> {
        match self.begin_pull(from, at, lease, len, until)? {
            Ok(pulling) => end_pull(pulling.await),
            Err(why) => Ok(Err(why)),
        }
    }

    fn begin_pull(
        &self,
        from: &Reached,
        at: u64,
        lease: Lease,
        len: u64,
        until: Instant,
    ) -> Result<Result<Pulling<C>, Why>, Trouble> {
        let pulling = self.shared.messenger.pull(from, at, lease, len, until);
        match pulling.map_err(|error| error.reason) {
            Ok(pulling) => Ok(Ok(pulling)),
            Err(PullReason::NotConnected(_)) => Err(Trouble::Gone("the connection is gone".into())),
            Err(PullReason::Outside { .. }) => Ok(Err(Why::Damaged)),
            Err(_) => Ok(Err(Why::ReadFailed)),
        }
    }
}

/// What a READ that ended means for the read it is of.
fn end_pull(ended: Result<Lease, Box<TransferError>>) -> Result<Result<Lease, Why>, Trouble> {
    match ended.map_err(|error| *error) {
        Ok(lease) => Ok(Ok(lease)),
        Err(TransferError::DeadlinePassed { .. }) => Ok(Err(Why::GrantOver)),
        Err(TransferError::Failed { status, .. })
            if status.class() == wavetank_contract::Class::DeviceGone =>
        {
            Err(Trouble::DeviceGone)
        }
        Err(other) => Err(Trouble::Gone(other.to_string())),
    }
}

/// Whether this seal stands where the lease begins.
fn is_seal(lease: &Lease, seal: u64) -> bool {
    let mut found = [0; SEAL_BYTES as usize];
    lease.read(0, &mut found);
    u64::from_le_bytes(found) == seal
}

fn pulled(part: Option<Part>, about: About) -> Found {
    let parts = part.into_iter().collect();
    Found { parts, about, path: Path::Pulled, why: Why::Granted, peer: None }
}
