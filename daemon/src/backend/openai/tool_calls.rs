use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::BoxError;
use crate::backend::error::BackendError;

/// A piece of a tool call.
#[derive(Deserialize)]
pub(super) struct Piece {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionPiece>,
}

#[derive(Deserialize)]
struct FunctionPiece {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

#[derive(Default)]
struct Call {
    id: Option<String>,
    name: String,
    arguments: String,
}

/// A tool call as Ollama has it.
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

/// The tool calls of an answer, put together from their pieces.
#[derive(Default)]
pub(super) struct ToolCalls(BTreeMap<u64, Call>);

impl ToolCalls {
    pub(super) fn push(&mut self, piece: Piece) {
        let last = self.0.last_key_value().map(|(index, _)| *index);
        // Servers that leave the index out send calls whole, each with an id of its own.
        let index = piece.index.unwrap_or_else(|| match (last, &piece.id) {
            (None, _) => 0,
            (Some(last), None) => last,
            (Some(last), Some(_)) => last.saturating_add(1),
        });
        let call = self.0.entry(index).or_default();
        call.id = call.id.take().or(piece.id).filter(|id| !id.is_empty());
        let Some(function) = piece.function else { return };
        call.name.push_str(function.name.as_deref().unwrap_or_default());
        call.arguments.push_str(function.arguments.as_deref().unwrap_or_default());
    }

    pub(super) fn finish(self) -> Result<Vec<ToolCall>, BoxError> {
        self.0.into_values().map(Call::finish).collect()
    }
}

impl Call {
    fn finish(self) -> Result<ToolCall, BoxError> {
        const WHY: &str = "the arguments of a tool call are not a JSON object";
        let arguments = if self.arguments.trim().is_empty() { "{}".to_owned() } else { self.arguments };
        let arguments = RawValue::from_string(arguments).map_err(|error| BackendError::garbage_json(WHY, error))?;
        if !arguments.get().starts_with('{') {
            return Err(BackendError::garbage(WHY));
        }
        Ok(ToolCall { id: self.id, function: Function { name: self.name, arguments } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(pieces: &[&str]) -> Result<String, BoxError> {
        let mut calls = ToolCalls::default();
        pieces.iter().for_each(|piece| calls.push(serde_json::from_str(piece).unwrap()));
        Ok(serde_json::to_string(&calls.finish()?).unwrap())
    }

    #[test]
    fn pieces_become_calls_with_objects() {
        for (pieces, calls) in [
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
            assert_eq!(joined(pieces).unwrap(), calls);
        }
    }

    #[test]
    fn arguments_that_are_no_object_fail_the_attempt() {
        for arguments in ["[]", "7", "{\\\"x\\\":"] {
            let piece = format!(r#"{{"index":0,"function":{{"name":"f","arguments":"{arguments}"}}}}"#);
            assert!(crate::backend::transient::is_transient(joined(&[&piece]).unwrap_err().as_ref()));
        }
    }
}
