//! Serving over TLS, with a real handshake: rustls on both sides, certificates by openssl, which has to be on PATH.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use wavetank_sidecar::{RunError, Settings, SidecarConfig, begin};

use crate::world::{World, file, pattern, plain};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A certificate of this host by itself, and its key. Nothing where there is no openssl.
fn certificate(folder: &Path, name: &str) -> Option<(PathBuf, PathBuf)> {
    let (cert, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]);
    command.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    command.arg("-keyout").arg(&key).arg("-out").arg(&cert).stdin(Stdio::null());
    let Ok(made) = command.output() else {
        #[expect(clippy::print_stderr, reason = "a test that did not run says so")]
        {
            eprintln!("NOT RUN: there is no openssl on PATH");
        }
        return None;
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some((cert, key))
}

/// Who trusts this certificate and no other.
fn trusting(cert: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Asks for something over TLS: the whole answer.
async fn ask(world: &World, who: &TlsConnector, path: &str) -> std::io::Result<Vec<u8>> {
    let exchange = async {
        let stream = TcpStream::connect(world.address).await?;
        let mut stream = who.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(answer)
    };
    timeout(PATIENCE, exchange).await.expect("it ends")
}

async fn world(data: &[u8], more: Settings) -> Option<(World, TempDir, PathBuf)> {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path(), "own")?;
    let settings = Settings { tls_cert: Some(cert.clone()), tls_key: Some(key), ..more };
    Some((World::of(&[plain(1, data)], settings).await, folder, cert))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_trusts_the_certificate_reads_and_nobody_else_does() {
    let data = pattern(5, 3_000_000);
    let Some((world, folder, cert)) = world(&data, Settings::default()).await else { return };
    let path = format!("/read?file_id={}", file(1));
    let answer = ask(&world, &trusting(&cert), &path).await.unwrap();
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(answer[head + 4..] == data, "WRONG BYTES over TLS");
    let (other, _) = certificate(folder.path(), "other").unwrap();
    let why = ask(&world, &trusting(&other), &path).await.unwrap_err().to_string();
    assert!(why.contains("certificate"), "{why}");
    // In the open nothing is said.
    let mut open = TcpStream::connect(world.address).await.unwrap();
    open.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let _ = timeout(PATIENCE, open.read_to_end(&mut said)).await.expect("it ends");
    assert!(!said.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&said));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_shake_hands_is_cut_off_in_time() {
    let settings = Settings { head_timeout_ms: Some(500), ..Settings::default() };
    let Some((world, _folder, cert)) = world(b"data", settings).await else { return };
    let (mut silent, begun) = (TcpStream::connect(world.address).await.unwrap(), Instant::now());
    let mut said = Vec::new();
    let _ = timeout(PATIENCE, silent.read_to_end(&mut said)).await.expect("it is cut off");
    assert!(said.is_empty() && begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    let answer = ask(&world, &trusting(&cert), "/health").await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "others are served");
}

#[tokio::test]
async fn a_certificate_and_a_key_that_are_none_or_not_of_each_other_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (Some((cert, _)), Some((_, key))) =
        (certificate(folder.path(), "one"), certificate(folder.path(), "two"))
    else {
        return;
    };
    for (cert, key) in [(cert.clone(), key.clone()), (key, cert.clone()), (cert.clone(), cert)] {
        let settings =
            Settings { port: Some(0), tls_cert: Some(cert), tls_key: Some(key), ..Settings::default() };
        let running = begin(SidecarConfig::new(&settings).unwrap(), None).await.unwrap();
        let ended =
            timeout(PATIENCE, running.serve(std::future::pending())).await.expect("it does not serve");
        assert!(matches!(ended, Err(RunError::Tls(_))), "{ended:?}");
    }
}
