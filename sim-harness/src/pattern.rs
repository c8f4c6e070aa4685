//! Pattern data: every byte says whose it is.
//!
//! The word at logical offset `8 i` of generation `g` of region `r` is `base(r, g) + i * STEP`, little-endian. `base`
//! spreads regions and generations over 64 bits; `STEP` is odd, so a word found in the wrong place can be traced back:
//! for every region and generation, `(word - base) / STEP` either is an index inside the region or is not. Stale,
//! shifted, torn and foreign bytes are told apart that way. Writing and checking are an addition per word.

use std::cell::Cell;

use pulp::{Arch, NullaryFnOnce};
use wavetank_contract::Region;
use wavetank_contract::chance::mix64;
use wavetank_mock::SCRIBBLE;

/// Odd, and without structure that small shifts could hide in.
const STEP: u64 = 0x9e6c_63d0_876a_46ad;

/// Its inverse modulo 2^64.
const STEP_INVERSE: u64 = {
    // Newton's iteration doubles the correct bits: 3 become 96.
    let mut inverse = STEP;
    let mut round = 0;
    while round < 5 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(STEP.wrapping_mul(inverse)));
        round += 1;
    }
    inverse
};

/// What a destination holds before anything arrives in it.
pub const POISON: u64 = 0x5a5a_0bad_da7a_5a5a;

/// Bytes between two poisoned words: the smallest MTU. Every packet of a message begins at a multiple of it, so every
/// packet that does not arrive leaves poison behind.
const POISON_EVERY: usize = 256;

/// Whose data it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// The region, or the stream of messages.
    pub region: u32,
    /// How often the writer has written: 0 is the owner's first data.
    pub generation: u32,
}

impl Tag {
    #[inline]
    fn base(self) -> u64 {
        mix64((u64::from(self.region) << 32 | u64::from(self.generation)) ^ 0x7461_6e6b_7761_7665)
    }

    /// The word at logical offset `8 * index`.
    #[inline]
    fn word(self, index: u64) -> u64 {
        self.base().wrapping_add(index.wrapping_mul(STEP))
    }

    /// The byte at a logical offset.
    #[inline]
    pub fn byte(self, offset: u64) -> u8 {
        self.word(offset / 8).to_le_bytes()[(offset % 8) as usize]
    }

    /// The eight bytes at a logical offset, as a little-endian word.
    #[inline]
    fn word_at(self, offset: u64) -> u64 {
        let (index, shift) = (offset / 8, 8 * (offset % 8) as u32);
        let low = self.word(index);
        if shift == 0 { low } else { low >> shift | self.word(index + 1) << (64 - shift) }
    }

    /// The offset at which this tag has this word, if it is inside the first `len` bytes.
    fn offset_of(self, word: u64, len: u64) -> Option<u64> {
        let index = word.wrapping_sub(self.base()).wrapping_mul(STEP_INVERSE);
        index.checked_mul(8).filter(|offset| *offset < len)
    }
}

/// Writes `len` bytes of a tag's pattern, from logical `offset` on, to memory at `at`.
pub fn fill(memory: &Region, at: u64, len: usize, tag: Tag, offset: u64) {
    let (head, words, tail) = memory.words(at, len);
    for (cell, offset) in head.iter().zip(offset..) {
        cell.set(tag.byte(offset));
    }
    let offset = offset + head.len() as u64;
    if offset.is_multiple_of(8) {
        let mut word = tag.word(offset / 8);
        for cell in words {
            cell.set(word.to_le());
            word = word.wrapping_add(STEP);
        }
    } else {
        for (cell, offset) in words.iter().zip((offset..).step_by(8)) {
            cell.set(tag.word_at(offset).to_le());
        }
    }
    let offset = offset + 8 * words.len() as u64;
    for (cell, offset) in tail.iter().zip(offset..) {
        cell.set(tag.byte(offset));
    }
}

