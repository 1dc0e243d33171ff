//! TLS.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// A file is not a list of certificates in PEM.
#[derive(Debug, thiserror::Error)]
#[error("{0}: not certificates in PEM: {1}")]
pub struct BadTrustAnchors(String, String);

/// A connector that trusts the public authorities, and those in this file.
///
/// # Errors
/// [`BadTrustAnchors`].
pub(crate) fn connector(more: Option<&Path>) -> Result<TlsConnector, BadTrustAnchors> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = more {
        let bad = |error: &dyn std::fmt::Display| BadTrustAnchors(path.display().to_string(), error.to_string());
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(&error))? {
            roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| BadTrustAnchors("TLS".to_owned(), error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
