use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::Uri;

use super::address::{check, embedded, is_private};
use super::ip_literal::parse_ip_literal;
use super::{OwnServers, WebhookHosts};
use crate::InvalidValue;
use crate::peer::Peer;
use crate::url_parts::port;

const UNLISTED: &str = "not among the allowed hosts";
const LOOPBACK: &str = "loopback, and not submitted over loopback";
const LOOPBACK_NAME: &str = "loopback, by a name that is neither localhost nor listed";
pub(super) const OWN: &str = "a server of this daemon";

/// The addresses that webhooks may be sent to: the rules of every daemon and the options of this one.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// `None` allows all hosts.
    pub(crate) hosts: Option<WebhookHosts>,
    /// Whether loopback and private networks are allowed.
    pub(crate) private: bool,
    /// Whether loopback is allowed to every submitter, by every name.
    pub(crate) loopback: bool,
    pub(crate) own: OwnServers,
}

impl Policy {
    /// Checks an address that the host of a callback URL resolved to, except whether it is one of the daemon's own servers. The error
    /// is the reason.
    ///
    /// A name that resolves to loopback could be anybody's, and the submitter is not known any more. It must be `localhost`, which
    /// is checked at submission, or be listed by name.
    pub(super) fn check_address(&self, host: &str, ip: IpAddr) -> Result<(), &'static str> {
        check(ip)?;
        if !self.private && is_private(ip) {
            return Err("private");
        }
        if self.hosts.as_ref().is_some_and(|hosts| !hosts.contain(host, ip)) {
            return Err(UNLISTED);
        }
        let may_be_loopback = self.loopback || parse_ip_literal(host).is_some() || is_localhost(host);
        if embedded(ip).is_loopback() && !may_be_loopback && !self.hosts.as_ref().is_some_and(|hosts| hosts.name(host))
        {
            return Err(LOOPBACK_NAME);
        }
        Ok(())
    }

    /// Checks a callback URL before anything is sent to it, as far as no resolver can change the result. The addresses of a name
    /// are checked for each connection.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for an address that is not allowed, or not to this submitter, and for a name that cannot be on the list.
    pub(crate) fn check_url(&self, url: &Uri, submitter: Peer) -> Result<(), InvalidValue> {
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        self.check_host(host, port(url), submitter).map_err(|reason| {
            InvalidValue::new("state_webhook_url", format!("webhooks are not sent to {host}: {reason}"))
        })
    }

    fn check_host(&self, host: &str, port: u16, submitter: Peer) -> Result<(), &'static str> {
        let literal = parse_ip_literal(host);
        match literal {
            Some(ip) => self.check_address(host, ip)?,
            None if self.hosts.as_ref().is_none_or(|hosts| hosts.may_contain(host)) => {}
            None => return Err(UNLISTED),
        }
        let address = literal.or_else(|| is_localhost(host).then_some(Ipv4Addr::LOCALHOST.into()));
        let is_own = address.is_some_and(|ip| self.own.has_address(SocketAddr::new(ip, port)));
        if is_own || self.own.has_name(host, port) {
            return Err(OWN);
        }
        let is_loopback = address.is_some_and(|ip| embedded(ip).is_loopback());
        if is_loopback && !self.loopback && submitter == Peer::Remote {
            return Err(LOOPBACK);
        }
        Ok(())
    }
}

