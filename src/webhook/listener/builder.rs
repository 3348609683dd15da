use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::accept::accept_loop;
use super::handle::WebhookListener;
use crate::Error;
use crate::error::Kind;
use crate::webhook::WebhookReceiver;

/// The minimum for `max_buf_size` of hyper, in bytes.
const MIN_BUFFER: usize = 8192;

/// Builds a [`WebhookListener`].
///
/// Created by [`WebhookListener::builder`]. All options have defaults. The setters accept any value;
/// [`bind`](WebhookListenerBuilder::bind) checks them and returns the error.
///
/// ```
/// # tokio_test::block_on(async {
/// use std::time::Duration;
///
/// use foreman_client::Notifier;
/// use foreman_client::webhook::{WebhookListener, WebhookReceiver};
///
/// let receiver = WebhookReceiver::new(Notifier::new());
/// let listener = WebhookListener::builder(receiver)
///     .max_connections(64)
///     .drain_timeout(Duration::from_secs(2))
///     .bind(([127, 0, 0, 1], 0).into())
///     .await?;
/// assert_ne!(listener.local_addr().port(), 0);
/// # listener.shutdown().await;
/// # Ok::<(), foreman_client::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use]
pub struct WebhookListenerBuilder {
    receiver: WebhookReceiver,
    limits: ListenerLimits,
}

/// The limits of a listener on its connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListenerLimits {
    pub(super) header_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) max_headers: usize,
    /// In bytes.
    pub(super) max_buffer: usize,
    pub(super) max_connections: usize,
    pub(super) drain_timeout: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            max_headers: 32,
            max_buffer: 16 << 10,
            max_connections: 1024,
            drain_timeout: Duration::from_secs(5),
        }
    }
}

impl WebhookListenerBuilder {
    pub(super) fn new(receiver: WebhookReceiver) -> Self {
        Self { receiver, limits: ListenerLimits::default() }
    }

    /// Sets the timeout for the headers of a request, counted from its first byte, and for the first request of a connection from
    /// when it is accepted. The default is 5 s.
    ///
    /// When it elapses, the connection is closed without a response.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.limits.header_timeout = timeout;
        self
    }

    /// Sets the timeout for a whole request, counted as the [`header_timeout`](Self::header_timeout). The default is 10 s.
    ///
    /// When it elapses while the body is being read, the response is 408. One second later, the connection is closed
    /// even if the peer has not read the response.
    ///
    /// The receiver has a [`read_timeout`](crate::webhook::WebhookReceiverBuilder::read_timeout) of its own, which
    /// counts from the end of the headers. The one that elapses first applies.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.limits.request_timeout = timeout;
        self
    }

    /// Sets how long a connection stays open for the next request. The default is 120 s.
    ///
    /// Set it longer than the daemon keeps an idle connection (Go's HTTP client: 90 s). Otherwise an event can meet a connection that the
    /// listener is closing, and arrives with the daemon's retry.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.idle_timeout = timeout;
        self
    }

    /// Sets the maximum number of headers in a request. The default is 32.
    ///
    /// A request with more gets a 431.
    pub fn max_headers(mut self, headers: usize) -> Self {
        self.limits.max_headers = headers;
        self
    }

    /// Sets the maximum size of the buffer of a connection, in bytes. The default is 16 KiB, the minimum is 8 KiB.
    ///
    /// The request line and the headers must fit in the buffer together. A request with larger ones gets a 431. The
    /// body is not limited by the buffer, but by [`max_body`](crate::webhook::WebhookReceiverBuilder::max_body).
    pub fn max_buffer(mut self, bytes: usize) -> Self {
        self.limits.max_buffer = bytes;
        self
    }

    /// Sets the maximum number of open connections. The default is 1,024.
    ///
    /// For a further connection, the one that has waited longest for a request is closed. If all are handling one, the further connection
    /// gets a 503 with `Retry-After` and is closed. Its request is ignored.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.limits.max_connections = connections;
        self
    }

    /// Sets the time that requests have to complete when the listener stops. The default is 5 s.
    ///
    /// Zero aborts them immediately.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.limits.drain_timeout = timeout;
        self
    }

    /// Binds the address and starts to serve the receiver in a background task.
    ///
    /// With port 0 the system assigns a free port; [`WebhookListener::local_addr`] returns it. Prefer the address of
    /// one interface. `0.0.0.0` and `[::]` accept connections on all interfaces, and should only be used on a host with
    /// a firewall.
    ///
    /// # Errors
    ///
    /// - [`Error::is_invalid`] is `true`, and the error names the option, if a limit other than
    ///   [`drain_timeout`](Self::drain_timeout) is zero, or [`max_buffer`](Self::max_buffer) is less than 8 KiB.
    /// - If the address cannot be bound, the error's source is the [`std::io::Error`].
    ///
    /// An error after the binding does not stop the listener. It closes a connection that fails, and retries with a
    /// backoff of 10 ms to 1 s if the system cannot accept connections, for example because it has no file descriptors
    /// left.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, nothing is bound.
    ///
    /// # Panics
    ///
    /// Panics if it is polled outside a tokio runtime with I/O enabled. The background tasks panic if time is not
    /// enabled.
    pub async fn bind(self, address: SocketAddr) -> Result<WebhookListener, Error> {
        self.limits.validate()?;
        let bind_error = |error| Error::new(Kind::Bind(address)).with_source(error);
        let socket = TcpListener::bind(address).await.map_err(bind_error)?;
        let address = socket.local_addr().map_err(bind_error)?;
        let (stop, stopping) = watch::channel(false);
        let notifier = self.receiver.notifier().clone();
        tokio::spawn(accept_loop(socket, self.receiver, self.limits, stopping));
        Ok(WebhookListener::new(address, stop, notifier))
    }
}

impl ListenerLimits {
    fn validate(&self) -> Result<(), Error> {
        let zero = [
            ("header_timeout", self.header_timeout.is_zero()),
            ("request_timeout", self.request_timeout.is_zero()),
            ("idle_timeout", self.idle_timeout.is_zero()),
            ("max_headers", self.max_headers == 0),
            ("max_connections", self.max_connections == 0),
        ];
        if let Some((option, _)) = zero.into_iter().find(|(_, zero)| *zero) {
            return Err(Error::invalid(option, "must not be zero"));
        }
        // hyper panics if the buffer is smaller.
        if self.max_buffer < MIN_BUFFER {
            return Err(Error::invalid("max_buffer", "must be at least 8192 bytes"));
        }
        Ok(())
    }
}
