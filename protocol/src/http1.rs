//! Code that the client's webhook listener and the daemon's HTTP/1 server share.

mod activity;
mod body_bytes;
mod byte_budget;
mod overload;
mod places;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

pub use self::activity::{ConnectionActivity, Watched, deadline_timer, poll_deadline};
pub use self::body_bytes::BodyBytes;
pub use self::byte_budget::{ByteBudget, ByteLease};
pub use self::overload::{OVERLOADED, refuse};
pub use self::places::{Place, Places};

/// How long [`lingering_close`] waits for the peer: 1 second.
pub const LINGER: Duration = Duration::from_secs(1);

/// Whether an error from `accept` concerns one connection only, such as one that the peer closed before it was accepted.
///
/// Other errors, such as a lack of file descriptors, concern the listener.
#[must_use]
pub fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Shuts down the write side, then discards input until the peer closes the connection, for at most [`LINGER`].
///
/// A socket that is closed with unread input, such as the body of a rejected request, resets the connection, and the peer
/// may lose the response.
///
/// # Cancel safety
///
/// Dropping the future leaves the connection half closed.
pub async fn lingering_close<I: AsyncRead + AsyncWrite + Unpin>(mut io: I) {
    let _ = timeout(LINGER, poll_fn(|cx| poll_close(&mut io, cx))).await;
}

fn poll_close<I: AsyncRead + AsyncWrite + Unpin>(io: &mut I, cx: &mut Context<'_>) -> Poll<()> {
    // After an error, hyper has not shut down the connection. A second shutdown has no effect.
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
    async fn lingering_close_reads_until_peer_closes() {
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
    async fn lingering_close_times_out() {
        let (ours, _theirs) = duplex(16);
        let before = Instant::now();
        lingering_close(ours).await;
        assert!(before.elapsed() >= LINGER);
    }

    #[test]
    fn lack_of_memory_is_not_a_connection_error() {
        assert!(is_connection_error(&io::ErrorKind::ConnectionAborted.into()));
        assert!(!is_connection_error(&io::ErrorKind::OutOfMemory.into()));
    }
}
