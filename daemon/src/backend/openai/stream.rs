use serde::Deserialize;
use serde_json::Value;

use super::tool_calls::{ToolCallDelta, ToolCalls};
use crate::BoxError;
use crate::backend::error::BackendError;

/// Collects the events of a streamed chat.
#[derive(Default)]
pub(super) struct Events {
    pub(super) content: String,
    pub(super) thinking: String,
    pub(super) tool_calls: ToolCalls,
    pub(super) finish_reason: Option<String>,
    pub(super) usage: Option<Usage>,
}

/// Token counts.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Usage {
    #[serde(default)]
    pub(super) prompt_tokens: Option<u64>,
    #[serde(default)]
    pub(super) completion_tokens: Option<u64>,
}

/// The kind of a line of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Not a part of the response: a role, or an unused field of the event stream.
    Other,
    /// A part of the response, or its finish reason.
    Delta,
    /// The end.
    Done,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Option<Vec<StreamChoice>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct StreamChoice {
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    reasoning_content: Option<String>,
    /// The name that newer servers use.
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<ToolCallDelta>>,
}

impl Events {
    pub(super) fn push(&mut self, line: &[u8]) -> Result<Line, BoxError> {
        // llama.cpp sends errors in a field of this name.
        if let Some(error) = line.strip_prefix(b"error:") {
            return Err(BackendError::reported(&serde_json::from_slice(error).map_err(invalid_chunk)?));
        }
        let Some(data) = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii) else {
            return field(line);
        };
        if data == b"[DONE]" {
            return Ok(Line::Done);
        }
        let chunk: Chunk = serde_json::from_slice(data).map_err(invalid_chunk)?;
        if let Some(error) = chunk.error {
            return Err(BackendError::reported(&error));
        }
        self.usage = chunk.usage.or(self.usage);
        // The request asks for one choice.
        let Some(choice) = chunk.choices.unwrap_or_default().into_iter().next() else { return Ok(Line::Other) };
        self.finish_reason = choice.finish_reason.or(self.finish_reason.take());
        let is_delta = choice.delta.is_some_and(|delta| self.append(delta)) || self.finish_reason.is_some();
        Ok(if is_delta { Line::Delta } else { Line::Other })
    }

    /// Returns whether the delta has content.
    fn append(&mut self, delta: Delta) -> bool {
        let content = delta.content.unwrap_or_default();
        let thinking = delta.reasoning_content.or(delta.reasoning).unwrap_or_default();
        let calls = delta.tool_calls.unwrap_or_default();
        let has_content = !(content.is_empty() && thinking.is_empty() && calls.is_empty());
        self.content.push_str(&content);
        self.thinking.push_str(&thinking);
        calls.into_iter().for_each(|delta| self.tool_calls.push(delta));
        has_content
    }
}

/// A line without data: another field of an event stream, or an error.
fn field(line: &[u8]) -> Result<Line, BoxError> {
    let known = [&b"event"[..], b"id", b"retry"];
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    if known.contains(&name) {
        Ok(Line::Other)
    } else {
        Err(BackendError::invalid_response("line is not part of an event stream"))
    }
}

fn invalid_chunk(error: serde_json::Error) -> BoxError {
    BackendError::invalid_json("event is not a chat chunk", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::transient::is_transient;
    use crate::failure::failure;

    #[test]
    fn line_kinds() {
        for (line, kind) in [
            (r#"data: {"choices":[{"delta":{"role":"assistant","content":null}}]}"#, Line::Other),
            (r#"data: {"choices":[{"delta":{"role":"assistant","content":""}}]}"#, Line::Other),
            (r#"data:{"choices":[{"delta":{"content":"a"}}]}"#, Line::Delta),
            (r#"data: {"choices":[{"delta":{"reasoning_content":"a"}}]}"#, Line::Delta),
            (r#"data: {"choices":[{"delta":{"reasoning":"a"}}]}"#, Line::Delta),
            (r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#, Line::Delta),
            (r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#, Line::Delta),
            (r#"data: {"choices":[],"usage":{"prompt_tokens":1}}"#, Line::Other),
            ("event: message", Line::Other),
            ("retry: 10", Line::Other),
            ("data: [DONE]", Line::Done),
        ] {
            assert_eq!(Events::default().push(line.as_bytes()).unwrap(), kind, "{line}");
        }
    }

    #[test]
    fn errors_and_invalid_lines_fail_attempt() {
        for (line, transient, message) in [
            ("<html>", true, "line is not part of an event stream"),
            ("data: <html>", true, "event is not a chat chunk"),
            (r#"data: {"choices":7}"#, true, "event is not a chat chunk"),
            (r#"data: {"error":{"message":"boom","code":500}}"#, true, "the model server failed: boom"),
            (r#"error: {"message":"too long","code":400}"#, false, "the model server failed: too long"),
        ] {
            let error = Events::default().push(line.as_bytes()).unwrap_err();
            assert_eq!(is_transient(error.as_ref()), transient, "{line}");
            assert!(failure(error.as_ref()).contains(message), "{line}: {error:?}");
        }
    }
}
