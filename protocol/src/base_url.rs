use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::Scheme;

use crate::InvalidValue;

/// Where a daemon is: scheme, host, and perhaps a port and a path below which its endpoints are.
///
/// A trailing `/` is trimmed. Refused: anything but `http` and `https`, no host, user and password (there is a token for
/// that), a query, a fragment.
///
/// ```
/// # fn main() -> Result<(), foreman_protocol::InvalidValue> {
/// use foreman_protocol::BaseUrl;
///
/// let base: BaseUrl = "https://gpu.example/foreman/".parse()?;
/// assert_eq!(base.to_string(), "https://gpu.example/foreman");
/// assert!("gpu.example".parse::<BaseUrl>().is_err());
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    text: Box<str>,
    https: bool,
    host: Box<str>,
    port: u16,
}

impl BaseUrl {
    /// Checks the URL that the option `field` was given.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`], naming `field`, for a URL that is none of a daemon.
    pub fn parse(field: &'static str, url: &str) -> Result<Self, InvalidValue> {
        // Where nobody may be named, somebody may have been, with a password.
        let shown = url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| format!("..@{host}"));
        let wrong = |why: &str| InvalidValue::new(field, format!("{shown:?} {why}"));
        let uri: Uri = url.parse().map_err(|error| wrong("is not a URL").with_source(error))?;
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(wrong("must begin with http:// or https://")),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(wrong("must not hold a user or a password; there is an option for the token"));
        }
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err(wrong("has no host"));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(wrong("must not have a query or a fragment"));
        }
        let port = match authority.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => {
                port.parse().map_err(|error| wrong("has a port that is none").with_source(error))?
            }
            _ if https => 443,
            _ => 80,
        };
        let scheme = if https { "https" } else { "http" };
        let text = format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/'));
        Ok(Self { text: text.into(), https, host: host.into(), port })
    }

    /// Whether it begins with `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host, an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 80 or 443 if the URL names none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL without a trailing `/`.
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
    fn a_path_is_kept_and_trailing_slashes_are_trimmed() {
        for (given, kept) in [
            ("http://h", "http://h"),
            ("http://h/", "http://h"),
            ("HTTP://h:8080//", "http://h:8080"),
            ("https://h/a/b/", "https://h/a/b"),
            ("http://[::1]:9", "http://[::1]:9"),
            ("http://[::1]", "http://[::1]"),
        ] {
            assert_eq!(given.parse::<BaseUrl>().unwrap().as_str(), kept);
        }
    }

    #[test]
    fn the_port_is_the_schemes_unless_named() {
        for (given, port) in
            [("http://h", 80), ("https://h", 443), ("http://h:81", 81), ("https://[::1]:82", 82), ("http://[::1]", 80)]
        {
            assert_eq!(given.parse::<BaseUrl>().unwrap().port(), port, "{given}");
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused_by_name() {
        for (url, why) in [
            ("", "is not a URL"),
            ("h", "must begin with"),
            ("h:80", "must begin with"),
            ("/jobs", "must begin with"),
            ("ftp://h", "must begin with"),
            ("http://", "is not a URL"),
            ("http://:80", "has no host"),
            ("http://u:p@h", "must not hold a user"),
            ("http://h?a=b", "must not have a query"),
            ("http://h#a", "must not have a query"),
            ("http://h:port", "has a port that is none"),
            ("http://h:99999", "port"),
            ("http://h h", "is not a URL"),
        ] {
            let error = url.parse::<BaseUrl>().unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("invalid base_url: ") && text.contains(why), "{url}: {text}");
        }
    }

    #[test]
    fn a_password_is_not_repeated() {
        for url in ["http://u:secret@h", "u:secret@h:80", "ftp://u:secret@h", "http://u:sec ret@h", "http://secret@h@h"]
        {
            let error = url.parse::<BaseUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("sec"), "{error:?}");
            assert!(error.to_string().contains("..@h"), "{error}");
        }
    }
}
