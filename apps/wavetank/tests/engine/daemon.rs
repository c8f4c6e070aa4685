//! `wavetank engine` as a process of its own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::waiting::{PATIENCE, within};

/// A process that is killed with its test.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn new(child: Child) -> Process {
        Process(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it is ours and not waited for");
    }

    /// Its status, when it ends by itself.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        within(PATIENCE, || self.0.try_wait().unwrap()).expect("it should end")
    }

    /// Its status, if it has ended.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An engine that runs.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) process: Process,
    pub(crate) socket: PathBuf,
    log: PathBuf,
    metrics: SocketAddr,
}

/// The program, with an environment that says nothing of engines.
pub(crate) fn engine(args: &[&str]) -> Command {
    wavetank(&[&["engine"], args].concat())
}

/// The same, for any command of it.
pub(crate) fn wavetank(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wavetank"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WAVETANK_")) {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG").args(args);
    command
}

impl Daemon {
    /// Starts one, whose files are in a folder under a name, and waits until it serves.
    #[track_caller]
    pub(crate) fn start(folder: &Path, name: &str, args: &[&str]) -> Daemon {
        let (socket, log) = (folder.join(format!("{name}.sock")), folder.join(format!("{name}.log")));
        // What an earlier life wrote stays, and only what this one writes is looked at.
        let lines = File::options().create(true).append(true).open(&log).unwrap();
        let from = lines.metadata().unwrap().len() as usize;
        let mut command = engine(args);
        command.args(["--metrics", "127.0.0.1:0", "--log-format", "json"]).arg("--ipc-socket").arg(&socket);
        let mut process = Process::new(command.stderr(lines).spawn().unwrap());
        let begun = || {
            if let Some(status) = process.has_ended() {
                panic!("{name} ended with {status}: {}", std::fs::read_to_string(&log).unwrap());
            }
            said(&log, from, "metrics and health")
        };
        let line = within(PATIENCE, begun).expect("it should say where its metrics are");
        let metrics = line["address"].as_str().unwrap().parse().unwrap();
        Daemon { process, socket, log, metrics }
    }

    /// What it wrote so far, in this life and in others of this name.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The last line with this message, once there is one.
    #[track_caller]
    pub(crate) fn said(&self, message: &str) -> Value {
        let said = within(PATIENCE, || said(&self.log, 0, message));
        said.unwrap_or_else(|| panic!("{message:?} is not in {}", self.log()))
    }

    /// Where other engines call.
    pub(crate) fn address(&self) -> String {
        self.said("other engines may call")["address"].as_str().unwrap().to_owned()
    }

    /// `/healthz`, and whether it is well.
    pub(crate) fn health(&self) -> (bool, Value) {
        let (head, body) = self.get("/healthz").unwrap();
        (head.contains(" 200 "), serde_json::from_str(&body).unwrap())
    }

    /// `/metrics`.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics(self.get("/metrics").unwrap().1)
    }

    fn get(&self, path: &str) -> std::io::Result<(String, String)> {
        let mut stream = TcpStream::connect(self.metrics)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
        Ok((head.to_owned(), body.to_owned()))
    }

    /// Asks it to end, and waits for that.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.process.signal(Signal::TERM);
        self.process.ended().code()
    }
}

/// The last line with this message, from a place of a log on.
fn said(log: &Path, from: usize, message: &str) -> Option<Value> {
    let text = std::fs::read_to_string(log).unwrap();
    let lines = text[from..].lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.into_iter().find(|line| line["message"] == message)
}

/// What `/metrics` says.
#[derive(Debug)]
pub(crate) struct Metrics(String);

impl Metrics {
    /// The sum of a metric over its labels, of which one may be asked for.
    #[track_caller]
    pub(crate) fn sum(&self, name: &str, label: &str) -> u64 {
        let lines = self.0.lines().filter_map(|line| line.rsplit_once(' '));
        let named = lines.filter(|(key, _)| {
            let key = key.split('{').next().unwrap_or_default();
            key.trim_end_matches("_total") == format!("wavetank_{name}")
        });
        let values: Vec<u64> = named
            .filter(|(key, _)| key.contains(label))
            .map(|(_, value)| value.parse::<f64>().unwrap() as u64)
            .collect();
        assert!(!values.is_empty() || !label.is_empty(), "{name} is not in {}", self.0);
        values.iter().sum()
    }

    pub(crate) fn of(&self, name: &str) -> u64 {
        self.sum(name, "")
    }

    /// Reads for local programs that came this way.
    pub(crate) fn reads(&self, path: &str) -> u64 {
        self.sum("read_duration_seconds_count", &format!("path=\"{path}\""))
    }
}
