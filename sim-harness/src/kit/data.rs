//! Bytes: every verb, size and alignment, and nothing beside the target.

use wavetank_contract::{Access, EndpointSpec, Mtu, OpKind, RemoteAddr, Sge};

use super::bench::{A, B, Bench, End, Extra, PLAIN, bytes};
use super::case::{Case, raw};
use super::stop::{Ended, Stop, ensure};
use super::work::{W, read, recv, send, write};
use crate::lab::Lab;

/// Around packets of every usual size.
const SIZES: [u32; 13] = [0, 1, 7, 8, 255, 256, 257, 1023, 1024, 1025, 4096, 4097, 20_003];

const MIB: u32 = 1 << 20;

pub(super) fn cases<L: Lab>() -> Vec<Case<L>> {
    vec![
        raw!(Data, a_write_of_any_size_lands_and_touches_nothing_else),
        raw!(Data, a_read_of_any_size_brings_what_the_owner_put_there, Reads),
        raw!(Data, a_send_of_any_size_meets_its_receive),
        raw!(Data, a_mebibyte_is_written_whole),
        raw!(Data, a_mebibyte_is_read_whole, Reads),
        raw!(Data, a_mebibyte_is_sent_whole),
        raw!(Data, every_alignment_is_written_right),
        raw!(Data, every_alignment_is_read_right, Reads),
        raw!(Data, every_mtu_carries_the_same_bytes, Reads),
        raw!(Data, a_message_may_be_shorter_than_its_receive),
        raw!(Data, a_hundred_works_in_flight_all_land, Reads),
        raw!(Data, both_directions_carry_at_once, Reads),
        raw!(Data, endpoints_of_one_device_reach_each_other),
        raw!(Data, works_of_one_endpoint_use_several_regions),
        raw!(Data, one_sided_works_need_no_polling_at_the_target, OneSided, Reads),
    ]
}

/// Where the `n`th of many sources begins: each elsewhere, so that one that was not carried is missed.
fn source(n: usize) -> usize {
    4099 + 1009 * n
}

fn a_write_of_any_size_lands_and_touches_nothing_else<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    for (n, len) in SIZES.into_iter().enumerate() {
        let local = b.pieces(A, source(n) as u64, len);
        b.go(x, &[write(n as u64, &local, b.at(x, 131_071))])?;
        b.good(x, [n as u64])?;
        b.copied((A, source(n)), (B, 131_071), len);
        b.check()?;
    }
    Ok(())
}

fn a_read_of_any_size_brings_what_the_owner_put_there<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    for (n, len) in SIZES.into_iter().enumerate() {
        let local = b.pieces(A, 131_071, len);
        b.go(x, &[read(n as u64, &local, b.at(x, source(n) as u64))])?;
        b.good(x, [n as u64])?;
        b.copied((B, source(n)), (A, 131_071), len);
        b.check()?;
    }
    Ok(())
}

fn a_send_of_any_size_meets_its_receive<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    for (n, len) in SIZES.into_iter().enumerate() {
        let id = n as u64;
        b.go(y, &[recv(id, &[b.piece(B, 131_071, len + 5)])])?;
        let local = b.pieces(A, source(n) as u64, len);
        b.go(x, &[send(id, &local)])?;
        b.good(x, [id])?;
        b.meets(y, id, OpKind::Send, len, None)?;
        b.copied((A, source(n)), (B, 131_071), len);
        b.check()?;
    }
    Ok(())
}

/// A connected pair, and a large region at each side.
struct Large {
    x: End,
    y: End,
    near: Extra,
    far: Extra,
    /// The far one, as `x` reaches it.
    to: RemoteAddr,
}

impl Large {
    fn new<L: Lab>(b: &mut Bench<'_, L>) -> Result<Large, Stop> {
        let (x, y) = b.pair()?;
        let near = b.extra(A, MIB.into(), 0, Access::LOCAL)?;
        let far = b.extra(B, MIB.into(), 0, Access::ALL)?;
        let to = b.to(x, &far)?;
        Ok(Large { x, y, near, far, to })
    }

