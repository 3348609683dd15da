//! Models and embeddings. The daemon responds to these requests directly, without a job.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::InvalidValue;
use crate::json::{lenient, raw};

/// A model that the daemon can run (an element of `models` in the response to Ollama's `GET /api/tags`).
///
/// An absent field has its default: an empty string, 0 or `None`. A `null`, and a value of another
/// type, is read as an absent field. Unknown fields are ignored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelInfo {
    /// `name`: the name to use in a request.
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    /// `model`: the same name. Newer versions of Ollama send both fields.
    #[serde(default, deserialize_with = "lenient")]
    pub model: String,
    /// `modified_at`: when the model was last modified, an RFC 3339 string on the wire.
    #[serde(default, deserialize_with = "lenient")]
    pub modified_at: Option<Timestamp>,
    /// `size`: the size in bytes.
    #[serde(default, deserialize_with = "lenient")]
    pub size: u64,
    /// `digest`: the digest of the model.
    #[serde(default, deserialize_with = "lenient")]
    pub digest: String,
    /// `details`: further properties of the model, byte for byte as received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<RawValue>>,
    /// `backends`: the names of the backends that have the model, of a daemon with several. If several daemons share a queue, those of
    /// all of them, as `BOX/BACKEND`.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<String>,
    /// `boxes`: the names of the daemons that have the model, if several share a queue.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Vec::is_empty")]
    pub boxes: Vec<String>,
    /// `loaded`: the names of the backends that have the model in memory, as in `backends`, also of the only backend of a daemon. Empty
    /// also if the model servers do not report it.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Vec::is_empty")]
    pub loaded: Vec<String>,
}

impl ModelInfo {
    /// Creates a model with a name. The other fields are empty, `None` or 0.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { model: name.clone(), name, ..Self::default() }
    }
}

/// A request for embeddings (the body of Ollama's `POST /api/embed`).
///
/// On the wire: `model`, `input`, and optionally `keep_alive` and `options`.
///
/// ```
/// # fn main() -> Result<(), foreman_protocol::InvalidValue> {
/// use foreman_protocol::EmbedRequest;
///
/// let request = EmbedRequest::new("all-minilm", ["a text", "another"])?;
/// assert_eq!(request.model(), "all-minilm");
/// assert_eq!(request.input().texts().len(), 2);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EmbedRequest {
    model: String,
    input: EmbedInput,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_alive: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Box<RawValue>>,
}

/// The texts of an [`EmbedRequest`] (`input` on the wire: a string or an array of strings).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum EmbedInput {
    /// One text, a string on the wire.
    One(String),
    /// Any number of texts, an array of strings on the wire.
    Many(Vec<String>),
}

impl EmbedInput {
    /// The texts.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

impl From<&str> for EmbedInput {
    fn from(text: &str) -> Self {
        Self::One(text.to_owned())
    }
}

impl From<String> for EmbedInput {
    fn from(text: String) -> Self {
        Self::One(text)
    }
}

impl<S: Into<String>> From<Vec<S>> for EmbedInput {
    fn from(texts: Vec<S>) -> Self {
        Self::Many(texts.into_iter().map(Into::into).collect())
    }
}

impl<S: Into<String>, const N: usize> From<[S; N]> for EmbedInput {
    fn from(texts: [S; N]) -> Self {
        Self::Many(texts.into_iter().map(Into::into).collect())
    }
}

impl EmbedRequest {
    /// Creates a request for the embeddings of one or more texts.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for the field `model` if the model is empty.
    pub fn new(model: impl Into<String>, input: impl Into<EmbedInput>) -> Result<Self, InvalidValue> {
        let model = model.into();
        if model.is_empty() {
            return Err(InvalidValue::new("model", "must not be empty"));
        }
        Ok(Self { model, input: input.into(), keep_alive: None, options: None })
    }

    /// Sets `keep_alive`: how long the model server keeps the model loaded. Ollama accepts a number of seconds, or a string such
    /// as `"5m"`. Absent by default.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] if the value cannot be serialized as JSON.
    pub fn keep_alive(mut self, value: &impl Serialize) -> Result<Self, InvalidValue> {
        self.keep_alive = Some(raw("keep_alive", value)?);
        Ok(self)
    }

    /// Sets `options`: the model's options, an object in Ollama's format. Absent by default.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] if the value cannot be serialized as JSON.
    pub fn options(mut self, value: &impl Serialize) -> Result<Self, InvalidValue> {
        self.options = Some(raw("options", value)?);
        Ok(self)
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The texts to embed.
    #[must_use]
    pub fn input(&self) -> &EmbedInput {
        &self.input
    }
}

/// The embeddings (the response to Ollama's `POST /api/embed`).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EmbedResponse {
    /// `model`: the model that computed the embeddings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `embeddings`: one vector for each text, in the order of the request. Required.
    pub embeddings: Vec<Vec<f32>>,
}

impl EmbedResponse {
    /// Creates a response without the name of a model.
    #[must_use]
    pub fn new(embeddings: Vec<Vec<f32>>) -> Self {
        Self { model: None, embeddings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_model_fields_are_read_as_absent() {
        let json = r#"{"name":"m","model":null,"modified_at":"","size":null,"digest":null,"details":null}"#;
        let model: ModelInfo = serde_json::from_str(json).unwrap();
        assert_eq!((model.name.as_str(), model.size, model.digest.as_str(), model.modified_at), ("m", 0, "", None));
    }
}
