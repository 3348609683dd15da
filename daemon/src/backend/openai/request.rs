use serde::Serialize;
use serde_json::value::RawValue;

use super::keep_alive::ttl;
use super::message::{OpenAiMessage, conversation};
use super::options::Options;
use super::response_format::ResponseFormat;
use super::thinking::Thinking;
use crate::{InvalidValue, JobSpec};

/// The body of `POST /v1/chat/completions`.
#[derive(Serialize)]
pub(super) struct OpenAiChatRequest<'a> {
    model: &'a str,
    messages: Vec<OpenAiMessage<'a>>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
    #[serde(flatten)]
    thinking: Thinking,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
    /// Not OpenAI's own: a field of LM Studio.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(flatten)]
    options: Options<'a>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl<'a> OpenAiChatRequest<'a> {
    /// Maps a submission. A field that affects the response and has no counterpart is an error.
    pub(super) fn new(spec: &'a JobSpec) -> Result<Self, InvalidValue> {
        let (mut response_format, mut ttl_seconds) = (None, None);
        for (name, value) in spec.fields() {
            match name {
                "format" => response_format = ResponseFormat::new(value)?,
                "keep_alive" => ttl_seconds = ttl(value)?,
                _ => return Err(no_counterpart("request", name)),
            }
        }
        Ok(Self {
            model: spec.model(),
            messages: conversation(spec.messages())?,
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            tools: spec.tools(),
            thinking: Thinking::new(spec.think())?,
            response_format,
            ttl: ttl_seconds,
            options: Options::new(spec.options())?,
        })
    }
}

pub(super) fn no_counterpart(field: &'static str, name: &str) -> InvalidValue {
    InvalidValue::new(field, format!("OpenAI's API has no counterpart of `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chat, JobId};

    fn chat(rest: &str) -> Chat {
        let body = format!(r#"{{"model":"m","messages":[]{rest}}}"#);
        Chat::from_json(JobId::new("7").unwrap(), 1, body.as_bytes()).unwrap()
    }

    #[test]
    fn fields_and_options_are_mapped() {
        for (given, sent) in [
            ("", ""),
            (r#","options":null,"stream":false,"format":"","keep_alive":-1"#, ""),
            (r#","think":true"#, r#","chat_template_kwargs":{"enable_thinking":true}"#),
            (r#","format":"json""#, r#","response_format":{"type":"json_object"}"#),
            (r#","tools":[ 1 ],"think":"high""#, r#","tools":[ 1 ],"reasoning_effort":"high""#),
            (
                r#","options":{"num_ctx":8,"num_predict":9,"temperature":1e0,"top_p":0.90,"seed":7,"stop":["a"],"presence_penalty":1,"frequency_penalty":2}"#,
                r#","temperature":1e0,"top_p":0.90,"seed":7,"stop":["a"],"max_tokens":9,"presence_penalty":1,"frequency_penalty":2"#,
            ),
            (r#","options":{"num_predict":-1,"mirostat":null,"stop":"a"}"#, r#","stop":"a""#),
        ] {
            let sent = format!(
                r#"{{"model":"m","messages":[],"stream":true,"stream_options":{{"include_usage":true}}{sent}}}"#
            );
            assert_eq!(serde_json::to_string(&OpenAiChatRequest::new(chat(given).spec()).unwrap()).unwrap(), sent);
        }
    }

    #[test]
    fn options_must_be_an_object() {
        let invalid = chat(r#","options":7"#);
        assert_eq!(
            OpenAiChatRequest::new(invalid.spec()).err().unwrap().to_string(),
            "invalid options: must be an object of Ollama's options"
        );
    }
}
