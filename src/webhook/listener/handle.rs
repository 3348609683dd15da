use std::net::SocketAddr;

use tokio::sync::watch;

use super::builder::WebhookListenerBuilder;
use crate::webhook::WebhookReceiver;

/// Serves a [`WebhookReceiver`] on a socket of its own, one for all jobs.
///
/// HTTP/1.1 only, and one request to a connection: a daemon that kept a connection for its next event would find it closed as
/// often as not, by the idle time-out that silent peers make necessary, and would lose that event for the time of a retry.
/// What else is bounded, and how far, is said at the [builder](WebhookListenerBuilder).
///
/// Dropping it stops it as [`shutdown`](WebhookListener::shutdown) does, without waiting for it.
#[derive(Debug)]
pub struct WebhookListener {
    address: SocketAddr,
    /// Every task of the listener has a receiver of it, and ends when it says `true` or is gone.
    stop: watch::Sender<bool>,
}

impl WebhookListener {
    /// A listener to be bound.
    pub fn builder(receiver: WebhookReceiver) -> WebhookListenerBuilder {
        WebhookListenerBuilder::new(receiver)
    }

    pub(super) fn new(address: SocketAddr, stop: watch::Sender<bool>) -> Self {
        Self { address, stop }
    }

    /// Where it listens, with the port that the system chose if 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, closes the connections that have not asked anything yet, lets the others finish for up to the drain
    /// time, and aborts what is left. When it returns, no task of the listener is left.
    ///
    /// Events that are being read are still delivered. The receiver stays open, as it may be mounted elsewhere too; to have it
    /// answer 503, [`close`](WebhookReceiver::close) it.
    ///
    /// # Cancel safety
    ///
    /// Once polled it has stopped the listener, which it remains when this is dropped; calling it again waits again.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        self.stop.closed().await;
    }
}

/// Ends when the listener is to stop.
pub(super) async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error says that the listener is gone, which means the same.
    let _ = stop.wait_for(|stop| *stop).await;
}
