//! The messages and their insides.

use core::fmt;

use wavetank_contract::{EndpointAddress, RemoteKey};

use super::garbage::Garbage;
use super::introduction::{Introduction, Role, VersionRange};
use super::offer::{NamedKey, Offer};
use super::reader::{Malformed, Reader};
use super::refusal::RefusalCode;
use super::text::Said;

/// Longest name of a backend, in bytes.
const BACKEND_BYTES_MAX: usize = 32;

/// The kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Who one is.
    Hello = 1,
    /// The dialer's endpoints.
    Offer = 2,
    /// The listener's endpoints.
    Answer = 3,
    /// One's endpoints can send.
    Ready = 4,
    /// The dialer heard that all endpoints can.
    Ack = 5,
    /// It ends here.
    Refuse = 6,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 6] = [Kind::Hello, Kind::Offer, Kind::Answer, Kind::Ready, Kind::Ack, Kind::Refuse];

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// From its number on the wire.
    pub fn from_number(number: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Longest inside, in bytes.
    pub const fn body_bytes_max(self) -> usize {
        const KEY: usize = 1 + NamedKey::NAME_BYTES_MAX + 8 + 2 + RemoteKey::MAX_BYTES;
        const ADDRESS: usize = 2 + EndpointAddress::MAX_BYTES;
        match self {
            Kind::Hello => 2 + 2 + 1 + 8 + 1 + BACKEND_BYTES_MAX + 1 + Introduction::DEVICE_BYTES_MAX,
            Kind::Offer | Kind::Answer => {
                2 + Offer::ENDPOINTS_MAX * ADDRESS + 2 + Offer::KEYS_MAX * KEY + 2 + Offer::BLOB_BYTES_MAX
            }
            Kind::Ready | Kind::Ack => 0,
            Kind::Refuse => 2 + 2 + Said::MAX_BYTES,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Hello => "a HELLO",
            Kind::Offer => "an OFFER",
            Kind::Answer => "an ANSWER",
            Kind::Ready => "a READY",
            Kind::Ack => "an ACK",
            Kind::Refuse => "a REFUSE",
        })
    }
}

/// An introduction as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Which versions its sender speaks.
    pub versions: VersionRange,
    /// Which part it plays.
    pub role: Role,
    /// Its features.
    pub features: u64,
    /// The name of its backend; perhaps one that we have never heard of.
    pub backend: Said,
    /// Its device.
    pub device: Said,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who one is.
    Hello(Hello),
    /// The dialer's endpoints.
    Offer(Offer),
    /// The listener's endpoints.
    Answer(Offer),
    /// One's endpoints can send.
    Ready,
    /// The dialer heard that all endpoints can.
    Ack,
    /// It ends here.
    Refuse(RefusalCode, Said),
}

impl Message {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Message::Hello(_) => Kind::Hello,
            Message::Offer(_) => Kind::Offer,
            Message::Answer(_) => Kind::Answer,
            Message::Ready => Kind::Ready,
            Message::Ack => Kind::Ack,
            Message::Refuse(..) => Kind::Refuse,
        }
    }

    /// Its inside. Texts are cut at their limits; offers were checked.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Message::Hello(hello) => encode_hello(hello, &mut out),
            Message::Offer(offer) | Message::Answer(offer) => encode_offer(offer, &mut out),
            Message::Ready | Message::Ack => {}
            Message::Refuse(code, text) => {
                out.extend_from_slice(&code.to_u16().to_le_bytes());
                long(text.as_str().as_bytes(), &mut out);
            }
        }
        out
    }

    /// Reads an inside.
    ///
    /// # Errors
    /// [`Garbage::Malformed`] or [`Garbage::BadOffer`]; nothing is allocated from a number that was not checked.
    pub fn decode(kind: Kind, body: &[u8]) -> Result<Message, Garbage> {
        let malformed = |what: Malformed| Garbage::Malformed { kind, what: what.0 };
        let mut body = Reader::new(body);
        let message = match kind {
            Kind::Hello => Message::Hello(decode_hello(&mut body).map_err(malformed)?),
            Kind::Offer | Kind::Answer => {
                let offer = decode_offer(&mut body).map_err(malformed)?;
                offer.check().map_err(|bad| Garbage::BadOffer { kind, bad })?;
                if kind == Kind::Offer { Message::Offer(offer) } else { Message::Answer(offer) }
            }
            Kind::Ready => Message::Ready,
            Kind::Ack => Message::Ack,
            Kind::Refuse => {
                let code = RefusalCode::from_u16(body.u16().map_err(malformed)?);
                let text = body.long(Said::MAX_BYTES).map_err(malformed)?;
                Message::Refuse(code, Said::clean(text))
            }
        };
        body.end().map_err(malformed)?;
        Ok(message)
    }
}

