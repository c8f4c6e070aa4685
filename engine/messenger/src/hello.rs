//! What two messengers tell each other when they connect, in the blob of the bootstrap's offers.
//!
//! `magic(4) min(2) max(2) policy(1) answer(1) 0(2) features(8) name(8) life(8) peer_life(8) received(8) credits(4) window(4)
//! frame_bytes(4) message_bytes_max(8) silence_ns(8)`, little-endian. The first 8 bytes are the same in every version.

use thiserror::Error;
use wavetank_engine::bootstrap::RefusalCode;

use crate::policy::Policy;

/// What every hello begins with.
const MAGIC: [u8; 4] = *b"WTMS";
/// Bytes of a hello.
pub const HELLO_BYTES: usize = 80;

/// Shortest silence that may mean the end: nobody has to give signs of life more often than three times in it.
pub const SILENCE_NS_MIN: u64 = 1_000_000;

/// The versions of the messenger's protocol that this build speaks, both ends included.
pub const VERSIONS: (u16, u16) = (1, 1);

/// "Both of us dialled, and my call stands."
pub(crate) const RACED: RefusalCode = RefusalCode::Other(0x5741);
/// "There is no room for you now."
pub(crate) const BUSY: RefusalCode = RefusalCode::Other(0x5742);

/// Features a messenger may have, one bit each; a connection uses those that both have.
pub mod feature {
    /// Data may be fetched by READ.
    pub const READ: u64 = 1;
    /// Data may be put by WRITE.
    pub const WRITE: u64 = 1 << 1;
    /// Replies may be put into memory that their request gave.
    pub const SINK: u64 = 1 << 2;
    /// Signs of life may give credits back: see [`frame`](crate::frame). For those who share receives.
    pub const GIVE_BACK: u64 = 1 << 3;
    /// What this build has.
    pub const ALL: u64 = READ | WRITE | SINK | GIVE_BACK;
}

/// One side's half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Versions it speaks.
    pub versions: (u16, u16),
    /// What it promises.
    pub policy: Policy,
    /// What a listener makes of the dialer's hello; [`Fate::Open`] from a dialer.
    pub fate: Fate,
    /// [`feature`] bits.
    pub features: u64,
    /// Who it is, in the application's numbering.
    pub name: u64,
    /// This life of the connection on its side. Never 0.
    pub life: u64,
    /// The peer's, as far as it knows; 0 is not at all.
    pub peer_life: u64,
    /// The newest sequence up to which it has everything, in these two lives.
    pub received: u64,
    /// Receives it posts for the peer before it says that it is ready.
    pub credits: u32,
    /// The most it may ever have posted for the peer.
    pub window: u32,
    /// Bytes of each of these receives.
    pub frame_bytes: u32,
    /// Longest data of a message it takes.
    pub message_bytes_max: u64,
    /// A peer that has said nothing for so long is gone, as it sees it: at least [`SILENCE_NS_MIN`].
    pub silence_ns: u64,
}

/// What a listener makes of a dialer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fate {
    /// Both begin anew.
    Open = 0,
    /// Both go on where they were.
    Resume = 1,
    /// The dialer meant to go on and cannot: the listener knows nothing of it any more.
    Forgotten = 2,
}

/// Why a hello does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadHello {
    /// No messenger.
    #[error("the peer is no messenger: its blob has {0} bytes and does not begin with WTMS")]
    Magic(usize),
    /// No common version.
    #[error(
        "this side speaks messenger versions {} to {} and the peer {} to {}; update the older one",
        ours.0, ours.1, theirs.0, theirs.1
    )]
    Version {
        /// Ours.
        ours: (u16, u16),
        /// The peer's.
        theirs: (u16, u16),
    },
    /// It contradicts itself.
    #[error("the peer's hello makes no sense: {0}")]
    Malformed(&'static str),
    /// Policies that do not go together.
    #[error("this side is a {ours} and the peer a {theirs}; see the table of policies for what fits")]
    Policy {
        /// Ours.
        ours: Policy,
        /// The peer's.
        theirs: Policy,
    },
}

impl Hello {
    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HELLO_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.versions.0.to_le_bytes());
        out.extend_from_slice(&self.versions.1.to_le_bytes());
        out.extend_from_slice(&[self.policy.number(), self.fate as u8, 0, 0]);
        for number in [self.features, self.name, self.life, self.peer_life, self.received] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.credits, self.window, self.frame_bytes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.message_bytes_max.to_le_bytes());
        out.extend_from_slice(&self.silence_ns.to_le_bytes());
        out
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`BadHello`]; a version is looked at before anything that another version may have elsewhere.
    pub fn decode(bytes: &[u8]) -> Result<Hello, BadHello> {
        let number = |at: usize, count: usize| {
            let taken = bytes.get(at..at + count)?;
            Some(taken.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)))
        };
        let (Some(min), Some(max), true) = (number(4, 2), number(6, 2), bytes.starts_with(&MAGIC)) else {
            return Err(BadHello::Magic(bytes.len()));
        };
        let theirs = (min as u16, max as u16);
        if theirs.0 > theirs.1 || theirs.0 > VERSIONS.1 || theirs.1 < VERSIONS.0 {
            return Err(BadHello::Version { ours: VERSIONS, theirs });
        }
        if bytes.len() != HELLO_BYTES {
            return Err(BadHello::Malformed("it has another length"));
        }
        let at = |at, count| number(at, count).unwrap_or(0);
        if bytes[10..12] != [0, 0] {
            return Err(BadHello::Malformed("a reserved byte is not 0"));
        }
        let hello = Hello {
            versions: theirs,
            policy: Policy::from_number(bytes[8]).ok_or(BadHello::Malformed("its policy is unknown"))?,
            fate: match bytes[9] {
                0 => Fate::Open,
                1 => Fate::Resume,
                2 => Fate::Forgotten,
                _ => return Err(BadHello::Malformed("its answer is unknown")),
            },
            features: at(12, 8),
            name: at(20, 8),
            life: at(28, 8),
            peer_life: at(36, 8),
            received: at(44, 8),
            credits: at(52, 4) as u32,
            window: at(56, 4) as u32,
            frame_bytes: at(60, 4) as u32,
            message_bytes_max: at(64, 8),
            silence_ns: at(72, 8),
        };
        if hello.life == 0 {
            return Err(BadHello::Malformed("its life is 0"));
        }
        if hello.credits < crate::credit::CREDITS_MIN || hello.credits > hello.window {
            return Err(BadHello::Malformed("its credits are too few, or more than its window"));
        }
        if hello.frame_bytes < crate::config::FRAME_BYTES_MIN {
            return Err(BadHello::Malformed("its receive buffers are too short for any frame"));
        }
        if hello.silence_ns < SILENCE_NS_MIN {
            return Err(BadHello::Malformed("it waits for signs of life for less than a millisecond"));
        }
        Ok(hello)
    }
}
