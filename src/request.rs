//! What is asked of the daemon: [`SubmitRequest`] and the [`Message`]s in it.

mod builder;
mod submit;

#[doc(inline)]
pub use foreman_protocol::Message;

pub use self::builder::SubmitRequestBuilder;
pub use self::submit::SubmitRequest;
