use std::time::Duration;

use super::Ollama;
use crate::Error;
use crate::backend::http::ModelServer;
use crate::backend::limits::BackendLimits;

/// Sets the limits of an [`Ollama`].
#[derive(Debug, Clone)]
#[must_use]
pub struct OllamaBuilder {
    url: String,
    limits: BackendLimits,
}

impl OllamaBuilder {
    pub(super) fn new(url: String) -> Self {
        Self { url, limits: BackendLimits::default() }
    }

    /// How long connecting may take; 5 s unless set.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// How long the first part of an answer may take, since a model may have to be loaded first; 5 min unless set.
    pub fn first_stall(mut self, limit: Duration) -> Self {
        self.limits.first = limit;
        self
    }

    /// How long each further part may take; 60 s unless set. Some models' tool calls come in one part, when they are whole.
    pub fn stall(mut self, limit: Duration) -> Self {
        self.limits.stall = limit;
        self
    }

    /// How long a whole attempt may take, from connecting to the end of the answer; no limit unless set.
    pub fn attempt_timeout(mut self, limit: Duration) -> Self {
        self.limits.attempt = Some(limit);
        self
    }

    /// The largest answer in bytes, as it is sent; 64 MiB unless set.
    pub fn answer_limit(mut self, bytes: usize) -> Self {
        self.limits.answer = bytes;
        self
    }

    /// The backend.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid_config`] for a URL that is none, for `https` in a build without the feature `tls` or on a machine without
    /// root certificates, and for a limit of zero. That nobody listens there is found out by the first chat.
    pub fn build(self) -> Result<Ollama, Error> {
        Ok(Ollama::of(ModelServer::new(&self.url, None, self.limits)?))
    }
}
