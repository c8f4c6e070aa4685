//! Volumes that this very engine exports: read from the file into memory that local programs see.

use std::cell::RefCell;
use std::rc::Rc;

use wavetank_contract::Instant;
use wavetank_engine::memory::Arena;
use wavetank_rpc::crc32c_of;
use wavetank_volume::{Cookie, NeedleId};

use crate::exporter::Exporter;
use crate::found::{Found, NotRead, Part, Path, Wanted, Why};
use crate::outcome::Absence;
use crate::shelf::Shelf;

/// Where an engine finds its own volumes.
pub trait Home {
    /// Whether a volume is here.
    fn has(&self, volume: u32) -> bool;

    /// Reads a needle. `None`: its volume is not here.
    fn read(&self, wanted: &Wanted, now: Instant) -> Option<Result<Found, NotRead>>;
}

/// An exporter's volumes, read into leases of an arena: of part of the memory that local programs map.
#[derive(Debug)]
pub struct LocalHome<S> {
    exporter: Rc<Exporter<S>>,
    arena: Rc<RefCell<Arena>>,
}

impl<S: Shelf> LocalHome<S> {
    /// A home.
    pub fn new(exporter: Rc<Exporter<S>>, arena: Rc<RefCell<Arena>>) -> LocalHome<S> {
        LocalHome { exporter, arena }
    }

    fn find(&self, wanted: &Wanted, now: Instant) -> Result<Found, NotRead> {
        let shelf = self.exporter.shelf();
        let unix_ns = self.exporter.config().unix_ns_at_zero.saturating_add(now.0);
        let (id, cookie) = (NeedleId(wanted.id), Cookie(wanted.cookie));
        let needle = shelf.find(wanted.volume, id, cookie, unix_ns).map_err(NotRead::Absent)?;
        let whole = needle.about.whole_bytes;
        if wanted.offset > whole || (wanted.offset == whole && whole > 0) {
            return Err(NotRead::Absent(Absence::OutOfRange));
        }
        let left = whole - wanted.offset;
        let len = wanted.len.map_or(left, |len| len.min(left));
        let mut parts = Vec::new();
        if len > 0 {
            let lease = self.arena.borrow_mut().acquire(len);
            let lease = lease.map_err(|error| NotRead::NoMemory(error.to_string()))?;
            let read = || shelf.read(&needle, wanted.offset, len, &lease, 0).map_err(NotRead::Absent);
            let known = read()?;
            let mut crc32c = crc32c_of(&lease, 0, len);
            if known.is_some_and(|known| known != crc32c) {
                shelf.doubt(&needle);
                read()?;
                crc32c = crc32c_of(&lease, 0, len);
            }
            parts.push(Part { lease, at: 0, len, crc32c });
        }
        Ok(Found { parts, about: needle.about, path: Path::Local, why: Why::Here, peer: None })
    }
}

impl<S: Shelf> Home for LocalHome<S> {
    fn has(&self, volume: u32) -> bool {
        self.exporter.shelf().volumes().iter().any(|standing| standing.volume == volume)
    }

    fn read(&self, wanted: &Wanted, now: Instant) -> Option<Result<Found, NotRead>> {
        match self.find(wanted, now) {
            Err(NotRead::Absent(Absence::NotExported)) => None,
            outcome => Some(outcome),
        }
    }
}
