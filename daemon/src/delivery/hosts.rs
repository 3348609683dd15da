use std::net::IpAddr;

use ipnet::IpNet;

use super::address::embedded;
use crate::Error;
use crate::url_parts::normalized_host;

/// The longest host name and the longest label, in bytes (RFC 1035).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// The hosts that webhooks may be sent to, as names, addresses and networks. For
/// [`Builder::allow_webhook_hosts`](crate::Builder::allow_webhook_hosts).
///
/// An entry is one of:
///
/// * a host name: `gateway.internal`. Case does not matter.
/// * `*.` and a domain, which matches every host below the domain but not the domain itself: `*.example.com`.
/// * an address: `192.168.1.7`, `fd00::7`.
/// * a network in CIDR notation: `10.0.0.0/8`, `fd00::/8`.
///
/// Names match the host of the callback URL. Addresses and networks match the address that the host resolves to, checked for
/// each connection. One match is enough. The list lifts no rule of the daemon: it never sends webhooks to link-local addresses,
/// metadata services, multicast or reserved addresses, nor to its own servers. A name on the list may resolve to a loopback address.
///
/// ```
/// use foreman_daemon::WebhookHosts;
///
/// # fn main() -> Result<(), foreman_daemon::Error> {
/// let hosts = WebhookHosts::new(["10.0.0.0/8", "gateway.internal", "*.example.com"])?;
///
/// let error = WebhookHosts::new(["gateway.internal:8080"]).unwrap_err();
/// assert_eq!(error.to_string(), "invalid allow_webhook_hosts: `gateway.internal:8080` must not have a port");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookHosts {
    names: Vec<Name>,
    networks: Vec<IpNet>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Host(String),
    /// The domain with a dot before it.
    Below(String),
}

enum Entry {
    Name(Name),
    Network(IpNet),
}

impl WebhookHosts {
    /// Creates a list of these entries.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid_config`] for an entry that is none of the four, with the reason, and for an empty list.
    pub fn new(entries: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, Error> {
        let mut hosts = Self { names: Vec::new(), networks: Vec::new() };
        for entry in entries {
            let entry = entry.as_ref();
            match parse(entry) {
                Ok(Entry::Name(name)) => hosts.names.push(name),
                Ok(Entry::Network(network)) => hosts.networks.push(network),
                Err(reason) => return Err(Error::config("allow_webhook_hosts", format!("`{entry}` {reason}"))),
            }
        }
        if hosts.names.is_empty() && hosts.networks.is_empty() {
            return Err(Error::config("allow_webhook_hosts", "must not be empty"));
        }
        Ok(hosts)
    }

    /// Whether the list has the host of a URL or the address that it resolved to.
    pub(super) fn contain(&self, host: &str, ip: IpAddr) -> bool {
        self.name(host) || self.networks.iter().any(|network| network.contains(&ip) || network.contains(&embedded(ip)))
    }

    /// Whether the list has a host name, or a network that the name may resolve to.
    pub(super) fn may_contain(&self, host: &str) -> bool {
        !self.networks.is_empty() || self.name(host)
    }

    /// Whether the list has a host name.
    pub(super) fn name(&self, host: &str) -> bool {
        let host = normalized_host(host);
        self.names.iter().any(|name| match name {
            Name::Host(name) => host == *name,
            Name::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        })
    }
}

fn parse(entry: &str) -> Result<Entry, String> {
    if entry.contains("://") {
        return Err("must be a host, not a URL".to_owned());
    }
    if entry.contains('/') {
        let network: IpNet = entry.parse().map_err(|_| "is not a network such as 10.0.0.0/8".to_owned())?;
        let trunc = network.trunc();
        return if trunc == network { Ok(Entry::Network(network)) } else { Err(format!("must be written {trunc}")) };
    }
    if let Ok(ip) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(Entry::Network(ip.to_canonical().into()));
    }
    if entry.contains(':') {
        return Err("must not have a port".to_owned());
    }
    let host = normalized_host(entry);
    match host.strip_prefix("*.") {
        Some(name) => check(name).map(|()| Entry::Name(Name::Below(format!(".{name}")))),
        None => check(&host).map(|()| Entry::Name(Name::Host(host))),
    }
}

