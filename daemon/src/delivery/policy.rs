use std::net::IpAddr;

use http::Uri;

use super::WebhookHosts;
use super::judge::{is_private, judge};
use super::literal::literal;
use crate::InvalidValue;

const UNLISTED: &str = "not among the allowed hosts";

/// Where webhooks may go: what holds for every daemon, and what this one was told.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// Everywhere, without a list.
    pub(crate) hosts: Option<WebhookHosts>,
    /// To loopback and private networks too.
    pub(crate) private: bool,
}

impl Policy {
    /// Whether a webhook to that host may be sent to an address of it, and if not, why.
    pub(super) fn judge(&self, host: &str, ip: IpAddr) -> Result<(), &'static str> {
        judge(ip)?;
        if !self.private && is_private(ip) {
            return Err("private");
        }
        if self.hosts.as_ref().is_some_and(|hosts| !hosts.contain(host, ip)) {
            return Err(UNLISTED);
        }
        Ok(())
    }

    /// Refuses a callback URL that nothing is ever sent to. What its name resolves to is judged when the connection is made,
    /// each time.
    pub(crate) fn foresee(&self, url: &Uri) -> Result<(), InvalidValue> {
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let judged = match literal(host) {
            Some(ip) => self.judge(host, ip),
            None if self.hosts.as_ref().is_none_or(|hosts| hosts.may_contain(host)) => Ok(()),
            None => Err(UNLISTED),
        };
        judged.map_err(|why| InvalidValue::new("state_webhook_url", format!("webhooks are not sent to {host}: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_must_let_it_pass() {
        const UNLISTED: Option<&str> = Some(super::UNLISTED);
        let hosts = WebhookHosts::new(["inside", "10.0.0.0/8", "0.0.0.0/1"]).unwrap();
        let anywhere = Policy { hosts: None, private: true };
        let outside = Policy { hosts: None, private: false };
        let listed = Policy { hosts: Some(hosts), private: true };
        let both = Policy { private: false, ..listed.clone() };
        for (policy, host, ip, refusal) in [
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
            assert_eq!(policy.judge(host, ip.parse().unwrap()).err(), refusal, "{host} at {ip} by {policy:?}");
        }
    }

    #[test]
    fn only_what_no_resolver_can_change_is_foreseen() {
        let list = |entries: &[&str]| Some(WebhookHosts::new(entries).unwrap());
        let anywhere = Policy { hosts: None, private: true };
        let outside = Policy { hosts: None, private: false };
        let names = Policy { hosts: list(&["inside", "*.example.com"]), private: true };
        let networks = Policy { hosts: list(&["inside", "10.0.0.0/8"]), private: true };
        for (policy, url, why) in [
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
            let refused = policy.foresee(&url.parse().unwrap()).map_err(|error| error.to_string());
            let why = why.map(|why| format!("invalid state_webhook_url: webhooks are not sent to {why}"));
            assert_eq!(refused.err(), why, "{url} by {policy:?}");
        }
    }
}
