use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::SubmitRequestBuilder;
use super::builder::{Body, Options};
use crate::Error;
use crate::nanos::Nanos;
use crate::submission::{Draft, KeepAlive, LostSubmission, Submission};

/// A chat request to run as a job (`POST /jobs`).
///
/// A clone is the *same* submission. It has the same idempotency key and the same callback URL, and a wait on it attaches to the job
/// of the submission. That makes retries and hedges above a wait safe. To run the conversation a second time, call
/// [`renew`](SubmitRequest::renew). Cloning is cheap whatever the size of the conversation.
///
/// ```
/// # fn main() -> Result<(), foreman_client::Error> {
/// use foreman_client::{Message, SubmitRequest};
///
/// let request = SubmitRequest::builder("llama3.2")
///     .system("Answer in one sentence.")
///     .message(Message::user("Why is the sky blue?"))
///     .options(&serde_json::json!({ "temperature": 0 }))
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SubmitRequest {
    draft: Arc<Draft>,
    keep_alive: KeepAlive,
    sending: Sending,
}

/// Who sends this clone.
#[derive(Clone, Copy)]
struct Sending {
    /// The deadline of the wait that sends it, from the first call of the submission.
    deadline: Nanos,
    /// The number of the claim of that wait. `None` if no wait sends it.
    claim: Option<NonZeroU16>,
    /// If it surely did not arrive at this daemon, a pool sends it to another one.
    moves_on: bool,
}

impl Sending {
    const NO_WAIT: Self = Self { deadline: Nanos::NONE, claim: None, moves_on: false };
}

impl SubmitRequest {
    /// Starts a request for `model`.
    pub fn builder(model: impl Into<String>) -> SubmitRequestBuilder {
        SubmitRequestBuilder::new(model.into())
    }

