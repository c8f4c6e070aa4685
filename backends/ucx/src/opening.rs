//! Opening a device: each thing that can be wrong is looked for, and named.

use std::sync::Arc;

use wavetank_contract::error::SystemError;
use wavetank_contract::{Region, RegionSpec};

use crate::address::{Place, Process};
use crate::config::{ConnectBy, Protocol, Transport, UcxConfig};
use crate::error::DeviceError;
use crate::memory::{Mrs, WORDS};
use crate::packed::Own;
use crate::shared::{Core, Shared, Understudy};
use crate::state::{Settings, State};
use crate::sys::{Context, ContextError, LIBRARY, Library, Memory, SendAs, SharedWords, UcsStatus, Worker};
use crate::watch::Watch;

/// The oldest version whose active messages and error handling are enough.
const OLDEST: (u32, u32) = (1, 12);

/// What a worker of shared memory takes of /dev/shm: 4.3 MB as measured, and room for control words.
pub(crate) const SHM_WORKER_BYTES: u64 = 5 << 20;

/// An open device.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) shared: Arc<Shared>,
    pub(crate) understudy: Understudy,
    pub(crate) context: Arc<Context>,
    /// Where the control words are. Dropped after everything else.
    pub(crate) control: Option<Region>,
}

/// Loads the library, if it can be used.
pub(crate) fn load(config: &UcxConfig) -> Result<&'static Library, DeviceError> {
    check_log_file(|name| std::env::var(name).ok())?;
    let path = config.library.as_deref().map(std::path::Path::as_os_str);
    let library = Library::load(path).map_err(|why| DeviceError::LibraryAbsent {
        library: config
            .library
            .as_ref()
            .map_or_else(|| LIBRARY.to_owned(), |path| path.display().to_string()),
        why,
    })?;
    check_version(library.version(), || library.version_text())?;
    Ok(library)
}

fn check_version(
    (major, minor, _): (u32, u32, u32),
    text: impl FnOnce() -> String,
) -> Result<(), DeviceError> {
    if (major, minor) < OLDEST { Err(DeviceError::TooOld { found: text() }) } else { Ok(()) }
}

/// UCX ends the process when it is loaded and cannot open the file it should log to.
pub(crate) fn check_log_file(get: impl Fn(&str) -> Option<String>) -> Result<(), DeviceError> {
    let name = "UCX_LOG_FILE";
    let Some(value) = get(name).filter(|value| !value.is_empty()) else { return Ok(()) };
    let path = std::path::Path::new(&value);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(std::path::Path::new("."));
    // What may be in its name (%p and the like) is not in the folder's.
    let writable = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
    match path.is_dir() || writable.is_err() {
        true => Err(DeviceError::Variable {
            name: name.to_owned(),
            value,
            why: "no file can be made there, and UCX ends the process over it",
        }),
        false => Ok(()),
    }
}

/// What is told to UCX, in place of whatever the environment says of it.
fn settings(config: &UcxConfig) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("TLS", config.transport.tls().to_owned()),
        // The one form of address that `packed.rs` looks through.
        ("ADDRESS_VERSION", "v1".to_owned()),
        ("UNIFIED_MODE", "n".to_owned()),
        ("ADDRESS_DEBUG_INFO", "n".to_owned()),
    ];
    if !config.devices.is_empty() {
        settings.push(("NET_DEVICES", config.devices.join(",")));
    }
    if config.transport == Transport::Rc {
        // UCX's cache of registrations would keep a key alive after its registration ended.
        settings.push(("REG_METHODS", "direct".to_owned()));
        // Version 1.13 ends the process when a connection that failed is closed while it waits for the device's own word of it
        // (`wait_ctx->cb_id` of uct_ib_device.c). Completions tell the same.
        settings.push(("ASYNC_EVENTS", "n".to_owned()));
    }
    if config.transport == Transport::Shm {
        // Without it UCX refuses to tell of dead peers there.
        settings.push(("MM_ERROR_HANDLING", "y".to_owned()));
        settings.push(("POSIX_ERROR_HANDLING", "y".to_owned()));
    }
    settings
}

