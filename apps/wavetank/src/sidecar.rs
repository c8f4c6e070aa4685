//! `wavetank sidecar`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use sd_notify::NotifyState;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use wavetank_daemon::log;
use wavetank_sidecar::{EngineReads, Layer as _, Settings, SidecarConfig, begin, socket};

use crate::{print, say};

/// Serves needles over HTTP to `weed mount -rdma.enabled -rdma.sidecar=HOST:PORT`.
///
/// It reads through the engine of this host (`wavetank engine`), whose memory goes to the mount without a copy, and by HTTP from volume
/// servers where the engine cannot. It may begin before the engine, and goes on when that comes and goes; each answer says by which
/// way its bytes came. Log lines go to stderr. SIGTERM lets requests end within the drain timeout.
///
/// Flags weigh more than the environment, and that more than the file of --config, whose keys are the flags' names.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank sidecar --master localhost:9333
  wavetank sidecar --config /etc/wavetank/sidecar.toml --check-config
  weed mount -dir=/mnt -filer=localhost:8888 -rdma.enabled -rdma.sidecar=127.0.0.1:8081    the mount
  curl 'http://127.0.0.1:8081/read?file_id=3,01637037d6&size=4096' --output -              without one

Exit status:
  0  it ended as it was asked to
  2  the settings are bad, or the address cannot be had: stderr says which and why")]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Settings,
    /// A TOML file of settings.
    #[arg(short, long, env = "WAVETANK_SIDECAR_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the settings, print them as a file would say them, and end.
    #[arg(long)]
    check_config: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let file = args.config.as_deref().map(Settings::read).transpose()?;
    let settings = args.settings.clone().over(file.unwrap_or_default());
    let config = SidecarConfig::new(&settings)?;
    if args.check_config {
        print(settings.to_toml()?.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    log::begin(config.log_format, config.debug)?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let [mut term, mut int] = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let engine = config.engine.as_ref().map(|at| Arc::new(socket::engine(at)) as Arc<dyn EngineReads>);
        let running = begin(config, engine).await?;
        say(&format!("listening on {}", running.address()));
        // Without a service manager nothing happens.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        let shutdown = async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            let _ = sd_notify::notify(&[NotifyState::Stopping]);
        };
        running.serve(shutdown).await?;
        Ok::<_, Box<dyn Error>>(())
    })?;
    // A name that nobody knows may still be looked for.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}
