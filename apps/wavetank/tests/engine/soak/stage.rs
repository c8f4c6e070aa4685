//! Who takes part, and what is done to them.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::daemon::{Daemon, Process};
use crate::dice::Dice;
use crate::pair::Site;
use crate::traces::shared_files;
use crate::waiting::pause;

/// Client processes, and how each speaks.
const CLIENTS: [&str; 4] = ["socket", "ring", "tokio", "upstream"];

/// To whom, and what.
pub(crate) type Act = (&'static str, &'static str);

/// Everything that is done.
pub(crate) const ACTS: [Act; 8] = [
    ("reader", KILLED),
    ("exporter", KILLED),
    ("client", KILLED),
    ("reader", STOPPED),
    ("exporter", STOPPED),
    ("client", STOPPED),
    ("reader", ENDED),
    ("exporter", ENDED),
];

const KILLED: &str = "killed";
const STOPPED: &str = "stopped for a while";
const ENDED: &str = "ended by SIGTERM";

/// Two engines and clients in processes of their own.
pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) exporter: Daemon,
    pub(crate) reader: Daemon,
    port: u16,
    clients: Vec<Process>,
    lives: u64,
    shared: BTreeSet<PathBuf>,
}

/// What client processes said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) reads: u64,
    pub(crate) others: u64,
    pub(crate) faults: Vec<String>,
}

impl Stage {
    pub(crate) fn new(site: Site) -> Stage {
        let exporter = site.exporter(0);
        let port = exporter.address().rsplit_once(':').unwrap().1.parse().unwrap();
        let reader = reading(&site, port);
        let mut stage =
            Stage { site, exporter, reader, port, clients: Vec::new(), lives: 0, shared: BTreeSet::new() };
        for number in 0..CLIENTS.len() {
            let client = stage.client(number);
            stage.clients.push(client);
        }
        stage
    }

    fn client(&mut self, number: usize) -> Process {
        self.lives += 1;
        let log = self.site.path().join(format!("client-{number}.txt"));
        let log = File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "soak::role_client", "--ignored", "--nocapture"])
            .env("SOCKET", &self.reader.socket)
            .env("SEED", self.lives.to_string())
            .env("VOICE", CLIENTS[number])
            .stdout(log)
            .spawn();
        Process::new(child.unwrap())
    }

    /// Does something to somebody.
    pub(crate) fn act(&mut self, (whom, what): Act, dice: &mut Dice) {
        let rest = Duration::from_millis(dice.within(50, 1200));
        let number = dice.below(CLIENTS.len() as u64) as usize;
        match (whom, what) {
            ("client", STOPPED) => stop(&self.clients[number], rest),
            ("client", _) => {
                self.clients[number].kill();
                self.clients[number] = self.client(number);
            }
            ("exporter", STOPPED) => stop(&self.exporter.process, rest),
            ("reader", STOPPED) => stop(&self.reader.process, rest),
            ("exporter", what) => self.restart_exporter(what == KILLED, rest / 4),
            (_, what) => self.restart_reader(what == KILLED, rest / 4),
        }
    }

    pub(crate) fn restart_exporter(&mut self, killed: bool, rest: Duration) {
        self.shared.extend(shared_files(self.exporter.process.pid()));
        end(&mut self.exporter, killed);
        pause(rest);
        self.exporter = self.site.exporter(self.port);
    }

    pub(crate) fn restart_reader(&mut self, killed: bool, rest: Duration) {
        self.shared.extend(shared_files(self.reader.process.pid()));
        end(&mut self.reader, killed);
        pause(rest);
        self.reader = reading(&self.site, self.port);
    }

    /// Kills clients, and reads what they said.
    pub(crate) fn end_clients(&mut self) -> Said {
        self.clients.clear();
        let mut said = Said::default();
        for (number, name) in CLIENTS.iter().enumerate() {
            let text =
                std::fs::read_to_string(self.site.path().join(format!("client-{number}.txt"))).unwrap();
            for line in text.lines() {
                let words: Vec<&str> = line.split(' ').collect();
                match words[..] {
                    ["good", good, "others", others] => {
                        said.reads += good.parse::<u64>().unwrap();
                        said.others += others.parse::<u64>().unwrap();
                    }
                    _ if line.contains("FAULT") || line.contains("panicked") => {
                        said.faults.push(format!("{name}: {line}"));
                    }
                    _ => {}
                }
            }
        }
        said
    }

    /// Files in `/dev/shm` of engines that were ended here, if they are still there and nobody's who lives.
    pub(crate) fn left_behind(&self) -> Vec<PathBuf> {
        let live = [&self.exporter, &self.reader].map(|daemon| shared_files(daemon.process.pid()));
        let is_left = |path: &&PathBuf| path.exists() && !live.iter().any(|files| files.contains(*path));
        self.shared.iter().filter(is_left).cloned().collect()
    }
}

fn reading(site: &Site, port: u16) -> Daemon {
    site.reader("reader", &format!("127.0.0.1:{port}"), &["--buffer-size", "256MiB", "--drain-timeout", "3"])
}

fn stop(process: &Process, rest: Duration) {
    process.signal(Signal::STOP);
    pause(rest);
    process.signal(Signal::CONT);
}

fn end(daemon: &mut Daemon, killed: bool) {
    if killed {
        daemon.process.kill();
    } else {
        // Clients that read are no reason to stay: 0, or 1 where they kept something.
        let code = daemon.stop();
        assert!(matches!(code, Some(0 | 1)), "{code:?}: {}", daemon.log());
    }
}
