use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use tokio::net::lookup_host;

use super::address::embedded;
use super::ip_literal::parse_ip_literal;
use crate::BaseUrl;
use crate::url_parts::normalized_host;

/// The servers that never get a webhook: the daemon itself, and the model servers of its backend. A callback URL would otherwise
/// send requests to them in the name of the daemon.
///
/// A server at one of this machine's addresses is at all of them: it may listen on more addresses than the one that is configured.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnServers(Vec<OwnServer>);

#[derive(Debug, Clone)]
struct OwnServer {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone)]
enum Host {
    Address(IpAddr),
    Name(String),
}

impl OwnServers {
    pub(crate) fn add_url(&mut self, url: &BaseUrl) {
        let host = url.host().trim_matches(['[', ']']);
        let host = parse_ip_literal(host).map_or_else(|| Host::Name(normalized_host(host)), Host::Address);
        self.0.push(OwnServer { host, port: url.port() });
    }

    pub(crate) fn add_address(&mut self, address: SocketAddr) {
        self.0.push(OwnServer { host: Host::Address(address.ip()), port: address.port() });
    }

    /// Whether a name is that of a server.
    pub(super) fn has_name(&self, host: &str, port: u16) -> bool {
        let host = normalized_host(host);
        self.with_port(port).any(|server| matches!(server, Host::Name(name) if *name == host))
    }

    /// Whether an address is that of a server, as far as no name must be resolved.
    pub(super) fn has_address(&self, address: SocketAddr) -> bool {
        self.with_port(address.port()).any(|server| matches!(server, Host::Address(ip) if is_same(*ip, address.ip())))
    }

    /// The servers at a port, with their names resolved. It resolves nothing unless there is one.
    ///
    /// # Errors
    ///
    /// If a name cannot be resolved: then any address may be that of the server.
    pub(super) async fn resolved(&self, port: u16) -> io::Result<Self> {
        let mut resolved = Self::default();
        for server in self.with_port(port) {
            match server {
                Host::Address(ip) => resolved.add_address(SocketAddr::new(*ip, port)),
                Host::Name(name) => {
                    lookup_host((name.as_str(), port)).await?.for_each(|address| resolved.add_address(address));
                }
            }
        }
        Ok(resolved)
    }

    fn with_port(&self, port: u16) -> impl Iterator<Item = &Host> {
        self.0.iter().filter(move |server| server.port == port).map(|server| &server.host)
    }
}

/// Whether two addresses are the same in any spelling, or both of this machine.
fn is_same(one: IpAddr, other: IpAddr) -> bool {
    let (one, other) = (embedded(one), embedded(other));
    one == other || (is_of_this_machine(one) && is_of_this_machine(other))
}

/// A packet to an address of this machine is sent from that address. Connecting a UDP socket sends none.
fn is_of_this_machine(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((ip, 9))?;
        socket.local_addr()
    };
    ip.is_loopback() || ip.is_unspecified() || source().is_ok_and(|source| source.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(urls: &[&str]) -> OwnServers {
        let mut servers = OwnServers::default();
        for url in urls {
            servers.add_url(&url.parse().unwrap());
        }
        servers
    }

    #[test]
    fn server_is_found_in_every_spelling_of_its_address() {
        let listed = servers(&["http://127.0.0.1:11434", "http://[::ffff:10.0.0.7]/", "https://gpu", "http://0:9"]);
        for (address, is_server) in [
            ("127.0.0.1:11434", true),
            ("127.0.0.2:11434", true),
            ("[::1]:11434", true),
            ("[::ffff:127.0.0.1]:11434", true),
            ("[64:ff9b::127.0.0.1]:11434", true),
            ("127.0.0.1:11435", false),
            ("10.0.0.7:11434", false),
            ("10.0.0.7:80", true),
            ("[2002:a00:7::]:80", true),
            ("10.0.0.8:80", false),
            ("127.0.0.1:9", true),
            ("127.0.0.1:443", false),
        ] {
            assert_eq!(listed.has_address(address.parse().unwrap()), is_server, "{address}");
        }
        for (host, port, is_server) in
            [("gpu", 443, true), ("GPU.", 443, true), ("gpu", 80, false), ("gpu.example", 443, false)]
        {
            assert_eq!(listed.has_name(host, port), is_server, "{host}:{port}");
        }
    }

    #[tokio::test]
    async fn name_of_server_is_resolved_for_its_port_only() {
        let listed = servers(&["http://localhost:11434", "http://name.invalid:81"]);
        assert!(!listed.has_address("127.0.0.1:11434".parse().unwrap()));
        let resolved = listed.resolved(11434).await.unwrap();
        assert!(resolved.has_address("127.0.0.1:11434".parse().unwrap()));
        assert!(listed.resolved(80).await.unwrap().0.is_empty());
        listed.resolved(81).await.unwrap_err();
    }
}
