//! Exported memory: made, retired, found as it should be.

use wavetank_contract::{Access, Choices, MrId, Region, RegionSpec, RemoteKey};
use wavetank_engine::RdmaOps;
use wavetank_mock::{SCRIBBLE, digest};

use super::Run;
use super::state::{Contents, Edition, Fate, Use};
use crate::check::Check;
use crate::pattern::{self, Suspect, Tag};
use crate::swarm::oracle::atomics::{Chain, Sum};
use crate::swarm::oracle::slots::{Look, Slot};

impl<C: RdmaOps, X: Choices + Clone + 'static> Run<'_, C, X> {
    /// Registers fresh memory for a place, with its owner's data in it.
    pub(super) fn export(&mut self, place: usize) {
        let at = &self.places[place];
        let slot_bytes = u64::from(at.slot_bytes);
        let (node, uses) = (at.node, at.uses.clone());
        let len_bytes = uses.len() as u64 * slot_bytes;
        let Some((memory, mr)) = self.register(node, RegionSpec::new(len_bytes), Access::ALL) else { return };
        let tag = self.editions.len() as u32;
        let slot = |(index, used): (usize, &Use)| {
            let start = index as u64 * slot_bytes;
            match used {
                Use::Data => {
                    let owner = Tag { region: tag, generation: 0 };
                    pattern::fill(&memory, start, slot_bytes as usize, owner, start);
                    Contents::Data(Slot::new(start..start + slot_bytes))
                }
                Use::Adds => Contents::Adds(Sum::default()),
                Use::Swaps => Contents::Swaps(Chain::default()),
            }
        };
        let slots = uses.iter().enumerate().map(slot).collect();
        self.places[place].edition = Some(self.editions.len());
        let (fate, window) = (Fate::Registered(mr), None);
        self.editions.push(Edition { place, tag, memory, fate, window, dead_keys: 0, slots });
    }

    /// Ends the registration of a place, whatever peers are doing. What it held is dead from now on.
    pub(super) fn retire(&mut self, place: usize) {
        let Some(edition) = self.places[place].edition.take() else { return };
        let Fate::Registered(mr) = self.editions[edition].fate else { return };
        let node = self.places[place].node;
        self.close_window(node, edition);
        self.editions[edition].dead_keys += 1;
        match self.world.nodes[usize::from(node)].driver.context().deregister(mr) {
            Ok(()) => self.editions[edition].fate = Fate::Retired,
            Err(error) => {
                self.guilty(Check::Leak, None, || format!("region {place} stays registered: {error}"))
            }
        }
    }

    /// Registers a place once more and ends its first registration: the same bytes under another key.
    pub(super) fn roll_key(&mut self, place: usize) {
        let Some(edition) = self.places[place].edition else { return };
        let Fate::Registered(old) = self.editions[edition].fate else { return };
        let node = self.places[place].node;
        let memory = self.editions[edition].memory.clone();
        self.close_window(node, edition);
        let Some(new) = self.register_again(node, &memory, Access::ALL) else { return };
        self.editions[edition].fate = Fate::Registered(new);
        self.editions[edition].dead_keys += 1;
        if let Err(error) = self.world.nodes[usize::from(node)].driver.context().deregister(old) {
            self.guilty(Check::Leak, None, || format!("region {place} keeps its old key: {error}"));
        }
    }

    /// Revokes the window of a place. Peers get the key of another one with their next connection.
    pub(super) fn revoke_window(&mut self, place: usize) {
        if let Some(edition) = self.places[place].edition {
            self.close_window(self.places[place].node, edition);
        }
    }

    fn close_window(&mut self, node: u16, edition: usize) {
        let open = self.editions[edition].window.take();
        self.editions[edition].dead_keys += u32::from(open.is_some());
        if let Some((window, _)) = open
            && let Err(error) = self.world.nodes[usize::from(node)].driver.context().close_window(window)
        {
            self.guilty(Check::Leak, None, || format!("node {node}: a window stays open: {error}"));
        }
    }

    /// The key that peers of a place get: that of a window, where it has one.
    pub(super) fn key_of(&mut self, place: usize, edition: usize, mr: MrId) -> Result<RemoteKey, String> {
        let context = self.world.nodes[usize::from(self.places[place].node)].driver.context();
        if !self.places[place].window {
            return context.export(mr).map_err(|error| error.to_string());
        }
        if let Some((_, key)) = &self.editions[edition].window {
            return Ok(key.clone());
        }
        let len = self.editions[edition].memory.len();
        let (window, key) =
            context.open_window(mr, 0, len, Access::ALL).map_err(|error| error.to_string())?;
        self.editions[edition].window = Some((window, key.clone()));
        Ok(key)
    }

