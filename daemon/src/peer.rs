use std::net::IpAddr;

/// The peer of a connection, as an extension of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// It came over loopback, and so is on this machine.
    Local,
    Remote,
}

impl Peer {
    /// `address`: in canonical form.
    pub(crate) fn at(address: IpAddr) -> Self {
        if address.is_loopback() { Self::Local } else { Self::Remote }
    }
}
