use serde::Deserialize;
use serde_json::Value;

use super::tool_calls::{Piece, ToolCalls};
use crate::BoxError;
use crate::backend::error::BackendError;

/// The events of a streamed chat, put together.
#[derive(Default)]
pub(super) struct Events {
    pub(super) content: String,
    pub(super) thinking: String,
    pub(super) tool_calls: ToolCalls,
    pub(super) finish_reason: Option<String>,
    pub(super) usage: Option<Usage>,
}

/// How many tokens it took.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Usage {
    #[serde(default)]
    pub(super) prompt_tokens: Option<u64>,
    #[serde(default)]
    pub(super) completion_tokens: Option<u64>,
}

/// What a line of the stream was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing of the answer: a role, a field of the event stream that is not read.
    Other,
    /// A part of what the model says, or what is told after it.
    Said,
    /// The end.
    Done,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
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
    /// The same, as newer servers call it.
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Piece>>,
}

impl Events {
    pub(super) fn push(&mut self, line: &[u8]) -> Result<Line, BoxError> {
        // llama.cpp names the field after what is in it.
        if let Some(error) = line.strip_prefix(b"error:") {
            return Err(BackendError::said(&serde_json::from_slice(error).map_err(garbage)?));
        }
        let Some(data) = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii) else {
            return field(line);
        };
        if data == b"[DONE]" {
            return Ok(Line::Done);
        }
        let chunk: Chunk = serde_json::from_slice(data).map_err(garbage)?;
        if let Some(error) = chunk.error {
            return Err(BackendError::said(&error));
        }
        self.usage = chunk.usage.or(self.usage);
        // One answer was asked for, so there is one choice.
        let Some(choice) = chunk.choices.unwrap_or_default().into_iter().next() else { return Ok(Line::Other) };
        self.finish_reason = choice.finish_reason.or(self.finish_reason.take());
        let said = choice.delta.is_some_and(|delta| self.said(delta)) || self.finish_reason.is_some();
        Ok(if said { Line::Said } else { Line::Other })
    }

    fn said(&mut self, delta: Delta) -> bool {
        let content = delta.content.unwrap_or_default();
        let thinking = delta.reasoning_content.or(delta.reasoning).unwrap_or_default();
        let calls = delta.tool_calls.unwrap_or_default();
        let said = !(content.is_empty() && thinking.is_empty() && calls.is_empty());
        self.content.push_str(&content);
        self.thinking.push_str(&thinking);
        calls.into_iter().for_each(|piece| self.tool_calls.push(piece));
        said
    }
}

/// A line that is no data, but may be another field of an event stream.
fn field(line: &[u8]) -> Result<Line, BoxError> {
    let known = [&b"event"[..], b"id", b"retry"];
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    if known.contains(&name) {
        Ok(Line::Other)
    } else {
        Err(BackendError::garbage("a line is not one of an event stream"))
    }
}

fn garbage(error: serde_json::Error) -> BoxError {
    BackendError::garbage_json("an event is not a chunk of a chat", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::transient::is_transient;
    use crate::failure::failure;

    #[test]
    fn lines_are_told_apart() {
        for (line, what) in [
            (r#"data: {"choices":[{"delta":{"role":"assistant","content":null}}]}"#, Line::Other),
            (r#"data: {"choices":[{"delta":{"role":"assistant","content":""}}]}"#, Line::Other),
            (r#"data:{"choices":[{"delta":{"content":"a"}}]}"#, Line::Said),
            (r#"data: {"choices":[{"delta":{"reasoning_content":"a"}}]}"#, Line::Said),
            (r#"data: {"choices":[{"delta":{"reasoning":"a"}}]}"#, Line::Said),
            (r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#, Line::Said),
            (r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#, Line::Said),
            (r#"data: {"choices":[],"usage":{"prompt_tokens":1}}"#, Line::Other),
            ("event: message", Line::Other),
            ("retry: 10", Line::Other),
            ("data: [DONE]", Line::Done),
        ] {
            assert_eq!(Events::default().push(line.as_bytes()).unwrap(), what, "{line}");
        }
    }

    #[test]
    fn errors_and_garbage_fail_the_attempt() {
        for (line, transient, why) in [
            ("<html>", true, "a line is not one of an event stream"),
            ("data: <html>", true, "an event is not a chunk of a chat"),
            (r#"data: {"choices":7}"#, true, "an event is not a chunk of a chat"),
            (r#"data: {"error":{"message":"boom","code":500}}"#, true, "the model server failed: boom"),
            (r#"error: {"message":"too long","code":400}"#, false, "the model server failed: too long"),
        ] {
            let error = Events::default().push(line.as_bytes()).unwrap_err();
            assert_eq!(is_transient(error.as_ref()), transient, "{line}");
            assert!(failure(error.as_ref()).contains(why), "{line}: {error:?}");
        }
    }
}
