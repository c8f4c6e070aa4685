//! The simulated wire as a capture: every packet as RoCE v2 in pcapng, for Wireshark and `tshark`.
//!
//! Packets are captured where they leave their port, as by a sniffer beside the sender: what the network loses is there all the
//! same, and what is sent twice is there twice. What the model does not have gets the value that adapters use: the default
//! partition, migrated queue pairs, no solicited events.

mod address;
mod block;
mod frame;
mod icrc;

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::rc::Rc;

use thiserror::Error;
use wavetank_contract::Instant;
use wavetank_mock::{Happening, PacketView, Tap};

pub use address::{UDP_PORT, ip, mac, source_port};
pub use icrc::icrc;

/// Largest capture unless another size is asked for, in bytes: 4 GiB, which Wireshark still opens on a laptop.
pub const BYTES_MAX: u64 = 4 << 30;

/// A capture that is being written. Clones write to the same file.
#[derive(Clone, Debug)]
pub struct Capture(Rc<RefCell<Writing>>);

/// What a capture has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Packets written.
    pub packets: u64,
    /// Packets that came after the capture had reached its size, and are not in it.
    pub left_out: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// A capture could not be written to its end.
#[derive(Debug, Error)]
#[error("cannot be written: {error} (behind packet {packets} of the run)")]
pub struct CaptureError {
    /// Packets that were written before.
    pub packets: u64,
    /// Why.
    #[source]
    pub error: io::Error,
}

struct Writing {
    out: Box<dyn Write>,
    bytes_max: u64,
    captured: Captured,
    /// Why nothing is written any more.
    broken: Option<io::Error>,
    /// Blocks are built here, so that a packet allocates nothing.
    block: Vec<u8>,
}

impl Capture {
    /// Begins a capture of at most `bytes_max` bytes. `out` should be buffered.
    ///
    /// # Errors
    /// When `out` does not take the headers.
    pub fn new(mut out: Box<dyn Write>, bytes_max: u64) -> io::Result<Capture> {
        let mut block = Vec::with_capacity(8192);
        block::begin(&mut block);
        out.write_all(&block)?;
        let captured = Captured { bytes: block.len() as u64, ..Captured::default() };
        Ok(Capture(Rc::new(RefCell::new(Writing { out, bytes_max, captured, broken: None, block }))))
    }

    /// What the fabric is to be tapped with.
    pub fn tap(&self) -> Box<dyn Tap> {
        Box::new(self.clone())
    }

    /// Writes out what is buffered, and says what the capture has.
    ///
    /// # Errors
    /// The first error of any packet: a full disk is told here, not in the middle of a run.
    pub fn finish(&self) -> Result<Captured, CaptureError> {
        let writing = &mut *self.0.borrow_mut();
        let packets = writing.captured.packets;
        match writing.broken.take().map_or_else(|| writing.out.flush(), Err) {
            Ok(()) => Ok(writing.captured),
            Err(error) => Err(CaptureError { packets, error }),
        }
    }
}

impl Tap for Capture {
    fn see(&mut self, at: Instant, happening: &Happening<'_>) {
        if let Happening::Sent(packet) = happening {
            self.0.borrow_mut().packet(at, packet);
        }
    }
}

impl Writing {
    fn packet(&mut self, at: Instant, packet: &PacketView<'_>) {
        if self.broken.is_some() {
            return;
        }
        self.block.clear();
        block::packet(&mut self.block, at.0, |frame| frame::push(frame, packet));
        let bytes = self.captured.bytes + self.block.len() as u64;
        // Once a packet was left out, so are all behind it: a capture ends, it has no holes.
        if self.captured.left_out > 0 || bytes > self.bytes_max {
            self.captured.left_out += 1;
            return;
        }
        match self.out.write_all(&self.block) {
            Ok(()) => {
                self.captured.packets += 1;
                self.captured.bytes = bytes;
            }
            Err(error) => self.broken = Some(error),
        }
    }
}

impl fmt::Debug for Writing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writing").field("captured", &self.captured).finish_non_exhaustive()
    }
}
