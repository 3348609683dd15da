use http::Uri;

/// The port of a URL with the scheme `http` or `https`.
pub(crate) fn port(url: &Uri) -> u16 {
    url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 })
}

/// A host in the form in which hosts are compared: in lower case, and without the dot at the end of an absolute name.
pub(crate) fn normalized_host(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_follows_scheme_unless_set() {
        for (url, expected) in [("http://h/", 80), ("https://h/", 443), ("https://h:80/", 80), ("http://[::1]:1/", 1)] {
            assert_eq!(port(&url.parse().unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn hosts_are_compared_in_lower_case_without_final_dot() {
        for (host, expected) in
            [("GPU.Example.", "gpu.example"), ("gpu", "gpu"), ("a..", "a."), ("[::A]", "[::a]"), ("", "")]
        {
            assert_eq!(normalized_host(host), expected, "{host}");
        }
    }
}
