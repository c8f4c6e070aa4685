//! What a simulated run needs: memory, a build that is fast, and a simulator that does what it is for.

use std::path::Path;
use std::thread::available_parallelism;

use wavetank_contract::finding::Finding;
use wavetank_engine::{Port, RdmaContext};
use wavetank_harness::determinism::{self, Determinism};
use wavetank_harness::{Replay, Report, Trace, Workload};

use super::built;
use crate::figures::grouped;
use crate::memory::available_bytes;
use wavetank_engine::BackendKind;

/// What the smallest of the shipped workloads takes.
const MEMORY_MIN_BYTES: u64 = 64 << 20;
/// What all of them take with room to spare.
const MEMORY_ENOUGH_BYTES: u64 = 1 << 30;

/// A few thousand READs and WRITEs: enough to meet every part of the simulator, and over in a moment.
const TRIAL: &str = r#"profile = "cx6"
seed = 1
[[node]]
name = "client"
[[node]]
name = "storage"
[[region]]
name = "pages"
node = "storage"
size = "1MiB"
[[op]]
kind = "read"
from = "client"
region = "pages"
size = "8KiB"
[[op]]
kind = "write"
from = "client"
region = "pages"
size = "4KiB"
[load]
count = 2000
"#;

pub(super) fn examine() -> Vec<Finding> {
    vec![
        built(BackendKind::Mock),
        optimised(cfg!(debug_assertions)),
        memory(available_bytes()),
        cores(),
        lanes(),
        trial(TRIAL),
    ]
}

fn optimised(debug: bool) -> Finding {
    match debug {
        false => Finding::ok("optimised", "a release build"),
        true => Finding::warn(
            "optimised",
            "a debug build: right, and several times slower",
            "cargo run --release -- doctor",
        ),
    }
}

fn memory(bytes: Option<u64>) -> Finding {
    let says = |bytes: u64| format!("{} MiB are available", grouped(bytes >> 20));
    let mend = "free -m; smaller regions or less concurrency in the workload";
    match bytes {
        None => Finding::warn("memory", "this system does not say how much there is", "cat /proc/meminfo"),
        Some(bytes) if bytes < MEMORY_MIN_BYTES => Finding::fail("memory", says(bytes), mend),
        Some(bytes) if bytes < MEMORY_ENOUGH_BYTES => {
            Finding::warn("memory", format!("{}: enough for small workloads", says(bytes)), mend)
        }
        Some(bytes) => Finding::ok("memory", says(bytes)),
    }
}

fn cores() -> Finding {
    match available_parallelism() {
        Ok(cores) => {
            Finding::ok("cores", format!("{cores}; a run takes one, so that many may run at a time"))
        }
        Err(error) => Finding::warn("cores", format!("cannot be counted: {error}"), "nproc"),
    }
}

/// Comparing and digesting bytes is most of a run's work.
fn lanes() -> Finding {
    #[cfg(target_arch = "x86_64")]
    let wide = std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    let wide = true;
    match wide {
        true => Finding::ok("lanes", "this processor compares and digests bytes in wide lanes"),
        false => Finding::warn(
            "lanes",
            "this processor has no AVX2: bytes are compared and digested more slowly",
            "grep -m1 flags /proc/cpuinfo",
        ),
    }
}

/// Runs a small workload twice.
fn trial(text: &str) -> Finding {
    let mend = "cargo ci test, and report what it says";
    let ran = Workload::parse(Path::new("doctor.toml"), text.as_bytes()).map_err(|error| error.to_string());
    let ran = ran.and_then(|workload| {
        let context = |nic, config| RdmaContext::from(Port::new(nic, config));
        let once = |trace: Trace| -> Result<Report, String> {
            let replay = Replay::prepare_with(workload.clone(), trace, context);
            Ok(replay.map_err(|error| error.to_string())?.run(&mut |_| {}))
        };
        determinism::check(once)
    });
    match ran {
        Err(error) => Finding::fail("trial", format!("a small workload cannot be run: {error}"), mend),
        Ok(Determinism::Different { event, .. }) => {
            let says = format!("a small workload ran twice and differed at event {event}");
            Finding::fail("trial", says, mend)
        }
        Ok(Determinism::Same(report)) => match report.failures.told().first() {
            Some(failure) => Finding::fail("trial", failure.to_string(), mend),
            None => Finding::ok(
                "trial",
                format!("{} operations, every byte right, and twice the same", grouped(report.ops)),
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use wavetank_contract::finding::Verdict;

    use super::*;

    #[test]
    fn memory_is_judged_by_what_workloads_take() {
        let verdicts = [Some(u64::MAX), None, Some(512 << 20), Some(1 << 20)].map(|b| memory(b).verdict);
        assert_eq!(verdicts, [Verdict::Ok, Verdict::Warn, Verdict::Warn, Verdict::Fail]);
        assert!(memory(Some(512 << 20)).says.contains("512 MiB"));
    }

    #[test]
    fn the_trial_passes_and_one_that_misses_what_it_expects_fails() {
        let good = trial(TRIAL);
        assert_eq!((good.verdict, good.says.contains("2,000 operations")), (Verdict::Ok, true), "{good:?}");
        let slow = trial(&format!("{TRIAL}[expect]\nread_p50_max = \"1ns\"\n"));
        assert_eq!(slow.verdict, Verdict::Fail, "{slow:?}");
        assert!(trial("nonsense").says.contains("cannot be run"));
    }

    #[test]
    fn a_debug_build_is_told_from_a_release_build() {
        assert_eq!([true, false].map(|debug| optimised(debug).verdict), [Verdict::Warn, Verdict::Ok]);
    }
}
