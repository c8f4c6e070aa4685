//! One handshake as a machine: bytes in, bytes out, and nothing that waits.
//!
//! ```text
//!   dialer                               listener
//!     HELLO  ───────────────────────────►
//!            ◄───────────────────────────  HELLO     fits: not ourselves, a common version, the same backend
//!     OFFER  ───────────────────────────►
//!            ◄───────────────────────────  ANSWER    both connect their endpoints now
//!     READY  ───────────────────────────►            the dialer's are in RTS
//!            ◄───────────────────────────  READY     so are the listener's: the dialer may send
//!     ACK    ───────────────────────────►            the dialer knows: the listener may send
//! ```
//!
//! REFUSE may come instead of anything. Whatever else comes out of turn ends the handshake; a machine that failed stays so.
//! If the last message is lost, the dialer may send and the listener gives up: no number of messages could avoid that.

use super::error::BootstrapError;
use super::frame::{Decoder, Frame, Unusable};
use super::garbage::Garbage;
use super::introduction::{Introduction, Peer, Role};
use super::message::{Kind, Message};
use super::offer::Offer;
use super::outbox::Outbox;
use super::refusal::RefusalCode;
use super::step::Step;
use super::text::Said;

/// One side of one handshake.
#[derive(Debug)]
pub struct Handshake {
    us: Introduction,
    role: Role,
    decoder: Decoder,
    outbox: Outbox,
    peer: Option<Peer>,
    /// Ours; what is still in here was not sent.
    offer: Option<Offer>,
    /// How many endpoints are in it.
    offered: Option<usize>,
    theirs: Option<Offer>,
    theirs_came: bool,
    ready: bool,
    theirs_ready: bool,
    acknowledged: bool,
    failed: bool,
}

impl Handshake {
    /// Begins one. The dialer has something to send at once.
    pub fn new(role: Role, us: Introduction) -> Handshake {
        let mut handshake = Handshake {
            us,
            role,
            decoder: Decoder::default(),
            outbox: Outbox::default(),
            peer: None,
            offer: None,
            offered: None,
            theirs: None,
            theirs_came: false,
            ready: false,
            theirs_ready: false,
            acknowledged: false,
            failed: false,
        };
        if role == Role::Dialer {
            handshake.introduce(0);
        }
        handshake
    }

    /// What it is waiting for.
    pub fn step(&self) -> Step {
        let offer = match self.role {
            Role::Dialer => [(self.offered.is_some(), Step::OwnOffer), (self.theirs_came, Step::Answer)],
            Role::Listener => [(self.theirs_came, Step::Offer), (self.offered.is_some(), Step::OwnOffer)],
        };
        let steps = [
            (self.peer.is_some(), Step::Hello),
            offer[0],
            offer[1],
            (self.ready, Step::Connect),
            (self.theirs_ready, Step::Ready),
            (self.acknowledged, Step::Ack),
        ];
        let next = steps.into_iter().find(|(done, _)| !done).map_or(Step::Over, |(_, step)| step);
        if self.failed { Step::Over } else { next }
    }

    /// Bytes it has allocated, used or not.
    pub fn bytes_allocated(&self) -> usize {
        let offers = [&self.offer, &self.theirs].into_iter().flatten().map(Offer::bytes_allocated);
        self.us.device.capacity()
            + self.peer.as_ref().map_or(0, |peer| peer.device.as_str().len())
            + self.decoder.held_bytes()
            + self.outbox.bytes_allocated()
            + offers.sum::<usize>()
    }

    /// Which side this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether both sides' endpoints are ready and both know: this side may send.
    pub fn is_established(&self) -> bool {
        self.acknowledged && !self.failed
    }

    /// Whether it ended without success.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Who we are.
    pub fn us(&self) -> &Introduction {
        &self.us
    }

    /// The peer, once it has introduced itself.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// What the peer offers, once it has come and was not taken. A listener may look at it before it says what it offers
    /// itself: that may depend on it.
    pub fn heard_offer(&self) -> Option<&Offer> {
        self.theirs.as_ref()
    }

