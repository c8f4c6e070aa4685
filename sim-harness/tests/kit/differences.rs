//! Reports that are saved, read back and compared.

use wavetank_harness::kit::{Difference, Outcome, Report};
use wavetank_harness::lab::MockLab;
use wavetank_mock::Profile;

use crate::lying::{Lie, LyingLab};
use crate::support::{on, on_mock, only, plan};

const KEY: &str = "a_write_with_a_key_that_nobody_gave_out_is_refused";
const MISALIGNED: &str = "a_misaligned_atomic_is_refused";

#[test]
fn a_saved_report_is_read_back_whole() {
    let report = on_mock(&Profile::IDEAL, 1, &plan());
    let text = report.to_json().expect("it can be written");
    assert_eq!(Report::from_json(&text).expect("it can be read"), report);
    for bad in
        ["", "{}", "[]", "{\"lab\": 3}", &text[..text.len() / 2], &text.replacen("\"lab\"", "\"bal\"", 1)]
    {
        let error = Report::from_json(bad).expect_err("refused").to_string();
        assert!(error.starts_with("not a saved report of the kit: "), "{error}");
    }
}

#[test]
fn runs_that_differ_in_time_only_are_alike() {
    let (one, other) = (on_mock(&Profile::IDEAL, 1, &plan()), on_mock(&Profile::RXE, 9, &plan()));
    assert_ne!(one, other);
    let difference = Difference::between(&one, &other);
    assert_eq!((difference.one.as_str(), difference.other.as_str()), ("mock/ideal", "mock/rxe"));
    assert!(difference.cases.is_empty(), "{difference:#?}");
    assert_eq!(difference.alike as usize, one.cases.len());
}

#[test]
fn a_case_that_passes_here_and_fails_there_is_shown() {
    let plan = only(&[KEY]);
    let good = on_mock(&Profile::IDEAL, 1, &plan);
    let bad = on(&mut || LyingLab::new(MockLab::new(Profile::IDEAL, 1), Lie::TakesAnyKey), &plan);
    let difference = Difference::between(&good, &bad);
    assert_eq!((difference.alike, difference.cases.len()), (0, 1));
    let case = &difference.cases[0];
    assert_eq!(case.case, KEY);
    assert_eq!(case.one.as_deref(), Some("pass"));
    assert_eq!(case.other.as_deref(), Some("FAIL: a: expected 2 REM_ACCESS_ERR; got 2 SUCCESS"));
    assert!(case.only_one.is_empty(), "one of them ended early");
}

#[test]
fn what_was_seen_is_shown_where_both_passed() {
    // A device that looks refuses a misaligned atomic itself; one that does not leaves it to the peer. Both are right.
    let one = on_mock(&Profile::IDEAL, 1, &only(&[MISALIGNED]));
    let mut other = one.clone();
    for line in &mut other.cases[0].seen {
        if line.contains("REM_INV_REQ_ERR") {
            *line = "a: fetch_add 0 refused System".to_owned();
        }
    }
    assert_ne!(one, other, "there is something to see");
    let difference = Difference::between(&one, &other);
    let case = &difference.cases[0];
    assert_eq!((case.one.as_deref(), case.other.as_deref()), (Some("pass"), Some("pass")));
    assert!(case.only_one.iter().any(|line| line.contains("REM_INV_REQ_ERR")), "{case:#?}");
    assert!(case.only_other.iter().any(|line| line.contains("refused System")), "{case:#?}");
    let last = one.cases[0].seen.last().expect("the digest of memory");
    assert!(!case.only_one.contains(last), "what they have in common is not shown");
}

#[test]
fn cases_that_ran_on_one_side_only_are_named() {
    let (one, other) =
        (on_mock(&Profile::IDEAL, 1, &only(&[KEY])), on_mock(&Profile::IDEAL, 1, &only(&[MISALIGNED])));
    let difference = Difference::between(&one, &other);
    let told: Vec<_> = difference
        .cases
        .iter()
        .map(|case| (case.case.as_str(), case.one.is_some(), case.other.is_some()))
        .collect();
    assert_eq!(told, [(KEY, true, false), (MISALIGNED, false, true)]);
}

#[test]
fn memory_that_differs_is_an_observation() {
    let report = on_mock(&Profile::IDEAL, 1, &plan());
    for case in report.cases.iter().filter(|case| case.group == "order" && case.result == Outcome::Passed) {
        let digests = case.seen.iter().filter(|line| line.contains(": memory ")).count();
        assert_eq!(digests, 2, "{}", case.case);
    }
}