/// Whether memory holds a tag's pattern. Every byte is looked at.
#[inline]
pub fn holds(memory: &Region, at: u64, len: usize, tag: Tag, offset: u64) -> bool {
    let (head, words, tail) = memory.words(at, len);
    let mut wrong = 0;
    for (cell, offset) in head.iter().zip(offset..) {
        wrong |= cell.get() ^ tag.byte(offset);
    }
    let offset = offset + head.len() as u64;
    let tail_offset = offset + 8 * words.len() as u64;
    for (cell, offset) in tail.iter().zip(tail_offset..) {
        wrong |= cell.get() ^ tag.byte(offset);
    }
    // The widest vectors this machine has; the answer is the same with any.
    wrong == 0 && Arch::new().dispatch(HoldsWords { words, tag, offset })
}

struct HoldsWords<'a> {
    words: &'a [Cell<u64>],
    tag: Tag,
    offset: u64,
}

impl NullaryFnOnce for HoldsWords<'_> {
    type Output = bool;

    #[inline(always)]
    fn call(self) -> bool {
        let HoldsWords { words, tag, offset } = self;
        let mut wrong = 0;
        if offset.is_multiple_of(8) {
            let mut word = tag.word(offset / 8);
            for cell in words {
                wrong |= u64::from_le(cell.get()) ^ word;
                word = word.wrapping_add(STEP);
            }
        } else {
            for (cell, offset) in words.iter().zip((offset..).step_by(8)) {
                wrong |= u64::from_le(cell.get()) ^ tag.word_at(offset);
            }
        }
        wrong == 0
    }
}

/// The first byte, counted from `at`, that none of the generations explains.
pub fn first_foreign(
    memory: &Region,
    at: u64,
    len: usize,
    region: u32,
    generations: &[u32],
    offset: u64,
) -> Option<usize> {
    if generations.iter().any(|&generation| holds(memory, at, len, Tag { region, generation }, offset)) {
        return None;
    }
    // Torn between generations, or wrong: word by word, and where no generation has the word, byte by byte.
    let explains = |byte: u8, offset: u64| {
        generations.iter().any(|&generation| Tag { region, generation }.byte(offset) == byte)
    };
    let (head, words, _) = memory.words(at, len);
    let body = head.len()..head.len() + 8 * words.len();
    let mut next = 0;
    while next < len {
        let here = offset + next as u64;
        if body.contains(&next) {
            let word = u64::from_le(words[(next - body.start) / 8].get());
            if generations.iter().any(|&generation| Tag { region, generation }.word_at(here) == word) {
                next += 8;
                continue;
            }
        }
        let cells = memory.cells(at + next as u64, if body.contains(&next) { 8 } else { 1 });
        let wrong = cells.iter().zip(here..).position(|(cell, offset)| !explains(cell.get(), offset));
        if let Some(wrong) = wrong {
            return Some(next + wrong);
        }
        next += cells.len();
    }
    None
}

/// The first byte, counted from `at`, of a word that is not wholly of one of the generations: words of the pattern are never
/// torn. `offset` is that of `at` in the region.
pub fn first_torn(
    memory: &Region,
    at: u64,
    len: usize,
    region: u32,
    generations: &[u32],
    offset: u64,
) -> Option<usize> {
    let tag = |generation| Tag { region, generation };
    if generations.iter().any(|&generation| holds(memory, at, len, tag(generation), offset)) {
        return None;
    }
    let mut next = 0;
    while next < len {
        let here = offset + next as u64;
        let word = ((8 - here % 8) as usize).min(len - next);
        let mut found = [0; 8];
        memory.read(at + next as u64, &mut found[..word]);
        let whole = |&generation: &u32| tag(generation).word_at(here).to_le_bytes()[..word] == found[..word];
        if !generations.iter().any(whole) {
            return Some(next);
        }
        next += word;
    }
    None
}

/// Poisons the destination of one message, so that bytes that never arrive are seen.
#[inline]
pub fn poison(memory: &Region, at: u64, len: usize) {
    poison_every(memory, at, len, POISON_EVERY);
}

/// Poisons a destination that is filled by messages of `chunk_bytes` each.
#[inline]
pub fn poison_chunks(memory: &Region, at: u64, len: usize, chunk_bytes: u32) {
    // Where chunks do not begin at multiples of the smallest MTU, packets may begin and end anywhere.
    let regular = chunk_bytes.is_multiple_of(POISON_EVERY as u32);
    poison_every(memory, at, len, if regular { POISON_EVERY } else { 8 });
}

