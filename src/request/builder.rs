use std::collections::BTreeMap;
use std::time::Duration;

use foreman_protocol::json::raw;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::fields::Fields;
use super::{Message, SubmitRequest};
use crate::Error;
use crate::submission::{DropPolicy, IdempotencyKey};

/// Builds a [`SubmitRequest`]; made by [`SubmitRequest::builder`].
///
/// The first invalid value is reported by [`build`](SubmitRequestBuilder::build).
#[derive(Debug)]
#[must_use]
pub struct SubmitRequestBuilder {
    body: Body,
    invalid: Option<Error>,
    options: Options,
}

/// The options of a submission that are not part of its JSON.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) key: Option<IdempotencyKey>,
    pub(super) deadline: Option<Duration>,
    pub(super) on_drop: Option<DropPolicy>,
}

/// The JSON of `POST /jobs` without `state_webhook_url`.
#[derive(Debug, Default, Serialize)]
pub(super) struct Body {
    pub(super) model: String,
    messages: Vec<Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<Box<RawValue>>,
    /// All other fields.
    #[serde(flatten)]
    fields: BTreeMap<String, Box<RawValue>>,
}

impl Body {
    /// # Errors
    ///
    /// [`Error::is_invalid`], naming the field.
    pub(super) fn parse(json: &[u8]) -> Result<Self, Error> {
        let invalid = |error| Error::invalid("request", format!("is not the JSON of a chat request: {error}"));
        let Fields(fields) = serde_json::from_slice(json).map_err(invalid)?;
        let mut body = Self::default();
        for (name, value) in fields {
            match name.as_str() {
                "model" => body.model = field("model", value)?,
                "messages" => body.messages = field("messages", value)?,
                "stream" => body.stream = field("stream", value)?,
                "tools" => body.tools = field("tools", value)?,
                "options" => body.options = field("options", value)?,
                "think" => body.think = field("think", value)?,
                _ if SET_BY_CLIENT.contains(&name.as_str()) => return Err(set_by_client(&name)),
                _ => {
                    if value.get() != "null" {
                        body.fields.insert(name, value.to_owned());
                    }
                }
            }
        }
        Ok(body)
    }
}

/// The fields by which the client hears of the job.
const SET_BY_CLIENT: [&str; 2] = ["state_webhook_url", "event_stream"];

/// The fields that [`SubmitRequestBuilder::field`] does not set.
const HAVE_METHODS: [&str; 6] = ["model", "messages", "stream", "tools", "options", "think"];

fn set_by_client(name: &str) -> Error {
    Error::invalid("request", format!("must not have the field `{name}`, which the client sets"))
}

fn field<T: DeserializeOwned + Default>(name: &'static str, json: &RawValue) -> Result<T, Error> {
    serde_json::from_str::<Option<T>>(json.get()).map(Option::unwrap_or_default).map_err(|error| {
        let reason = error.to_string();
        // The error of a message names the field itself.
        let own = reason.strip_prefix("invalid ").and_then(|rest| rest.strip_prefix(name)?.strip_prefix(": "));
        Error::invalid(name, own.unwrap_or(&reason).to_owned())
    })
}

impl SubmitRequestBuilder {
    pub(super) fn new(model: String) -> Self {
        Self::of(Body { model, ..Body::default() })
    }

    pub(super) fn of(body: Body) -> Self {
        Self { body, invalid: None, options: Options::default() }
    }

    /// Appends a message to the conversation.
    pub fn message(mut self, message: Message) -> Self {
        self.body.messages.push(message);
        self
    }

    /// Appends messages to the conversation.
    pub fn messages(mut self, messages: impl IntoIterator<Item = Message>) -> Self {
        self.body.messages.extend(messages);
        self
    }

    /// Appends a message of the user: short for `message(Message::user(content))`.
    pub fn user(self, content: impl AsRef<str>) -> Self {
        self.message(Message::user(content))
    }

    /// Appends a system message: short for `message(Message::system(content))`.
    pub fn system(self, content: impl AsRef<str>) -> Self {
        self.message(Message::system(content))
    }

    /// Whether the daemon streams from the model server (`stream` on the wire); not sent unless set. The result is complete either way.
    pub fn stream(mut self, stream: bool) -> Self {
        self.body.stream = Some(stream);
        self
    }

    /// The tools that the model may call: any JSON, sent byte for byte if it is a [`RawValue`].
    pub fn tools(mut self, tools: &(impl Serialize + ?Sized)) -> Self {
        self.body.tools = self.raw("tools", tools);
        self
    }

    /// The model's options, such as `temperature`: any JSON, sent byte for byte if it is a [`RawValue`].
    pub fn options(mut self, options: &(impl Serialize + ?Sized)) -> Self {
        self.body.options = self.raw("options", options);
        self
    }

    /// Whether and how much the model thinks: a boolean or a level such as `"high"`, sent byte for byte if it is a [`RawValue`].
    pub fn think(mut self, think: &(impl Serialize + ?Sized)) -> Self {
        self.body.think = self.raw("think", think);
        self
    }

    /// The form of the response: `"json"`, or a JSON schema. Any JSON, sent byte for byte if it is a [`RawValue`].
    pub fn format(self, format: &(impl Serialize + ?Sized)) -> Self {
        self.with_field("format", "format", format)
    }

