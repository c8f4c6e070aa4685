//! The processes: an exporter, a reader and a sidecar before it, and two HTTP servers beside them.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use wavetank_client::blocking::Client;
use wavetank_client::{Options, Wanted};

use crate::bench_volume::{COOKIE, Known, VOLUME};
use crate::clock::Clock;
use crate::programs::{Program, interrupted, pause};

/// How long a process may take until it serves.
const START_S: f64 = 20.0;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Longest answer: a needle and its head.
const ANSWER_BYTES_MAX: u64 = (64 << 20) + (64 << 10);

/// A process that answers requests.
pub(super) struct Server {
    pub(super) program: Program,
    pub(super) address: SocketAddr,
}

/// All that serve.
pub(super) struct Town {
    pub(super) sidecar: Server,
    pub(super) memory: Server,
    pub(super) file: Server,
    /// End with this.
    _engines: [Program; 2],
}

impl Town {
    /// Starts them, and waits until they serve.
    pub(super) fn start(device: &str, folder: &Path, needle: &Known) -> Result<Town, Box<dyn Error>> {
        let dat = folder.join(format!("{VOLUME}.dat"));
        let (memory, file) = (beside(&dat, true)?, beside(&dat, false)?);
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let (address, socket) = (format!("127.0.0.1:{port}"), folder.join(format!("{device}.sock")));
        let log = folder.join("town.log");
        let mut exporter = wavetank("engine", &log)?;
        exporter.args([
            "--metrics",
            "off",
            "--backend",
            "ucx",
            "--device",
            device,
            "--port",
            &port,
            "--export",
        ]);
        exporter.arg(folder).arg("--ipc-socket").arg(folder.join(format!("{device}-exporter.sock")));
        let mut reader = wavetank("engine", &log)?;
        reader.args(["--metrics", "off", "--backend", "ucx", "--device", device, "--peer", &address]);
        reader.args(["--port", &port]).arg("--ipc-socket").arg(&socket);
        let engines = [Program::start(&mut exporter)?, Program::start(&mut reader)?];
        // Before the sidecar: what failed while engines met would pause its path for half a minute.
        let clock = Clock::start();
        while let Err(why) = reads(&socket, needle) {
            if clock.wall_s() > START_S || interrupted() {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let last = said.lines().last().unwrap_or_default();
                return Err(format!("the reading engine: {why}; an engine's last words: {last}").into());
            }
            pause(50_000_000);
        }
        let sidecar = sidecar(&folder.join(format!("{device}-sidecar.log")), &socket, file.address)?;
        Ok(Town { sidecar, memory, file, _engines: engines })
    }
}

/// Whether an engine reads a needle.
fn reads(socket: &Path, needle: &Known) -> Result<(), String> {
    let mut client = Client::connect(socket, &Options::default()).map_err(|why| why.to_string())?;
    let wanted = Wanted { volume: VOLUME, needle: needle.id, cookie: COOKIE, ..Wanted::default() };
    let lent = client.read(&wanted).map_err(|why| why.to_string())?;
    if lent.as_ref() == needle.bytes { Ok(()) } else { Err(format!("WRONG BYTES of needle {}", needle.id)) }
}

/// One of our programs.
fn wavetank(what: &str, log: &Path) -> Result<Command, Box<dyn Error>> {
    let log = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(what).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Ok(command)
}

/// It says on stderr where it serves.
fn sidecar(log: &Path, socket: &Path, master: SocketAddr) -> Result<Server, Box<dyn Error>> {
    let mut command = wavetank("sidecar", log)?;
    // What the engine does not serve would be another's figure.
    command.args(["--port", "0", "--fallback", "off", "--master", &master.to_string()]);
    let mut program = Program::start(command.arg("--rdma-socket").arg(socket))?;
    let clock = Clock::start();
    loop {
        let said = std::fs::read_to_string(log)?;
        let address = said.split_once("listening on ").and_then(|(_, rest)| rest.split_whitespace().next());
        if let Some(address) = address.and_then(|address| address.parse().ok()) {
            return Ok(Server { program, address });
        }
        if !program.is_running() || clock.wall_s() > START_S || interrupted() {
            return Err(format!("the sidecar does not serve: {}", said.trim_end()).into());
        }
        pause(10_000_000);
    }
}

/// An HTTP server beside it, which says where it is.
fn beside(dat: &Path, from_memory: bool) -> Result<Server, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "sidecar", "--serve-file"]).arg(dat);
    if from_memory {
        command.arg("--from-memory");
    }
    let mut program = Program::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let address = program.first_line().and_then(|line| line.parse().ok());
    Ok(Server { program, address: address.ok_or("the HTTP server does not serve")? })
}

impl Server {
    /// Whether a needle's bytes come, and by RDMA where that has to be.
    pub(super) fn serves(&self, needle: &Known, by_rdma: bool) -> Result<(), String> {
        let (head, body) = self.get(&needle.path()).map_err(|why| why.to_string())?;
        let head = head.to_ascii_lowercase();
        match () {
            () if !head.starts_with("http/1.1 200") => {
                Err(head.lines().next().unwrap_or_default().to_owned())
            }
            () if body != needle.bytes => Err(format!("WRONG BYTES of needle {}", needle.id)),
            () if by_rdma && !head.contains("x-source: rdma\r\n") => Err("it came by no RDMA".to_owned()),
            () => Ok(()),
        }
    }

    fn get(&self, path: &str) -> io::Result<(String, Vec<u8>)> {
        let mut stream = TcpStream::connect_timeout(&self.address, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(
            format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
        let body = answer.split_off(end + 4);
        Ok((String::from_utf8_lossy(&answer).into_owned(), body))
    }
}