#[inline]
fn poison_every(memory: &Region, at: u64, len: usize, every: usize) {
    let (head, words, tail) = memory.words(at, len);
    for cell in words.iter().step_by(every / 8) {
        cell.set(POISON);
    }
    for cell in head.iter().chain(tail) {
        cell.set(POISON as u8);
    }
}

/// Bytes digested at a time.
const DIGEST_PIECE_BYTES: usize = 64 << 10;

/// The first bytes of memory as one number: two processes that hold the same have the same. Tells accidents apart, not forgeries.
pub fn digest(memory: &Region, len: u64) -> u64 {
    let mut piece = [0; DIGEST_PIECE_BYTES];
    let mut sum = len;
    for at in (0..len).step_by(DIGEST_PIECE_BYTES) {
        let piece = &mut piece[..DIGEST_PIECE_BYTES.min((len - at) as usize)];
        memory.read(at, piece);
        sum = mix64(sum.wrapping_mul(STEP) ^ wavetank_mock::digest(piece));
    }
    sum
}

/// Who may have written: what a wrong byte is compared with.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// Its name, for people.
    pub name: String,
    /// The number in its tags.
    pub region: u32,
    /// Bytes of one generation.
    pub len: u64,
    /// Generations written so far, 0 included.
    pub generations: u32,
}

/// Says where wrong bytes come from. `at` is where in memory the first wrong byte is, `end` where the range ends.
pub fn origin(memory: &Region, at: u64, end: u64, suspects: &[Suspect]) -> String {
    let first = memory.cells(at, 1)[0].get();
    // The pattern repeats its place every 8 bytes: one of 8 neighbouring starts is a whole word of it.
    for start in at..at.saturating_add(8) {
        if start + 8 > end {
            break;
        }
        let mut bytes = [0; 8];
        memory.read(start, &mut bytes);
        let word = u64::from_le_bytes(bytes);
        if word == POISON {
            return "poison: nothing arrived here".to_owned();
        }
        if word == SCRIBBLE {
            return "a retired region".to_owned();
        }
        for suspect in suspects {
            for generation in 0..suspect.generations {
                let tag = Tag { region: suspect.region, generation };
                if let Some(offset) =
                    tag.offset_of(word, suspect.len)
                    // What is whole again after the wrong byte does not explain the wrong byte.
                    && let Some(offset) = offset.checked_sub(start - at)
                    && tag.byte(offset) == first
                {
                    return format!("{} generation {generation}, offset {offset}", suspect.name);
                }
            }
        }
    }
    let mut bytes = [0; 8];
    let len = (end - at).min(8) as usize;
    memory.read(at, &mut bytes[..len]);
    format!("nobody's pattern: {:02x?}", &bytes[..len])
}

#[cfg(test)]
mod tests {
    use super::*;
    use wavetank_contract::RegionSpec;

    const TAG: Tag = Tag { region: 3, generation: 7 };

    fn memory() -> Region {
        Region::allocate(&RegionSpec::new(8192)).expect("small")
    }

    #[test]
    fn what_was_filled_holds_at_every_alignment() {
        let m = memory();
        for at in 0..9 {
            for offset in [0, 1, 5, 8, 1000, 1 << 40] {
                for len in [0, 1, 7, 8, 9, 100, 4096] {
                    fill(&m, at, len, TAG, offset);
                    assert!(holds(&m, at, len, TAG, offset));
                    let bytes: Vec<u8> = m.cells(at, len).iter().map(|c| c.get()).collect();
                    let expected: Vec<u8> = (offset..).take(len).map(|o| TAG.byte(o)).collect();
                    assert_eq!(bytes, expected, "at {at} offset {offset} len {len}");
                }
            }
        }
    }

    #[test]
    fn any_wrong_byte_is_seen() {
        let m = memory();
        for (at, offset) in [(0, 0), (3, 3), (3, 64)] {
            fill(&m, at, 200, TAG, offset);
            for i in 0..200 {
                let cell = &m.cells(at + i, 1)[0];
                cell.set(cell.get() ^ 1);
                assert!(!holds(&m, at, 200, TAG, offset), "byte {i}");
                assert_eq!(first_foreign(&m, at, 200, 3, &[7], offset), Some(i as usize));
                cell.set(cell.get() ^ 1);
            }
            assert!(holds(&m, at, 200, TAG, offset));
        }
    }

