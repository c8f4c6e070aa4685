//! Reads and writes chunks of some sizes; prints a table of latencies. Every byte is verified by its sum in any case, and with
//! `--verify` also compared with what was written.
//!
//! On the simulated NIC, both sides in this process and in virtual time:
//!
//! `cargo run -p wavetank-rpc --example chunk_client`
//!
//! Over UCX, beside a `chunk_server` in another terminal:
//!
//! `cargo run -p wavetank-rpc --features ucx --example chunk_client -- --backend ucx --device shm --connect 127.0.0.1:7471`

#[path = "../../messenger/examples/shared/simulated.rs"]
mod simulated;
#[path = "../../messenger/examples/shared/station.rs"]
mod station;
#[path = "shared/store.rs"]
mod store;
#[path = "../../messenger/examples/shared/table.rs"]
mod table;

use clap::Parser;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use simulated::Simulated;
use station::{Outcome, Station, clock};
use store::{Keeping, Store};
use table::Row;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use wavetank_engine::bootstrap::InstanceId;
use wavetank_messenger::{Deaf, LocalMessenger, MessengerConfig, Policy, Way};
use wavetank_rpc::{ChunkClient, ChunkClientConfig, ChunkKey, ChunkServer, ChunkServerConfig, ChunkStore};

/// Calls chunk_server and prints latencies. Over the mock both sides run here.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    station: Station,
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:7471")]
    connect: String,
    /// Over the mock: where the server keeps its chunks.
    #[command(flatten)]
    keeping: Keeping,
    /// Bytes of each call.
    #[arg(long, value_delimiter = ',', default_value = "4096,65536,1048576")]
    sizes: Vec<u32>,
    /// Calls of each size.
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// Calls under way at a time, each on a chunk of its own.
    #[arg(long, default_value_t = 1)]
    depth: u32,
    /// Of a hundred calls, so many are reads.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=100))]
    reads: u64,
    /// Writes are answered when they would outlive a loss of power.
    #[arg(long)]
    durable: bool,
    /// Compare every byte that is read with what was written there.
    #[arg(long)]
    verify: bool,
    /// How data of writes travels: eager, read or write; chosen by size if not given.
    #[arg(long, value_parser = |name: &str| Way::from_name(name).ok_or("eager, read or write"))]
    way: Option<Way>,
    /// Seconds for each call, with all its attempts.
    #[arg(long, default_value_t = 10)]
    deadline_s: u64,
    /// Its name in the handshake.
    #[arg(long, default_value_t = 1)]
    name: u64,
    /// A line of JSON for each size.
    #[arg(long)]
    json: bool,
}

/// What the write of this number puts at a place.
fn pattern(number: u64, at: u64) -> u8 {
    (number.wrapping_mul(31) ^ at ^ at >> 8) as u8
}

fn bytes(number: u64, len: u32) -> Vec<u8> {
    (0..u64::from(len)).map(|at| pattern(number, at)).collect()
}

struct Done {
    slot: u32,
    is_read: bool,
    took_ns: u64,
    /// The number of the write that is in the chunk now.
    holds: u64,
}

/// One call, and how long it took.
async fn call(
    args: &Args,
    client: &ChunkClient,
    slot: u32,
    holds: u64,
    number: u64,
    len: u32,
    is_read: bool,
) -> Outcome<Done> {
    let messenger = client.messenger();
    let key = ChunkKey { inode: args.name, index: slot };
    let data =
        if is_read && !args.verify { Vec::new() } else { bytes(if is_read { holds } else { number }, len) };
    let begun = messenger.now();
    let deadline = begun + args.deadline_s * 1_000_000_000;
    if is_read {
        let read = client.read(key, 0, len, deadline).await?;
        let took_ns = messenger.now().since_ns(begun);
        if args.verify && read.to_vec() != data {
            return Err(format!("{key} does not hold what write {holds} put there").into());
        }
        return Ok(Done { slot, is_read, took_ns, holds });
    }
    client.write_bytes(key, 0, &data, args.durable, deadline).await?;
    Ok(Done { slot, is_read, took_ns: messenger.now().since_ns(begun), holds: number })
}

async fn all(args: &Args, messenger: &LocalMessenger, address: &str) -> Outcome<Vec<Row>> {
    // The number of this client is as new as this process.
    let writer = InstanceId::random()?.get();
    let config = ChunkClientConfig { way: args.way, ..ChunkClientConfig::new(address, writer) };
    let client = ChunkClient::new(messenger.clone(), config);
    let mut rows = Vec::new();
    let mut number = 0;
    for len in args.sizes.iter().copied() {
        let mut free = Vec::new();
        for slot in 0..args.depth.max(1) {
            number += 1;
            free.push(call(args, &client, slot, 0, number, len, false).await?);
        }
        let (mut read, mut written) = (Row::new("read", len.into()), Row::new("write", len.into()));
        let mut under_way = FuturesUnordered::new();
        let (mut next, begun) = (0, messenger.now());
        while next < args.count || !under_way.is_empty() {
            while next < args.count
                && let Some(Done { slot, holds, .. }) = free.pop()
            {
                next += 1;
                number += 1;
                // Spread evenly, whatever the mix.
                let is_read = next * args.reads / 100 != (next - 1) * args.reads / 100;
                under_way.push(call(args, &client, slot, holds, number, len, is_read));
            }
            if let Some(done) = under_way.next().await {
                let done = done?;
                let row = if done.is_read { &mut read } else { &mut written };
                row.latencies_ns.record(done.took_ns)?;
                free.push(done);
            }
        }
        // Both share the time, so that their rates add up.
        let took_ns = messenger.now().since_ns(begun);
        for mut row in [read, written] {
            row.took_ns = took_ns;
            if !row.latencies_ns.is_empty() {
                rows.push(row);
            }
        }
    }
    client.close("done");
    Ok(rows)
}

/// Both sides in this process.
async fn simulated<S: ChunkStore + 'static>(
    args: &Args,
    config: MessengerConfig,
    store: S,
) -> Outcome<Vec<Row>> {
    let server = ChunkServer::new(store, ChunkServerConfig::default());
    let mut net = Simulated::new();
    let client = net.add(config, Deaf)?;
    net.add(MessengerConfig { name: args.name + 1, ..config }, server.services())?
        .bind(Some(Policy::StatelessServer));
    net.run(all(args, &client, "1")).await?
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let config = MessengerConfig::new(args.name, args.station.backend);
    let rows = LocalSet::new().block_on(&runtime, async {
        if args.station.is_simulated() {
            return match args.keeping.open(None)? {
                Store::Memory(store) => simulated(&args, config, store).await,
                Store::Files(store) => simulated(&args, config, store).await,
            };
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
