//! Two sides of a handshake without a wire, and what they say.

use wavetank_contract::{EndpointAddress, RemoteKey};
use wavetank_engine::BackendKind;
use wavetank_engine::bootstrap::frame::{Decoder, Frame};
use wavetank_engine::bootstrap::{
    BootstrapError, Handshake, InstanceId, Introduction, NamedKey, Offer, Role,
};

/// Instances of the two sides in most tests.
pub(crate) const DIALER: u64 = 0xd1a1;
pub(crate) const LISTENER: u64 = 0x115e;

pub(crate) fn us(instance: u64) -> Introduction {
    let instance = InstanceId::new(instance).unwrap();
    Introduction { features: instance.get(), ..Introduction::new(instance, BackendKind::Mock, "mock/test") }
}

pub(crate) fn instance_of(role: Role) -> u64 {
    match role {
        Role::Dialer => DIALER,
        Role::Listener => LISTENER,
    }
}

/// An offer that is `role`'s and nobody else's.
pub(crate) fn offer(role: Role, endpoints: u8) -> Offer {
    let tag = role.name().as_bytes();
    let address = |n: u8| EndpointAddress::from_bytes(&[tag, &[n]].concat()).unwrap();
    let key = |n: u8| NamedKey {
        name: format!("{}-{n}", role.name()),
        key: RemoteKey::from_bytes(&[n; 5]).unwrap(),
        len_bytes: 4096 << n,
    };
    Offer { endpoints: (0..endpoints).map(address).collect(), keys: vec![key(1), key(2)], blob: tag.to_vec() }
}

pub(crate) struct Side {
    pub(crate) machine: Handshake,
    pub(crate) offer: Offer,
    /// What the peer offered.
    pub(crate) got: Option<Offer>,
    pub(crate) error: Option<BootstrapError>,
}

impl Side {
    pub(crate) fn new(role: Role) -> Side {
        Side::of(role, us(instance_of(role)))
    }

    pub(crate) fn of(role: Role, us: Introduction) -> Side {
        Side { machine: Handshake::new(role, us), offer: offer(role, 2), got: None, error: None }
    }

    /// Does what an application does as soon as it can, and answers with what is to be sent.
    pub(crate) fn turn(&mut self) -> Vec<u8> {
        if self.error.is_none() {
            self.error = self.act().err();
        }
        let bytes = self.machine.to_send().to_vec();
        self.machine.sent(bytes.len());
        bytes
    }

    fn act(&mut self) -> Result<(), BootstrapError> {
        use wavetank_engine::bootstrap::Step;
        if self.machine.step() == Step::OwnOffer {
            let offer = self.offer.clone();
            self.machine.offer(&offer)?;
        }
        if let Some(theirs) = self.machine.take_offer() {
            self.got = Some(theirs);
            self.machine.ready()?;
        }
        Ok(())
    }

    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.error = self.machine.receive(bytes).err();
        }
    }

    /// Established, with exactly this offer of the peer.
    #[track_caller]
    pub(crate) fn has(&self, theirs: &Offer) {
        assert!(self.error.is_none(), "{:?}", self.error);
        assert!(self.machine.is_established(), "{:?}", self.machine);
        assert_eq!(self.got.as_ref(), Some(theirs));
    }

    /// What it failed with.
    #[track_caller]
    pub(crate) fn said(&self) -> String {
        self.error.as_ref().map(ToString::to_string).expect("an error")
    }
}

/// Lets two sides speak until both are silent. `wire` gets the sender's role and what it sends, and says what arrives.
pub(crate) fn converse(
    dialer: &mut Side,
    listener: &mut Side,
    mut wire: impl FnMut(Role, Vec<u8>) -> Vec<Vec<u8>>,
) {
    loop {
        let (from_dialer, from_listener) = (dialer.turn(), listener.turn());
        if from_dialer.is_empty() && from_listener.is_empty() {
            return;
        }
        wire(Role::Dialer, from_dialer).iter().for_each(|bytes| listener.hear(bytes));
        wire(Role::Listener, from_listener).iter().for_each(|bytes| dialer.hear(bytes));
    }
}

/// Everything each side sends in an undisturbed handshake, frame by frame: the dialer's, the listener's.
pub(crate) fn script() -> [Vec<Vec<u8>>; 2] {
    let (mut dialer, mut listener) = (Side::new(Role::Dialer), Side::new(Role::Listener));
    let mut frames = [Vec::new(), Vec::new()];
    converse(&mut dialer, &mut listener, |from, bytes| {
        if !bytes.is_empty() {
            frames[from as usize].push(bytes.clone());
        }
        vec![bytes]
    });
    assert!(dialer.machine.is_established() && listener.machine.is_established());
    frames
}

/// The frames in some bytes.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut decoder = Decoder::default();
    std::iter::from_fn(|| decoder.take(&mut bytes, |_| true).unwrap()).collect()
}

pub(crate) fn encoded(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}