fn short(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}

fn long(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn encode_hello(hello: &Hello, out: &mut Vec<u8>) {
    out.extend_from_slice(&hello.versions.min.to_le_bytes());
    out.extend_from_slice(&hello.versions.max.to_le_bytes());
    out.push(match hello.role {
        Role::Dialer => 0,
        Role::Listener => 1,
    });
    out.extend_from_slice(&hello.features.to_le_bytes());
    let cut = |text: &Said, max| Said::within(text.as_str().as_bytes(), max);
    short(cut(&hello.backend, BACKEND_BYTES_MAX).as_str().as_bytes(), out);
    short(cut(&hello.device, Introduction::DEVICE_BYTES_MAX).as_str().as_bytes(), out);
}

fn decode_hello(body: &mut Reader<'_>) -> Result<Hello, Malformed> {
    let versions = VersionRange { min: body.u16()?, max: body.u16()? };
    if versions.min > versions.max {
        return Err(Malformed("the oldest version is newer than the newest"));
    }
    let role = match body.u8()? {
        0 => Role::Dialer,
        1 => Role::Listener,
        _ => return Err(Malformed("the role is neither dialer nor listener")),
    };
    let features = body.u64()?;
    let backend = Said::within(body.short(BACKEND_BYTES_MAX)?, BACKEND_BYTES_MAX);
    let device = Said::within(body.short(Introduction::DEVICE_BYTES_MAX)?, Introduction::DEVICE_BYTES_MAX);
    Ok(Hello { versions, role, features, backend, device })
}

fn encode_offer(offer: &Offer, out: &mut Vec<u8>) {
    out.extend_from_slice(&(offer.endpoints.len() as u16).to_le_bytes());
    offer.endpoints.iter().for_each(|address| long(address.as_bytes(), out));
    out.extend_from_slice(&(offer.keys.len() as u16).to_le_bytes());
    for NamedKey { name, key, len_bytes } in &offer.keys {
        short(name.as_bytes(), out);
        out.extend_from_slice(&len_bytes.to_le_bytes());
        long(key.as_bytes(), out);
    }
    long(&offer.blob, out);
}

fn decode_offer(body: &mut Reader<'_>) -> Result<Offer, Malformed> {
    let mut offer = Offer::default();
    for _ in 0..body.count(Offer::ENDPOINTS_MAX)? {
        let address = EndpointAddress::from_bytes(body.long(EndpointAddress::MAX_BYTES)?);
        offer.endpoints.push(address.ok_or(Malformed("an address is too long"))?);
    }
    for _ in 0..body.count(Offer::KEYS_MAX)? {
        let name = str::from_utf8(body.short(NamedKey::NAME_BYTES_MAX)?);
        let name = name.map_err(|_| Malformed("a key's name is no UTF-8"))?.to_owned();
        let len_bytes = body.u64()?;
        let key = RemoteKey::from_bytes(body.long(RemoteKey::MAX_BYTES)?);
        offer.keys.push(NamedKey { name, key: key.ok_or(Malformed("a key is too long"))?, len_bytes });
    }
    offer.blob = body.long(Offer::BLOB_BYTES_MAX)?.to_vec();
    Ok(offer)
}
