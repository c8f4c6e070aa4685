//! Calls on needles: pushing one, and what it takes to pull it.

use wavetank_contract::RemoteKey;
use wavetank_rpc::{Call, Malformed};
use wavetank_volume::{Flags, Ttl};

use super::TYPES;
use crate::front::{FRONT_BYTES_MAX, Reader, Writer};
use crate::outcome::Absence;

/// Which writing of a needle: its record, in one opening of its volume's files. Two that are equal have the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Which {
    /// Counts openings of volumes, anew with each life of the exporter.
    pub generation: u64,
    /// Where its record begins in the `.dat`.
    pub offset_bytes: u64,
    /// Length of the record's body.
    pub size_bytes: u32,
}

/// What is asked of a needle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedleCall {
    /// The volume.
    pub volume: u32,
    /// The needle.
    pub id: u64,
    /// Its cookie.
    pub cookie: u32,
    /// First byte wanted, of what a reader of the file would see: inflated, if it is compressed.
    pub offset: u64,
    /// Bytes wanted. 0: to the end.
    pub len: u64,
    /// Whether a grant is welcome.
    pub wants_grant: bool,
    /// Only the grant is wanted, at once: no data comes.
    pub only_grant: bool,
    /// Another writing of the needle will not do: it was begun with this one.
    pub only: Option<Which>,
    /// What came before had another sum than was told: if all of it is asked for, it is verified anew.
    pub doubts: bool,
}

const WANTS_GRANT: u8 = 1;
const ONLY_GRANT: u8 = 2;
const ONLY_WHICH: u8 = 4;
const DOUBTS: u8 = 8;

/// What is known of a needle besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Bytes of all of it, inflated.
    pub whole_bytes: u64,
    /// The record's flags. Data that is served is never compressed, whatever they say.
    pub flags: Flags,
    /// The stored checksum, as it stands in the record.
    pub checksum: u32,
    /// Modification time in Unix seconds.
    pub last_modified_s: Option<u64>,
    /// When it was appended, in Unix nanoseconds.
    pub append_at_ns: Option<u64>,
    /// Time to live.
    pub ttl: Option<Ttl>,
    /// File name.
    pub name: Option<Box<[u8]>>,
    /// MIME type.
    pub mime: Option<Box<[u8]>>,
}

impl About {
    /// Whether its time to live is over, by the rule of [`Needle::is_expired_at`](wavetank_volume::Needle::is_expired_at).
    pub fn is_expired_at(&self, now_unix_ns: u64) -> bool {
        let (Some(ttl), Some(last_modified_s)) = (self.ttl, self.last_modified_s) else { return false };
        let born_ns = self.append_at_ns.unwrap_or_else(|| last_modified_s.saturating_mul(1_000_000_000));
        let span_ns = u64::from(ttl.minutes()) * 60 * 1_000_000_000;
        span_ns != 0 && now_unix_ns >= born_ns.saturating_add(span_ns)
    }
}

/// Where a needle's record lies for a while, to be READ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The exporter's segment: [`ReachSegment`] answers its key.
    pub segment: u32,
    /// Where the seal stands in it; the record is right behind.
    pub at: u64,
    /// Bytes of the record.
    pub record_bytes: u32,
    /// Version of the record.
    pub version: u8,
    /// What the seal is for as long as the record is there and is the needle's newest.
    pub seal: u64,
    /// How long it is to be used, from when it was asked for.
    pub for_ms: u32,
}

/// Why there is no grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Ungranted {
    /// It was not asked for.
    NotAsked = 1,
    /// It was not asked for often enough.
    Cold = 2,
    /// The record is longer than a segment.
    TooLong = 3,
    /// All segments hold what others were granted.
    Full = 4,
    /// The exporter grants nothing.
    Never = 5,
    /// Empty needles have nothing to be read.
    Empty = 6,
    /// A reason of a later version.
    Other = 255,
}

impl Ungranted {
    /// Every reason.
    pub const ALL: [Ungranted; 7] = [
        Ungranted::NotAsked,
        Ungranted::Cold,
        Ungranted::TooLong,
        Ungranted::Full,
        Ungranted::Never,
        Ungranted::Empty,
        Ungranted::Other,
    ];

