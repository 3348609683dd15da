//! [`Ollama`]: Ollama's own API.

mod api;
mod chunks;
mod request;

pub use self::api::{Ollama, OllamaApi, OllamaBuilder};
