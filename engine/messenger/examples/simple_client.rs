//! Requests of some sizes to `simple_server`, every byte of every reply checked; prints a table of latencies.
//!
//! On the simulated NIC, both sides in this process and in virtual time:
//!
//! `cargo run -p wavetank-messenger --example simple_client`
//!
//! Over UCX, beside a server in another terminal:
//!
//! `cargo run -p wavetank-messenger --features ucx --example simple_client -- --backend ucx --device shm --connect 127.0.0.1:7470`

#[path = "shared/echo.rs"]
mod echo;
#[path = "shared/simulated.rs"]
mod simulated;
#[path = "shared/station.rs"]
mod station;
#[path = "shared/table.rs"]
mod table;

use clap::Parser;
use echo::Echo;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use simulated::Simulated;
use station::{Outcome, Station, clock};
use table::Row;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use wavetank_contract::Instant;
use wavetank_messenger::{ConnectionId, Data, Deaf, LocalMessenger, Message, MessengerConfig, Policy, Way};

/// Asks simple_server and prints latencies. Over the mock both sides run here.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    station: Station,
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:7470")]
    connect: String,
    /// Bytes of data of each request.
    #[arg(long, value_delimiter = ',', default_value = "0,64,4096,65536,1048576")]
    sizes: Vec<u64>,
    /// Requests of each size.
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// Requests under way at a time.
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// eager, read or write; chosen by size if not given.
    #[arg(long, value_parser = |name: &str| Way::from_name(name).ok_or("eager, read or write"))]
    way: Option<Way>,
    /// Seconds for each request.
    #[arg(long, default_value_t = 10)]
    deadline_s: u64,
    /// Its name in the handshake.
    #[arg(long, default_value_t = 1)]
    name: u64,
    /// A line of JSON for each size.
    #[arg(long)]
    json: bool,
}

/// What is at a place of the data of a request.
fn pattern(request: u64, at: u64) -> u8 {
    (request.wrapping_mul(31) ^ at ^ at >> 8) as u8
}

/// One request, and how long it took.
async fn ask(
    args: &Args,
    messenger: LocalMessenger,
    to: ConnectionId,
    request: u64,
    bytes: u64,
) -> Outcome<u64> {
    let begun = messenger.now();
    let deadline = begun + args.deadline_s * 1_000_000_000;
    let front = request.to_le_bytes();
    let mut message = Message::new(1, &front, deadline).by(args.way.filter(|_| bytes > 0));
    let wanted: Vec<u8> = (0..bytes).map(|at| pattern(request, at)).collect();
    let mut sink = None;
    if bytes > 0 {
        let lease = messenger.expose(to, bytes)?.ok_or("the connection is gone")?;
        lease.write(0, &wanted);
        message = message.with(Data::all(lease));
        sink = messenger.expose(to, bytes)?;
    }
    let reply = messenger.request(to, message, sink)?.await.map_err(|no| no.why.to_string())?;
    let took = messenger.now().since_ns(begun);
    let mut found = vec![0; bytes as usize];
    if reply.data_len() != bytes || !reply.read(0, &mut found) || found != wanted {
        return Err(format!("the reply to request {request} is not what was sent").into());
    }
    Ok(took)
}

async fn all(args: &Args, messenger: &LocalMessenger, address: &str) -> Outcome<Vec<Row>> {
    let (to, connecting) = messenger.connect(address, None, Policy::LossyClient)?;
    connecting.await?;
    let mut rows = Vec::new();
    for bytes in args.sizes.iter().copied() {
        let mut row = Row::new("request", bytes);
        let begun: Instant = messenger.now();
        let mut under_way = FuturesUnordered::new();
        let mut next = 0;
        while next < args.count || !under_way.is_empty() {
            while next < args.count && under_way.len() < args.depth.max(1) {
                under_way.push(ask(args, messenger.clone(), to, next, bytes));
                next += 1;
            }
            if let Some(took) = under_way.next().await {
                row.latencies_ns.record(took?)?;
            }
        }
        row.took_ns = messenger.now().since_ns(begun);
        rows.push(row);
    }
    messenger.close(to, "done");
    Ok(rows)
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let config = MessengerConfig::new(args.name, args.station.backend);
    let rows = LocalSet::new().block_on(&runtime, async {
        if args.station.is_simulated() {
            let mut net = Simulated::new();
            let client = net.add(config, Deaf)?;
            let server = net.add(MessengerConfig { name: args.name + 1, ..config }, Echo::new().0)?;
            server.bind(Some(Policy::StatelessServer));
            return net.run(all(&args, &client, "1")).await?;
        }
        let messenger = args.station.open(config, Deaf)?;
        let mut carrier = args.station.carrier(&messenger)?;
        let rows = carrier.run(clock(), all(&args, &messenger, &args.connect)).await?;
        // The last word is on its way.
        carrier.run(clock(), tokio::time::sleep(std::time::Duration::from_millis(20))).await?;
        rows
    })?;
    table::print(&rows, args.json);
    Ok(())
}
