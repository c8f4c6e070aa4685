//! Placement out of order: what a device may do that does not promise its data in order (`ibv_query_qp_data_in_order(3)`).
//!
//! The pieces of an incoming WRITE or of the answer to a READ are kept back, split at an 8-byte border and placed in any order,
//! with time in between. All of them are in place before the message is acknowledged or its work completes. When the queue pair
//! dies on the way, what was not placed never is.

use wavetank_contract::{Choices, Instant, Site};

use crate::marks::Mark;
use crate::queue::Reports;

/// How long the last pieces of a message may be kept back, in ns.
const KEPT_NS_MAX: u64 = 2_000;

/// Pieces kept back per message, at most.
const KEPT_MAX: usize = 64;

/// Where disorder comes from.
pub(crate) struct Disorder<'a> {
    pub(crate) now: Instant,
    pub(crate) choices: &'a mut dyn Choices,
}

/// The pieces of one message that arrived and are not in memory yet.
#[derive(Debug)]
pub(crate) struct Kept {
    pieces: Vec<Piece>,
    /// Everything has arrived; the rest is placed then. FAR: not yet.
    pub(crate) due: Instant,
}

#[derive(Debug)]
struct Piece {
    /// Bytes from the start of the message.
    at: u32,
    bytes: Box<[u8]>,
}

impl Default for Kept {
    fn default() -> Kept {
        Kept { pieces: Vec::new(), due: Instant::FAR }
    }
}

impl Kept {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Forgets what was kept back: the message will never be complete.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.due = Instant::FAR;
    }

    /// Takes in the bytes at `at` of a message, whose first byte lies `lead` bytes behind an 8-byte border, and has those placed
    /// whose turn it is.
    pub(crate) fn take<E>(
        &mut self,
        at: u32,
        bytes: &[u8],
        lead: u64,
        disorder: &mut Disorder<'_>,
        reports: &Reports,
        mut place: impl FnMut(u32, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let choices = &mut *disorder.choices;
        // One that was kept back may come first.
        let which = choices.choose(Site::Placement, self.pieces.len() as u64 + 1) as usize;
        if which > 0 {
            let piece = self.pieces.remove(which - 1);
            self.place(&piece, reports, &mut place)?;
        }
        let lead = lead.wrapping_add(at.into()) % 8;
        let borders = (lead + bytes.len() as u64 - 1) / 8;
        let split = match choices.choose(Site::Tear, borders + 1) {
            0 => bytes.len(),
            border => (border * 8 - lead) as usize,
        };
        let (head, tail) = bytes.split_at(split);
        let mut kept = [false; 2];
        for (half, (at, bytes)) in [(at, head), (at + split as u32, tail)].into_iter().enumerate() {
            if bytes.is_empty() {
                continue;
            }
            let piece = Piece { at, bytes: bytes.into() };
            kept[half] = self.pieces.len() < KEPT_MAX && choices.choose(Site::Placement, 2) == 1;
            if kept[half] {
                self.pieces.push(piece);
            } else {
                self.place(&piece, reports, &mut place)?;
            }
        }
        if !tail.is_empty() && kept[0] != kept[1] {
            reports.pass(Mark::Torn);
        }
        Ok(())
    }

    fn place<E>(
        &self,
        piece: &Piece,
        reports: &Reports,
        place: &mut impl FnMut(u32, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.pieces.iter().any(|earlier| earlier.at < piece.at) {
            reports.pass(Mark::PlacedOutOfOrder);
        }
        place(piece.at, &piece.bytes)
    }

    /// The message has arrived. True when its last pieces are kept back a little longer.
    pub(crate) fn linger(&mut self, disorder: &mut Disorder<'_>) -> bool {
        let kept_ns = disorder.choices.choose(Site::Placement, KEPT_NS_MAX + 1);
        if kept_ns > 0 {
            self.due = disorder.now + kept_ns;
        }
        kept_ns > 0
    }

    /// Has the rest placed.
    #[inline]
    pub(crate) fn finish<E>(&mut self, mut place: impl FnMut(u32, &[u8]) -> Result<(), E>) -> Result<(), E> {
        self.due = Instant::FAR;
        self.pieces.drain(..).try_for_each(|piece| place(piece.at, &piece.bytes))
    }
}
