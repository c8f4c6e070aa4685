//! The fault catalogue, a test for each line that concerns a NIC: the cause, what it brings about, the mark that proves that it
//! did, and beside it the same without the cause, where the mark stays at zero.

mod completions;
mod events;
mod memory;
mod order;
mod queues;

use wavetank_contract::{Access, Backend};
use wavetank_mock::Mark;

use crate::lab::Lab;

impl Lab {
    /// How often each of some marks was passed.
    pub(crate) fn marks<const N: usize>(&self, marks: [Mark; N]) -> [u64; N] {
        marks.map(|mark| self.fabric.passed(mark))
    }
}

/// In a run in which nothing is wrong no mark is passed, whatever it does.
#[test]
fn a_run_without_a_fault_passes_no_mark() {
    use crate::lab::{add, assert_good, read, recv, send, swap, write};
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    let mr = lab.nodes[1].mr;
    let window = lab.nodes[1].nic.open_window(mr, 0, 4096, Access::ALL);
    assert!(window.is_ok());
    let large = lab.piece(0, 0, 50_000);
    let word = lab.piece(0, 60_000, 8);
    lab.go(b, &[recv(20, &[lab.piece(1, 100_000, 50_000)]), recv(21, &[])]);
    let works = [
        write(1, &[large], lab.at(1, 0)),
        write(2, &[large], lab.at(1, 0)).imm(4).silent(),
        send(3, &[large]),
        read(4, &[large], lab.at(1, 160_000)),
        swap(5, word, lab.at(1, 8), 0, 1),
        add(6, word, lab.at(1, 8), 1),
    ];
    // The immediate takes the first receive, the message the second: so they go the other way round.
    let [one, two, three, four, five, six] = works;
    lab.go(a, &[one, three, two, four, five, six]);
    lab.run();
    assert_good(&lab.ends(0), [1, 3, 4, 5, 6]);
    assert_good(&lab.ends(1), [20, 21]);
    let passed: Vec<_> = Mark::ALL.iter().filter(|mark| lab.fabric.passed(**mark) > 0).collect();
    assert!(passed.is_empty(), "{passed:?}");
}
