use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::image::data_url;
use crate::{InvalidValue, Message};

/// A message as Ollama has it; what OpenAI's API has no place for is not read.
#[derive(Deserialize)]
struct Heard<'a> {
    role: String,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    images: Option<Vec<String>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<HeardCall<'a>>>,
    #[serde(default)]
    tool_name: Option<String>,
    #[serde(default)]
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
struct HeardCall<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(borrow)]
    function: HeardFunction<'a>,
}

#[derive(Deserialize)]
struct HeardFunction<'a> {
    name: String,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

/// The same as OpenAI has it.
#[derive(Serialize)]
pub(super) struct Said<'a> {
    role: String,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<SaidCall<'a>>,
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
struct SaidCall<'a> {
    id: String,
    r#type: &'static str,
    function: SaidFunction<'a>,
}

#[derive(Serialize)]
struct SaidFunction<'a> {
    name: String,
    /// The text of a JSON object.
    arguments: &'a str,
}

/// The conversation as OpenAI has it.
pub(super) fn conversation(messages: &[Message]) -> Result<Vec<Said<'_>>, InvalidValue> {
    let mut calls = Calls::default();
    messages.iter().map(|message| said(message, &mut calls)).collect()
}

fn said<'a>(message: &'a Message, calls: &mut Calls) -> Result<Said<'a>, InvalidValue> {
    let heard: Heard<'a> = serde_json::from_str(message.as_json())
        .map_err(|error| InvalidValue::new("messages", "a message is not one of a chat").with_source(error))?;
    let tool_calls = heard.tool_calls.unwrap_or_default().into_iter().map(|call| calls.made(call)).collect();
    let tool_call_id = (heard.role == "tool").then(|| calls.answered(heard.tool_call_id, heard.tool_name.as_deref()));
    let content = content(heard.content, heard.images.unwrap_or_default())?;
    Ok(Said { role: heard.role, content, tool_calls, tool_call_id })
}

fn content(text: Option<&RawValue>, images: Vec<String>) -> Result<Content<'_>, InvalidValue> {
    if images.is_empty() {
        return Ok(Content::Whole(text));
    }
    let text = text.filter(|text| !matches!(text.get(), "null" | r#""""#)).map(|text| Part::Text { text });
    let mut parts: Vec<_> = text.into_iter().collect();
    for image in images {
        let url = data_url(&image)
            .ok_or_else(|| InvalidValue::new("messages", "an image is none of PNG, JPEG, GIF and WebP in base64"))?;
        parts.push(Part::ImageUrl { image_url: ImageUrl { url } });
    }
    Ok(Content::Parts(parts))
}

/// The calls of tools that have no result yet, since Ollama tells a result by its tool's name and OpenAI by the call's id.
#[derive(Default)]
struct Calls {
    open: VecDeque<(String, String)>,
    ids: u64,
}

impl Calls {
    fn made<'a>(&mut self, call: HeardCall<'a>) -> SaidCall<'a> {
        let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(|| self.id());
        self.open.push_back((call.function.name.clone(), id.clone()));
        let arguments = call.function.arguments.map_or("{}", RawValue::get);
        SaidCall { id, r#type: "function", function: SaidFunction { name: call.function.name, arguments } }
    }

    /// The call that a result belongs to: the one it names, else the earliest open one of the tool, else the earliest.
    fn answered(&mut self, id: Option<String>, tool: Option<&str>) -> String {
        let at = match (&id, tool) {
            (Some(named), _) => self.open.iter().position(|(_, id)| id == named),
            (None, Some(tool)) => self.open.iter().position(|(name, _)| name == tool),
            (None, None) => Some(0),
        };
        let call = at.and_then(|at| self.open.remove(at)).map(|(_, id)| id);
        // A result without a call is for the server to judge.
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
    fn messages_become_those_of_openai() {
        let png = "iVBORw0KGgoAAAANSUhEUg==";
        let image = format!(r#"{{"role":"user","content":"what?","images":["{png}"]}}"#);
        let alone = format!(r#"{{"role":"user","content":"","images":["{png}"]}}"#);
        let part = format!(r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{png}"}}}}"#);
        let shown = format!(r#"[{{"role":"user","content":[{{"type":"text","text":"what?"}},{part}]}}]"#);
        let shown_alone = format!(r#"[{{"role":"user","content":[{part}]}}]"#);
        for (given, sent) in [
            (&[r#"{"role":"user","content":"a\u00e4","x":1}"#][..], r#"[{"role":"user","content":"a\u00e4"}]"#),
            (&[r#"{"role":"assistant","thinking":"hm"}"#], r#"[{"role":"assistant","content":null}]"#),
            (&[&image], &shown),
            (&[&alone], &shown_alone),
        ] {
            assert_eq!(mapped(given).unwrap(), sent);
        }
    }

    #[test]
    fn results_find_their_calls() {
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
    fn what_cannot_be_mapped_is_refused() {
        for (json, why) in [
            (r#"{"content":"no role"}"#, "invalid messages: a message is not one of a chat"),
            (r#"{"role":"user","images":["aGVsbG8sIEkgYW0gYSB0ZXh0"]}"#, "invalid messages: an image is none of PNG"),
            (r#"{"role":"assistant","tool_calls":[{}]}"#, "invalid messages: a message is not one of a chat"),
        ] {
            let error = mapped(&[json]).unwrap_err();
            assert!(error.to_string().starts_with(why), "{json}: {error}");
        }
    }
}
