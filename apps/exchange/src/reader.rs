//! The reader: needles of other engines' volumes, or of one's own, verified.

mod choosing;
mod grants;
mod opening;
mod peer;
mod pulling;
mod pushing;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};

use wavetank_contract::Instant;
use wavetank_engine::{RdmaContext, RdmaOps};
use wavetank_messenger::LocalMessenger;

use crate::admission::{Nonces, SharedKey};
use crate::calls::{Standing, Ungranted};
use crate::found::{Found, Mode, NotRead, Path, Wanted, Why};
use crate::home::Home;
use crate::outcome::Absence;
use crate::sums::Joiners;
use grants::Grants;
use peer::{Opened, Peer, Trouble};

/// The port that engines listen on unless they are told another.
pub const PORT: u16 = 18515;

/// An engine to read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Where it is, as whoever carries the messenger's lines understands it: `HOST:PORT`.
    pub address: String,
    /// Its messenger's name, if only that one will do.
    pub name: Option<u64>,
}

/// How a reader reads.
#[derive(Clone, Debug)]
pub struct ReaderConfig {
    /// Engines that export, in the order in which they are tried.
    pub peers: Vec<PeerConfig>,
    /// The key that they have too. `None`: this engine proves nothing and wants no proof.
    pub key: Option<SharedKey>,
    /// The port of the engine beside a volume server that a caller names. `None`: callers may name none.
    pub hint_port: Option<u16>,
    /// Peers at a time, those that callers named included.
    pub peers_max: usize,
    /// Longest needle that is read.
    pub needle_bytes_max: u64,
    /// Bytes that one call asks for.
    pub piece_bytes: u64,
    /// Memory for a needle of which nobody said how long it is.
    pub guess_bytes: u64,
    /// Grants that are kept. 0: nothing is pulled unless asked for.
    pub grants_max: usize,
    /// How long one attempt may take.
    pub attempt_ns: u64,
    /// How long a failed peer is left alone. Doubles with each failure in a row.
    pub pause_ns: u64,
    /// At most so long.
    pub pause_ns_max: u64,
    /// A catalogue that does not name a volume is asked for again after this.
    pub catalogue_ns: u64,
    /// The time of this process's clock at 0, in Unix nanoseconds: for needles that expire.
    pub unix_ns_at_zero: u64,
}

impl ReaderConfig {
    /// The usual one, for these peers.
    pub fn new(peers: &[&str]) -> ReaderConfig {
        ReaderConfig {
            peers: peers
                .iter()
                .map(|address| PeerConfig { address: (*address).into(), name: None })
                .collect(),
            key: None,
            hint_port: Some(PORT),
            peers_max: 1024,
            needle_bytes_max: 256 << 20,
            piece_bytes: 8 << 20,
            guess_bytes: 256 << 10,
            grants_max: 1 << 16,
            attempt_ns: 5_000_000_000,
            pause_ns: 50_000_000,
            pause_ns_max: 10_000_000_000,
            catalogue_ns: 1_000_000_000,
            unix_ns_at_zero: 0,
        }
    }
}

/// Counts of a [`Reader`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReaderStats {
    /// Reads that brought what was wanted, by how it came and why that way.
    pub reads: BTreeMap<(Path, Why), u64>,
    /// Bytes of them.
    pub read_bytes: u64,
    /// Reads that did not.
    pub failures: u64,
    /// Of these, those in which an exporter, or this engine, said why there is nothing.
    pub absent: BTreeMap<Absence, u64>,
    /// Attempts that failed, whatever came of their reads.
    pub attempts_failed: u64,
    /// What came damaged, and nobody saw.
    pub corrupt: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Grants that were taken.
    pub grants: u64,
}

impl ReaderStats {
    /// Reads that came this way.
    pub fn of(&self, path: Path) -> u64 {
        self.reads.iter().filter(|((of, _), _)| *of == path).map(|(_, count)| count).sum()
    }
}

/// Reads needles. Clones are the same reader.
pub struct Reader<C: RdmaOps + 'static = RdmaContext> {
    shared: Rc<Shared<C>>,
    /// `None`: a connection that is being made has this one.
    users: Option<Rc<Users<C>>>,
}

/// All users of a reader. With the last one, connections that are being made are given up: each has the reader, which has it, and
/// so the two would keep the messenger and its memory for ever.
struct Users<C: RdmaOps + 'static>(Weak<Shared<C>>);

impl<C: RdmaOps + 'static> Drop for Users<C> {
    fn drop(&mut self) {
        let Some(shared) = self.0.upgrade() else { return };
        let peers = std::mem::take(&mut *shared.peers.borrow_mut());
        for peer in peers {
            let door = std::mem::take(&mut peer.state.borrow_mut().door);
            // What it has may come back in here.
            drop(door);
        }
    }
}

