//! Frames and hellos on the wire: golden bytes, there and back, and anything at all.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use wavetank_messenger::Policy;
use wavetank_messenger::frame::{
    BadFrame, Carriage, FRONT_BYTES_MAX, FrameKind, HEADER_BYTES, Header, PlaceOnWire, SINK_BYTES,
    SinkOnWire, Sort,
};
use wavetank_messenger::hello::{BadHello, Fate, HELLO_BYTES, Hello};

/// A header in which no two numbers are alike.
fn full(kind: FrameKind) -> Header {
    Header {
        r#type: 0x0102,
        front_len: 0x0304,
        granted: 0x0506_0708,
        acked: 0x090a_0b0c,
        sequence: 0x0d0e_0f10_1112_1314,
        id: 0x1516_1718_191a_1b1c,
        budget_ns: 0x1d1e_1f20_2122_2324,
        data_len: 0x2526_2728_292a_2b2c,
        place: PlaceOnWire { extent: 0x2d2e_2f30, offset: 0x3536_3738_393a_3b3c },
        life: 0x3132_3334,
        ..Header::new(kind)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Length of a frame with this header.
fn len_of(header: &Header) -> u64 {
    header.data_at() as u64 + header.inside_len()
}

#[test]
fn every_kind_sort_and_carriage_has_the_bytes_it_always_had() {
    let numbers =
        "0201 0403 08070605 0c0b0a09 14131211100f0e0d 1c1b1a1918171615 24232221201f1e1d 2c2b2a2928272625 \
                   302f2e2d 34333231 3c3b3a3938373635"
            .replace(' ', "");
    for (kind, number) in FrameKind::ALL.into_iter().zip(1u8..) {
        let bytes = full(kind).encode();
        assert_eq!(hex(&bytes[..HEADER_BYTES]), format!("a701{number:02x}00{numbers}"), "{kind:?}");
    }
    let message = |sort, carriage| Header { sort, carriage, ..full(FrameKind::Message) };
    let sorts = [
        (message(Sort::OneWay, Carriage::Inside), 0x00),
        (message(Sort::OneWay, Carriage::Offered), 0x04),
        (message(Sort::OneWay, Carriage::Asked), 0x08),
        (message(Sort::Request, Carriage::Inside), 0x01),
        (message(Sort::Request, Carriage::Offered), 0x05),
        (message(Sort::Request, Carriage::Asked), 0x09),
        (message(Sort::Reply, Carriage::Inside), 0x02),
        (message(Sort::Reply, Carriage::Offered), 0x06),
        (message(Sort::Reply, Carriage::Asked), 0x0a),
        (message(Sort::Reply, Carriage::InSink), 0x0e),
        (Header { failed: true, ..message(Sort::Reply, Carriage::Inside) }, 0x12),
        (message(Sort::Held, Carriage::Inside), 0x03),
        (message(Sort::Held, Carriage::Offered), 0x07),
        (message(Sort::Held, Carriage::Asked), 0x0b),
        (message(Sort::Release, Carriage::Inside), 0x80),
        (Header { starved: true, ..message(Sort::OneWay, Carriage::Inside) }, 0x40),
    ];
    for (header, flags) in sorts {
        assert_eq!(
            hex(&header.encode()[..HEADER_BYTES]),
            format!("a70101{flags:02x}{numbers}"),
            "{header:?}"
        );
    }
    let place = PlaceOnWire { extent: 0x4142_4344, offset: 0x494a_4b4c_4d4e_4f50 };
    let sink = Some(SinkOnWire { place, len: 0x5152_5354_5556_5758 });
    let with_sink = Header { sink, ..message(Sort::Request, Carriage::Inside) };
    let sink = "44434241 00000000 504f4e4d4c4b4a49 5857565554535251".replace(' ', "");
    assert_eq!(hex(&with_sink.encode()), format!("a7010121{numbers}{sink}"));
}

#[test]
fn a_hello_has_the_bytes_it_always_had() {
    let hello = Hello {
        versions: (1, 1),
        policy: Policy::LosslessPeer,
        fate: Fate::Resume,
        features: 7,
        name: 0x0102_0304_0506_0708,
        life: 9,
        peer_life: 10,
        received: 11,
        credits: 12,
        window: 13,
        frame_bytes: 8192,
        message_bytes_max: 1 << 20,
        silence_ns: 14_000_000,
    };
    let bytes = hello.encode();
    let expected = "57544d53 0100 0100 03 01 0000 0700000000000000 0807060504030201 0900000000000000 \
                    0a00000000000000 0b00000000000000 0c000000 0d000000 00200000 0000100000000000 \
                    809fd50000000000";
    assert_eq!(hex(&bytes), expected.replace(' ', ""));
    assert_eq!((bytes.len(), Hello::decode(&bytes)), (HELLO_BYTES, Ok(hello)));
}

#[test]
fn what_contradicts_itself_is_no_frame() {
    let message =
        |sort, carriage| Header { sort, carriage, front_len: 0, data_len: 0, ..full(FrameKind::Message) };
    let decoded = |header: &Header| Header::decode(&header.encode(), len_of(header));
    assert!(decoded(&message(Sort::Reply, Carriage::InSink)).is_ok());
    for header in [
        message(Sort::OneWay, Carriage::InSink),
        message(Sort::Request, Carriage::InSink),
        message(Sort::Release, Carriage::Offered),
        Header { failed: true, ..message(Sort::Request, Carriage::Inside) },
        Header { failed: true, ..message(Sort::Reply, Carriage::Offered) },
        Header { sort: Sort::Held, front_len: 0, ..full(FrameKind::Ping) },
    ] {
        assert!(matches!(decoded(&header), Err(BadFrame::Flags(_))), "{header:?}");
    }
    let front = Header { front_len: FRONT_BYTES_MAX as u16 + 1, ..message(Sort::OneWay, Carriage::Inside) };
    assert_eq!(decoded(&front), Err(BadFrame::Front(1025)));
    let sink = Some(SinkOnWire { place: PlaceOnWire::default(), len: 1 });
    let mut bytes = Header { sink, ..message(Sort::Request, Carriage::Inside) }.encode();
    assert!(Header::decode(&bytes, 88).is_ok());
    bytes[69] = 1;
    assert_eq!(Header::decode(&bytes, 88), Err(BadFrame::Reserved(0x100)));
    for len in 0..HEADER_BYTES {
        let short = Header::decode(&bytes[..len], len as u64);
        assert!(matches!(short, Err(BadFrame::Short { .. })), "{len}");
    }
}

fn header() -> impl Strategy<Value = Header> {
    let place = || (any::<u32>(), any::<u64>()).prop_map(|(extent, offset)| PlaceOnWire { extent, offset });
    let sink =
        proptest::option::of((place(), any::<u64>()).prop_map(|(place, len)| SinkOnWire { place, len }));
    let shape = (0usize..7, 0usize..5, 0usize..4, any::<bool>(), any::<bool>(), sink, place());
    let numbers = (any::<u16>(), 0..=FRONT_BYTES_MAX as u16, any::<[u32; 3]>(), any::<[u64; 4]>());
    (shape, numbers).prop_map(
        |((kind, sort, carriage, failed, starved, sink, place), (r#type, front_len, small, large))| {
            let kind = FrameKind::ALL[kind];
            let is_message = kind == FrameKind::Message;
            let sort = [Sort::OneWay, Sort::Request, Sort::Reply, Sort::Held, Sort::Release]
                [if is_message { sort } else { 0 }];
            let all = [Carriage::Inside, Carriage::Offered, Carriage::Asked, Carriage::InSink];
            let carriage = match (sort, all[carriage]) {
                (Sort::Release, _) => Carriage::Inside,
                (sort, Carriage::InSink) if sort != Sort::Reply => Carriage::Inside,
                (_, carriage) if is_message => carriage,
                _ => Carriage::Inside,
            };
            let failed = failed && sort == Sort::Reply && carriage == Carriage::Inside;
            let sink = sink.filter(|_| sort == Sort::Request);
            let [granted, acked, life] = small;
            let [sequence, id, budget_ns, data_len] = large;
            // What is inside has to be there.
            let data_len = if is_message && carriage == Carriage::Inside { data_len >> 1 } else { data_len };
            Header {
                kind,
                sort,
                carriage,
                failed,
                starved,
                r#type,
                front_len,
                granted,
                acked,
                sequence,
                id,
                budget_ns,
                data_len,
                place,
                life,
                sink,
            }
        },
    )
}

proptest! {
    #[test]
    fn a_header_comes_back_as_it_was(header in header()) {
        let bytes = header.encode();
        let len = len_of(&header);
        prop_assert_eq!(Header::decode(&bytes[..header.front_at()], len), Ok(header));
        prop_assert_eq!(Header::decode(&bytes, len + 1), Err(BadFrame::Long(1)));
        let short = Header::decode(&bytes, len - 1);
        prop_assert!(matches!(short, Err(BadFrame::Short { .. })), "{:?}", short);
    }

    #[test]
    fn any_bytes_are_a_frame_that_encodes_to_them_or_none(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
        real in any::<bool>(),
        kind in 0u8..9,
        flags in any::<u8>(),
    ) {
        if real && bytes.len() > 72 {
            bytes[..4].copy_from_slice(&[0xa7, 1, kind, flags]);
            (bytes[7], bytes[68], bytes[69], bytes[70], bytes[71]) = (0, 0, 0, 0, 0);
            bytes[41..48].fill(0);
        }
        let head = &bytes[..bytes.len().min(HEADER_BYTES + SINK_BYTES)];
        // The length it would have to have is not left to chance.
        let mut len = bytes.len() as u64;
        if let Err(BadFrame::Short { need, .. }) = Header::decode(head, len) {
            len = need;
        }
        if let Err(BadFrame::Long(more)) = Header::decode(head, len) {
            len -= more;
        }
        if let Ok(header) = Header::decode(head, len) {
            prop_assert_eq!(&header.encode()[..header.front_at()], &head[..header.front_at()]);
        }
    }

    #[test]
    fn a_hello_is_whatever_encodes_to_its_bytes(change in proptest::collection::vec((0usize..HELLO_BYTES, any::<u8>()), 0..4)) {
        let hello = Hello {
            versions: (1, 1),
            policy: Policy::LossyClient,
            fate: Fate::Open,
            features: 7,
            name: 1,
            life: 9,
            peer_life: 0,
            received: 0,
            credits: 8,
            window: 16,
            frame_bytes: 8192,
            message_bytes_max: 1 << 20,
            silence_ns: 1 << 32,
        };
        let mut bytes = hello.encode();
        for (at, byte) in &change {
            bytes[*at] = *byte;
        }
        match Hello::decode(&bytes) {
            Ok(read) => prop_assert_eq!(read.encode(), bytes),
            Err(BadHello::Version { theirs, .. }) => prop_assert_ne!(theirs, (1, 1)),
            Err(_) => prop_assert!(!change.is_empty()),
        }
    }
}
