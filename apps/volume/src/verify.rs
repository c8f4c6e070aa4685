//! The checksum over data that comes in blocks, and a bounded memory of what it was found right for.

use crate::checksum::{crc32c_masked, form_of};
use crate::source::Source;
use crate::{Located, NeedleError, NeedleId};

/// Sums the stored data of one needle as it passes.
#[derive(Debug, Clone)]
pub struct Verifier {
    id: NeedleId,
    token: Verified,
    stored: u32,
    computed: u32,
    seen_bytes: u64,
    data_len_bytes: u64,
    is_empty: bool,
}

/// The word that a needle's data was verified whole. Only a [`Verifier`] gives it.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The open file it was read from: a word on another one, even of the same name, is worth nothing.
    pub(crate) source: Source,
    pub(crate) offset_bytes: u64,
    pub(crate) stored_checksum: u32,
    /// CRC32-C of the data, however the checksum is spelt.
    pub(crate) crc32c: u32,
}

impl Verifier {
    pub(crate) fn new(located: &Located) -> Self {
        Self {
            id: located.entry.id,
            token: located.token(),
            stored: located.stored_checksum,
            computed: 0,
            seen_bytes: 0,
            data_len_bytes: located.data_len_bytes,
            is_empty: located.entry.size_bytes == 0,
        }
    }

    /// Takes the next bytes of the stored data.
    pub fn update(&mut self, block: &[u8]) {
        self.computed = crc32c::crc32c_append(self.computed, block);
        self.seen_bytes += block.len() as u64;
    }

    /// Compares with what the record says.
    ///
    /// # Errors
    ///
    /// [`NeedleError::Checksum`] when the data is not what was written, [`NeedleError::CutOff`] when not all of it was
    /// seen, or more.
    pub fn finish(self) -> Result<Verified, NeedleError> {
        let (id, offset_bytes) = (self.id, self.token.offset_bytes);
        if self.seen_bytes != self.data_len_bytes {
            let have_bytes = usize::try_from(self.seen_bytes).unwrap_or(usize::MAX);
            return Err(NeedleError::CutOff {
                id,
                offset_bytes,
                need_bytes: self.data_len_bytes,
                have_bytes,
            });
        }
        // Behind a record without a body upstream leaves whatever checksum it has at hand.
        if self.is_empty || form_of(self.stored, self.computed).is_some() {
            return Ok(Verified { crc32c: self.computed, ..self.token });
        }
        let (stored, computed) = (self.stored, self.computed);
        let computed_masked = crc32c_masked(computed);
        Err(NeedleError::Checksum { id, offset_bytes, stored, computed, computed_masked })
    }
}

/// Records that were verified whole since the volume was opened or replaced: their offsets and checksums, so that a record
/// written over another one is not taken for it, and the CRC32-C of their data. Forgets when two fall into one place: then a needle is verified once
/// more. Takes no memory before the first is remembered.
#[derive(Debug, Clone, Default)]
pub(crate) struct VerifiedSet {
    places: Vec<Place>,
    places_log2: u32,
}

/// What is remembered of one record.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    offset_bytes: u64,
    stored_checksum: u32,
    crc32c: u32,
}

impl VerifiedSet {
    /// Remembers at most 2 to the power of this many.
    pub(crate) fn new(places_log2: u32) -> Self {
        Self { places: Vec::new(), places_log2: places_log2.min(24) }
    }

    pub(crate) fn insert(&mut self, offset_bytes: u64, stored_checksum: u32, crc32c: u32) {
        if self.places.is_empty() {
            self.places = vec![Place::default(); 1 << self.places_log2];
        }
        let place = self.place(offset_bytes);
        if let Some(place) = self.places.get_mut(place) {
            *place = Place { offset_bytes, stored_checksum, crc32c };
        }
    }

    /// The CRC32-C of a record's data, if that was verified. No record begins at 0, where the superblock is.
    pub(crate) fn get(&self, offset_bytes: u64, stored_checksum: u32) -> Option<u32> {
        let place = self.places.get(self.place(offset_bytes)).filter(|_| offset_bytes != 0)?;
        let is_it = (place.offset_bytes, place.stored_checksum) == (offset_bytes, stored_checksum);
        is_it.then_some(place.crc32c)
    }

    /// Forgets a record.
    pub(crate) fn forget(&mut self, offset_bytes: u64) {
        let place = self.place(offset_bytes);
        if let Some(place) = self.places.get_mut(place).filter(|place| place.offset_bytes == offset_bytes) {
            *place = Place::default();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.places = Vec::new();
    }

    fn place(&self, offset_bytes: u64) -> usize {
        // Fibonacci hashing: the leading bits of the product depend on all bits of the offset.
        let mixed = (offset_bytes / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed.checked_shr(64 - self.places_log2).unwrap_or(0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_remembers_forgets_by_place_and_stays_small() {
        let mut set = VerifiedSet::new(4);
        assert_eq!((set.get(0, 0), set.get(8, 0)), (None, None));
        for offset_bytes in (8..8000).step_by(8) {
            set.insert(offset_bytes, 7, 9);
            assert_eq!((set.get(offset_bytes, 7), set.get(offset_bytes, 8)), (Some(9), None));
        }
        let kept = |set: &VerifiedSet| {
            (8..8000).step_by(8).filter(|offset_bytes| set.get(*offset_bytes, 7).is_some()).count()
        };
        assert_eq!((kept(&set), set.places.capacity()), (16, 16));
        let first = (8..8000)
            .step_by(8)
            .find(|offset_bytes| set.get(*offset_bytes, 7).is_some())
            .expect("some are kept");
        set.forget(first);
        assert_eq!((set.get(first, 7), kept(&set)), (None, 15));
        set.clear();
        assert_eq!(kept(&set), 0);
    }

    #[test]
    fn a_set_of_one_place_works() {
        let mut set = VerifiedSet::new(0);
        set.insert(16, 1, 2);
        set.forget(24);
        assert_eq!((set.get(16, 1), set.get(24, 1)), (Some(2), None));
    }
}