fn check(name: &str) -> Result<(), String> {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.contains('*') {
        return Err("may have `*` only at the start, as in *.example.com".to_owned());
    }
    if !name.is_ascii() {
        return Err("must be ASCII (xn--…)".to_owned());
    }
    if name.len() > MAX_NAME || !name.split('.').all(is_label) {
        return Err("is not a host name".to_owned());
    }
    // Other spellings of addresses that resolvers accept: 10.1, 2130706433, 0x7f000001.
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is neither an address nor a name".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_by_name_and_by_address() {
        let hosts =
            ["10.0.0.0/8", "192.168.1.7", "fd00::/8", "::ffff:1.2.3.4", "Gateway.Internal", "*.example.com", "a_b.c."];
        let hosts = WebhookHosts::new(hosts).unwrap();
        for (host, ip, listed) in [
            ("10.1.2.3", "10.1.2.3", true),
            ("anything", "10.1.2.3", true),
            ("::ffff:10.1.2.3", "::ffff:10.1.2.3", true),
            ("64:ff9b::a01:203", "64:ff9b::a01:203", true),
            ("2002:a01:203::", "2002:a01:203::", true),
            ("11.1.2.3", "11.1.2.3", false),
            ("192.168.1.7", "192.168.1.7", true),
            ("192.168.1.8", "192.168.1.8", false),
            ("1.2.3.4", "1.2.3.4", true),
            ("fd12::1", "fd12::1", true),
            ("fe80::1", "fe80::1", false),
            ("gateway.internal", "9.9.9.9", true),
            ("GATEWAY.internal.", "9.9.9.9", true),
            ("x.gateway.internal", "9.9.9.9", false),
            ("xgateway.internal", "9.9.9.9", false),
            ("a.example.com", "9.9.9.9", true),
            ("a.b.EXAMPLE.com.", "9.9.9.9", true),
            ("example.com", "9.9.9.9", false),
            (".example.com", "9.9.9.9", false),
            ("badexample.com", "9.9.9.9", false),
            ("example.com.evil", "9.9.9.9", false),
            ("a_b.c", "9.9.9.9", true),
        ] {
            assert_eq!(hosts.contain(host, ip.parse().unwrap()), listed, "{host} at {ip}");
        }
    }

    #[test]
    fn invalid_entries_are_rejected_with_a_reason() {
        let long = format!("{}.example", "a".repeat(64));
        for (entry, reason) in [
            ("", "is not a host name"),
            (" ", "is not a host name"),
            ("a b", "is not a host name"),
            ("a..b", "is not a host name"),
            (".", "is not a host name"),
            ("*.", "may have `*` only at the start, as in *.example.com"),
            (long.as_str(), "is not a host name"),
            ("http://a/", "must be a host, not a URL"),
            ("a/b", "is not a network such as 10.0.0.0/8"),
            ("10.0.0.0/33", "is not a network such as 10.0.0.0/8"),
            ("10.0.0.1/8", "must be written 10.0.0.0/8"),
            ("a:80", "must not have a port"),
            ("10.0.0.1:80", "must not have a port"),
            ("*", "may have `*` only at the start, as in *.example.com"),
            ("a.*.b", "may have `*` only at the start, as in *.example.com"),
            ("*a.b", "may have `*` only at the start, as in *.example.com"),
            ("bücher.example", "must be ASCII (xn--…)"),
            ("10.0.0.256", "is neither an address nor a name"),
            ("2130706433", "is neither an address nor a name"),
            ("0x7f000001", "is neither an address nor a name"),
        ] {
            let error = WebhookHosts::new(["a.b", entry]).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid allow_webhook_hosts: `{entry}` {reason}"));
        }
        let none: [&str; 0] = [];
        assert_eq!(WebhookHosts::new(none).unwrap_err().to_string(), "invalid allow_webhook_hosts: must not be empty");
    }
}
