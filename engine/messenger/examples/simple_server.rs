//! Answers every request with its own bytes. See `simple_client`, which asks.
//!
//! `cargo run -p wavetank-messenger --features ucx --example simple_server -- --backend ucx --device shm --listen 127.0.0.1:7470`
//!
//! Over the mock there is nothing to serve: two processes share no simulated wire, and `simple_client` runs both sides.

#[path = "shared/echo.rs"]
mod echo;
#[path = "shared/station.rs"]
mod station;

use std::net::SocketAddr;

use clap::Parser;
use echo::Echo;
use station::{Outcome, Station, clock};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use wavetank_messenger::{MessengerConfig, Policy};

/// Answers every request with its own bytes, until it is interrupted or its clients are gone.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    station: Station,
    /// Where clients dial; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:7470")]
    listen: SocketAddr,
    /// End when the last client has left.
    #[arg(long)]
    once: bool,
    /// Its name in the handshake.
    #[arg(long, default_value_t = 2)]
    name: u64,
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    if args.station.is_simulated() {
        return Err("two processes share no simulated wire: run simple_client, which has both sides".into());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let (echo, left) = Echo::new();
        let messenger = args.station.open(MessengerConfig::new(args.name, args.station.backend), echo)?;
        messenger.bind(Some(Policy::StatelessServer));
        let mut carrier = args.station.carrier(&messenger)?;
        let address = carrier.listen(args.listen).await?;
        #[expect(clippy::print_stdout, reason = "a client is told where to dial")]
        {
            println!("listening on {address}");
        }
        let until = async {
            match args.once {
                true => left.notified().await,
                false => std::future::pending().await,
            }
        };
        carrier.run(clock(), until).await?;
        Ok(())
    })
}
