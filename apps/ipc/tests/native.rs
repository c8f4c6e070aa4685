//! Our own protocol: golden bytes, round trips, and whatever else may come.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use wavetank_ipc::native::{
    BODY_BYTES_MAX, Frame, Frames, FromClient, FromEngine, Hello, MAGIC, Ring, TooLong, Welcome,
};
use wavetank_ipc::{Code, Details, Found, ReadPath, Wanted, seaweed};

fn take(bytes: &[u8]) -> Frame {
    let mut frames = Frames::default();
    frames.heard(bytes);
    let frame = frames.take().unwrap().unwrap();
    assert_eq!(frames.waiting(), 0);
    frame
}

#[test]
fn the_magic_is_no_length_that_upstream_could_say() {
    let len = u32::from_le_bytes(MAGIC);
    assert!(len > seaweed::FRAME_BYTES_MAX.max(seaweed::REPLY_BYTES_MAX));
}

#[test]
fn bytes_on_the_wire_are_these() {
    let mut bytes = Vec::new();
    let hello = Hello { version_min: 1, version_max: 1, features: 1, name: "a".into() };
    FromClient::Hello(hello).encode(0, &mut bytes);
    assert_eq!(bytes, b"\x0f\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\x01\0\0\0\0\0\0\0\x01\0a");
    bytes.clear();
    FromClient::Release { offset: 0x1000, generation: 5 }.encode(0, &mut bytes);
    assert_eq!(bytes, b"\x10\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\x05\0\0\0\0\0\0\0");
    bytes.clear();
    FromEngine::Pong(0x0102).encode(9, &mut bytes);
    assert_eq!(bytes, b"\x08\0\0\0\x84\0\0\0\x09\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0");
    bytes.clear();
    FromEngine::Refused { code: Code::PastEnd, detail: 7, text: "x".into() }.encode(2, &mut bytes);
    assert_eq!(bytes, b"\x0f\0\0\0\x83\0\0\0\x02\0\0\0\0\0\0\0\x05\0\0\0\x07\0\0\0\0\0\0\0\x01\0x");
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let server = proptest::option::of("[a-z]{1,40}:[0-9]{1,5}");
    (any::<(u32, u64, u32, u64, u64, u64)>(), server).prop_map(
        |((volume, needle, cookie, offset, len, timeout_ns), server)| Wanted {
            volume,
            needle,
            cookie,
            offset,
            len,
            server,
            timeout_ns,
        },
    )
}

fn found() -> impl Strategy<Value = Found> {
    let details = (
        any::<u8>(),
        any::<Option<u64>>(),
        any::<Option<u32>>(),
        any::<Option<String>>(),
        any::<Option<String>>(),
    );
    (any::<[u64; 4]>(), any::<u32>(), 0u8..3, details).prop_map(
        |([offset, len, generation, whole_len], crc32c, path, d)| {
            let cut = |text: Option<String>| text.map(|text| text[..text.floor_char_boundary(255)].into());
            let path = ReadPath::from_number(path).unwrap();
            let details =
                Details { flags: d.0, last_modified_s: d.1, etag: d.2, mime: cut(d.3), name: cut(d.4) };
            Found { offset, len, generation, whole_len, crc32c, path, details }
        },
    )
}

proptest! {
    #[test]
    fn what_a_client_says_is_read(wanted in wanted(), id: u64, word: u64, index: u16) {
        for message in [
            FromClient::Read(wanted),
            FromClient::Cancel,
            FromClient::Ping(word),
            FromClient::GetCapabilities,
            FromClient::GetRing(Ring { entries: word as u32 }),
            FromClient::NameServer { index, server: "vol:8080".into() },
        ] {
            let mut bytes = Vec::new();
            message.encode(id, &mut bytes);
            let frame = take(&bytes);
            prop_assert_eq!(frame.id, id);
            prop_assert_eq!(FromClient::decode(&frame).unwrap(), message);
            prop_assert!(FromEngine::decode(&frame).is_err());
        }
    }

    #[test]
    fn what_an_engine_says_is_read(found in found(), id: u64, word: u64, text: String) {
        let welcome = Welcome { version: 1, features: word, simulated: true, arena_bytes: word, device: "rxe0".into(), ..Welcome::default() };
        for message in [
            FromEngine::Found(Box::new(found)),
            FromEngine::Welcome(Box::new(welcome.clone())),
            FromEngine::Capabilities(Box::new(welcome)),
            FromEngine::Refused { code: Code::Busy, detail: word, text: text[..text.floor_char_boundary(1024)].into() },
            FromEngine::Ring(Ring { entries: 8 }),
            FromEngine::Named,
        ] {
            let mut bytes = Vec::new();
            message.encode(id, &mut bytes);
            let frame = take(&bytes);
            prop_assert_eq!(FromEngine::decode(&frame).unwrap(), message);
            for cut in 0..frame.body.len() {
                let short = Frame { body: frame.body[..cut].to_vec(), ..frame.clone() };
                prop_assert!(FromEngine::decode(&short).is_err(), "cut at {}", cut);
            }
        }
    }

    #[test]
    fn random_frames_are_decoded_or_not_and_nothing_worse(kind in 0u16..140, body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let frame = Frame { kind, id: 1, body };
        let _ = FromClient::decode(&frame);
        let _ = FromEngine::decode(&frame);
    }

    #[test]
    fn random_bytes_never_hold_more_than_a_frame(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
        let mut frames = Frames::default();
        let cut = cut.min(bytes.len());
        for part in [&bytes[..cut], &bytes[cut..]] {
            frames.heard(part);
            while let Ok(Some(_)) = frames.take() {}
        }
    }
}

#[test]
fn a_stream_may_be_cut_anywhere_and_a_frame_too_long_ends_it() {
    let mut stream = Vec::new();
    FromClient::Ping(1).encode(1, &mut stream);
    FromClient::GetCapabilities.encode(2, &mut stream);
    for cut in 0..=stream.len() {
        let mut frames = Frames::default();
        let mut ids = Vec::new();
        for part in [&stream[..cut], &stream[cut..]] {
            frames.heard(part);
            while let Some(frame) = frames.take().unwrap() {
                ids.push(frame.id);
            }
        }
        assert_eq!(ids, [1, 2], "cut at {cut}");
    }
    let mut frames = Frames::default();
    frames.heard(&(BODY_BYTES_MAX + 1).to_le_bytes());
    frames.heard(&[0; 12]);
    assert_eq!(frames.take(), Err(TooLong { len: BODY_BYTES_MAX + 1, id: 0 }));
}
