//! What a run of tests complains of, picked out of all that it printed: a summary that says only that something failed sends
//! people through ten thousand lines.

/// Lines of one test that are quoted.
const TEST_LINES: usize = 12;

/// Lines that are quoted of everything.
const LINES: usize = 120;

/// Characters of a line: what a program printed may be one of them.
const LINE_CHARS: usize = 400;

/// Each test or case of the kit that failed with what it said when it did, and each program that did not end as one should.
/// Empty if nothing did.
pub(crate) fn complaints(output: &str) -> String {
    let mut quoted: Vec<&str> = Vec::new();
    let mut lines = output.lines().peekable();
    while let Some(line) = lines.next() {
        if is_heading(line) {
            quoted.push(line);
            let mut said = Vec::new();
            while let Some(next) = lines.next_if(|l| !is_heading(l) && *l != "failures:") {
                said.push(next);
            }
            // What a test printed on its way matters less than how it ended.
            let from = said.iter().position(|l| l.contains("panicked at")).unwrap_or_default();
            quoted.extend(said[from..].iter().filter(|l| !l.trim().is_empty()).take(TEST_LINES));
        } else if is_end(line) || is_failed_case(line) {
            quoted.push(line);
        }
    }
    let more = quoted.len().saturating_sub(LINES);
    let mut text: String = quoted.iter().take(LINES).map(|l| format!("\n    | {}", short(l))).collect();
    if more > 0 {
        text += &format!("\n    | ... and {more} lines more");
    }
    text
}

fn short(line: &str) -> String {
    let mut chars = line.chars();
    let start: String = chars.by_ref().take(LINE_CHARS).collect();
    match chars.count() {
        0 => start,
        more => format!("{start}... and {more} characters more"),
    }
}

/// libtest's heading over what a failed test printed.
fn is_heading(line: &str) -> bool {
    line.starts_with("---- ") && line.ends_with(" ----")
}

/// What cargo says of a program that failed, or that died without a word.
fn is_end(line: &str) -> bool {
    let line = line.trim_start();
    [
        "error: test failed",
        "error: doctest failed",
        "error[",
        "error: could not compile",
        "process didn't exit",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}

/// The conformance kit's line of a case that failed, in its table or below it.
fn is_failed_case(line: &str) -> bool {
    line.split_whitespace().any(|word| matches!(word, "FAIL" | "FAIL:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 3 tests
test a::fine ... ok
test a::wrong ... FAILED
test a::short ... FAILED

failures:

---- a::wrong stdout ----
a line on its way
thread 'a::wrong' (7) panicked at a/tests/a.rs:3:5:
left is not right
note: run with `RUST_BACKTRACE=1`

---- a::short stdout ----
Error: Refused

failures:
    a::wrong
    a::short

test result: FAILED. 1 passed; 2 failed

     Running tests/b.rs (target/debug/deps/b-1)
error: test failed, to rerun pass `-p a --test b`

Caused by:
  process didn't exit successfully: `target/debug/deps/b-1` (signal: 11, SIGSEGV: invalid memory reference)
";

    #[test]
    fn who_failed_and_how_is_quoted_and_who_passed_is_not() {
        let quoted = complaints(OUTPUT);
        for part in [
            "| ---- a::wrong stdout ----\n    | thread 'a::wrong' (7) panicked at a/tests/a.rs:3:5:\n    | left is not right",
            "| ---- a::short stdout ----\n    | Error: Refused",
            "| error: test failed, to rerun pass `-p a --test b`",
            "signal: 11, SIGSEGV",
        ] {
            assert!(quoted.contains(part), "{part} in {quoted}");
        }
        assert!(!quoted.contains("fine") && !quoted.contains("on its way"), "{quoted}");
    }

    #[test]
    fn where_nothing_failed_nothing_is_quoted() {
        assert_eq!(complaints("running 1 test\ntest error: test failed ... ok\n\ntest result: ok.\n"), "");
    }

    #[test]
    fn a_case_of_the_kit_that_failed_is_quoted() {
        let table = "a_case   errors     FAIL  1.10 s\nanother   errors     pass  1 s\n";
        let text = "a_case\n  - FAIL: a: expected 2 SUCCESS; got 3 SUCCESS\n  + pass\n";
        let quoted = complaints(&format!("{table}{text}"));
        assert_eq!(
            quoted,
            "\n    | a_case   errors     FAIL  1.10 s\n    |   - FAIL: a: expected 2 SUCCESS; got 3 SUCCESS"
        );
    }

    #[test]
    fn a_long_line_is_cut() {
        let quoted = complaints(&format!("---- t stdout ----\npanicked at x.rs: {}\n", "é".repeat(5000)));
        assert!(quoted.len() < 1000 && quoted.contains("characters more"), "{quoted}");
    }

    #[test]
    fn a_test_that_says_much_leaves_room_for_the_others() {
        let much: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        let one = |n: usize| format!("---- t{n} stdout ----\nthread panicked at x.rs:1:1:\n{much}");
        let quoted = complaints(&format!("{}{}", one(1), one(2)));
        assert!(quoted.contains("---- t2 stdout ----") && quoted.lines().count() < 30, "{quoted}");
        let all: String = (0..50).map(one).collect();
        assert!(complaints(&all).ends_with("lines more") && complaints(&all).lines().count() <= LINES + 2);
    }
}
