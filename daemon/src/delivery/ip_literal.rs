use std::net::{IpAddr, Ipv6Addr};

use url::Host;

/// Parses the host of a URL as an IP address, in every spelling that resolvers accept: 10.1, 2852039166, 0xa9fea9fe and
/// 0251.0376.0251.0376 are addresses too. Returns `None` for a name.
pub(super) fn parse_ip_literal(host: &str) -> Option<IpAddr> {
    match Host::parse(host) {
        Ok(Host::Ipv4(ip)) => Some(ip.into()),
        // The address of an IPv6 URL is in brackets, which are not part of the host here.
        _ => host.parse::<Ipv6Addr>().ok().map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_every_spelling_parse_and_names_do_not() {
        for (host, ip) in [
            ("169.254.169.254", "169.254.169.254"),
            ("169.254.169.254.", "169.254.169.254"),
            ("2852039166", "169.254.169.254"),
            ("0xa9fea9fe", "169.254.169.254"),
            ("0XA9.0xfe.43518", "169.254.169.254"),
            ("0251.0376.0251.0376", "169.254.169.254"),
            ("025177524776", "169.254.169.254"),
            ("169.16689662", "169.254.169.254"),
            ("10.1", "10.0.0.1"),
            ("0", "0.0.0.0"),
            ("4294967295", "255.255.255.255"),
            ("::1", "::1"),
            ("::ffff:169.254.169.254", "::ffff:169.254.169.254"),
        ] {
            assert_eq!(parse_ip_literal(host), Some(ip.parse().unwrap()), "{host}");
        }
        for name in [
            "localhost",
            "a.1",
            "1.a",
            "beef",
            "0xg",
            "08",
            "+1",
            "-1",
            "1..2",
            "",
            ".",
            "4294967296",
            "256.1",
            "1.2.3.256",
            "1.2.65536",
            "1.16777216",
            "1.2.3.4.5",
        ] {
            assert_eq!(parse_ip_literal(name), None, "{name}");
        }
    }
}
