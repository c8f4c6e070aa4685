//! The two tables, and the same for machines.

use serde_json::{Value, json};
use wavetank_harness::bench::across::Measure;

use super::{Found, Plan, Through};
use crate::beside::{Beside, median, shown, shown_ratio};
use crate::table;

const NOTES: &str = "\
All poll and none sleeps. Latencies are medians of operations, one way where they are answered; of latency a ratio below 1 is
quicker, of bandwidth one above 1. What differs:
  am   a receive of ours ends in its buffer; perftest leaves eager messages in UCX's, up to the rendezvous threshold, and
       never looks at them
  tag  ours beside tag_lat and tag_bw: there, too, messages end in the buffers of posted receives
  get  both have their bytes when an operation is over. Over tcp the server of ucx_perftest waits meanwhile and looks after its
       worker once a millisecond: no yardstick there
  put  latency: both poll the last byte of their memory. Bandwidth: a WRITE of ours is over once it is placed at the peer,
       perftest's put once its buffer is free, with one flush at the end
Beside other work of the machine only medians mean something; `chrt -r 10 wavetank bench ucx` keeps it away.";

fn name(measure: Measure) -> &'static str {
    match measure {
        Measure::MessageLatency => "am latency",
        Measure::MessageBandwidth => "am bandwidth",
        Measure::ReadLatency => "get latency",
        Measure::ReadBandwidth => "get bandwidth",
        Measure::WriteLatency => "put latency",
        Measure::WriteBandwidth => "put bandwidth",
    }
}

/// What a ratio should be.
fn aim(measure: Measure) -> &'static str {
    if measure.is_bandwidth() { ">= 1.0" } else { "<= 1.1" }
}

pub(super) fn text(plan: &Plan, cpus: [usize; 2], all: &[Found]) -> String {
    let mut text = table::table(
        &["between processes", "over", "bytes", "wavetank", "ucx_perftest", "ratio", "aim"],
        beside(all),
    );
    let [server, client] = cpus;
    let through = match plan.through {
        Through::Engine => "Driver, Port and RdmaContext",
        Through::Backend => "the bare backend",
    };
    text = format!(
        "{text}\n\nThrough {through}; server on CPU {server}, client on CPU {client}; medians of {} rounds in turn; {} in \
         flight for bandwidth.\n{NOTES}",
        plan.rounds, plan.window
    );
    if plan.through == Through::Engine {
        let head = ["one operation", "over", "bytes", "engine", "bare backend", "the engine adds"];
        text = format!("{text}\n\n{}", table::table(&head, added(all)));
    }
    let mut lost: Vec<String> = all.iter().flat_map(|found| &found.theirs_failed).cloned().collect();
    lost.dedup();
    for why in lost {
        text = format!("{text}\n{why}");
    }
    text
}

fn beside(all: &[Found]) -> impl Iterator<Item = Vec<String>> {
    all.iter().flat_map(|found| {
        let what = name(found.cell.measure);
        let own = row(found, what.to_owned(), &found.beside);
        let tagged = found.tagged.as_ref().map(|tagged| row(found, format!("{what}, tag"), tagged));
        std::iter::once(own).chain(tagged)
    })
}

fn row(found: &Found, what: String, beside: &Beside) -> Vec<String> {
    let (ours, theirs) = beside.medians();
    let measure = found.cell.measure;
    vec![
        what,
        found.device.clone(),
        found.cell.bytes.to_string(),
        shown(ours, measure.is_bandwidth()),
        shown(theirs, measure.is_bandwidth()),
        shown_ratio(beside.ratio()),
        aim(measure).to_owned(),
    ]
}

/// What the engine adds to an operation: of a ping-pong to one way of it, of a window to its part of the time.
fn added(all: &[Found]) -> impl Iterator<Item = Vec<String>> {
    let ns = |ns: Option<f64>| ns.map_or("n/a".to_owned(), |ns| format!("{ns:.1} ns"));
    all.iter().map(move |found| {
        let (engine, bare) = found.engine.medians();
        vec![
            name(found.cell.measure).to_owned(),
            found.device.clone(),
            found.cell.bytes.to_string(),
            ns(engine),
            ns(bare),
            ns(engine.zip(bare).map(|(engine, bare)| engine - bare)),
        ]
    })
}

pub(super) fn to_json(plan: &Plan, cpus: [usize; 2], all: &[Found]) -> Value {
    let cells = all.iter().map(|found| {
        let ((ours, theirs), (engine, bare)) = (found.beside.medians(), found.engine.medians());
        let measure = found.cell.measure;
        json!({
            "what": measure.name(), "device": found.device, "bytes": found.cell.bytes,
            "ops": found.cell.count, "warm_up": found.cell.warm_up,
            "unit": if measure.is_bandwidth() { "bytes_per_s" } else { "ns" },
            "wavetank": ours, "perftest": theirs, "ratio": found.beside.ratio(),
            "wavetank_rounds": found.beside.ours, "perftest_rounds": found.beside.theirs,
            "perftest_tag": found.tagged.as_ref().and_then(|tagged| median(&tagged.theirs)),
            "tag_ratio": found.tagged.as_ref().and_then(Beside::ratio),
            "engine_ns": engine, "backend_ns": bare,
            "engine_adds_ns": engine.zip(bare).map(|(engine, bare)| engine - bare),
            "failed": found.failed, "perftest_failed": found.theirs_failed,
        })
    });
    json!({
        "simulated": false,
        "through": plan.through.name(),
        "server_cpu": cpus[0],
        "client_cpu": cpus[1],
        "rounds": plan.rounds,
        "window": plan.window,
        "cells": cells.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wavetank_harness::bench::across::Cell;

    #[test]
    fn both_tables_stand_in_the_report_and_what_is_missing_is_said() {
        let cell = Cell { measure: Measure::ReadLatency, bytes: 8, count: 100, warm_up: 10, window: 32 };
        let found = Found {
            device: "shm".to_owned(),
            cell,
            beside: Beside { ours: vec![22.0], theirs: vec![20.0] },
            tagged: Some(Beside { ours: vec![22.0], theirs: vec![10.0] }),
            engine: Beside { ours: vec![22.0], theirs: vec![14.5] },
            failed: Vec::new(),
            theirs_failed: vec!["ucx_perftest: killed".to_owned()],
        };
        let mut plan = Plan {
            devices: vec!["shm".to_owned()],
            protocol: None,
            measures: vec![cell.measure],
            sizes: vec![8],
            rounds: 1,
            ops: None,
            window: 32,
            through: Through::Engine,
        };
        let all = [found];
        let told = text(&plan, [0, 1], &all);
        for part in [
            "get latency",
            "get latency, tag",
            "2.20",
            "22 ns",
            "20 ns",
            "1.10",
            "<= 1.1",
            "7.5 ns",
            "CPU 1",
            "ucx_perftest: killed",
        ] {
            assert!(told.contains(part), "{part:?} is missing:\n{told}");
        }
        let json = to_json(&plan, [0, 1], &all);
        assert_eq!(json["cells"][0]["engine_adds_ns"], 7.5, "{json}");
        plan.through = Through::Backend;
        assert!(!text(&plan, [0, 1], &all).contains("the engine adds"));
    }
}
