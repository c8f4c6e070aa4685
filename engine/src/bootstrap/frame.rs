//! Frames: how messages are cut from a stream of bytes, whatever pieces it comes in.
//!
//! A frame is `magic(4) length(4) kind(1) from(8) to(8) body(length) crc(4)`, numbers little-endian; the CRC32-C covers
//! everything before it. This layout, HELLO and REFUSE are the same in every version.

use super::garbage::Garbage;
use super::message::Kind;

/// What every frame begins with. The first byte is in no text, and the line end at its end does not survive translation.
pub const MAGIC: [u8; 4] = *b"\x89WT\n";

/// Bytes of a frame before its body.
pub const HEADER_BYTES: usize = 25;

/// Bytes of a frame behind its body.
pub const TRAILER_BYTES: usize = 4;

/// Bytes of an error message that quotes what came.
const QUOTED_BYTES: usize = 16;

/// A frame as it came, its checksum right and its inside not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which message.
    pub kind: Kind,
    /// The instance that sent it.
    pub from: u64,
    /// The instance it is for; 0 is whoever reads it.
    pub to: u64,
    /// Its inside.
    pub body: Vec<u8>,
}

impl Frame {
    /// Appends it to what is to be sent.
    ///
    /// # Panics
    /// When the body is longer than its kind may be: messages are checked before they are encoded.
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert!(self.body.len() <= self.kind.body_bytes_max(), "{} of {} bytes", self.kind, self.body.len());
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&(self.body.len() as u32).to_le_bytes());
        out.push(self.kind.number());
        out.extend_from_slice(&self.from.to_le_bytes());
        out.extend_from_slice(&self.to.to_le_bytes());
        out.extend_from_slice(&self.body);
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }
}

/// Why a stream holds no frame that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It holds no frame.
    Garbage(Garbage),
    /// A frame whose turn it is not. Its body was not read.
    Unexpected(Kind),
}

impl From<Garbage> for Unusable {
    fn from(garbage: Garbage) -> Unusable {
        Unusable::Garbage(garbage)
    }
}

/// Collects one frame. Holds no more than what has come, and no more than the longest frame that is expected.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
}

impl Decoder {
    /// Bytes of memory it holds.
    pub fn held_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// Whether part of a frame has come.
    pub fn is_amid(&self) -> bool {
        !self.held.is_empty()
    }

    /// Takes bytes from the front until a frame is whole. `None`: all were taken and it is not.
    ///
    /// # Errors
    /// As soon as it can be told, and before anything is kept of a body that will not be used.
    pub fn take(
        &mut self,
        bytes: &mut &[u8],
        expected: impl Fn(Kind) -> bool,
    ) -> Result<Option<Frame>, Unusable> {
        let before = self.held.len();
        self.fill(bytes, HEADER_BYTES);
        let begun = self.held.len().min(MAGIC.len());
        if before < MAGIC.len() && self.held[..begun] != MAGIC[..begun] {
            return Err(self.not_a_frame(bytes).into());
        }
        let Some((header, _)) = self.held.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let [_, _, _, _, l0, l1, l2, l3, number, parties @ ..] = *header;
        let kind = Kind::from_number(number).ok_or(Garbage::UnknownKind(number))?;
        let len_bytes = u32::from_le_bytes([l0, l1, l2, l3]);
        if !expected(kind) {
            return Err(Unusable::Unexpected(kind));
        }
        let max_bytes = kind.body_bytes_max();
        if len_bytes as usize > max_bytes {
            return Err(Garbage::Oversize { kind, len_bytes, max_bytes: max_bytes as u32 }.into());
        }
        let whole = HEADER_BYTES + len_bytes as usize + TRAILER_BYTES;
        self.fill(bytes, whole);
        if self.held.len() < whole {
            return Ok(None);
        }
        let held = std::mem::take(&mut self.held);
        let (covered, crc) = held.split_at(whole - TRAILER_BYTES);
        if crc32c::crc32c(covered).to_le_bytes() != crc {
            return Err(Garbage::Damaged(kind).into());
        }
        let number = |at: usize| parties[at..at + 8].iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
        let body = covered[HEADER_BYTES..].to_vec();
        Ok(Some(Frame { kind, from: number(0), to: number(8), body }))
    }

