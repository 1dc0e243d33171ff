//! TLS of the gateway listeners.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::StartError;
use crate::config::Gateway;

/// What `[gateway]` asks for; `None` without a certificate.
pub(super) fn load(gateway: &Gateway) -> Result<Option<Arc<ServerConfig>>, StartError> {
    let (Some(cert), Some(key)) = (&gateway.tls_cert, &gateway.tls_key) else { return Ok(None) };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, &error))?;
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let config = config.map_err(|error| bad(cert, &error))?;
    let config = match &gateway.client_ca {
        None => config.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| bad(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            config.with_client_cert_verifier(verifier.map_err(|error| bad(path, &error))?)
        }
    };
    Ok(Some(Arc::new(config.with_single_cert(chain, private).map_err(|error| bad(cert, &error))?)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| bad(path, &error))?;
    if certificates.is_empty() { Err(bad(path, &"holds no certificate")) } else { Ok(certificates) }
}

fn bad(path: &Path, reason: &dyn std::fmt::Display) -> StartError {
    StartError::Tls { path: path.to_owned(), reason: reason.to_string() }
}
