//! What runs the jobs: [`Backend`], made of tower services; [`Ollama`] and [`OpenAi`], which ask a model server, and [`Echo`],
//! which asks none.

mod chat;
mod client;
mod echo;
mod erased;
mod error;
mod http;
mod limits;
mod ollama;
mod openai;
mod transient;

pub use self::chat::{Chat, ChatAnswer};
pub use self::echo::Echo;
pub use self::erased::{Backend, ListModels};
pub use self::ollama::{Ollama, OllamaBuilder};
pub use self::openai::{OpenAi, OpenAiBuilder};
pub use self::transient::Transient;
pub(crate) use self::transient::is_transient;
