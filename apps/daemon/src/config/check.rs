//! From settings to a configuration, with every limit looked at before anything is opened.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use wavetank_engine::BackendKind;

use wavetank_settings::{BadSetting, bad, within};

use super::key::read_key;
use super::users::{gid_of, uid_of};
use super::{EngineConfig, SocketConfig};
use crate::settings::{MetricsAddress, Settings};

/// The smallest memory for what is read: four of the longest reads.
const BUFFER_BYTES_MIN: u64 = 16 << 20;

/// The largest.
const BUFFER_BYTES_MAX: u64 = 1 << 40;

/// The smallest memory for segments; 0 is none, and everything is by request then.
const SEGMENT_BYTES_MIN: u64 = 8 << 20;

/// Longest path of a Unix socket, with its closing zero (`unix(7)`).
const SOCKET_PATH_MAX: usize = 107;

/// Seconds that anything may take.
const SECONDS_MAX: u64 = 7 * 24 * 3600;

impl EngineConfig {
    /// Checks settings.
    ///
    /// # Errors
    /// The first that cannot be, and what would be right.
    pub fn new(settings: &Settings) -> Result<EngineConfig, BadSetting> {
        let backend = backend(settings)?;
        let device = device(settings, backend)?;
        let key = settings.key_file.as_deref().map(read_key).transpose()?;
        let engine_port = settings.port.unwrap_or(18515);
        let open = settings.allow_unauthenticated.unwrap_or(false);
        let listen = SocketAddr::new(listen(settings, key.is_some(), open)?, engine_port);
        let export = settings.export.clone().unwrap_or_default();
        for folder in export.iter().chain(&settings.export_index) {
            if !folder.is_dir() {
                return bad("export", format!("{} is no directory that can be read", folder.display()));
            }
        }
        if settings.export_index.is_some() && export.is_empty() {
            return bad("export-index", "there is nothing to export: give --export as well");
        }
        let peers = settings.peers.clone().unwrap_or_default();
        for peer in &peers {
            let port = peer.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            if port.and_then(|port| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
                return bad("peer", format!("{peer:?} is no HOST:PORT, as in storage-1:18515"));
            }
        }
        if backend == BackendKind::Mock && !peers.is_empty() {
            return bad(
                "peer",
                "simulated NICs reach no other process: leave --peer out, or choose another backend",
            );
        }
        Ok(EngineConfig {
            backend,
            device,
            listen,
            engine_port,
            export,
            export_index: settings.export_index.clone(),
            peers,
            key,
            key_file: settings.key_file.clone(),
            way: settings.way.unwrap_or_default(),
            sessions_max: within("max-sessions", settings.max_sessions.unwrap_or(1000).into(), 1, 1 << 20)?
                as u32,
            session_timeout: seconds("session-timeout", settings.session_timeout, 300)?,
            buffer_bytes: buffer_bytes(settings)?,
            huge_pages: settings.huge_pages.unwrap_or(false),
            segment_bytes: segment_bytes(settings)?,
            socket: socket(settings)?,
            metrics: metrics(settings)?,
            spin: Duration::from_micros(within("spin-us", settings.spin_us.unwrap_or(50), 0, 1_000_000)?),
            drain: seconds("drain-timeout", settings.drain_timeout, 10)?,
            log_format: settings.log_format.unwrap_or_default(),
            debug: settings.debug.unwrap_or(false),
        })
    }
}

fn seconds(setting: &'static str, value: Option<u64>, usual: u64) -> Result<Duration, BadSetting> {
    Ok(Duration::from_secs(within(setting, value.unwrap_or(usual), 1, SECONDS_MAX)?))
}

