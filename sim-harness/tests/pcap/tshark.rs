//! Wireshark's `tshark` as the second opinion: whatever it reads out of a capture must be what was put in.
//!
//! Where there is no `tshark` the tests say SKIPPED. `WAVETANK_TSHARK=PROGRAM` names the program, and then it must be there:
//! `cargo ci tshark` does so.

use std::env;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::NamedTempFile;
use wavetank_contract::Instant;
use wavetank_harness::pcap::{BYTES_MAX, Capture, ip, mac, source_port};
use wavetank_mock::{Happening, Opcode, PacketView};

use crate::packets;

/// What is asked of each packet. Checks of checksums are asked for too.
const FIELDS: [&str; 29] = [
    "frame.time_epoch",
    "eth.dst",
    "eth.src",
    "ip.src",
    "ip.dst",
    "ip.len",
    "ip.checksum.status",
    "ip.dsfield.ecn",
    "udp.srcport",
    "udp.dstport",
    "udp.length",
    "infiniband.bth.opcode",
    "infiniband.bth.padcnt",
    "infiniband.bth.tver",
    "infiniband.bth.p_key",
    "infiniband.bth.destqp",
    "infiniband.bth.a",
    "infiniband.bth.psn",
    "infiniband.reth.va",
    "infiniband.reth.r_key",
    "infiniband.reth.dmalen",
    "infiniband.atomiceth.swapdt",
    "infiniband.atomiceth.cmpdt",
    "infiniband.aeth.syndrome",
    "infiniband.aeth.msn",
    "infiniband.atomicacketh.origremdt",
    "infiniband.immdt",
    "data.data",
    "_ws.malformed",
];

/// What `tshark` looks for in payloads, and finds in patterns now and then.
const HEURISTICS: [&str; 9] = [
    "eth_over_ib",
    "fc_infiniband",
    "iser_infiniband",
    "lnet_ib",
    "mellanox_eoib",
    "rpcrdma_infiniband",
    "sdp_infiniband",
    "smb_direct_infiniband",
    "smcr_infiniband",
];