    fn from_wire(code: u8) -> Ungranted {
        Ungranted::ALL.into_iter().find(|one| *one as u8 == code).unwrap_or(Ungranted::Other)
    }
}

/// A needle that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeedleFound {
    /// Which writing of it.
    pub which: Which,
    /// Bytes that were placed. 0 where the memory was too short for what was asked: it says how much there is.
    pub placed: u64,
    /// CRC32-C of what was placed.
    pub crc32c: u32,
    /// The rest.
    pub about: About,
    /// Where to READ it next time, or why not.
    pub grant: Result<Grant, Ungranted>,
}

/// What is answered.
pub type NeedleReply = Result<Box<NeedleFound>, Absence>;

/// Pushes a needle, or a range of it, into the memory that the request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadNeedle;

impl ReadNeedle {
    const CALL: u8 = 4;
}

fn which(writer: Writer, which: &Which) -> Writer {
    writer.u64(which.generation).u64(which.offset_bytes).u32(which.size_bytes)
}

fn read_which(reader: &mut Reader<'_>) -> Result<Which, Malformed> {
    Ok(Which { generation: reader.u64()?, offset_bytes: reader.u64()?, size_bytes: reader.u32()? })
}

/// Flags that say which of a needle's parts stand in a reply.
mod part {
    pub(super) const LAST_MODIFIED: u8 = 1;
    pub(super) const APPEND_AT: u8 = 2;
    pub(super) const TTL: u8 = 4;
    pub(super) const NAME: u8 = 8;
    pub(super) const MIME: u8 = 16;
}

fn about(writer: Writer, about: &About) -> Writer {
    let About { whole_bytes, flags, checksum, last_modified_s, append_at_ns, ttl, name, mime } = about;
    let mark = |is_there: bool, bit: u8| if is_there { bit } else { 0 };
    let parts = mark(last_modified_s.is_some(), part::LAST_MODIFIED)
        | mark(append_at_ns.is_some(), part::APPEND_AT)
        | mark(ttl.is_some(), part::TTL)
        | mark(name.is_some(), part::NAME)
        | mark(mime.is_some(), part::MIME);
    let mut writer = writer.u64(*whole_bytes).u8(flags.0).u32(*checksum).u8(parts);
    for time in [last_modified_s, append_at_ns].into_iter().flatten() {
        writer = writer.u64(*time);
    }
    if let Some(ttl) = ttl {
        writer = writer.raw(&ttl.bytes());
    }
    for text in [name, mime].into_iter().flatten() {
        writer = writer.short(text);
    }
    writer
}

fn read_about(reader: &mut Reader<'_>) -> Result<About, Malformed> {
    let (whole_bytes, flags) = (reader.u64()?, Flags(reader.u8()?));
    let (checksum, parts) = (reader.u32()?, reader.u8()?);
    let has = |bit: u8| parts & bit != 0;
    let last_modified_s = has(part::LAST_MODIFIED).then(|| reader.u64()).transpose()?;
    let append_at_ns = has(part::APPEND_AT).then(|| reader.u64()).transpose()?;
    let ttl = has(part::TTL).then(|| reader.array().map(Ttl::from_bytes)).transpose()?;
    let name = has(part::NAME).then(|| reader.short().map(Box::from)).transpose()?;
    let mime = has(part::MIME).then(|| reader.short().map(Box::from)).transpose()?;
    Ok(About { whole_bytes, flags, checksum, last_modified_s, append_at_ns, ttl, name, mime })
}

impl Call for ReadNeedle {
    const TYPE: u16 = TYPES + 4;
    type Request = NeedleCall;
    type Reply = NeedleReply;

    fn encode_request(call: &NeedleCall) -> Vec<u8> {
        let NeedleCall { volume, id, cookie, offset, len, wants_grant, only_grant, only, doubts } = *call;
        let mark = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let flags = mark(wants_grant, WANTS_GRANT)
            | mark(only_grant, ONLY_GRANT)
            | mark(only.is_some(), ONLY_WHICH)
            | mark(doubts, DOUBTS);
        let writer = Writer::new(Self::CALL).u8(flags).u32(volume).u64(id).u32(cookie).u64(offset).u64(len);
        let writer = match &only {
            Some(only) => which(writer, only),
            None => writer,
        };
        writer.sealed()
    }

