//! `wavetank engine`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use wavetank_daemon::{EngineConfig, Layer as _, Settings, log, run};

use crate::print;

/// Serves as the engine of this host: exports the SeaweedFS volumes that are beside it, and reads those of other engines for
/// local programs.
///
/// Local programs speak to it over a Unix socket: SeaweedFS's own protocol, a native one, or a ring in shared memory
/// (docs/ipc.md). Other engines call its port; what they say to each other is docs/exchange.md. Log lines go to stderr, metrics and
/// health are on loopback. SIGTERM lets what is under way end within the drain timeout, SIGHUP reads the settings again.
///
/// Flags weigh more than the environment, and that more than the file of --config, whose keys are the flags' names.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank engine --backend mock --export /data/volumes      both ends simulated in this process: to develop against
  wavetank engine --device tcp --export /data/volumes --key-file /etc/wavetank/key      beside a volume server
  wavetank engine --device tcp --peer storage-1:18515 --key-file /etc/wavetank/key      beside a client
  wavetank engine --config /etc/wavetank/engine.toml --check-config

Exit status:
  0  it ended as it was asked to
  1  what was under way did not end within the drain timeout, or something did not come back
  2  the settings are bad, or the device, a socket or a port cannot be had: stderr says which and why")]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Settings,
    /// A TOML file of settings.
    #[arg(short, long, env = "WAVETANK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the settings, print them as a file would say them, and end.
    #[arg(long)]
    check_config: bool,
}

impl Args {
    fn settings(&self) -> Result<Settings, Box<dyn Error>> {
        let file = self.config.as_deref().map(Settings::read).transpose()?;
        Ok(self.settings.clone().over(file.unwrap_or_default()))
    }

    fn checked(&self) -> Result<EngineConfig, Box<dyn Error>> {
        Ok(EngineConfig::new(&self.settings()?)?)
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let config = args.checked()?;
    if args.check_config {
        print(args.settings()?.to_toml()?.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let level = log::begin(config.log_format, config.debug)?;
    let again = || args.checked().map_err(|why| why.to_string());
    let ended = run::run(config, again, &level)?;
    Ok(if ended.whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