    /// Parses the JSON body of `POST /jobs`: `model`, `messages`, and optionally the further fields of Ollama's chat request, such as
    /// `options` and `format`. `null` is the same as absent. Each message and each further field is sent byte for byte.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] if it is not such an object, for an empty model, for a field that is given twice, and for
    /// `state_webhook_url` and `event_stream`, which the client sets.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::builder_from_json(json)?.build()
    }

    /// Starts a request from the JSON body of `POST /jobs`, for further options. The JSON is that of
    /// [`from_json`](SubmitRequest::from_json).
    ///
    /// # Errors
    ///
    /// As [`from_json`](SubmitRequest::from_json), except that an empty model is reported by
    /// [`build`](SubmitRequestBuilder::build).
    pub fn builder_from_json(json: impl AsRef<[u8]>) -> Result<SubmitRequestBuilder, Error> {
        Ok(SubmitRequestBuilder::of(Body::parse(json.as_ref())?))
    }

    pub(super) fn from_body(body: Body, options: Options) -> Result<Self, Error> {
        let mut head = serde_json::to_vec(&body)
            .map_err(|error| Error::invalid("request", "cannot be written as JSON").with_source(error))?;
        head.pop();
        let draft = Draft { model: body.model.into(), head: head.into() };
        let keep_alive = KeepAlive::new_submission(options.key, options.on_drop);
        let request = Self { draft: Arc::new(draft), keep_alive, sending: Sending::NO_WAIT };
        Ok(request.with_deadline(options.deadline))
    }

    /// Limits how long waits on the submission may last, by all its clones, from its first call. The shorter of this and the deadline of
    /// the wait service applies. A retry does not start it anew.
    ///
    /// At the deadline the job is polled once more, and if it has not finished the wait ends with
    /// [`Error::is_deadline`]. The job goes on, unless the drop policy cancels it when the last clone of the request is gone. To wait
    /// longer, attach to the job by its id. With a deadline of zero nothing is submitted.
    #[must_use]
    pub fn with_deadline(self, deadline: impl Into<Option<Duration>>) -> Self {
        if let Some(deadline) = deadline.into() {
            self.keep_alive.shared().limit_deadline(deadline);
        }
        self
    }

    /// A new submission of the same conversation, with a key, a callback URL and a time of its own. This is the only way to run it again.
    /// The drop policy and the deadline are the same; the deadline counts from the first call of the new submission.
    #[must_use]
    pub fn renew(&self) -> Self {
        let keep_alive = KeepAlive::new_submission(None, self.keep_alive.drop_policy());
        let request = Self { draft: Arc::clone(&self.draft), keep_alive, sending: Sending::NO_WAIT };
        request.with_deadline(self.keep_alive.shared().deadline())
    }

    /// The same for a caller whose time has begun with this submission, and whose handles follow it.
    ///
    /// If another caller has renewed it meanwhile, it is that submission: the conversation runs again once.
    pub(crate) fn renew_within_deadline(&self) -> Self {
        let request = self.renew();
        let (submission, renewed) = (self.keep_alive.shared(), request.keep_alive.shared());
        renewed.continue_times(submission);
        renewed.update(|state| state.begin_at(submission.elapsed()));
        let first = submission.update(|state| {
            let first = state.renewed().and_then(KeepAlive::upgrade);
            if first.is_none() {
                state.renew_as(renewed);
            }
            first
        });
        match first {
            Some(keep_alive) => Self { keep_alive, ..request },
            None => request,
        }
    }

    /// The clone that a wait sends. Layers and the `Api` below the wait know by it whom they serve.
    pub(crate) fn for_wait(mut self, deadline: Option<Duration>) -> Self {
        (self.sending.deadline, self.sending.claim) = (deadline.into(), Some(NonZeroU16::MIN));
        self
    }

    /// The wait has claimed the submission.
    pub(crate) fn set_claim(&mut self, claim: NonZeroU16) {
        self.sending.claim = self.sending.claim.map(|_| claim);
    }

    /// The number of the claim of the wait that sends it, if one does.
    pub(crate) fn claim(&self) -> Option<NonZeroU16> {
        self.sending.claim
    }

    /// For a call that a pool makes while another daemon may get the submission.
    pub(crate) fn moving_on(mut self, moves_on: bool) -> Self {
        self.sending.moves_on = moves_on;
        self
    }

    /// Whether a submission that surely did not arrive is sent to another daemon, so that it is not repeated at this one.
    pub(crate) fn moves_on(&self) -> bool {
        self.sending.moves_on
    }

    /// How long it is until the deadline of the wait that sends it, or of the request. `None` without one.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let submission = self.keep_alive.shared();
        let deadline = if self.sending.claim.is_some() { self.sending.deadline.get() } else { submission.deadline() };
        Some(deadline?.saturating_sub(submission.elapsed()))
    }

    /// The name of the model.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.draft.model
    }

    /// A handle to the submission: its key, its job id once known, its states as they come. It does not keep the submission alive.
    #[must_use]
    pub fn submission(&self) -> Submission {
        self.keep_alive.submission()
    }

    /// The body of `POST /jobs`. Every attempt to send the submission sends the same bytes.
    #[must_use]
    pub fn body(&self) -> Bytes {
        let mut body = Vec::with_capacity(self.draft.head.len() + 224);
        body.extend_from_slice(&self.draft.head);
        if let Some(url) = self.keep_alive.callback_url() {
            body.extend_from_slice(b",\"state_webhook_url\":");
            push_string(&mut body, &url);
        }
        if let Some(name) = self.keep_alive.event_stream() {
            body.extend_from_slice(b",\"event_stream\":");
            push_string(&mut body, &name);
        }
        body.push(b'}');
        body.into()
    }

    /// Leaves the conversation to the last holder of the submission, which finds the job by it.
    pub(crate) fn leave_draft(&self) {
        self.keep_alive.shared().update(|state| state.leave_draft(&self.draft));
    }

    pub(crate) fn keep_alive(&self) -> &KeepAlive {
        &self.keep_alive
    }
}

/// Appends a JSON string.
fn push_string(json: &mut Vec<u8>, text: &str) {
    // A URL nearly always is what it is in JSON. Without an early end, all bytes are looked at together.
    let escapes = text.bytes().fold(false, |escapes, byte| escapes | (byte < 0x20) | (byte == b'"') | (byte == b'\\'));
    if escapes {
        // A string is always JSON, and a `Vec` takes all bytes.
        let _ = serde_json::to_writer(json, text);
    } else {
        json.push(b'"');
        json.extend_from_slice(text.as_bytes());
        json.push(b'"');
    }
}

impl From<LostSubmission> for SubmitRequest {
    fn from(LostSubmission { draft, keep_alive }: LostSubmission) -> Self {
        Self { draft, keep_alive, sending: Sending::NO_WAIT }
    }
}

