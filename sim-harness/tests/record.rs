//! Recorded runs: written, read, issued again and compared; and what each of these refuses.
#![allow(clippy::unwrap_used)] // a test that cannot set itself up should stop

#[path = "record/again.rs"]
mod again;
#[path = "record/format.rs"]
mod format;

use std::path::Path;

use wavetank_harness::record::RecordedRun;
use wavetank_harness::{Replay, Report, Workload};

/// Every operation once, over two connections, in chunks.
fn everything(seed: u64) -> Workload {
    let text = format!(
        r#"
seed = {seed}
profile = "cx6"
queue_pairs = 2
chunk = "1KiB"
window = 2
[[node]]
name = "client"
[[node]]
name = "storage"
[[region]]
name = "pages"
node = "storage"
size = "64KiB"
[[region]]
name = "cells"
node = "storage"
size = "1KiB"
[[op]]
kind = "read"
from = "client"
region = "pages"
size = "4KiB"
[[op]]
kind = "write"
from = "client"
region = "pages"
size = 300
[[op]]
kind = "write_imm"
from = "client"
region = "pages"
size = 900
[[op]]
kind = "send"
from = "client"
to = "storage"
size = {{ uniform = [1, 500] }}
[[op]]
kind = "fetch_add"
from = "client"
region = "cells"
[[op]]
kind = "compare_swap"
from = "client"
region = "cells"
[load]
concurrency = 6
count = 400
"#
    );
    Workload::parse(Path::new("all.toml"), text.as_bytes()).unwrap()
}

fn run(workload: Workload) -> Report {
    let mut replay = Replay::prepare(workload).unwrap();
    replay.record();
    replay.run(&mut |_| ())
}

fn recorded(workload: Workload) -> RecordedRun {
    let report = run(workload);
    assert!(report.ok(), "{:?}", report.failures.told());
    report.recorded.unwrap()
}

fn text(run: &RecordedRun) -> String {
    let mut text = Vec::new();
    run.write(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn parse(text: &str) -> Result<RecordedRun, String> {
    RecordedRun::parse(Path::new("run.sim"), text.as_bytes()).map_err(|error| error.to_string())
}

fn again(run: &RecordedRun) -> Report {
    let read = parse(&text(run)).unwrap();
    Replay::prepare(Workload::of_run(Path::new("run.sim"), read).unwrap()).unwrap().run(&mut |_| ())
}
