use std::sync::Arc;

use foreman_protocol::BaseUrl;
use sha2::{Digest as _, Sha256};

/// Which daemon a service reaches, and as whom: a base URL, and a digest of the token.
///
/// Job ids and idempotency keys mean nothing at another daemon, and nothing under another token of the same daemon. A submission that may
/// have arrived therefore stays with the services of one identity. [`Api::daemon_id`](crate::Api::daemon_id) returns it.
///
/// Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonId(Arc<Identity>);

#[derive(Debug, PartialEq, Eq)]
struct Identity {
    base_url: BaseUrl,
    /// A digest, so that `Debug` shows nothing of the token.
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
