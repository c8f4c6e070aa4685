//! wrk: asks as fast as it is answered, for a while, and says how often that was.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::town::Server;
use crate::bench_volume::Known;
use crate::programs::{Program, is_there};

/// What it takes beyond the time that it is told.
const SLACK_S: f64 = 20.0;

/// What one round brought.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    pub(super) per_s: f64,
    /// What cores spent on a request in the server's process, in ns.
    pub(super) core_ns: f64,
}

/// Without it nothing is measured.
pub(super) fn is_had() -> Result<(), String> {
    match is_there("wrk", "-v") {
        true => Ok(()),
        false => {
            Err("there is no wrk on PATH, which asks here: install it (Debian: apt-get install wrk)"
                .to_owned())
        }
    }
}

/// Writes what it is to ask: each needle in turn.
pub(super) fn script(folder: &Path, needles: &[Known]) -> std::io::Result<PathBuf> {
    let len = needles.first().map_or(0, |needle| needle.bytes.len());
    let path = folder.join(format!("wrk-{len}.lua"));
    let paths: Vec<String> = needles.iter().map(|needle| format!("\"{}\"", needle.path())).collect();
    let text = format!(
        "local paths, all, at = {{ {} }}, {{}}, 0\n\
         function init(args) for i, path in ipairs(paths) do all[i] = wrk.format(\"GET\", path) end end\n\
         function request() at = at % #all + 1 return all[at] end\n",
        paths.join(", ")
    );
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Asks a server over so many connections.
pub(super) fn measure(
    server: &Server,
    script: &Path,
    connections: u32,
    seconds: u32,
) -> Result<Round, String> {
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--timeout", "5s", "-s"]);
    command.arg(script).arg(format!("http://{}", server.address));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let before_ns = server.program.core_ns();
    let said = Program::start(&mut command).map_err(|why| format!("wrk: {why}"))?;
    let said = said.listen(f64::from(seconds) + SLACK_S).ok_or("wrk does not end")?;
    let spent_ns = server.program.core_ns().saturating_sub(before_ns);
    if !said.status.success() {
        return Err(format!("wrk: {}", said.why()));
    }
    let (per_s, requests) = figures(&said.stdout)?;
    Ok(Round { per_s, core_ns: spent_ns as f64 / requests.max(1.0) })
}

/// Requests per second, and how many. Any that failed make it no figure.
fn figures(said: &str) -> Result<(f64, f64), String> {
    if let Some(line) = said.lines().find(|line| line.contains("Non-2xx") || line.contains("Socket errors")) {
        return Err(format!("wrk: {}", line.trim()));
    }
    let per_s = said.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok());
    let requests = said.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    per_s.zip(requests).ok_or_else(|| format!("wrk says no figures: {said:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_and_failures_make_none() {
        let said = "Running 1s test @ http://127.0.0.1:1\n  1 threads and 1 connections\n  2412 requests in 1.10s, 9.5MB read\n\
                    Requests/sec:   2193.91\nTransfer/sec:      8.7MB\n";
        assert_eq!(figures(said), Ok((2193.91, 2412.0)));
        for bad in
            ["  Non-2xx or 3xx responses: 3\n", "  Socket errors: connect 0, read 0, write 0, timeout 1\n"]
        {
            assert!(figures(&format!("{said}{bad}")).is_err(), "{bad}");
        }
        assert!(figures("").is_err());
    }
}
