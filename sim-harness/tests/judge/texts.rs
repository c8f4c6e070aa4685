//! Programs as text: what is printed reads back, what is wrong is told by its line.

use proptest::prelude::*;
use wavetank_contract::Seeded;
use wavetank_harness::judge::{Judge, Limits, Plan, generate, parse};
use wavetank_harness::lab::MockLab;
use wavetank_mock::Profile;

const LIMITS: Limits = Limits { pieces: 4, inline_bytes: 64, steps: 25 };

const STAGE: &str = "
    region a node=0 pd=0 len=4096 rights=all
    region b node=1 pd=0 len=4096 rights=local_write+remote_read # and nothing else
    connection 0 pd0=0 rights0=all pd1=0 rights1=all mtu=256 timeout=10 retry=2 rnr_retry=0 rnr_timer=12
";

proptest! {
    #[test]
    fn every_generated_program_reads_back(seed: u64) {
        let program = generate(LIMITS, &mut Seeded::new(seed));
        prop_assert!(program.steps.len() <= 27);
        prop_assert_eq!(parse(&program.to_string()), Ok(program));
    }

    #[test]
    fn no_text_is_too_wrong_to_be_answered(text in "(?s).{0,200}") {
        let _ = parse(&text);
        let _ = parse(&format!("{STAGE}{text}"));
    }

    /// Words that mean something, in any order: whatever is read can be run.
    #[test]
    fn whatever_reads_can_be_judged(lines in prop::collection::vec(prop::sample::subsequence(vec![
        "write", "read", "recv", "send", "swap", "register", "deregister", "move", "close", "reconnect", "settle",
        "c0.0", "c0.1", "a", "b", "0", "err", "sqd", "rts", "reset", "a+0:64", "b+4000:4096", "inline:8", "inline:4000",
        "at", "b+8", "a-1", "b+4095!old", "a+0!never", "compare=1", "swap=0xff", "imm=7", "fence", "silent",
    ], 1..7), 1..10)) {
        let text: String = lines.iter().map(|words| words.join(" ") + "\n").collect();
        if let Ok(program) = parse(&format!("{STAGE}{text}")) {
            let mut judge = Judge::new(MockLab::new(Profile::IDEAL, 1), MockLab::new(Profile::RXE, 2)).unwrap();
            if Plan::of(&program).undefined.is_none() {
                let verdict = judge.judge(&program).unwrap();
                prop_assert!(verdict.differences.is_empty(), "{text}\n{:?}", verdict.differences);
            }
        }
    }
}

#[test]
fn a_wrong_line_is_named_with_what_would_be_right() {
    let cases = [
        ("jump c0.0", "\"jump\" is no step"),
        ("send c1.0 a+0:8", "\"c1.0\" is no end of a connection"),
        ("send c0.0 b+0:8", "b is memory of the other node"),
        ("write c0.0 a+0:8", "have a place `at b+64`"),
        ("send c0.0 a+0:8 at b+0", "recv and send have none"),
        ("write c0.0 a+0:8 at a+0", "a is memory of the same node"),
        ("write c0.0 a+0:8 at b+0!new", "a key is !old or !never"),
        ("read c0.0 a+0:8 at b+0 imm=1", "only send and write carry an immediate"),
        ("recv c0.0 inline:8", "inline bytes go with send and write"),
        ("swap c0.0 a+0:8 at b+0 swap=1", "compare= is missing"),
        ("move c0.0 rtr", "moved to err, sqd, rts or reset"),
        ("register q", "\"q\" is no region"),
        ("reconnect 3", "there is no connection 3"),
        ("region a node=0 pd=0 len=4096 rights=all", "there is a region a already"),
        ("region c node=2 pd=0 len=4096 rights=all", "node: \"2\" is not a number up to 1"),
        ("region c node=0 pd=0 len=100 rights=all", "whole number of pages"),
        ("region c node=0 pd=0 len=4096 rights=some", "\"some\" is no right"),
        ("region c node=0 pd=0 len=4096 rights=remote_write", "need local_write too"),
    ];
    for (line, told) in cases {
        let error = parse(&format!("{STAGE}{line}")).expect_err(line);
        assert_eq!(error.line, 5, "{line}: {error}");
        assert!(error.to_string().contains(told), "{line}: {error}");
    }
}
