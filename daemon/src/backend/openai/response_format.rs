use serde::Serialize;
use serde_json::value::RawValue;

use crate::InvalidValue;

/// OpenAI's `response_format`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ResponseFormat<'a> {
    JsonObject,
    JsonSchema { json_schema: NamedSchema<'a> },
}

/// A JSON schema, with the name that the API requires.
#[derive(Serialize)]
pub(super) struct NamedSchema<'a> {
    name: &'static str,
    schema: &'a RawValue,
    strict: bool,
}

impl<'a> ResponseFormat<'a> {
    /// Maps Ollama's `format`: `"json"` or a schema. An empty text is the same as none.
    pub(super) fn new(format: &'a RawValue) -> Result<Option<Self>, InvalidValue> {
        match format.get() {
            r#""""# => Ok(None),
            r#""json""# => Ok(Some(Self::JsonObject)),
            schema if schema.starts_with('{') => {
                let json_schema = NamedSchema { name: "response", schema: format, strict: true };
                Ok(Some(Self::JsonSchema { json_schema }))
            }
            _ => Err(InvalidValue::new("format", "must be \"json\" or a JSON schema")),
        }
    }
}