    fn fill(&mut self, bytes: &mut &[u8], up_to: usize) {
        let (taken, rest) = bytes.split_at(up_to.saturating_sub(self.held.len()).min(bytes.len()));
        self.held.extend_from_slice(taken);
        *bytes = rest;
    }

    fn not_a_frame(&self, rest: &[u8]) -> Garbage {
        let first: Vec<u8> = self.held.iter().chain(rest).copied().take(QUOTED_BYTES).collect();
        let methods = ["GET ", "POST ", "HEAD ", "PUT ", "OPTIONS ", "CONNECT ", "PRI ", "HTTP/"];
        let what = match &*first {
            [0x16, 3, ..] => "a TLS handshake",
            [b'S', b'S', b'H', b'-', ..] => "an SSH banner",
            bytes if methods.iter().any(|m| bytes.starts_with(m.as_bytes())) => "an HTTP message",
            _ => "something else than a frame",
        };
        Garbage::NotAFrame { what, first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> (Frame, Vec<u8>) {
        let frame = Frame { kind: Kind::Refuse, from: 7, to: 1 << 63, body: vec![1, 2, 3] };
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        (frame, bytes)
    }

    #[test]
    fn a_frame_comes_out_whole_however_it_is_cut_and_leaves_what_follows() {
        let (frame, mut bytes) = frame();
        bytes.extend_from_slice(b"more");
        for cut in 0..bytes.len() - 4 {
            let mut decoder = Decoder::default();
            let (mut head, mut tail) = bytes.split_at(cut);
            assert_eq!(decoder.take(&mut head, |_| true), Ok(None));
            assert_eq!(decoder.take(&mut tail, |_| true), Ok(Some(frame.clone())), "cut at {cut}");
            assert_eq!((tail, decoder.is_amid()), (&b"more"[..], false));
        }
    }

    #[test]
    fn the_layout_is_the_published_one() {
        let (_, bytes) = frame();
        assert_eq!(bytes[..9], *b"\x89WT\n\x03\0\0\0\x06");
        assert_eq!(bytes[9..28], [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 1, 2, 3]);
        assert_eq!(bytes.len(), HEADER_BYTES + 3 + TRAILER_BYTES);
    }

    #[test]
    fn what_cannot_be_a_frame_is_told_by_its_first_bytes() {
        let told = [
            (
                &b"GET / HTTP/1.1\r\nHost: x\r\n"[..],
                "an HTTP message, which begins with \"GET / HTTP/1.1\\r\\n\"",
            ),
            (b"\x16\x03\x01\x02", "a TLS handshake"),
            (b"SSH-2.0-OpenSSH", "an SSH banner"),
            (b"\x89PNG", "something else"),
            (b"\0", "something else"),
        ];
        for (mut bytes, part) in told {
            match Decoder::default().take(&mut bytes, |_| true) {
                Err(Unusable::Garbage(garbage)) => assert!(garbage.to_string().contains(part), "{garbage}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_length_is_refused_before_anything_is_kept_for_it() {
        let (_, mut bytes) = frame();
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut decoder = Decoder::default();
        let taken = decoder.take(&mut &bytes[..], |_| true);
        assert!(matches!(taken, Err(Unusable::Garbage(Garbage::Oversize { len_bytes: u32::MAX, .. }))));
        assert!(decoder.held_bytes() < 64);
    }

    #[test]
    fn a_body_whose_turn_it_is_not_is_not_even_read() {
        let (_, bytes) = frame();
        let mut rest = &bytes[..];
        let taken = Decoder::default().take(&mut rest, |kind| kind == Kind::Hello);
        assert_eq!((taken, rest.len()), (Err(Unusable::Unexpected(Kind::Refuse)), 3 + TRAILER_BYTES));
    }
}
