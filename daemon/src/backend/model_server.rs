//! Backends that call a model server over HTTP.
//!
//! A [`ModelBackend`] combines a connection to the server, the limits of its [builder](ModelBackendBuilder), and the API that
//! the server speaks. There are two of them: [`Ollama`](crate::Ollama) and [`OpenAi`](crate::OpenAi).

mod api;
mod api_key;
mod builder;
mod client;
mod limits;
mod lines;
mod model_backend;
mod response;
mod server;

pub use self::api::ModelApi;
pub(super) use self::api_key::ApiKey;
pub use self::builder::ModelBackendBuilder;
pub use self::model_backend::ModelBackend;
pub(super) use self::server::ModelServer;
pub use super::ollama::OllamaApi;
pub use super::openai::OpenAiApi;
