//! What an idle connection costs two processes: opens many to `simple_server`, leaves them alone, and prints by how much the resident
//! memory of both has grown. With `--server-pid`, the server's too.
//!
//! `cargo run -p wavetank-messenger --features ucx --example idle_connections -- --backend ucx --device tcp/lo --connect 127.0.0.1:7470`

#[path = "shared/station.rs"]
mod station;

use std::time::Duration;

use clap::Parser;
use station::{Outcome, Station, clock};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use wavetank_messenger::{Deaf, LocalMessenger, MessengerConfig, Policy};

/// Opens connections to simple_server and says what each of them costs.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    station: Station,
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:7470")]
    connect: String,
    /// How many connections.
    #[arg(long, default_value_t = 200)]
    count: u32,
    /// The server's process, to look at as well.
    #[arg(long)]
    server_pid: Option<u32>,
    /// Its name in the handshake.
    #[arg(long, default_value_t = 1)]
    name: u64,
}

/// Resident memory of a process (`proc_pid_status(5)`).
fn resident_kib(process: &str) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Of this process, and of the server.
fn resident(args: &Args) -> Outcome<[u64; 2]> {
    let server = args.server_pid.map_or(Ok(0), |pid| resident_kib(&pid.to_string()))?;
    Ok([resident_kib("self")?, server])
}

async fn all(args: &Args, messenger: &LocalMessenger) -> Outcome<[[u64; 2]; 2]> {
    // The first one brings what all of them use.
    let (_, connecting) = messenger.connect(&args.connect, None, Policy::LossyClient)?;
    connecting.await?;
    let before = resident(args)?;
    for _ in 0..args.count {
        let (_, connecting) = messenger.connect(&args.connect, None, Policy::LossyClient)?;
        connecting.await?;
    }
    // Signs of life pass meanwhile.
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok([before, resident(args)?])
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    if args.station.is_simulated() {
        return Err(
            "a simulated NIC's memory is this process's: see the test of a thousand connections".into()
        );
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let config = MessengerConfig::new(args.name, args.station.backend);
    let [before, after] = LocalSet::new().block_on(&runtime, async {
        let messenger = args.station.open(config, Deaf)?;
        let mut carrier = args.station.carrier(&messenger)?;
        carrier.run(clock(), all(&args, &messenger)).await?
    })?;
    let each = |at: usize| (after[at].saturating_sub(before[at]) as f64) / f64::from(args.count.max(1));
    #[expect(clippy::print_stdout, reason = "this is what it is for")]
    {
        println!(
            "{} idle connections over {}: {:.1} KiB each in the client",
            args.count,
            args.station.device,
            each(0)
        );
        if args.server_pid.is_some() {
            println!("and {:.1} KiB each in the server", each(1));
        }
    }
    Ok(())
}
