use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const METADATA: &str = "a metadata service";

/// Checks an address by the rules of every daemon. The error is the reason.
///
/// Loopback and private networks are allowed: most callers are there. Addresses at which nobody can receive a webhook are
/// rejected. So are the metadata services of clouds, which give secrets to any request from inside, and all link-local addresses,
/// where most of these services are. An IPv4 address in an IPv6 spelling is checked as the IPv4 address.
pub(super) fn check(ip: IpAddr) -> Result<(), &'static str> {
    match embedded(ip) {
        IpAddr::V4(ip) => check_v4(ip),
        IpAddr::V6(ip) => check_v6(ip),
    }
}

/// Whether an address is a loopback or private one, carrier-grade NAT (100.64.0.0/10) included.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match embedded(ip) {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || matches!(ip.octets(), [100, 64..=127, ..]),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    }
}

fn check_v4(ip: Ipv4Addr) -> Result<(), &'static str> {
    match ip.octets() {
        [0, ..] => Err("unspecified"),
        [169, 254, ..] => Err("link-local"),
        // Alibaba, Azure, Oracle.
        [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => Err(METADATA),
        [224..=239, ..] => Err("multicast"),
        // IETF assignments, documentation (three networks), benchmarks, 6to4 relays, future use and broadcast.
        [192, 0, 0 | 2, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [198, 18 | 19, ..]
        | [192, 88, 99, _]
        | [240..=255, ..] => Err("reserved"),
        _ => Ok(()),
    }
}

fn check_v6(ip: Ipv6Addr) -> Result<(), &'static str> {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Err("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Ok(()),
        [0xfe80..=0xfebf, ..] => Err("link-local"),
        [0xff00..=0xffff, ..] => Err("multicast"),
        // AWS (the second one is for the pods of a cluster), Google, Oracle, Scaleway, Linode and Alibaba.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23 | 0x254]
        | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
        | [0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]
        | [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]
        | [0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1]
        | [0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200] => Err(METADATA),
        // Reserved parts of the global range: Teredo and other protocols (2001::/23), and documentation (two networks).
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Err("reserved"),
        // Global addresses and unique local addresses.
        [0x2000..=0x3fff | 0xfc00..=0xfdff, ..] => Ok(()),
        // Unassigned, or local NAT64 (64:ff9b:1::/48), whose IPv4 address cannot be read.
        _ => Err("reserved"),
    }
}

/// The IPv4 address that an IPv6 address embeds: mapped (`::ffff:0:0/96`), translated (`::ffff:0:0:0/96`), compatible
/// (`::/96`), NAT64 (`64:ff9b::/96`) or 6to4 (`2002::/16`). Any other address is returned as it is.
pub(super) fn embedded(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let (high, low) = match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => return ip,
        [0, 0, 0, 0, 0, 0xffff | 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => (high, low),
        _ => return ip,
    };
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_in_every_spelling() {
        let table = [
            ("127.0.0.1", None),
            ("127.9.9.9", None),
            ("10.0.0.1", None),
            ("172.16.0.1", None),
            ("192.168.1.1", None),
            ("100.64.0.1", None),
            ("1.1.1.1", None),
            ("192.0.1.1", None),
            ("0.0.0.0", Some("unspecified")),
            ("0.1.2.3", Some("unspecified")),
            ("169.254.169.254", Some("link-local")),
            ("169.254.0.1", Some("link-local")),
            ("100.100.100.200", Some(METADATA)),
            ("168.63.129.16", Some(METADATA)),
            ("192.0.0.192", Some(METADATA)),
            ("224.0.0.1", Some("multicast")),
            ("239.255.255.255", Some("multicast")),
            ("192.0.0.1", Some("reserved")),
            ("192.0.2.1", Some("reserved")),
            ("198.18.0.1", Some("reserved")),
            ("198.19.255.255", Some("reserved")),
            ("198.51.100.1", Some("reserved")),
            ("203.0.113.1", Some("reserved")),
            ("192.88.99.1", Some("reserved")),
            ("240.0.0.1", Some("reserved")),
            ("255.255.255.255", Some("reserved")),
            ("::1", None),
            ("fc00::1", None),
            ("fd12::1", None),
            ("2606:4700::1111", None),
            ("::", Some("unspecified")),
            ("fe80::1", Some("link-local")),
            ("febf::1", Some("link-local")),
            ("ff02::1", Some("multicast")),
            ("fd00:ec2::254", Some(METADATA)),
            ("fd00:ec2::23", Some(METADATA)),
            ("fd20:ce::254", Some(METADATA)),
            ("fd00:c1::a9fe:a9fe", Some(METADATA)),
            ("fd00:42::42", Some(METADATA)),
            ("fd00:a9fe:a9fe::1", Some(METADATA)),
            ("fd00:100::100:200", Some(METADATA)),
            ("fd00:42::43", None),
            ("fec0::1", Some("reserved")),
            ("100::1", Some("reserved")),
            ("2001::1", Some("reserved")),
            ("2001:db8::1", Some("reserved")),
            ("3fff::1", Some("reserved")),
            ("5f00::1", Some("reserved")),
            ("64:ff9b:1::1", Some("reserved")),
            ("::ffff:127.0.0.1", None),
            ("::ffff:169.254.169.254", Some("link-local")),
            ("::ffff:0.0.0.0", Some("unspecified")),
            ("::ffff:0:169.254.169.254", Some("link-local")),
            ("::169.254.169.254", Some("link-local")),
            ("64:ff9b::169.254.169.254", Some("link-local")),
            ("64:ff9b::10.0.0.1", None),
            ("2002:a9fe:a9fe::1", Some("link-local")),
            ("2002:e000:1::1", Some("multicast")),
            ("2002:0a00:0001::1", None),
        ];
        for (address, reason) in table {
            assert_eq!(check(address.parse().unwrap()).err(), reason, "{address}");
        }
    }

    #[test]
    fn private_addresses_are_recognized_in_every_spelling() {
        for private in [
            "127.0.0.1",
            "127.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "100.64.0.0",
            "100.127.255.255",
            "::1",
            "fc00::1",
            "fdff::1",
            "::ffff:127.0.0.1",
            "::ffff:0:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::192.168.0.1",
            "2002:ac10:1::1",
            "2002:6440:1::1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.0.1",
            "192.169.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }
}
