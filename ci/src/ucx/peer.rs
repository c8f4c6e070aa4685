//! Two processes: one serves memory over UCX, the other replays a workload on it and checks every byte.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::Built;
use crate::guest::store::at;
use crate::step::Failure;
use crate::stopwatch::{Stopwatch, nap};
use crate::tool;

const LISTEN: Duration = Duration::from_secs(20);
const REPLAY: Duration = Duration::from_secs(240);

/// What the server says before its address.
const LISTENING: &str = "listening on ";

/// A server, ended when it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Replays over TCP and over shared memory.
pub(super) fn check(built: &Built<'_>) -> Result<(), Failure> {
    super::all(Vec::from(["tcp", "shm"].map(|transport| replay(built, transport))))
}

fn replay(built: &Built<'_>, transport: &str) -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(|e| Failure(format!("no temporary folder: {e}")))?;
    let said = folder.path().join("said");
    let out = File::create(&said).map_err(|e| at(&said, &e))?;
    let err = out.try_clone().map_err(|e| at(&said, &e))?;
    let mut serve =
        built.call(&["serve-memory", "--backend", "ucx", "--device", transport, "--listen", "127.0.0.1:0"]);
    let child = serve.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
    let mut server = Server(child.map_err(|e| Failure(format!("the server did not start: {e}")))?);
    let address = address(&mut server, &said, LISTEN)?;
    let args = [
        "replay",
        "workloads/pgbench-8k.toml",
        "--backend",
        "ucx",
        "--device",
        transport,
        "--peer",
        &address,
    ];
    let told = built.read(&args, REPLAY).map_err(|Failure(why)| {
        Failure(format!("{why}\n  its server said:\n{}", tool::tail(&text(&said))))
    })?;
    let verified = told.lines().find(|l| l.contains("verified"));
    println!("    {}", verified.unwrap_or(&told).trim());
    Ok(())
}

/// Where the server listens, once it says so.
fn address(server: &mut Server, said: &Path, limit: Duration) -> Result<String, Failure> {
    let watch = Stopwatch::start();
    loop {
        let ended = server.0.try_wait().map_err(|e| Failure(format!("the server is lost: {e}")))?;
        let text = text(said);
        // A line may be half written.
        let line = text.split_inclusive('\n').find_map(|l| l.strip_suffix('\n')?.strip_prefix(LISTENING));
        if let Some(address) = line {
            return Ok(address.to_owned());
        }
        if ended.is_some() || watch.elapsed() > limit {
            let how = ended.map_or_else(
                || format!("did not say where it listens for {} s", limit.as_secs()),
                |status| format!("ended with {status}"),
            );
            return Err(Failure(format!("the server {how}:\n{}", tool::tail(&text))));
        }
        nap();
    }
}

fn text(said: &Path) -> String {
    fs::read(said).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What is made of a server that is this script.
    fn found(script: &str, limit: Duration) -> Result<String, Failure> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let said = folder.path().join("said");
        let out = File::create(&said).expect("a file");
        let child = Command::new("sh").args(["-c", script]).stdout(out).spawn().expect("sh starts");
        address(&mut Server(child), &said, limit)
    }

    #[test]
    fn a_server_is_found_where_it_says_and_not_before_it_said_all_of_it() {
        let script = "printf 'listening on 127.0.0.1:4'; sleep 0.2; echo 711; exec sleep 60";
        assert_eq!(found(script, LISTEN), Ok("127.0.0.1:4711".into()));
    }

    #[test]
    fn a_server_that_ends_or_says_nothing_is_a_failure() {
        let Err(Failure(why)) = found("echo no such device; exit 2", LISTEN) else { panic!("it passed") };
        assert!(why.contains("ended with exit status: 2") && why.contains("| no such device"), "{why}");
        let Err(Failure(why)) = found("exec sleep 60", Duration::from_millis(100)) else {
            panic!("it passed")
        };
        assert!(why.contains("did not say where it listens"), "{why}");
    }
}
