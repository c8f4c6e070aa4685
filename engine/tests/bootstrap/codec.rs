//! Messages and frames: what is written can be read, and what cannot have been written is refused.

use proptest::collection::vec;
use proptest::prelude::*;
use wavetank_contract::{EndpointAddress, RemoteKey};
use wavetank_engine::bootstrap::frame::{Decoder, Frame};
use wavetank_engine::bootstrap::message::{Hello, Kind, Message};
use wavetank_engine::bootstrap::{
    Garbage, Handshake, NamedKey, Offer, RefusalCode, Role, Said, VersionRange,
};

use crate::sides::{Side, encoded, offer, us};

fn offers() -> impl Strategy<Value = Offer> {
    let address = vec(any::<u8>(), 0..40).prop_map(|b| EndpointAddress::from_bytes(&b).unwrap());
    let key = ("[a-zé ]{1,20}", vec(any::<u8>(), 0..40), any::<u64>());
    let key = key.prop_map(|(name, bytes, len_bytes)| NamedKey {
        name,
        key: RemoteKey::from_bytes(&bytes).unwrap(),
        len_bytes,
    });
    let keys = vec(key, 0..6).prop_map(|mut keys| {
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        keys.dedup_by(|a, b| a.name == b.name);
        keys
    });
    (vec(address, 1..6), keys, vec(any::<u8>(), 0..100)).prop_map(|(endpoints, keys, blob)| Offer {
        endpoints,
        keys,
        blob,
    })
}

fn messages() -> impl Strategy<Value = Message> {
    let versions = prop_oneof![Just([1, 1]), any::<[u16; 2]>()];
    let backend = prop_oneof![Just("mock".to_owned()), "[a-z]{0,32}"];
    let hello = (versions, any::<(bool, u64)>(), backend, "[ -~]{0,64}");
    let hello = hello.prop_map(|(versions, (dials, features), backend, device)| {
        Message::Hello(Hello {
            versions: VersionRange { min: versions[0].min(versions[1]), max: versions[0].max(versions[1]) },
            role: if dials { Role::Dialer } else { Role::Listener },
            features,
            backend: Said::from(&*backend),
            device: Said::from(&*device),
        })
    });
    let refuse = (any::<u16>(), "[ -~]{0,256}");
    prop_oneof![
        hello,
        offers().prop_map(Message::Offer),
        offers().prop_map(Message::Answer),
        Just(Message::Ready),
        Just(Message::Ack),
        refuse.prop_map(|(code, text)| Message::Refuse(RefusalCode::from_u16(code), Said::from(&*text))),
    ]
}

proptest! {
    #[test]
    fn every_message_survives_the_wire_however_it_is_cut(
        message in messages(), from: u64, to: u64, cuts in vec(1usize..50, 0..40),
    ) {
        let frame = Frame { kind: message.kind(), from, to, body: message.encode() };
        let bytes = encoded(&frame);
        let (mut decoder, mut rest, mut cuts) = (Decoder::default(), &bytes[..], cuts.into_iter());
        let came = loop {
            let (mut piece, later) = rest.split_at(cuts.next().unwrap_or(rest.len()).min(rest.len()));
            rest = later;
            if let Some(frame) = decoder.take(&mut piece, |_| true).unwrap() {
                break frame;
            }
        };
        prop_assert_eq!(&came, &frame);
        prop_assert_eq!(Message::decode(came.kind, &came.body), Ok(message));
    }

    #[test]
    fn a_message_with_a_byte_less_or_more_is_refused(message in messages(), extra: u8) {
        let body = message.encode();
        let longer = [&body[..], &[extra]].concat();
        prop_assert!(Message::decode(message.kind(), &longer).is_err());
        for len in 0..body.len() {
            prop_assert!(Message::decode(message.kind(), &body[..len]).is_err(), "{} of {}", len, body.len());
        }
    }

    #[test]
    fn any_inside_is_read_or_refused_and_offers_have_one_encoding(
        kind in 0usize..Kind::ALL.len(), body in vec(prop_oneof![Just(0u8), 0..4u8, any::<u8>()], 0..300),
    ) {
        if let Ok(message) = Message::decode(Kind::ALL[kind], &body)
            && matches!(message, Message::Offer(_) | Message::Answer(_))
        {
            prop_assert_eq!(message.encode(), body);
        }
    }

    #[test]
    fn any_stream_of_bytes_ends_in_an_error_or_is_waited_on_and_is_not_hoarded(
        dials: bool, pieces in vec(vec(any::<u8>(), 0..100), 0..20), honest in 0usize..30,
    ) {
        let role = if dials { Role::Dialer } else { Role::Listener };
        let mut machine = Handshake::new(role, us(1));
        // The first bytes of a frame that claims all a HELLO may have: past the magic, so that more is looked at.
        let max = Kind::Hello.body_bytes_max() as u32;
        let header = [b"\x89WT\n", &max.to_le_bytes()[..], &[1], &[0; 16]].concat();
        let mut heard = machine.receive(&header[..honest.min(header.len())]);
        for piece in &pieces {
            if heard.is_ok() {
                heard = machine.receive(piece);
            }
            prop_assert!(machine.held_bytes() <= 512, "{} bytes held", machine.held_bytes());
        }
        prop_assert!(!machine.is_established());
    }
}

