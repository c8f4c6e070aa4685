//! `ucx_perftest` (1.13): two processes, and the figures of the client's last line.
//!
//! What is compared with what:
//! * `ucp_am_lat` halves a ping-pong of active messages and prints the median as its percentile. Ours: SENDs to posted receives.
//!   Up to the rendezvous threshold perftest never touches what came, while a receive has to end in its buffer: a copy more.
//! * `tag_lat` and `tag_bw` are the same with tagged messages, which end in the buffers of posted receives as ours do.
//! * `ucp_am_bw -O N` is N messages in flight, by bytes over the time until the worker is flushed. Ours: a window of N SENDs.
//! * `ucp_get -O 1` is one get at a time, its percentile the median of whole gets; `-O N` its bandwidth. Ours: READs.
//!   While the client gets, the server is at the barrier of the end already, where it looks after its worker once a millisecond
//!   (`sock_io`): over tcp, where gets are served by the target's CPU, that millisecond is what is measured.
//! * `ucp_put_lat` halves a ping-pong of puts in which each side polls the last byte of its memory, and so does ours.
//! * `ucp_put_bw -O N` counts a put as done when its buffer is free, and flushes once in the end. A WRITE of ours completes
//!   when its bytes are placed at the peer, each of them: more, in the same time.
//!
//! perftest's MB are of 2^20 bytes. Its averages are of all operations, those included during which another process had the
//! CPU; so latencies are compared by medians, and bandwidths, which have only averages, by the median of rounds.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use wavetank_harness::bench::across::{Cell, Measure};

use crate::programs::{Program, pause};

/// The yardstick, of the Debian package ucx-utils.
pub(crate) const PROGRAM: &str = "ucx_perftest";

/// How long one run may take, in seconds.
const PATIENCE_S: f64 = 70.0;

/// How long a server has to end once its client did.
const GRACE_S: f64 = 2.0;

/// How often a client calls a server that does not listen yet, and how long it waits in between.
const CALLS: u32 = 200;
const CALL_NS: u64 = 10_000_000;

/// A device, and where server and client run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Yardstick<'a> {
    pub(crate) device: &'a str,
    pub(crate) cpus: [usize; 2],
}

/// What `UCX_TLS` and `UCX_NET_DEVICES` are for a device of ours.
pub(crate) fn tls(device: &str) -> Result<(&'static str, Option<String>), String> {
    let (transport, devices) = match device.split_once('/') {
        Some((transport, devices)) => (transport, Some(devices.replace('+', ","))),
        None => (device, None),
    };
    match transport {
        "tcp" => Ok(("tcp", devices)),
        "shm" => Ok(("posix", devices)),
        "rc" => Ok(("rc_v,self", devices)),
        other => Err(format!(
            "--device {other}: bench ucx is between two processes; give it tcp, shm or rc/DEVICE"
        )),
    }
}

/// Which test of perftest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    /// The one that a measure is named after.
    Own,
    /// Of messages, the one whose receives are posted.
    Tagged,
}

/// The name of a test.
const fn name(measure: Measure, test: Test) -> &'static str {
    match measure {
        Measure::MessageLatency if matches!(test, Test::Tagged) => "tag_lat",
        Measure::MessageBandwidth if matches!(test, Test::Tagged) => "tag_bw",
        Measure::MessageLatency => "ucp_am_lat",
        Measure::MessageBandwidth => "ucp_am_bw",
        Measure::ReadLatency | Measure::ReadBandwidth => "ucp_get",
        Measure::WriteLatency => "ucp_put_lat",
        Measure::WriteBandwidth => "ucp_put_bw",
    }
}