    /// What the peer offers, once it has come and this side's offer is on its way: now connect the endpoints.
    pub fn take_offer(&mut self) -> Option<Offer> {
        self.offered.and_then(|_| self.theirs.take())
    }

    /// Bytes of memory held for what comes in.
    pub fn held_bytes(&self) -> usize {
        self.decoder.held_bytes()
    }

    /// What is to be sent; say with [`sent`](Self::sent) how much was.
    pub fn to_send(&self) -> &[u8] {
        self.outbox.rest()
    }

    /// The first `count` bytes of [`to_send`](Self::to_send) were sent.
    pub fn sent(&mut self, count: usize) {
        self.outbox.sent(count);
    }

    /// Says what this side offers. The dialer waits for the peer's HELLO first; the listener may say it at any time.
    ///
    /// # Errors
    /// [`BootstrapError::OwnOffer`], with nothing sent; [`BootstrapError::NotDue`] the second time; and as
    /// [`receive`](Self::receive), for what has come already.
    pub fn offer(&mut self, offer: &Offer) -> Result<(), BootstrapError> {
        let too_early = self.role == Role::Dialer && self.peer.is_none();
        self.due("an offer", !too_early && self.offered.is_none())?;
        offer.check()?;
        self.offered = Some(offer.endpoints.len());
        match self.role {
            Role::Dialer => self.send(&Message::Offer(offer.clone())),
            Role::Listener => self.offer = Some(offer.clone()),
        }
        self.answer()
    }

    /// Says that this side's endpoints are ready to send.
    ///
    /// # Errors
    /// [`BootstrapError::NotDue`] before both offers are there, and the second time.
    pub fn ready(&mut self) -> Result<(), BootstrapError> {
        self.due("ready", self.offered.is_some() && self.theirs_came && !self.ready)?;
        self.ready = true;
        if self.role == Role::Dialer || self.theirs_ready {
            self.send(&Message::Ready);
        }
        Ok(())
    }

    /// Ends it, and tells the peer why. Does nothing once it failed.
    pub fn refuse(&mut self, code: RefusalCode, text: &str) {
        if !self.failed {
            self.send(&Message::Refuse(code, Said::from(text)));
            self.failed = true;
        }
    }

    /// Ends it with an error of this side's own, and tells the peer where there is a point in it.
    pub fn fail(&mut self, error: BootstrapError) -> BootstrapError {
        if let Some(code) = error.refusal() {
            self.refuse(code, &error.to_string());
        }
        self.failed = true;
        error
    }

    /// The peer will send nothing more.
    ///
    /// # Errors
    /// [`BootstrapError::Closed`], unless it is established.
    pub fn end(&mut self) -> Result<(), BootstrapError> {
        self.due("the end of the stream", true)?;
        if self.is_established() {
            return Ok(());
        }
        let error = BootstrapError::Closed { step: self.step(), amid: self.decoder.is_amid() };
        Err(self.fail(error))
    }