/// The program, if there is one. Says SKIPPED where not.
pub(crate) fn program() -> Option<String> {
    let named = env::var("WAVETANK_TSHARK").ok().filter(|program| !program.is_empty());
    let program = named.clone().unwrap_or_else(|| "tshark".to_owned());
    let started =
        Command::new(&program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if started.is_ok_and(|status| status.success()) {
        return Some(program);
    }
    assert!(named.is_none(), "WAVETANK_TSHARK names {program}, which does not start");
    // Not eprintln!, which cargo test shows of failures only.
    let told = b"SKIPPED: there is no tshark; install Debian's package, or run `cargo ci tshark`\n";
    io::stderr().write_all(told).expect("stderr is open");
    None
}

/// What `tshark` reads, a line of tab-separated fields per packet.
pub(crate) fn read(program: &str, file: &Path) -> Vec<String> {
    let mut command = Command::new(program);
    command.arg("-r").arg(file).args(["-n", "-T", "fields", "-E", "occurrence=f"]);
    command.args(["-o", "ip.check_checksum:TRUE"]);
    HEURISTICS.iter().for_each(|name| {
        command.args(["--disable-heuristic", name]);
    });
    command.args(["--disable-protocol", "nvme-rdma"]);
    FIELDS.iter().for_each(|field| {
        command.args(["-e", field]);
    });
    let output = command.stderr(Stdio::piped()).output().expect("it started before");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// What it should read of a packet.
pub(crate) fn expected(at: Instant, packet: &PacketView<'_>) -> String {
    use Opcode::*;
    let opcode = packet.opcode;
    let reth = matches!(opcode, WriteFirst | WriteOnly | WriteOnlyImm | ReadRequest);
    let atomic = matches!(opcode, CompareSwap | FetchAdd);
    let first_or_last = matches!(opcode, ReadResponseFirst | ReadResponseLast | ReadResponseOnly);
    let aeth = first_or_last || matches!(opcode, Acknowledge | AtomicAcknowledge);
    let imm = matches!(opcode, SendLastImm | SendOnlyImm | WriteLastImm | WriteOnlyImm);
    let extensions = [(reth, 16), (atomic, 28), (aeth, 4), (opcode == AtomicAcknowledge, 8), (imm, 4)];
    let header_bytes: usize =
        12 + extensions.iter().map(|(has, len)| if *has { *len } else { 0 }).sum::<usize>();
    let pad = packet.payload.len().next_multiple_of(4) - packet.payload.len();
    let udp_len = 8 + header_bytes + packet.payload.len() + pad + 4;
    let when = |has: bool, text: String| if has { text } else { String::new() };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let colons = |bytes: [u8; 6]| bytes.map(|byte| format!("{byte:02x}")).join(":");
    let dots = |bytes: [u8; 4]| bytes.map(|byte| byte.to_string()).join(".");
    [
        format!("{}.{:09}", at.0 / 1_000_000_000, at.0 % 1_000_000_000),
        colons(mac(packet.to_node)),
        colons(mac(packet.from_node)),
        dots(ip(packet.from_node)),
        dots(ip(packet.to_node)),
        (20 + udp_len).to_string(),
        "1".to_owned(),
        "2".to_owned(),
        source_port(packet.from_qpn, packet.to_qpn).to_string(),
        "4791".to_owned(),
        udp_len.to_string(),
        (opcode as u8).to_string(),
        pad.to_string(),
        "0".to_owned(),
        "65535".to_owned(),
        format!("0x{:06x}", packet.to_qpn),
        u8::from(packet.ack_requested).to_string(),
        packet.psn.to_string(),
        when(reth || atomic, format!("0x{:016x}", packet.remote_addr)),
        when(reth || atomic, format!("0x{:08x}", packet.rkey)),
        when(reth, packet.message_len.to_string()),
        when(atomic, packet.operand.to_string()),
        when(atomic, packet.compare.to_string()),
        when(aeth, packet.syndrome.to_string()),
        when(aeth, packet.msn.to_string()),
        when(opcode == AtomicAcknowledge, packet.compare.to_string()),
        when(imm, format!("{:08x}", packet.imm)),
        hex(packet.payload) + &"00".repeat(pad),
        String::new(),
    ]
    .join("\t")
}

/// Captures packets in a file of their own.
fn capture(each: impl FnOnce(&mut dyn FnMut(Instant, &PacketView<'_>))) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a temporary file");
    let out = file.reopen().expect("it was just made");
    let capture = Capture::new(Box::new(io::BufWriter::new(out)), BYTES_MAX).expect("the disk has room");
    let mut tap = capture.tap();
    each(&mut |at, packet| tap.see(at, &Happening::Sent(*packet)));
    capture.finish().expect("the disk has room");
    file
}

#[test]
fn tshark_reads_what_was_written() {
    let Some(program) = program() else { return };
    let mut written = Vec::new();
    let file = capture(|see| {
        packets::each(|packet| {
            let at = Instant(written.len() as u64 * 1_234_567_891);
            see(at, packet);
            written.push(expected(at, packet));
        });
    });
    let read = read(&program, file.path());
    for (index, (read, written)) in read.iter().zip(&written).enumerate() {
        assert_eq!(read, written, "packet {index}");
    }
    assert_eq!(read.len(), written.len());
}

#[test]
fn tshark_notices_each_wrong_byte_of_the_headers() {
    /// The flags, of which SE, padding and version change, and the byte of A and reserved bits too.
    const WRONG: u8 = 0x91;
    /// Not asked for: the checksum of UDP, FECN and BECN.
    const UNASKED: [usize; 3] = [40, 41, 46];
    /// Type, length, interface, time and lengths.
    const BLOCK_HEAD_BYTES: usize = 28;
    const ICRC_BYTES: usize = 4;
    let Some(program) = program() else { return };
    for opcode in [Opcode::WriteOnlyImm, Opcode::CompareSwap, Opcode::AtomicAcknowledge] {
        let mut right = String::new();
        let copies = 100;
        let file = capture(|see| {
            packets::each(|packet| {
                if right.is_empty() && packet.opcode == opcode && packet.imm != 0 && packet.payload.is_empty()
                {
                    right = expected(Instant(0), packet);
                    (0..copies).for_each(|_| see(Instant(0), packet));
                }
            });
        });
        let mut bytes = std::fs::read(file.path()).expect("it was just written");
        let first = bytes.windows(4).position(|w| w == [6, 0, 0, 0]).expect("a packet's block");
        let block_bytes = (bytes.len() - first) / copies;
        let at = first + BLOCK_HEAD_BYTES;
        let frame_bytes = u32::from_le_bytes([at - 8, at - 7, at - 6, at - 5].map(|at| bytes[at])) as usize;
        let wrong: Vec<usize> =
            (0..frame_bytes - ICRC_BYTES).filter(|byte| !UNASKED.contains(byte)).collect();
        for (copy, byte) in wrong.iter().enumerate() {
            bytes[first + copy * block_bytes + BLOCK_HEAD_BYTES + byte] ^= WRONG;
        }
        std::fs::write(file.path(), &bytes).expect("the disk has room");
        let read = read(&program, file.path());
        for (byte, read) in wrong.iter().zip(&read) {
            assert_ne!(*read, right, "{opcode:?}: byte {byte} is wrong and nobody noticed");
        }
        assert!(wrong.len() > 60 && read[wrong.len()..].iter().all(|read| *read == right));
    }
}
