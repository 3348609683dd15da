use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;

use tokio::net::TcpStream;

/// The response to a connection over the limit: 503 with `Retry-After`. Its request is not read.
pub const OVERLOADED: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Sends [`OVERLOADED`] on a connection that was just accepted, and closes it, without waiting for the peer.
///
/// # Errors
///
/// If the response could not be sent, or was lost for the peer.
pub fn refuse(stream: TcpStream) -> io::Result<()> {
    // `try_write` of tokio fails until the runtime has reported the socket as writable. A new socket is writable, so that a
    // non-blocking write to the std socket succeeds at once.
    let mut stream = stream.into_std()?;
    stream.write_all(OVERLOADED)?;
    stream.shutdown(Shutdown::Write)?;
    // Closing a socket with unread bytes resets the connection, and the peer could lose the response.
    match stream.read(&mut [0; 4096]) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}
