//! Frames: what travels by SEND on a connection. Numbers are little-endian, everything has a fixed place.
//!
//! ```text
//!  0 magic 0xA7   1 version     2 kind       3 flags
//!  4 type (u16)   6 front bytes (u16)
//!  8 granted (u32): receives posted for the peer since the connection was made, wrapping
//! 12 acked (u32): low half of the newest sequence up to which the sender of this has everything
//! 16 sequence (u64): of a message; 0 for control frames
//! 24 id (u64): a request, or the sequence that a control frame is about; of a ping, credits that are given back, which then
//!    count as frames sent: only with `GIVE_BACK`, otherwise 0
//! 32 budget (u64): nanoseconds that are left until the deadline; 0 is none
//! 40 data bytes (u64)
//! 48 extent (u32) 52 life (u32) 56 offset (u64): a place in memory of this frame's sender, and its life
//! 64 sink, with the flag: extent (u32), 0 (u32), offset (u64), bytes (u64)
//! .. front
//! .. data, if it travels eagerly
//! ```
//!
//! There is no checksum: the link has one, and whoever stores data checks it end to end.

use thiserror::Error;

/// What every frame begins with.
pub const MAGIC: u8 = 0xA7;
/// The version of the layout: agreed upon in the handshake before any frame.
pub const VERSION: u8 = 1;
/// Bytes of a frame before its sink, front and data.
pub const HEADER_BYTES: usize = 64;
/// Bytes of a sink.
pub const SINK_BYTES: usize = 24;
/// Longest front, in bytes.
pub const FRONT_BYTES_MAX: usize = 1024;

/// The kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum FrameKind {
    /// A message, with its data, or with where or how much it is.
    Message = 1,
    /// The key to an extent of the sender's: its front.
    Extent = 2,
    /// Where the data of message `id` may be written.
    Grant = 3,
    /// The data of message `id` has been written.
    Landed = 4,
    /// Nothing but credits and acknowledgements.
    Credit = 5,
    /// A sign of life.
    Ping = 6,
    /// The connection ends: the front says why.
    Close = 7,
}

impl FrameKind {
    /// Every kind.
    pub const ALL: [FrameKind; 7] = [
        FrameKind::Message,
        FrameKind::Extent,
        FrameKind::Grant,
        FrameKind::Landed,
        FrameKind::Credit,
        FrameKind::Ping,
        FrameKind::Close,
    ];

    /// From its number on the wire.
    pub const fn from_number(number: u8) -> Option<FrameKind> {
        if number == 0 || number as usize > FrameKind::ALL.len() {
            return None;
        }
        Some(FrameKind::ALL[number as usize - 1])
    }
}

/// What sort of message it is: two bits of the flags, and one of its own for the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Sort {
    /// Nobody waits for anything.
    OneWay = 0,
    /// A reply is waited for.
    Request = 1,
    /// The reply to request `id`.
    Reply = 2,
    /// The sender is told when the receiver has let go of it.
    Held = 3,
    /// That: message `id` was let go of. A message itself, so that it is not lost with a connection.
    Release = 4,
}

/// Where the data of a message is: two bits of the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Carriage {
    /// Behind the front.
    Inside = 0,
    /// At the place in the header, to be read.
    Offered = 1,
    /// With the sender, who asks where to write it.
    Asked = 2,
    /// In the sink of the request already.
    InSink = 3,
}

/// Flag: a reply that says why there is none, or a release of what was never delivered; its type is a [`Failure`].
const FAILED: u8 = 1 << 4;
/// Flag: a sink follows the header.
const HAS_SINK: u8 = 1 << 5;
/// Flag: more would be sent if there were credits.
const STARVED: u8 = 1 << 6;
/// Flag: [`Sort::Release`].
const RELEASE: u8 = 1 << 7;

/// Why a request has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Failure {
    /// Its deadline had passed before work on it began.
    Expired = 1,
    /// The receiver let go of it without a reply.
    Unanswered = 2,
    /// The receiver has no memory for it now.
    NoMemory = 3,
}

impl Failure {
    /// From its number on the wire.
    pub const fn from_number(number: u16) -> Option<Failure> {
        match number {
            1 => Some(Failure::Expired),
            2 => Some(Failure::Unanswered),
            3 => Some(Failure::NoMemory),
            _ => None,
        }
    }
}

