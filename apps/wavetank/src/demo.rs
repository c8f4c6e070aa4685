//! `wavetank demo`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use wavetank_daemon::engine::Engine;
use wavetank_daemon::meters::Meters;
use wavetank_daemon::{EngineConfig, Settings};
use wavetank_harness::workload::units::Bytes;

use crate::audit::{self, Judged};
use crate::make_volume;
use crate::scratch::Scratch;

/// Exports a SeaweedFS volume and reads all of it back, in one process on simulated NICs, and checks every byte.
///
/// An exporter and a reader, as two hosts would run them, exchange packets over a simulated network. A client reads every needle
/// through the reader's socket and its shared-memory ring, whole and in part, again and again, so that hot needles are read
/// one-sided; and compares them with what the file says. No device takes part, and nothing is left behind.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank demo                          a volume made up for it
  wavetank demo --volume /data/volumes   your own, which are only read
  wavetank demo --json

Exit status:
  0  every byte is right
  1  one is not: stderr says first which
  2  the input is bad, or something cannot be had")]
pub(crate) struct Args {
    /// A directory of volumes; made up if left out.
    #[arg(long, value_name = "DIR")]
    volume: Option<PathBuf>,
    /// Needles of a volume that is made up.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    needles: u64,
    /// Its longest needle.
    #[arg(long, value_name = "SIZE", default_value = "256KiB")]
    longest: Bytes,
    /// What is drawn: contents, and which parts are read.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let scratch = Scratch::new("demo")?;
    let folder = match &args.volume {
        Some(folder) if folder.is_dir() => folder.clone(),
        Some(folder) => {
            return Err(format!("--volume {}: no directory that can be read", folder.display()).into());
        }
        None => {
            make_volume::write(scratch.path(), args.needles, args.longest, args.seed, 3)?;
            scratch.path().to_owned()
        }
    };
    let socket = scratch.path().join("engine.sock");
    let settings = Settings {
        backend: Some("mock".to_owned()),
        export: Some(vec![folder.clone()]),
        ipc_socket: Some(socket.clone()),
        metrics: Some("off".to_owned()),
        ..Settings::default()
    };
    let config = EngineConfig::new(&settings)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let seed = args.seed;
    let judged = LocalSet::new().block_on(&runtime, async {
        let mut engine = Engine::open(&config, Meters::default()).await?;
        let (tell, told) = oneshot::channel();
        #[expect(clippy::disallowed_methods, reason = "a client is another program: a thread stands for it")]
        let client = std::thread::spawn(move || {
            // Nobody waits any more only if the engine has failed.
            let _ = tell.send(audit::all(&folder, &socket, seed).map_err(|why| why.to_string()));
        });
        let judged = engine.run(told).await?;
        // It has said its last word.
        let _ = client.join();
        let parts = engine.parts();
        parts.server.close();
        let left = parts.server.stats().leases_now.get();
        let judged = judged.map_err(|_| "the client ended without a word")??;
        drop(Rc::clone(&parts));
        Ok::<_, Box<dyn Error>>(Judged { leases_left: left, ..judged })
    })?;
    runtime.shutdown_background();
    audit::tell(&judged, args.json)?;
    Ok(if judged.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
