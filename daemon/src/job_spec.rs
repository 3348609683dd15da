use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use http::Uri;
use jiff::{SignedDuration, Timestamp};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use url::{ParseError, SyntaxViolation, Url};

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

    /// The checked callback URL, in its normal form: absolute, `http` or `https`, with a host, without user, password and fragment.
    pub(crate) fn webhook(&self) -> Result<Option<Uri>, InvalidValue> {
        let Some(text) = &self.state_webhook_url else { return Ok(None) };
        callback_url(text).map(Some).map_err(|reason| InvalidValue::new("state_webhook_url", reason))
    }
}

/// Whether another parser may find another host in a URL with this violation.
fn moves_host(violation: SyntaxViolation) -> bool {
    use SyntaxViolation::{Backslash, C0SpaceIgnored, ExpectedDoubleSlash, TabOrNewlineIgnored, UnencodedAtSign};
    matches!(violation, Backslash | C0SpaceIgnored | ExpectedDoubleSlash | TabOrNewlineIgnored | UnencodedAtSign)
}

/// Parses the URL as browsers do, so that the host that is checked is the host that is connected to. Unlike browsers it repairs nothing
/// that may be about the host.
fn callback_url(text: &str) -> Result<Uri, Cow<'static, str>> {
    let violation = Cell::new(None);
    let note = |found| {
        if moves_host(found) {
            violation.set(violation.get().or(Some(found)));
        }
    };
    let parsed = Url::options().syntax_violation_callback(Some(&note)).parse(text);
    let mut url = match parsed {
        Ok(url) => url,
        Err(ParseError::RelativeUrlWithoutBase) => return Err("must be an absolute http or https URL".into()),
        Err(ParseError::InvalidPort) => return Err("must have a port from 1 to 65535, or none".into()),
        Err(error) => return Err(error.to_string().into()),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user or password".into());
    }
    if let Some(violation) = violation.get() {
        return Err(match violation {
            SyntaxViolation::ExpectedDoubleSlash => "must begin with http:// or https:// and a host".into(),
            other => other.description().into(),
        });
    }
    match url.scheme() {
        "https" if !cfg!(feature = "tls") => {
            return Err("is https, but this daemon has no TLS (feature `tls`)".into());
        }
        "http" | "https" => {}
        _ => return Err("must be an absolute http or https URL".into()),
    }
    if url.port() == Some(0) {
        return Err("must have a port from 1 to 65535, or none".into());
    }
    url.set_fragment(None);
    url.as_str().parse().map_err(|_| "is not a URL".into())
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
                "ttl" => spec.ttl = map.next_value::<Option<Value>>()?.as_ref().map(ttl).transpose()?,
                "priority" => spec.priority = map.next_value::<Option<Value>>()?.as_ref().map_or(Ok(0), priority)?,
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

fn ttl<E: serde::de::Error>(seconds: &Value) -> Result<SignedDuration, E> {
    let duration = seconds.as_f64().and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok());
    duration
        .filter(SignedDuration::is_positive)
        .ok_or_else(|| E::custom("invalid ttl: must be a number of seconds above 0"))
}

fn priority<E: serde::de::Error>(priority: &Value) -> Result<i8, E> {
    let priority = priority.as_i64().and_then(|priority| i8::try_from(priority).ok());
    priority
        .filter(|priority| (-100..=100).contains(priority))
        .ok_or_else(|| E::custom("invalid priority: must be an integer from -100 to 100"))
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
            (r#""ttl":"1h""#, "invalid ttl: must be a number of seconds above 0"),
            (r#""priority":101"#, "invalid priority: must be an integer from -100 to 100"),
            (r#""priority":-101"#, "invalid priority: must be an integer from -100 to 100"),
            (r#""priority":1.5"#, "invalid priority: must be an integer from -100 to 100"),
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
        for (url, normal) in [
            ("http://h/p?q=1", "http://h/p?q=1"),
            ("http://[::1]:80/", "http://[::1]/"),
            ("http://127.0.0.1:1/x", "http://127.0.0.1:1/x"),
            ("http://h:", "http://h/"),
            ("HTTP://H.Example:8080/a/../B#c", "http://h.example:8080/B"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
            ("http://h/a[1]%zz?a=x|y&b={c}^d", "http://h/a[1]%zz?a=x|y&b={c}^d"),
            ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ] {
            assert_eq!(callback_url(url).unwrap().to_string(), normal);
        }
        for (url, reason) in [
            ("", "must be an absolute http or https URL"),
            ("/p", "must be an absolute http or https URL"),
            ("h", "must be an absolute http or https URL"),
            ("*", "must be an absolute http or https URL"),
            ("ftp://h/", "must be an absolute http or https URL"),
            ("http://", "empty host"),
            ("http:///p", "must begin with http:// or https:// and a host"),
            ("http:h/p", "must begin with http:// or https:// and a host"),
            ("http:\\\\h", "must begin with http:// or https:// and a host"),
            (" http://h/", "leading or trailing control or space character are ignored in URLs"),
            ("http://h/\n", "leading or trailing control or space character are ignored in URLs"),
            ("http://u:p@h/", "must not contain a user or password"),
            ("http://h h/", "invalid international domain name"),
            ("http://1.2.3.4.5/", "invalid IPv4 address"),
            ("http://[fe80::1%25eth0]/", "invalid IPv6 address"),
        ] {
            assert_eq!(callback_url(url).unwrap_err(), reason, "{url}");
        }
        let submission = submission(r#"{"model":"m","state_webhook_url":null}"#);
        assert_eq!(submission.webhook().unwrap(), None);
    }

    #[test]
    fn invalid_port_is_not_default_port() {
        for url in ["http://h:0/", "http://h:65536/", "http://h:x/", "http://[::1]:x"] {
            assert_eq!(callback_url(url).unwrap_err(), "must have a port from 1 to 65535, or none", "{url}");
        }
        for url in ["http://[::1]x/", "http://[::1]80/"] {
            callback_url(url).unwrap_err();
        }
    }
}
