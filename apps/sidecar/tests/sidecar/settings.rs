//! Settings: what weighs more, and what is refused.

use std::path::PathBuf;

use clap::{Args as _, Command, FromArgMatches as _};
use tempfile::TempDir;
use wavetank_sidecar::{Fallback, Layer as _, Settings, SidecarConfig};

fn written(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sidecar.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn from_toml(text: &str) -> Result<Settings, String> {
    let (_folder, path) = written(text);
    Settings::read(&path).map_err(|why| why.to_string())
}

fn from_flags(flags: &[&str]) -> Settings {
    let command = Settings::augment_args(Command::new("sidecar"));
    Settings::from_arg_matches(&command.get_matches_from([&["sidecar"], flags].concat())).unwrap()
}

#[test]
fn flags_weigh_more_than_the_file_and_defaults_least() {
    let file = from_toml("port = 7\nmaster = [\"a:9333\", \"b:9333\"]\nmax-read = \"1MiB\"").unwrap();
    let both = from_flags(&["-p", "9", "--fallback", "off"]).over(file);
    let config = SidecarConfig::new(&both).unwrap();
    assert_eq!((config.listen.to_string().as_str(), config.reads.bytes_max), ("127.0.0.1:9", 1 << 20));
    assert_eq!((config.lookup.masters.len(), both.fallback), (2, Some(Fallback::Off)));
    assert_eq!(from_toml(&both.to_toml().unwrap()).unwrap(), both, "what is shown can be read back");
    let usual = SidecarConfig::new(&Settings::default()).unwrap();
    assert_eq!(usual.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(usual.engine.unwrap().path.to_str(), Some("/tmp/rdma-engine.sock"));
    assert!(usual.reads.total.as_secs() < 5, "a mount waits for five");
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    for (text, says) in [
        ("master = [\"http://a:9333/x\"]", "master: "),
        ("volume-server = \"a\"", "volume-server: "),
        ("allow-volume-server = [\"http://a\"]", "allow-volume-server: "),
        ("timeout-ms = 1000", "timeout-ms: 1000 ms"),
        ("engine-timeout-ms = 0", "engine-timeout-ms: 0 is not within"),
        ("max-read = \"2GiB\"", "max-read: "),
        ("temp-dir = \"relative\"", "temp-dir: "),
        ("tls-cert = \"/a\"", "tls-"),
        ("requests = 0", "requests: 0 is not within"),
        ("token-file = \"/no/such/file\"", "token-file: /no/such/file"),
        ("enable-rdma = false\nfallback = \"off\"", "there is nothing to read from"),
        ("listen = \"192.0.2.1\"", "there is no token"),
    ] {
        let said = SidecarConfig::new(&from_toml(text).unwrap()).map(drop).unwrap_err().to_string();
        assert!(said.contains(says), "{text}: {said}");
    }
    for (text, says) in [("prot = 1", "unknown field `prot`"), ("\n\nport = 65536", "line 3")] {
        let said = from_toml(text).unwrap_err();
        assert!(said.contains(says) && said.contains("sidecar.toml"), "{text}: {said}");
    }
}
