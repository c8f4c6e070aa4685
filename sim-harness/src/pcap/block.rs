//! Blocks of a pcapng file (draft-ietf-opsawg-pcapng): one section, one interface, packets. Little-endian.
//!
//! Written here and not by a crate: three kinds of blocks are less code than the crate needs to be told them, and a packet
//! allocates nothing.

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

/// LINKTYPE_ETHERNET.
const ETHERNET: u16 = 1;

/// Options: `if_name`, `if_tsresol`, `shb_userappl`.
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const SHB_USERAPPL: u16 = 4;

/// The blocks before the first packet.
pub(super) fn begin(out: &mut Vec<u8>) {
    block(out, SECTION, |out| {
        out.extend_from_slice(&0x1a2b_3c4d_u32.to_le_bytes());
        out.extend_from_slice(&[1, 0, 0, 0]); // version 1.0
        out.extend_from_slice(&(-1i64).to_le_bytes()); // the length of the section is not known yet
        option(out, SHB_USERAPPL, b"wavetank");
        option(out, 0, b"");
    });
    block(out, INTERFACE, |out| {
        out.extend_from_slice(&ETHERNET.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&0u32.to_le_bytes()); // packets are not cut
        option(out, IF_NAME, b"simulated");
        option(out, IF_TSRESOL, &[9]); // nanoseconds
        option(out, 0, b"");
    });
}

/// A packet of the one interface.
pub(super) fn packet(out: &mut Vec<u8>, at_ns: u64, frame: impl FnOnce(&mut Vec<u8>)) {
    block(out, ENHANCED_PACKET, |out| {
        out.extend_from_slice(&0u32.to_le_bytes());
        out.extend_from_slice(&((at_ns >> 32) as u32).to_le_bytes());
        out.extend_from_slice(&(at_ns as u32).to_le_bytes());
        let lengths = out.len();
        out.extend_from_slice(&[0; 8]);
        let start = out.len();
        frame(out);
        let len = ((out.len() - start) as u32).to_le_bytes();
        out[lengths..lengths + 4].copy_from_slice(&len);
        out[lengths + 4..lengths + 8].copy_from_slice(&len);
        pad(out, start);
    });
}

/// Type, length, body, and the length again.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    body(out);
    let len = ((out.len() - start + 4) as u32).to_le_bytes();
    out[start + 4..start + 8].copy_from_slice(&len);
    out.extend_from_slice(&len);
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    let start = out.len();
    out.extend_from_slice(value);
    pad(out, start);
}

/// To a multiple of 4 bytes.
fn pad(out: &mut Vec<u8>, start: usize) {
    let len = (out.len() - start).next_multiple_of(4);
    out.resize(start + len, 0);
}