struct Shared<C: RdmaOps + 'static> {
    messenger: LocalMessenger<C>,
    config: ReaderConfig,
    /// Instead of the one in `config`: it may change.
    key: RefCell<Option<SharedKey>>,
    nonces: RefCell<Nonces>,
    peers: RefCell<Vec<Rc<Peer>>>,
    grants: RefCell<Grants>,
    joiners: RefCell<Joiners>,
    /// What exporters said to the last wish for a grant, to be told.
    ungranted: RefCell<Option<Ungranted>>,
    home: Option<Rc<dyn Home>>,
    stats: RefCell<ReaderStats>,
}

impl<C: RdmaOps + 'static> Clone for Reader<C> {
    fn clone(&self) -> Reader<C> {
        Reader { shared: Rc::clone(&self.shared), users: self.users.clone() }
    }
}

impl<C: RdmaOps + 'static> fmt::Debug for Reader<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers: Vec<String> = self.shared.peers.borrow().iter().map(|peer| peer.address.clone()).collect();
        f.debug_struct("Reader").field("peers", &peers).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<C: RdmaOps + 'static> Reader<C> {
    /// A reader. It connects with its first read. `home`: volumes that this engine exports itself.
    pub fn new(
        messenger: LocalMessenger<C>,
        config: ReaderConfig,
        nonces: Nonces,
        home: Option<Rc<dyn Home>>,
    ) -> Reader<C> {
        let peer = |peer: &PeerConfig| Rc::new(Peer::new(&peer.address, peer.name));
        let peers = RefCell::new(config.peers.iter().map(peer).collect());
        let grants = RefCell::new(Grants::new(config.grants_max));
        let key = RefCell::new(config.key.clone());
        let shared = Rc::new(Shared {
            messenger,
            config,
            key,
            nonces: RefCell::new(nonces),
            peers,
            grants,
            joiners: RefCell::default(),
            ungranted: RefCell::default(),
            home,
            stats: RefCell::default(),
        });
        let users = Some(Rc::new(Users(Rc::downgrade(&shared))));
        Reader { shared, users }
    }

    /// The same reader for what it keeps itself, which keeps it from ending no longer than its users do.
    fn without_users(&self) -> Reader<C> {
        Reader { shared: Rc::clone(&self.shared), users: None }
    }

    /// Proves to have another key from now on, or none. Who let this side in already is not asked again.
    pub fn set_key(&self, key: Option<SharedKey>) {
        *self.shared.key.borrow_mut() = key;
        // Who refused the former key may take this one.
        for peer in &*self.shared.peers.borrow() {
            peer.state.borrow_mut().circuit = peer::Circuit::default();
        }
    }

    /// Reads from these engines from now on. What is known of those that stay is kept; connections to the others are closed,
    /// and what was under way there is tried elsewhere.
    pub fn set_peers(&self, peers: &[PeerConfig]) {
        let mut before = std::mem::take(&mut *self.shared.peers.borrow_mut());
        let mut all = Vec::with_capacity(peers.len());
        for PeerConfig { address, name } in peers {
            let same = |peer: &Rc<Peer>| peer.address == *address && peer.name == *name;
            all.push(match before.iter().position(same) {
                Some(at) => before.swap_remove(at),
                None => Rc::new(Peer::new(address, *name)),
            });
        }
        *self.shared.peers.borrow_mut() = all;
        before.into_iter().for_each(|peer| self.retire(peer));
    }

    /// Its messenger.
    pub fn messenger(&self) -> &LocalMessenger<C> {
        &self.shared.messenger
    }

    /// Counts.
    pub fn stats(&self) -> ReaderStats {
        self.shared.stats.borrow().clone()
    }

    /// What is known of each peer: its address, whether it is connected, and its volumes.
    pub fn peers(&self) -> Vec<(String, bool, Vec<Standing>)> {
        let all = self.shared.peers.borrow();
        let of = |peer: &Rc<Peer>| {
            let volumes = peer.state.borrow().catalogue.values().copied().collect();
            (peer.address.clone(), peer.is_open(), volumes)
        };
        all.iter().map(of).collect()
    }

    /// Reads a needle, or a range of it.
    ///
    /// # Errors
    /// [`NotRead`], at the deadline at the latest.
    pub async fn read(&self, wanted: &Wanted) -> Result<Found, NotRead> {
        let outcome = self.find(wanted).await;
        let mut stats = self.shared.stats.borrow_mut();
        match &outcome {
            Ok(found) => {
                *stats.reads.entry((found.path, found.why)).or_default() += 1;
                stats.read_bytes += found.len();
            }
            Err(error) => {
                stats.failures += 1;
                if let NotRead::Absent(absence) = error {
                    *stats.absent.entry(*absence).or_default() += 1;
                }
            }
        }
        outcome
    }

    async fn find(&self, wanted: &Wanted) -> Result<Found, NotRead> {
        if let Some(home) = &self.shared.home
            && wanted.mode != Mode::Pull
            && let Some(outcome) = home.read(wanted, self.now())
        {
            return outcome;
        }
        let mut last: Option<NotRead> = None;
        loop {
            let mut again_at = Instant::FAR;
            let mut tried = 0;
            for peer in self.candidates(wanted) {
                let trouble = match self.try_peer(&peer, wanted).await {
                    Ok(found) => return Ok(found),
                    Err(trouble) => trouble,
                };
                tried += 1;
                if let Trouble::Absent(absence) = trouble
                    && absence.is_last_word()
                {
                    return Err(NotRead::Absent(absence));
                }
                if trouble.is_transient() {
                    let until = peer.state.borrow().circuit.until;
                    again_at = again_at.min(until.max(self.now() + self.shared.config.pause_ns / 16));
                }
                // Whoever is left alone for a while says least.
                let says_more = trouble != Trouble::CircuitOpen || last.is_none();
                if trouble != Trouble::Absent(Absence::NotExported) && says_more {
                    last = Some(trouble.into_not_read(&peer.address));
                }
                if self.now() >= wanted.deadline {
                    break;
                }
            }
            if again_at >= wanted.deadline {
                let nobody = NotRead::NotExported { volume: wanted.volume, tried };
                return Err(match last {
                    None => nobody,
                    Some(last) if again_at < Instant::FAR && self.now() >= wanted.deadline => {
                        NotRead::TimedOut(last.to_string())
                    }
                    Some(last) => last,
                });
            }
            self.shared.messenger.sleep_until(again_at).await;
        }
    }

    /// One attempt with one peer.
    async fn try_peer(&self, peer: &Rc<Peer>, wanted: &Wanted) -> Result<Found, Trouble> {
        let now = self.now();
        if peer.state.borrow().circuit.is_open(now) {
            return Err(Trouble::CircuitOpen);
        }
        let until = wanted.deadline.min(now + self.shared.config.attempt_ns);
        let mut used = None;
        let outcome = async {
            let opened = self.open(peer, until).await?;
            used = Some(opened);
            self.look_up(peer, &opened, wanted.volume, until).await?;
            self.read_from(peer, &opened, wanted, until).await
        };
        let outcome = outcome.await;
        match &outcome {
            Err(trouble) => {
                self.count(|stats| {
                    stats.attempts_failed += 1;
                    stats.corrupt += u64::from(*trouble == Trouble::Corrupt);
                });
                // Who was not given the time that an attempt may take cannot be blamed for it.
                let blamed = *trouble != Trouble::TimedOut || until < wanted.deadline;
                let blamed = trouble.is_peers() && blamed;
                if let Some(opened) = used.filter(|_| blamed) {
                    self.hang_up(peer, &opened, "what came from here was not understood, or nothing came");
                }
                let mut state = peer.state.borrow_mut();
                if blamed {
                    let ReaderConfig { pause_ns, pause_ns_max, .. } = self.shared.config;
                    state.circuit.failed(now, self.now(), pause_ns, pause_ns_max);
                    tracing::debug!("engine {}: {trouble}", peer.address);
                }
                if *trouble == Trouble::Absent(Absence::NotExported) {
                    state.catalogue.remove(&wanted.volume);
                }
            }
            Ok(_) => peer.state.borrow_mut().circuit = peer::Circuit::default(),
        }
        outcome
    }

    async fn read_from(
        &self,
        peer: &Rc<Peer>,
        opened: &Opened,
        wanted: &Wanted,
        until: Instant,
    ) -> Result<Found, Trouble> {
        let why = match wanted.mode {
            Mode::Push => Why::Asked,
            Mode::Pull => return self.pull_asked(peer, opened, wanted, until).await,
            Mode::Auto => match self.pull_granted(peer, opened, wanted, until).await? {
                Ok(found) => return Ok(found),
                Err(why) => why,
            },
        };
        self.push(peer, opened, wanted, why, until).await
    }

    /// Grants that are kept.
    pub fn grants(&self) -> usize {
        self.shared.grants.borrow().len()
    }

    fn now(&self) -> Instant {
        self.shared.messenger.now()
    }

    fn unix_ns(&self) -> u64 {
        self.shared.config.unix_ns_at_zero.saturating_add(self.now().0)
    }

    fn count(&self, change: impl FnOnce(&mut ReaderStats)) {
        change(&mut self.shared.stats.borrow_mut());
    }
}
