//! perftest's programs as a yardstick: one run of one of them, and the figure it printed.

use std::process::{Command, Stdio};

use crate::programs::{Program, pause};

/// Runs until a program is given up.
const TRIES: u32 = 4;

/// How long one run may take, in seconds.
const PATIENCE_S: f64 = 60.0;

/// How long a server has to end once its client did, in seconds.
const GRACE_S: f64 = 1.0;

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
        let mut server = Program::start(self.command(1, port).stdout(Stdio::null())).ok()?;
        pause(HEAD_START_NS);
        let client = Program::start(self.command(0, port).arg("127.0.0.1").stdout(Stdio::piped())).ok()?;
        let said = client.listen(PATIENCE_S);
        server.wait(GRACE_S);
        figures(&said?.stdout, self.bytes)
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
        assert_eq!(run.once(0), None);
    }
}
