//! [`Ollama`]: chats, models and embeddings of an Ollama server.

mod builder;
mod chunks;
mod request;
mod service;

pub use self::builder::OllamaBuilder;
pub use self::service::Ollama;
