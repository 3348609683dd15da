//! What the HTTP/1 servers of client and daemon have in common.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

/// How long a peer may take to close its side after the last response.
pub const LINGER: Duration = Duration::from_secs(1);

/// The longest header time-out that hyper gets: hyper adds it to a time without a check for overflow.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A server for one connection, with a timer and a limit on the time in which a request's head must arrive.
#[must_use]
pub fn builder(header_timeout: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(header_timeout.min(LONGEST));
    builder
}

/// Whether an error of `accept` is about one connection, which the peer gave up while it waited to be accepted, and not about
/// the listener.
#[must_use]
pub fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Closes our side, then reads and discards until the peer has closed its own, for at most [`LINGER`].
///
/// Without this, closing a socket over bytes that nobody read, such as a request body that was refused, resets the connection,
/// and the response is lost.
///
/// # Cancel safety
///
/// Dropping the future leaves the connection half closed.
pub async fn lingering_close<I: AsyncRead + AsyncWrite + Unpin>(mut io: I) {
    let _ = timeout(LINGER, poll_fn(|cx| poll_close(&mut io, cx))).await;
}

fn poll_close<I: AsyncRead + AsyncWrite + Unpin>(io: &mut I, cx: &mut Context<'_>) -> Poll<()> {
    // hyper has done so unless it met an error; a second time has no effect.
    let _ = ready!(Pin::new(&mut *io).poll_shutdown(cx));
    let mut scratch = [0; 4096];
    loop {
        let mut buffer = ReadBuf::new(&mut scratch);
        match ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer)) {
            Ok(()) if !buffer.filled().is_empty() => {}
            _ => return Poll::Ready(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lingering_close_reads_until_the_peer_closes() {
        let (ours, mut theirs) = duplex(16);
        let sending = async move {
            theirs.write_all(&[0; 10_000]).await.unwrap();
            let mut rest = Vec::new();
            theirs.read_to_end(&mut rest).await.unwrap()
        };
        let before = Instant::now();
        let ((), read) = tokio::join!(lingering_close(ours), sending);
        assert_eq!((read, before.elapsed()), (0, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn lingering_close_ends_although_the_peer_does_not() {
        let (ours, _theirs) = duplex(16);
        let before = Instant::now();
        lingering_close(ours).await;
        assert!(before.elapsed() >= LINGER);
    }

    #[test]
    fn a_lack_of_resources_is_not_about_one_connection() {
        assert!(is_connection_error(&io::ErrorKind::ConnectionAborted.into()));
        assert!(!is_connection_error(&io::ErrorKind::OutOfMemory.into()));
    }
}
