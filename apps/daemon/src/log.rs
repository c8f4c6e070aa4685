//! Log lines, on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};
use wavetank_settings::LogFormat;

/// Changes what is logged.
#[derive(Clone, Debug)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

/// Begins to log; once in a process.
///
/// # Errors
/// Somebody else logs already, or RUST_LOG cannot be read.
pub fn begin(format: LogFormat, debug: bool) -> Result<LogLevel, String> {
    let (filter, handle) = reload::Layer::new(filter(debug)?);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let begun = tracing_subscriber::registry().with(filter).with(lines).try_init();
    begun.map_err(|why| format!("logging cannot begin: {why}"))?;
    Ok(LogLevel(handle))
}

/// What RUST_LOG says, or all that matters, or all.
fn filter(debug: bool) -> Result<EnvFilter, String> {
    let level = if debug { LevelFilter::DEBUG } else { LevelFilter::INFO };
    EnvFilter::builder()
        .with_default_directive(level.into())
        .from_env()
        .map_err(|why| format!("RUST_LOG: {why}; it is as in wavetank_daemon=debug,info"))
}

impl LogLevel {
    /// Logs more, or less, from now on.
    ///
    /// # Errors
    /// RUST_LOG cannot be read.
    pub fn set(&self, debug: bool) -> Result<(), String> {
        self.0.reload(filter(debug)?).map_err(|why| why.to_string())
    }
}
