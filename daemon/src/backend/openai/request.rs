use serde::{Deserialize, Serialize};
use serde_json::Number;
use serde_json::value::RawValue;

use super::message::{OpenAiMessage, conversation};
use crate::Chat;
use crate::InvalidValue;

/// The body of `POST /v1/chat/completions`.
#[derive(Serialize)]
pub(super) struct OpenAiChatRequest<'a> {
    model: &'a str,
    messages: Vec<OpenAiMessage<'a>>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// The options that Ollama's and OpenAI's APIs share.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Options<'a> {
    #[serde(borrow)]
    temperature: Option<&'a RawValue>,
    #[serde(borrow)]
    top_p: Option<&'a RawValue>,
    #[serde(borrow)]
    seed: Option<&'a RawValue>,
    #[serde(borrow)]
    stop: Option<&'a RawValue>,
    num_predict: Option<Number>,
    #[serde(borrow)]
    presence_penalty: Option<&'a RawValue>,
    #[serde(borrow)]
    frequency_penalty: Option<&'a RawValue>,
}

impl<'a> OpenAiChatRequest<'a> {
    pub(super) fn new(chat: &'a Chat) -> Result<Self, InvalidValue> {
        let options = options(chat)?;
        Ok(Self {
            model: chat.model(),
            messages: conversation(chat.messages())?,
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            tools: chat.tools(),
            // Only a level has a counterpart; OpenAI's API cannot switch thinking on or off.
            reasoning_effort: chat.think().and_then(|think| serde_json::from_str(think.get()).ok()),
            temperature: options.temperature,
            top_p: options.top_p,
            seed: options.seed,
            stop: options.stop,
            // In Ollama, a number below one means no limit.
            max_tokens: options.num_predict.filter(|limit| limit.as_f64().is_some_and(|limit| limit >= 1.0)),
            presence_penalty: options.presence_penalty,
            frequency_penalty: options.frequency_penalty,
        })
    }
}

fn options(chat: &Chat) -> Result<Options<'_>, InvalidValue> {
    let Some(options) = chat.options() else { return Ok(Options::default()) };
    let options: Option<Options<'_>> = serde_json::from_str(options.get())
        .map_err(|error| InvalidValue::new("options", "must be an object of Ollama's options").with_source(error))?;
    Ok(options.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobId;

    fn chat(rest: &str) -> Chat {
        let body = format!(r#"{{"model":"m","messages":[]{rest}}}"#);
        Chat::from_json(JobId::new("7").unwrap(), 1, body.as_bytes()).unwrap()
    }

    #[test]
    fn options_tools_and_think_level_are_mapped() {
        for (given, sent) in [
            ("", ""),
            (r#","options":null,"think":true,"stream":false"#, ""),
            (r#","tools":[ 1 ],"think":"high""#, r#","tools":[ 1 ],"reasoning_effort":"high""#),
            (
                r#","options":{"num_ctx":8,"num_predict":9,"temperature":1e0,"top_p":0.90,"seed":7,"stop":["a"],"presence_penalty":1,"frequency_penalty":2}"#,
                r#","temperature":1e0,"top_p":0.90,"seed":7,"stop":["a"],"max_tokens":9,"presence_penalty":1,"frequency_penalty":2"#,
            ),
            (r#","options":{"num_predict":-1,"stop":"a"}"#, r#","stop":"a""#),
        ] {
            let sent = format!(
                r#"{{"model":"m","messages":[],"stream":true,"stream_options":{{"include_usage":true}}{sent}}}"#
            );
            assert_eq!(serde_json::to_string(&OpenAiChatRequest::new(&chat(given)).unwrap()).unwrap(), sent);
        }
    }

    #[test]
    fn options_must_be_an_object() {
        let invalid = chat(r#","options":7"#);
        assert_eq!(
            OpenAiChatRequest::new(&invalid).err().unwrap().to_string(),
            "invalid options: must be an object of Ollama's options"
        );
    }
}
