//! The wire: golden bytes, round trips, and garbage of every kind.

use proptest::prelude::*;
use wavetank_rpc::{
    ChunkError, ChunkKey, ChunkStat, FRONT_BYTES_MAX, Malformed, Once, READ_INLINE_BYTES_MAX, ReadCall,
    ReadReply, RemoveOrder, Reply, Request, WriteId, WriteOrder,
};

const KEY: ChunkKey = ChunkKey { inode: 0x0102_0304_0506_0708, index: 0x0a0b_0c0d };
const ONCE: Once = Once { id: WriteId { writer: 0x1122, sequence: 0x33 }, oldest_open: 0x30 };

fn sealed(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| str::from_utf8(pair).expect("ASCII"));
    let mut bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect();
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

#[test]
fn requests_are_laid_out_as_published() {
    let write = WriteOrder {
        key: KEY,
        offset: 0x1000,
        len_bytes: 0x2000,
        crc32c: 0xdead_beef,
        once: ONCE,
        durable: true,
    };
    let key = "0807060504030201 0d0c0b0a";
    let once = "2211000000000000 3300000000000000 3000000000000000";
    for (request, said) in [
        (
            Request::Read(ReadCall { key: KEY, offset: 0x1000, len_bytes: 0x2000 }),
            format!("01 01 0000 {key} 0010000000000000 00200000"),
        ),
        (Request::Write(write), format!("01 02 0100 {key} 0010000000000000 00200000 efbeadde {once}")),
        (
            Request::Remove(RemoveOrder { key: KEY, once: ONCE, durable: false }),
            format!("01 03 0000 {key} {once}"),
        ),
        (Request::Stat(KEY), format!("01 04 0000 {key}")),
    ] {
        let bytes = sealed(&said);
        assert_eq!(request.encode(), bytes);
        assert_eq!(Request::decode(&bytes), Ok(request));
    }
}

#[test]
fn a_whole_front_with_its_sum_is_as_published() {
    let front = Request::Stat(ChunkKey { inode: 1, index: 2 }).encode();
    assert_eq!(front[..16], [1, 4, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(front[16..], GOLDEN_SUM.to_le_bytes());
}

/// CRC32-C of the sixteen bytes above, from a bitwise sum of its own.
const GOLDEN_SUM: u32 = {
    let bytes = [1u8, 4, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0];
    let mut sum = u32::MAX;
    let mut at = 0;
    while at < bytes.len() {
        sum ^= bytes[at] as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 & (0u32.wrapping_sub(sum & 1)));
            bit += 1;
        }
        at += 1;
    }
    !sum
};

#[test]
fn replies_are_laid_out_as_published() {
    let inline = ReadReply::Inline { crc32c: 0xdead_beef, data: vec![7, 8, 9] };
    for (reply, said) in [
        (
            Reply::Read(Ok(ReadReply::Placed { len_bytes: 0x2000, crc32c: 0xdead_beef })),
            "01 01 0000 00 00200000 efbeadde",
        ),
        (Reply::Read(Ok(inline)), "01 01 0000 01 03000000 efbeadde 070809"),
        (Reply::Write(Ok(())), "01 02 0000"),
        (Reply::Remove(Ok(())), "01 03 0000"),
        (Reply::Stat(Ok(ChunkStat { len_bytes: 0x4000 })), "01 04 0000 0040000000000000"),
        (
            Reply::Write(Err(ChunkError::NoSpace { need_bytes: 0x10, free_bytes: 3 })),
            "01 02 0300 1000000000000000 0300000000000000",
        ),
        (Reply::Unread(ChunkError::Unsupported), "01 00 0f00 0000000000000000 0000000000000000"),
        (Reply::Stat(Err(ChunkError::Unknown(0x1234))), "01 04 3412 0000000000000000 0000000000000000"),
    ] {
        let bytes = sealed(said);
        assert_eq!(reply.encode(), Some(bytes.clone()));
        assert_eq!(Reply::decode(&bytes), Ok(reply));
    }
}

#[test]
fn what_makes_no_sense_is_told_by_its_reason() {
    let key = "0807060504030201 0d0c0b0a";
    let request = |said: &str| Request::decode(&sealed(said)).expect_err("no request");
    assert_eq!(request(&format!("02 04 0000 {key}")), Malformed::Version(2));
    assert_eq!(request(&format!("01 09 0000 {key}")), Malformed::Call(9));
    assert!(matches!(request(&format!("01 04 0100 {key}")), Malformed::Inside(_)), "stat has no durable");
    assert!(matches!(request(&format!("01 04 0000 {key} 00")), Malformed::Inside(_)), "left over");
    assert!(matches!(request("01 04 0000"), Malformed::Inside(_)), "cut off");
    let reply = |said: &str| Reply::decode(&sealed(said)).expect_err("no reply");
    assert!(matches!(reply("01 00 0000"), Malformed::Inside(_)), "an unread call does not succeed");
    assert!(
        matches!(reply("01 01 0000 01 ffffffff 00000000 07"), Malformed::Inside(_)),
        "a length that lies"
    );
    assert!(matches!(reply("01 01 0000 02 00000000 00000000"), Malformed::Inside(_)));
    let mut damaged = Request::Stat(KEY).encode();
    damaged[5] ^= 1;
    assert_eq!(Request::decode(&damaged), Err(Malformed::Damaged));
    assert_eq!(ChunkError::from(Malformed::Version(2)), ChunkError::Unsupported);
    assert_eq!(ChunkError::from(Malformed::Damaged), ChunkError::Malformed);
}