fn backend(settings: &Settings) -> Result<BackendKind, BadSetting> {
    if let Some(name) = &settings.backend {
        let kind: BackendKind =
            name.parse().map_err(|why| BadSetting { setting: "backend", why: format!("{why}") })?;
        return match kind.require_built() {
            Ok(()) => Ok(kind),
            Err(why) => bad("backend", why.to_string()),
        };
    }
    // The mock is never chosen by itself.
    let built = [BackendKind::Ucx, BackendKind::Verbs].into_iter().find(|kind| kind.require_built().is_ok());
    built.ok_or_else(|| BadSetting {
        setting: "backend",
        why: "this build has no backend of devices: build wavetank with --features ucx or verbs, or say --backend mock to have NICs \
              simulated"
            .to_owned(),
    })
}

fn device(settings: &Settings, backend: BackendKind) -> Result<String, BadSetting> {
    let said = settings.device.as_deref().filter(|device| *device != "auto");
    match (backend, said) {
        (BackendKind::Mock, None) => Ok(String::new()),
        (BackendKind::Mock, Some(device)) => {
            bad("device", format!("{device:?}: the mock has no devices; its NICs are simulated"))
        }
        (_, Some(device)) => Ok(device.to_owned()),
        // The one device that is there wherever UCX is, and that is what it says.
        (BackendKind::Ucx, None) => Ok("tcp".to_owned()),
        (BackendKind::Verbs, None) => {
            bad("device", "verbs devices have names: see `wavetank doctor --backend verbs`")
        }
    }
}

fn listen(settings: &Settings, has_key: bool, open: bool) -> Result<IpAddr, BadSetting> {
    let usual = if has_key { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    let address = settings.listen.unwrap_or(IpAddr::V4(usual));
    if !has_key && !open && !address.is_loopback() {
        return bad(
            "listen",
            format!(
                "{address} is reached from other hosts, and there is no key: give --key-file, or --allow-unauthenticated to \
                 export to whoever calls"
            ),
        );
    }
    Ok(address)
}

fn buffer_bytes(settings: &Settings) -> Result<u64, BadSetting> {
    let bytes = settings.buffer_size.map_or(1 << 30, |size| size.as_u64());
    // Extents are powers of two.
    let bytes = within("buffer-size", bytes, BUFFER_BYTES_MIN, BUFFER_BYTES_MAX)?;
    Ok(1 << bytes.ilog2())
}

fn segment_bytes(settings: &Settings) -> Result<u64, BadSetting> {
    match settings.segment_cache.map_or(256 << 20, |size| size.as_u64()) {
        0 => Ok(0),
        bytes => within("segment-cache", bytes, SEGMENT_BYTES_MIN, BUFFER_BYTES_MAX),
    }
}

fn socket(settings: &Settings) -> Result<SocketConfig, BadSetting> {
    let path = settings.ipc_socket.clone().unwrap_or_else(|| PathBuf::from("/tmp/rdma-engine.sock"));
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        return bad(
            "ipc-socket",
            format!("{} is longer than {SOCKET_PATH_MAX} bytes (unix(7))", path.display()),
        );
    }
    let mode = match settings.ipc_mode.as_deref() {
        None => 0o600,
        Some(text) => match u32::from_str_radix(text.trim_start_matches("0o"), 8) {
            Ok(mode) if mode <= 0o777 => mode,
            _ => return bad("ipc-mode", format!("{text:?} is no octal mode, as in 0660")),
        },
    };
    let gid = settings.ipc_group.as_deref().map(gid_of).transpose()?;
    let mut uids = vec![rustix::process::geteuid().as_raw(), 0];
    for user in settings.ipc_allow.iter().flatten() {
        uids.push(uid_of(user)?);
    }
    uids.sort_unstable();
    uids.dedup();
    Ok(SocketConfig { path, mode, gid, uids })
}

fn metrics(settings: &Settings) -> Result<MetricsAddress, BadSetting> {
    let text = match settings.metrics.as_deref() {
        None => return Ok(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 18516)))),
        Some("off") => return Ok(None),
        Some(text) => text,
    };
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(Some(address)),
        Ok(address) => bad("metrics", format!("{address} is not loopback; nothing there is authenticated")),
        Err(_) => bad("metrics", format!("{text:?} is no ADDRESS:PORT, as in 127.0.0.1:18516, nor `off`")),
    }
}
