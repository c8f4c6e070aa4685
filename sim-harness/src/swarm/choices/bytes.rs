//! Choices as bytes: what a fuzzer mutates and a property test shrinks.

use std::cell::RefCell;
use std::rc::Rc;
use std::vec;

use wavetank_contract::{Choices, Site};

/// Takes as many bytes for a choice as its bound has, lowest first; when they are used up, everything is quiet. Fewer and
/// smaller bytes are duller runs. Clones are the same choices.
#[derive(Clone, Debug)]
pub struct Bytes(Rc<RefCell<vec::IntoIter<u8>>>);

impl Bytes {
    /// Choices from `bytes`.
    pub fn new(bytes: &[u8]) -> Bytes {
        Bytes(Rc::new(RefCell::new(Vec::from(bytes).into_iter())))
    }
}

impl Choices for Bytes {
    fn choose(&mut self, _site: Site, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        let mut bytes = self.0.borrow_mut();
        let bits = u64::BITS - (bound - 1).leading_zeros();
        (0..bits).step_by(8).fold(0, |value, at| value | u64::from(bytes.next().unwrap_or(0)) << at) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_takes_as_many_bytes_as_its_bound_has() {
        let mut choices = Bytes::new(&[3, 0x34, 0x12, 250]);
        let mut clone = choices.clone();
        let drawn = [(256, 3), (0x1_0000, 0x1234), (1, 0), (100, 50), (100, 0)];
        for (bound, value) in drawn {
            assert_eq!(clone.choose(Site::Swarm, bound), value, "below {bound}");
            std::mem::swap(&mut choices, &mut clone);
        }
        assert_eq!(Bytes::new(&[0xff; 8]).choose(Site::Swarm, u64::MAX), 0, "2^64 - 1 is no remainder of it");
    }
}
