//! The UCX_* variables of the environment: UCX takes them for whatever the device does not set itself.

use super::Finding;
use crate::config::{Transport, UcxConfig};
use crate::opening::check_environment;

/// What UCX 1.13.1 and 1.22.0 know (`ucx_info -c -f`), but for what some of their modules add.
const KNOWN: &str = include_str!("variables.txt");

/// What a device sets itself, whatever the environment says.
const OURS: [&str; 7] = [
    "TLS",
    "NET_DEVICES",
    "ADDRESS_VERSION",
    "UNIFIED_MODE",
    "ADDRESS_DEBUG_INFO",
    "MM_ERROR_HANDLING",
    "POSIX_ERROR_HANDLING",
];

const CHECK: &str = "variables";

pub(super) fn examine() -> Vec<Finding> {
    judge(std::env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.to_string_lossy().into_owned());
        name.starts_with("UCX_").then_some((name, value))
    }))
}

fn judge(set: impl Iterator<Item = (String, String)>) -> Vec<Finding> {
    let set: Vec<(String, String)> = set.collect();
    let mut findings: Vec<Finding> = set.iter().filter_map(|(name, value)| one(name, value)).collect();
    if findings.is_empty() {
        let names: Vec<&str> = set.iter().map(|(name, _)| name.as_str()).collect();
        let says = if names.is_empty() { "no UCX_* variable is set".to_owned() } else { names.join(", ") };
        findings.push(Finding::ok(CHECK, says));
    }
    findings
}

/// What is wrong with one of them.
fn one(name: &str, value: &str) -> Option<Finding> {
    let get = |asked: &str| (asked == name).then(|| value.to_owned());
    // What brings UCX down does so whatever is asked for; what leaves a transport out, for that one only.
    let refused = Transport::ALL.map(|transport| check_environment(&UcxConfig::new(transport), get).err());
    let names = Transport::ALL.iter().zip(&refused).filter(|(_, error)| error.is_some());
    let names: Vec<&str> = names.map(|(transport, _)| transport.name()).collect();
    let mend = format!("unset {name}");
    if let Some(error) = refused.into_iter().flatten().next() {
        return Some(match names.len() == Transport::ALL.len() {
            true => Finding::fail(CHECK, error.to_string(), mend),
            false => Finding::warn(CHECK, format!("{name}={value} leaves out {}", names.join(", ")), mend),
        });
    }
    let short = name.strip_prefix("UCX_").unwrap_or(name);
    if OURS.contains(&short) {
        return Some(Finding::warn(
            CHECK,
            format!("{name}={value} has no effect: the device sets it itself"),
            mend,
        ));
    }
    if KNOWN.lines().any(|known| known == short) {
        return None;
    }
    let near =
        KNOWN.lines().min_by_key(|known| distance(known, short)).filter(|near| distance(near, short) < 4);
    let near = near.map(|near| format!("; UCX_{near} there is")).unwrap_or_default();
    Some(Finding::warn(CHECK, format!("{name}={value}: UCX 1.13 and 1.22 know no such variable{near}"), mend))
}

/// How many letters have to be put in, left out or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn found(name: &str, value: &str) -> Vec<(Verdict, String)> {
        let set = std::iter::once((name.to_owned(), value.to_owned()));
        judge(set).into_iter().map(|finding| (finding.verdict, finding.says)).collect()
    }

    #[test]
    fn each_variable_is_judged() {
        assert_eq!(found("UCX_RNDV_THRESH", "64k"), [(Verdict::Ok, "UCX_RNDV_THRESH".to_owned())]);
        assert_eq!(judge(std::iter::empty())[0].says, "no UCX_* variable is set");
        for (name, value, verdict, says) in [
            ("UCX_PROTO_ENABLE", "y", Verdict::Fail, "aborts"),
            ("UCX_LOG_FILE", "/nonexistent/ucx.log", Verdict::Fail, "ends the process"),
            ("UCX_TLS", "tcp", Verdict::Warn, "UCX_TLS=tcp leaves out shm, self, rc"),
            ("UCX_TLS", "all", Verdict::Warn, "the device sets it itself"),
            ("UCX_TLS", "garbage", Verdict::Fail, "leaves out the transport"),
            ("UCX_RNDV_TRESH", "64k", Verdict::Warn, "UCX_RNDV_THRESH there is"),
            ("UCX_WHATEVER_THIS_MAY_BE", "1", Verdict::Warn, "know no such variable"),
        ] {
            let found = found(name, value);
            assert!(
                found.len() == 1 && found[0].0 == verdict && found[0].1.contains(says),
                "{name}: {found:?}"
            );
        }
    }

    #[test]
    fn letters_are_counted() {
        assert_eq!([distance("TLS", "TLS"), distance("TLS", "TSL"), distance("", "TLS")], [0, 2, 3]);
    }
}
