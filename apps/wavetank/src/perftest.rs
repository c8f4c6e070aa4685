//! perftest's programs as a yardstick: one run of one of them, and the figure it printed.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock::Clock;

/// Runs until a program is given up.
const TRIES: u32 = 4;

/// How long one run may take, in seconds.
const PATIENCE_S: f64 = 60.0;

/// How long a server has before its client calls, in ns.
const HEAD_START_NS: u64 = 400_000_000;

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Run<'a> {
    /// `ib_read_lat`, `ib_read_bw`, `ib_write_bw`.
    pub(crate) program: &'static str,
    /// The client's device, and the server's.
    pub(crate) devices: [&'a str; 2],
    pub(crate) gid_index: u32,
    pub(crate) port: u16,
    pub(crate) bytes: u32,
    pub(crate) iterations: u32,
    /// Works in flight, for bandwidth.
    pub(crate) depth: Option<u32>,
    /// Sleep until an event comes, instead of polling.
    pub(crate) events: bool,
}

impl Run<'_> {
    /// The figures of the line of its size: all numbers behind size and iterations. None when the program never printed one
    /// that is above zero, which it sometimes does not.
    pub(crate) fn figures(&self) -> Option<Vec<f64>> {
        (0..TRIES).find_map(|again| self.once(again))
    }

    fn once(&self, again: u32) -> Option<Vec<f64>> {
        // A port that was just left may still be taken.
        let port = self.port.checked_add(again as u16)?;
        let mut server = self.command(1, port).stdout(Stdio::null()).spawn().ok()?;
        pause(HEAD_START_NS);
        let client = self.command(0, port).arg("127.0.0.1").stdout(Stdio::piped()).spawn();
        let said = client.ok().and_then(read_to_end);
        end(&mut server);
        figures(&said?, self.bytes)
    }

    fn command(&self, side: usize, port: u16) -> Command {
        let mut command = Command::new(self.program);
        command.args(["-F", "-d", self.devices[side], "-x", &self.gid_index.to_string()]);
        command.args([
            "-s",
            &self.bytes.to_string(),
            "-n",
            &self.iterations.to_string(),
            "-p",
            &port.to_string(),
        ]);
        if let Some(depth) = self.depth {
            command.args(["-t", &depth.to_string(), "-Q", &depth.min(100).to_string()]);
        }
        if self.events {
            command.arg("-e");
        }
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }
}

/// Whether the program can be started at all.
pub(crate) fn is_there(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok()
}

/// Sleeps.
fn pause(ns: u64) {
    let timeout = Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 };
    // Cut short by a signal it is a shorter pause, and the run is tried again.
    let _ = poll(&mut [], Some(&timeout));
}

/// All that a program says until it ends; none when it takes too long.
fn read_to_end(mut child: Child) -> Option<String> {
    let mut stdout = child.stdout.take()?;
    let clock = Clock::start();
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    let ended = loop {
        if clock.wall_s() > PATIENCE_S {
            break false;
        }
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        let watched = PollFd::new(&stdout, PollFlags::IN);
        if !matches!(poll(&mut [watched], Some(&second)), Ok(1..)) {
            continue;
        }
        match stdout.read(&mut buffer) {
            Ok(0) | Err(_) => break true,
            Ok(read) => said.extend_from_slice(&buffer[..read]),
        }
    };
    end(&mut child);
    if ended { String::from_utf8(said).ok() } else { None }
}

/// Waits a little for a program, then ends it.
fn end(child: &mut Child) {
    for _ in 0..20 {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        pause(50_000_000);
    }
    // One that has ended meanwhile cannot be killed, and is waited for all the same.
    let _ = child.kill();
    let _ = child.wait();
}

/// The numbers behind size and iterations in the line of this size.
fn figures(said: &str, bytes: u32) -> Option<Vec<f64>> {
    said.lines().rev().find_map(|line| {
        let numbers: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [size, _, figures @ ..] = &numbers[..] else { return None };
        let sound = *size == f64::from(bytes) && figures.iter().any(|figure| *figure > 0.0);
        sound.then(|| figures.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: &str = " #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]\n \
                            8       1000          31.20          901.05       42.02  \n----\n";

    #[test]
    fn the_line_of_the_size_is_read() {
        assert_eq!(figures(LATENCY, 8), Some(vec![31.20, 901.05, 42.02]));
        assert_eq!(figures(LATENCY, 16), None);
        assert_eq!(
            figures(" 65536 1000 0.00 0.00 0.000000\n", 65536),
            None,
            "no figure is not a figure of zero"
        );
        assert_eq!(figures("", 8), None);
    }

    #[test]
    fn a_program_that_is_not_there_gives_no_figure() {
        let run = Run {
            program: "wavetank-no-such-program",
            devices: ["a", "b"],
            gid_index: 1,
            port: 18515,
            bytes: 8,
            iterations: 10,
            depth: None,
            events: true,
        };
        assert!(!is_there(run.program));
        assert_eq!(run.once(0), None);
    }
}
