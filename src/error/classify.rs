//! Classifies the errors of other crates, and finds this crate's error in the boxes of layers.

use foreman_protocol::{ArtifactError, InvalidValue};

use super::{BoxError, Error, Kind};

impl Error {
    /// Converts the boxed error of a layer.
    ///
    /// Returns the `Error` that the box or one of its sources is. Otherwise classifies the first source that it knows:
    /// the `Elapsed` of `tower::timeout` and of `tokio::time`, `tower::load_shed`'s `Overloaded`, and the errors of hyper, hyper-util
    /// and `std::io`. A timeout is [`is_timeout`](Error::is_timeout), unless it is one of connecting, which is
    /// [`is_connect`](Error::is_connect).
    #[must_use]
    pub fn from_boxed(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(other) => match other.downcast::<InvalidValue>() {
                Ok(error) => (*error).into(),
                Err(other) => match find(other.as_ref()) {
                    Some(found) => found.clone().with_source(other),
                    None => Self::new(classify(other.as_ref())).with_source(other),
                },
            },
        }
    }

    /// The body of a response cannot be read to its end. The head has come, so the request has arrived.
    pub(crate) fn cut_off(error: BoxError) -> Self {
        let kind = match classify(error.as_ref()) {
            timeout @ Kind::RequestTimeout(_) => timeout,
            _ => Kind::Transport,
        };
        Self::new(kind).with_source(error)
    }

    /// The same for a borrowed error.
    pub(crate) fn inspect<R>(error: &(dyn std::error::Error + 'static), inspect: impl FnOnce(&Self) -> R) -> R {
        match find(error) {
            Some(found) => inspect(found),
            None => inspect(&Self::new(classify(error))),
        }
    }
}

/// The first error of this crate in a chain of sources.
fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The kind of another crate's error, by the first source that is known.
fn classify(error: &(dyn std::error::Error + 'static)) -> Kind {
    // Below an error of hyper, which is about an established connection, an io kind such as `HostUnreachable` does not show that
    // nothing was sent.
    let (mut transport, mut established) = (false, false);
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<InvalidValue>() {
            return Kind::Invalid { field: error.field(), reason: error.reason().to_owned().into() };
        }
        if error.is::<ArtifactError>() {
            return Kind::Response(error.to_string().into());
        }
        if error.is::<tower::timeout::error::Elapsed>() || error.is::<tokio::time::error::Elapsed>() {
            return Kind::RequestTimeout(None);
        }
        if error.is::<tower::load_shed::error::Overloaded>() {
            return Kind::Overloaded;
        }
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            if error.is_connect() {
                return Kind::Connect;
            }
            (transport, established) = (true, true);
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            // hyper returns "canceled" only for a request of which it has not written a byte.
            if error.is_canceled() {
                return Kind::Connect;
            }
            if error.is_timeout() {
                return Kind::RequestTimeout(None);
            }
            (transport, established) = (true, true);
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{
                AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut,
            };
            match error.kind() {
                ConnectionRefused | AddrNotAvailable | HostUnreachable | NetworkUnreachable if !established => {
                    return Kind::Connect;
                }
                // It may be a timeout of connecting. Only hyper-util's error above shows that.
                TimedOut => return Kind::RequestTimeout(None),
                _ => transport = true,
            }
        }
        next = error.source();
    }
    if transport { Kind::Transport } else { Kind::Service }
}

impl From<BoxError> for Error {
    fn from(error: BoxError) -> Self {
        Self::from_boxed(error)
    }
}

impl From<InvalidValue> for Error {
    fn from(error: InvalidValue) -> Self {
        let (field, reason, source) = error.into_parts();
        let mut error = Self::invalid(field, reason);
        error.0.source = source.map(Into::into);
        error
    }
}

/// The artifact is part of a response, which cannot be used.
impl From<ArtifactError> for Error {
    fn from(error: ArtifactError) -> Self {
        let mut response = Self::response(error.to_string());
        response.0.source = error.into_source().map(Into::into);
        response
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use bytes::Bytes;
    use http::Request;
    use http_body_util::Full;
    use hyper::client::conn::http1;
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    use tokio::net::TcpStream;

    use super::*;

    /// A connection that takes the request and fails with `kind` when the response is read.
    struct FailingRead {
        kind: io::ErrorKind,
        written: bool,
        reader: Option<Waker>,
    }

    impl AsyncRead for FailingRead {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let this = self.get_mut();
            if this.written {
                return Poll::Ready(Err(this.kind.into()));
            }
            this.reader = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    impl AsyncWrite for FailingRead {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            this.written = true;
            this.reader.take().into_iter().for_each(Waker::wake);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// The error of a request whose response cannot be read.
    async fn failed_read(kind: io::ErrorKind) -> Error {
        let server = FailingRead { kind, written: false, reader: None };
        let (mut sender, connection) = http1::handshake(TokioIo::new(server)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post("/").body(Full::<Bytes>::default()).unwrap();
        Error::from_boxed(sender.send_request(request).await.unwrap_err().into())
    }

    #[tokio::test]
    async fn network_error_on_established_connection_may_have_arrived() {
        use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
        for kind in [ConnectionRefused, AddrNotAvailable, HostUnreachable, NetworkUnreachable] {
            let error = failed_read(kind).await;
            assert!(!error.is_safe_to_resubmit() && !error.is_connect(), "{kind}: {error:?}");
            // The same kind without a hyper error above it is the failure of a connect.
            let error = Error::from_boxed(io::Error::from(kind).into());
            assert!(error.is_safe_to_resubmit() && error.is_connect(), "{kind}: {error:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn timeouts_of_other_crates_are_timeouts() {
        let elapsed = tokio::time::timeout(Duration::ZERO, pending::<()>()).await.unwrap_err();
        let timed_out = || io::Error::from(io::ErrorKind::TimedOut);
        for error in [
            failed_read(io::ErrorKind::TimedOut).await,
            Error::from_boxed(timed_out().into()),
            Error::from_boxed(io::Error::new(io::ErrorKind::TimedOut, "of an HTTP client").into()),
            Error::from_boxed(elapsed.into()),
            Error::cut_off(timed_out().into()),
        ] {
            assert!(error.is_timeout() && error.is_retryable(), "{error:?}");
            assert!(!error.is_safe_to_resubmit() && !error.is_connect(), "{error:?}");
        }
    }

    /// The error of a request whose connection cannot be opened.
    async fn failed_connect(error: impl Fn() -> BoxError + Clone + Send + Sync + 'static) -> Error {
        let connector =
            tower::service_fn(move |_: http::Uri| std::future::ready(Err::<TokioIo<TcpStream>, _>(error())));
        let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
        Error::from_boxed(client.get(http::Uri::from_static("http://daemon.test/")).await.unwrap_err().into())
    }

    #[tokio::test(start_paused = true)]
    async fn timeout_of_connecting_is_unsent() {
        let elapsed = || tower::timeout::error::Elapsed::new().into();
        let timed_out = || io::Error::from(io::ErrorKind::TimedOut).into();
        for error in [failed_connect(elapsed).await, failed_connect(timed_out).await] {
            assert!(error.is_connect() && error.is_safe_to_resubmit() && !error.is_timeout(), "{error:?}");
        }
    }
}
