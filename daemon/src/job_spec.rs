use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use http::Uri;
use http::uri::Authority;
use jiff::{SignedDuration, Timestamp};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{InvalidValue, Message};

/// The body of a submission (`POST /jobs`): what a job runs.
///
/// Each JSON value is as submitted, byte for byte. A field that is `null` is the same as an absent one.
#[derive(Debug, Default)]
pub struct JobSpec {
    pub(crate) model: String,
    pub(crate) messages: Vec<Message>,
    pub(crate) stream: Option<bool>,
    pub(crate) tools: Option<Box<RawValue>>,
    pub(crate) options: Option<Box<RawValue>>,
    pub(crate) think: Option<Box<RawValue>>,
    pub(crate) state_webhook_url: Option<String>,
    pub(crate) event_stream: Option<String>,
    /// The job must have started by then.
    pub(crate) deadline: Option<Timestamp>,
    /// The job must have started within that time.
    pub(crate) ttl: Option<SignedDuration>,
    pub(crate) priority: i8,
    /// All other fields.
    pub(crate) fields: BTreeMap<String, Box<RawValue>>,
}

impl JobSpec {
    /// The requested model; never empty.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The conversation.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// `stream`, if it was set. It does not affect the job's result.
    #[must_use]
    pub fn stream(&self) -> Option<bool> {
        self.stream
    }

    /// `tools`, if they were set.
    #[must_use]
    pub fn tools(&self) -> Option<&RawValue> {
        self.tools.as_deref()
    }

    /// `options`, if they were set.
    #[must_use]
    pub fn options(&self) -> Option<&RawValue> {
        self.options.as_deref()
    }

    /// `think`, if it was set.
    #[must_use]
    pub fn think(&self) -> Option<&RawValue> {
        self.think.as_deref()
    }

    /// A further field of Ollama's chat request, such as `format` or `keep_alive`, if it was set.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&RawValue> {
        self.fields.get(name).map(|value| &**value)
    }

    /// All further fields that were set, in the order of their names: those that have no method here and that the daemon does not
    /// use itself.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), &**value))
    }

    /// By when a job that was accepted at that time must have been started: the earlier of `deadline` and the end of `ttl`.
    pub(crate) fn start_by(&self, accepted: Timestamp) -> Option<Timestamp> {
        // A time that is too far away never comes.
        let end = self.ttl.and_then(|ttl| accepted.checked_add(ttl).ok());
        [self.deadline, end].into_iter().flatten().min()
    }

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

/// Not derived: `flatten` does not preserve the bytes of the further fields, and without it a field that is not known could be given
/// twice.
impl<'de> Deserialize<'de> for JobSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(JobSpecVisitor)
    }
}

struct JobSpecVisitor;

impl<'de> Visitor<'de> for JobSpecVisitor {
    type Value = JobSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JobSpec, A::Error> {
        let (mut spec, mut seen) = (JobSpec::default(), BTreeSet::new());
        while let Some(name) = map.next_key::<String>()? {
            if seen.contains(&name) {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            match name.as_str() {
                "model" => spec.model = map.next_value::<Option<_>>()?.unwrap_or_default(),
                "messages" => spec.messages = map.next_value::<Option<_>>()?.unwrap_or_default(),
                "stream" => spec.stream = map.next_value()?,
                "tools" => spec.tools = map.next_value()?,
                "options" => spec.options = map.next_value()?,
                "think" => spec.think = map.next_value()?,
                "state_webhook_url" => spec.state_webhook_url = map.next_value()?,
                "event_stream" => spec.event_stream = map.next_value()?,
                "deadline" => {
                    spec.deadline = map.next_value::<Option<String>>()?.as_deref().map(deadline).transpose()?;
                }
                "ttl" => spec.ttl = map.next_value::<Option<_>>()?.map(ttl).transpose()?,
                "priority" => spec.priority = map.next_value::<Option<_>>()?.map_or(Ok(0), priority)?,
                _ => {
                    if let Some(value) = map.next_value()? {
                        spec.fields.insert(name.clone(), value);
                    }
                }
            }
            seen.insert(name);
        }
        Ok(spec)
    }
}

fn deadline<E: serde::de::Error>(text: &str) -> Result<Timestamp, E> {
    text.parse().map_err(|_| {
        E::custom("invalid deadline: must be a time in RFC 3339 with an offset, such as 2026-01-02T03:04:05Z")
    })
}

fn ttl<E: serde::de::Error>(seconds: f64) -> Result<SignedDuration, E> {
    SignedDuration::try_from_secs_f64(seconds)
        .ok()
        .filter(SignedDuration::is_positive)
        .ok_or_else(|| E::custom("invalid ttl: must be a number of seconds above 0"))
}

fn priority<E: serde::de::Error>(priority: i64) -> Result<i8, E> {
    i8::try_from(priority)
        .ok()
        .filter(|priority| (-100..=100).contains(priority))
        .ok_or_else(|| E::custom("invalid priority: must be an integer from -100 to 100"))
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
    fn job_start_by_the_earlier_of_deadline_and_ttl() {
        let time = |second| Timestamp::from_second(second).unwrap();
        for (fields, expiry) in [
            ("", None),
            (r#","deadline":null,"ttl":null"#, None),
            (r#","deadline":"1970-01-01T01:00:10+01:00""#, Some(time(10))),
            (r#","ttl":20"#, Some(time(25))),
            (r#","ttl":1e15"#, None),
            (r#","deadline":"1970-01-01T00:00:10Z","ttl":5.0"#, Some(time(10))),
            (r#","deadline":"1970-01-01T00:00:10Z","ttl":4"#, Some(time(9))),
        ] {
            assert_eq!(submission(&format!(r#"{{"model":"m"{fields}}}"#)).start_by(time(5)), expiry, "{fields}");
        }
    }

    #[test]
    fn limits_out_of_range_are_refused_by_name() {
        for (field, error) in [
            (r#""ttl":0"#, "invalid ttl: must be a number of seconds above 0"),
            (r#""ttl":-1"#, "invalid ttl: must be a number of seconds above 0"),
            (r#""ttl":1e300"#, "invalid ttl: must be a number of seconds above 0"),
            (r#""ttl":"1h""#, "invalid type: string \"1h\", expected f64"),
            (r#""priority":101"#, "invalid priority: must be an integer from -100 to 100"),
            (r#""priority":-101"#, "invalid priority: must be an integer from -100 to 100"),
            (r#""priority":1.5"#, "invalid type: floating point `1.5`, expected i64"),
            (r#""deadline":"tomorrow""#, "invalid deadline: must be a time in RFC 3339"),
        ] {
            let refused = serde_json::from_str::<JobSpec>(&format!(r#"{{"model":"m",{field}}}"#)).unwrap_err();
            assert!(refused.to_string().starts_with(error), "{field}: {refused}");
        }
        let [low, high] = [-100, 100].map(|priority| format!(r#"{{"model":"m","priority":{priority}}}"#));
        assert_eq!((submission(&low).priority, submission(&high).priority), (-100, 100));
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
