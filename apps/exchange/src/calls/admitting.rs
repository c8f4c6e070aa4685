//! Calls of a connection's beginning: who is there, and which volumes are.

use wavetank_rpc::{Call, Malformed};

use super::TYPES;
use crate::admission::{NONCE_BYTES, Nonce, PROOF_BYTES};
use crate::front::{FRONT_BYTES_MAX, Reader, Writer};

/// The oldest version of the protocol spoken here.
pub const VERSION_MIN: u8 = 1;
/// The newest.
pub const VERSION_MAX: u8 = 1;

/// What a reader says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest version of the protocol that it speaks.
    pub version_min: u8,
    /// The newest.
    pub version_max: u8,
    /// Whether it has a key, so that the exporter has to prove that it has the same.
    pub has_key: bool,
    /// Its nonce.
    pub nonce: Nonce,
}

/// What the exporter says to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChallengeReply {
    /// The version of the protocol to speak. 0: they have none in common.
    pub version: u8,
    /// Whether a proof is wanted. If not, every call is open to this connection from now on.
    pub wants_proof: bool,
    /// Bytes that one call may push: longer ranges are asked for in pieces.
    pub push_bytes_max: u64,
    /// The exporter's nonce.
    pub nonce: Nonce,
}

/// Begins a connection: versions, and a challenge each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge;

impl Challenge {
    const CALL: u8 = 1;
}

impl Call for Challenge {
    const TYPE: u16 = TYPES + 1;
    type Request = Hello;
    /// `None`: it cannot be read.
    type Reply = Option<ChallengeReply>;

    fn encode_request(hello: &Hello) -> Vec<u8> {
        let Hello { version_min, version_max, has_key, nonce } = hello;
        Writer::new(Self::CALL).u8(*version_min).u8(*version_max).u8((*has_key).into()).raw(nonce).sealed()
    }

    fn decode_request(front: &[u8]) -> Result<Hello, Malformed> {
        let mut reader = Reader::open(front, Self::CALL)?;
        let (version_min, version_max) = (reader.u8()?, reader.u8()?);
        let has_key = reader.u8()? != 0;
        let nonce = reader.array::<NONCE_BYTES>()?;
        reader.end()?;
        Ok(Hello { version_min, version_max, has_key, nonce })
    }

    fn encode_reply(reply: &Option<ChallengeReply>) -> Option<Vec<u8>> {
        let ChallengeReply { version, wants_proof, push_bytes_max, nonce } = reply.as_ref()?;
        let writer = Writer::new(Self::CALL).u8(*version).u8((*wants_proof).into());
        Some(writer.u64(*push_bytes_max).raw(nonce).sealed())
    }

    fn decode_reply(front: &[u8]) -> Result<Option<ChallengeReply>, Malformed> {
        let mut reader = Reader::open(front, Self::CALL)?;
        let (version, wants_proof) = (reader.u8()?, reader.u8()? != 0);
        let push_bytes_max = reader.u64()?;
        let nonce = reader.array::<NONCE_BYTES>()?;
        reader.end()?;
        Ok(Some(ChallengeReply { version, wants_proof, push_bytes_max, nonce }))
    }

    fn unread(_why: Malformed) -> Option<ChallengeReply> {
        None
    }
}

/// Proves that the reader has the key; the reply proves that the exporter has it. A proof that is none has no reply, like a call
/// that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prove;

impl Prove {
    const CALL: u8 = 2;
}

impl Call for Prove {
    const TYPE: u16 = TYPES + 2;
    type Request = [u8; PROOF_BYTES];
    /// `None`: refused, and nothing is said.
    type Reply = Option<[u8; PROOF_BYTES]>;

    fn encode_request(proof: &[u8; PROOF_BYTES]) -> Vec<u8> {
        Writer::new(Self::CALL).raw(proof).sealed()
    }

    fn decode_request(front: &[u8]) -> Result<[u8; PROOF_BYTES], Malformed> {
        let mut reader = Reader::open(front, Self::CALL)?;
        let proof = reader.array()?;
        reader.end()?;
        Ok(proof)
    }

    fn encode_reply(proof: &Option<[u8; PROOF_BYTES]>) -> Option<Vec<u8>> {
        proof.as_ref().map(Self::encode_request)
    }

    fn decode_reply(front: &[u8]) -> Result<Option<[u8; PROOF_BYTES]>, Malformed> {
        Self::decode_request(front).map(Some)
    }

    fn unread(_why: Malformed) -> Option<[u8; PROOF_BYTES]> {
        None
    }
}

/// A volume, as an exporter has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its number.
    pub volume: u32,
    /// Version of its records.
    pub version: u8,
    /// How often it was vacuumed.
    pub revision: u16,
    /// Counts what changed in it since the exporter began: needles written or deleted, the volume replaced.
    pub change: u64,
}

const STANDING_BYTES: usize = 4 + 1 + 2 + 8;
/// What else is in a page: version, call, whether there is more, count, sum.
const PAGE_BYTES: usize = 2 + 1 + 2 + 4;
/// Volumes on a page.
pub(crate) const PAGE_VOLUMES_MAX: usize = (FRONT_BYTES_MAX - PAGE_BYTES) / STANDING_BYTES;

/// Volumes in order of their numbers, and whether there are more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CataloguePage {
    /// At most as many as a front holds.
    pub volumes: Vec<Standing>,
    /// Ask again from the last one's number plus 1.
    pub more: bool,
}

/// Which volumes are exported, from a number on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Catalogue;

impl Catalogue {
    const CALL: u8 = 3;
}

impl Call for Catalogue {
    const TYPE: u16 = TYPES + 3;
    type Request = u32;
    type Reply = CataloguePage;

    fn encode_request(from: &u32) -> Vec<u8> {
        Writer::new(Self::CALL).u32(*from).sealed()
    }

    fn decode_request(front: &[u8]) -> Result<u32, Malformed> {
        let mut reader = Reader::open(front, Self::CALL)?;
        let from = reader.u32()?;
        reader.end()?;
        Ok(from)
    }

    fn encode_reply(page: &CataloguePage) -> Option<Vec<u8>> {
        let count = u16::try_from(page.volumes.len()).ok().filter(|n| usize::from(*n) <= PAGE_VOLUMES_MAX)?;
        let start = Writer::new(Self::CALL).u8(page.more.into()).u16(count);
        let all = page.volumes.iter().fold(start, |writer, standing| {
            let Standing { volume, version, revision, change } = *standing;
            writer.u32(volume).u8(version).u16(revision).u64(change)
        });
        Some(all.sealed())
    }

    fn decode_reply(front: &[u8]) -> Result<CataloguePage, Malformed> {
        let mut reader = Reader::open(front, Self::CALL)?;
        let more = reader.u8()? != 0;
        let count = reader.u16()?;
        let mut volumes = Vec::new();
        // A count that lies runs out of front.
        for _ in 0..count {
            let (volume, version) = (reader.u32()?, reader.u8()?);
            let (revision, change) = (reader.u16()?, reader.u64()?);
            volumes.push(Standing { volume, version, revision, change });
        }
        reader.end()?;
        if !volumes.is_sorted_by_key(|standing| standing.volume) || (more && volumes.is_empty()) {
            return Err(Malformed::Inside("volumes are out of order"));
        }
        Ok(CataloguePage { volumes, more })
    }

    fn unread(_why: Malformed) -> CataloguePage {
        CataloguePage::default()
    }
}
