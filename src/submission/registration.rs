use std::sync::Arc;

use foreman_protocol::BaseUrl;

use super::daemon_id::DaemonId;
use super::keep_alive::WaitOwner;
use super::shared::SharedSubmission;
use super::token::TokenId;

/// The owner that sends a submission. It stays the same once the submission may have arrived, so that every attempt sends the same
/// bytes to the same daemon.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) owner: Arc<dyn WaitOwner>,
    pub(super) token: Option<TokenId>,
    /// The submission names the event stream of the owner.
    pub(super) streamed: bool,
}

impl Registration {
    pub(super) fn is_of_same_daemon(&self, owner: &Arc<dyn WaitOwner>) -> bool {
        let same_id = || self.owner.daemon().is_some_and(|daemon| Some(daemon) == owner.daemon());
        Arc::ptr_eq(&self.owner, owner) || same_id()
    }
}

impl SharedSubmission {
    /// `None` until it is registered with an owner that has webhooks.
    pub(super) fn callback_url(&self) -> Option<String> {
        let locked = self.lock();
        let registration = locked.registration.as_ref()?;
        Some(registration.owner.callback_url(registration.token?))
    }

    /// The daemon that it is sent to, if it was sent by an owner that knows it.
    pub(crate) fn daemon_id(&self) -> Option<DaemonId> {
        self.lock().registration.as_ref()?.owner.daemon().cloned()
    }

    /// Its base URL.
    pub(crate) fn daemon(&self) -> Option<BaseUrl> {
        self.daemon_id().map(|daemon| daemon.base_url().clone())
    }
}
