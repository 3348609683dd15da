use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{UdpSocket, lookup_host};

/// Returns the local address from which the system routes packets to the daemon.
///
/// The daemon can reach a listener that is bound to this address, and hosts on other networks usually cannot. `host` is
/// a name or an address. An IPv6 address may have brackets, as in a URL. No packet is sent to the daemon: connecting a
/// UDP socket only selects a route.
///
/// # Errors
///
/// Returns an error if the name does not resolve, or if no address of the host has a route from a usable local address.
/// If several addresses fail, the error is that of the last one.
///
/// # Cancel safety
///
/// Dropping the future has no effect.
pub(crate) async fn local_address_towards(host: &str, port: u16) -> io::Result<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "host name has no addresses");
    for daemon in lookup_host((bare, port)).await? {
        match source_address(daemon).await {
            Ok(address) => return Ok(address),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

async fn source_address(daemon: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if daemon.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(daemon).await?;
    let address = socket.local_addr()?.ip().to_canonical();
    if is_usable(address) { Ok(address) } else { Err(io::Error::from(io::ErrorKind::AddrNotAvailable)) }
}

/// Whether the daemon can reach this address by a URL. A link-local IPv6 address needs a zone, which a URL cannot
/// contain.
fn is_usable(address: IpAddr) -> bool {
    let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    !address.is_unspecified() && !address.is_multicast() && !link_local
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn loopback_daemon_gives_loopback_address() {
        for host in ["127.0.0.1", "localhost"] {
            let address = local_address_towards(host, 8080).await.unwrap();
            assert!(address.is_loopback(), "{host}: {address}");
        }
    }

    #[tokio::test]
    async fn ipv6_brackets_are_removed() {
        // Without IPv6 the route fails, but the address must still parse.
        match local_address_towards("[::1]", 8080).await {
            Ok(address) => assert_eq!(address, IpAddr::from(Ipv6Addr::LOCALHOST)),
            Err(error) => assert_ne!(error.kind(), io::ErrorKind::InvalidInput, "{error}"),
        }
    }

    #[tokio::test]
    async fn unspecified_address_is_never_returned() {
        for host in ["0.0.0.0", "[::]"] {
            if let Ok(address) = local_address_towards(host, 8080).await {
                assert!(!address.is_unspecified(), "{host}");
            }
        }
    }

    #[tokio::test]
    async fn empty_host_is_error() {
        local_address_towards("", 8080).await.unwrap_err();
        local_address_towards("[]", 8080).await.unwrap_err();
    }

    #[test]
    fn unusable_addresses_are_rejected() {
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
