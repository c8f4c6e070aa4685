//! Values under keys that are never valid twice: for everything that has a name which a peer or a device may repeat.

/// The end of a list of places.
pub const NOWHERE: u32 = u32::MAX;

/// The name of a value: its place, and how often that place had changed hands.
///
/// A generation is odd while its value is there, so a key of generation 0 never names anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The place.
    pub index: u32,
    /// How often it had changed hands. Odd for a value that is there.
    pub generation: u32,
}

impl Key {
    /// As one number. Never 0, and at least 2^32: smaller numbers are free for other names.
    pub const fn to_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// From such a number. Any number will do: one that names nothing finds nothing.
    pub const fn from_u64(bits: u64) -> Key {
        Key { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

#[derive(Clone, Debug)]
struct Slot<T> {
    generation: u32,
    state: State<T>,
}

#[derive(Clone, Debug)]
enum State<T> {
    /// The next vacant place, or [`NOWHERE`].
    Vacant(u32),
    Taken(T),
}

/// Values in one piece of memory that grows and never shrinks. The place left last is taken first.
#[derive(Clone, Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    first_vacant: u32,
    len: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab::new()
    }
}

impl<T> Slab<T> {
    /// Nothing yet, and nothing allocated.
    pub const fn new() -> Slab<T> {
        Slab { slots: Vec::new(), first_vacant: NOWHERE, len: 0 }
    }

    /// Makes room, so that the next `more` values allocate nothing.
    pub fn reserve(&mut self, more: usize) {
        let vacant = self.slots.len() - self.len as usize;
        self.slots.reserve(more.saturating_sub(vacant));
    }

    /// How many values there are.
    #[inline]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Places ever used: every index is below this.
    pub fn places(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Bytes allocated, used or not.
    pub fn bytes_in_use(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<T>>()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a value in. `None` when 2^32 - 1 places are in use.
    #[inline]
    pub fn insert(&mut self, value: T) -> Option<Key> {
        self.insert_with(|| value)
    }

    /// The same, with a value that is made in its place rather than moved there.
    #[inline]
    pub fn insert_with(&mut self, make: impl FnOnce() -> T) -> Option<Key> {
        let index = self.first_vacant;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            if let State::Vacant(next) = slot.state {
                self.first_vacant = next;
            }
            slot.generation |= 1;
            slot.state = State::Taken(make());
            self.len += 1;
            let generation = slot.generation;
            return Some(Key { index, generation });
        }
        let index = u32::try_from(self.slots.len()).ok().filter(|&i| i != NOWHERE)?;
        let generation = 1;
        self.slots.push(Slot { generation, state: State::Taken(make()) });
        self.len += 1;
        Some(Key { index, generation })
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.index as usize)? {
            Slot { generation, state: State::Taken(value) } if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// The value of a key, to change it.
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index as usize)? {
            Slot { generation, state: State::Taken(value) } if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// The key of the value at a place, whatever its generation.
    #[inline]
    pub fn key_at(&self, index: u32) -> Option<Key> {
        let slot = self.slots.get(index as usize)?;
        matches!(slot.state, State::Taken(_)).then_some(Key { index, generation: slot.generation })
    }

    /// The value at a place, whatever its generation.
    #[inline]
    pub fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        match &mut self.slots.get_mut(index as usize)?.state {
            State::Taken(value) => Some(value),
            State::Vacant(_) => None,
        }
    }

    /// Takes a value out; its key is dead. A place whose generations have run out is never used again, so a key
    /// from 2^31 values ago cannot come alive.
    #[inline]
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let (state, next) = self.vacate(key)?;
        match core::mem::replace(state, State::Vacant(next)) {
            State::Taken(value) => Some(value),
            State::Vacant(_) => None,
        }
    }

    /// The same for a value that nobody wants: it is dropped in its place rather than moved out of it.
    #[inline]
    pub fn discard(&mut self, key: Key) {
        if let Some((state, next)) = self.vacate(key) {
            *state = State::Vacant(next);
        }
    }

    /// Makes a place vacant but for its value, which is still there, and what is to be there instead.
    #[inline]
    fn vacate(&mut self, key: Key) -> Option<(&mut State<T>, u32)> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation || !matches!(slot.state, State::Taken(_)) {
            return None;
        }
        let next = self.first_vacant;
        if slot.generation != u32::MAX {
            self.first_vacant = key.index;
        }
        slot.generation = slot.generation.wrapping_add(1);
        self.len -= 1;
        Some((&mut slot.state, next))
    }

    /// Keys and values by place.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| match &slot.state {
            State::Taken(value) => {
                let generation = slot.generation;
                Some((Key { index, generation }, value))
            }
            State::Vacant(_) => None,
        })
    }

    /// Makes a vacant place old, as if it had changed hands nearly 2^31 times.
    #[cfg(test)]
    pub(crate) fn age(&mut self, index: u32, generation: u32) {
        assert!(generation.is_multiple_of(2) && self.key_at(index).is_none());
        self.slots[index as usize].generation = generation;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_changed_hands_does_not_answer_to_its_former_key() {
        let mut slab = Slab::new();
        let first = slab.insert('a').expect("room");
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b').expect("room");
        assert_eq!(second.index, first.index);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&'b'));
    }

    #[test]
    fn keys_of_vacant_places_cannot_be_made_up() {
        let mut slab = Slab::new();
        let key = slab.insert('a').expect("room");
        slab.remove(key);
        for generation in 0..4 {
            let made_up = Key { generation, ..key };
            assert_eq!(slab.get(made_up), None);
            assert_eq!(slab.remove(made_up), None);
        }
        assert_eq!(slab.len(), 0);
    }

    #[test]
    fn a_place_whose_generations_have_run_out_is_retired() {
        let mut slab = Slab::new();
        let key = slab.insert('a').expect("room");
        slab.remove(key);
        slab.age(0, u32::MAX - 1);
        let last = slab.insert('z').expect("room");
        assert_eq!((last.index, last.generation), (0, u32::MAX));
        assert_eq!(slab.remove(last), Some('z'));
        let elsewhere = slab.insert('b').expect("room");
        assert_eq!((elsewhere.index, elsewhere.generation), (1, 1));
        assert_eq!((slab.get(last), slab.get(key)), (None, None));
    }

    #[test]
    fn a_key_survives_its_64_bits() {
        let key = Key { index: 0xfedc_ba98, generation: 0x7654_3211 };
        assert_eq!(Key::from_u64(key.to_u64()), key);
    }
}
