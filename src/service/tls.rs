//! TLS: the certificate of the server, and optionally certificates of clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::error::{Error, Result};

/// The files of certificates, in PEM format.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate of the server, with intermediate certificates.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// The certificate authorities of clients; if present, clients need a certificate.
    pub client_authorities: Option<PathBuf>,
}

/// Reads the files and builds the TLS configuration.
///
/// # Errors
/// If a file cannot be read, or certificate and key do not match.
pub fn server(files: &Files) -> Result<Arc<ServerConfig>> {
    let wrong = |path: &Path, what: &str| Error::usage(format!("`{}`: {what}", path.display()));
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| {
        wrong(&files.key, "contains no private key in PEM format").with_source(error)
    })?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("TLS is not available").with_source(error))?;
    let builder = match &files.client_authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| {
                    wrong(path, "holds a certificate that cannot be used").with_source(error)
                })?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| wrong(path, "cannot be used").with_source(error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        wrong(
            &files.certificate,
            "the certificate and the key do not go together",
        )
        .with_source(error)
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |what: &str| Error::usage(format!("`{}`: {what}", path.display()));
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| wrong("cannot be read").with_source(error))?
        .collect();
    let found =
        found.map_err(|error| wrong("contains a damaged certificate").with_source(error))?;
    if found.is_empty() {
        return Err(wrong("contains no certificate in PEM format"));
    }
    Ok(found)
}