impl fmt::Debug for SubmitRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitRequest")
            .field("model", &self.draft.model)
            .field("bytes", &self.draft.head.len())
            .field("submission", &self.submission())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    #[test]
    fn arbitrary_json_is_sent_byte_for_byte() {
        let options = serde_json::value::RawValue::from_string(r#"{ "b":1.0,"a" : 1e3 }"#.to_owned()).unwrap();
        let request = SubmitRequest::builder("m")
            .message(Message::from_json(r#"{"role" : "user"}"#).unwrap())
            .stream(false)
            .options(&options)
            .think(&"high")
            .tools(&())
            .build()
            .unwrap();
        assert_eq!(
            request.body(),
            r#"{"model":"m","messages":[{"role" : "user"}],"stream":false,"options":{ "b":1.0,"a" : 1e3 },"think":"high"}"#
        );
    }

    #[test]
    fn any_string_is_valid_json() {
        for text in ["", "http://h:1/p", "a\"b", "a\\b", "\n", "\u{1f}", "\u{7f}\u{e4}"] {
            let mut json = Vec::new();
            push_string(&mut json, text);
            assert_eq!(json, serde_json::to_vec(text).unwrap());
        }
    }

    #[test]
    fn from_json_keeps_arbitrary_json_byte_for_byte() {
        let json =
            r#"{"think": null, "model": "m", "messages": [{"role" : "user"}], "options": { "b":1.0,"a" : 1e3 }}"#;
        let request = SubmitRequest::from_json(json).unwrap();
        assert_eq!(request.body(), r#"{"model":"m","messages":[{"role" : "user"}],"options":{ "b":1.0,"a" : 1e3 }}"#);
        assert_eq!(SubmitRequest::from_json(r#"{"model": "m"}"#).unwrap().body(), r#"{"model":"m","messages":[]}"#);
    }

    #[test]
    fn further_fields_are_sent_byte_for_byte() {
        let schema = serde_json::value::RawValue::from_string(r#"{ "b":1.0,"a" : 1e3 }"#.to_owned()).unwrap();
        let request = SubmitRequest::builder("m")
            .keep_alive("5m")
            .keep_alive(&300)
            .format(&schema)
            .field("logprobs", &true)
            .field("none", &())
            .build()
            .unwrap();
        let sent = r#"{"model":"m","messages":[],"format":{ "b":1.0,"a" : 1e3 },"keep_alive":300,"logprobs":true}"#;
        assert_eq!(request.body(), sent);
        let json = r#"{"format": { "b":1.0,"a" : 1e3 }, "none": null, "model": "m", "own": "\u00e4"}"#;
        let sent = r#"{"model":"m","messages":[],"format":{ "b":1.0,"a" : 1e3 },"own":"\u00e4"}"#;
        assert_eq!(SubmitRequest::from_json(json).unwrap().body(), sent);
    }

    #[test]
    fn field_that_is_set_elsewhere_is_refused() {
        for (name, reason) in [
            ("event_stream", "must not have the field `event_stream`, which the client sets"),
            ("state_webhook_url", "must not have the field `state_webhook_url`, which the client sets"),
            ("options", "has a method of its own for the field `options`"),
            ("format", "has the field `format` twice"),
        ] {
            let error = SubmitRequest::builder("m").format("json").field(name, &1).build().unwrap_err();
            assert!(error.is_invalid(), "{error}");
            assert_eq!(error.to_string(), format!("invalid request: {reason}"));
        }
    }

    #[test]
    fn from_json_refuses_invalid_and_repeated_fields() {
        for json in [
            "",
            "[]",
            "{} {}",
            r#"{"messages": []}"#,
            r#"{"model": null}"#,
            r#"{"model": "m", "messages": ["hi"]}"#,
            r#"{"model": "m", "model": "n"}"#,
            r#"{"model": "m", "format": "json", "format": "json"}"#,
            r#"{"model": "m", "event_stream": "a"}"#,
            r#"{"model": "m", "state_webhook_url": "http://127.0.0.1/"}"#,
        ] {
            let error = SubmitRequest::from_json(json).unwrap_err();
            assert!(error.is_invalid(), "{json}: {error}");
        }
    }

    #[test]
    fn empty_model_is_refused() {
        let error = SubmitRequest::builder("").build().unwrap_err();
        assert_eq!(error.to_string(), "invalid model: must not be empty");
    }

    #[test]
    fn value_that_is_not_json_is_refused() {
        let keys = std::collections::BTreeMap::from([((1, 2), 3)]);
        let error = SubmitRequest::builder("m").options(&keys).build().unwrap_err();
        assert!(error.is_invalid() && error.to_string().starts_with("invalid options"));
    }

    #[test]
    fn clone_is_same_submission_and_renew_is_another() {
        let request = SubmitRequest::builder("m").user("hi").build().unwrap();
        let key = request.submission().idempotency_key();
        assert_eq!(request.clone().submission().idempotency_key(), key);
        let renewed = request.renew();
        assert_ne!(renewed.submission().idempotency_key(), key);
        assert_eq!(renewed.body(), request.body());
        assert!(std::ptr::eq(&*request.draft.head, &*renewed.draft.head));
    }
}
