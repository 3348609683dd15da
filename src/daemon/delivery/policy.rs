use std::net::IpAddr;

use super::WebhookHosts;
use super::judge::{is_private, judge};

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
            return Err("not among the allowed hosts");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_must_let_it_pass() {
        const UNLISTED: Option<&str> = Some("not among the allowed hosts");
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
}
