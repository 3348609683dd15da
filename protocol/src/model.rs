//! Models and embeddings, which are asked for directly and not queued.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::InvalidValue;
use crate::json::raw;

/// A model the daemon can run (an entry of `models` in `GET /api/tags`, as Ollama has it).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The name to submit with.
    #[serde(default)]
    pub name: String,
    /// The same, as newer servers call it.
    #[serde(default)]
    pub model: String,
    /// When the model last changed.
    #[serde(default)]
    pub modified_at: Option<Timestamp>,
    /// Its size in bytes.
    #[serde(default)]
    pub size: u64,
    /// Its digest.
    #[serde(default)]
    pub digest: String,
    /// Whatever else the server tells, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<RawValue>>,
}

impl ModelInfo {
    /// A model of that name and nothing else known.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { model: name.clone(), name, ..Self::default() }
    }
}

/// Texts to embed (`POST /api/embed`).
///
/// ```
/// # fn main() -> Result<(), foreman_protocol::InvalidValue> {
/// use foreman_protocol::EmbedRequest;
///
/// let request = EmbedRequest::new("all-minilm", ["a text", "another"])?;
/// # assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"model":"all-minilm","input":["a text","another"]}"#);
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

/// One text or several (`input` on the wire, a string or an array of strings).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum EmbedInput {
    /// One text.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl EmbedInput {
    /// The texts, one or several.
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
    /// Asks `model` for the embeddings of one text or several.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] if the model is empty.
    pub fn new(model: impl Into<String>, input: impl Into<EmbedInput>) -> Result<Self, InvalidValue> {
        let model = model.into();
        if model.is_empty() {
            return Err(InvalidValue::new("model", "must not be empty"));
        }
        Ok(Self { model, input: input.into(), keep_alive: None, options: None })
    }

    /// How long the server keeps the model loaded: Ollama takes seconds as a number, or a text such as `"5m"`.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] if the value cannot be written as JSON.
    pub fn keep_alive(mut self, value: &impl Serialize) -> Result<Self, InvalidValue> {
        self.keep_alive = Some(raw("keep_alive", value)?);
        Ok(self)
    }

    /// The model's options.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] if the value cannot be written as JSON.
    pub fn options(mut self, value: &impl Serialize) -> Result<Self, InvalidValue> {
        self.options = Some(raw("options", value)?);
        Ok(self)
    }

    /// The model asked.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What is embedded.
    #[must_use]
    pub fn input(&self) -> &EmbedInput {
        &self.input
    }
}

/// The vectors, one for each text (the answer of `POST /api/embed`).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EmbedResponse {
    /// The model that made them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// One vector for each text, in their order.
    pub embeddings: Vec<Vec<f32>>,
}

impl EmbedResponse {
    /// Vectors without a model's name.
    #[must_use]
    pub fn new(embeddings: Vec<Vec<f32>>) -> Self {
        Self { model: None, embeddings }
    }
}
