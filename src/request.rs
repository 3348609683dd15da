//! Requests: [`SubmitRequest`] and its [`Message`]s.

mod builder;
mod fields;
mod submit;

#[doc(inline)]
pub use foreman_protocol::Message;

pub use self::builder::SubmitRequestBuilder;
pub use self::submit::SubmitRequest;
