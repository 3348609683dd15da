use std::sync::Arc;

use foreman_protocol::json::{null_is_absent, raw};
use http::Uri;
use http::uri::Authority;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Artifact, Error, JobId, Message};

/// One start of one job, as a backend gets it.
///
/// What was submitted is kept byte for byte: each message, `tools`, `options` and `think`. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Chat {
    job_id: JobId,
    attempt: u64,
    draft: Arc<Draft>,
}

/// The body of `POST /jobs`.
#[derive(Debug, Deserialize)]
pub(crate) struct Draft {
    #[serde(default, deserialize_with = "null_is_absent")]
    pub(crate) model: String,
    #[serde(default, deserialize_with = "null_is_absent")]
    messages: Vec<Message>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    tools: Option<Box<RawValue>>,
    #[serde(default)]
    options: Option<Box<RawValue>>,
    #[serde(default)]
    think: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) state_webhook_url: Option<String>,
}

impl Draft {
    /// The callback URL, checked: absolute, http or https, with a host and without a user.
    pub(crate) fn webhook(&self) -> Result<Option<Uri>, Error> {
        let refused = |why: &'static str| Err(Error::invalid("state_webhook_url", why));
        let Some(url) = &self.state_webhook_url else { return Ok(None) };
        let Ok(uri) = url.parse::<Uri>() else { return refused("is not a URL") };
        match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
                refused("must not hold a user or a password")
            }
            (Some("http" | "https"), Some(authority)) if !has_port(authority) => {
                refused("must have a port from 1 to 65535, or none")
            }
            (Some("http"), Some(authority)) if !authority.host().is_empty() => Ok(Some(uri)),
            (Some("https"), Some(authority)) if !authority.host().is_empty() => {
                if cfg!(feature = "tls") {
                    Ok(Some(uri))
                } else {
                    refused("is https, which this daemon cannot send to")
                }
            }
            _ => refused("must be an absolute http or https URL"),
        }
    }
}

impl Chat {
    pub(crate) fn new(job_id: JobId, attempt: u64, draft: Arc<Draft>) -> Self {
        Self { job_id, attempt, draft }
    }

    /// A chat out of the body of a submission: what a test of a backend begins with.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] if it is not such a body.
    pub fn from_json(job_id: JobId, attempt: u64, body: &[u8]) -> Result<Self, Error> {
        let draft = serde_json::from_slice(body)
            .map_err(|error| Error::invalid("body", "is not a submission").with_source(error))?;
        Ok(Self::new(job_id, attempt, Arc::new(draft)))
    }

    /// The job that this is a start of.
    #[must_use]
    pub fn job_id(&self) -> &JobId {
        &self.job_id
    }

    /// Which start it is; the first is 1.
    #[must_use]
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// The model asked for; never empty.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.draft.model
    }

    /// The conversation.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.draft.messages
    }

    /// `stream`, if it was set. A job has one result either way.
    #[must_use]
    pub fn stream(&self) -> Option<bool> {
        self.draft.stream
    }

    /// `tools`, if they were set.
    #[must_use]
    pub fn tools(&self) -> Option<&RawValue> {
        self.draft.tools.as_deref()
    }

    /// `options`, if they were set.
    #[must_use]
    pub fn options(&self) -> Option<&RawValue> {
        self.draft.options.as_deref()
    }

    /// `think`, if it was set.
    #[must_use]
    pub fn think(&self) -> Option<&RawValue> {
        self.draft.think.as_deref()
    }
}

/// What a backend made of a [`Chat`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChatAnswer {
    /// The job's `result`: Ollama's chat response, byte for byte.
    pub result: Box<RawValue>,
    /// What was made beside it.
    pub artifacts: Vec<Artifact>,
}

impl ChatAnswer {
    /// An answer that is JSON already.
    #[must_use]
    pub fn new(result: Box<RawValue>) -> Self {
        Self { result, artifacts: Vec::new() }
    }

    /// An answer given as any value that can be JSON.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] if it cannot.
    pub fn from_value(result: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        Ok(Self::new(raw("result", result)?))
    }

    /// The same with one more artifact.
    #[must_use]
    pub fn artifact(mut self, artifact: Artifact) -> Self {
        self.artifacts.push(artifact);
        self
    }
}

/// Whether what is behind the host is a port, or nothing. What is none is ignored by whoever asks for the port.
fn has_port(authority: &Authority) -> bool {
    match authority.as_str().strip_prefix(authority.host()) {
        Some("" | ":") => true,
        Some(_) => authority.port_u16().is_some_and(|port| port > 0),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(json: &str) -> Draft {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn callback_urls_are_absolute_http_without_a_user() {
        for url in ["http://h/p?q=1", "http://[::1]:80/", "http://127.0.0.1:1/x"] {
            let draft = draft(&format!(r#"{{"model":"m","state_webhook_url":"{url}"}}"#));
            assert_eq!(draft.webhook().unwrap().unwrap().to_string(), url);
        }
        for url in ["", "/p", "h", "ftp://h/", "http://", "http:///p", "http://u:p@h/", "http://h h/", "*"] {
            let draft = draft(&format!(r#"{{"model":"m","state_webhook_url":"{url}"}}"#));
            let error = draft.webhook().unwrap_err().to_string();
            assert!(error.starts_with("invalid state_webhook_url: "), "{url}: {error}");
        }
        assert_eq!(draft(r#"{"model":"m","state_webhook_url":null}"#).webhook().unwrap(), None);
    }

    #[test]
    fn a_port_that_is_none_is_not_taken_for_80() {
        let webhook = |url| draft(&format!(r#"{{"model":"m","state_webhook_url":"{url}"}}"#)).webhook();
        for url in ["http://h:1/", "http://h:/", "http://[::1]:65535/", "http://[::1]"] {
            assert!(webhook(url).unwrap().is_some(), "{url}");
        }
        for url in
            ["http://h:0/", "http://h:65536/", "http://h:x/", "http://[::1]x/", "http://[::1]80/", "http://[::1]:x"]
        {
            let error = webhook(url).unwrap_err().to_string();
            assert_eq!(error, "invalid state_webhook_url: must have a port from 1 to 65535, or none", "{url}");
        }
    }

    #[test]
    fn what_was_submitted_is_kept_byte_for_byte() {
        let body =
            br#"{"model":"m","messages":[{"b":1.0,"a":"\u00e4"}],"tools":[ 1 ],"options":{"t":1e0},"think":null}"#;
        let chat = Chat::from_json(JobId::new("7").unwrap(), 1, body).unwrap();
        assert_eq!(chat.messages()[0].as_json(), r#"{"b":1.0,"a":"\u00e4"}"#);
        assert_eq!(chat.tools().unwrap().get(), "[ 1 ]");
        assert_eq!(chat.options().unwrap().get(), r#"{"t":1e0}"#);
        assert!(chat.think().is_none() && chat.stream().is_none());
    }
}