    /// How long the model server keeps the model loaded after the job: a number of seconds, or a text such as `"5m"`. A negative
    /// one keeps it loaded, and zero unloads it at once. Any JSON, sent byte for byte if it is a [`RawValue`].
    pub fn keep_alive(self, keep_alive: &(impl Serialize + ?Sized)) -> Self {
        self.with_field("keep_alive", "keep_alive", keep_alive)
    }

    /// The place of the job among those of the same token, from -100 to 100: the daemon runs jobs with a higher one first. 0 unless set.
    /// Sent as `priority`, an extension of `foreman-daemon`, which other daemons ignore.
    pub fn priority(self, priority: i8) -> Self {
        self.with_field("priority", "priority", &priority)
    }

    /// How long the job may wait in the daemon's queue, from its acceptance. A job that has not started by then fails with the error
    /// `deadline`. No limit unless set. Sent as `ttl` in seconds, an extension of `foreman-daemon`, which other daemons ignore.
    ///
    /// Unlike the [`deadline`](Self::deadline) of the wait, it ends the job, and not the wait for it.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.with_field("ttl", "ttl", &ttl.as_secs_f64())
    }

    /// Sets a further field of Ollama's chat request, such as `logprobs`: any JSON, sent byte for byte if it is a [`RawValue`]. A
    /// field that was set before, that has a method here, or that the client sets itself (`state_webhook_url`, `event_stream`) is
    /// reported by [`build`](Self::build). A daemon refuses a field that its model server does not have.
    ///
    /// ```
    /// # fn main() -> Result<(), foreman_client::Error> {
    /// use foreman_client::SubmitRequest;
    ///
    /// let request = SubmitRequest::builder("llama3.2")
    ///     .user("Name three colors.")
    ///     .format(&serde_json::json!({ "type": "array", "items": { "type": "string" } }))
    ///     .keep_alive("10m")
    ///     .field("logprobs", &true)
    ///     .build()?;
    /// # Ok(()) }
    /// ```
    pub fn field(mut self, name: impl Into<String>, value: &(impl Serialize + ?Sized)) -> Self {
        let name = name.into();
        let refused = if SET_BY_CLIENT.contains(&name.as_str()) {
            Some(set_by_client(&name))
        } else if HAVE_METHODS.contains(&name.as_str()) {
            Some(Error::invalid("request", format!("has a method of its own for the field `{name}`")))
        } else if self.body.fields.contains_key(&name) {
            Some(Error::invalid("request", format!("has the field `{name}` twice")))
        } else {
            None
        };
        if let Some(error) = refused {
            self.invalid.get_or_insert(error);
            return self;
        }
        self.with_field(name, "request", value)
    }

    /// What happens to the job when it is abandoned; the policy of the client unless set. It is not sent.
    pub fn on_drop(mut self, policy: DropPolicy) -> Self {
        self.options.on_drop = Some(policy);
        self
    }

    /// The idempotency key (`Idempotency-Key` on the wire); a new UUID unless set. A daemon that supports keys returns the same job for
    /// the same key and conversation.
    ///
    /// Set it to submit safely a second time after a crash, with a key that was stored before the first time, and to pass on the
    /// key of a caller. If the job exists already, `foreman-daemon` sends its further events to the wait that submitted last;
    /// other daemons may not. So a wait with such a key polls by the age of the job until it sees an event. If a later submission
    /// takes the events away, the wait finds the end by its next poll, also while the event stream is open, up to
    /// [`slow_interval`](crate::source::PollPolicyBuilder::slow_interval) (30 s) later.
    pub fn idempotency_key(mut self, key: impl AsRef<str>) -> Self {
        match key.as_ref().parse() {
            Ok(key) => self.options.key = Some(key),
            Err(error) => {
                self.invalid.get_or_insert(error);
            }
        }
        self
    }

    /// How long all waits on the submission may last, from the first call; the deadline of the wait service unless set. The shorter of the
    /// two applies. See [`SubmitRequest::with_deadline`].
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    /// Builds the request.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`], naming the field, for an empty model, a value that is not JSON, a [`field`](Self::field) that cannot be
    /// set, or an idempotency key that is not 1 to 255 visible ASCII characters.
    pub fn build(self) -> Result<SubmitRequest, Error> {
        if let Some(error) = self.invalid {
            return Err(error);
        }
        if self.body.model.is_empty() {
            return Err(Error::invalid("model", "must not be empty"));
        }
        SubmitRequest::from_body(self.body, self.options)
    }

    /// Sets one of the further fields. `in_errors`: its name in the error for a value that is not JSON.
    fn with_field(
        mut self,
        name: impl Into<String>,
        in_errors: &'static str,
        value: &(impl Serialize + ?Sized),
    ) -> Self {
        let name = name.into();
        match self.raw(in_errors, value) {
            Some(value) => self.body.fields.insert(name, value),
            None => self.body.fields.remove(&name),
        };
        self
    }

    /// The JSON text, or `None` for `null`, which is the same as absent.
    fn raw(&mut self, field: &'static str, value: &(impl Serialize + ?Sized)) -> Option<Box<RawValue>> {
        match raw(field, value) {
            Ok(json) => (json.get() != "null").then_some(json),
            Err(error) => {
                self.invalid.get_or_insert(error.into());
                None
            }
        }
    }
}