    fn decode_request(front: &[u8]) -> Result<NeedleCall, Malformed> {
        let mut reader = Reader::open(front, Self::CALL)?;
        let flags = reader.u8()?;
        let (volume, id, cookie) = (reader.u32()?, reader.u64()?, reader.u32()?);
        let (offset, len) = (reader.u64()?, reader.u64()?);
        let only = (flags & ONLY_WHICH != 0).then(|| read_which(&mut reader)).transpose()?;
        reader.end()?;
        let [wants_grant, only_grant, doubts] = [WANTS_GRANT, ONLY_GRANT, DOUBTS].map(|bit| flags & bit != 0);
        Ok(NeedleCall { volume, id, cookie, offset, len, wants_grant, only_grant, only, doubts })
    }

    fn encode_reply(reply: &NeedleReply) -> Option<Vec<u8>> {
        let writer = Writer::new(Self::CALL);
        let found = match reply {
            Ok(found) => found,
            Err(absence) => return Some(writer.u8(absence.to_wire()).sealed()),
        };
        let writer = which(writer.u8(0), &found.which).u64(found.placed).u32(found.crc32c);
        let writer = match &found.grant {
            Err(why) => writer.u8(*why as u8),
            Ok(Grant { segment, at, record_bytes, version, seal, for_ms }) => {
                writer.u8(0).u32(*segment).u64(*at).u32(*record_bytes).u8(*version).u64(*seal).u32(*for_ms)
            }
        };
        let writer = about(writer, &found.about);
        (writer.len() <= FRONT_BYTES_MAX).then(|| writer.sealed())
    }

    fn decode_reply(front: &[u8]) -> Result<NeedleReply, Malformed> {
        let mut reader = Reader::open(front, Self::CALL)?;
        match reader.u8()? {
            0 => {}
            code => return Ok(Err(Absence::from_wire(code))),
        }
        let which = read_which(&mut reader)?;
        let (placed, crc32c) = (reader.u64()?, reader.u32()?);
        let grant = match reader.u8()? {
            0 => Ok(Grant {
                segment: reader.u32()?,
                at: reader.u64()?,
                record_bytes: reader.u32()?,
                version: reader.u8()?,
                seal: reader.u64()?,
                for_ms: reader.u32()?,
            }),
            code => Err(Ungranted::from_wire(code)),
        };
        let about = read_about(&mut reader)?;
        reader.end()?;
        Ok(Ok(Box::new(NeedleFound { which, placed, crc32c, about, grant })))
    }

    fn unread(_why: Malformed) -> NeedleReply {
        Err(Absence::Malformed)
    }
}

/// The key to a segment, for this connection alone. `None`: nothing in it was granted, or it cannot be registered.
pub type SegmentReply = Option<RemoteKey>;

/// Asks for the key to a segment that was granted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReachSegment;

impl ReachSegment {
    const CALL: u8 = 5;
    /// Longest key that fits a front: beyond, nothing is granted.
    pub const KEY_BYTES_MAX: usize = FRONT_BYTES_MAX - 7;
}

impl Call for ReachSegment {
    const TYPE: u16 = TYPES + 5;
    type Request = u32;
    type Reply = SegmentReply;

    fn encode_request(segment: &u32) -> Vec<u8> {
        Writer::new(Self::CALL).u32(*segment).sealed()
    }

    fn decode_request(front: &[u8]) -> Result<u32, Malformed> {
        let mut reader = Reader::open(front, Self::CALL)?;
        let segment = reader.u32()?;
        reader.end()?;
        Ok(segment)
    }

    fn encode_reply(reply: &SegmentReply) -> Option<Vec<u8>> {
        let writer = Writer::new(Self::CALL);
        let writer = match reply {
            None => writer.u8(1),
            Some(key) if key.as_bytes().len() > Self::KEY_BYTES_MAX => return None,
            Some(key) => writer.u8(0).raw(key.as_bytes()),
        };
        Some(writer.sealed())
    }

    fn decode_reply(front: &[u8]) -> Result<SegmentReply, Malformed> {
        let mut reader = Reader::open(front, Self::CALL)?;
        match reader.u8()? {
            0 => RemoteKey::from_bytes(reader.rest()).map(Some).ok_or(Malformed::Inside("a key is too long")),
            _ => Ok(None),
        }
    }

    fn unread(_why: Malformed) -> SegmentReply {
        None
    }
}
