//! Which hosts a request may name.
//!
//! A web page can make a browser send requests to a loopback address, if the page's host name resolves to it (DNS rebinding). For
//! the browser they are requests to the page's own site, so that the page can read the responses. They differ from other local
//! requests only in their host, which is that of the page.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri, header};

use super::{App, Rejection};

/// The hosts that a request may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AllowedHosts {
    /// Localhost and loopback addresses. A daemon without tokens listens on no other address.
    Loopback,
    /// Every host: a web page does not know the token, or anonymous requests are allowed.
    Any,
}

impl AllowedHosts {
    fn allow(self, uri: &Uri, headers: &HeaderMap) -> bool {
        match self {
            Self::Any => true,
            Self::Loopback => authority(uri, headers).is_some_and(is_loopback),
        }
    }
}

/// Middleware: rejects a request that names a host that is not allowed.
pub(super) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Result<Response, Rejection> {
    if !app.hosts.allow(request.uri(), request.headers()) {
        return Err(Rejection::new(
            StatusCode::FORBIDDEN,
            "without a token, the host must be localhost or a loopback address",
        ));
    }
    Ok(next.run(request).await)
}

/// The host and port that a request names: those of an absolute request target, or else of the only `Host` header.
fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    if let Some(authority) = uri.authority() {
        return Some(authority.as_str());
    }
    let mut values = headers.get_all(header::HOST).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

/// Whether the host is localhost or a loopback address. The port is not compared: it may be that of a tunnel.
fn is_loopback(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        // The last colon of an address in brackets without a port.
        Some((_, port)) if port.ends_with(']') => (authority, ""),
        Some((host, port)) => (host, port),
        None => (authority, ""),
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || literal
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_ipv6() == host.starts_with('[') && ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn allows(hosts: AllowedHosts, uri: &'static str, values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::HOST, HeaderValue::from_static(value));
        }
        hosts.allow(&Uri::from_static(uri), &headers)
    }

    #[test]
    fn loopback_hosts_are_allowed() {
        for (host, allowed) in [
            ("localhost", true),
            ("localhost:11435", true),
            ("localhost:", true),
            ("LocalHost:80", true),
            ("localhost.", true),
            ("localhost.:11435", true),
            ("127.0.0.1", true),
            ("127.0.0.1:11435", true),
            ("127.8.9.10:1", true),
            ("[::1]", true),
            ("[::1]:11435", true),
            ("[0:0:0:0:0:0:0:1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("", false),
            (":80", false),
            (".", false),
            ("localhost..", false),
            ("localhost:port", false),
            ("localhost:1:2", false),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com:11435", false),
            ("example.com", false),
            ("user@localhost", false),
            ("0.0.0.0:11435", false),
            ("10.0.0.1", false),
            ("127.1", false),
            ("[127.0.0.1]", false),
            ("::1", false),
            ("::1:80", false),
            ("[::1", false),
            ("[::2]:80", false),
            ("[::]:80", false),
        ] {
            assert_eq!(allows(AllowedHosts::Loopback, "/jobs", &[host]), allowed, "{host:?}");
            assert!(allows(AllowedHosts::Any, "/jobs", &[host]), "{host:?}");
        }
    }

    #[test]
    fn request_names_one_host() {
        for (uri, values, allowed) in [
            ("/jobs", &[][..], false),
            ("/jobs", &["localhost", "localhost"], false),
            // The target overrides the header (RFC 9112, section 3.2.2).
            ("http://localhost/jobs", &["example.com"], true),
            ("http://example.com/jobs", &["localhost"], false),
        ] {
            assert_eq!(allows(AllowedHosts::Loopback, uri, values), allowed, "{uri} {values:?}");
        }
        assert!(allows(AllowedHosts::Any, "/jobs", &[]));
    }
}
