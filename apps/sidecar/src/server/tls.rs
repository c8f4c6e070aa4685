//! TLS, where a build has it.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;

use super::RunError;

/// Accepts TLS with this certificate chain and key.
pub(super) fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, RunError> {
    let bad = |path: &Path, why: String| RunError::Tls(format!("{}: {why}", path.display()));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
    let chain = chain.map_err(|why| bad(cert, why.to_string()))?;
    if chain.is_empty() {
        return Err(bad(cert, "there is no certificate in it".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|why| bad(key, why.to_string()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|why| bad(key, why.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
