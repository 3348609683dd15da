use tokio::net::TcpStream;

/// The peer of a connection, as an extension of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// It came over loopback, and so is on this machine.
    Local,
    Remote,
}

impl Peer {
    pub(crate) fn of(stream: &TcpStream) -> Self {
        let is_local = stream.peer_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
        if is_local { Self::Local } else { Self::Remote }
    }
}
