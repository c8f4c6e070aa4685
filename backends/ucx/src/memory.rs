//! Registrations of this side and keys of the other, by names that are never used again.

use std::sync::atomic::{Ordering, fence};

use wavetank_contract::error::RegisterError;
use wavetank_contract::{Access, EpId, MrId, PdId, RkeyId, Sge};

use crate::key::Key;
use crate::sys::{Memory, Rkey, SharedWords, Span};

/// Endpoints open at a time. Two words each.
pub(crate) const ENDPOINTS_MAX: u32 = 4096;

/// Registrations alive at a time. Each has a word that peers map.
pub(crate) const REGIONS_MAX: u32 = 4096;
const INDEX_BITS: u32 = 12;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
/// A place whose generations are used up is never used again.
const GENERATIONS: u32 = 1 << (32 - INDEX_BITS);

/// Where the words of registrations begin: before them is the mutex that tells whether the process lives.
pub(crate) const FIRST_WORD: usize = 64;
/// Words peers map: after those of the registrations two for each endpoint.
pub(crate) const WORDS: usize = FIRST_WORD + REGIONS_MAX as usize + 2 * ENDPOINTS_MAX as usize;

/// The word of an endpoint: its life, while it answers.
pub(crate) const fn word_of_ep(ep: u32) -> usize {
    FIRST_WORD + REGIONS_MAX as usize + (ep % ENDPOINTS_MAX) as usize
}

/// The word in which the peer of an endpoint says that it is writing memory here.
pub(crate) const fn word_of_writer(ep: u32) -> usize {
    word_of_ep(ep) + ENDPOINTS_MAX as usize
}

/// The word of a registration.
pub(crate) const fn word_of(mr: u32) -> usize {
    FIRST_WORD + (mr & INDEX_MASK) as usize
}

/// One registration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mr {
    pub(crate) memory: Memory,
    pub(crate) pd: PdId,
    pub(crate) access: Access,
    /// Operations under way that use it.
    pub(crate) uses: u32,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    mr: Option<Mr>,
}

/// The registrations of a device.
#[derive(Debug)]
pub(crate) struct Mrs {
    places: Vec<Place>,
    free: Vec<u32>,
    alive: u32,
    /// What peers look at before and after they reach into memory.
    words: Option<SharedWords>,
}

impl Mrs {
    /// An endpoint answers from now on in this life, or (0) no more.
    pub(crate) fn announce(&self, ep: EpId, life: u32) {
        if let Some(words) = &self.words {
            words.store(word_of_ep(ep.0), life);
        }
    }

    pub(crate) fn new(words: Option<SharedWords>) -> Mrs {
        Mrs { places: Vec::new(), free: Vec::new(), alive: 0, words }
    }

    /// Whether the peer of an endpoint is writing memory here, by itself.
    pub(crate) fn is_written_by(&self, ep: EpId) -> bool {
        // What was revoked before is seen by whoever begins after this look.
        fence(Ordering::SeqCst);
        self.words.is_some_and(|words| words.load(word_of_writer(ep.0)) != 0)
    }

    /// What the peer of an endpoint said of that does not count any more.
    pub(crate) fn forget_writer(&self, ep: EpId) {
        if let Some(words) = &self.words {
            words.store(word_of_writer(ep.0), 0);
        }
    }

    pub(crate) fn add(&mut self, memory: Memory, pd: PdId, access: Access) -> Result<MrId, RegisterError> {
        let full = RegisterError::TooMany(REGIONS_MAX);
        if self.alive >= REGIONS_MAX {
            return Err(full);
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.places.len() < REGIONS_MAX as usize => {
                // Generation 0 is nobody's: the words begin as zeroes.
                self.places.push(Place { generation: 0, mr: None });
                self.places.len() as u32 - 1
            }
            None => return Err(full),
        };
        let place = &mut self.places[index as usize];
        place.generation += 1;
        place.mr = Some(Mr { memory, pd, access, uses: 0 });
        self.alive += 1;
        let id = place.generation << INDEX_BITS | index;
        if let Some(words) = &self.words {
            words.store(word_of(id), id);
        }
        Ok(MrId(id))
    }

