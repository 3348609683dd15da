use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::BoxError;
use crate::backend::error::BackendError;

type Fields = BTreeMap<String, Box<RawValue>>;

/// Joins the chunks of a streamed chat to the response that Ollama sends without streaming.
///
/// Texts are joined and lists are concatenated. Of any other field the last value is kept, byte for byte.
#[derive(Default)]
pub(super) struct Chunks {
    fields: Fields,
    logprobs: Vec<Box<RawValue>>,
    message: Fields,
    content: String,
    thinking: String,
    tool_calls: Vec<Box<RawValue>>,
}

impl Chunks {
    /// Adds a line of the stream. Returns whether it is the last one.
    pub(super) fn push(&mut self, line: &[u8]) -> Result<bool, BoxError> {
        let fields: Fields = read(line)?;
        if let Some(error) = fields.get("error") {
            return Err(BackendError::reported(&read::<Value>(error.get().as_bytes())?));
        }
        let mut done = false;
        for (name, value) in fields {
            match name.as_str() {
                "message" => self.message(&value)?,
                "logprobs" => self.logprobs.extend(list(&value)?),
                _ => {
                    done |= name == "done" && value.get() == "true";
                    self.fields.insert(name, value);
                }
            }
        }
        Ok(done)
    }

    fn message(&mut self, message: &RawValue) -> Result<(), BoxError> {
        let message: Option<Fields> = read(message.get().as_bytes())?;
        for (name, value) in message.unwrap_or_default() {
            match name.as_str() {
                "content" => self.content.push_str(&text(&value)?),
                "thinking" => self.thinking.push_str(&text(&value)?),
                "tool_calls" => self.tool_calls.extend(list(&value)?),
                _ => drop(self.message.insert(name, value)),
            }
        }
        Ok(())
    }

    /// The complete response.
    pub(super) fn finish(mut self) -> Result<Box<RawValue>, BoxError> {
        self.message.insert("content".to_owned(), to_raw_value(&self.content)?);
        if !self.message.contains_key("role") {
            self.message.insert("role".to_owned(), to_raw_value("assistant")?);
        }
        if !self.thinking.is_empty() {
            self.message.insert("thinking".to_owned(), to_raw_value(&self.thinking)?);
        }
        insert_list(&mut self.message, "tool_calls", &self.tool_calls)?;
        insert_list(&mut self.fields, "logprobs", &self.logprobs)?;
        self.fields.insert("message".to_owned(), to_raw_value(&self.message)?);
        Ok(to_raw_value(&self.fields)?)
    }
}

fn insert_list(fields: &mut Fields, name: &str, list: &[impl Serialize]) -> Result<(), BoxError> {
    if !list.is_empty() {
        fields.insert(name.to_owned(), to_raw_value(list)?);
    }
    Ok(())
}

fn text(value: &RawValue) -> Result<String, BoxError> {
    Ok(read::<Option<String>>(value.get().as_bytes())?.unwrap_or_default())
}

fn list(value: &RawValue) -> Result<Vec<Box<RawValue>>, BoxError> {
    Ok(read::<Option<Vec<_>>>(value.get().as_bytes())?.unwrap_or_default())
}

fn read<'a, T: serde::Deserialize<'a>>(json: &'a [u8]) -> Result<T, BoxError> {
    serde_json::from_slice(json).map_err(|error| BackendError::invalid_json("line is not a chat chunk", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::transient::is_transient;
    use crate::failure::failure;

    fn joined(lines: &[&str]) -> String {
        let mut chunks = Chunks::default();
        let mut dones = lines.iter().map(|line| chunks.push(line.as_bytes()).unwrap()).collect::<Vec<_>>();
        assert!(dones.pop().unwrap() && !dones.contains(&true));
        chunks.finish().unwrap().get().to_owned()
    }

    #[test]
    fn chunks_join_to_unstreamed_response() {
        for (lines, response) in [
            (
                &[
                    r#"{"model":"m","created_at":"1","message":{"role":"assistant","content":"","thinking":"h"},"done":false}"#,
                    r#"{"model":"m","created_at":"2","message":{"role":"assistant","content":"","thinking":"m"},"done":false}"#,
                    r#"{"model":"m","created_at":"3","message":{"role":"assistant","content":"a\u00e4"},"done":false}"#,
                    r#"{"model":"m","created_at":"4","message":{"role":"assistant","content":"b"},"done":true,"done_reason":"stop","total_duration":18446744073709551615,"eval_count":2}"#,
                ][..],
                r#"{"created_at":"4","done":true,"done_reason":"stop","eval_count":2,"message":{"content":"aäb","role":"assistant","thinking":"hm"},"model":"m","total_duration":18446744073709551615}"#,
            ),
            (
                &[
                    r#"{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"x":1.0}}}]},"done":false}"#,
                    r#"{"message":{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"g","arguments":{}}}]},"done":false,"logprobs":[1]}"#,
                    r#"{"message":{"content":""},"done":true,"own":{ "k" : 1e2 },"logprobs":[2]}"#,
                ],
                r#"{"done":true,"logprobs":[1,2],"message":{"content":"","role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"x":1.0}}},{"function":{"name":"g","arguments":{}}}]},"own":{ "k" : 1e2 }}"#,
            ),
            (&[r#"{"done":true}"#], r#"{"done":true,"message":{"content":"","role":"assistant"}}"#),
        ] {
            assert_eq!(joined(lines), response);
        }
    }

    #[test]
    fn invalid_chunk_is_transient_failure() {
        for (line, why) in [
            ("<html>", "line is not a chat chunk: expected value"),
            ("[]", "line is not a chat chunk"),
            (r#"{"message":7}"#, "line is not a chat chunk"),
            (r#"{"message":{"content":7}}"#, "line is not a chat chunk"),
            (r#"{"error":"out of memory"}"#, "the model server failed: out of memory"),
        ] {
            let error = Chunks::default().push(line.as_bytes()).unwrap_err();
            assert!(is_transient(error.as_ref()) && failure(error.as_ref()).contains(why), "{line}: {error:?}");
        }
    }
}
