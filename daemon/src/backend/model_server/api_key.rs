use http::HeaderValue;

use crate::Error;

/// The value of `Authorization`, or `None` if the key is not valid in a header.
#[derive(Debug, Clone)]
pub(in crate::backend) struct ApiKey(Option<HeaderValue>);

impl ApiKey {
    pub(in crate::backend) fn new(key: &str) -> Self {
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Self(None);
        }
        let mut header = HeaderValue::try_from(format!("Bearer {key}")).ok();
        if let Some(header) = &mut header {
            header.set_sensitive(true);
        }
        Self(header)
    }

    pub(super) fn into_header(self) -> Result<HeaderValue, Error> {
        self.0.ok_or_else(|| Error::config("api_key", "must be visible ASCII without blanks"))
    }
}

#[cfg(test)]
mod tests {
    use crate::OpenAi;

    #[test]
    fn key_is_checked_and_not_in_debug_output() {
        for key in ["", "a b", "ä", "a\n"] {
            let error = OpenAi::builder("http://h").api_key(key).build().unwrap_err();
            assert_eq!(error.to_string(), "invalid api_key: must be visible ASCII without blanks");
        }
        let builder = OpenAi::builder("http://h").api_key("secret-7");
        let debug = format!("{builder:?} {:?}", builder.clone().build().unwrap());
        assert!(!debug.contains("secret-7"), "{debug}");
    }

    #[test]
    fn invalid_url_is_rejected() {
        assert!(OpenAi::new("h").unwrap_err().to_string().starts_with("invalid url: "));
    }
}
