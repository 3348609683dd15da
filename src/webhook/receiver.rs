//! [`WebhookReceiver`], the service that accepts webhooks.

mod body;
mod builder;
mod future;
mod response;
mod service;

pub use self::builder::WebhookReceiverBuilder;
pub use self::future::ReceiverFuture;
pub use self::service::WebhookReceiver;

#[cfg(test)]
mod tests;
