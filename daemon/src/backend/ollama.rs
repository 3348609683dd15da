//! [`Ollama`]: chats, models and embeddings of an Ollama server.

mod answer;
mod builder;
mod request;
mod service;

pub use self::builder::OllamaBuilder;
pub use self::service::Ollama;
