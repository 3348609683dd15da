use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::BoxError;
use crate::backend::error::BackendError;

/// A part of a tool call.
#[derive(Deserialize)]
pub(super) struct ToolCallDelta {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionDelta>,
}

#[derive(Deserialize)]
struct FunctionDelta {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

#[derive(Default)]
struct PartialCall {
    id: Option<String>,
    name: String,
    arguments: String,
}

/// A tool call in Ollama's shape.
#[derive(Debug, Serialize)]
pub(super) struct ToolCall {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    function: Function,
}

#[derive(Debug, Serialize)]
struct Function {
    name: String,
    arguments: Box<RawValue>,
}

/// Joins the parts of tool calls.
#[derive(Default)]
pub(super) struct ToolCalls(BTreeMap<u64, PartialCall>);

impl ToolCalls {
    pub(super) fn push(&mut self, delta: ToolCallDelta) {
        let last = self.0.last_key_value().map(|(index, _)| *index);
        // A server without an index sends each call as one part with its own id.
        let index = delta.index.unwrap_or_else(|| match (last, &delta.id) {
            (None, _) => 0,
            (Some(last), None) => last,
            (Some(last), Some(_)) => last.saturating_add(1),
        });
        let call = self.0.entry(index).or_default();
        call.id = call.id.take().or(delta.id).filter(|id| !id.is_empty());
        let Some(function) = delta.function else { return };
        call.name.push_str(function.name.as_deref().unwrap_or_default());
        call.arguments.push_str(function.arguments.as_deref().unwrap_or_default());
    }

    pub(super) fn finish(self) -> Result<Vec<ToolCall>, BoxError> {
        self.0.into_values().map(PartialCall::finish).collect()
    }
}

impl PartialCall {
    fn finish(self) -> Result<ToolCall, BoxError> {
        const REASON: &str = "tool call arguments are not a JSON object";
        let arguments = if self.arguments.trim().is_empty() { "{}".to_owned() } else { self.arguments };
        let arguments = RawValue::from_string(arguments).map_err(|error| BackendError::invalid_json(REASON, error))?;
        if !arguments.get().starts_with('{') {
            return Err(BackendError::invalid_response(REASON));
        }
        Ok(ToolCall { id: self.id, function: Function { name: self.name, arguments } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(parts: &[&str]) -> Result<String, BoxError> {
        let mut calls = ToolCalls::default();
        parts.iter().for_each(|part| calls.push(serde_json::from_str(part).unwrap()));
        Ok(serde_json::to_string(&calls.finish()?).unwrap())
    }

    #[test]
    fn parts_join_to_calls() {
        for (parts, calls) in [
            (&[][..], "[]"),
            (
                &[
                    r#"{"index":1,"id":"b","function":{"name":"g","arguments":""}}"#,
                    r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\""}}"#,
                    r#"{"index":0,"function":{"arguments":":1.0}"}}"#,
                ],
                r#"[{"id":"a","function":{"name":"f","arguments":{"x":1.0}}},{"id":"b","function":{"name":"g","arguments":{}}}]"#,
            ),
            (
                &[r#"{"id":"a","function":{"name":"f"}}"#, r#"{"id":"b","function":{"name":"g","arguments":"{}"}}"#],
                r#"[{"id":"a","function":{"name":"f","arguments":{}}},{"id":"b","function":{"name":"g","arguments":{}}}]"#,
            ),
        ] {
            assert_eq!(joined(parts).unwrap(), calls);
        }
    }

    #[test]
    fn non_object_arguments_are_transient_failure() {
        for arguments in ["[]", "7", "{\\\"x\\\":"] {
            let part = format!(r#"{{"index":0,"function":{{"name":"f","arguments":"{arguments}"}}}}"#);
            assert!(crate::backend::transient::is_transient(joined(&[&part]).unwrap_err().as_ref()));
        }
    }
}