impl Yardstick<'_> {
    /// One run: ns, or bytes per second. Why not, otherwise.
    pub(crate) fn run(&self, cell: &Cell, test: Test) -> Result<f64, String> {
        Ok(self.last_line(cell, test)?.figure(cell))
    }

    /// ns that one operation takes, or one way of it, everything included.
    pub(crate) fn pilot(&self, cell: &Cell) -> Result<f64, String> {
        Ok(self.last_line(cell, Test::Own)?.overall_us * 1e3)
    }

    fn last_line(&self, cell: &Cell, test: Test) -> Result<Line, String> {
        let port = free_port()?;
        let mut command = self.command(0, port)?;
        let server = Program::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
        let mut server = server.map_err(|error| format!("{PROGRAM}: {error}"))?;
        for _ in 0..CALLS {
            let mut command = self.command(1, port)?;
            command
                .args(arguments(cell, test))
                .arg("127.0.0.1")
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let client = Program::start(&mut command).map_err(|error| format!("{PROGRAM}: {error}"))?;
            let Some(said) = client.listen(PATIENCE_S) else {
                return Err(format!("{PROGRAM}: it was not over in {PATIENCE_S} s"));
            };
            // UCX logs on stdout.
            if said.stdout.contains("Connection refused") && server.is_running() {
                pause(CALL_NS);
                continue;
            }
            server.wait(GRACE_S);
            return last_line(&said.stdout).ok_or_else(|| format!("{PROGRAM}: {}", said.why()));
        }
        Err(format!("{PROGRAM}: the server never listened"))
    }

    fn command(&self, side: usize, port: u16) -> Result<Command, String> {
        let (tls, devices) = tls(self.device)?;
        let mut command = Command::new(PROGRAM);
        command.args(["-c", &self.cpus[side].to_string(), "-p", &port.to_string()]);
        command.env("UCX_TLS", tls);
        if let Some(devices) = devices {
            command.env("UCX_NET_DEVICES", devices);
        }
        command.stdin(Stdio::null());
        Ok(command)
    }
}

/// What a client is asked for.
fn arguments(cell: &Cell, test: Test) -> Vec<String> {
    let mut arguments = vec!["-f".to_owned()];
    let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
    add("-t", name(cell.measure, test).to_owned());
    add("-s", cell.bytes.to_string());
    add("-n", cell.count.to_string());
    add("-w", cell.warm_up.to_string());
    match cell.measure {
        Measure::ReadLatency => add("-O", "1".to_owned()),
        measure if measure.is_bandwidth() => add("-O", cell.window.to_string()),
        _ => {}
    }
    arguments
}

/// A port that nobody listens on. Somebody may before we do, and then this run is lost.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("no port is free: {error}"))
}

/// The columns behind the number of iterations.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    percentile_us: f64,
    overall_us: f64,
    overall_mib_s: f64,
    overall_per_s: f64,
}

