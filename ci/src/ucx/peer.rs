//! Two processes: one serves memory over UCX, the other replays a workload on it and checks every byte.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::Built;
use crate::guest::store::at;
use crate::step::Failure;
use crate::stopwatch::{Stopwatch, nap};
use crate::tool;

const LISTEN: Duration = Duration::from_secs(20);
const REPLAY: Duration = Duration::from_secs(240);

/// What the server says before its address.
const LISTENING: &str = "listening on ";

/// What it takes to notice that a client is gone, and to end.
const ENDS: Duration = Duration::from_secs(40);

/// A server, and the file that has what it says. It is ended when this is dropped.
struct Server {
    child: Child,
    said: PathBuf,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Replays over TCP and over shared memory; and where the server does wrong, the client has to find it.
pub(super) fn check(built: &Built<'_>) -> Result<(), Failure> {
    super::all(vec![replay(built, "tcp"), replay(built, "shm"), canary(built)])
}

fn replay(built: &Built<'_>, transport: &str) -> Result<(), Failure> {
    let mut server = Server::start(built, transport, &[])?;
    let told = built.read(&client(transport, &server.address(LISTEN)?), REPLAY).map_err(|Failure(why)| {
        Failure(format!("{why}\n  its server said:\n{}", tool::tail(&server.text())))
    })?;
    let verified = told.lines().find(|l| l.contains("verified"));
    println!("    {}", verified.unwrap_or(&told).trim());
    server.ends_well(ENDS)
}

/// A server that flips a bit: its client has to fail, by a check and not by its input.
fn canary(built: &Built<'_>) -> Result<(), Failure> {
    let mut server = Server::start(built, "tcp", &["--canary", "byte"])?;
    let address = server.address(LISTEN)?;
    let mut call = built.call(&client("tcp", &address));
    let child = call.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.map_err(|e| Failure(format!("the client did not start: {e}")))?;
    match tool::wait(&mut child, REPLAY)?.map(|status| status.code()) {
        Some(Some(1)) => {
            println!("    a flipped bit is found");
            Ok(())
        }
        Some(code) => Err(Failure(format!("a bit was flipped, and its client ended with {code:?}, not 1"))),
        None => Err(Failure(format!("a bit was flipped, and its client ran for {} s", REPLAY.as_secs()))),
    }
}

/// What replays on a server's memory.
fn client<'a>(transport: &'a str, address: &'a str) -> [&'a str; 8] {
    [
        "replay",
        "workloads/guest/pgbench-8k.toml",
        "--backend",
        "ucx",
        "--device",
        transport,
        "--peer",
        address,
    ]
}

impl Server {
    /// Serves one client, at a port of the system's choice.
    fn start(built: &Built<'_>, transport: &str, more: &[&str]) -> Result<Server, Failure> {
        let args = ["serve-memory", "--backend", "ucx", "--device", transport, "--once"];
        Server::of(&mut built.call(&[&args, more].concat()))
    }

    fn of(serve: &mut Command) -> Result<Server, Failure> {
        let folder = tempfile::tempdir().map_err(|e| Failure(format!("no temporary folder: {e}")))?;
        let said = folder.path().join("said");
        let out = File::create(&said).map_err(|e| at(&said, &e))?;
        let err = out.try_clone().map_err(|e| at(&said, &e))?;
        let child = serve.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.map_err(|e| Failure(format!("the server did not start: {e}")))?;
        Ok(Server { child, said, _folder: folder })
    }

    /// Where it listens, once it says so.
    fn address(&mut self, limit: Duration) -> Result<String, Failure> {
        let watch = Stopwatch::start();
        loop {
            let ended = self.child.try_wait().map_err(|e| Failure(format!("the server is lost: {e}")))?;
            let text = self.text();
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

    /// Waits for it to end, now that its client is gone: everything that the client had has to have come back.
    fn ends_well(&mut self, limit: Duration) -> Result<(), Failure> {
        let how = match tool::wait(&mut self.child, limit)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => format!("ended with {status}"),
            None => format!("was still there {} s after its client was gone", limit.as_secs()),
        };
        Err(Failure(format!("the server {how}:\n{}", tool::tail(&self.text()))))
    }

    fn text(&self) -> String {
        fs::read(&self.said).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that is this script.
    fn server(script: &str) -> Server {
        Server::of(Command::new("sh").args(["-c", script])).expect("sh starts")
    }

    #[test]
    fn a_server_is_found_where_it_says_and_not_before_it_said_all_of_it() {
        let script = "printf 'listening on 127.0.0.1:4'; sleep 0.2; echo 711; exec sleep 60";
        assert_eq!(server(script).address(LISTEN), Ok("127.0.0.1:4711".into()));
    }

    #[test]
    fn a_server_that_ends_or_says_nothing_is_a_failure() {
        let Err(Failure(why)) = server("echo no such device; exit 2").address(LISTEN) else {
            panic!("it passed");
        };
        assert!(why.contains("ended with exit status: 2") && why.contains("| no such device"), "{why}");
        let Err(Failure(why)) = server("exec sleep 60").address(Duration::from_millis(100)) else {
            panic!("it passed");
        };
        assert!(why.contains("did not say where it listens"), "{why}");
    }

    #[test]
    fn a_server_that_keeps_something_or_stays_is_a_failure() {
        assert_eq!(server("exit 0").ends_well(ENDS), Ok(()));
        let Err(Failure(why)) = server("echo 1 region leaked; exit 1").ends_well(ENDS) else {
            panic!("it passed");
        };
        assert!(why.contains("ended with exit status: 1") && why.contains("| 1 region leaked"), "{why}");
        let Err(Failure(why)) = server("exec sleep 60").ends_well(Duration::from_millis(100)) else {
            panic!("it passed");
        };
        assert!(why.contains("was still there"), "{why}");
    }
}
