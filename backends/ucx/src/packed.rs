//! What UCX packs for its peers, looked through before UCX reads it: addresses of workers and keys of memory.
//!
//! UCX believes both. It is told no length, so it reads on past the end of what was cut short; it asserts that numbers are numbers
//! and versions known, and ends the process if they are not; it opens, maps and reaches whatever file and range a key of shared memory
//! names. Of 870 changes to an address of TCP (a bit, a byte, a length) 121 ended the process, of 507 to one of shared memory 68, and of
//! 375 to a key of shared memory 273 (UCX 1.13.1). Checksums do not help: whoever means harm computes them. So both have to look like this process's own: the same format and transports, lengths that
//! come out, numbers in their bounds; and shared memory has to be a file of the peer's, as long as it says.
//!
//! What remains: the address of a listener or worker of TCP may be anybody's, who is then knocked at; a peer that shares memory is of the
//! same user, and may cut its file short later (SIGBUS) as it might send a signal; what RDMA devices pack is looked at in form only.

mod address;
mod key;
mod segment;

pub(crate) use address::{Own, check as check_address};
pub(crate) use key::{Range, check as check_key};

/// Reads from the front of what UCX packed: little-endian, and nothing is aligned.
#[derive(Clone, Copy, Debug)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(first)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }
}