    #[test]
    fn stale_shifted_torn_and_foreign_bytes_name_their_origin() {
        let suspects = [
            Suspect { name: "pages".into(), region: 3, len: 8192, generations: 9 },
            Suspect { name: "log".into(), region: 4, len: 4096, generations: 1 },
        ];
        let m = memory();
        let found = |first| origin(&m, first, 1024, &suspects);
        fill(&m, 0, 1024, Tag { region: 3, generation: 6 }, 512);
        assert_eq!(first_foreign(&m, 0, 1024, 3, &[7], 512), Some(0));
        assert_eq!(found(0), "pages generation 6, offset 512", "stale");
        fill(&m, 0, 1024, TAG, 512 + 3);
        assert_eq!(
            found(0),
            "pages generation 7, offset 515",
            "shifted by 3: told by the next whole word, which is 5 bytes on"
        );
        fill(&m, 0, 512, TAG, 0);
        fill(&m, 512, 512, Tag { region: 3, generation: 2 }, 512);
        assert_eq!(first_foreign(&m, 0, 1024, 3, &[7], 0), Some(512));
        assert_eq!(found(512), "pages generation 2, offset 512", "torn");
        fill(&m, 0, 1024, Tag { region: 4, generation: 0 }, 64);
        assert_eq!(found(0), "log generation 0, offset 64", "foreign");
        poison(&m, 0, 1024);
        assert_eq!(found(0), "poison: nothing arrived here");
        m.word(0).set(SCRIBBLE.to_le());
        assert_eq!(found(0), "a retired region");
        m.write(0, &[1; 1024]);
        assert!(found(0).starts_with("nobody's pattern"));
    }

    #[test]
    fn a_digest_sees_every_byte_and_its_place() {
        let m = Region::allocate(&RegionSpec::new(200 << 10)).expect("small");
        fill(&m, 0, 200 << 10, TAG, 0);
        let (whole, less) = (digest(&m, 200 << 10), digest(&m, 199 << 10));
        assert_ne!(whole, less);
        for at in [0, 65_535, 65_536, (200 << 10) - 1] {
            let cell = &m.cells(at, 1)[0];
            cell.set(cell.get() ^ 1);
            assert_ne!(digest(&m, 200 << 10), whole, "byte {at}");
            cell.set(cell.get() ^ 1);
        }
        assert_eq!(digest(&m, 200 << 10), whole);
        let (mut first, mut second) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        m.read(0, &mut first);
        m.read(64 << 10, &mut second);
        m.write(0, &second);
        m.write(64 << 10, &first);
        assert_ne!(digest(&m, 200 << 10), whole, "pieces changed places");
    }

    #[test]
    fn a_word_of_two_generations_is_torn_and_a_range_of_two_is_not() {
        let m = memory();
        fill(&m, 0, 96, Tag { region: 1, generation: 4 }, 0);
        fill(&m, 96, 104, Tag { region: 1, generation: 5 }, 96);
        assert_eq!(first_torn(&m, 0, 200, 1, &[4, 5], 0), None);
        assert_eq!(first_torn(&m, 0, 200, 1, &[4], 0), Some(96));
        assert_eq!(first_torn(&m, 3, 190, 1, &[4, 5], 3), None, "at any alignment");
        fill(&m, 92, 4, Tag { region: 1, generation: 5 }, 92);
        assert_eq!(first_foreign(&m, 0, 200, 1, &[4, 5], 0), None, "byte by byte it is one of either");
        assert_eq!(first_torn(&m, 0, 200, 1, &[4, 5], 0), Some(88));
    }

    #[test]
    fn two_generations_may_share_a_range_and_a_third_may_not() {
        let m = memory();
        fill(&m, 0, 100, Tag { region: 1, generation: 4 }, 0);
        fill(&m, 100, 100, Tag { region: 1, generation: 5 }, 100);
        assert_eq!(first_foreign(&m, 0, 200, 1, &[4, 5], 0), None);
        assert!(first_foreign(&m, 0, 200, 1, &[4, 6], 0).is_some());
    }
}
