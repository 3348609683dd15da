//! [`OpenAi`]: OpenAI's API.

mod api;
mod embed;
mod image;
mod keep_alive;
mod loaded;
mod message;
mod models;
mod options;
mod request;
mod response;
mod response_format;
mod stream;
mod thinking;
mod tool_calls;

pub use self::api::{OpenAi, OpenAiApi, OpenAiBuilder};
