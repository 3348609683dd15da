//! [`OpenAi`]: chats, models and embeddings of a server with OpenAI's API.

mod builder;
mod embed;
mod image;
mod message;
mod models;
mod request;
mod response;
mod service;
mod stream;
mod tool_calls;

pub use self::builder::OpenAiBuilder;
pub use self::service::OpenAi;
