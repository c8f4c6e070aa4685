//! The file itself: its size, and what is said when it cannot be written.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use wavetank_contract::Instant;
use wavetank_harness::pcap::{BYTES_MAX, Capture, Captured, icrc};
use wavetank_mock::Happening;

use crate::packets;

/// A disk of so many bytes.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) bytes: Rc<RefCell<Vec<u8>>>,
    pub(crate) room: usize,
}

impl Disk {
    pub(crate) fn of(room: usize) -> Disk {
        Disk { bytes: Rc::default(), room }
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = &mut *self.bytes.borrow_mut();
        let fits = bytes.len().min(self.room - taken.len());
        if fits == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        taken.extend_from_slice(&bytes[..fits]);
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Captures all packets by hand on a disk.
fn capture(disk: &Disk, bytes_max: u64) -> Capture {
    let capture = Capture::new(Box::new(disk.clone()), bytes_max).expect("the headers fit");
    let mut tap = capture.tap();
    packets::each(|packet| tap.see(Instant(1), &Happening::Sent(*packet)));
    capture
}

#[test]
fn the_file_has_the_bytes_that_are_reported() {
    let disk = Disk::of(usize::MAX);
    let captured = capture(&disk, BYTES_MAX).finish().expect("the disk has room");
    let mut sent = 0;
    packets::each(|_| sent += 1);
    let bytes = disk.bytes.borrow().len() as u64;
    assert_eq!(captured, Captured { packets: sent, left_out: 0, bytes });
}

#[test]
fn a_capture_ends_at_its_size_and_counts_what_is_not_in_it() {
    let all = capture(&Disk::of(usize::MAX), BYTES_MAX).finish().expect("the disk has room");
    for bytes_max in [1000, all.bytes / 2, all.bytes - 1] {
        let disk = Disk::of(usize::MAX);
        let cut = capture(&disk, bytes_max).finish().expect("the disk has room");
        assert!(cut.bytes <= bytes_max && cut.left_out > 0, "{cut:?}");
        assert_eq!(cut.packets + cut.left_out, all.packets);
        assert_eq!(disk.bytes.borrow().len() as u64, cut.bytes);
    }
    let exact = capture(&Disk::of(usize::MAX), all.bytes).finish().expect("the disk has room");
    assert_eq!(exact, all);
}

#[test]
fn a_full_disk_is_told_with_how_far_the_capture_came() {
    let error = capture(&Disk::of(1000), BYTES_MAX).finish().expect_err("the disk is full");
    assert!(error.packets > 0, "{error}");
    let told = error.to_string();
    assert!(told.contains(&io::Error::from(io::ErrorKind::StorageFull).to_string()), "{told}");
    assert!(told.contains(&format!("behind packet {}", error.packets)), "{told}");
}

#[test]
fn a_disk_without_room_for_the_headers_is_told_at_once() {
    let error = Capture::new(Box::new(Disk::of(20)), BYTES_MAX).expect_err("the disk is full");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn each_frame_ends_with_the_crc_of_what_it_has_from_the_ip_header_on() {
    let disk = Disk::of(usize::MAX);
    capture(&disk, BYTES_MAX).finish().expect("the disk has room");
    let bytes = disk.bytes.borrow();
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (mut at, mut frames) = (0, 0);
    while at < bytes.len() {
        if word(at) == 6 {
            let frame = &bytes[at + 28..][..word(at + 20) as usize];
            let (packet, crc) = frame[14..].split_at(frame.len() - 14 - 4);
            assert_eq!(icrc(packet), crc);
            frames += 1;
        }
        at += word(at + 4) as usize;
    }
    assert!(frames > 1000);
}
