//! What is asked of the daemon: [`SubmitRequest`] and the [`Message`]s in it.

mod builder;
mod message;
mod submit;

pub use self::builder::SubmitRequestBuilder;
pub use self::message::Message;
pub use self::submit::SubmitRequest;
