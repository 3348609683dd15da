use std::net::{IpAddr, Ipv4Addr};

/// Parses the host of a URL as an IP address, in every spelling that resolvers accept: 10.1, 2852039166, 0xa9fea9fe and
/// 0251.0376.0251.0376 are addresses too. Returns `None` for a name.
pub(super) fn parse_ip_literal(host: &str) -> Option<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    // A zone (`%eth0`) does not change the address.
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    if let Ok(ip) = address.parse() {
        return Some(ip);
    }
    let numbers = host.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (last, firsts) = numbers.split_last()?;
    // The last number fills all the bytes that are left.
    let bytes = 4_u32.checked_sub(u32::try_from(firsts.len()).ok()?).filter(|bytes| *bytes > 0)?;
    if u64::from(*last) >= 1 << (8 * bytes) {
        return None;
    }
    let mut address = *last;
    for (at, first) in firsts.iter().enumerate() {
        address |= u32::from(u8::try_from(*first).ok()?) << (24 - 8 * at);
    }
    Some(Ipv4Addr::from(address).into())
}

/// Parses a decimal number, an octal one after `0` or a hexadecimal one after `0x`.
fn number(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match (lower.strip_prefix("0x"), lower.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (lower.as_str(), 10),
    };
    // `from_str_radix` accepts a sign; resolvers do not.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, radix).ok())?
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
            ("fe80::1%25eth0", "fe80::1"),
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
