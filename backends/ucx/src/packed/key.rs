//! Keys of memory, as `src/ucp/core/ucp_rkey.c` packs them: which memory domains, what kind of memory, and a key for each domain.
//!
//! That of shared memory is a segment's name, where its owner has it, and how long it is (`src/uct/sm/mm`).

use super::Bytes;
use super::segment::{Owner, Segment};

/// More than the domains of any machine here; UCX has 64.
const DOMAINS_MAX: u32 = 16;

/// What newer versions say of the system's devices, behind the keys.
const REST_BYTES_MAX: usize = 64;

/// What a key has to open, and whose it has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) addr: u64,
    pub(crate) len: u64,
    /// Not known before the endpoint is pointed at its peer.
    pub(crate) owner: Option<Owner>,
}

struct Packed<'a> {
    domains: u64,
    kind: u8,
    keys: Vec<&'a [u8]>,
}

/// Looks through a key. `ours`: one of this process's own, of the same transport; empty if it is none that shares memory.
/// `None`: UCX must not see it.
pub(crate) fn check(ours: &[u8], theirs: &[u8], range: Range) -> Option<()> {
    let found = read(theirs)?;
    if ours.is_empty() {
        return Some(());
    }
    let own = read(ours)?;
    let same = found.domains == own.domains && found.kind == own.kind;
    let opens = found.keys.iter().zip(&own.keys).all(|(key, own)| opens(own, key, range) == Some(true));
    (same && opens).then_some(())
}

fn opens(ours: &[u8], theirs: &[u8], range: Range) -> Option<bool> {
    let ((own, _, our_rest), (segment, (start, len), rest)) = (segment(ours)?, segment(theirs)?);
    let inside = range.addr.checked_sub(start).and_then(|at| at.checked_add(range.len));
    let inside = inside.is_some_and(|end| end <= len) && start.checked_add(len).is_some();
    Some(len > 0 && our_rest == rest && inside && segment.is_like(own, range.owner, len))
}

type Mapped<'a> = (Segment, (u64, u64), &'a [u8]);

fn segment(key: &[u8]) -> Option<Mapped<'_>> {
    let mut key = Bytes(key);
    let mut word = || key.array().map(u64::from_le_bytes);
    let (name, start, len) = (word()?, word()?, word()?);
    Some((Segment::read(name), (start, len), key.0))
}

fn read(bytes: &[u8]) -> Option<Packed<'_>> {
    let mut bytes = Bytes(bytes);
    let domains = u64::from_le_bytes(bytes.array()?);
    // The memory of a device, which UCX would ask a module for, is none that we register.
    let kind = bytes.u8().filter(|kind| *kind == 0)?;
    if !(1..=DOMAINS_MAX).contains(&domains.count_ones()) {
        return None;
    }
    let mut keys = Vec::new();
    for _ in 0..domains.count_ones() {
        let len = bytes.u8()?;
        keys.push(bytes.take(usize::from(len))?);
    }
    (bytes.0.len() <= REST_BYTES_MAX).then_some(Packed { domains, kind, keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 64 KiB of shared memory at 0x7f1c640e2000, of UCX 1.13.1 and 1.22.0, but for the process and its file.
    fn packed(newer: bool) -> (Vec<u8>, u64) {
        let start = 0x7f1c_640e_2000u64;
        let mut key = vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 24];
        for word in [0xc000_0003_8000_55eb, start, 65536] {
            key.extend_from_slice(&word.to_le_bytes());
        }
        if newer {
            key.push(0xff);
        }
        (key, start)
    }

    #[test]
    fn keys_of_two_versions_of_ucx_open_what_they_hold_and_nothing_else() {
        let ((ours, start), (newer, _)) = (packed(false), packed(true));
        let try_on = |theirs: &[u8], addr, len| check(&ours, theirs, Range { addr, len, owner: None });
        for theirs in [&ours, &newer] {
            assert_eq!(try_on(theirs, start, 65536), Some(()));
            assert_eq!(try_on(theirs, start + 65536, 0), Some(()));
            assert_eq!(
                try_on(theirs, start - 1, 1),
                None,
                "UCX would reach whatever is there in this process"
            );
            assert_eq!(try_on(theirs, start + 1, 65536), None);
            assert_eq!(try_on(theirs, u64::MAX, 2), None);
        }
        for len in 0..ours.len() {
            assert_eq!(try_on(&ours[..len], start, 1), None, "{len} bytes");
        }
    }

    #[test]
    fn what_brought_ucx_down_is_not_shown_to_it() {
        let (ours, start) = packed(false);
        // Domains, the kind of memory, the length of a key, how its segment is named, how long it is.
        let wrong =
            [(0, 3), (0, 0), (1, 1), (7, 1), (8, 1), (9, 23), (9, 25), (17, 0x40), (25, 0xff), (28, 0)];
        for (at, byte) in wrong {
            let mut theirs = ours.clone();
            theirs[at] = byte;
            let range = Range { addr: start, len: 65536, owner: None };
            assert_eq!(check(&ours, &theirs, range), None, "byte {at} is {byte:#x}");
        }
    }
}
