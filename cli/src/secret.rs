use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A text that is not shown.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text itself, for whoever has to send it.
    pub(crate) fn reveal(self) -> String {
        self.0
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(secret: &str) -> Result<Self, Infallible> {
        Ok(Self(secret.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
