use foreman_protocol::json::null_is_absent;
use http::Uri;
use http::uri::Authority;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{InvalidValue, Message};

/// What a job runs: the body of `POST /jobs`.
#[derive(Debug, Deserialize)]
pub(crate) struct JobSpec {
    #[serde(default, deserialize_with = "null_is_absent")]
    pub(crate) model: String,
    #[serde(default, deserialize_with = "null_is_absent")]
    pub(crate) messages: Vec<Message>,
    #[serde(default)]
    pub(crate) stream: Option<bool>,
    #[serde(default)]
    pub(crate) tools: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) options: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) think: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) state_webhook_url: Option<String>,
    #[serde(default)]
    pub(crate) event_stream: Option<String>,
}

impl JobSpec {
    /// The checked callback URL: absolute, `http` or `https`, with a host, without user and password.
    pub(crate) fn webhook(&self) -> Result<Option<Uri>, InvalidValue> {
        let invalid = |reason: &'static str| Err(InvalidValue::new("state_webhook_url", reason));
        let Some(url) = &self.state_webhook_url else { return Ok(None) };
        let Ok(uri) = url.parse::<Uri>() else { return invalid("is not a URL") };
        match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
                invalid("must not contain a user or password")
            }
            (Some("http" | "https"), Some(authority)) if !has_port(authority) => {
                invalid("must have a port from 1 to 65535, or none")
            }
            (Some("http"), Some(authority)) if !authority.host().is_empty() => Ok(Some(uri)),
            (Some("https"), Some(authority)) if !authority.host().is_empty() => {
                if cfg!(feature = "tls") {
                    Ok(Some(uri))
                } else {
                    invalid("is https, but this daemon has no TLS (feature `tls`)")
                }
            }
            _ => invalid("must be an absolute http or https URL"),
        }
    }
}

/// Whether the text after the host is empty or a valid port. `http` parses an invalid port as no port.
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

    fn submission(json: &str) -> JobSpec {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn callback_url_is_absolute_http_without_user() {
        for url in ["http://h/p?q=1", "http://[::1]:80/", "http://127.0.0.1:1/x"] {
            let submission = submission(&format!(r#"{{"model":"m","state_webhook_url":"{url}"}}"#));
            assert_eq!(submission.webhook().unwrap().unwrap().to_string(), url);
        }
        for url in ["", "/p", "h", "ftp://h/", "http://", "http:///p", "http://u:p@h/", "http://h h/", "*"] {
            let submission = submission(&format!(r#"{{"model":"m","state_webhook_url":"{url}"}}"#));
            let error = submission.webhook().unwrap_err().to_string();
            assert!(error.starts_with("invalid state_webhook_url: "), "{url}: {error}");
        }
        assert_eq!(submission(r#"{"model":"m","state_webhook_url":null}"#).webhook().unwrap(), None);
    }

    #[test]
    fn invalid_port_is_not_default_port() {
        let webhook = |url| submission(&format!(r#"{{"model":"m","state_webhook_url":"{url}"}}"#)).webhook();
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
}
