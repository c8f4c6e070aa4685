//! The matrix itself: all cells, what they came to, and twins that show that each check can fail.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use wavetank_messenger::Step;

use crate::cell::{Cell, Fault, Pairing};
use crate::scenario::{Planted, Report, Scenario};

/// Every step on either side, and whatever may befall either side at it.
fn cells(pairing: Pairing) -> impl Iterator<Item = Cell> {
    let steps = Step::ALL.iter().flat_map(|step| [(*step, 0), (*step, 1)]);
    let faults = Fault::ALL.into_iter().flat_map(|fault| [(fault, true), (fault, false)]);
    let faults: Vec<_> = faults.filter(|(fault, passer)| *passer || fault.has_victim()).collect();
    steps.flat_map(move |(step, passer)| {
        faults.clone().into_iter().map(move |(fault, itself)| {
            let victim = if itself { passer } else { 1 - passer };
            Cell { pairing, step, nth: 1, passer, fault, victim }
        })
    })
}

/// Runs all cells of a pairing. Steps in `never` are those it has none of.
fn matrix(pairing: Pairing, never: &[Step]) {
    let mut rows: BTreeMap<Fault, (u32, Report)> = BTreeMap::new();
    let (mut count, mut wrong, mut reached) = (0, Vec::new(), [false; Step::ALL.len()]);
    for cell in cells(pairing) {
        count += 1;
        match Scenario::new(pairing, Some(cell), Planted::Nothing).run() {
            Ok(report) => {
                let (reaching, row) = rows.entry(cell.fault).or_default();
                *reaching += u32::from(report.reached);
                reached[cell.step as usize] |= report.reached;
                row.succeeded += report.succeeded;
                row.failed += report.failed;
                row.reconnected += report.reconnected;
                row.reset += report.reset;
                row.forgotten += report.forgotten;
            }
            Err(why) => wrong.push(format!("{cell}: {}", why.chars().take(400).collect::<String>())),
        }
    }
    let mut table = format!(
        "{}: {count} cells, {} wrong\n{:14} {:>8} {:>10} {:>8} {:>12} {:>7} {:>10}\n",
        pairing.name(),
        wrong.len(),
        "what befalls",
        "reached",
        "messages",
        "failed",
        "reconnected",
        "reset",
        "forgotten"
    );
    for (fault, (reaching, row)) in &rows {
        let _ = writeln!(
            table,
            "{:14} {reaching:>8} {:>10} {:>8} {:>12} {:>7} {:>10}",
            fault.name(),
            row.succeeded,
            row.failed,
            row.reconnected,
            row.reset,
            row.forgotten
        );
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
    let missed: Vec<Step> = Step::ALL.iter().copied().filter(|step| !reached[*step as usize]).collect();
    assert_eq!(missed, never, "steps that no cell reached");
}

#[test]
fn a_lossy_client_and_its_server_survive_everything_at_every_step() {
    matrix(Pairing::Lossy, &[Step::Replay, Step::Redial]);
}

#[test]
fn a_lossless_client_and_its_server_survive_everything_at_every_step() {
    matrix(Pairing::Lossless, &[]);
}

#[test]
fn two_lossless_peers_survive_everything_at_every_step() {
    matrix(Pairing::Peers, &[]);
}

#[test]
fn undisturbed_everything_succeeds_and_nothing_breaks_but_what_is_broken() {
    for pairing in Pairing::ALL {
        let report = Scenario::new(pairing, None, Planted::Nothing).run();
        let report = report.unwrap_or_else(|why| panic!("{}: {why}", pairing.name()));
        let lossless = pairing != Pairing::Lossy;
        assert_eq!((report.reached, report.forgotten), (false, 0));
        // Two messages are hopeless, and what a lossy connection had under way is lost once.
        assert!(report.failed == 2 || !lossless, "{report:?}");
        assert_eq!((report.reconnected, report.reset), if lossless { (2, 1) } else { (0, 3) });
    }
}

/// A run with a bug planted into it: what it is told as.
fn told(pairing: Pairing, cell: Option<Cell>, planted: Planted, words: &str) {
    match Scenario::new(pairing, cell, planted).run() {
        Ok(report) => panic!("{planted:?} was not noticed: {report:?}"),
        Err(why) => assert!(why.contains(words), "{planted:?} was told as {why}"),
    }
}

#[test]
fn a_messenger_that_does_not_mind_silence_makes_cells_fail() {
    for pairing in Pairing::ALL {
        let (step, fault) = (Step::FetchData, Fault::Vanished);
        let cell = Cell { pairing, step, nth: 1, passer: 0, fault, victim: 1 };
        told(pairing, Some(cell), Planted::Deaf, "has not noticed");
    }
}

#[test]
fn whatever_is_checked_is_told_where_it_does_not_hold() {
    let twins = [
        (Planted::Unreleased, "hangs"),
        (Planted::Twice, "came twice"),
        (Planted::WrongByte, "not what was sent"),
        (Planted::Kept, "has something left"),
    ];
    for (planted, words) in twins {
        told(Pairing::Lossless, None, planted, words);
    }
}

#[test]
fn a_life_that_ends_where_nobody_may_die_makes_a_cell_fail() {
    // The same cell, told as another: a process is gone, and everything is still expected of it.
    let (pairing, step) = (Pairing::Lossless, Step::SendEager);
    let cell = Cell { pairing, step, nth: 1, passer: 1, fault: Fault::Killed, victim: 1 };
    let scenario = Scenario::new(pairing, Some(cell), Planted::Nothing);
    let why = scenario.believing(Fault::Asleep).run().expect_err("its requests are lost");
    assert!(why.contains("was forgotten") || why.contains("failed as"), "{why}");
}
