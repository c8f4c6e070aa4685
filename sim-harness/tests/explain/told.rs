//! What stories say, and what they should.

use std::cell::RefCell;
use std::rc::Rc;

use wavetank_contract::Instant;
use wavetank_mock::{Happening, Opcode, Tap};

/// What is told, without the times.
pub(crate) fn said(story: &str) -> Vec<&str> {
    story
        .lines()
        .map(|line| line.trim_start().split_once("  ").expect("a time and what happened").1)
        .collect()
}

#[track_caller]
pub(crate) fn says(story: &str, parts: &[&str]) {
    let mut rest = story;
    for part in parts {
        let Some(at) = rest.find(part) else {
            panic!("{part:?} is not told, or not in this order:\n{story}")
        };
        rest = &rest[at + part.len()..];
    }
}

/// Counts the packets that leave.
pub(crate) struct Counting(pub(crate) Rc<RefCell<u64>>);

impl Tap for Counting {
    fn see(&mut self, _: Instant, happening: &Happening<'_>) {
        if let Happening::Sent(packet) = happening {
            // Acknowledgements may be for several operations; everything else is of one.
            *self.0.borrow_mut() += u64::from(packet.opcode != Opcode::Acknowledge);
        }
    }
}

/// Packets of a story that left, but acknowledgements.
pub(crate) fn left(story: &str) -> u64 {
    let lines =
        said(story).into_iter().filter(|line| line.contains(" left node ") && !line.starts_with("ACK"));
    let packets = |line: &str| {
        let Some((before, _)) = line.split_once(" packets, ") else { return 1 };
        before.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number of packets")
    };
    lines.filter(|line| !line.starts_with("NAK")).map(packets).sum()
}