/// The last line of figures: eight numbers, whatever stands before them.
fn last_line(said: &str) -> Option<Line> {
    said.lines().rev().find_map(|line| {
        let line = line.trim_start().strip_prefix("Final:").unwrap_or(line);
        let line = line.trim_start().strip_prefix("[thread 0]").unwrap_or(line);
        let numbers: Vec<f64> = line
            .split([' ', '\t', ','])
            .filter(|part| !part.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        let &[_, percentile_us, _, overall_us, _, overall_mib_s, _, overall_per_s] = &numbers[..] else {
            return None;
        };
        let line = Line { percentile_us, overall_us, overall_mib_s, overall_per_s };
        let sound = numbers.iter().all(|number| number.is_finite() && *number >= 0.0) && overall_per_s > 0.0;
        sound.then_some(line)
    })
}

impl Line {
    /// ns of one operation, or of one way; or bytes per second.
    fn figure(&self, cell: &Cell) -> f64 {
        if cell.measure.is_bandwidth() {
            // Two decimals of a MiB are not enough for the few of small operations, nor is a rate for the many of large ones.
            return match self.overall_mib_s {
                ..10.0 => self.overall_per_s * f64::from(cell.bytes),
                mib_s => mib_s * f64::from(1 << 20),
            };
        }
        // Three decimals of a us are one ns.
        let us = if self.percentile_us > 0.0 { self.percentile_us } else { self.overall_us };
        us * 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AM_LAT: &str = "\
+--------------+--------------+------------------------------+---------------------+-----------------------+
|              |              |        latency (usec)        |   bandwidth (MB/s)  |  message rate (msg/s) |
+--------------+--------------+----------+---------+---------+----------+----------+-----------+-----------+
|     Test     | # iterations | 50.0%ile | average | overall |  average |  overall |  average  |  overall  |
+--------------+--------------+----------+---------+---------+----------+----------+-----------+-----------+
                       20000      3.202    24.505    24.505        0.31       0.31       40808       40808
";
    const PUT_BW: &str = "\
|     Test     | # iterations | 50.0%ile | average | overall |  average |  overall |  average  |  overall  |
+--------------+--------------+----------+---------+---------+----------+----------+-----------+-----------+
                       20000     26.894    43.193   136.839     1447.00     456.74       23152        7308
";
    const STAGES: &str = "\
|    Stage     | # iterations | 50.0%ile | average | overall |  average |  overall |  average  |  overall  |
[thread 0]            353799      0.162     1.413     1.413        5.40       5.40      707621      707621
[thread 0]            877408      0.162     0.955     1.140        7.99       6.69     1047191      877411
";
    const CSV: &str = "\
iterations,50.0_percentile_lat,avg_lat,overall_lat,avg_bw,overall_bw,avg_mr,overall_mr
1000,0.015,0.017,0.017,450.70,450.70,59074704,59074704
";

    fn cell(measure: Measure, bytes: u32) -> Cell {
        Cell { measure, bytes, count: 20_000, warm_up: 1000, window: 32 }
    }

    #[test]
    fn the_last_line_of_figures_is_read_in_every_form() {
        let figure = |said, measure, bytes| last_line(said).map(|line| line.figure(&cell(measure, bytes)));
        assert_eq!(figure(AM_LAT, Measure::MessageLatency, 8), Some(3202.0));
        assert_eq!(figure(PUT_BW, Measure::WriteBandwidth, 65_536), Some(456.74 * f64::from(1 << 20)));
        assert_eq!(figure(STAGES, Measure::WriteLatency, 8), Some(162.0));
        assert_eq!(figure(CSV, Measure::ReadLatency, 8), Some(15.0));
        assert_eq!(
            figure(STAGES, Measure::WriteBandwidth, 8),
            Some(877_411.0 * 8.0),
            "a rate has more digits"
        );
        assert_eq!(
            figure(&format!("Final: {}", CSV.lines().last().unwrap_or("")), Measure::ReadLatency, 8),
            Some(15.0)
        );
    }

    #[test]
    fn what_is_no_figure_is_none() {
        let error =
            "[1795801471.954885] [vm:22231:0] perftest.c:405  UCX  ERROR client failed. connect() failed";
        let nothing = "1000,0.000,nan,nan,0.00,0.00,0,0";
        let none = "1000,0.000,0.000,0.000,0.00,0.00,0,0";
        let cut = "20000      3.202    24.505";
        for said in ["", error, nothing, none, cut, &AM_LAT[..AM_LAT.len() / 2]] {
            assert_eq!(last_line(said), None, "{said}");
        }
    }

    #[test]
    fn a_get_without_a_percentile_falls_back_to_the_average() {
        let line = last_line("1000,0.000,0.004,0.004,450.70,450.70,59074704,59074704");
        assert_eq!(line.map(|line| line.figure(&cell(Measure::ReadLatency, 8))), Some(4.0));
    }

    #[test]
    fn perftest_is_told_the_same() {
        let told = |measure| arguments(&cell(measure, 4096), Test::Own).join(" ");
        assert_eq!(told(Measure::MessageLatency), "-f -t ucp_am_lat -s 4096 -n 20000 -w 1000");
        assert_eq!(told(Measure::ReadLatency), "-f -t ucp_get -s 4096 -n 20000 -w 1000 -O 1");
        assert_eq!(told(Measure::ReadBandwidth), "-f -t ucp_get -s 4096 -n 20000 -w 1000 -O 32");
        let tagged = arguments(&cell(Measure::MessageBandwidth, 8), Test::Tagged).join(" ");
        assert_eq!(tagged, "-f -t tag_bw -s 8 -n 20000 -w 1000 -O 32");
        assert_eq!(tls("tcp/lo+eth0"), Ok(("tcp", Some("lo,eth0".to_owned()))));
        assert_eq!(tls("shm"), Ok(("posix", None)));
        assert!(tls("self").is_err_and(|why| why.contains("between two processes")));
    }
}
