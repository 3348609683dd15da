use std::time::Duration;

use http::HeaderValue;

use super::OpenAi;
use crate::Error;
use crate::backend::http::ModelServer;
use crate::backend::limits::BackendLimits;

/// Sets the key and the limits of an [`OpenAi`].
#[derive(Debug, Clone)]
#[must_use]
pub struct OpenAiBuilder {
    url: String,
    key: Option<Key>,
    limits: BackendLimits,
}

/// The header that shows the key, or nothing if the key cannot be in one.
#[derive(Debug, Clone)]
struct Key(Option<HeaderValue>);

impl Key {
    fn new(key: &str) -> Self {
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Self(None);
        }
        let mut header = HeaderValue::try_from(format!("Bearer {key}")).ok();
        if let Some(header) = &mut header {
            header.set_sensitive(true);
        }
        Self(header)
    }
}

impl OpenAiBuilder {
    pub(super) fn new(url: String) -> Self {
        Self { url, key: None, limits: BackendLimits::default() }
    }

    /// Sends `Authorization: Bearer KEY`.
    pub fn api_key(mut self, key: impl AsRef<str>) -> Self {
        self.key = Some(Key::new(key.as_ref()));
        self
    }

    /// How long connecting may take; 5 s unless set.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// How long it may take until the model speaks, since it may have to be loaded first; 5 min unless set.
    pub fn first_stall(mut self, limit: Duration) -> Self {
        self.limits.first = limit;
        self
    }

    /// How long each further part may take; 60 s unless set. What a server sends to keep the connection alive is no part.
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
    /// root certificates, for a key that is empty or not visible ASCII, and for a limit of zero. That nobody listens there is
    /// found out by the first chat.
    pub fn build(self) -> Result<OpenAi, Error> {
        let bearer = match self.key {
            Some(Key(None)) => return Err(Error::config("api_key", "must be visible ASCII without blanks")),
            Some(Key(header)) => header,
            None => None,
        };
        Ok(OpenAi::of(ModelServer::new(&self.url, bearer, self.limits)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_checked_and_never_shown() {
        for key in ["", "a b", "ä", "a\n"] {
            let error = OpenAi::builder("http://h").api_key(key).build().unwrap_err();
            assert_eq!(error.to_string(), "invalid api_key: must be visible ASCII without blanks");
        }
        let builder = OpenAi::builder("http://h").api_key("secret-7");
        let shown = format!("{builder:?} {:?}", builder.clone().build().unwrap());
        assert!(!shown.contains("secret-7"), "{shown}");
    }

    #[test]
    fn urls_are_checked() {
        assert!(OpenAi::new("h").unwrap_err().to_string().starts_with("invalid url: "));
    }
}