/// Opens a device.
pub(crate) fn open(config: &UcxConfig) -> Result<Opened, DeviceError> {
    check_environment(config, |name| std::env::var(name).ok())?;
    let library = load(config)?;
    if config.transport == Transport::Shm {
        check_shared_memory()?;
    }
    // Where one-sided works are served by ourselves UCX need not offer to: its own way to serve them believes any address.
    let one_sided = matches!(config.transport, Transport::Shm | Transport::Rc);
    let context =
        Context::open(library, one_sided, &settings(config)).map_err(|e| refused(config, library, e))?;
    let worker = Worker::new(&context).map_err(|why| no_worker(config, library, why))?;
    let failed = |call| move |why: UcsStatus| DeviceError::Ucx { call, why: why.text(library) };
    let address = worker.address().map_err(failed("ucp_worker_query"))?;
    let own = Own::new(address.clone(), config.transport);
    if config.transport == Transport::Rc && !own.leaves() {
        let why = "there is no RDMA device, and UCX would reach nothing but this worker".to_owned();
        return Err(DeviceError::TransportUnavailable { transport: config.transport, on: on(config), why });
    }
    let mut control = None;
    if config.transport == Transport::Shm {
        let spec = RegionSpec::new(4 * WORDS as u64);
        let (region, mem) = context
            .allocate_region(&spec)
            .map_err(|why| DeviceError::Ucx { call: "ucp_mem_map", why: why.to_string() })?;
        let rkey = mem.pack_rkey().map_err(failed("ucp_rkey_pack"))?;
        control = Some((region, rkey));
    }
    let memory = control.as_ref().map(|(region, _)| Memory::of(region));
    let words = memory.as_ref().map(SharedWords::of);
    let settings = Settings {
        transport: config.transport,
        own,
        send_as: match config.protocol {
            Protocol::Auto => SendAs::Auto,
            Protocol::Eager => SendAs::Eager,
            Protocol::Rendezvous => SendAs::Rendezvous,
        },
        one_sided,
        peer_errors: config.transport != Transport::Loopback,
        nonce: nonce()?,
        process: process(),
        place: Place::Worker(address),
        control_addr: memory.map_or(0, |memory| memory.addr()),
        control_rkey: control.as_ref().map(|(_, rkey)| rkey.clone()).unwrap_or_default(),
        connect_timeout_ns: config.connect_timeout_ns,
    };
    let mut state = State::new(settings, Mrs::new(words), Watch::new()?);
    if let ConnectBy::Listener(on) = config.connect_by {
        state.listen(&worker, on).map_err(failed("ucp_listener_create"))?;
    }
    let shared = Arc::new(Shared::new(Core { state, worker })?);
    let understudy = Understudy::start(&shared, config.spin_ns, words)?;
    Ok(Opened { shared, understudy, context, control: control.map(|(region, _)| region) })
}

fn refused(config: &UcxConfig, library: &Library, error: ContextError) -> DeviceError {
    match error {
        ContextError::Environment(why) => DeviceError::Configuration {
            why: format!("{}; set are {}", why.text(library), set_variables().join(", ")),
        },
        ContextError::Setting(setting, why) => {
            DeviceError::Configuration { why: format!("UCX_{setting}: {}", why.text(library)) }
        }
        ContextError::Init(why) => unavailable(config, library, why),
    }
}

fn unavailable(config: &UcxConfig, library: &Library, why: UcsStatus) -> DeviceError {
    let set = set_variables();
    if why == UcsStatus::INVALID_PARAM && !set.is_empty() {
        return DeviceError::Configuration {
            why: format!("{}; set are {}", why.text(library), set.join(", ")),
        };
    }
    DeviceError::TransportUnavailable { transport: config.transport, on: on(config), why: why.text(library) }
}

/// The network devices that were asked for, as an error names them.
fn on(config: &UcxConfig) -> String {
    match config.devices.as_slice() {
        [] => String::new(),
        devices => format!(" on {}", devices.join(", ")),
    }
}

fn no_worker(config: &UcxConfig, library: &Library, why: UcsStatus) -> DeviceError {
    if config.transport == Transport::Shm
        && why == UcsStatus::NO_RESOURCE
        && let Err(full) = check_shared_memory()
    {
        return full;
    }
    unavailable(config, library, why)
}

/// The variables of the environment that UCX reads, but for how much it logs.
pub(crate) fn set_variables() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut names: Vec<String> =
        names.filter(|name| name.starts_with("UCX_") && name != "UCX_LOG_LEVEL").collect();
    names.sort();
    names
}