proptest! {
    #[test]
    fn well_formed_messages_in_any_order_end_in_an_error_or_are_waited_on(
        dials: bool, sent in vec((messages(), 1u64..4, 0u64..3), 1..12),
    ) {
        // Instance 1 is ours; the peer is 2, or 3, or claims to be us.
        let role = if dials { Role::Dialer } else { Role::Listener };
        let mut side = Side::of(role, us(1));
        for (message, from, to) in sent {
            side.turn();
            side.hear(&encoded(&Frame { kind: message.kind(), from, to, body: message.encode() }));
            side.turn();
        }
        // Whoever gets through has said all there is to say.
        prop_assert!(!side.machine.is_established() || side.error.is_none() && side.got.is_some());
    }
}

#[test]
fn an_offer_at_every_limit_fits_into_its_frame() {
    let key = |n: usize| NamedKey {
        name: format!("{n:064}"),
        key: RemoteKey::from_bytes(&[1; RemoteKey::MAX_BYTES]).unwrap(),
        len_bytes: u64::MAX,
    };
    let address = EndpointAddress::from_bytes(&[2; EndpointAddress::MAX_BYTES]).unwrap();
    let largest = Offer {
        endpoints: vec![address; Offer::ENDPOINTS_MAX],
        keys: (0..Offer::KEYS_MAX).map(key).collect(),
        blob: vec![3; Offer::BLOB_BYTES_MAX],
    };
    largest.check().unwrap();
    let body = Message::Answer(largest.clone()).encode();
    assert_eq!(body.len(), Kind::Answer.body_bytes_max());
    assert_eq!(Message::decode(Kind::Answer, &body), Ok(Message::Answer(largest)));
}

#[test]
fn numbers_past_their_limits_are_refused_before_what_they_count() {
    // 129 endpoints, and not one of them there.
    let refused = Message::decode(Kind::Offer, &129u16.to_le_bytes());
    assert!(matches!(refused, Err(Garbage::Malformed { what, .. }) if what.contains("more")), "{refused:?}");
    // An address of 4097 bytes.
    let mut body = [&1u16.to_le_bytes()[..], &4097u16.to_le_bytes()].concat();
    body.resize(body.len() + 4097, 0);
    let refused = Message::decode(Kind::Offer, &body);
    assert!(
        matches!(refused, Err(Garbage::Malformed { what, .. }) if what.contains("longer")),
        "{refused:?}"
    );
}

#[test]
fn an_offer_that_breaks_a_rule_is_refused_by_whoever_reads_it() {
    let mut twice = offer(Role::Dialer, 1);
    twice.keys[1].name = twice.keys[0].name.clone();
    let refused = Message::decode(Kind::Offer, &Message::Offer(twice).encode()).unwrap_err();
    assert_eq!(refused.to_string(), "an OFFER with \"dialer-1\" names two keys");
    let none = Message::Offer(Offer::default());
    assert!(matches!(Message::decode(Kind::Offer, &none.encode()), Err(Garbage::BadOffer { .. })));
}

#[test]
fn a_hello_that_makes_no_sense_is_refused_by_what_is_wrong_in_it() {
    let hello = |min: u16, max: u16, role: u8, backend: usize, device: usize| {
        let numbers = [&min.to_le_bytes()[..], &max.to_le_bytes(), &[role], &[0; 8]].concat();
        let texts =
            [&[backend as u8][..], &vec![b'b'; backend], &[device as u8], &vec![b'd'; device]].concat();
        Message::decode(Kind::Hello, &[numbers, texts].concat())
    };
    assert!(matches!(hello(1, 1, 1, 32, 64), Ok(Message::Hello(_))));
    let bad = [
        (hello(2, 1, 1, 4, 4), "the oldest version is newer"),
        (hello(1, 1, 2, 4, 4), "the role is neither"),
        (hello(1, 1, 1, 33, 4), "something is longer"),
        (hello(1, 1, 1, 4, 65), "something is longer"),
    ];
    for (decoded, part) in bad {
        let said = decoded.unwrap_err().to_string();
        assert!(said.starts_with(&format!("a HELLO in which {part}")), "{said}");
    }
}

#[test]
fn a_peer_s_words_are_cleaned_when_they_are_read() {
    let body = [&9u16.to_le_bytes()[..], &5u16.to_le_bytes(), b"\x1b[2J\n"].concat();
    let Ok(Message::Refuse(RefusalCode::Application, text)) = Message::decode(Kind::Refuse, &body) else {
        panic!("it is a REFUSE")
    };
    assert_eq!(text.as_str(), "\u{fffd}[2J\u{fffd}");
}

#[test]
fn a_device_name_that_is_too_long_is_cut_and_does_not_keep_anybody_from_speaking() {
    let long = "ü".repeat(100);
    let mut handshake =
        Handshake::new(Role::Dialer, wavetank_engine::bootstrap::Introduction { device: long, ..us(1) });
    let bytes = handshake.to_send().to_vec();
    let frame = Decoder::default().take(&mut &bytes[..], |_| true).unwrap().unwrap();
    let Ok(Message::Hello(hello)) = Message::decode(frame.kind, &frame.body) else { panic!("it is a HELLO") };
    assert_eq!(hello.device.as_str(), "ü".repeat(32));
    handshake.sent(bytes.len());
    assert_eq!(handshake.to_send(), b"");
}
