use std::convert::Infallible;
use std::str::FromStr;

use crate::exit::Failure;

/// The value of an option that may contain a password. The errors of clap show the value, so that it is checked after clap has ended.
#[derive(Debug, Clone)]
pub(super) struct Unechoed<T>(Result<T, String>);

impl<T: FromStr<Err: ToString>> FromStr for Unechoed<T> {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.parse().map_err(|error: T::Err| error.to_string())))
    }
}

impl<T> Unechoed<T> {
    /// The value, or an error that names only the option.
    pub(super) fn check(self, option: &str) -> Result<T, Failure> {
        self.0.map_err(|error| Failure::Usage(format!("invalid {option}: {error}")))
    }
}
