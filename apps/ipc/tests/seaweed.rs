//! The upstream protocol: bytes that its own programs said, and whatever else may come.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use wavetank_ipc::seaweed::{
    Capabilities, Chunk, CompleteRead, CompleteReadResponse, ErrorReply, FRAME_BYTES_MAX, Frames,
    GetCapabilities, Message, Ping, Pong, StartRead, decode, encode, frame, request_as_go,
};

/// Captured between upstream's Go client and upstream's engine, but for the last two, which are the form that both of them read.
const PING: &str = "3a000000 82a474797065a450696e67a46461746182ac74696d657374616d705f6e73cf18e9b9414c327681a9636c69656e745f6964a8697063\
62656e6368";
const PONG: &str = "1e000000 92a4506f6e6793cf18e9b9414c327681cf18e9b9414c3e1966ce000ba2e5";
const PING_WITHOUT_ID: &str =
    "27000000 82a474797065a450696e67a46461746181ac74696d657374616d705f6e73cf18e9b9414cdefe19";
const GET_CAPABILITIES: &str = "1c000000 82a474797065af4765744361706162696c6974696573a46461746180";
const CAPABILITIES: &str = "66000000 92b74765744361706162696c6974696573526573706f6e73659aa46175746fcd02c9cf0000010000000000cd03e802\
d927666538303a303030303a303030303a303030303a303230303a356566663a666531323a333435360191a46e6f6e65a5302e312e30c2";
const START_READ: &str = "9d000000 82a474797065a9537461727452656164a46461746188a9766f6c756d655f6964ce00000003a96e6565646c655f6964cf\
000000001637037da6636f6f6b6965ce6deadbeea66f6666736574cf0000000000000010a473697a65cf0000000000001000ab72656d6f74655f61646472cf\
0000000000000000aa72656d6f74655f6b6579ce00000000ac74696d656f75745f73656373cf000000000000001e";
const START_READ_RESPONSE: &str = "59000000 92b15374617274526561 64526573706f6e736596d92432396231613762612d386433652d343261612d623064332d\
376130633862326334636534cf00007f0d1000c4d0ce87654321cd1000ce12345678cf18e9b94848d326e1";
const COMPLETE_READ: &str = "7e000000 82a474797065ac436f6d706c65746552656164a46461746184aa73657373696f6e5f6964d92432396231613762612d3864\
33652d343261612d623064332d376130633862326334636534a773756363657373c3b162797465735f7472616e73666572726564cf0000000000001000\
aa636c69656e745f637263ce12345678";
const COMPLETE_READ_RESPONSE: &str = "3c000000 92b4436f6d706c65746552656164526573706f6e736593c3ce12345678be53657373696f6e20636f6d706c65746564\
207375636365737366756c6c79";
const ERROR_AS_ARRAY: &str = "69000000 92a54572726f7294d93153657373696f6e4e6f74466f756e64207b2073657373696f6e5f69643a20226e6f2d737563682d73\
657373696f6e22207dd92353657373696f6e20276e6f2d737563682d73657373696f6e27206e6f7420666f756e64a773657373696f6ec3";
const ERROR: &str = "50000000 82a474797065a54572726f72a46461746184a4636f6465b04e4545444c455f4e4f545f464f554e44a76d657373616765a178a863\
617465676f7279a772657175657374ab7265636f76657261626c65c2";
const PONG_AS_MAP: &str = "4a000000 82a474797065a4506f6e67a46461746183b3636c69656e745f74696d657374616d705f6e7301b37365727665725f74696d\
657374616d705f6e7302ad7365727665725f7274745f6e7301";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn body(hex: &str) -> Vec<u8> {
    let mut frames = Frames::new(FRAME_BYTES_MAX);
    frames.heard(&bytes(hex));
    let Some(Chunk::Body(body)) = frames.take() else { panic!("no frame in {hex}") };
    assert!(!frames.is_half(), "more than a frame in {hex}");
    body
}

const SESSION: &str = "29b1a7ba-8d3e-42aa-b0d3-7a0c8b2c4ce4";

fn ping(timestamp_ns: u64, client_id: Option<&str>) -> Message {
    Message::Ping(Ping { timestamp_ns, client_id: client_id.map(str::to_owned) })
}