    fn are_alike(&self) -> bool {
        bytes(&self.near.mem, 0, MIB as usize) == bytes(&self.far.mem, 0, MIB as usize)
    }
}

fn a_mebibyte_is_written_whole<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let large = Large::new(b)?;
    b.go(large.x, &[write(1, &[large.near.piece(0, MIB)], large.to)])?;
    b.good(large.x, [1])?;
    ensure!(large.near.is_untouched(), "the source of a WRITE changed");
    ensure!(large.are_alike(), "a mebibyte was not written as it was");
    Ok(())
}

fn a_mebibyte_is_read_whole<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let large = Large::new(b)?;
    b.go(large.x, &[read(1, &[large.near.piece(0, MIB)], large.to)])?;
    b.good(large.x, [1])?;
    ensure!(large.far.is_untouched(), "the source of a READ changed");
    ensure!(large.are_alike(), "a mebibyte was not read as it was");
    Ok(())
}

fn a_mebibyte_is_sent_whole<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let large = Large::new(b)?;
    b.go(large.y, &[recv(1, &[large.far.piece(0, MIB)])])?;
    b.go(large.x, &[send(1, &[large.near.piece(0, MIB)])])?;
    b.good(large.x, [1])?;
    b.meets(large.y, 1, OpKind::Send, MIB, None)?;
    ensure!(large.near.is_untouched(), "the source of a SEND changed");
    ensure!(large.are_alike(), "a mebibyte was not sent as it was");
    Ok(())
}

/// Where the `id`th of 64 pairs of offsets within a word is at A and at B: far enough apart to see what strays.
fn places(id: usize) -> (usize, usize) {
    (128 * id + id / 8, 65_536 + 128 * id + id % 8)
}

/// 61 bytes for every pair of offsets within a word.
fn each_alignment<L: Lab>(b: &mut Bench<'_, L>, work: fn(u64, &[Sge], RemoteAddr) -> W) -> Ended {
    let (x, _) = b.pair()?;
    for from in 0..8 {
        let ids = 8 * from..8 * from + 8;
        let works: Vec<W> = ids
            .clone()
            .map(|id| {
                let (here, there) = places(id as usize);
                work(id, &[b.piece(A, here as u64, 61)], b.at(x, there as u64))
            })
            .collect();
        b.go(x, &works)?;
        b.good(x, ids)?;
    }
    Ok(())
}

fn every_alignment_is_written_right<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    each_alignment(b, write)?;
    for (here, there) in (0..64).map(places) {
        b.copied((A, here), (B, there), 61);
    }
    b.check()
}

fn every_alignment_is_read_right<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    each_alignment(b, read)?;
    for (here, there) in (0..64).map(places) {
        b.copied((B, there), (A, here), 61);
    }
    b.check()
}

fn every_mtu_carries_the_same_bytes<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    for (n, mtu) in [Mtu::B256, Mtu::B512, Mtu::B1024, Mtu::B2048, Mtu::B4096].into_iter().enumerate() {
        let tune = |spec: &mut EndpointSpec| spec.mtu = mtu;
        let (x, _) = b.pair_with(&tune, &tune)?;
        let id = 2 * n as u64;
        let (out, back) = (b.piece(A, source(n) as u64, 9001), b.piece(A, 131_072, 9001));
        b.go(x, &[write(id, &[out], b.at(x, 131_073))])?;
        b.good(x, [id])?;
        b.go(x, &[read(id + 1, &[back], b.at(x, 131_073))])?;
        b.good(x, [id + 1])?;
        b.copied((A, source(n)), (B, 131_073), 9001);
        b.copied((A, source(n)), (A, 131_072), 9001);
        b.check()?;
    }
    Ok(())
}

fn a_message_may_be_shorter_than_its_receive<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    b.go(y, &[recv(1, &[b.piece(B, 131_072, 60_000)]), recv(2, &[b.piece(B, 200_000, 10_000)])])?;
    b.go(x, &[send(1, &[b.piece(A, 10, 5001)]), send(2, &[])])?;
    b.good(x, [1, 2])?;
    b.meets(y, 1, OpKind::Send, 5001, None)?;
    b.meets(y, 2, OpKind::Send, 0, None)?;
    b.copied((A, 10), (B, 131_072), 5001);
    b.check()
}

