//! The service that takes events.

mod answer;
mod body;
mod builder;
mod future;
mod service;

pub use self::builder::WebhookReceiverBuilder;
pub use self::future::ReceiverFuture;
pub use self::service::WebhookReceiver;

#[cfg(test)]
mod tests;
