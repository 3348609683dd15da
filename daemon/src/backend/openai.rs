//! [`OpenAi`]: OpenAI's API.

mod api;
mod embed;
mod image;
mod message;
mod models;
mod request;
mod response;
mod stream;
mod tool_calls;

pub use self::api::{OpenAi, OpenAiApi, OpenAiBuilder};