/// A place in exposed memory of a frame's sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PlaceOnWire {
    /// Which extent.
    pub extent: u32,
    /// Bytes from its start.
    pub offset: u64,
}

/// Memory for a reply's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkOnWire {
    /// Where.
    pub place: PlaceOnWire,
    /// How much, in bytes.
    pub len: u64,
}

/// Everything of a frame but its front and data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The kind of frame.
    pub kind: FrameKind,
    /// For messages.
    pub sort: Sort,
    /// For messages.
    pub carriage: Carriage,
    /// A reply that is none.
    pub failed: bool,
    /// The sender has more and no credits.
    pub starved: bool,
    /// The application's type of a message; the reason of a failed reply or of a close.
    pub r#type: u16,
    /// Bytes of the front.
    pub front_len: u16,
    /// See the layout.
    pub granted: u32,
    /// See the layout.
    pub acked: u32,
    /// See the layout.
    pub sequence: u64,
    /// See the layout.
    pub id: u64,
    /// See the layout.
    pub budget_ns: u64,
    /// See the layout.
    pub data_len: u64,
    /// See the layout.
    pub place: PlaceOnWire,
    /// See the layout.
    pub life: u32,
    /// Memory for the reply.
    pub sink: Option<SinkOnWire>,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadFrame {
    /// Shorter than it says, or than any frame.
    #[error("a frame of {len} bytes is shorter than the {need} it has to have")]
    Short {
        /// What came.
        len: u64,
        /// What it takes.
        need: u64,
    },
    /// Longer than it says.
    #[error("a frame has {0} bytes too many")]
    Long(u64),
    /// It does not begin as frames do.
    #[error("a frame begins with {0:#04x} {1:#04x}, not with {MAGIC:#04x} and version {VERSION}")]
    Magic(u8, u8),
    /// No such kind.
    #[error("a frame is of the unknown kind {0}")]
    Kind(u8),
    /// Flags nobody knows, or that contradict each other.
    #[error("a frame has flags {0:#04x}, which make no sense together")]
    Flags(u8),
    /// Bytes that mean nothing yet.
    #[error("a frame has {0:#x} in reserved bytes, which are 0 in this version")]
    Reserved(u32),
    /// Too much inline.
    #[error("a front of {0} bytes; the longest is {FRONT_BYTES_MAX}")]
    Front(u16),
}

impl Header {
    /// A frame of this kind, with nothing in it.
    pub const fn new(kind: FrameKind) -> Header {
        Header {
            kind,
            sort: Sort::OneWay,
            carriage: Carriage::Inside,
            failed: false,
            starved: false,
            r#type: 0,
            front_len: 0,
            granted: 0,
            acked: 0,
            sequence: 0,
            id: 0,
            budget_ns: 0,
            data_len: 0,
            place: PlaceOnWire { extent: 0, offset: 0 },
            life: 0,
            sink: None,
        }
    }

    /// Where the front begins.
    pub const fn front_at(&self) -> usize {
        HEADER_BYTES + if self.sink.is_some() { SINK_BYTES } else { 0 }
    }

    /// Where data inside begins.
    pub const fn data_at(&self) -> usize {
        self.front_at() + self.front_len as usize
    }

    /// Bytes of data inside.
    pub const fn inside_len(&self) -> u64 {
        match (self.kind, self.carriage) {
            (FrameKind::Message, Carriage::Inside) => self.data_len,
            _ => 0,
        }
    }

