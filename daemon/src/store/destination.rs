use std::fmt;
use std::sync::Arc;

use http::Uri;

use crate::url_parts::{normalized_host, port};

/// How much of a host counts, in bytes. No name is longer (RFC 1035). It bounds the memory of each destination.
const MAX_HOST: usize = 255;

/// The scheme, host and port of a callback URL. Its path is not part of it, since it may contain a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Destination(Arc<str>);

impl Destination {
    pub(crate) fn of(url: &Uri) -> Self {
        let host = normalized_host(url.host().unwrap_or_default());
        let host = host.get(..MAX_HOST).unwrap_or(&host);
        Self(format!("{}://{host}:{}", url.scheme_str().unwrap_or("http"), port(url)).into())
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destination_is_scheme_host_and_port() {
        let long = "a".repeat(300);
        for (url, destination) in [
            ("http://h/secret?a=b", "http://h:80"),
            ("http://H.:80", "http://h:80"),
            ("https://h/", "https://h:443"),
            ("https://h:80/", "https://h:80"),
            ("http://[::1]:8080/secret", "http://[::1]:8080"),
            (&format!("http://{long}/"), &format!("http://{}:80", &long[..255])),
        ] {
            assert_eq!(Destination::of(&url.parse().unwrap()).to_string(), destination, "{url}");
        }
    }
}
