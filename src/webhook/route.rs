use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{UdpSocket, lookup_host};

/// The one local address from which the route to the daemon leaves: where the daemon, and hardly anybody else, can reach us.
///
/// `host` is a name or an address, with or without the brackets that an IPv6 address has in a URL. Nothing is sent: a UDP
/// socket that is connected only looks up its route.
///
/// # Errors
///
/// When the name does not resolve, or no route leads to any of its addresses.
pub(crate) async fn local_address_towards(host: &str, port: u16) -> io::Result<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the daemon's name has no addresses");
    for daemon in lookup_host((bare, port)).await? {
        match source_towards(daemon).await {
            Ok(address) => return Ok(address),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn source_towards(daemon: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if daemon.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(daemon).await?;
    let address = socket.local_addr()?.ip().to_canonical();
    if is_usable(address) { Ok(address) } else { Err(io::Error::from(io::ErrorKind::AddrNotAvailable)) }
}

/// Whether a URL with this address in it leads back to here. A link-local IPv6 address does not without its zone, which URLs
/// do not have.
fn is_usable(address: IpAddr) -> bool {
    let local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    !address.is_unspecified() && !address.is_multicast() && !local
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_daemon_on_loopback_is_answered_on_loopback() {
        for host in ["127.0.0.1", "localhost"] {
            let address = local_address_towards(host, 8080).await.unwrap();
            assert!(address.is_loopback(), "{host}: {address}");
        }
    }

    #[tokio::test]
    async fn brackets_of_an_ipv6_address_are_taken_off() {
        // Where there is no IPv6 the route is what fails, and not the name.
        match local_address_towards("[::1]", 8080).await {
            Ok(address) => assert_eq!(address, IpAddr::from(Ipv6Addr::LOCALHOST)),
            Err(error) => assert_ne!(error.kind(), io::ErrorKind::InvalidInput, "{error}"),
        }
    }

    #[tokio::test]
    async fn the_unspecified_address_is_never_given() {
        for host in ["0.0.0.0", "[::]"] {
            if let Ok(address) = local_address_towards(host, 8080).await {
                assert!(!address.is_unspecified(), "{host}");
            }
        }
    }

    #[tokio::test]
    async fn a_name_that_is_none_is_an_error() {
        local_address_towards("", 8080).await.unwrap_err();
        local_address_towards("[]", 8080).await.unwrap_err();
    }

    #[test]
    fn some_addresses_lead_nowhere() {
        for (address, usable) in [
            ("127.0.0.1", true),
            ("192.168.1.2", true),
            ("::1", true),
            ("2001:db8::1", true),
            ("fd00::1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("fe80::1", false),
            ("224.0.0.1", false),
        ] {
            assert_eq!(is_usable(address.parse().unwrap()), usable, "{address}");
        }
    }
}