#[test]
fn inline_data_fills_a_front_exactly_and_no_more_is_carried() {
    let reply = |len| Reply::Read(Ok(ReadReply::Inline { crc32c: 0, data: vec![1; len] }));
    let full = reply(READ_INLINE_BYTES_MAX).encode().expect("it fits");
    assert_eq!(full.len(), FRONT_BYTES_MAX);
    assert_eq!(Reply::decode(&full), Ok(reply(READ_INLINE_BYTES_MAX)));
    assert_eq!(reply(READ_INLINE_BYTES_MAX + 1).encode(), None);
    assert!(Reply::decode(&[full, vec![0]].concat()).is_err());
}

fn key() -> impl Strategy<Value = ChunkKey> {
    any::<(u64, u32)>().prop_map(|(inode, index)| ChunkKey { inode, index })
}

fn once() -> impl Strategy<Value = Once> {
    any::<(u64, u64, u64)>()
        .prop_map(|(writer, sequence, oldest_open)| Once { id: WriteId { writer, sequence }, oldest_open })
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (key(), any::<(u64, u32)>()).prop_map(|(key, (offset, len_bytes))| Request::Read(ReadCall {
            key,
            offset,
            len_bytes
        })),
        (key(), once(), any::<(u64, u32, u32, bool)>()).prop_map(
            |(key, once, (offset, len_bytes, crc32c, durable))| {
                Request::Write(WriteOrder { key, offset, len_bytes, crc32c, once, durable })
            }
        ),
        (key(), once(), any::<bool>()).prop_map(|(key, once, durable)| Request::Remove(RemoveOrder {
            key,
            once,
            durable
        })),
        key().prop_map(Request::Stat),
    ]
}

fn error() -> impl Strategy<Value = ChunkError> {
    (1..40u16, any::<(u64, u64)>()).prop_map(|(number, (a, b))| ChunkError::from_wire(number, a, b))
}

fn reply() -> impl Strategy<Value = Reply> {
    let data = proptest::collection::vec(any::<u8>(), 0..=READ_INLINE_BYTES_MAX);
    prop_oneof![
        any::<(u32, u32)>()
            .prop_map(|(len_bytes, crc32c)| Reply::Read(Ok(ReadReply::Placed { len_bytes, crc32c }))),
        (any::<u32>(), data).prop_map(|(crc32c, data)| Reply::Read(Ok(ReadReply::Inline { crc32c, data }))),
        error().prop_map(|error| Reply::Read(Err(error))),
        prop_oneof![Just(Ok(())), error().prop_map(Err)].prop_map(Reply::Write),
        prop_oneof![Just(Ok(())), error().prop_map(Err)].prop_map(Reply::Remove),
        prop_oneof![any::<u64>().prop_map(|len_bytes| Ok(ChunkStat { len_bytes })), error().prop_map(Err)]
            .prop_map(Reply::Stat),
        error().prop_map(Reply::Unread),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_encoded_is_decoded(request in request(), reply in reply()) {
        let front = request.encode();
        prop_assert!(front.len() <= FRONT_BYTES_MAX);
        prop_assert_eq!(Request::decode(&front), Ok(request));
        let front = reply.encode().expect("it fits");
        prop_assert!(front.len() <= FRONT_BYTES_MAX);
        prop_assert_eq!(Reply::decode(&front), Ok(reply));
    }

    #[test]
    fn any_flipped_bit_is_noticed(request in request(), reply in reply(), at in any::<u16>()) {
        let flip = |mut front: Vec<u8>| {
            let bit = usize::from(at) % (front.len() * 8);
            front[bit / 8] ^= 1 << (bit % 8);
            front
        };
        prop_assert!(Request::decode(&flip(request.encode())).is_err());
        prop_assert!(Reply::decode(&flip(reply.encode().expect("it fits"))).is_err());
    }

    #[test]
    fn garbage_is_refused_or_means_exactly_itself(mut said in proptest::collection::vec(any::<u8>(), 0..560), call in 0..6u8) {
        // Most would fail at the first byte or the sum; these get further.
        if let [version, kind, a, b, ..] = &mut said[..] {
            (*version, *kind, *a, *b) = (1, call, *a & 3, 0);
        }
        let sum = crc32c::crc32c(&said).to_le_bytes();
        said.extend_from_slice(&sum);
        if let Ok(request) = Request::decode(&said) {
            prop_assert_eq!(request.encode(), said.clone());
        }
        // Details that an error does not have are dropped, so a reply need not come back as the same bytes.
        if let Ok(reply) = Reply::decode(&said) {
            let again = reply.encode().expect("it came from a front");
            prop_assert_eq!(Reply::decode(&again), Ok(reply));
        }
    }

    #[test]
    fn cut_off_fronts_are_refused(request in request(), cut in any::<u8>()) {
        let front = request.encode();
        let cut = usize::from(cut) % front.len();
        prop_assert!(Request::decode(&front[..cut]).is_err());
    }
}
