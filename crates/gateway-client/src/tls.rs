//! The client side of TLS: rustls with ring, trusting the machine's authorities or those of a file.

use crate::ClientError;
use hyper_rustls::ConfigBuilderExt;
use rustls::client::WantsClientCert;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use std::path::Path;
use std::sync::Arc;

/// Trusts the authorities of a PEM file, or the machine's when there is none.
pub fn trusting(ca: Option<&Path>) -> Result<ClientConfig, ClientError> {
    let builder = builder()?;
    let builder: ConfigBuilder<ClientConfig, WantsClientCert> = match ca {
        None => builder.with_native_roots().map_err(|error| ClientError::Tls(error.to_string()))?,
        Some(path) => builder.with_root_certificates(authorities(path)?),
    };
    Ok(builder.with_no_client_auth())
}

/// Trusts nobody, for URLs without TLS.
pub(crate) fn trusting_nobody() -> Result<ClientConfig, ClientError> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, ClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Tls(error.to_string()))
}

fn authorities(path: &Path) -> Result<RootCertStore, ClientError> {
    let fail = |why: &dyn std::fmt::Display| ClientError::Tls(format!("{}: {why}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| fail(&error))? {
        roots.add(certificate.map_err(|error| fail(&error))?).map_err(|error| fail(&error))?;
    }
    if roots.is_empty() {
        return Err(fail(&"no certificate in it"));
    }
    Ok(roots)
}
