//! Files: what is written is read back, and a mistake is told by file and line.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use wavetank_harness::WorkloadError;
use wavetank_harness::swarm::file::SimFile;

use crate::plans::file;

fn parse(text: &[u8]) -> Result<SimFile, WorkloadError> {
    let parsed = SimFile::parse(Path::new("x.sim"), text);
    if let Err(error) = &parsed {
        let told = error.to_string();
        assert!(told.starts_with("x.sim:") && error.line() >= Some(1) && error.key() > Some(""), "{told}");
        assert!(!told.contains(|c: char| c.is_control()), "{told}");
    }
    parsed
}

const GOOD: &str = "wavetank-swarm 1
# Lost with its answer.
program 0.1.0
seed 8117 v1
nodes 3
region 1 slots=4 window
connection 0 1 mtu=256
op 17 write slot=1 len=4096 imm session=2
op 18 add slot=2
fault op 0 link 0 1 lose one-in 10 burst 1
choice link-loss 3 = last
checkpoint 1 = 0123456789abcdef
expect fails bytes op 17
";

#[test]
fn what_is_left_out_is_as_usual_and_stays_left_out() {
    let file = parse(GOOD.as_bytes()).expect("it is right");
    assert_eq!(file.to_string(), GOOD);
    assert_eq!(
        (file.seed, file.case.plan.ops.len(), file.case.plan.connections[0].retry_cnt),
        (Some(8117), 2, 7)
    );
}

#[test]
fn a_seed_of_another_swarm_is_no_name_for_the_run() {
    let other = GOOD.replace("8117 v1", "8117 v0");
    assert_eq!(parse(other.as_bytes()).expect("the choices are there").seed, None);
}

#[test]
fn a_mistake_is_told_by_line_with_what_would_be_right() {
    let told = |from: &str, to: &str, line: u32, parts: &[&str]| {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let error = parse(text.as_bytes()).expect_err(to);
        assert_eq!(error.line(), Some(line), "{error}");
        let told = error.to_string();
        assert!(parts.iter().all(|part| told.contains(part)), "{told} should say {parts:?}");
    };
    told("wavetank-swarm 1", "wavetank-swarm 2", 1, &["found \"wavetank-swarm 2\"", "wavetank-swarm 1"]);
    told("nodes 3", "nodes 70000", 5, &["nodes:", "\"70000\"", "0 to 65535"]);
    told("nodes 3", "nodes 3 4", 5, &["found \"4\""]);
    told("nodes 3", "seed 3 v1", 5, &["seed:", "said before"]);
    told("nodes 3", "nods 3", 5, &["\"nods\"", "nodes, region, connection"]);
    told("slots=4", "slots=4 slots=5", 6, &["found \"slots=5\""]);
    told("mtu=256", "mtu=300", 7, &["300", "256, 512, 1024"]);
    told("17 write", "17 writes", 8, &["found \"writes\"", "read, write, send"]);
    told("len=4096 ", "", 8, &["no len"]);
    told("link 0 1 lose", "link 0 1 loose", 10, &["fault:", "\"loose\""]);
    told("link-loss", "link-los", 11, &["\"link-los\"", "link-jitter, link-loss"]);
    told("= last", "= 0", 11, &["remove the line"]);
    told("checkpoint 1", "checkpoint 0", 12, &["rise from 1"]);
    told("0123456789abcdef", "0123456789ABCDEF", 12, &["16 hexadecimal digits"]);
    told("fails bytes", "fails bites", 13, &["\"bites\"", "bytes, needle"]);
    told("expect fails bytes op 17\n", "", 12, &["no line begins with \"expect\""]);
    told("slot=1", "slot=9", 13, &["plan: operation 17", "slot is 9"]);
    told("region 1 slots=4", "region 1 slots=60000 slot_bytes=4000000000", 13, &["plan: region 0", "slot"]);
}

#[test]
fn what_is_no_text_or_too_long_is_refused() {
    assert!(parse(b"").is_err());
    assert!(parse(&[0xff; 10]).is_err());
    assert!(parse(format!("{GOOD}#\u{7}\n").as_bytes()).is_err());
    assert!(parse(GOOD.replace('\n', "\r\n").as_bytes()).is_ok(), "lines may end as they do elsewhere");
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(file in file()) {
        let text = file.to_string();
        let again = parse(text.as_bytes()).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&again, &file);
        prop_assert_eq!(again.to_string(), text);
    }

    #[test]
    fn a_damaged_file_is_read_or_refused_and_never_more(
        file in file(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..6),
    ) {
        let mut text = file.to_string().into_bytes();
        for (at, byte, how) in damage {
            if text.is_empty() {
                break;
            }
            let at = at.index(text.len());
            match how {
                0 => text[at] = byte,
                1 => text.insert(at, b"0123456789 =\n"[usize::from(byte) % 13]),
                2 => drop(text.remove(at)),
                _ => text.truncate(at),
            }
        }
        if let Ok(read) = parse(&text) {
            prop_assert_eq!(read.case.plan.check(), Ok(()));
            prop_assert_eq!(parse(read.to_string().as_bytes()).expect("it was written"), read);
        }
    }

    #[test]
    fn garbage_is_refused(mut text in vec(any::<u8>(), 0..200), head in any::<bool>()) {
        if head {
            text.splice(0..0, *b"wavetank-swarm 1\n");
        }
        let _ = parse(&text);
    }
}