    /// Takes bytes of the peer, cut anywhere.
    ///
    /// # Errors
    /// Whatever the peer does wrong. The machine has failed then, and may have something to send all the same: why.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<(), BootstrapError> {
        self.due("a message", true)?;
        while !bytes.is_empty() {
            let step = self.step();
            if self.is_established() {
                let garbage = Garbage::Trailing(bytes.len());
                return Err(self.fail(BootstrapError::Garbage { step, garbage }));
            }
            let expected = self.expected();
            let taken = self.decoder.take(&mut bytes, |kind| kind == Kind::Refuse || Some(kind) == expected);
            let heard = match taken {
                Ok(None) => Ok(()),
                Ok(Some(frame)) => self.hear(&frame),
                Err(Unusable::Garbage(garbage)) => Err(BootstrapError::Garbage { step, garbage }),
                Err(Unusable::Unexpected(got)) => Err(BootstrapError::Unexpected { step, got }),
            };
            heard.map_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    /// What may come now, besides REFUSE.
    fn expected(&self) -> Option<Kind> {
        match (self.role, self.step()) {
            (_, Step::Hello) => Some(Kind::Hello),
            (Role::Dialer, Step::Answer) => Some(Kind::Answer),
            (Role::Listener, Step::Offer) => Some(Kind::Offer),
            // The dialer may be ready before us.
            (Role::Listener, Step::Connect) if !self.theirs_ready => Some(Kind::Ready),
            (_, Step::Ready) => Some(Kind::Ready),
            (_, Step::Ack) => Some(Kind::Ack),
            _ => None,
        }
    }

    fn hear(&mut self, frame: &Frame) -> Result<(), BootstrapError> {
        let step = self.step();
        let message = Message::decode(frame.kind, &frame.body);
        let message = message.map_err(|garbage| BootstrapError::Garbage { step, garbage })?;
        self.is_current(frame)?;
        match message {
            Message::Hello(hello) => {
                if self.role == Role::Listener {
                    // Also to a peer that does not fit: it then knows why.
                    self.introduce(frame.from);
                }
                self.peer = Some(self.us.meet(self.role, frame.from, hello)?);
                Ok(())
            }
            Message::Offer(offer) | Message::Answer(offer) => {
                self.theirs_came = true;
                self.theirs = Some(offer);
                self.answer()
            }
            Message::Ready => {
                self.theirs_ready = true;
                match self.role {
                    Role::Dialer => {
                        self.send(&Message::Ack);
                        self.acknowledged = true;
                    }
                    Role::Listener if self.ready => self.send(&Message::Ready),
                    Role::Listener => {}
                }
                Ok(())
            }
            Message::Ack => {
                self.acknowledged = true;
                Ok(())
            }
            Message::Refuse(code, text) => Err(BootstrapError::Refused { step, code, text }),
        }
    }

    /// Whether a message belongs to this handshake: to these two lives of these two processes.
    fn is_current(&self, frame: &Frame) -> Result<(), BootstrapError> {
        let us = self.us.instance;
        let peer = self.peer.as_ref().map_or(0, |peer| peer.instance.get());
        // Before the introductions nobody can know for whom it is.
        let to_whoever = frame.to == 0 && matches!(frame.kind, Kind::Hello | Kind::Refuse);
        let for_us = frame.to == us.get() || to_whoever;
        if frame.from != 0 && for_us && (peer == 0 || peer == frame.from) {
            return Ok(());
        }
        Err(BootstrapError::Stale { kind: frame.kind, from: frame.from, to: frame.to, peer, us })
    }

    /// Once both offers are there: they have to match, and the listener sends its own.
    fn answer(&mut self) -> Result<(), BootstrapError> {
        let (Some(ours), Some(theirs)) = (self.offered, &self.theirs) else { return Ok(()) };
        let theirs = theirs.endpoints.len();
        if ours != theirs {
            return Err(self.fail(BootstrapError::Unpaired { ours, theirs }));
        }
        if let Some(offer) = self.offer.take() {
            self.send(&Message::Answer(offer));
        }
        Ok(())
    }

    fn introduce(&mut self, to: u64) {
        let hello = Message::Hello(self.us.hello(self.role));
        self.send_to(to, &hello);
    }

    fn send(&mut self, message: &Message) {
        let to = self.peer.as_ref().map_or(0, |peer| peer.instance.get());
        self.send_to(to, message);
    }

    fn send_to(&mut self, to: u64, message: &Message) {
        let from = self.us.instance.get();
        self.outbox.put(&Frame { kind: message.kind(), from, to, body: message.encode() });
    }

    fn due(&self, call: &'static str, due: bool) -> Result<(), BootstrapError> {
        match (self.failed, due) {
            (true, _) => Err(BootstrapError::Failed),
            (false, false) => Err(BootstrapError::NotDue { call, step: self.step() }),
            (false, true) => Ok(()),
        }
    }
}