    /// Writes it: the first [`front_at`](Self::front_at) bytes are used.
    pub fn encode(&self) -> [u8; HEADER_BYTES + SINK_BYTES] {
        let mut out = [0; HEADER_BYTES + SINK_BYTES];
        let sort = if self.sort == Sort::Release { RELEASE } else { self.sort as u8 };
        let mut flags = sort | (self.carriage as u8) << 2;
        flags |= if self.failed { FAILED } else { 0 };
        flags |= if self.starved { STARVED } else { 0 };
        flags |= if self.sink.is_some() { HAS_SINK } else { 0 };
        out[..4].copy_from_slice(&[MAGIC, VERSION, self.kind as u8, flags]);
        out[4..6].copy_from_slice(&self.r#type.to_le_bytes());
        out[6..8].copy_from_slice(&self.front_len.to_le_bytes());
        out[8..12].copy_from_slice(&self.granted.to_le_bytes());
        out[12..16].copy_from_slice(&self.acked.to_le_bytes());
        out[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        out[24..32].copy_from_slice(&self.id.to_le_bytes());
        out[32..40].copy_from_slice(&self.budget_ns.to_le_bytes());
        out[40..48].copy_from_slice(&self.data_len.to_le_bytes());
        out[48..52].copy_from_slice(&self.place.extent.to_le_bytes());
        out[52..56].copy_from_slice(&self.life.to_le_bytes());
        out[56..64].copy_from_slice(&self.place.offset.to_le_bytes());
        if let Some(SinkOnWire { place, len }) = self.sink {
            out[64..68].copy_from_slice(&place.extent.to_le_bytes());
            out[72..80].copy_from_slice(&place.offset.to_le_bytes());
            out[80..88].copy_from_slice(&len.to_le_bytes());
        }
        out
    }

    /// Reads the beginning of a frame of `len` bytes: as much of it as the longest header takes, or all of it if it is shorter.
    ///
    /// # Errors
    /// [`BadFrame`]. What is answered otherwise has its lengths checked against `len`; sizes and places in it are the peer's
    /// word.
    pub fn decode(bytes: &[u8], len: u64) -> Result<Header, BadFrame> {
        let short = |need: usize| BadFrame::Short { len, need: need as u64 };
        let head: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(short(HEADER_BYTES))?;
        let [magic, version, kind, flags, ..] = *head;
        if (magic, version) != (MAGIC, VERSION) {
            return Err(BadFrame::Magic(magic, version));
        }
        let kind = FrameKind::from_number(kind).ok_or(BadFrame::Kind(kind))?;
        let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let sort = match flags & (RELEASE | 3) {
            RELEASE => Sort::Release,
            sort => {
                let known = [Sort::OneWay, Sort::Request, Sort::Reply, Sort::Held];
                *known.get(usize::from(sort)).ok_or(BadFrame::Flags(flags))?
            }
        };
        let carriage = [Carriage::Inside, Carriage::Offered, Carriage::Asked, Carriage::InSink]
            [usize::from(flags >> 2 & 3)];
        let (failed, has_sink) = (flags & FAILED != 0, flags & HAS_SINK != 0);
        let is_message = kind == FrameKind::Message;
        let sensible = (is_message || flags & !STARVED == 0)
            && (sort != Sort::Release || flags & !(RELEASE | STARVED | FAILED) == 0)
            && (!failed || matches!(sort, Sort::Reply | Sort::Release) && carriage == Carriage::Inside)
            && (!has_sink || sort == Sort::Request)
            && (carriage != Carriage::InSink || sort == Sort::Reply);
        if !sensible {
            return Err(BadFrame::Flags(flags));
        }
        let sink = if has_sink {
            let block: &[u8; SINK_BYTES] =
                bytes[HEADER_BYTES..].first_chunk().ok_or(short(HEADER_BYTES + SINK_BYTES))?;
            let number = |at: usize, count: usize| {
                block[at..at + count].iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
            };
            if number(4, 4) != 0 {
                return Err(BadFrame::Reserved(number(4, 4) as u32));
            }
            let place = PlaceOnWire { extent: number(0, 4) as u32, offset: number(8, 8) };
            Some(SinkOnWire { place, len: number(16, 8) })
        } else {
            None
        };
        let header = Header {
            kind,
            sort,
            carriage,
            failed,
            starved: flags & STARVED != 0,
            r#type: u16_at(4),
            front_len: u16_at(6),
            granted: u32_at(8),
            acked: u32_at(12),
            sequence: u64_at(16),
            id: u64_at(24),
            budget_ns: u64_at(32),
            data_len: u64_at(40),
            place: PlaceOnWire { extent: u32_at(48), offset: u64_at(56) },
            life: u32_at(52),
            sink,
        };
        if usize::from(header.front_len) > FRONT_BYTES_MAX {
            return Err(BadFrame::Front(header.front_len));
        }
        let need = (header.data_at() as u64).checked_add(header.inside_len());
        match need {
            Some(need) if need == len => Ok(header),
            Some(need) if need < len => Err(BadFrame::Long(len - need)),
            need => Err(BadFrame::Short { len, need: need.unwrap_or(u64::MAX) }),
        }
    }
}