fn a_hundred_works_in_flight_all_land<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let works: Vec<W> = (0..100u64)
        .map(|id| {
            let (at, len) = (1024 * id, 700 + id as u32);
            match id % 2 {
                0 => write(id, &[b.piece(A, at, len)], b.at(x, 131_072 + at)),
                _ => read(id, &[b.piece(A, at, len)], b.at(x, at)),
            }
        })
        .collect();
    b.go(x, &works)?;
    b.good(x, 0..100)?;
    for id in 0..100 {
        let (at, len) = (1024 * id, 700 + id as u32);
        match id % 2 {
            0 => b.copied((A, at), (B, 131_072 + at), len),
            _ => b.copied((B, at), (A, at), len),
        }
    }
    b.check()
}

fn both_directions_carry_at_once<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    for id in 0..8u64 {
        let at = 8192 * id;
        for (end, side) in [(x, A), (y, B)] {
            b.go(end, &[recv(100 + id, &[b.piece(side, 196_608 + 4096 * id, 4096)])])?;
        }
        for (end, side) in [(x, A), (y, B)] {
            let works = [
                write(3 * id, &[b.piece(side, at, 3000)], b.at(end, 131_072 + at)),
                read(3 * id + 1, &[b.piece(side, 131_072 + at + 4096, 3000)], b.at(end, at + 4096)),
                send(3 * id + 2, &[b.piece(side, at + 100, 2000)]),
            ];
            b.go(end, &works)?;
        }
    }
    b.good(x, 0..24)?;
    b.good(y, 0..24)?;
    for id in 0..8 {
        b.meets(x, 100 + id, OpKind::Send, 2000, None)?;
        b.meets(y, 100 + id, OpKind::Send, 2000, None)?;
        let (message, at) = (196_608 + 4096 * id as usize, 8192 * id as usize);
        for (from, to) in [(A, B), (B, A)] {
            b.copied((from, at), (to, 131_072 + at), 3000);
            b.copied((from, at + 4096), (to, 131_072 + at + 4096), 3000);
            b.copied((from, at + 100), (to, message), 2000);
        }
    }
    b.check()
}

fn endpoints_of_one_device_reach_each_other<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = (b.open(A, PLAIN)?, b.open(A, PLAIN)?);
    b.connect(x, y)?;
    b.go(y, &[recv(9, &[b.piece(A, 131_072, 5000)])])?;
    b.go(x, &[send(1, &[b.piece(A, 1, 5000)]), write(2, &[b.piece(A, 6001, 7000)], b.at(x, 200_000))])?;
    b.good(x, [1, 2])?;
    b.meets(y, 9, OpKind::Send, 5000, None)?;
    b.copied((A, 1), (A, 131_072), 5000);
    b.copied((A, 6001), (A, 200_000), 7000);
    b.check()
}

fn works_of_one_endpoint_use_several_regions<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let far = b.extra(B, 8192, 0, Access::ALL)?;
    let near = b.extra(A, 8192, 0, Access::LOCAL)?;
    let to = b.to(x, &far)?;
    let here = b.piece(A, 300, 4000);
    b.go(x, &[write(1, &[here], to), write(2, &[near.piece(1, 4000)], b.at(x, 4096))])?;
    b.good(x, [1, 2])?;
    ensure!(bytes(&far.mem, 0, 4000) == b.get(A, 300, 4000), "a second region of the peer was not written");
    let written = bytes(&near.mem, 1, 4000);
    b.announce(B, 4096, &written);
    b.check()
}

fn one_sided_works_need_no_polling_at_the_target<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    while b.pump()? {}
    b.leave_alone(B);
    let works = [
        write(1, &[b.piece(A, 0, 9000)], b.at(x, 131_072)),
        read(2, &[b.piece(A, 131_072, 9000)], b.at(x, 20_000)),
    ];
    b.go(x, &works)?;
    b.good(x, [1, 2])?;
    b.copied((A, 0), (B, 131_072), 9000);
    b.copied((B, 20_000), (A, 131_072), 9000);
    b.check()
}
