//! From settings to a configuration.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use wavetank_settings::{BadSetting, bad, within};

use super::{EngineSocket, ServeLimits, SidecarConfig};
use crate::breaker::BreakerRules;
use crate::lookup::LookupConfig;
use crate::place::{Allowed, Place};
use crate::reads::ReadLimits;
use crate::settings::{Fallback, Settings};
use crate::temp_files::TempConfig;
use crate::token::Token;

/// Longest path of a Unix socket, with its closing zero (`unix(7)`).
const SOCKET_PATH_MAX: usize = 107;

/// Longest answer that may be configured.
const READ_BYTES_MAX: u64 = 1 << 30;

impl SidecarConfig {
    /// Checks settings.
    ///
    /// # Errors
    /// The first that cannot be, and what would be right.
    pub fn new(settings: &Settings) -> Result<SidecarConfig, BadSetting> {
        let token = settings.token_file.as_deref().map(Token::read).transpose()?;
        let tls = tls(settings)?;
        let open = settings.allow_unauthenticated.unwrap_or(false);
        let address = settings.listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        if !address.is_loopback() && token.is_none() && !open {
            return bad(
                "listen",
                format!(
                    "{address} is reached from other hosts, and there is no token: give --token-file, or \
                     --allow-unauthenticated to serve whoever calls (a mount cannot show a token)"
                ),
            );
        }
        let fallback = settings.fallback.unwrap_or_default() == Fallback::On;
        let engine = engine(settings)?;
        if engine.is_none() && !fallback {
            return bad(
                "enable-rdma",
                "with --enable-rdma=false and --fallback=off there is nothing to read from",
            );
        }
        Ok(SidecarConfig {
            listen: SocketAddr::new(address, settings.port.unwrap_or(8081)),
            engine,
            lookup: lookup(settings)?,
            fallback,
            reads: reads(settings)?,
            breakers: BreakerRules::default(),
            read_format: settings.read_format.unwrap_or_default(),
            temp: temp(settings)?,
            token,
            tls,
            limits: limits(settings)?,
            drain: Duration::from_secs(within(
                "drain-timeout",
                settings.drain_timeout.unwrap_or(10),
                0,
                3600,
            )?),
            log_format: settings.log_format.unwrap_or_default(),
            debug: settings.debug.unwrap_or(false),
        })
    }
}

fn ms(setting: &'static str, value: Option<u64>, usual: u64) -> Result<Duration, BadSetting> {
    Ok(Duration::from_millis(within(setting, value.unwrap_or(usual), 1, 600_000)?))
}

fn size(setting: &'static str, value: Option<ByteSize>, usual: u64, max: u64) -> Result<u64, BadSetting> {
    within(setting, value.map_or(usual, |size| size.as_u64()), 1, max)
}

fn place(setting: &'static str, text: &str) -> Result<Place, BadSetting> {
    text.parse().map_err(|why| BadSetting { setting, why: format!("{text:?}: {why}") })
}

fn engine(settings: &Settings) -> Result<Option<EngineSocket>, BadSetting> {
    if !settings.enable_rdma.unwrap_or(true) {
        return Ok(None);
    }
    let path = settings.rdma_socket.clone().unwrap_or_else(|| PathBuf::from("/tmp/rdma-engine.sock"));
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        return bad(
            "rdma-socket",
            format!("{} is longer than {SOCKET_PATH_MAX} bytes (unix(7))", path.display()),
        );
    }
    let connections =
        within("max-connections", settings.max_connections.unwrap_or(1).into(), 1, 1024)? as usize;
    Ok(Some(EngineSocket { path, connections }))
}

fn lookup(settings: &Settings) -> Result<LookupConfig, BadSetting> {
    let masters = settings.master.iter().flatten().map(|text| place("master", text));
    let volume_server =
        settings.volume_server.as_deref().map(|text| place("volume-server", text)).transpose()?;
    let also = settings.allow_volume_server.clone().unwrap_or_default();
    if let Some(pattern) = also.iter().find(|pattern| pattern.contains('/') || pattern.is_empty()) {
        return bad("allow-volume-server", format!("{pattern:?} is no HOST, no HOST:PORT, and not any"));
    }
    let mut local_hosts = vec![];
    if let Ok(name) = rustix::system::uname().nodename().to_str() {
        local_hosts.push(name.to_ascii_lowercase());
    }
    local_hosts.extend(settings.local_host.iter().flatten().map(|host| host.to_ascii_lowercase()));
    Ok(LookupConfig {
        masters: masters.collect::<Result<_, _>>()?,
        ttl: Duration::from_secs(within("lookup-ttl", settings.lookup_ttl.unwrap_or(600), 1, 86_400)?),
        negative_ttl: Duration::from_secs(2),
        volume_server,
        allowed: Allowed::new(&also),
        local_hosts,
        data_center: settings.data_center.clone(),
    })
}

fn reads(settings: &Settings) -> Result<ReadLimits, BadSetting> {
    let total = ms("timeout-ms", settings.timeout_ms, 4000)?;
    let limits = ReadLimits {
        bytes_max: size("max-read", settings.max_read, 64 << 20, READ_BYTES_MAX)?,
        total,
        engine: ms("engine-timeout-ms", settings.engine_timeout_ms, 1500)?,
        http: ms("http-timeout-ms", settings.http_timeout_ms, 2000)?,
        replicas_max: 4,
    };
    if limits.engine > total || limits.http > total {
        return bad(
            "timeout-ms",
            format!("{} ms for a whole read are less than one attempt may take", total.as_millis()),
        );
    }
    Ok(limits)
}

fn temp(settings: &Settings) -> Result<Option<TempConfig>, BadSetting> {
    let Some(folder) = settings.temp_dir.clone() else { return Ok(None) };
    if !folder.is_absolute() {
        return bad(
            "temp-dir",
            format!("{} is relative, and its readers have other folders", folder.display()),
        );
    }
    Ok(Some(TempConfig {
        folder,
        above_bytes: size("temp-above", settings.temp_above, 64 << 10, READ_BYTES_MAX)?,
        bytes_max: size("temp-size", settings.temp_size, 256 << 20, 1 << 40)?,
        life: Duration::from_secs(30),
    }))
}

fn limits(settings: &Settings) -> Result<ServeLimits, BadSetting> {
    let connections = within("http-connections", settings.http_connections.unwrap_or(4096), 1, 1 << 20)?;
    Ok(ServeLimits {
        connections_max: connections as usize,
        requests_max: within("requests", settings.requests.unwrap_or(256), 1, 1 << 16)? as usize,
        queue: ms("queue-ms", settings.queue_ms, 500)?,
        head: ms("head-timeout-ms", settings.head_timeout_ms, 30_000)?,
        body: ms("body-timeout-ms", settings.body_timeout_ms, 10_000)?,
    })
}

fn tls(settings: &Settings) -> Result<Option<(PathBuf, PathBuf)>, BadSetting> {
    match (settings.tls_cert.clone(), settings.tls_key.clone()) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) if !cfg!(feature = "tls") => {
            bad("tls-cert", "this build has no TLS: build wavetank-sidecar with the feature tls")
        }
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (Some(_), None) => bad("tls-key", "is missing: --tls-cert and --tls-key are given together"),
        (None, Some(_)) => bad("tls-cert", "is missing: --tls-cert and --tls-key are given together"),
    }
}
