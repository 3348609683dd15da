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

struct PartialCall {
    index: u64,
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
pub(super) struct ToolCalls(Vec<PartialCall>);

impl ToolCalls {
    pub(super) fn push(&mut self, delta: ToolCallDelta) {
        let id = delta.id.filter(|id| !id.is_empty());
        // The latest, since some servers send parallel calls one after the other with the same index.
        match self.0.iter_mut().rfind(|call| call.continues_with(delta.index, id.as_deref())) {
            Some(call) => call.append(id, delta.function),
            None => {
                let next = self.0.iter().map(|call| call.index.saturating_add(1)).max().unwrap_or_default();
                let mut call = PartialCall::new(delta.index.unwrap_or(next));
                call.append(id, delta.function);
                self.0.push(call);
            }
        }
    }

    pub(super) fn finish(mut self) -> Result<Vec<ToolCall>, BoxError> {
        self.0.sort_by_key(|call| call.index);
        self.0.into_iter().map(PartialCall::finish).collect()
    }
}

impl PartialCall {
    fn new(index: u64) -> Self {
        Self { index, id: None, name: String::new(), arguments: String::new() }
    }

    /// Whether a part belongs to this call. Parts with different ids belong to different calls, also if their index is the same.
    fn continues_with(&self, index: Option<u64>, id: Option<&str>) -> bool {
        let is_same_id = match (&self.id, id) {
            (_, None) => true,
            (Some(own), Some(id)) => own == id,
            // A server without an index sends each call as one part with its own id.
            (None, Some(_)) => index.is_some(),
        };
        is_same_id && index.is_none_or(|index| index == self.index)
    }

    fn append(&mut self, id: Option<String>, function: Option<FunctionDelta>) {
        self.id = self.id.take().or(id);
        let Some(function) = function else { return };
        self.name.push_str(function.name.as_deref().unwrap_or_default());
        self.arguments.push_str(function.arguments.as_deref().unwrap_or_default());
    }

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
            // Parallel calls that all have the index 0.
            (
                &[
                    r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}}"#,
                    r#"{"index":0,"id":"a","function":{"arguments":"1"}}"#,
                    r#"{"index":0,"function":{"arguments":"}"}}"#,
                    r#"{"index":0,"id":"b","function":{"name":"g","arguments":"{"}}"#,
                    r#"{"index":1,"id":"c","function":{"name":"h"}}"#,
                    r#"{"index":0,"id":"","function":{"arguments":"}"}}"#,
                ],
                r#"[{"id":"a","function":{"name":"f","arguments":{"x":1}}},{"id":"b","function":{"name":"g","arguments":{}}},{"id":"c","function":{"name":"h","arguments":{}}}]"#,
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