fn requests() -> Vec<(&'static str, Message)> {
    vec![
        (PING, ping(0x18e9_b941_4c32_7681, Some("ipcbench"))),
        (PING_WITHOUT_ID, ping(0x18e9_b941_4cde_fe19, None)),
        (GET_CAPABILITIES, Message::GetCapabilities(GetCapabilities { client_id: None })),
        (
            START_READ,
            Message::StartRead(StartRead {
                volume_id: 3,
                needle_id: 0x1637_037d,
                cookie: 0x6dea_dbee,
                offset: 16,
                size: 4096,
                timeout_secs: 30,
                ..StartRead::default()
            }),
        ),
        (
            COMPLETE_READ,
            Message::CompleteRead(CompleteRead {
                session_id: SESSION.into(),
                success: true,
                bytes_transferred: 4096,
                client_crc: Some(0x1234_5678),
                error_message: None,
            }),
        ),
    ]
}

#[test]
fn requests_of_the_go_client_are_read_and_written_byte_for_byte() {
    for (hex, message) in requests() {
        assert_eq!(decode(&body(hex)).unwrap(), message);
        assert_eq!(frame(&request_as_go(&message).unwrap()), bytes(hex), "{message:?}");
    }
}

#[test]
fn replies_of_upstreams_engine_are_read() {
    let pong = Pong {
        client_timestamp_ns: 0x18e9_b941_4c32_7681,
        server_timestamp_ns: 0x18e9_b941_4c3e_1966,
        server_rtt_ns: 0xba2e5,
    };
    assert_eq!(decode(&body(PONG)).unwrap(), Message::Pong(pong));
    let Message::GetCapabilitiesResponse(capabilities) = decode(&body(CAPABILITIES)).unwrap() else {
        panic!()
    };
    let expected = Capabilities {
        device_name: "auto".into(),
        vendor_id: 713,
        max_transfer_size: 1 << 40,
        max_sessions: 1000,
        active_sessions: 2,
        port_gid: "fe80:0000:0000:0000:0200:5eff:fe12:3456".into(),
        port_lid: 1,
        supported_auth: vec!["none".into()],
        version: "0.1.0".into(),
        ..Capabilities::default()
    };
    assert_eq!(*capabilities, expected);
    let Message::StartReadResponse(started) = decode(&body(START_READ_RESPONSE)).unwrap() else { panic!() };
    assert_eq!((started.session_id.as_str(), started.transfer_size), (SESSION, 4096));
    assert_eq!((started.expected_crc, started.local_key), (0x1234_5678, 0x8765_4321));
    let completed = CompleteReadResponse {
        success: true,
        server_crc: Some(0x1234_5678),
        message: Some("Session completed successfully".into()),
    };
    assert_eq!(decode(&body(COMPLETE_READ_RESPONSE)).unwrap(), Message::CompleteReadResponse(completed));
    let Message::Error(error) = decode(&body(ERROR_AS_ARRAY)).unwrap() else { panic!() };
    assert_eq!((error.category.as_str(), error.recoverable), ("session", true));
}

#[test]
fn replies_are_maps_with_names() {
    let error = ErrorReply {
        code: "NEEDLE_NOT_FOUND".into(),
        message: "x".into(),
        category: "request".into(),
        recoverable: false,
    };
    assert_eq!(frame(&encode(&Message::Error(error))), bytes(ERROR));
    let pong = Pong { client_timestamp_ns: 1, server_timestamp_ns: 2, server_rtt_ns: 1 };
    assert_eq!(frame(&encode(&Message::Pong(pong))), bytes(PONG_AS_MAP));
}

#[test]
fn every_form_that_upstreams_engine_took_is_taken() {
    let want = ping(7, None);
    // {"type": "Ping", "data": {"timestamp_ns": 7}} in fixext-free pieces.
    let (kind, ty) = (b"\xa4type".as_slice(), b"\xa4Ping".as_slice());
    let (data, key) = (b"\xa4data".as_slice(), b"\xactimestamp_ns".as_slice());
    let forms: [&[&[u8]]; 7] = [
        &[b"\x82", kind, ty, data, b"\x81", key, b"\x07"],
        &[b"\x82", data, b"\x81", key, b"\x07", kind, ty],
        &[b"\x92", ty, b"\x92", b"\x07", b"\xc0"],
        &[b"\x92", ty, b"\x81", key, b"\x07"],
        &[b"\x82", kind, ty, data, b"\x92", b"\x07", b"\xc0"],
        &[b"\x82", data, b"\x92", b"\x07", b"\xc0", kind, ty],
        &[
            b"\x83",
            kind,
            ty,
            b"\xa5extra",
            b"\x91\x80",
            data,
            b"\x82",
            b"\xa1x",
            b"\x91\xc3",
            key,
            b"\xcd\x00\x07",
        ],
    ];
    for form in forms {
        assert_eq!(decode(&form.concat()).as_ref(), Ok(&want), "{form:?}");
    }
}

