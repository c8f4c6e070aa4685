//! Connections to exporters: made once for all who wait, with proofs both ways, and the catalogue of what is there.

use std::rc::Rc;

use futures_util::future::{Either, FutureExt as _, select};
use wavetank_contract::Instant;
use wavetank_engine::RdmaOps;
use wavetank_messenger::{ConnectionId, Policy, RequestError, frame::Failure};
use wavetank_rpc::{Call, CallError, Carried, call};

use super::Reader;
use super::peer::{Door, Opened, Peer, Trouble};
use crate::admission::{Side, Transcript};
use crate::calls::{Catalogue, Challenge, Hello, Prove, VERSION_MAX, VERSION_MIN};
use crate::outcome::Absence;

/// Pages of a catalogue, at most: an exporter that goes on for ever is not listened to for ever.
const PAGES_MAX: usize = 2048;

/// Said to peers that are left.
const ELSEWHERE: &str = "this engine was told to read elsewhere";

impl<C: RdmaOps + 'static> Reader<C> {
    /// The connection to a peer, made if there is none.
    pub(super) async fn open(&self, peer: &Rc<Peer>, until: Instant) -> Result<Opened, Trouble> {
        if peer.retired.get() {
            return Err(Trouble::Gone(ELSEWHERE.into()));
        }
        let opening = {
            let mut state = peer.state.borrow_mut();
            match &state.door {
                Door::Open(opened) if self.is_there(opened) => return Ok(*opened),
                Door::Opening(opening) => opening.clone(),
                Door::Open(_) | Door::Closed => {
                    state.keys.clear();
                    let (reader, peer) = (self.without_users(), Rc::clone(peer));
                    let opening = async move { reader.make(&peer).await }.boxed_local().shared();
                    state.door = Door::Opening(opening.clone());
                    opening
                }
            }
        };
        let late = self.shared.messenger.sleep_until(until);
        match select(opening.clone(), late).await {
            Either::Left((outcome, _)) => {
                let mut state = peer.state.borrow_mut();
                if matches!(&state.door, Door::Opening(there) if there.ptr_eq(&opening)) {
                    state.door = match &outcome {
                        Ok(opened) => Door::Open(*opened),
                        Err(_) => Door::Closed,
                    };
                }
                outcome
            }
            // Whoever comes next goes on with it.
            Either::Right(_) => Err(Trouble::TimedOut),
        }
    }

    fn is_there(&self, opened: &Opened) -> bool {
        let ends = self.shared.messenger.with(|messenger| messenger.ends(opened.connection));
        ends.is_some_and(|ends| ends.lives == opened.lives)
    }

    /// Gives a connection up, so that the next read makes another.
    pub(super) fn hang_up(&self, peer: &Peer, opened: &Opened, text: &str) {
        let mut state = peer.state.borrow_mut();
        if matches!(&state.door, Door::Open(there) if there == opened) {
            state.door = Door::Closed;
            state.keys.clear();
        }
        drop(state);
        self.shared.messenger.close(opened.connection, text);
    }

    /// Parts from a peer that nobody is to read from any more.
    pub(super) fn retire(&self, peer: Rc<Peer>) {
        peer.retired.set(true);
        let door = std::mem::take(&mut peer.state.borrow_mut().door);
        match door {
            Door::Closed => {}
            Door::Open(opened) => {
                self.shared.messenger.close(opened.connection, ELSEWHERE);
            }
            // Its task has whatever there is of a connection by now.
            Door::Opening(opening) => {
                let messenger = self.shared.messenger.clone();
                self.shared.messenger.spawn(async move {
                    if let Ok(opened) = opening.await {
                        messenger.close(opened.connection, ELSEWHERE);
                    }
                });
            }
        }
    }

    async fn make(&self, peer: &Peer) -> Result<Opened, Trouble> {
        let messenger = &self.shared.messenger;
        let made = messenger.connect(&peer.address, peer.name, Policy::LossyClient);
        let (connection, connecting) = made.map_err(|error| Trouble::NoMemory(error.to_string()))?;
        connecting.await.map_err(|cause| Trouble::of_cause(&cause))?;
        self.count(|stats| stats.connections += 1);
        let until = self.now() + self.shared.config.attempt_ns;
        let admitted = async {
            let opened = self.get_in(connection, until).await?;
            self.fetch_catalogue(peer, &opened, until).await?;
            Ok(opened)
        };
        let admitted: Result<Opened, Trouble> = admitted.await;
        if let Err(trouble) = &admitted {
            messenger.close(connection, "");
            tracing::warn!("engine {}: {trouble}", peer.address);
        }
        admitted
    }

    /// Agrees on a version, and proves what is to be proved.
    async fn get_in(&self, connection: ConnectionId, until: Instant) -> Result<Opened, Trouble> {
        let gone = || Trouble::Gone("the connection broke".into());
        let ends = self.shared.messenger.with(|messenger| messenger.ends(connection)).ok_or_else(gone)?;
        let nonce = (self.shared.nonces.borrow_mut())();
        let key = self.shared.key.borrow().clone();
        let hello =
            Hello { version_min: VERSION_MIN, version_max: VERSION_MAX, has_key: key.is_some(), nonce };
        let challenge = self.ask::<Challenge>(connection, &hello, until).await;
        let challenge = challenge.map_err(|error| match error {
            CallError::NoReply(RequestError::Failed(Failure::Unanswered)) => {
                Trouble::NotAdmitted("it exports nothing, or is no engine of this project")
            }
            other => other.into(),
        })?;
        let challenge = challenge.ok_or(Trouble::NotAdmitted("it answered in a way that cannot be read"))?;
        if !(VERSION_MIN..=VERSION_MAX).contains(&challenge.version) {
            return Err(Trouble::NotAdmitted(
                "the two speak no version of the protocol in common; update the older",
            ));
        }
        let opened =
            Opened { connection, lives: ends.lives, push_bytes_max: challenge.push_bytes_max.max(1) };
        let key = match (key, challenge.wants_proof) {
            (None, false) => return Ok(opened),
            (Some(_), false) => {
                return Err(Trouble::NotAdmitted(
                    "it has no key, and this engine trusts only who has its own",
                ));
            }
            (None, true) => return Err(Trouble::NotAdmitted("it wants a key, and this engine has none")),
            (Some(key), true) => key,
        };
        let key = &key;
        let transcript = Transcript {
            versions: [VERSION_MIN, VERSION_MAX, challenge.version],
            reader_nonce: nonce,
            exporter_nonce: challenge.nonce,
            reader_end: ends.ours,
            exporter_end: ends.peers,
        };
        let proof = transcript.proof(key, Side::Reader);
        let proved = self.ask::<Prove>(connection, &proof, until).await.map_err(|error| match error {
            CallError::NoReply(RequestError::Failed(Failure::Unanswered)) => {
                Trouble::NotAdmitted("it has another key than this engine")
            }
            other => other.into(),
        })?;
        let proved = proved.is_some_and(|proof| transcript.is_proved(key, Side::Exporter, &proof));
        if proved {
            return Ok(opened);
        }
        Err(Trouble::NotAdmitted("it did not prove that it has the key"))
    }

    pub(super) async fn ask<K: Call>(
        &self,
        connection: ConnectionId,
        request: &K::Request,
        until: Instant,
    ) -> Result<K::Reply, CallError> {
        let asked = call::<K, C>(&self.shared.messenger, connection, request, Carried::default(), until);
        Ok(asked.await?.reply)
    }

    async fn fetch_catalogue(&self, peer: &Peer, opened: &Opened, until: Instant) -> Result<(), Trouble> {
        let mut volumes = std::collections::BTreeMap::new();
        let mut from = 0;
        for _ in 0..PAGES_MAX {
            let page = self.ask::<Catalogue>(opened.connection, &from, until).await?;
            let last = page.volumes.last().map(|standing| standing.volume);
            volumes.extend(page.volumes.into_iter().map(|standing| (standing.volume, standing)));
            match last.and_then(|last| last.checked_add(1)).filter(|_| page.more) {
                Some(next) if next > from => from = next,
                _ => break,
            }
        }
        let mut state = peer.state.borrow_mut();
        state.catalogue = volumes;
        state.catalogue_at = Some(self.now());
        Ok(())
    }

    /// Whether a peer has a volume; its catalogue is asked for again if it does not say so and is not quite new.
    pub(super) async fn look_up(
        &self,
        peer: &Peer,
        opened: &Opened,
        volume: u32,
        until: Instant,
    ) -> Result<(), Trouble> {
        if peer.has(volume) {
            return Ok(());
        }
        let at = peer.state.borrow().catalogue_at;
        if at.is_none_or(|at| at + self.shared.config.catalogue_ns <= self.now()) {
            self.fetch_catalogue(peer, opened, until).await?;
        }
        if peer.has(volume) { Ok(()) } else { Err(Trouble::Absent(Absence::NotExported)) }
    }
}
