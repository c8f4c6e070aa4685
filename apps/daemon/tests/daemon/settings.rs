//! Settings: what weighs more, and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;
use wavetank_daemon::{EngineConfig, Layer as _, Settings, read_key};
use wavetank_engine::BackendKind;
use wavetank_exchange::SharedKey;

fn written(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn from_toml(text: &str) -> Result<Settings, String> {
    let (_folder, path) = written(text);
    Settings::read(&path).map_err(|why| why.to_string())
}

/// On the mock, which is in every build.
fn config(text: &str) -> Result<EngineConfig, String> {
    let settings = from_toml(&format!("backend = \"mock\"\n{text}"))?;
    EngineConfig::new(&settings).map_err(|why| why.to_string())
}

#[test]
fn defaults_are_those_of_upstream() {
    let config = config("").unwrap();
    assert_eq!((config.engine_port, config.listen.to_string().as_str()), (18515, "127.0.0.1:18515"));
    assert_eq!((config.sessions_max, config.session_timeout.as_secs()), (1000, 300));
    assert_eq!(config.buffer_bytes, 1 << 30);
    assert_eq!(config.socket.path.to_str(), Some("/tmp/rdma-engine.sock"));
    assert_eq!(config.socket.mode, 0o600);
}

#[test]
fn flags_weigh_more_than_the_file() {
    let file =
        from_toml("port = 7\nmax-sessions = 9\nexport = [\"/a\", \"/b\"]\nbuffer-size = \"64MiB\"").unwrap();
    let flags = Settings { port: Some(8), ..Settings::default() };
    let both = flags.over(file.clone());
    assert_eq!((both.port, both.max_sessions), (Some(8), Some(9)));
    assert_eq!(both.export, file.export);
    assert_eq!(both.buffer_size.map(|size| size.as_u64()), Some(64 << 20));
    assert_eq!(from_toml(&both.to_toml().unwrap()).unwrap(), both, "what is shown can be read back");
}

#[test]
fn what_a_file_cannot_say_is_refused_with_its_place() {
    for (text, says) in [
        ("prot = 1", "unknown field `prot`"),
        ("\n\nport = 65536", "line 3"),
        ("port = \"x\"", "invalid type"),
        ("way = \"sideways\"", "sideways"),
        ("debug", "expected"),
    ] {
        let said = from_toml(text).unwrap_err();
        assert!(said.contains(says) && said.contains("engine.toml"), "{text}: {said}");
    }
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    for (text, says) in [
        ("max-sessions = 0", "max-sessions: 0 is not within"),
        ("session-timeout = 18446744073709551615", "is not within 1 to 604800"),
        ("session-timeout = 9223372036854775807", "session-timeout"),
        ("buffer-size = 1", "buffer-size"),
        ("segment-cache = 5", "segment-cache"),
        ("peers = [\"host\"]", "\"host\" is no HOST:PORT"),
        ("peers = [\":18515\"]", "is no HOST:PORT"),
        ("export = [\"/no/such/folder\"]", "export: /no/such/folder is no directory"),
        ("ipc-mode = \"999\"", "ipc-mode"),
        ("ipc-allow = [\"nobody-has-this-name\"]", "there is no user"),
        ("ipc-group = \"nobody-has-this-name\"", "there is no group"),
        ("metrics = \"0.0.0.0:1\"", "metrics: 0.0.0.0:1 is not loopback"),
        ("metrics = \"here\"", "is no ADDRESS:PORT"),
        ("device = \"mlx5_0\"", "the mock has no devices"),
        ("key-file = \"/no/such/key\"", "key-file: /no/such/key"),
        ("listen = \"0.0.0.0\"", "there is no key"),
    ] {
        let said = config(text).map(drop).unwrap_err();
        assert!(said.contains(says), "{text}: {said}");
    }
    let long = format!("ipc-socket = \"/{}\"", "x".repeat(107));
    assert!(config(&long).unwrap_err().contains("longer than 107"));
    assert!(config("listen = \"0.0.0.0\"\nallow-unauthenticated = true").is_ok());
}

#[test]
fn the_mock_is_never_chosen_by_itself() {
    match EngineConfig::new(&Settings::default()) {
        Ok(config) => assert_ne!(config.backend, BackendKind::Mock),
        Err(why) => assert!(why.to_string().contains("--backend mock"), "{why}"),
    }
    let quick = Settings { backend: Some("quick".to_owned()), ..Settings::default() };
    assert!(EngineConfig::new(&quick).unwrap_err().to_string().contains("mock, verbs, ucx"));
}

#[test]
fn a_key_is_read_only_from_a_file_that_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let try_key = |text: &str, mode: u32| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        read_key(&path).map_err(|why| why.to_string())
    };
    let key = try_key("0123456789abcdef\n", 0o600).unwrap();
    assert_eq!(key, SharedKey::new(b"0123456789abcdef").unwrap());
    assert!(!format!("{key:?}").contains("0123"), "a key is not printed");
    assert!(try_key("0123456789abcdef", 0o640).unwrap_err().contains("chmod 0600"));
    assert!(try_key("short", 0o600).unwrap_err().contains("it has 16 to 1024"));
    assert!(try_key(&"x".repeat(5000), 0o600).unwrap_err().contains("it has 16 to 1024"));
    assert!(read_key(folder.path()).unwrap_err().to_string().contains("regular"));
}
