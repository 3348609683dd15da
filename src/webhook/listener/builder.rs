use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::accept::accept_loop;
use super::handle::WebhookListener;
use crate::Error;
use crate::error::Kind;
use crate::webhook::WebhookReceiver;

/// The smallest buffer that hyper takes, in bytes.
const MIN_BUFFER: usize = 8192;

/// Builds a [`WebhookListener`]; made by [`WebhookListener::builder`].
#[derive(Debug)]
#[must_use]
pub struct WebhookListenerBuilder {
    receiver: WebhookReceiver,
    limits: Limits,
}

/// What a listener bears.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) header_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) max_headers: usize,
    pub(super) max_buffer: usize,
    pub(super) max_connections: usize,
    pub(super) drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            max_headers: 32,
            max_buffer: 16 << 10,
            max_connections: 1024,
            drain_timeout: Duration::from_secs(5),
        }
    }
}

impl WebhookListenerBuilder {
    pub(super) fn new(receiver: WebhookReceiver) -> Self {
        Self { receiver, limits: Limits::default() }
    }

    /// How long a peer may take from connecting to the end of its headers; 5 s unless set. It is then cut off.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.limits.header_timeout = timeout;
        self
    }

    /// How long a peer may take from connecting to the end of its request; 10 s unless set. It is then answered 408.
    ///
    /// The receiver's own [`read_timeout`](crate::webhook::WebhookReceiverBuilder::read_timeout) counts from the headers;
    /// whichever ends first holds.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.limits.request_timeout = timeout;
        self
    }

    /// How many headers a request may have; 32 unless set. One more is answered 431.
    pub fn max_headers(mut self, headers: usize) -> Self {
        self.limits.max_headers = headers;
        self
    }

    /// How large the buffer of a connection may grow, in bytes, which is also what a request line and headers may take
    /// together; 16 KiB unless set, 8 KiB at least. More is answered 431.
    pub fn max_buffer(mut self, bytes: usize) -> Self {
        self.limits.max_buffer = bytes;
        self
    }

    /// How many connections may be open at once; 1,024 unless set. Those beyond are answered 503 and closed at once.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.limits.max_connections = connections;
        self
    }

    /// How long requests may go on when the listener is stopped; 5 s unless set. Zero aborts them at once.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.limits.drain_timeout = timeout;
        self
    }

    /// Binds the address, where port 0 lets the system choose, and begins to listen.
    ///
    /// It listens on what it is given and nothing else: `0.0.0.0` and `[::]` are all interfaces, and are best left to hosts
    /// where a firewall stands before them.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`], naming the field, for a limit of zero or a buffer under 8 KiB. An error whose source is the
    /// [`std::io::Error`] when the address cannot be bound.
    ///
    /// # Cancel safety
    ///
    /// Dropping it before its end leaves nothing bound.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with IO and time enabled.
    pub async fn bind(self, address: SocketAddr) -> Result<WebhookListener, Error> {
        self.limits.check()?;
        let cannot = |error| Error::new(Kind::Bind(address)).with_source(error);
        let socket = TcpListener::bind(address).await.map_err(cannot)?;
        let address = socket.local_addr().map_err(cannot)?;
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(accept_loop(socket, self.receiver, self.limits, stopping));
        Ok(WebhookListener::new(address, stop))
    }
}

impl Limits {
    fn check(&self) -> Result<(), Error> {
        let zero = [
            ("header_timeout", self.header_timeout.is_zero()),
            ("request_timeout", self.request_timeout.is_zero()),
            ("max_headers", self.max_headers == 0),
            ("max_connections", self.max_connections == 0),
        ];
        if let Some((field, _)) = zero.into_iter().find(|(_, zero)| *zero) {
            return Err(Error::invalid(field, "must not be zero"));
        }
        // hyper panics at less.
        if self.max_buffer < MIN_BUFFER {
            return Err(Error::invalid("max_buffer", "must be 8192 bytes or more"));
        }
        Ok(())
    }
}
