//! The matrix itself: all cells, what they came to, and twins that show that each check can fail.

use wavetank_messenger::Step;

use crate::cell::{Cell, Fault, Pairing};
use crate::scenario::{Planted, Report, Scenario};

fn cells() -> Vec<Cell> {
    let mut all = Vec::new();
    for pairing in Pairing::ALL {
        for step in Step::ALL.iter().copied() {
            for passer in 0..2 {
                for fault in Fault::ALL {
                    for victim in 0..2 {
                        if fault.has_victim() || victim == passer {
                            all.push(Cell { pairing, step, nth: 1, passer, fault, victim });
                        }
                    }
                }
            }
        }
    }
    all
}

#[test]
fn undisturbed_everything_succeeds() {
    for pairing in Pairing::ALL {
        let report = Scenario::new(pairing, None, Planted::Nothing)
            .run()
            .unwrap_or_else(|why| panic!("{}: {why}", pairing.name()));
        println!("{}: {report:?}", pairing.name());
        for (at, step) in Step::ALL.iter().enumerate() {
            if report.passed & 1 << at == 0 {
                println!("not passed: {}", step.name());
            }
        }
    }
}

#[test]
fn every_step_may_be_interrupted_by_everything_on_either_side() {
    let all = cells();
    let mut reports: Vec<(Cell, Report)> = Vec::new();
    let mut wrong = Vec::new();
    let only = std::env::var("CELL").ok();
    for cell in all.iter().copied() {
        if only.as_ref().is_some_and(|only| !cell.to_string().contains(&**only)) {
            continue;
        }
        if std::env::var_os("SAY").is_some() {
            println!("{cell}");
        }
        match Scenario::new(cell.pairing, Some(cell), Planted::Nothing).run() {
            Ok(report) => reports.push((cell, report)),
            Err(why) => wrong.push(format!("{cell}: {why}")),
        }
    }
    println!("{} cells, {} wrong", all.len(), wrong.len());
    for wrong in wrong.iter().take(400) {
        println!("{}", wrong.chars().take(400).collect::<String>());
    }
    assert!(wrong.is_empty());
}
