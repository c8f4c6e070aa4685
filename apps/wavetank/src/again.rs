//! A swarm run of a file, again: the part of `wavetank replay` that swarm runs have.

use std::error::Error;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use wavetank_engine::{Port, RdmaContext};
use wavetank_harness::swarm::choices::SwarmChoices;
use wavetank_harness::swarm::file::{Expected, HEADER, Outcome, SimFile, caught};
use wavetank_harness::swarm::{Plan, run_on};
use wavetank_harness::watch::Watch;
use wavetank_mock::Tap;

use crate::figures::{duration, grouped};
use crate::sim::{sing, write};
use crate::{pcap, print, say, table};

/// Whether a file holds a swarm run, by its first word. One that cannot be read is for others to complain about.
pub(crate) fn is_swarm_run(path: &Path) -> bool {
    let mut first = [0; HEADER.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok() && first == HEADER.as_bytes()
}

/// Runs a plan as the file it is from says. A tap may look on.
pub(crate) fn run_case(
    canary: bool,
    plan: &Plan,
    choices: SwarmChoices,
    tap: Option<Box<dyn Tap>>,
) -> Outcome {
    let context = |nic, config| RdmaContext::from(Port::new(nic, config));
    let mut outcome = caught(|| run_on(plan, choices, Watch { tap, ..Watch::default() }, context));
    if canary {
        sing(&mut outcome);
    }
    outcome
}

/// Runs a file again, and writes it to `record` as it turned out, and its packets to `pcap`.
pub(crate) fn run(
    path: &Path,
    record: Option<&Path>,
    pcap: &pcap::Asked,
    twice: bool,
    as_json: bool,
) -> Result<ExitCode, Box<dyn Error>> {
    let file = SimFile::load(path)?;
    let capturing = pcap.begin(true)?;
    let mut tap = capturing.as_ref().map(pcap::Capturing::tap);
    let mut run = |plan: &Plan, choices| run_case(file.canary, plan, choices, tap.take());
    let (outcome, mut differences) = file.replay(&mut run);
    capturing.as_ref().map_or(Ok(()), pcap::Capturing::finish)?;
    if twice {
        let other = Expected::of(&file.replay(&mut run).0);
        let hash = |outcome: &Outcome| outcome.as_ref().ok().map(|verdict| verdict.trace_hash);
        let again = run_case(file.canary, &file.case.plan, SwarmChoices::sparse(&file.case.loud), None);
        if other != Expected::of(&outcome) || hash(&again) != hash(&outcome) {
            differences.push("not deterministic: run again it ends otherwise".to_owned());
        }
    }
    if let Some(record) = record {
        let choices = SwarmChoices::sparse(&file.case.loud).record();
        let outcome = run_case(file.canary, &file.case.plan, choices.clone(), None);
        let new = SimFile::of(file.seed, &file.case.plan, &choices, &outcome);
        write(record, &SimFile { notes: file.notes.clone(), canary: file.canary, ..new })?;
    }
    let ended = Expected::of(&outcome);
    let ok = differences.is_empty();
    let why = match &outcome {
        Err(panic) => panic.clone(),
        Ok(verdict) => verdict.failure.as_ref().map_or_else(String::new, |guilt| guilt.what.clone()),
    };
    let verdict = outcome.as_ref().ok();
    if as_json {
        let json = json!({
            "ok": ok,
            "expected": file.expected.to_string(),
            "ended": ended.to_string(),
            "what": why,
            "differences": differences,
            "trace_hash": verdict.map(|verdict| format!("{:016x}", verdict.trace_hash)),
            "virtual_ns": verdict.map(|verdict| verdict.took.0),
            "bytes_verified": verdict.map(|verdict| verdict.bytes_verified),
        });
        print(&serde_json::to_string_pretty(&json)?)?;
    } else {
        let row = |what: &str, figure: String| vec![what.to_owned(), figure];
        let plan = &file.case.plan;
        let mut rows = vec![
            row("operations", grouped(plan.ops.len() as u64)),
            row("faults", grouped(plan.faults.len() as u64)),
            row("loud choices", grouped(file.case.loud.len() as u64)),
        ];
        if let Some(verdict) = verdict {
            rows.push(row("bytes verified", grouped(verdict.bytes_verified)));
            rows.push(row("virtual time", duration(verdict.took.0)));
            rows.push(row("trace hash", format!("{:016x}", verdict.trace_hash)));
            rows.extend(
                verdict.marks.iter().map(|(mark, count)| row(&format!("  {}", mark.name()), grouped(*count))),
            );
        }
        rows.push(row("ended", ended.to_string()));
        print(&table::table(&[&path.display().to_string(), ""], rows))?;
        if !why.is_empty() {
            print(&why)?;
        }
    }
    for difference in &differences {
        say(&format!("{}: {difference}", path.display()));
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
