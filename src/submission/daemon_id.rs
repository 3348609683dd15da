use std::fmt;
use std::sync::Arc;

use foreman_protocol::BaseUrl;
use sha2::{Digest as _, Sha256};

/// Which daemon a service reaches, and as whom: a base URL, and a digest of the token.
///
/// Job ids and idempotency keys mean nothing at another daemon, and nothing under another token of the same daemon. A submission that may
/// have arrived therefore stays with the services of one identity. [`Api::daemon_id`](crate::Api::daemon_id) returns it.
///
/// Cloning is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct DaemonId(Arc<Identity>);

#[derive(PartialEq, Eq)]
struct Identity {
    base_url: BaseUrl,
    /// A digest.
    token: Option<[u8; 32]>,
}

impl DaemonId {
    pub(crate) fn new(base_url: BaseUrl, authorization: Option<&[u8]>) -> Self {
        Self(Arc::new(Identity { base_url, token: authorization.map(|value| Sha256::digest(value).into()) }))
    }

    /// The base URL of the daemon.
    #[must_use]
    pub fn base_url(&self) -> &BaseUrl {
        &self.0.base_url
    }
}

/// A daemon that is reached without a token.
impl From<BaseUrl> for DaemonId {
    fn from(base_url: BaseUrl) -> Self {
        Self::new(base_url, None)
    }
}

/// A short token can be found from its digest.
impl fmt::Debug for DaemonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DaemonId")
            .field("base_url", &self.0.base_url)
            .field("has_token", &self.0.token.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_has_nothing_of_the_token() {
        let url = BaseUrl::parse("url", "http://h").unwrap();
        let with_token = format!("{:?}", DaemonId::new(url.clone(), Some(b"Bearer a")));
        assert_eq!(with_token, format!("{:?}", DaemonId::new(url.clone(), Some(b"Bearer b"))));
        assert_ne!(with_token, format!("{:?}", DaemonId::from(url)));
    }
}