    /// The host of these places is dead, or its device gone: whatever they hold may not change any more.
    pub(super) fn lose_places(&mut self, node: u16) {
        for place in self.places.iter_mut().filter(|place| place.node == node) {
            if let Some(edition) = place.edition.take() {
                let edition = &mut self.editions[edition];
                edition.fate = Fate::Lost(digest_of(&edition.memory));
                edition.dead_keys += 1;
            }
        }
    }

    /// Looks at everything once more, when nothing is under way: a stray byte shows here.
    pub(super) fn sweep(&mut self) {
        let look = Look { since: self.tick(), by: None, told: None };
        for index in 0..self.editions.len() {
            let edition = &self.editions[index];
            let wrong = match edition.fate {
                Fate::Registered(_) => self.sweep_slots(edition, look),
                Fate::Retired => {
                    let (_, words, _) = edition.memory.words(0, edition.memory.len() as usize);
                    let changed = words.iter().position(|word| word.get() != SCRIBBLE);
                    changed.map(|word| (Check::Retired, format!("byte {} was written", 8 * word)))
                }
                Fate::Lost(then) => (digest_of(&edition.memory) != then)
                    .then(|| (Check::Retired, "it changed after its host had died".to_owned())),
            };
            self.bytes_verified += self.editions[index].memory.len();
            if let Some((check, what)) = wrong {
                let place = self.editions[index].place;
                self.guilty(check, None, || format!("region {place} (edition {index}), at the end: {what}"));
            }
        }
    }

    fn sweep_slots(&self, edition: &Edition, look: Look) -> Option<(Check, String)> {
        let slot_bytes = u64::from(self.places[edition.place].slot_bytes);
        let mut rest_from = 0;
        for (index, slot) in edition.slots.iter().enumerate() {
            let start = index as u64 * slot_bytes;
            rest_from = start + slot_bytes;
            let holds = || u64::from_le(edition.memory.word(start).get());
            let wrong = match slot {
                Contents::Data(slot) => {
                    let range = start..start + slot_bytes;
                    let wrong = slot.check(look, range, &edition.memory, start, edition.tag);
                    wrong.map(|(first, legal)| {
                        let origin = self.origin(&edition.memory, start + first, start + slot_bytes);
                        (Check::Bytes, format!("byte {first} is not of generation {legal:?}; found {origin}"))
                    })
                }
                Contents::Adds(sum) => sum.check(holds()).err().map(|what| (Check::Atomic, what)),
                Contents::Swaps(chain) => chain.check(holds()).err().map(|what| (Check::Atomic, what)),
            };
            if let Some((check, what)) = wrong {
                return Some((check, format!("slot {index}: {what}")));
            }
        }
        let rest = edition.memory.cells(rest_from, (edition.memory.len() - rest_from) as usize);
        let stray = rest.iter().position(|cell| cell.get() != 0)?;
        Some((Check::Bytes, format!("byte {stray} past its end was written")))
    }

    /// Whose bytes these are.
    pub(super) fn origin(&self, memory: &Region, at: u64, end: u64) -> String {
        let mut suspects: Vec<Suspect> = Vec::new();
        for (index, edition) in self.editions.iter().enumerate() {
            let generations = edition.slots.iter().map(|slot| match slot {
                Contents::Data(slot) => slot.generations(),
                _ => 0,
            });
            suspects.push(Suspect {
                name: format!("region {} (edition {index})", edition.place),
                region: edition.tag,
                len: edition.memory.len(),
                generations: generations.max().unwrap_or(0),
            });
        }
        for (connection, ends) in self.streams.iter().enumerate() {
            for (end, stream) in ends.iter().enumerate() {
                let (region, generations) = stream.pattern();
                let name = format!("messages from end {end} of connection {connection}");
                suspects.push(Suspect { name, region, len: 1 << 20, generations });
            }
        }
        pattern::origin(memory, at, end, &suspects)
    }
}

fn digest_of(memory: &Region) -> u64 {
    let mut bytes = vec![0; memory.len() as usize];
    memory.read(0, &mut bytes);
    digest(&bytes)
}
