//! [`WebhookListener`], which serves a receiver on its own socket.

mod accept;
mod activity;
mod builder;
mod connection;
mod handle;

pub use self::builder::WebhookListenerBuilder;
pub use self::handle::WebhookListener;

#[cfg(test)]
mod tests;
