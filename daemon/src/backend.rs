//! Backends run the jobs. [`Backend`] is made of tower services; [`Ollama`] and [`OpenAi`] call a model server, and [`Echo`]
//! needs none.

mod chat;
mod echo;
mod erased;
mod error;
pub mod model_server;
mod ollama;
mod openai;
mod transient;
mod unavailable;

pub use self::chat::{Chat, ChatResponse};
pub use self::echo::Echo;
pub use self::erased::{Backend, ListLoaded, ListModels};
#[cfg(test)]
pub(crate) use self::error::BackendError;
pub use self::ollama::{Ollama, OllamaBuilder};
pub use self::openai::{OpenAi, OpenAiBuilder};
pub use self::transient::Transient;
pub(crate) use self::transient::is_transient;
pub use self::unavailable::Unavailable;