/// Whether a name is `localhost` or below it, and so never that of another machine (RFC 6761).
fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy { hosts: None, private: true, loopback: false, own: OwnServers::default() }
    }

    #[test]
    fn address_must_pass_every_rule() {
        const UNLISTED: Option<&str> = Some(super::UNLISTED);
        let hosts = WebhookHosts::new(["inside", "10.0.0.0/8", "0.0.0.0/1"]).unwrap();
        let anywhere = policy();
        let outside = Policy { private: false, ..policy() };
        let listed = Policy { hosts: Some(hosts), ..policy() };
        let both = Policy { private: false, ..listed.clone() };
        let everyone = Policy { loopback: true, ..policy() };
        for (policy, host, ip, reason) in [
            (&anywhere, "127.1", "127.0.0.1", None),
            (&anywhere, "localhost", "127.0.0.1", None),
            (&anywhere, "a.LocalHost.", "::1", None),
            (&anywhere, "inside", "127.0.0.1", Some(LOOPBACK_NAME)),
            (&anywhere, "localhost.example", "::1", Some(LOOPBACK_NAME)),
            (&anywhere, "inside", "::ffff:127.0.0.2", Some(LOOPBACK_NAME)),
            (&anywhere, "inside", "10.0.0.1", None),
            (&everyone, "inside", "127.0.0.1", None),
            (&listed, "inside", "127.0.0.1", None),
            (&listed, "other", "127.0.0.1", Some(LOOPBACK_NAME)),
            (&anywhere, "inside", "169.254.169.254", Some("link-local")),
            (&outside, "inside", "127.0.0.1", Some("private")),
            (&outside, "inside", "169.254.169.254", Some("link-local")),
            (&outside, "inside", "1.1.1.1", None),
            (&listed, "inside", "192.168.0.1", None),
            (&listed, "inside", "169.254.169.254", Some("link-local")),
            (&listed, "other", "10.0.0.1", None),
            (&listed, "other", "192.168.0.1", UNLISTED),
            (&both, "inside", "192.168.0.1", Some("private")),
            (&both, "other", "10.0.0.1", Some("private")),
            (&both, "other", "1.1.1.1", None),
            (&both, "inside", "200.1.1.1", None),
            (&both, "other", "200.1.1.1", UNLISTED),
        ] {
            assert_eq!(policy.check_address(host, ip.parse().unwrap()).err(), reason, "{host} at {ip} by {policy:?}");
        }
    }

    #[test]
    fn check_url_rejects_what_no_resolver_can_change() {
        let list = |entries: &[&str]| Some(WebhookHosts::new(entries).unwrap());
        let anywhere = policy();
        let outside = Policy { private: false, ..policy() };
        let names = Policy { hosts: list(&["inside", "*.example.com"]), ..policy() };
        let networks = Policy { hosts: list(&["inside", "10.0.0.0/8"]), ..policy() };
        for (policy, url, reason) in [
            (&anywhere, "http://h/", None),
            (&anywhere, "http://127.0.0.1/", None),
            (&anywhere, "http://[::1]:80/", None),
            (&anywhere, "https://[2002:a9fe:a9fe::1]:80/", Some("2002:a9fe:a9fe::1: link-local")),
            (&anywhere, "http://0x7f.1/", None),
            (&anywhere, "http://2852039166:80/", Some("2852039166: link-local")),
            // A name, whatever it resolves to.
            (&outside, "http://localhost/", None),
            (&outside, "http://127.1/", Some("127.1: private")),
            (&names, "http://inside/", None),
            (&names, "http://A.Example.COM./", None),
            (&names, "http://example.com/", Some("example.com: not among the allowed hosts")),
            (&names, "http://10.0.0.1/", Some("10.0.0.1: not among the allowed hosts")),
            (&networks, "http://10.1/", None),
            (&networks, "http://11.1/", Some("11.1: not among the allowed hosts")),
            // It may resolve to an address of the network.
            (&networks, "http://other/", None),
        ] {
            let rejected = policy.check_url(&url.parse().unwrap(), Peer::Local).map_err(|error| error.to_string());
            let reason = reason.map(|reason| format!("invalid state_webhook_url: webhooks are not sent to {reason}"));
            assert_eq!(rejected.err(), reason, "{url} by {policy:?}");
        }
    }

    #[test]
    fn loopback_is_for_local_submitters_unless_allowed() {
        let strict = policy();
        let everyone = Policy { loopback: true, ..policy() };
        for (host, is_loopback) in [
            ("127.0.0.1", true),
            ("127.1", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost", true),
            ("a.LOCALHOST.", true),
            ("10.0.0.1", false),
            ("localhost.example", false),
        ] {
            let url = format!("http://{host}:8080/").parse().unwrap();
            assert!(strict.check_url(&url, Peer::Local).is_ok(), "{host}");
            assert!(everyone.check_url(&url, Peer::Remote).is_ok(), "{host}");
            assert_eq!(strict.check_url(&url, Peer::Remote).is_err(), is_loopback, "{host}");
        }
    }

    #[test]
    fn own_servers_are_forbidden_to_everyone() {
        let mut policy = Policy { loopback: true, ..policy() };
        policy.own.add_url(&"http://127.0.0.1:11434".parse().unwrap());
        policy.own.add_url(&"http://gpu:11434".parse().unwrap());
        for host in ["127.0.0.1", "127.1", "[::1]", "localhost", "GPU"] {
            for (port, allowed) in [(11434, false), (11435, true)] {
                let url = format!("http://{host}:{port}/api/pull").parse().unwrap();
                assert_eq!(policy.check_url(&url, Peer::Local).is_ok(), allowed, "{url}");
            }
        }
    }
}
