//! Programs of others that look at the sidecar, where they are on PATH: schemathesis, Chromium, jq, weed. Where one is not, the test says so.

use std::path::PathBuf;
use std::process::{Command, Output};

use tokio::task::spawn_blocking;
use wavetank_sidecar::Settings;

use crate::world::{World, file, plain};

/// Where the first of these programs is.
fn found(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let all = std::env::split_paths(&path).flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    let found = all.into_iter().find(|program| program.is_file());
    if found.is_none() {
        #[expect(clippy::print_stderr, reason = "a test that did not run says so")]
        {
            eprintln!("NOT RUN: there is no {} on PATH", names.join(" and no "));
        }
    }
    found
}

async fn output(mut command: Command) -> Output {
    spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_the_document_true() {
    let Some(program) = found(&["schemathesis"]) else { return };
    let world = World::of(&[plain(1, b"data")], Settings::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.current_dir(folder.path()).args([
        "run",
        &format!("http://{}/openapi.json", world.address),
        "--checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--max-examples=15",
        "--seed=1",
        "--no-color",
        // There is no needle and no engine of the names that it draws: 5xx that are described are no faults here.
        "--exclude-checks=not_a_server_error",
    ]);
    let run = output(command).await;
    assert!(run.status.success(), "{}", told(&run));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium_shows_the_page() {
    let Some(program) = found(&["chromium", "chromium-browser", "google-chrome"]) else { return };
    let world = World::of(&[plain(1, b"data")], Settings::default()).await;
    world.read(1).await;
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=4000",
        &format!("--user-data-dir={}", profile.path().display()),
        "--dump-dom",
        &format!("http://{}/ui", world.address),
    ]);
    let run = output(command).await;
    let page = told(&run);
    for text in ["engine connected", "simulated NICs", "requests/s", "<td>pull</td><td>1</td>"] {
        assert!(page.contains(text), "{text} is not in\n{page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jq_says_what_the_scripts_want_to_hear() {
    let (Some(curl), Some(jq)) = (found(&["curl"]), found(&["jq"])) else { return };
    let world = World::of(&[plain(1, b"data")], Settings::default()).await;
    let read = format!("read?file_id={}&format=json&volume_server=http://{}", file(1), world.a_place());
    for (path, filter, holds) in [
        ("health", ".status == \"healthy\"", true),
        ("stats", ".enabled", true),
        ("stats", ".capabilities", true),
        (read.as_str(), ".success == true", true),
        ("read?volume=999&needle=999999&size=1024&format=json", ".success == true", false),
        ("benchmark?iterations=5&size=2048", ".benchmark_results", true),
    ] {
        let mut command = Command::new("sh");
        let url = format!("http://{}/{path}", world.address);
        command
            .args(["-c", "\"$1\" -s \"$3\" | \"$2\" -e \"$4\"", "sh"])
            .arg(&curl)
            .arg(&jq)
            .args([&url, filter]);
        let run = output(command).await;
        assert_eq!(run.status.success(), holds, "{path} {filter}: {}", told(&run));
    }
}
