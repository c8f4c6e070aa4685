//! Who may read: a key that both engines have, and proofs of having it that say nothing about it.
//!
//! Each side proves by the HMAC-SHA256 of a text that nobody has proved before: both nonces, and the names of both ends of this
//! one connection. So a proof that was overheard is good for nothing, on this connection or any other, and the proof of one side
//! is never that of the other. What this does not do: it hides nothing that travels, and whoever can change packets between the
//! two can change them after the proofs as well.

use core::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use thiserror::Error;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 32;

/// Bytes of a proof.
pub const PROOF_BYTES: usize = 32;

/// Shortest key: 16 bytes, what nobody guesses.
pub const KEY_BYTES_MIN: usize = 16;

/// Longest key.
pub const KEY_BYTES_MAX: usize = 1024;

/// What a challenge is made of: bytes that nobody foresees, and that never come twice.
pub type Nonce = [u8; NONCE_BYTES];

/// Where nonces come from: the system's entropy in a daemon, a seed in a simulation.
pub type Nonces = Box<dyn FnMut() -> Nonce>;

/// A key that engines share. Its bytes are in no output.
#[derive(Clone)]
pub struct SharedKey(Box<[u8]>);

/// A key that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a shared key of {found} bytes cannot be: it has {KEY_BYTES_MIN} to {KEY_BYTES_MAX}, better random ones"
)]
pub struct BadKey {
    /// Bytes it has.
    pub found: usize,
}

impl SharedKey {
    /// A key of these bytes.
    ///
    /// # Errors
    /// Shorter than [`KEY_BYTES_MIN`], or longer than [`KEY_BYTES_MAX`].
    pub fn new(bytes: &[u8]) -> Result<SharedKey, BadKey> {
        match bytes.len() {
            KEY_BYTES_MIN..=KEY_BYTES_MAX => Ok(SharedKey(bytes.into())),
            found => Err(BadKey { found }),
        }
    }
}

/// In a time that says nothing about where they differ.
impl PartialEq for SharedKey {
    fn eq(&self, other: &SharedKey) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SharedKey {}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

/// Which of the two proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Reader,
    Exporter,
}

/// What is proved: everything that both sides know of this one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transcript {
    /// Protocol versions that the reader offered, and the one chosen: nobody in between talks two engines down.
    pub(crate) versions: [u8; 3],
    pub(crate) reader_nonce: Nonce,
    pub(crate) exporter_nonce: Nonce,
    /// Names of the ends of the connection.
    pub(crate) reader_end: u64,
    pub(crate) exporter_end: u64,
}

impl Transcript {
    /// The proof of one side.
    pub(crate) fn proof(&self, key: &SharedKey, side: Side) -> [u8; PROOF_BYTES] {
        // Any length of key will do for an HMAC, so that this is never refused.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key.0) else {
            unreachable!("an HMAC takes keys of any length")
        };
        mac.update(match side {
            Side::Reader => b"wavetank exchange: reader\0",
            Side::Exporter => b"wavetank exchange: exports",
        });
        mac.update(&self.versions);
        mac.update(&self.reader_nonce);
        mac.update(&self.exporter_nonce);
        mac.update(&self.reader_end.to_le_bytes());
        mac.update(&self.exporter_end.to_le_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Whether this is the proof of that side, in a time that says nothing about where it differs.
    pub(crate) fn is_proved(&self, key: &SharedKey, side: Side, proof: &[u8; PROOF_BYTES]) -> bool {
        self.proof(key, side).ct_eq(proof).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSCRIPT: Transcript = Transcript {
        versions: [1, 1, 1],
        reader_nonce: [1; NONCE_BYTES],
        exporter_nonce: [2; NONCE_BYTES],
        reader_end: 3,
        exporter_end: 4,
    };

    fn key(byte: u8) -> SharedKey {
        SharedKey::new(&[byte; KEY_BYTES_MIN]).expect("long enough")
    }

    #[test]
    fn a_proof_is_good_for_its_side_its_key_and_its_connection_alone() {
        let proof = TRANSCRIPT.proof(&key(7), Side::Reader);
        assert!(TRANSCRIPT.is_proved(&key(7), Side::Reader, &proof));
        assert!(!TRANSCRIPT.is_proved(&key(7), Side::Exporter, &proof), "reflected");
        assert!(!TRANSCRIPT.is_proved(&key(8), Side::Reader, &proof), "another key");
        let others = [
            Transcript { versions: [1, 2, 1], ..TRANSCRIPT },
            Transcript { reader_nonce: [9; NONCE_BYTES], ..TRANSCRIPT },
            Transcript { exporter_nonce: [9; NONCE_BYTES], ..TRANSCRIPT },
            Transcript { reader_end: 9, ..TRANSCRIPT },
            Transcript { exporter_end: 9, ..TRANSCRIPT },
        ];
        for other in others {
            assert!(!other.is_proved(&key(7), Side::Reader, &proof), "replayed: {other:?}");
        }
        for bit in 0..PROOF_BYTES * 8 {
            let mut forged = proof;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!TRANSCRIPT.is_proved(&key(7), Side::Reader, &forged), "bit {bit}");
        }
    }

    #[test]
    fn keys_have_a_length_and_show_nothing() {
        assert_eq!(SharedKey::new(&[1; 15]).expect_err("short"), BadKey { found: 15 });
        assert!(SharedKey::new(&[1; KEY_BYTES_MAX + 1]).is_err());
        assert_eq!(format!("{:?}", key(7)), "SharedKey(..)");
        assert!(key(7) == key(7) && key(7) != key(8));
    }
}
