use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::stream::Events;
use super::tool_calls::ToolCall;
use crate::ChatResponse;
use crate::{BoxError, InvalidValue};

/// How long a response timings.
#[derive(Clone, Copy)]
pub(super) struct Timings {
    /// Until its first part.
    pub(super) first: Duration,
    pub(super) total: Duration,
}

/// Ollama's chat response.
#[derive(Serialize)]
struct OllamaResponse<'a> {
    model: &'a str,
    created_at: Timestamp,
    message: AssistantMessage,
    done: bool,
    done_reason: String,
    total_duration: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_count: Option<u64>,
    prompt_eval_duration: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_count: Option<u64>,
    eval_duration: u64,
}

#[derive(Serialize)]
struct AssistantMessage {
    role: &'static str,
    content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thinking: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall>,
}

/// Joins the events of a stream to Ollama's chat response.
pub(super) fn response(
    model: &str,
    created_at: Timestamp,
    events: Events,
    timings: Timings,
) -> Result<ChatResponse, BoxError> {
    let Events { content, thinking, tool_calls, finish_reason, usage } = events;
    let tool_calls = tool_calls.finish()?;
    let response: Result<_, InvalidValue> = ChatResponse::from_value(&OllamaResponse {
        model,
        created_at,
        message: AssistantMessage { role: "assistant", content, thinking, tool_calls },
        done: true,
        done_reason: done_reason(finish_reason),
        total_duration: nanoseconds(timings.total),
        prompt_eval_count: usage.and_then(|usage| usage.prompt_tokens),
        prompt_eval_duration: nanoseconds(timings.first),
        eval_count: usage.and_then(|usage| usage.completion_tokens),
        eval_duration: nanoseconds(timings.total.saturating_sub(timings.first)),
    });
    Ok(response?)
}

/// Ollama's `done_reason` of a tool call is `stop`.
fn done_reason(finish_reason: Option<String>) -> String {
    match finish_reason.as_deref() {
        None | Some("tool_calls" | "function_call") => "stop".to_owned(),
        _ => finish_reason.unwrap_or_default(),
    }
}

/// At least one, so that a division by a duration is never one by zero.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_join_to_ollama_response() {
        let join = |lines: &[&str]| {
            let mut events = Events::default();
            for line in lines {
                events.push(line.as_bytes()).unwrap();
            }
            let timings = Timings { first: Duration::from_nanos(3), total: Duration::from_nanos(10) };
            response("m", Timestamp::UNIX_EPOCH, events, timings).unwrap().result.get().to_owned()
        };
        let all = join(&[
            r#"data: {"choices":[{"delta":{"role":"assistant","content":null,"reasoning_content":"hm"}}]}"#,
            r#"data: {"choices":[{"delta":{"content":"a\u00e4"}}]}"#,
            r#"data: {"choices":[{"delta":{"content":"b"},"finish_reason":"length"}]}"#,
            r#"data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}"#,
        ]);
        let expected = concat!(
            r#"{"model":"m","created_at":"1970-01-01T00:00:00Z","message":{"role":"assistant","content":"aäb","thinking":"hm"},"#,
            r#""done":true,"done_reason":"length","total_duration":10,"prompt_eval_count":5,"prompt_eval_duration":3,"#,
            r#""eval_count":2,"eval_duration":7}"#
        );
        assert_eq!(all, expected);
        let called = join(&[
            r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}"#,
            r#"data: {"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
        ]);
        let message = r#""message":{"role":"assistant","content":"","tool_calls":[{"id":"a","function":{"name":"f","arguments":{}}}]},"done":true,"done_reason":"stop","total_duration":10,"prompt_eval_duration":3,"#;
        assert!(called.contains(message), "{called}");
    }
}
