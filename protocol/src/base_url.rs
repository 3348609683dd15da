use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use http::Uri;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};

use crate::InvalidValue;

/// The base URL of a daemon: scheme, host, optional port and optional path. The path is the prefix of the daemon's endpoints.
///
/// The scheme is `http` or `https`. User information (`user:password@`), a query and a fragment are not allowed; set the
/// token in place of a user.
///
/// Two spellings of one URL are equal: the host is in lower case, and the default port of the scheme (80, 443) and trailing slashes are
/// left out. An address and a name of one host are different, and so are paths in different case.
///
/// ```
/// # fn main() -> Result<(), foreman_protocol::InvalidValue> {
/// use foreman_protocol::BaseUrl;
///
/// let base: BaseUrl = "https://GPU.example:443/foreman/".parse()?;
/// assert_eq!(base.to_string(), "https://gpu.example/foreman");
/// assert!("gpu.example".parse::<BaseUrl>().is_err());
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    text: Box<str>,
    https: bool,
    authority: Authority,
    host: Box<str>,
    port: u16,
}

impl BaseUrl {
    /// Parses the URL given for the option `field`.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`], naming `field`, if `url` is not a valid base URL.
    pub fn parse(field: &'static str, url: &str) -> Result<Self, InvalidValue> {
        // The message repeats the URL without what precedes the last `@`, which may be a password.
        let shown = url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| format!("..@{host}"));
        let invalid = |reason: &str| InvalidValue::new(field, format!("{shown:?} {reason}"));
        let uri: Uri = url.parse().map_err(|error| invalid("is not a URL").with_source(error))?;
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(invalid("must begin with http:// or https://")),
        };
        let Some(authority) = uri.authority() else { return Err(invalid("has no host")) };
        if authority.as_str().contains('@') {
            return Err(invalid("must not contain user information; set the token instead"));
        }
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        if host.is_empty() {
            return Err(invalid("has no host"));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(invalid("must not have a query or a fragment"));
        }
        let default_port = if https { 443 } else { 80 };
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => {
                port.parse().map_err(|error| invalid("has an invalid port").with_source(error))?
            }
            _ => default_port,
        };
        let authority = if port == default_port { host.clone() } else { format!("{host}:{port}") };
        let authority: Authority = authority.parse().map_err(|error| invalid("is not a URL").with_source(error))?;
        let scheme = if https { "https" } else { "http" };
        let text = format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/'));
        Ok(Self { text: text.into(), https, authority, host: host.into(), port })
    }

    /// Whether the scheme is `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host, in lower case. An IPv6 address is in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port. Without one in the URL, 80 for `http` and 443 for `https`.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path, without trailing slashes; empty if there is none.
    #[must_use]
    pub fn path(&self) -> &str {
        let scheme = if self.https { "https://" } else { "http://" };
        self.text.get(scheme.len() + self.authority.as_str().len()..).unwrap_or_default()
    }

    /// The URL of an endpoint. `path` is its path and query below the base URL, and begins with `/`.
    ///
    /// # Errors
    ///
    /// If `path` is not valid in a URL.
    pub fn endpoint(&self, path: Cow<'static, str>) -> Result<Uri, http::Error> {
        let path = match path {
            path if !self.path().is_empty() => Bytes::from([self.path(), &path].concat()),
            Cow::Borrowed(path) => Bytes::from_static(path.as_bytes()),
            Cow::Owned(path) => Bytes::from(path),
        };
        let mut parts = Parts::default();
        parts.scheme = Some(if self.https { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(path)?);
        Ok(Uri::from_parts(parts)?)
    }

    /// The URL, without the default port and trailing slashes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidValue;

    fn from_str(url: &str) -> Result<Self, InvalidValue> {
        Self::parse("base_url", url)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_kept_without_trailing_slashes() {
        for (url, expected) in [
            ("http://h", "http://h"),
            ("http://h/", "http://h"),
            ("HTTP://h:8080//", "http://h:8080"),
            ("https://h/a/b/", "https://h/a/b"),
            ("http://[::1]:9", "http://[::1]:9"),
            ("http://[::1]", "http://[::1]"),
        ] {
            let base = url.parse::<BaseUrl>().unwrap();
            assert_eq!(base.as_str(), expected);
            let path = expected.splitn(4, '/').nth(3).map(|path| format!("/{path}"));
            assert_eq!(base.path(), path.unwrap_or_default());
        }
    }

    #[test]
    fn spellings_of_one_url_are_equal() {
        for (url, other, text) in [
            ("http://h", "HTTP://H:80/", "http://h"),
            ("https://gpu.example/a/B", "https://GPU.Example:443/a/B/", "https://gpu.example/a/B"),
            ("http://[fe80::a]", "http://[FE80::A]:80", "http://[fe80::a]"),
            ("http://h:443", "http://H:0443", "http://h:443"),
        ] {
            let [url, other] = [url, other].map(|url| url.parse::<BaseUrl>().unwrap());
            assert_eq!((&url, other.as_str()), (&other, text));
            assert_eq!(other.endpoint("/jobs".into()).unwrap().to_string(), format!("{text}/jobs"));
        }
        for (one, other) in [("http://h", "https://h"), ("http://h:81", "http://h"), ("http://h/a", "http://h/A")] {
            assert_ne!(one.parse::<BaseUrl>().unwrap(), other.parse::<BaseUrl>().unwrap());
        }
    }

    #[test]
    fn port_defaults_by_scheme() {
        for (url, port) in
            [("http://h", 80), ("https://h", 443), ("http://h:81", 81), ("https://[::1]:82", 82), ("http://[::1]", 80)]
        {
            assert_eq!(url.parse::<BaseUrl>().unwrap().port(), port, "{url}");
        }
    }

    #[test]
    fn invalid_url_names_option_and_reason() {
        for (url, reason) in [
            ("", "is not a URL"),
            ("h", "must begin with"),
            ("h:80", "must begin with"),
            ("/jobs", "must begin with"),
            ("ftp://h", "must begin with"),
            ("http://", "is not a URL"),
            ("http://:80", "has no host"),
            ("http://u:p@h", "must not contain user information"),
            ("http://h?a=b", "must not have a query"),
            ("http://h#a", "must not have a query"),
            ("http://h:port", "has an invalid port"),
            ("http://h:99999", "port"),
            ("http://h h", "is not a URL"),
        ] {
            let error = url.parse::<BaseUrl>().unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("invalid base_url: ") && text.contains(reason), "{url}: {text}");
        }
    }

    #[test]
    fn error_omits_password() {
        for url in ["http://u:secret@h", "u:secret@h:80", "ftp://u:secret@h", "http://u:sec ret@h", "http://secret@h@h"]
        {
            let error = url.parse::<BaseUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("sec"), "{error:?}");
            assert!(error.to_string().contains("..@h"), "{error}");
        }
    }
}
