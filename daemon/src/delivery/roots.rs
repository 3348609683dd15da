use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::Error;

/// Configured root certificates, in addition to those of the operating system.
#[derive(Debug, Clone)]
pub(crate) struct Roots(RootCertStore);

impl Roots {
    pub(crate) fn none() -> Self {
        Self(RootCertStore::empty())
    }

    /// Reads PEM with at least one certificate. An error names the option of the builder.
    pub(crate) fn from_pem(option: &'static str, pem: &[u8]) -> Result<Self, Error> {
        let invalid = |reason: &'static str| Error::config(option, reason);
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| invalid("is not PEM").with_source(error))?;
            let added = roots.add(certificate);
            added.map_err(|error| invalid("has a certificate that cannot be read").with_source(error))?;
        }
        if roots.is_empty() {
            return Err(invalid("has no certificate"));
        }
        Ok(Self(roots))
    }

    /// These and those of the operating system.
    pub(crate) fn with_system(&self) -> RootCertStore {
        let mut roots = self.0.clone();
        crate::tls::add_system_roots(&mut roots);
        roots
    }
}
