use std::marker::PhantomData;
use std::time::Duration;

use super::api_key::ApiKey;
use super::limits::BackendLimits;
use super::{ModelApi, ModelBackend, ModelServer};
use crate::Error;

/// Configures a [`ModelBackend`]: [`OllamaBuilder`](crate::OllamaBuilder) or [`OpenAiBuilder`](crate::OpenAiBuilder).
#[derive(Debug, Clone)]
#[must_use]
pub struct ModelBackendBuilder<A> {
    url: String,
    pub(in crate::backend) api_key: Option<ApiKey>,
    limits: BackendLimits,
    api: PhantomData<A>,
}

impl<A: ModelApi> ModelBackendBuilder<A> {
    pub(super) fn new(url: String) -> Self {
        Self { url, api_key: None, limits: BackendLimits::default(), api: PhantomData }
    }

    /// The time limit for connecting: name resolution, TCP and TLS together. Default: 5 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// The time limit for the first part of a response. It includes the time in which the server loads the model, has other
    /// requests to run, and reads the prompt. Default: 10 min.
    pub fn first_stall(mut self, limit: Duration) -> Self {
        self.limits.first = limit;
        self
    }

    /// The time limit for each further part of a response. Some models send a tool call as one part, once it is complete.
    /// Keep-alive comments and empty lines are no parts. Default: 2 min.
    pub fn stall(mut self, limit: Duration) -> Self {
        self.limits.stall = limit;
        self
    }

    /// The time limit for a whole attempt, from connecting to the end of the response, so that a model that never ends does not
    /// hold a worker. It is final: the job fails without a further attempt. `None` is no limit. Default: 1 h.
    pub fn attempt_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limits.attempt = limit.into();
        self
    }

    /// The size limit of a response, in bytes as received. Default: 64 MiB.
    pub fn response_limit(mut self, bytes: usize) -> Self {
        self.limits.response = bytes;
        self
    }

    /// Builds the backend. It connects when it is first called, not here.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid_config`] for an invalid URL, for `https` without the feature `tls` or on a machine without root
    /// certificates, for an API key that is empty or not visible ASCII, and for a limit of zero. A server that is not
    /// running is not an error here.
    pub fn build(self) -> Result<ModelBackend<A>, Error> {
        let authorization = self.api_key.map(ApiKey::into_header).transpose()?;
        Ok(ModelBackend::from_server(ModelServer::new(&self.url, authorization, self.limits)?))
    }
}
