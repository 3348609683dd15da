use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::image::data_url;
use crate::{InvalidValue, Message};

/// A message in Ollama's shape. Fields that OpenAI's API does not have are ignored.
#[derive(Deserialize)]
struct OllamaMessage<'a> {
    role: String,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    images: Option<Vec<String>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<OllamaToolCall<'a>>>,
    #[serde(default)]
    tool_name: Option<String>,
    #[serde(default)]
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
struct OllamaToolCall<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(borrow)]
    function: OllamaFunction<'a>,
}

#[derive(Deserialize)]
struct OllamaFunction<'a> {
    name: String,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

/// A message in OpenAI's shape.
#[derive(Serialize)]
pub(super) struct OpenAiMessage<'a> {
    role: String,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<OpenAiToolCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Whole(Option<&'a RawValue>),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text { text: &'a RawValue },
    ImageUrl { image_url: ImageUrl },
}

#[derive(Serialize)]
struct ImageUrl {
    url: String,
}

#[derive(Serialize)]
struct OpenAiToolCall<'a> {
    id: String,
    r#type: &'static str,
    function: OpenAiFunction<'a>,
}

#[derive(Serialize)]
struct OpenAiFunction<'a> {
    name: String,
    /// A JSON object as text.
    arguments: &'a str,
}

/// Maps a conversation to OpenAI's shape.
pub(super) fn conversation(messages: &[Message]) -> Result<Vec<OpenAiMessage<'_>>, InvalidValue> {
    let mut calls = OpenCalls::default();
    messages.iter().map(|message| map(message, &mut calls)).collect()
}

fn map<'a>(message: &'a Message, calls: &mut OpenCalls) -> Result<OpenAiMessage<'a>, InvalidValue> {
    let message: OllamaMessage<'a> = serde_json::from_str(message.as_json())
        .map_err(|error| InvalidValue::new("messages", "not a chat message").with_source(error))?;
    let tool_calls = message.tool_calls.unwrap_or_default().into_iter().map(|call| calls.add(call)).collect();
    let tool_call_id =
        (message.role == "tool").then(|| calls.close(message.tool_call_id, message.tool_name.as_deref()));
    let content = content(message.content, message.images.unwrap_or_default())?;
    Ok(OpenAiMessage { role: message.role, content, tool_calls, tool_call_id })
}

fn content(text: Option<&RawValue>, images: Vec<String>) -> Result<Content<'_>, InvalidValue> {
    if images.is_empty() {
        return Ok(Content::Whole(text));
    }
    let text = text.filter(|text| !matches!(text.get(), "null" | r#""""#)).map(|text| Part::Text { text });
    let mut parts: Vec<_> = text.into_iter().collect();
    for image in images {
        let url = data_url(&image)
            .ok_or_else(|| InvalidValue::new("messages", "image must be PNG, JPEG, GIF or WebP in base64"))?;
        parts.push(Part::ImageUrl { image_url: ImageUrl { url } });
    }
    Ok(Content::Parts(parts))
}

/// The tool calls without a result. Ollama identifies the call of a result by the tool's name, OpenAI by the call's id.
#[derive(Default)]
struct OpenCalls {
    open: VecDeque<(String, String)>,
    ids: u64,
}

impl OpenCalls {
    fn add<'a>(&mut self, call: OllamaToolCall<'a>) -> OpenAiToolCall<'a> {
        let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(|| self.id());
        self.open.push_back((call.function.name.clone(), id.clone()));
        let arguments = call.function.arguments.map_or("{}", RawValue::get);
        OpenAiToolCall { id, r#type: "function", function: OpenAiFunction { name: call.function.name, arguments } }
    }

    /// The id of the call that a result belongs to: the id it names, else the earliest open call of the tool, else the earliest
    /// open call.
    fn close(&mut self, id: Option<String>, tool: Option<&str>) -> String {
        let at = match (&id, tool) {
            (Some(named), _) => self.open.iter().position(|(_, id)| id == named),
            (None, Some(tool)) => self.open.iter().position(|(name, _)| name == tool),
            (None, None) => Some(0),
        };
        let call = at.and_then(|at| self.open.remove(at)).map(|(_, id)| id);
        // The server decides about a result without a call.
        id.or(call).unwrap_or_else(|| self.id())
    }

    fn id(&mut self) -> String {
        self.ids = self.ids.saturating_add(1);
        format!("call_{}", self.ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(messages: &[&str]) -> Result<String, InvalidValue> {
        let messages: Vec<_> = messages.iter().map(|json| Message::from_json(*json).unwrap()).collect();
        Ok(serde_json::to_string(&conversation(&messages)?).unwrap())
    }

    #[test]
    fn messages_map_to_openai() {
        let png = "iVBORw0KGgoAAAANSUhEUg==";
        let image = format!(r#"{{"role":"user","content":"what?","images":["{png}"]}}"#);
        let alone = format!(r#"{{"role":"user","content":"","images":["{png}"]}}"#);
        let part = format!(r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{png}"}}}}"#);
        let with_text = format!(r#"[{{"role":"user","content":[{{"type":"text","text":"what?"}},{part}]}}]"#);
        let without_text = format!(r#"[{{"role":"user","content":[{part}]}}]"#);
        for (given, sent) in [
            (&[r#"{"role":"user","content":"a\u00e4","x":1}"#][..], r#"[{"role":"user","content":"a\u00e4"}]"#),
            (&[r#"{"role":"assistant","thinking":"hm"}"#], r#"[{"role":"assistant","content":null}]"#),
            (&[&image], &with_text),
            (&[&alone], &without_text),
        ] {
            assert_eq!(mapped(given).unwrap(), sent);
        }
    }

    #[test]
    fn result_is_matched_to_its_call() {
        let call = |name: &str, id: &str, arguments: &str| {
            format!(r#"{{"id":"{id}","type":"function","function":{{"name":"{name}","arguments":"{arguments}"}}}}"#)
        };
        let given = [
            r#"{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"x":1.0}}},{"function":{"name":"g"}},{"id":"own","function":{"name":"f","arguments":{}}}]}"#,
            r#"{"role":"tool","content":"of g","tool_name":"g"}"#,
            r#"{"role":"tool","content":"of own","tool_call_id":"own"}"#,
            r#"{"role":"tool","content":"of f"}"#,
            r#"{"role":"tool","content":"of none","tool_name":"h"}"#,
        ];
        let calls =
            [call("f", "call_1", r#"{\"x\":1.0}"#), call("g", "call_2", "{}"), call("f", "own", "{}")].join(",");
        let results = [("of g", "call_2"), ("of own", "own"), ("of f", "call_1"), ("of none", "call_3")]
            .map(|(content, id)| format!(r#"{{"role":"tool","content":"{content}","tool_call_id":"{id}"}}"#))
            .join(",");
        let sent = format!(r#"[{{"role":"assistant","content":"","tool_calls":[{calls}]}},{results}]"#);
        assert_eq!(mapped(&given).unwrap(), sent);
    }

    #[test]
    fn unmappable_message_is_rejected() {
        for (json, why) in [
            (r#"{"content":"no role"}"#, "invalid messages: not a chat message"),
            (r#"{"role":"user","images":["aGVsbG8sIEkgYW0gYSB0ZXh0"]}"#, "invalid messages: image must be PNG"),
            (r#"{"role":"assistant","tool_calls":[{}]}"#, "invalid messages: not a chat message"),
        ] {
            let error = mapped(&[json]).unwrap_err();
            assert!(error.to_string().starts_with(why), "{json}: {error}");
        }
    }
}