/// Bytes free in /dev/shm, if it is there.
pub(crate) fn shared_memory_free() -> Option<u64> {
    let stat = rustix::fs::statvfs("/dev/shm").ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Room for one more worker.
pub(crate) fn check_shared_memory() -> Result<(), DeviceError> {
    let Some(free_bytes) = shared_memory_free() else { return Ok(()) };
    match free_bytes < SHM_WORKER_BYTES {
        true => Err(DeviceError::SharedMemoryFull { free_bytes, need_bytes: SHM_WORKER_BYTES }),
        false => Ok(()),
    }
}

/// Variables that contradict what is asked for, or bring UCX down.
pub(crate) fn check_environment(
    config: &UcxConfig,
    get: impl Fn(&str) -> Option<String>,
) -> Result<(), DeviceError> {
    check_log_file(&get)?;
    let refuse =
        |name: &str, value: String, why| Err(DeviceError::Variable { name: name.to_owned(), value, why });
    if let Some(value) = get("UCX_TLS") {
        let names = value.split(',').map(str::trim);
        let ours: &[&str] = match config.transport {
            Transport::Tcp => &["all", "tcp"],
            Transport::Shm => &["all", "shm", "sm", "mm", "posix"],
            Transport::Loopback => &["all", "self"],
            Transport::Rc => &["all", "rc", "rc_v", "rc_verbs", "ib"],
        };
        let allows = names.clone().any(|name| ours.contains(&name));
        if !allows {
            return refuse("UCX_TLS", value, "it leaves out the transport that was asked for");
        }
    }
    if let Some(value) = get("UCX_NET_DEVICES")
        && !config.devices.is_empty()
        && value != "all"
        && config.devices.iter().any(|device| !value.split(',').any(|other| other.trim() == device))
    {
        return refuse("UCX_NET_DEVICES", value, "it leaves out a network device that was asked for");
    }
    if let Some(value) = get("UCX_PROTO_ENABLE")
        && !matches!(value.as_str(), "n" | "no" | "off" | "0")
    {
        return refuse(
            "UCX_PROTO_ENABLE",
            value,
            "UCX 1.13 aborts with it, and 1.16 and newer have it on by themselves",
        );
    }
    Ok(())
}

fn nonce() -> Result<u64, SystemError> {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => Ok(u64::from_ne_bytes(bytes)),
        Ok(_) => Err(SystemError { call: "getrandom(2)", errno: libc::EIO, advice: "" }),
        Err(e) => Err(SystemError { call: "getrandom(2)", errno: e.raw_os_error(), advice: "" }),
    }
}

/// This process, as its peers can compare it with theirs.
fn process() -> Process {
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Process {
        pid: std::process::id(),
        namespace: rustix::fs::stat("/proc/self/ns/pid").map_or(0, |stat| stat.st_ino),
        boot: crc32c::crc32c(&boot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_contradict_the_configuration_are_named() {
        let check = |transport, name: &'static str, value: &'static str| {
            let mut config = UcxConfig::new(transport);
            config.devices = if transport == Transport::Tcp { vec!["lo".to_owned()] } else { Vec::new() };
            check_environment(&config, |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(check(Transport::Tcp, "UCX_TLS", "tcp,self"), Ok(()));
        assert_eq!(check(Transport::Shm, "UCX_TLS", "all"), Ok(()));
        assert_eq!(check(Transport::Tcp, "UCX_NET_DEVICES", "eth0,lo"), Ok(()));
        for (transport, name, value) in [
            (Transport::Shm, "UCX_TLS", "tcp"),
            (Transport::Tcp, "UCX_NET_DEVICES", "eth0"),
            (Transport::Tcp, "UCX_PROTO_ENABLE", "y"),
        ] {
            let error = check(transport, name, value).expect_err("refused").to_string();
            assert!(error.starts_with(&format!("{name}={value}")) && error.ends_with("unset it"), "{error}");
        }
    }

    #[test]
    fn an_old_library_is_named_with_what_is_needed() {
        let error = check_version((1, 11, 2), || "1.11.2".to_owned()).expect_err("old").to_string();
        assert!(error.contains("UCX 1.11.2 is too old: 1.12 or newer"), "{error}");
        assert_eq!(check_version((1, 12, 0), || "1.12.0".to_owned()), Ok(()));
        assert_eq!(check_version((2, 0, 0), || "2.0.0".to_owned()), Ok(()));
    }

    #[test]
    fn a_log_file_that_cannot_be_made_is_refused_before_ucx_ends_the_process_over_it() {
        let check = |value: &str| check_log_file(|_| Some(value.to_owned()));
        for value in ["/nonexistent/ucx.log", "/proc/ucx.log/x", "/tmp"] {
            let error = check(value).expect_err("refused").to_string();
            assert!(error.starts_with(&format!("UCX_LOG_FILE={value}")), "{error}");
        }
        assert_eq!(check("/tmp/ucx.%p.log"), Ok(()));
        assert_eq!(check("ucx.log"), Ok(()));
        assert_eq!(check_log_file(|_| None), Ok(()));
    }

    #[test]
    fn an_absent_library_is_named_with_the_package_that_has_it() {
        let mut config = UcxConfig::new(Transport::Tcp);
        config.library = Some("/nowhere/libucp.so.0".into());
        let error = load(&config).expect_err("absent").to_string();
        assert!(error.contains("/nowhere/libucp.so.0") && error.contains("apt install libucx0"), "{error}");
    }
}
