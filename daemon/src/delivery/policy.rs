use std::net::IpAddr;

use http::Uri;

use super::WebhookHosts;
use super::address::{check, is_private};
use super::ip_literal::parse_ip_literal;
use crate::InvalidValue;

const UNLISTED: &str = "not among the allowed hosts";

/// The addresses that webhooks may be sent to: the rules of every daemon and the options of this one.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// `None` allows all hosts.
    pub(crate) hosts: Option<WebhookHosts>,
    /// Whether loopback and private networks are allowed.
    pub(crate) private: bool,
}

impl Policy {
    /// Checks an address that the host of a callback URL resolved to. The error is the reason.
    pub(super) fn check_address(&self, host: &str, ip: IpAddr) -> Result<(), &'static str> {
        check(ip)?;
        if !self.private && is_private(ip) {
            return Err("private");
        }
        if self.hosts.as_ref().is_some_and(|hosts| !hosts.contain(host, ip)) {
            return Err(UNLISTED);
        }
        Ok(())
    }

    /// Checks a callback URL before anything is sent to it, as far as no resolver can change the result. The addresses of a name
    /// are checked for each connection.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for an address that is not allowed, and for a name that cannot be on the list.
    pub(crate) fn check_url(&self, url: &Uri) -> Result<(), InvalidValue> {
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let checked = match parse_ip_literal(host) {
            Some(ip) => self.check_address(host, ip),
            None if self.hosts.as_ref().is_none_or(|hosts| hosts.may_contain(host)) => Ok(()),
            None => Err(UNLISTED),
        };
        checked.map_err(|reason| {
            InvalidValue::new("state_webhook_url", format!("webhooks are not sent to {host}: {reason}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_must_pass_every_rule() {
        const UNLISTED: Option<&str> = Some(super::UNLISTED);
        let hosts = WebhookHosts::new(["inside", "10.0.0.0/8", "0.0.0.0/1"]).unwrap();
        let anywhere = Policy { hosts: None, private: true };
        let outside = Policy { hosts: None, private: false };
        let listed = Policy { hosts: Some(hosts), private: true };
        let both = Policy { private: false, ..listed.clone() };
        for (policy, host, ip, reason) in [
            (&anywhere, "inside", "127.0.0.1", None),
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
        let anywhere = Policy { hosts: None, private: true };
        let outside = Policy { hosts: None, private: false };
        let names = Policy { hosts: list(&["inside", "*.example.com"]), private: true };
        let networks = Policy { hosts: list(&["inside", "10.0.0.0/8"]), private: true };
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
            let rejected = policy.check_url(&url.parse().unwrap()).map_err(|error| error.to_string());
            let reason = reason.map(|reason| format!("invalid state_webhook_url: webhooks are not sent to {reason}"));
            assert_eq!(rejected.err(), reason, "{url} by {policy:?}");
        }
    }
}
