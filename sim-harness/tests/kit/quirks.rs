//! Quirks: read strictly, an excuse for just one failure, and none for ever.

use std::path::Path;

use wavetank_harness::kit::{BUILT_IN, Expect, Outcome, Plan, Quirks, Report, cases};
use wavetank_harness::lab::MockLab;
use wavetank_mock::Profile;

use crate::lying::{Lie, LyingLab};
use crate::support::{on, only};

const CASE: &str = "a_write_with_a_key_that_nobody_gave_out_is_refused";

fn names() -> Vec<&'static str> {
    cases::<MockLab>().iter().map(|case| case.name()).collect()
}

fn parse(text: &str) -> Result<Quirks, String> {
    Quirks::parse(Path::new("q.toml"), text, &names()).map_err(|error| error.to_string())
}

fn quirk(device: &str, expect: &str, expires: &str) -> String {
    format!(
        "[[quirk]]\ndevice = \"{device}\"\ncase = \"{CASE}\"\nexpect = \"{expect}\"\nwhy = \"keys are ignored\"\n\
         upstream = \"some.c, some_function\"\nexpires = \"{expires}\"\n"
    )
}

/// Runs the case on a device that takes any key, or on an honest one.
fn run(text: &str, lie: Lie, today: &str) -> Report {
    let quirks = parse(text).expect("a good file");
    let plan = Plan { quirks, today: today.parse().expect("a day"), ..only(&[CASE]) };
    on(&mut || LyingLab::new(MockLab::new(Profile::IDEAL, 1), lie), &plan)
}

#[test]
fn a_failure_that_a_quirk_speaks_of_is_excused() {
    for (device, expect) in [
        ("mock/ideal", "fail"),
        ("mock/*", "expected 2 REM_ACCESS_ERR; got 2 SUCCESS"),
        ("*", "got 2 SUCCESS"),
        ("*", "got * SUCCESS"),
        ("mock/ideal", "something else\", \"got 2 SUCCESS"),
    ] {
        // Several texts are a list.
        let text = quirk(device, expect, "2026-12-31");
        let text = if expect.contains('"') {
            text.replace("\"something else", "[\"something else")
                .replace("got 2 SUCCESS\"", "got 2 SUCCESS\"]")
        } else {
            text
        };
        let report = run(&text, Lie::TakesAnyKey, "2026-06-01");
        assert!(report.ok(), "{report:#?}");
        let Outcome::Quirk(text) = &report.cases[0].result else { panic!("{report:#?}") };
        assert!(text.contains("got 2 SUCCESS") && text.contains("keys are ignored"), "{text}");
        assert_eq!(report.counts().quirks, 1);
    }
}

#[test]
fn another_failure_or_another_device_is_not() {
    // A star is one word, not several.
    for expect in ["RETRY_EXC_ERR", "got * RETRY_EXC_ERR", "expected * SUCCESS", "got * 2 SUCCESS"] {
        let report = run(&quirk("mock/*", expect, "2026-12-31"), Lie::TakesAnyKey, "2026-06-01");
        let Outcome::Failed(text) = &report.cases[0].result else { panic!("{report:#?}") };
        assert!(text.contains("q.toml:1 speaks of another failure"), "{text}");
    }
    let report = run(&quirk("verbs/rxe*", "fail", "2026-12-31"), Lie::TakesAnyKey, "2026-06-01");
    assert!(!report.ok());
    assert_eq!(
        report.cases[0].result,
        Outcome::Failed("a: expected 2 REM_ACCESS_ERR; got 2 SUCCESS".to_owned())
    );
}

#[test]
fn a_quirk_whose_case_passes_fails_the_run() {
    let report = run(&quirk("mock/*", "fail", "2026-12-31"), Lie::Honest, "2026-06-01");
    assert!(!report.ok());
    let expected = "the quirk at q.toml:1 passes: remove it".to_owned();
    assert_eq!(report.cases[0].result, Outcome::Failed(expected));
}

