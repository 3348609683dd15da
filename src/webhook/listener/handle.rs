use std::net::SocketAddr;

use tokio::sync::watch;

use super::builder::WebhookListenerBuilder;
use crate::Notifier;
use crate::webhook::WebhookReceiver;

/// Serves a [`WebhookReceiver`] on its own socket.
///
/// One listener is enough for any number of jobs. See the [module docs](crate::webhook) for an example, and for when to
/// mount the receiver in an existing server instead.
///
/// The listener speaks HTTP/1.1 without TLS. Connections are persistent: an event of a busy daemon costs no handshake. A connection on
/// which a request was refused is closed.
///
/// Dropping the listener stops it in the same way as [`shutdown`](WebhookListener::shutdown), but does not wait for the
/// end.
#[derive(Debug)]
pub struct WebhookListener {
    address: SocketAddr,
    /// Each task of the listener has a receiver of this channel. It stops when the value is `true` or the sender is
    /// dropped.
    stop: watch::Sender<bool>,
    notifier: Notifier,
}

impl Drop for WebhookListener {
    fn drop(&mut self) {
        self.notifier.interrupt();
    }
}

impl WebhookListener {
    /// Returns a builder for a listener that serves `receiver`.
    pub fn builder(receiver: WebhookReceiver) -> WebhookListenerBuilder {
        WebhookListenerBuilder::new(receiver)
    }

    pub(super) fn new(address: SocketAddr, stop: watch::Sender<bool>, notifier: Notifier) -> Self {
        Self { address, stop, notifier }
    }

    /// Returns the local address. If the listener was bound to port 0, it has the port that the system assigned.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops the listener gracefully.
    ///
    /// 1. The socket is closed, and with it each connection on which no byte has arrived.
    /// 2. The other connections have the [drain timeout](WebhookListenerBuilder::drain_timeout) to complete their
    ///    request. Their events are delivered.
    /// 3. The connections that remain are aborted.
    ///
    /// The waits go on, and poll as often as without webhooks until an event comes by another receiver of the notifier.
    ///
    /// When the future completes, all tasks of the listener have ended. The receiver stays open, since it may also be
    /// mounted elsewhere; [`WebhookReceiver::close`] closes it.
    ///
    /// # Cancel safety
    ///
    /// The first poll stops the listener. If the future is dropped after that, the shutdown continues in the
    /// background. Calling `shutdown` again waits for its end.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        self.notifier.interrupt();
        self.stop.closed().await;
    }
}

/// Completes when the listener stops.
pub(super) async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender, and so the listener, was dropped. This stops the tasks too.
    let _ = stop.wait_for(|stop| *stop).await;
}
