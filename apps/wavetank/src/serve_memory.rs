//! `wavetank serve-memory`.

use std::error::Error;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use tokio::runtime::Builder;
use wavetank_engine::{BackendKind, PortConfig};
use wavetank_harness::peer::{self, Event, Served, Server, ServerConfig};
use wavetank_harness::workload::units::{Bytes, Nanos};

use crate::address::Address;
use crate::device::{Devices, Protocol};
use crate::{memory, print, say};

/// Serves memory to other processes: the storage node of a replay with --peer.
///
/// Clients say what they need: regions of which length, filled with pattern data or zeros, and how many connections. They get
/// it within --memory and --clients-max, and then read and write with RDMA. What a client had comes back when it takes leave
/// or vanishes. SIGTERM and SIGINT end it.
///
/// The line `listening on HOST:PORT` is all that goes to stdout; who comes and goes is told on stderr. With --json every line
/// on stdout is a JSON document with a key "event": listening, joined, left, refused, leaked, device, ended.
///
/// Nothing is authenticated: whoever reaches the port can have memory of this process. The default address is reached from this
/// machine alone.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank serve-memory --backend ucx --device tcp --listen 127.0.0.1:7471
  wavetank serve-memory --backend ucx --device shm --listen 127.0.0.1:7471 --once
  wavetank serve-memory --backend verbs --device mlx5_0 --listen 10.0.0.1:7471 --memory 64GiB
  wavetank replay workloads/guest/pgbench-8k.toml --backend ucx --device tcp --peer 127.0.0.1:7471    a client
  wavetank serve-memory --backend ucx --device tcp --once --canary byte      its client has to fail

Exit status:
  0  it ended as it was asked to, and everything that clients had came back
  1  something did not come back, or with --once the client left without goodbye
  2  the input is bad: the device cannot be opened, or the address cannot be listened at")]
pub(crate) struct Args {
    /// The backend: verbs or ucx. Two processes share no simulated network.
    #[arg(long)]
    backend: BackendKind,
    /// The device to serve on, by name; clients need one of the same backend, and with ucx of the same transport.
    #[arg(long, value_name = "NAME")]
    device: String,
    /// How messages travel over UCX.
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    protocol: Option<Protocol>,
    /// Where clients come to. Port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: Address,
    /// Memory that all clients together may have, as in 512MiB.
    #[arg(long, value_name = "SIZE")]
    memory: Option<Bytes>,
    /// Clients at a time.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    clients_max: u16,
    /// How long a client may take for whatever is its turn, as in 30s; how long its run takes is its own business.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    limit: Nanos,
    /// End when the first client is gone. One is served at a time then.
    #[arg(long)]
    once: bool,
    /// Do something wrong: a client that does not fail has a broken check.
    #[arg(long, value_enum, value_name = "WHAT")]
    canary: Option<Canary>,
    /// Print what happens as JSON, a document a line.
    #[arg(long)]
    json: bool,
}

/// What to do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Canary {
    /// Flip a bit in the first region.
    Byte,
    /// Fill the first region with data of another generation.
    Tag,
    /// Say that the first region holds something else.
    Digest,
}

impl From<Canary> for peer::Canary {
    fn from(canary: Canary) -> peer::Canary {
        match canary {
            Canary::Byte => peer::Canary::Byte,
            Canary::Tag => peer::Canary::Tag,
            Canary::Digest => peer::Canary::Digest,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    if args.backend == BackendKind::Mock {
        return Err("--backend mock: two processes share no simulated network; give verbs or ucx".into());
    }
    let config = config(args)?;
    let devices =
        Devices::named("--backend", args.backend, std::slice::from_ref(&args.device), args.protocol)?;
    let (mut signals, signalled) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        pipe::register(signal, signalled.try_clone()?)?;
    }
    signals.set_nonblocking(true)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let address = args.listen.find(config.limit).await?;
        let context = devices.contexts()?(0, PortConfig::default())?;
        let server = Server::listen(context, args.backend, address, config)?;
        let address = server.address()?.to_string();
        match args.json {
            true => print(&json!({ "event": "listening", "address": address }).to_string())?,
            false => print(&format!("listening on {address}"))?,
        }
        let stop = stop(&mut signals);
        let json = args.json;
        let told = Rc::new(move |event: &Event| tell(json, &event.to_json(), &event.to_string()));
        Ok::<_, Box<dyn Error>>(server.serve(stop, told).await?)
    });
    // A name that nobody knows may still be looked for.
    runtime.shutdown_background();
    let served = served?;
    tell(args.json, &served.to_json(), &ended(&served));
    let well = served.ok() && !(args.once && served.vanished > 0);
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn config(args: &Args) -> Result<ServerConfig, String> {
    let Nanos(limit_ns) = args.limit;
    if limit_ns == 0 {
        return Err("--limit 0s leaves no time for anything; give one above 0".to_owned());
    }
    let config = ServerConfig::default();
    let memory_bytes_max = match args.memory {
        Some(Bytes(0)) => return Err("--memory 0 leaves nothing to serve".to_owned()),
        Some(Bytes(bytes)) => {
            memory::check("--memory", bytes)?;
            bytes
        }
        None => config.memory_bytes_max,
    };
    Ok(ServerConfig {
        clients_max: if args.once { 1 } else { usize::from(args.clients_max) },
        memory_bytes_max,
        limit: Duration::from_nanos(limit_ns),
        once: args.once,
        canary: args.canary.map(Into::into),
    })
}

/// Waits for a signal.
async fn stop(signals: &mut UnixStream) {
    let Ok(signals) = signals.try_clone().and_then(tokio::net::UnixStream::from_std) else {
        return std::future::pending().await;
    };
    // Whatever becomes of it: it can be read when somebody wrote to it.
    let _ = signals.readable().await;
}

fn tell(json: bool, for_machines: &Value, for_people: &str) {
    match json {
        // A reader that went away is no reason to leave clients alone.
        true => drop(print(&for_machines.to_string())),
        false => say(for_people),
    }
}

fn ended(served: &Served) -> String {
    let Served { goodbyes, vanished, refused, cut_off, leaked } = served;
    let stayed = match leaked {
        0 => "everything came back".to_owned(),
        _ => format!("of {leaked} something STAYED"),
    };
    format!(
        "ended: {goodbyes} clients took leave, {vanished} vanished, {refused} were refused, {cut_off} were cut off; {stayed}"
    )
}
