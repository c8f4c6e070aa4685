//! Who is let in: the exporter's side of a connection's beginning, and the dispatcher that keeps everybody else out.

use std::rc::Rc;

use async_trait::async_trait;
use wavetank_engine::RdmaOps;
use wavetank_messenger::{Cause, ConnectionId, Dispatcher, DropReason, Ends, Incoming, LocalMessenger};
use wavetank_rpc::{Answer, Asked, Call, Service, Services};

use super::Exporter;
use crate::admission::{PROOF_BYTES, Side, Transcript};
use crate::calls::{Challenge, ChallengeReply, Hello, Prove, VERSION_MAX, VERSION_MIN};
use crate::shelf::Shelf;

/// Proofs that one connection may get wrong before it is closed.
const FAILURES_MAX: u32 = 3;

/// A peer that has said something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visitor {
    /// In which life of the connection: with the next one everything begins anew.
    lives: u32,
    stage: Stage,
    failures: u32,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// It has to prove this, once.
    Challenged(Transcript),
    /// A proof was none.
    Refused,
    Admitted,
}

/// Services for those who were let in. To others every call is unknown, but those that let them in.
#[derive(Debug)]
pub struct Gate<S, C: RdmaOps + 'static> {
    exporter: Rc<Exporter<S>>,
    services: Services<C>,
}

impl<S: Shelf, C: RdmaOps + 'static> Gate<S, C> {
    pub(super) fn new(exporter: Rc<Exporter<S>>, services: Services<C>) -> Gate<S, C> {
        Gate { exporter, services }
    }
}

#[async_trait(?Send)]
impl<S: Shelf, C: RdmaOps + 'static> Dispatcher<C> for Gate<S, C> {
    fn fast(&self, messenger: &LocalMessenger<C>, message: Incoming) -> Option<Incoming> {
        let begins = [Challenge::TYPE, Prove::TYPE].contains(&message.r#type());
        if begins || self.exporter.is_admitted(messenger, message.connection()) {
            return self.services.fast(messenger, message);
        }
        // Dropping a request says that nobody answers it.
        self.exporter.count(|stats| stats.unheard += 1);
        None
    }

    async fn deliver(&self, messenger: LocalMessenger<C>, message: Incoming) {
        self.services.deliver(messenger, message).await;
    }

    fn reset(&self, messenger: &LocalMessenger<C>, connection: ConnectionId, cause: &Cause) {
        self.exporter.visitors.borrow_mut().remove(&connection);
        self.services.reset(messenger, connection, cause);
    }

    fn accepted(&self, messenger: &LocalMessenger<C>, connection: ConnectionId, peer: u64) {
        self.services.accepted(messenger, connection, peer);
    }

    fn rejected(&self, messenger: &LocalMessenger<C>, cause: &Cause) {
        tracing::info!("a peer did not become one: {cause}");
        self.services.rejected(messenger, cause);
    }

    fn dropped(&self, messenger: &LocalMessenger<C>, connection: ConnectionId, why: DropReason) {
        self.services.dropped(messenger, connection, why);
    }
}

impl<S: Shelf> Exporter<S> {
    /// Whether the peer of a connection was let in, in this life of it.
    fn is_admitted<C: RdmaOps + 'static>(
        &self,
        messenger: &LocalMessenger<C>,
        connection: ConnectionId,
    ) -> bool {
        let visitors = self.visitors.borrow();
        let Some(visitor) = visitors.get(&connection) else { return false };
        let lives = messenger.with(|messenger| messenger.ends(connection)).map(|ends| ends.lives);
        matches!(visitor.stage, Stage::Admitted) && lives == Some(visitor.lives)
    }

    fn challenge<C: RdmaOps + 'static>(&self, asked: &Asked<C>, hello: &Hello) -> Option<ChallengeReply> {
        let connection = asked.connection();
        let ends: Ends = asked.messenger.with(|messenger| messenger.ends(connection))?;
        let version = VERSION_MAX.min(hello.version_max);
        let version = if version >= VERSION_MIN.max(hello.version_min) { version } else { 0 };
        let nonce = (self.nonces.borrow_mut())();
        let wants_proof = self.key.borrow().is_some();
        let failures = self.visitors.borrow().get(&connection).map_or(0, |visitor| visitor.failures);
        let stage = match (version, wants_proof) {
            (0, _) => Stage::Refused,
            (_, false) => {
                self.count(|stats| stats.admitted += 1);
                Stage::Admitted
            }
            (_, true) => Stage::Challenged(Transcript {
                versions: [hello.version_min, hello.version_max, version],
                reader_nonce: hello.nonce,
                exporter_nonce: nonce,
                reader_end: ends.peers,
                exporter_end: ends.ours,
            }),
        };
        let visitor = Visitor { lives: ends.lives, stage, failures };
        self.visitors.borrow_mut().insert(connection, visitor);
        Some(ChallengeReply { version, wants_proof, push_bytes_max: self.config.push_bytes_max, nonce })
    }

    fn prove<C: RdmaOps + 'static>(
        &self,
        asked: &Asked<C>,
        proof: &[u8; PROOF_BYTES],
    ) -> Option<[u8; PROOF_BYTES]> {
        let (connection, key) = (asked.connection(), self.key.borrow());
        let key = key.as_ref()?;
        let ends = asked.messenger.with(|messenger| messenger.ends(connection))?;
        let mut visitors = self.visitors.borrow_mut();
        let visitor = visitors.get_mut(&connection).filter(|visitor| visitor.lives == ends.lives)?;
        let Stage::Challenged(transcript) = visitor.stage else { return None };
        if transcript.is_proved(key, Side::Reader, proof) {
            visitor.stage = Stage::Admitted;
            self.count(|stats| stats.admitted += 1);
            return Some(transcript.proof(key, Side::Exporter));
        }
        // A challenge is for one try.
        visitor.stage = Stage::Refused;
        visitor.failures += 1;
        let closes = visitor.failures >= FAILURES_MAX;
        drop(visitors);
        self.count(|stats| stats.refused += 1);
        tracing::warn!("a peer does not have the key: it proved another");
        if closes {
            asked.messenger.close(connection, "");
        }
        None
    }
}

#[async_trait(?Send)]
impl<S: Shelf, C: RdmaOps + 'static> Service<Challenge, C> for Exporter<S> {
    async fn serve(self: Rc<Self>, asked: Asked<C>, hello: Hello) -> Answer<Option<ChallengeReply>> {
        Answer::of(self.challenge(&asked, &hello))
    }
}

#[async_trait(?Send)]
impl<S: Shelf, C: RdmaOps + 'static> Service<Prove, C> for Exporter<S> {
    async fn serve(
        self: Rc<Self>,
        asked: Asked<C>,
        proof: [u8; PROOF_BYTES],
    ) -> Answer<Option<[u8; PROOF_BYTES]>> {
        Answer::of(self.prove(&asked, &proof))
    }
}
