//! Clocks, entropy, sleeps and hash-ordered maps do not get past clippy: a crate that uses each is refused.
//!
//! The crate is judged by the workspace's own `clippy.toml` and lint levels, read from their files, so a ban that is
//! lost there is lost here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

/// Every ban of `clippy.toml`, with a line that breaks it.
const BANNED: &[(&str, &str)] = &[
    ("std::time::Instant::now", "pub fn a() -> impl Sized { std::time::Instant::now() }"),
    ("std::time::SystemTime::now", "pub fn b() -> impl Sized { std::time::SystemTime::now() }"),
    ("std::thread::sleep", "pub fn c() { std::thread::sleep(std::time::Duration::from_nanos(150)) }"),
    ("std::thread::spawn", "pub fn d() -> impl Sized { std::thread::spawn(|| ()) }"),
    ("std::time::Instant", "pub fn e(t: std::time::Instant) -> impl Sized { t }"),
    ("std::time::SystemTime", "pub fn f(t: std::time::SystemTime) -> impl Sized { t }"),
    ("std::collections::HashMap", "pub fn g(m: std::collections::HashMap<u8, u8>) -> impl Sized { m }"),
    ("std::collections::HashSet", "pub fn h(s: std::collections::HashSet<u8>) -> impl Sized { s }"),
    ("std::hash::RandomState", "pub fn i(s: std::hash::RandomState) -> impl Sized { s }"),
    ("std::hash::DefaultHasher", "pub fn j(h: std::hash::DefaultHasher) -> impl Sized { h }"),
];

/// The same wishes, granted: time as an argument, an order that is defined.
const CLEAN: &str = "
pub fn later(now_ns: u64, wait: std::time::Duration) -> Option<u64> { now_ns.checked_add(wait.as_nanos() as u64) }
pub fn first(m: &std::collections::BTreeMap<u8, u8>) -> Option<u8> { m.values().next().copied() }
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> Table {
    let text = fs::read_to_string(root().join(path)).expect("a file of the workspace");
    text.parse().expect("TOML")
}

/// The bans of `clippy.toml`: path and reason.
fn bans() -> Vec<(String, String)> {
    let clippy = read("clippy.toml");
    let lists = ["disallowed-methods", "disallowed-types"].map(|l| clippy[l].as_array().expect("a list"));
    let text = |ban: &Value, key: &str| ban[key].as_str().expect("a string").to_owned();
    lists.into_iter().flatten().map(|ban| (text(ban, "path"), text(ban, "reason"))).collect()
}

/// Runs clippy, as the workspace configures it, on a crate of this source. Whether it passed, and its diagnostics.
fn clippy(source: &str) -> (bool, Vec<String>) {
    let krate = tempfile::tempdir().expect("a temporary folder");
    let write = |path: &str, text: &str| fs::write(krate.path().join(path), text).expect("a file");
    let lints = read("Cargo.toml")["workspace"]["lints"].clone();
    let package: Table = "[package]\nname = 'wishes'\nedition = '2024'\n[workspace]\n".parse().expect("TOML");
    let manifest: Table = package.into_iter().chain([("lints".into(), lints)]).collect();
    fs::create_dir(krate.path().join("src")).expect("a folder");
    write("Cargo.toml", &manifest.to_string());
    write("src/lib.rs", &format!("//! Wishes.\n#![allow(missing_docs)]\n{source}"));
    for file in ["clippy.toml", "rust-toolchain.toml"] {
        fs::copy(root().join(file), krate.path().join(file)).expect("a copy");
    }
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["clippy", "--offline", "--quiet", "--", "-D", "warnings"])
        .current_dir(krate.path())
        .env("CARGO_TARGET_DIR", krate.path().join("target"))
        .env("CARGO_TERM_COLOR", "never")
        .env_remove("CLIPPY_CONF_DIR")
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), text.split("\n\n").map(String::from).collect())
}

#[test]
fn each_ban_is_reported_as_an_error_with_its_reason() {
    let source: Vec<&str> = BANNED.iter().map(|(_, line)| *line).collect();
    let (passed, diagnostics) = clippy(&source.join("\n"));
    assert!(!passed, "clippy let everything through");
    for (path, reason) in bans() {
        let (_, line) =
            BANNED.iter().find(|(p, _)| *p == path).expect("a new ban gets a line that breaks it");
        let reported = diagnostics.iter().any(|d| {
            d.starts_with("error: use of a disallowed")
                && d.contains(&format!("`{path}`"))
                && d.contains(&reason)
                && d.contains(line)
        });
        assert!(reported, "{path} ({reason}) is not reported in\n{}", diagnostics.join("\n\n"));
    }
}

#[test]
fn a_crate_without_hidden_inputs_passes() {
    let (passed, diagnostics) = clippy(CLEAN);
    assert!(passed, "{}", diagnostics.join("\n\n"));
}

#[test]
fn the_bans_that_keep_a_run_repeatable_are_in_force() {
    let bans = bans();
    for (path, _) in BANNED {
        assert!(bans.iter().any(|(p, reason)| p == path && !reason.is_empty()), "{path} is allowed again");
    }
}

#[test]
fn every_member_is_under_the_bans() {
    let members = read("Cargo.toml")["workspace"]["members"].as_array().expect("a list").clone();
    for member in members {
        let manifest = read(&format!("{}/Cargo.toml", member.as_str().expect("a path")));
        let lints = &manifest["lints"];
        let inherited = lints.get("workspace").and_then(Value::as_bool) == Some(true);
        let denied =
            |lint| lints.get("clippy").and_then(|c| c.get(lint)).and_then(Value::as_str) == Some("deny");
        assert!(
            inherited || (denied("disallowed_methods") && denied("disallowed_types")),
            "{member} does not take the workspace's lints"
        );
    }
}
