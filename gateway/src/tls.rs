//! HTTPS: certificate and key from PEM files.

use crate::config::Tls;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;

/// Why HTTPS cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}; give a PEM file in --tls-cert and its key in --tls-key")]
pub struct TlsError {
    path: String,
    why: String,
}

pub(crate) fn server_config(tls: &Tls) -> Result<ServerConfig, TlsError> {
    let failed = |path: &Path, why: String| TlsError { path: path.display().to_string(), why };
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(&tls.certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(failed(&tls.certificate, "it holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| failed(&tls.key, error.to_string()))?;
    // Named here, so that another provider in the dependency tree changes nothing.
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| failed(&tls.certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