#[test]
fn where_a_race_decides_a_pass_is_no_surprise_but_another_failure_is() {
    let race = |expect| quirk("mock/*", expect, "2026-12-31").replace("why", "race = true\nwhy");
    let passed = run(&race("got 2 SUCCESS"), Lie::Honest, "2026-06-01");
    assert!(passed.ok() && passed.counts().passed == 1, "{passed:#?}");
    let deviated = run(&race("got 2 SUCCESS"), Lie::TakesAnyKey, "2026-06-01");
    assert!(deviated.ok() && deviated.counts().quirks == 1, "{deviated:#?}");
    assert!(!run(&race("RETRY_EXC_ERR"), Lie::TakesAnyKey, "2026-06-01").ok());
}

#[test]
fn a_quirk_that_has_expired_fails_the_run() {
    let text = quirk("mock/*", "fail", "2026-06-01");
    assert!(run(&text, Lie::TakesAnyKey, "2026-05-31").ok());
    let report = run(&text, Lie::TakesAnyKey, "2026-06-01");
    assert!(!report.ok());
    assert_eq!(report.complaints.len(), 1);
    let said = &report.complaints[0];
    assert!(said.contains("q.toml:1") && said.contains(CASE) && said.contains("2026-06-01"), "{said}");
    let elsewhere = quirk("verbs/*", "fail", "2020-01-01");
    assert!(run(&elsewhere, Lie::Honest, "2026-06-01").ok(), "of another device");
}

#[test]
fn a_case_that_would_hang_a_device_is_not_tried() {
    let report = run(&quirk("mock/*", "skip", "2026-12-31"), Lie::Honest, "2026-06-01");
    assert!(report.ok());
    assert_eq!(report.cases[0].result, Outcome::Quirk("not tried: keys are ignored".to_owned()));
}

#[test]
fn a_bad_file_is_refused_with_its_line() {
    let good = quirk("mock/*", "fail", "2026-12-31");
    assert!(parse(&good).is_ok() && parse("").is_ok());
    let bad = |from: &str, to: &str| good.replacen(from, to, 1);
    for (text, wanted) in [
        (bad(CASE, "no_such_case"), "q.toml:3: there is no case \"no_such_case\""),
        (bad("2026-12-31", "2026-02-30"), "q.toml:7: \"2026-02-30\" is not a day"),
        (bad("mock/*", "*/rxe"), "q.toml:2: a * may only end"),
        (bad("mock/*", " "), "q.toml:2: device is empty"),
        (bad("keys are ignored", ""), "q.toml:5: why is empty"),
        (bad("upstream", "source"), "q.toml:6: unknown field `source`"),
        (bad("upstream = \"some.c, some_function\"\n", ""), "q.toml:1: missing field `upstream`"),
        (bad("\"fail\"", "\"skip\"\nrace = true"), "q.toml:5: what is not tried is no race"),
        (bad("\"fail\"", "7"), "q.toml:4: wanted a text, or a list of them"),
        (bad("\"fail\"", "[]"), "q.toml:4: expect is empty"),
        (bad("\"fail\"", "[\"x\", \"\"]"), "q.toml:4: expect is empty"),
        (bad("[[quirk]]", "[[quirks]]"), "q.toml:1: unknown field `quirks`"),
        (bad("device = ", "device "), "q.toml:2:"),
        (good.clone() + &good, "q.toml:8: a second quirk of"),
    ] {
        let said = parse(&text).expect_err("refused");
        assert!(said.starts_with(wanted), "{said:?} should start with {wanted:?}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn the_quirks_that_come_along_are_good() {
    for file in BUILT_IN {
        let quirks = Quirks::parse(Path::new(file.path), file.text, &names()).expect("a good file");
        for quirk in quirks.iter() {
            assert!(quirk.device.starts_with(file.lab), "{}", quirk.place);
            assert_ne!(quirk.expect, Expect::Skip, "{}: nothing hangs", quirk.place);
        }
    }
}

#[test]
fn a_lab_has_the_quirks_of_its_own_devices() {
    let count = |lab| Quirks::built_in(lab, &names()).expect("good files").iter().count();
    assert!(count("verbs/rxe0") > 0 && count("verbs/siw0") > 0);
    for lab in ["mock/rxe", "verbs/mlx5_0", "rxe0"] {
        assert_eq!(count(lab), 0, "{lab}");
    }
    let all = |lab: &str| Quirks::built_in(lab, &names()).expect("good files");
    assert!(all("ucx/rc/rxe0:1").iter().all(|quirk| quirk.place.starts_with("quirks/ucx.toml:")));
}