#[test]
fn what_is_no_message_is_told_as_such() {
    let long = [&b"\x82\xa4type\xa4Ping\xa4data\x81\xactimestamp_ns\x07"[..], b"\xc0"].concat();
    assert!(decode(&long).unwrap_err().to_string().contains("1 bytes follow"));
    for bad in [
        &b""[..],
        b"\xc0",
        b"\x82\xa4type\xa4Nope\xa4data\x80",
        b"\x82\xa4type\xa4Ping\xa4data\x80",
        b"\x81\xa4Ping\x81\xactimestamp_ns\x07",
        b"\x82\xa4type\xa4Ping\xa4data\x81\xactimestamp_ns\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        // An array of 2^32 - 1 where `supported_auth` is: nothing is allocated for it.
        b"\x92\xb7GetCapabilitiesResponse\x9a\xa1a\x01\x01\x01\x01\xa1a\x01\xdd\xff\xff\xff\xff",
    ] {
        assert!(decode(bad).is_err(), "{bad:?}");
    }
    let deep = [&b"\x83\xa1x"[..], &[0x91; 100_000]].concat();
    assert!(decode(&deep).is_err());
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    let stream: Vec<u8> = requests().iter().flat_map(|(hex, _)| bytes(hex)).collect();
    let all: Vec<Message> = requests().into_iter().map(|(_, message)| message).collect();
    for cut in 0..=stream.len() {
        let mut frames = Frames::new(FRAME_BYTES_MAX);
        let mut said = Vec::new();
        for part in [&stream[..cut], &stream[cut..]] {
            frames.heard(part);
            while let Some(Chunk::Body(body)) = frames.take() {
                said.push(decode(&body).unwrap());
            }
        }
        assert_eq!((&said, frames.is_half()), (&all, false), "cut at {cut}");
    }
}

#[test]
fn a_frame_of_1_mib_is_taken_and_one_byte_more_is_told_and_skipped() {
    let mut frames = Frames::new(FRAME_BYTES_MAX);
    frames.heard(&frame(&vec![0; 1 << 20]));
    assert_eq!(frames.take(), Some(Chunk::Body(vec![0; 1 << 20])));
    for step in [1 << 20, 65_536, 4097] {
        let stream = [frame(&vec![7; (1 << 20) + 1]), bytes(PING)].concat();
        let mut chunks = Vec::new();
        for part in stream.chunks(step) {
            frames.heard(part);
            while let Some(chunk) = frames.take() {
                chunks.push(chunk);
            }
            assert!(frames.waiting() <= step, "what is skipped is not kept");
        }
        assert_eq!(chunks, [Chunk::TooLong((1 << 20) + 1), Chunk::Body(body(PING))]);
    }
}

proptest! {
    #[test]
    fn random_bytes_are_decoded_or_not_and_nothing_worse(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
        let mut frames = Frames::new(64);
        frames.heard(&bytes);
        while frames.take().is_some() {}
    }

    #[test]
    fn a_flipped_bit_is_decoded_or_not_and_nothing_worse(which in 0usize..5, at in any::<usize>(), bit in 0u8..8) {
        let mut bytes = body(requests()[which].0);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(message) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&message)).unwrap(), message);
        }
    }

    #[test]
    fn what_is_written_is_read(volume_id: u32, needle_id: u64, size: u64, timeout_secs: u64, token: Option<String>) {
        let start = StartRead { volume_id, needle_id, size, timeout_secs, auth_token: token, ..StartRead::default() };
        let message = Message::StartRead(start);
        prop_assert_eq!(decode(&encode(&message)).unwrap(), message.clone());
        prop_assert_eq!(decode(&request_as_go(&message).unwrap()).unwrap(), message);
    }
}
