//! The receiver on a socket of its own.

mod accept;
mod builder;
mod connection;
mod handle;

pub use self::builder::WebhookListenerBuilder;
pub use self::handle::WebhookListener;

#[cfg(test)]
mod tests;