    #[inline]
    pub(crate) fn get(&self, mr: u32) -> Option<&Mr> {
        let place = self.places.get((mr & INDEX_MASK) as usize)?;
        place.mr.as_ref().filter(|_| place.generation == mr >> INDEX_BITS)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, mr: u32) -> Option<&mut Mr> {
        let place = self.places.get_mut((mr & INDEX_MASK) as usize)?;
        place.mr.as_mut().filter(|_| place.generation == mr >> INDEX_BITS)
    }

    /// Peers see it end from now on; operations that use it may still be under way.
    pub(crate) fn revoke(&mut self, mr: MrId) {
        if self.get(mr.0).is_some()
            && let Some(words) = &self.words
        {
            words.store(word_of(mr.0), 0);
        }
    }

    pub(crate) fn remove(&mut self, mr: MrId) -> bool {
        if self.get(mr.0).is_none() {
            return false;
        }
        self.revoke(mr);
        let index = mr.0 & INDEX_MASK;
        let place = &mut self.places[index as usize];
        place.mr = None;
        self.alive -= 1;
        if place.generation + 1 < GENERATIONS {
            self.free.push(index);
        }
        true
    }

    /// Local memory that a work names. `None`: not registered, not all inside, of another domain, or not to be written.
    #[inline]
    pub(crate) fn local(&self, piece: &Sge, pd: PdId, fills: bool) -> Option<Span> {
        let mr = self.get(piece.mr.0)?;
        let allowed = mr.pd == pd && (mr.access.local_write || !fills);
        mr.memory.span(piece.offset, piece.len as usize).filter(|_| allowed)
    }

    /// Somebody uses these registrations, or (`add` false) does no more.
    #[inline]
    pub(crate) fn uses(&mut self, mrs: impl IntoIterator<Item = u32>, add: bool) {
        for mr in mrs {
            if let Some(mr) = self.get_mut(mr) {
                mr.uses = if add { mr.uses + 1 } else { mr.uses.saturating_sub(1) };
            }
        }
    }
}

/// A key of a peer, imported for one endpoint.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) ep: EpId,
    pub(crate) key: Key,
    /// UCX's own key, made when it is first needed. `Some(None)`: there is none, the peer serves it.
    pub(crate) rkey: Option<Option<Rkey>>,
}

#[derive(Debug, Default)]
struct ImportPlace {
    generation: u32,
    import: Option<Import>,
}

/// The imported keys of a device.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    places: Vec<ImportPlace>,
    free: Vec<u32>,
}

/// The low byte of every name: a name with any of its bits turned is nobody's.
const MARK: u64 = 0xc3;

impl Imports {
    pub(crate) fn add(&mut self, import: Import) -> RkeyId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(ImportPlace::default());
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[index as usize];
        place.import = Some(import);
        RkeyId(u64::from(place.generation) << 40 | u64::from(index) << 8 | MARK)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, rkey: RkeyId) -> Option<&mut Import> {
        let index = (rkey.0 >> 8) as u32;
        let place = self.places.get_mut(index as usize).filter(|_| rkey.0 & 0xff == MARK)?;
        place.import.as_mut().filter(|_| u64::from(place.generation) == rkey.0 >> 40)
    }

    /// UCX's keys of an endpoint end with its connection.
    pub(crate) fn disconnect(&mut self, ep: EpId) {
        let of_ep = |place: &&mut ImportPlace| place.import.as_ref().is_some_and(|import| import.ep == ep);
        for place in self.places.iter_mut().filter(of_ep) {
            if let Some(import) = &mut place.import {
                import.rkey = Some(None);
            }
        }
    }

    /// Forgets the keys of an endpoint that is closed.
    pub(crate) fn forget(&mut self, ep: EpId) {
        for (index, place) in (0u32..).zip(&mut self.places) {
            if place.import.as_ref().is_some_and(|import| import.ep == ep) {
                place.import = None;
                // 24 bits of generation: a place that has used them up is not used again.
                place.generation += 1;
                if place.generation < 1 << 24 {
                    self.free.push(index);
                }
            }
        }
    }
}
