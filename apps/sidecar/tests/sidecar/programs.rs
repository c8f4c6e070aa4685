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
    // Who names it wants it run.
    let named = std::env::var_os("WAVETANK_SCHEMATHESIS").map(PathBuf::from);
    let Some(program) = named.or_else(|| found(&["schemathesis"])) else { return };
    let world = World::of(&[plain(1, b"data")], Settings::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut document = world.get("/openapi.json").await.json();
    let run = async |document: &serde_json::Value| {
        let path = folder.path().join("openapi.json");
        std::fs::write(&path, document.to_string()).unwrap();
        let mut command = Command::new(&program);
        command.current_dir(folder.path()).arg("run").arg(path).args([
            &format!("--url=http://{}", world.address),
            "--checks=status_code_conformance,content_type_conformance,response_schema_conformance",
            "--max-examples=15",
            "--seed=1",
            "--no-color",
        ]);
        output(command).await
    };
    let true_one = run(&document).await;
    assert!(true_one.status.success(), "{}", told(&true_one));
    document["paths"]["/read"]["get"]["responses"].as_object_mut().unwrap().remove("400");
    let false_one = run(&document).await;
    assert!(!false_one.status.success(), "it notices what is left out: {}", told(&false_one));
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
    // In a container what it shares with its parts may have little room in /dev/shm.
    command.arg("--disable-dev-shm-usage");
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

/// Cuts a server off when a test ends.
struct Process(std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_weed_is_read_from_by_http() {
    let (Some(weed), Some(curl)) = (found(&["weed"]), found(&["curl"])) else { return };
    let folder = tempfile::tempdir().unwrap();
    let free =
        || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port() % 20_000 + 10_000;
    let (master, volume) = (free(), free());
    let server = Command::new(weed)
        .arg("server")
        .arg(format!("-dir={}", folder.path().display()))
        .args(["-ip=127.0.0.1", "-filer=false", "-s3=false"])
        .args([format!("-master.port={master}"), format!("-volume.port={volume}")])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let _server = Process(server);
    let data = crate::world::pattern(9, 300_000);
    let path = folder.path().join("upload");
    std::fs::write(&path, &data).unwrap();
    let call = async |arguments: &[String]| {
        let mut command = Command::new(&curl);
        command.arg("-s").args(arguments);
        output(command).await.stdout
    };
    let mut assigned = serde_json::Value::Null;
    for _ in 0..120 {
        let answer = call(&[format!("http://127.0.0.1:{master}/dir/assign")]).await;
        assigned = serde_json::from_slice(&answer).unwrap_or_default();
        if assigned["fid"].is_string() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    let id = assigned["fid"].as_str().expect("weed assigns a file id within a minute").to_owned();
    let place = assigned["url"].as_str().unwrap();
    call(&["-F".to_owned(), format!("file=@{}", path.display()), format!("http://{place}/{id}")]).await;
    let settings = Settings {
        master: Some(vec![format!("127.0.0.1:{master}")]),
        enable_rdma: Some(false),
        ..Settings::default()
    };
    let world = World::of(&[plain(1, b"data")], settings).await;
    let whole = world.get(&format!("/read?file_id={id}")).await;
    assert!(whole.status == 200 && whole.body == data, "{} {}", whole.status, whole.text());
    assert_eq!(whole.header("x-wavetank-checked"), "true");
    let part = world.get(&format!("/read?file_id={id}&offset=1000&size=70000")).await;
    assert!(part.status == 200 && part.body == data[1000..71_000]);
    assert_eq!(world.get(&format!("/read?file_id={id}&offset=300000")).await.status, 416);
}
