//! Whether a guest does what it promises: a good one passes, and one that fails, hangs, panics or does not boot never does.

use std::path::Path;
use std::time::Duration;

use super::machine::{Machine, Size};
use super::running::{Ended, Running};
use super::script::Script;
use crate::step::Failure;
use crate::stopwatch::Stopwatch;
use crate::workspace::Workspace;

/// A file that a guest makes in its root, and that must not come to be on the host.
const TRACE: &str = "/wavetank-guest-was-here";

/// A command, what becomes of it, and a word of the guest's that must be seen (on its output or its console).
struct Case {
    about: &'static str,
    command: &'static str,
    seconds: u64,
    ended: Ended,
    word: &'static str,
}

const CASES: [Case; 3] = [
    Case {
        about: "a command that fails brings back its exit code and its output, and leaves the host as it was",
        command: "touch /wavetank-guest-was-here && echo as $(id -un); exit 3",
        seconds: 60,
        ended: Ended::Code(3),
        word: "as root",
    },
    Case {
        about: "a command that hangs is found by the watchdog, which names it",
        command: "sleep 4321",
        seconds: 2,
        ended: Ended::TimedOut,
        word: "sleep 4321",
    },
    Case {
        about: "a kernel that panics is no pass",
        command: "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger; sleep 60",
        seconds: 30,
        ended: Ended::Lost,
        word: "Kernel panic",
    },
];

/// Boots a guest for each case, and one without a kernel.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let machine = Machine::provide(workspace, true, None)?;
    println!("    guests run on {:?}, kernel {}", machine.accel(), machine.tree().release());
    for case in CASES {
        let script = Script::of(case.command);
        let timeout = Duration::from_secs(case.seconds);
        let guest = machine.start(&script, Size { timeout, ..Size::default() })?;
        expect(case.about, guest, case.ended, case.word)?;
    }
    if Path::new(TRACE).exists() {
        return Err(Failure(format!("{TRACE} was made by a guest on its host")));
    }
    let guest = machine.without_kernel().start(&Script::of("true"), Size::default())?;
    expect("without a kernel nothing boots", guest, Ended::NoBoot, "QEMU said")
}

fn expect(about: &str, mut guest: Running, expected: Ended, word: &str) -> Result<(), Failure> {
    let watch = Stopwatch::start();
    let mut said = Vec::new();
    let ended = guest.finish(|bytes| said.extend_from_slice(bytes))?;
    let all = format!("{}\n{}", String::from_utf8_lossy(&said), guest.last_words());
    if ended == expected && all.contains(word) {
        println!("    ok after {:.1} s: {about}", watch.elapsed().as_secs_f64());
        return Ok(());
    }
    println!("{all}");
    Err(Failure(format!(
        "{about}: expected {expected:?} and {word:?}, and it was {ended:?} with the output above"
    )))
}
