//! Serves chunks from memory or from a folder. See `chunk_client`, which calls.
//!
//! `cargo run -p wavetank-rpc --features ucx --example chunk_server -- --backend ucx --device shm --store /srv/chunks`
//!
//! Over the mock there is nothing to serve: two processes share no simulated wire, and `chunk_client` runs both sides.

#[path = "../../messenger/examples/shared/station.rs"]
mod station;
#[path = "shared/store.rs"]
mod store;

use std::net::SocketAddr;
use std::rc::Rc;

use clap::Parser;
use station::{Outcome, Station, clock};
use store::{Keeping, Store};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use wavetank_messenger::{MessengerConfig, Policy};
use wavetank_rpc::{ChunkServer, ChunkServerConfig};

/// Serves ReadChunk, WriteChunk, RemoveChunk and StatChunk until it is interrupted.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    station: Station,
    /// Where clients dial; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:7471")]
    listen: SocketAddr,
    #[command(flatten)]
    keeping: Keeping,
    /// End after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Its name in the handshake.
    #[arg(long, default_value_t = 2)]
    name: u64,
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    if args.station.is_simulated() {
        return Err("two processes share no simulated wire: run chunk_client, which has both sides".into());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    LocalSet::new().block_on(&runtime, async {
        match args.keeping.open(Some(handle))? {
            Store::Memory(store) => serve(&args, ChunkServer::new(store, ChunkServerConfig::default())).await,
            Store::Files(store) => serve(&args, ChunkServer::new(store, ChunkServerConfig::default())).await,
        }
    })
}

async fn serve<S: wavetank_rpc::ChunkStore + 'static>(
    args: &Args,
    server: Rc<ChunkServer<S>>,
) -> Outcome<()> {
    let config = MessengerConfig::new(args.name, args.station.backend);
    let messenger = args.station.open(config, server.services())?;
    messenger.bind(Some(Policy::StatelessServer));
    let mut carrier = args.station.carrier(&messenger)?;
    let address = carrier.listen(args.listen).await?;
    #[expect(clippy::print_stdout, reason = "a client is told where to dial")]
    {
        println!("listening on {address}");
    }
    let upkeep = Rc::clone(&server);
    let beside = messenger.clone();
    messenger.spawn(async move { upkeep.look_after(&beside).await });
    let until = async {
        match args.seconds {
            Some(seconds) => tokio::time::sleep(std::time::Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    carrier.run(clock(), until).await?;
    // What was written and not asked to be durable is, from here on.
    server.store().flush().await?;
    Ok(())
}
